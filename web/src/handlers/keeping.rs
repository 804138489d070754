//! What people ask of the keepers of repositories. Each answers with a job.

use super::repositories;
use crate::db::{self, Write, event};
use crate::http::body::Path;
use crate::http::idempotency::{IdempotencyKey, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::keeping;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use repo_format::id::ManifestId;
use serde::Serialize;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, RepositoryId};
use web_api::job::{Job, JobCause, JobKind};
use web_api::keeping::{
    CheckWork, CopyWork, ForgetWork, KeeperWork, MAX_POINTS, PruneWork, RestoreFormat, RestoreWork, VerifyWork,
};
use web_api::recovery_point::ForgetPoint;

/// Longest reason for giving a point up.
const MAX_REASON_CHARACTERS: usize = 200;
const MAX_FILES: usize = 1000;
const MAX_PATH_BYTES: usize = 4096;

type Asked = ApiResult<(StatusCode, Json<Job>)>;

/// What somebody asks a keeper for.
#[derive(Serialize)]
struct Order {
    repository: String,
    kind: JobKind,
    work: KeeperWork,
}

/// Makes the job, once for each idempotency key.
async fn order(app: App, key: IdempotencyKey, acting: Acting, order: Order) -> Asked {
    let job = app
        .database
        .write(move |write| once(write, &key, &acting, &order, |write| make(write, &acting, &order)))
        .await?;
    app.bell.ring();
    Ok((StatusCode::CREATED, Json(job)))
}

fn make(write: &mut Write<'_>, acting: &Acting, order: &Order) -> ApiResult<Job> {
    let repository = repositories::existing(write, &order.repository)?;
    let keeper = keeping::keeper(write, repository.id, &repository.name)?;
    let agent = match &order.work {
        KeeperWork::Restore(RestoreWork { agent_id: Some(agent), .. }) if *agent != keeper.id => {
            receiver(write, &repository.name, *agent)?
        }
        _ => keeper.id,
    };
    for point in points_of(&order.work) {
        check_is_in(write, repository.id, point)?;
    }
    let by = (repository.id, agent);
    let id = keeping::make(write, by, (order.kind, JobCause::Person, &order.work), acting.now)?
        .ok_or_else(|| ApiError::internal(&"a job that a person asked for was not made"))?;
    event::append(write, acting.now, "job.queued", &id.to_string())?;
    let detail = format!("{} in {}, job {id}{}", order.kind, repository.name, told(&order.work));
    acting.done(write, &format!("repository.{}", order.kind), &repository.id.to_string(), &detail)?;
    super::jobs::existing(write, id)
}

/// The agent that a disk may be passed to: one that stores into the same repository, and so has a writer key that the keeper knows.
fn receiver(write: &Write<'_>, repository: &str, agent: AgentId) -> ApiResult<AgentId> {
    let found = db::agent::get(write, agent)?.filter(|agent| agent.repository == repository);
    let found = found.ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound, "there is no such agent in the repository of the recovery point")
            .next("GET /api/v1/agents lists them")
    })?;
    match found.revoked_at.is_some() || found.suspended_at.is_some() {
        true => Err(ApiError::new(ErrorCode::Conflict, format!("agent {} was revoked or suspended", found.name))),
        false => Ok(found.id),
    }
}

/// What the audit log says beside the kind.
fn told(work: &KeeperWork) -> String {
    match work {
        KeeperWork::Forget(work) if work.undo => format!(", undo of {}", work.points.join(" ")),
        KeeperWork::Forget(work) => format!(", {}", work.points.join(" ")),
        KeeperWork::Restore(work) => {
            let onto = work.agent_id.map(|agent| format!(" of agent {agent}")).unwrap_or_default();
            let target = if work.in_place { "where its files were" } else { &work.target };
            let files = match work.files.as_slice() {
                [] => String::new(),
                [one] => format!(", file {one}"),
                [first, rest @ ..] => format!(", file {first} and {} more", rest.len()),
            };
            format!(", point {} to {target}{onto}{files}, dry_run {}", work.point, work.dry_run)
        }
        KeeperWork::Prune(work) => format!(", dry_run {}", work.dry_run),
        _ => String::new(),
    }
}

fn points_of(work: &KeeperWork) -> &[String] {
    match work {
        KeeperWork::Verify(work) => &work.points,
        KeeperWork::Forget(work) => &work.points,
        KeeperWork::Restore(work) => std::slice::from_ref(&work.point),
        KeeperWork::Check(_) | KeeperWork::Prune(_) | KeeperWork::Copy(_) => &[],
    }
}

fn check_is_in(write: &Write<'_>, repository: RepositoryId, point: &str) -> ApiResult<()> {
    match db::point::is_in(write, repository, point)? {
        true => Ok(()),
        false => Err(ApiError::new(ErrorCode::NotFound, format!("there is no recovery point {point}"))
            .next("GET /api/v1/recovery-points lists them")),
    }
}

fn invalid(what: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Invalid, what)
}

/// Ids of points are the same whatever letters they were typed with.
fn ids(points: &[String]) -> ApiResult<Vec<String>> {
    if points.len() > MAX_POINTS {
        return Err(invalid(format!("at most {MAX_POINTS} points at once")));
    }
    let id = |text: &String| {
        let parsed = text.parse::<ManifestId>().map(|id| id.to_string());
        parsed.map_err(|_| invalid("a recovery point's id is 64 hexadecimal digits"))
    };
    points.iter().map(id).collect()
}

/// Reads recovery points and compares every chunk with its id: those that are named, or all that were not verified yet.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/verify", tag = "repositories", request_body = VerifyWork,
    params(("repository" = String, Path, description = "its name")), responses((status = 201, body = Job)))]
pub async fn verify(
    State(app): State<App>,
    Path(repository): Path<String>,
    key: IdempotencyKey,
    acting: Acting,
    Body(work): Body<VerifyWork>,
) -> Asked {
    let work = KeeperWork::Verify(VerifyWork { points: ids(&work.points)?, ..work });
    order(app, key, acting, Order { repository, kind: JobKind::Verify, work }).await
}

/// Looks through the repository's structure, and reads packs whole if that is wanted.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/check", tag = "repositories", request_body = CheckWork,
    params(("repository" = String, Path, description = "its name")), responses((status = 201, body = Job)))]
pub async fn check(
    State(app): State<App>,
    Path(repository): Path<String>,
    key: IdempotencyKey,
    acting: Acting,
    Body(work): Body<CheckWork>,
) -> Asked {
    if work.sample_percent.is_some_and(|percent| !(percent > 0.0 && percent <= 100.0)) {
        return Err(invalid("sample_percent is more than 0 and at most 100"));
    }
    order(app, key, acting, Order { repository, kind: JobKind::Check, work: KeeperWork::Check(work) }).await
}

/// Gives up what the plans' rules do not keep, and frees the space of what nobody needs.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/prune", tag = "repositories", request_body = PruneWork,
    params(("repository" = String, Path, description = "its name")), responses((status = 201, body = Job)))]
pub async fn prune(
    State(app): State<App>,
    Path(repository): Path<String>,
    key: IdempotencyKey,
    acting: Acting,
    Body(work): Body<PruneWork>,
) -> Asked {
    if !work.give_up.is_empty() {
        return Err(invalid("what is given up follows from the plans' rules")
            .next("to give up a certain point: POST /api/v1/recovery-points/{id}/forget"));
    }
    order(app, key, acting, Order { repository, kind: JobKind::Prune, work: KeeperWork::Prune(work) }).await
}

/// Stores a copy of the server's database now.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/copy-database", tag = "repositories",
    params(("repository" = String, Path, description = "its name")), responses((status = 201, body = Job)))]
pub async fn copy_database(
    State(app): State<App>,
    Path(repository): Path<String>,
    key: IdempotencyKey,
    acting: Acting,
) -> Asked {
    let work = KeeperWork::Copy(CopyWork::default());
    order(app, key, acting, Order { repository, kind: JobKind::Copy, work }).await
}

/// Where a point is, and its id as it is stored.
async fn place_of(app: &App, point: &str) -> ApiResult<(String, String)> {
    let id = ids(&[point.to_owned()])?.remove(0);
    let wanted = id.clone();
    let found = app.database.read(move |connection| db::point::get(connection, &wanted)).await?;
    let (_, point) = found.ok_or_else(|| ApiError::not_found("recovery point"))?;
    Ok((point.repository, id))
}

/// Gives a recovery point up. It can be taken back for a week; prune frees its space after that.
#[utoipa::path(post, path = "/api/v1/recovery-points/{id}/forget", tag = "recovery-points", request_body = ForgetPoint,
    params(("id" = String, Path, description = "recovery point")), responses((status = 201, body = Job)))]
pub async fn forget(
    State(app): State<App>,
    Path(point): Path<String>,
    key: IdempotencyKey,
    acting: Acting,
    Body(asked): Body<ForgetPoint>,
) -> Asked {
    if asked.reason.chars().count() > MAX_REASON_CHARACTERS {
        return Err(invalid(format!("a reason has at most {MAX_REASON_CHARACTERS} characters")));
    }
    let (repository, id) = place_of(&app, &point).await?;
    let reason = if asked.reason.is_empty() { "given up by hand".to_owned() } else { asked.reason };
    let work = KeeperWork::Forget(ForgetWork { points: vec![id], undo: false, reason });
    order(app, key, acting, Order { repository, kind: JobKind::Forget, work }).await
}

/// Takes a recovery point back that was given up.
#[utoipa::path(post, path = "/api/v1/recovery-points/{id}/undo", tag = "recovery-points",
    params(("id" = String, Path, description = "recovery point")), responses((status = 201, body = Job)))]
pub async fn undo(State(app): State<App>, Path(point): Path<String>, key: IdempotencyKey, acting: Acting) -> Asked {
    let (repository, id) = place_of(&app, &point).await?;
    let work = KeeperWork::Forget(ForgetWork { points: vec![id], undo: true, reason: String::new() });
    order(app, key, acting, Order { repository, kind: JobKind::Forget, work }).await
}

/// Writes a recovery point back on the machine that keeps its repository, or a disk or files of it on another agent's, where these allow it.
#[utoipa::path(post, path = "/api/v1/restores", tag = "restores", request_body = RestoreWork,
    responses((status = 201, body = Job)))]
pub async fn restore(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(work): Body<RestoreWork>,
) -> Asked {
    check_restore(&work)?;
    let (repository, point) = place_of(&app, &work.point).await?;
    let work = KeeperWork::Restore(RestoreWork { point, ..work });
    order(app, key, acting, Order { repository, kind: JobKind::Restore, work }).await
}

fn check_restore(work: &RestoreWork) -> ApiResult<()> {
    let is_path = |path: &String| !path.is_empty() && path.len() <= MAX_PATH_BYTES && !path.contains('\0');
    let has_files = !work.files.is_empty();
    if work.in_place && !(has_files && work.target.is_empty()) {
        return Err(invalid("in_place is for files, and goes without a target"));
    }
    if !work.in_place && (!work.target.starts_with('/') || !is_path(&work.target)) {
        return Err(invalid("target is an absolute path on the machine that writes it"));
    }
    if work.files.len() > MAX_FILES || !work.files.iter().all(is_path) {
        return Err(invalid(format!("files are at most {MAX_FILES} paths")));
    }
    let is_export = work.format != RestoreFormat::Raw;
    if work.agent_id.is_some() && is_export {
        return Err(invalid("to another agent disks, partitions and files are passed as they are, in no other format"));
    }
    if is_export && (work.delta || work.partition.is_some() || has_files) {
        return Err(invalid("qcow2 and vmdk are images of whole disks, written anew"));
    }
    if has_files && work.delta {
        return Err(invalid("delta is for disks and partitions"));
    }
    if work.existing.is_some() && (!has_files || work.overwrite) {
        return Err(invalid("existing is for files, and goes without overwrite"));
    }
    Ok(())
}
