//! What agents ask and report: signs of life, work, progress, ends. Who asks follows from the agent's secret.

use crate::db;
use crate::http::body::Path;
use crate::http::{AgentCaller, ApiError, ApiResult, Body};
use crate::jobs;
use crate::keeping;
use crate::state::App;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use repo_format::id::{ManifestId, NameId};
use std::time::Duration;
use tokio::time::Instant;
use web_api::agent_work::{
    AskWork, GivenWork, Heartbeat, HeartbeatAnswer, LeasedJob, MAX_DEVICES, MAX_WAIT_S, PROTOCOL, PROTOCOL_HEADER,
    ReportAnswer, ReportEnd, ReportProgress,
};
use web_api::error::ErrorCode;
use web_api::id::JobId;
use web_api::recovery_point::{MAX_REPORTED_DISKS, MAX_REPORTED_POINTS, ReportPoints};

/// Longest of the texts that a heartbeat brings, in bytes.
const MAX_TEXT_BYTES: usize = 255;

/// Proof that the agent speaks a version of the conversation that this server knows: its own or the one before.
pub struct Protocol;

impl<S: Sync> FromRequestParts<S> for Protocol {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let spoken = parts.headers.get(PROTOCOL_HEADER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        match spoken {
            Some(version) if version == PROTOCOL || version.checked_add(1) == Some(PROTOCOL) => Ok(Self),
            Some(version) => {
                let next = if version > PROTOCOL { "upgrade the server" } else { "upgrade the agent" };
                Err(ApiError::new(ErrorCode::VersionsApart, "agent and server are more than one version apart")
                    .why(format!("the agent speaks version {version}, the server {PROTOCOL}"))
                    .next(next))
            }
            None => Err(ApiError::new(ErrorCode::BadRequest, format!("the header {PROTOCOL_HEADER} is missing"))),
        }
    }
}

/// A sign of life. The first one of a process frees the jobs of the processes before it.
#[utoipa::path(post, path = "/api/v1/agent/heartbeat", tag = "agent", request_body = Heartbeat,
    params(("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 200, body = HeartbeatAnswer)))]
pub async fn heartbeat(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Body(said): Body<Heartbeat>,
) -> ApiResult<Json<HeartbeatAnswer>> {
    check(&said)?;
    let now = app.now();
    let freed = app
        .database
        .write(move |write| {
            db::machine::heard(write, agent.id, &said, now)?;
            if said.devices.is_some() {
                db::event::append(write, now, "agent.devices", &agent.id.to_string())?;
            }
            match said.begins {
                true => jobs::free_of_earlier(write, agent.id, said.instance, now),
                false => Ok(0),
            }
        })
        .await?;
    if freed > 0 {
        app.bell.ring();
    }
    let lease_s = u32::try_from(app.job_lease.as_secs()).unwrap_or(u32::MAX);
    Ok(Json(HeartbeatAnswer { again_in_s: (lease_s / 3).clamp(1, 30), lease_s }))
}

fn check(said: &Heartbeat) -> ApiResult<()> {
    let texts = [&said.version, &said.host, &said.boot_id];
    if texts.iter().any(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            format!("version, host and boot_id have at most {MAX_TEXT_BYTES} bytes"),
        ));
    }
    match said.devices.as_ref().is_some_and(|devices| devices.len() > MAX_DEVICES) {
        true => Err(ApiError::new(ErrorCode::Invalid, format!("an agent reports at most {MAX_DEVICES} devices"))),
        false => Ok(()),
    }
}

/// Something to do, or nothing after a while.
#[utoipa::path(post, path = "/api/v1/agent/jobs/lease", tag = "agent", request_body = AskWork,
    params(("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 200, body = GivenWork)))]
pub async fn lease(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Body(asked): Body<AskWork>,
) -> ApiResult<Json<GivenWork>> {
    let until = Instant::now() + Duration::from_secs(asked.wait_s.min(MAX_WAIT_S).into());
    let (mut rings, mut stopping) = (app.bell.listen(), app.stopping.clone());
    loop {
        if let Some(job) = take(&app, &agent, &asked).await? {
            return Ok(Json(GivenWork { job: Some(job) }));
        }
        let id = agent.id;
        let only = asked.only.clone();
        let next = app.database.read(move |connection| db::lease::next_not_before(connection, id, &only)).await?;
        // A retry that waits for its time rings no bell.
        let wake =
            next.map_or(until, |next| until.min(Instant::now() + next.since(app.now()).max(Duration::from_millis(50))));
        tokio::select! {
            _ = rings.changed() => {}
            () = tokio::time::sleep_until(wake) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(Json(GivenWork { job: None })),
        }
        if Instant::now() >= until {
            return Ok(Json(GivenWork { job: None }));
        }
        still_welcome(&app, id).await?;
    }
}

/// An agent may be revoked while its request waits.
async fn still_welcome(app: &App, id: web_api::id::AgentId) -> ApiResult<()> {
    let agent = app.database.read(move |connection| db::agent::get(connection, id)).await?;
    match agent.is_some_and(|agent| agent.revoked_at.is_none() && agent.suspended_at.is_none()) {
        true => Ok(()),
        false => Err(ApiError::new(ErrorCode::NotLoggedIn, "the agent was revoked or suspended")),
    }
}

/// A look before a write: most requests find nothing, and what a keeper is to do takes a while to work out.
async fn take(app: &App, agent: &AgentCaller, asked: &AskWork) -> ApiResult<Option<LeasedJob>> {
    let id = agent.id;
    loop {
        let (now, wanted) = (app.now(), asked.clone());
        let found = app.database.read(move |connection| jobs::next(connection, (id, &wanted), now)).await?;
        let Some(job) = found else { return Ok(None) };
        let work = keeping::prepare(app, &job).await?;
        let (now, wanted, lease, prepared) = (app.now(), asked.clone(), app.job_lease, job.id);
        let given =
            app.database.write(move |write| jobs::give(write, (id, &wanted), (prepared, work), (now, lease))).await?;
        // Another one came first, or somebody ended this one: look again.
        if given.is_some() {
            return Ok(given);
        }
    }
}

/// What a keeper sees in its repository.
#[utoipa::path(post, path = "/api/v1/agent/points", tag = "agent", request_body = ReportPoints,
    params(("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 204)))]
pub async fn points(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Body(report): Body<ReportPoints>,
) -> ApiResult<StatusCode> {
    if !agent.keeper {
        return Err(ApiError::new(ErrorCode::Forbidden, "only the keeper of a repository says what is in it"));
    }
    check_points(&report)?;
    let now = app.now();
    app.database
        .write(move |write| {
            db::point::seen(write, agent.repository_id, &report, now)?;
            if report.complete {
                keeping::look_at_flaws(write, (agent.repository_id, &agent.repository), now)?;
                db::event::append(write, now, "recovery-points.survey", &agent.repository_id.to_string())?;
            }
            Ok::<_, db::Error>(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_points(report: &ReportPoints) -> ApiResult<()> {
    let invalid = |what: &str| Err(ApiError::new(ErrorCode::Invalid, what));
    if report.points.len() > MAX_REPORTED_POINTS {
        return invalid("a report names at most 200 points");
    }
    for point in &report.points {
        if point.id.parse::<ManifestId>().is_err() || point.series.parse::<NameId>().is_err() {
            return invalid("a point's id is 64 hexadecimal digits, its series 32");
        }
        if point.content.as_ref().is_some_and(|content| content.disks.len() > MAX_REPORTED_DISKS) {
            return invalid("a point is reported with at most 32 disks");
        }
    }
    Ok(())
}

/// How far a job is. Keeps it this agent's.
#[utoipa::path(post, path = "/api/v1/agent/jobs/{id}/progress", tag = "agent", request_body = ReportProgress,
    params(("id" = JobId, Path, description = "job"),
        ("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 200, body = ReportAnswer)))]
pub async fn progress(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Path(id): Path<JobId>,
    Body(report): Body<ReportProgress>,
) -> ApiResult<Json<ReportAnswer>> {
    let (now, lease) = (app.now(), app.job_lease);
    let answer = app.database.write(move |write| jobs::progress(write, (agent.id, id), &report, (now, lease))).await?;
    app.events.tell_passing(now, "job.progress", &id.to_string());
    Ok(Json(answer))
}

/// The end of a job, or of this attempt.
#[utoipa::path(post, path = "/api/v1/agent/jobs/{id}/finish", tag = "agent", request_body = ReportEnd,
    params(("id" = JobId, Path, description = "job"),
        ("icecore-agent-protocol" = u32, Header, description = "version of the conversation")),
    responses((status = 204)))]
pub async fn finish(
    State(app): State<App>,
    agent: AgentCaller,
    _: Protocol,
    Path(id): Path<JobId>,
    Body(report): Body<ReportEnd>,
) -> ApiResult<StatusCode> {
    let now = app.now();
    app.database.write(move |write| jobs::finish(write, (agent.id, id), &report, now)).await?;
    app.bell.ring();
    Ok(StatusCode::NO_CONTENT)
}
