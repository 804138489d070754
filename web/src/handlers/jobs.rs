//! Jobs, as people see them and end them.

use crate::db::{self, job::Filter};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::{Acting, ApiError, ApiResult};
use crate::jobs;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use std::fmt;
use std::str::FromStr;
use web_api::id::JobId;
use web_api::job::{Job, JobLogLine, ListJobs};
use web_api::page::{Page, PageQuery};

/// Jobs, the latest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(ListJobs),
    responses((status = 200, body = Page<Job>)))]
pub async fn list(State(app): State<App>, Query(query): Query<ListJobs>) -> ApiResult<Json<Page<Job>>> {
    let wanted = Wanted::<JobId>::parse(&PageQuery { limit: query.limit, cursor: query.cursor })?;
    let filter = Filter {
        plan: query.plan_id,
        agent: query.agent_id,
        state: query.state,
        kind: query.kind,
        repository: query.repository,
    };
    let found =
        app.database.read(move |connection| db::job::page(connection, &filter, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(found, |job| job.id)))
}

/// One job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path, description = "job")),
    responses((status = 200, body = Job)))]
pub async fn read(State(app): State<App>, Path(id): Path<JobId>) -> ApiResult<Json<Job>> {
    Ok(Json(app.database.read(move |connection| existing(connection, id)).await?))
}

/// One job, or that there is none.
pub fn existing(connection: &rusqlite::Connection, id: JobId) -> ApiResult<Job> {
    db::job::get(connection, id)?.ok_or_else(|| ApiError::not_found("job"))
}

/// A place in a job's log: attempt and number.
#[derive(Clone, Copy)]
struct LogPlace(u32, u64);

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for LogPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (attempt, number) = text.split_once('.').ok_or(())?;
        Ok(Self(attempt.parse().map_err(drop)?, number.parse().map_err(drop)?))
    }
}

/// A job's log, the oldest line that is kept first.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log", tag = "jobs",
    params(("id" = JobId, Path, description = "job"), PageQuery), responses((status = 200, body = Page<JobLogLine>)))]
pub async fn log(
    State(app): State<App>,
    Path(id): Path<JobId>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<JobLogLine>>> {
    let wanted = Wanted::<LogPlace>::parse(&query)?;
    let after = wanted.after.map_or((0, 0), |LogPlace(attempt, number)| (attempt, number));
    let found = app
        .database
        .read(move |connection| {
            existing(connection, id)?;
            ApiResult::Ok(db::job::log_page(connection, id, after, wanted.fetch())?)
        })
        .await?;
    Ok(Json(wanted.page(found, |line| LogPlace(line.attempt, line.number))))
}

/// Ends a job: at once while it waits, else as soon as its agent hears of it.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = JobId, Path, description = "job")),
    responses((status = 200, body = Job)))]
pub async fn cancel(State(app): State<App>, Path(id): Path<JobId>, acting: Acting) -> ApiResult<Json<Job>> {
    let job = app
        .database
        .write(move |write| {
            jobs::cancel(write, id, acting.now)?;
            let job = existing(write, id)?;
            acting.done(write, "job.cancel", &id.to_string(), &job.plan)?;
            ApiResult::Ok(job)
        })
        .await?;
    Ok(Json(job))
}

/// Makes a job wait until somebody resumes it: at once while it is queued, else as soon as its agent hears of it. What was stored stays, and is
/// not sent again.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/pause", tag = "jobs", params(("id" = JobId, Path, description = "job")),
    responses((status = 200, body = Job)))]
pub async fn pause(State(app): State<App>, Path(id): Path<JobId>, acting: Acting) -> ApiResult<Json<Job>> {
    set_paused(app, id, acting, true).await
}

/// Lets a job go on that was made to wait.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/resume", tag = "jobs", params(("id" = JobId, Path, description = "job")),
    responses((status = 200, body = Job)))]
pub async fn resume(State(app): State<App>, Path(id): Path<JobId>, acting: Acting) -> ApiResult<Json<Job>> {
    set_paused(app, id, acting, false).await
}

async fn set_paused(app: App, id: JobId, acting: Acting, paused: bool) -> ApiResult<Json<Job>> {
    let job = app
        .database
        .write(move |write| {
            let is_change = jobs::set_paused(write, id, paused, acting.now)?;
            let job = existing(write, id)?;
            if is_change {
                let kind = if paused { "job.pause" } else { "job.resume" };
                acting.done(write, kind, &id.to_string(), &job.plan)?;
            }
            ApiResult::Ok(job)
        })
        .await?;
    app.bell.ring();
    Ok(Json(job))
}

/// Tries a job again that failed or was cancelled.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs", params(("id" = JobId, Path, description = "job")),
    responses((status = 200, body = Job)))]
pub async fn retry(State(app): State<App>, Path(id): Path<JobId>, acting: Acting) -> ApiResult<Json<Job>> {
    let job = app
        .database
        .write(move |write| {
            jobs::retry(write, id, acting.now)?;
            let job = existing(write, id)?;
            acting.done(write, "job.retry", &id.to_string(), &job.plan)?;
            ApiResult::Ok(job)
        })
        .await?;
    app.bell.ring();
    Ok(Json(job))
}
