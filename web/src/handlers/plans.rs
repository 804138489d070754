//! Plans: made, edited, paused, run at once.

use crate::auth::name;
use crate::db::{self, Write};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::etag::{IfMatch, etag};
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::ingest::blocking;
use crate::jobs;
use crate::promises;
use crate::scheduler::queue::Timing;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use repo_format::codec::LEVELS;
use repo_format::manifest::{MAX_DISKS, MAX_NAME_BYTES};
use repo_format::retention::Within;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, PlanId};
use web_api::job::Job;
use web_api::page::{Page, PageQuery};
use web_api::plan::{Alarm, BackupWork, ChangePlan, CreatePlan, Keep, Plan, Retries, Sources, When};
use web_api::unit::Time;

const MAX_RETRIES: u32 = 20;
const LONGEST_PAUSE_S: u32 = 86_400;
const MAX_PATH_BYTES: usize = 4096;
/// Five minutes to ten years.
const ALARM_AFTER_S: std::ops::RangeInclusive<u32> = 300..=315_360_000;
const MAX_EXCLUDED: usize = 256;
const FULL_READ_DAYS: std::ops::RangeInclusive<u32> = 1..=3650;
/// Plans that may follow each other in a row.
const MAX_CHAIN: usize = 100;

impl Made for Plan {
    fn without_secret(&self) -> Self {
        self.clone()
    }
}

impl Made for Job {
    fn without_secret(&self) -> Self {
        self.clone()
    }
}

fn invalid(what: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Invalid, what)
}

/// Plans in the order of making.
#[utoipa::path(get, path = "/api/v1/plans", tag = "plans", params(PageQuery),
    responses((status = 200, body = Page<Plan>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<Plan>>> {
    let wanted = Wanted::<PlanId>::parse(&query)?;
    let now = app.now();
    let found = app
        .database
        .read(move |connection| {
            let plans = db::plan::page(connection, wanted.after, wanted.fetch())?;
            plans.into_iter().map(|plan| shown(connection, plan, now)).collect::<db::Result<Vec<Plan>>>()
        })
        .await?;
    Ok(Json(wanted.page(found, |plan| plan.id)))
}

/// One plan.
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "plans", params(("id" = PlanId, Path, description = "plan")),
    responses((status = 200, body = Plan)))]
pub async fn read(State(app): State<App>, Path(id): Path<PlanId>) -> ApiResult<impl IntoResponse> {
    let now = app.now();
    let plan = app
        .database
        .read(move |connection| Ok::<_, ApiError>(shown(connection, existing(connection, id)?, now)?))
        .await?;
    Ok((etag(plan.revision), Json(plan)))
}

/// Makes a plan.
#[utoipa::path(post, path = "/api/v1/plans", tag = "plans", request_body = CreatePlan,
    responses((status = 201, body = Plan)))]
pub async fn create(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<CreatePlan>,
) -> ApiResult<impl IntoResponse> {
    check_name(&request.name)?;
    check_work(&request.work)?;
    check_keep(&request.keep)?;
    check_retries(request.retries)?;
    check_alarm(request.alarm)?;
    check_when(request.when.clone(), acting.now).await?;
    let plan = app
        .database
        .write(move |write| once(write, &key, &acting, &request, |write| make(write, &acting, &request)))
        .await?;
    let location = format!("/api/v1/plans/{}", plan.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], etag(plan.revision), Json(plan)))
}

fn make(write: &mut Write<'_>, acting: &Acting, request: &CreatePlan) -> ApiResult<Plan> {
    check_agent(write, request.agent_id)?;
    let id = PlanId::generate();
    check_chain(write, id, request.when.after)?;
    let plan = Plan {
        id,
        name: request.name.clone(),
        agent_id: request.agent_id,
        agent: String::new(),
        work: request.work.clone(),
        when: request.when.clone(),
        keep: request.keep.clone(),
        retries: request.retries,
        paused: request.paused,
        created_at: acting.now,
        next_run_at: None,
        last_job: None,
        last_good_at: None,
        alarm: request.alarm,
        alarm_after_s: None,
        revision: 1,
    };
    db::plan::insert(write, &plan).map_err(|error| taken(error, &plan.name))?;
    acting.done(write, "plan.create", &id.to_string(), &said(&plan))?;
    Ok(shown(write, existing(write, id)?, acting.now)?)
}

/// Changes a plan. Jobs that were made already stay as they are.
#[utoipa::path(patch, path = "/api/v1/plans/{id}", tag = "plans", request_body = ChangePlan,
    params(("id" = PlanId, Path, description = "plan")), responses((status = 200, body = Plan)))]
pub async fn change(
    State(app): State<App>,
    Path(id): Path<PlanId>,
    if_match: IfMatch,
    acting: Acting,
    Body(change): Body<ChangePlan>,
) -> ApiResult<impl IntoResponse> {
    change.name.as_deref().map(check_name).transpose()?;
    change.work.as_ref().map(check_work).transpose()?;
    change.keep.as_ref().map(check_keep).transpose()?;
    change.retries.map(check_retries).transpose()?;
    change.alarm.map(check_alarm).transpose()?;
    if let Some(when) = &change.when {
        check_when(when.clone(), acting.now).await?;
    }
    let plan = app
        .database
        .write(move |write| {
            let mut plan = existing(write, id)?;
            if_match.check(plan.revision)?;
            if let Some(when) = change.when {
                check_chain(write, id, when.after)?;
                // Times that passed under the old rule or before it are not made up for under the new one.
                db::plan::considered(write, id, acting.now)?;
                plan.when = when;
            }
            if let Some(agent_id) = change.agent_id {
                check_agent(write, agent_id)?;
                plan.agent_id = agent_id;
            }
            plan.name = change.name.unwrap_or(plan.name);
            plan.work = change.work.unwrap_or(plan.work);
            plan.keep = change.keep.unwrap_or(plan.keep);
            plan.retries = change.retries.unwrap_or(plan.retries);
            plan.alarm = change.alarm.unwrap_or(plan.alarm);
            db::plan::change(write, &plan).map_err(|error| taken(error, &plan.name))?;
            acting.done(write, "plan.change", &id.to_string(), &said(&plan))?;
            ApiResult::Ok(shown(write, existing(write, id)?, acting.now)?)
        })
        .await?;
    Ok((etag(plan.revision), Json(plan)))
}

/// Removes a plan. Its recovery points and the record of its jobs stay.
#[utoipa::path(delete, path = "/api/v1/plans/{id}", tag = "plans",
    params(("id" = PlanId, Path, description = "plan")), responses((status = 204)))]
pub async fn remove(
    State(app): State<App>,
    Path(id): Path<PlanId>,
    if_match: IfMatch,
    acting: Acting,
) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let plan = existing(write, id)?;
            if_match.check(plan.revision)?;
            let followers = db::plan::followers(write, id)?;
            if !followers.is_empty() {
                return Err(ApiError::new(ErrorCode::Conflict, format!("plan {} is followed by others", plan.name))
                    .why(followers.join(", "))
                    .next("give those another time first"));
            }
            if let Some(job) = plan.last_job.as_ref().filter(|job| !job.state.is_over()) {
                return Err(ApiError::new(
                    ErrorCode::Conflict,
                    format!("a job of plan {} is {}", plan.name, job.state),
                )
                .next(format!("cancel job {} first", job.id)));
            }
            db::plan::delete(write, id)?;
            acting.done(write, "plan.remove", &id.to_string(), &plan.name)?;
            ApiResult::Ok(StatusCode::NO_CONTENT)
        })
        .await
}

/// Makes a run at once, also of a paused plan.
#[utoipa::path(post, path = "/api/v1/plans/{id}/run", tag = "plans",
    params(("id" = PlanId, Path, description = "plan")), responses((status = 201, body = Job)))]
pub async fn run(
    State(app): State<App>,
    Path(id): Path<PlanId>,
    key: IdempotencyKey,
    acting: Acting,
) -> ApiResult<(StatusCode, Json<Job>)> {
    let job = app
        .database
        .write(move |write| {
            once(write, &key, &acting, &id, |write| {
                let plan = existing(write, id)?;
                check_agent(write, plan.agent_id)?;
                let job = jobs::make_now(write, &plan, acting.now)?;
                acting.done(write, "plan.run", &id.to_string(), &format!("{}, job {job}", plan.name))?;
                super::jobs::existing(write, job)
            })
        })
        .await?;
    app.bell.ring();
    Ok((StatusCode::CREATED, Json(job)))
}

/// Keeps a plan from making runs by itself. A job that is open goes on.
#[utoipa::path(post, path = "/api/v1/plans/{id}/pause", tag = "plans",
    params(("id" = PlanId, Path, description = "plan")), responses((status = 200, body = Plan)))]
pub async fn pause(State(app): State<App>, Path(id): Path<PlanId>, acting: Acting) -> ApiResult<impl IntoResponse> {
    set_paused(app, id, acting, true).await
}

/// Lets a plan make runs again. Those of the time in between are not made up for.
#[utoipa::path(post, path = "/api/v1/plans/{id}/resume", tag = "plans",
    params(("id" = PlanId, Path, description = "plan")), responses((status = 200, body = Plan)))]
pub async fn resume(State(app): State<App>, Path(id): Path<PlanId>, acting: Acting) -> ApiResult<impl IntoResponse> {
    set_paused(app, id, acting, false).await
}

async fn set_paused(app: App, id: PlanId, acting: Acting, paused: bool) -> ApiResult<impl IntoResponse> {
    let plan = app
        .database
        .write(move |write| {
            let plan = existing(write, id)?;
            if plan.paused != paused {
                db::plan::change(write, &Plan { paused, ..plan.clone() })?;
                db::plan::considered(write, id, acting.now)?;
                if !paused {
                    db::plan::promise_from(write, id, acting.now)?;
                }
                let kind = if paused { "plan.pause" } else { "plan.resume" };
                acting.done(write, kind, &id.to_string(), &plan.name)?;
            }
            ApiResult::Ok(shown(write, existing(write, id)?, acting.now)?)
        })
        .await?;
    Ok((etag(plan.revision), Json(plan)))
}

fn existing(connection: &rusqlite::Connection, id: PlanId) -> ApiResult<Plan> {
    db::plan::get(connection, id)?.ok_or_else(|| ApiError::not_found("plan"))
}

/// With what the calendar says, and what is promised.
fn shown(connection: &rusqlite::Connection, plan: Plan, now: Time) -> db::Result<Plan> {
    let next = || {
        let now = Timestamp::from_millisecond(now.ms()).ok()?;
        Timing::parse(&plan.when, now).ok()?.upcoming(plan.id, now)
    };
    let next_run_at = if plan.paused { None } else { next().map(Time::from) };
    let alarm_after_s = promises::promised_s(connection, &plan, now)?;
    Ok(Plan { next_run_at, alarm_after_s, ..plan })
}

fn said(plan: &Plan) -> String {
    let when = match (&plan.when.cron, plan.when.after) {
        (Some(cron), _) => format!("at {cron:?} in {}", plan.when.zone),
        (None, Some(after)) => format!("after plan {after}"),
        (None, None) => "when asked".into(),
    };
    format!("{}, agent {}, {when}", plan.name, plan.agent_id)
}

fn taken(error: db::Error, name: &str) -> ApiError {
    match error.is_duplicate() {
        true => ApiError::new(ErrorCode::Conflict, format!("there is a plan named {name}")).next("choose another name"),
        false => error.into(),
    }
}

fn check_name(wanted: &str) -> ApiResult<()> {
    if name::is_allowed(wanted) {
        return Ok(());
    }
    Err(invalid("this cannot be a plan's name")
        .why("a name has 1 to 64 small letters, digits, '.', '_' or '-' and begins with a letter or digit"))
}

fn check_work(work: &BackupWork) -> ApiResult<()> {
    if let Sources::Paths(paths) = &work.sources {
        if !(1..=MAX_DISKS).contains(&paths.len()) {
            return Err(invalid(format!("a plan names 1 to {MAX_DISKS} disks, or all_disks")));
        }
        let is_path = |path: &&String| path.starts_with('/') && path.len() <= MAX_PATH_BYTES && !path.contains('\0');
        if let Some(path) = paths.iter().find(|path| !is_path(path)) {
            return Err(invalid(format!("{path:?} is no absolute path")).next("write for example /dev/sda"));
        }
    }
    if work.point_name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
        return Err(invalid(format!("point_name has 1 to {MAX_NAME_BYTES} bytes")));
    }
    if work.exclude_partitions.len() > MAX_EXCLUDED {
        return Err(invalid(format!("at most {MAX_EXCLUDED} partitions can be left out")));
    }
    if !(1..=86_400).contains(&work.hooks.timeout_s) {
        return Err(invalid(format!("timeout_s of hooks is {}; allowed is 1 to 86400", work.hooks.timeout_s)));
    }
    if work.limit_bytes_per_s == Some(0) {
        return Err(invalid("limit_bytes_per_s of 0 would never end; leave it out for no limit"));
    }
    if work.full_read_every_days.is_some_and(|days| !FULL_READ_DAYS.contains(&days)) {
        return Err(invalid(
            "full_read_every_days is 1 to 3650; leave it out for full reads only where they are needed",
        ));
    }
    match work.level.filter(|level| !LEVELS.contains(level)) {
        Some(level) => Err(invalid(format!("level is {level}; allowed is {} to {}", LEVELS.start(), LEVELS.end()))),
        None => Ok(()),
    }
}

fn check_keep(keep: &Keep) -> ApiResult<()> {
    let Some(within) = &keep.within else { return Ok(()) };
    within.parse::<Within>().map(drop).map_err(|error| invalid("within cannot be used").why(error.to_string()))
}

fn check_retries(retries: Retries) -> ApiResult<()> {
    if retries.count > MAX_RETRIES || retries.pause_s > LONGEST_PAUSE_S {
        return Err(invalid(format!("retries: count is 0 to {MAX_RETRIES}, pause_s 0 to {LONGEST_PAUSE_S}")));
    }
    Ok(())
}

fn check_alarm(alarm: Alarm) -> ApiResult<()> {
    match alarm {
        Alarm::AfterS(seconds) if !ALARM_AFTER_S.contains(&seconds) => {
            let (least, most) = (ALARM_AFTER_S.start(), ALARM_AFTER_S.end());
            Err(invalid(format!("after_s of the alarm is {seconds}; allowed is {least} to {most}")))
        }
        _ => Ok(()),
    }
}

/// Not on the threads that serve requests: an expression that seldom comes true takes a while.
async fn check_when(when: When, now: Time) -> ApiResult<()> {
    let now = Timestamp::from_millisecond(now.ms()).map_err(|error| ApiError::internal(&error))?;
    let parse =
        move || Timing::parse(&when, now).map(drop).map_err(|error| invalid("when cannot be used").why(error.0));
    blocking(parse).await
}

fn check_agent(connection: &rusqlite::Connection, id: AgentId) -> ApiResult<()> {
    match db::agent::get(connection, id)? {
        Some(agent) if agent.suspended_at.is_some() => {
            Err(invalid(format!("agent {} was suspended", agent.name)).next("look at the alert about it"))
        }
        Some(agent) if agent.revoked_at.is_none() => Ok(()),
        Some(agent) => Err(invalid(format!("agent {} was revoked", agent.name)).next("choose another agent")),
        None => Err(invalid("there is no such agent").next("GET /api/v1/agents lists them")),
    }
}

/// Plans must not follow each other in a circle: each success would begin the next for ever.
fn check_chain(connection: &rusqlite::Connection, id: PlanId, after: Option<PlanId>) -> ApiResult<()> {
    let mut at = after;
    for _ in 0..MAX_CHAIN {
        let Some(plan) = at else { return Ok(()) };
        if plan == id {
            return Err(invalid("the plans would follow each other in a circle"));
        }
        if db::plan::get(connection, plan)?.is_none() {
            return Err(invalid("the plan that it is to follow does not exist"));
        }
        at = db::plan::followed_by(connection, plan)?;
    }
    Err(invalid(format!("more than {MAX_CHAIN} plans would follow each other")))
}
