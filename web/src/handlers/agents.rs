//! Agents: who may store into which repository, in whose name.

use crate::alerts;
use crate::auth::name;
use crate::auth::secret::{Kind, Secret, SecretHash};
use crate::db::{self, Write};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::etag::{IfMatch, etag};
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::ingest::blocking;
use crate::jobs;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use repo_format::id::WriterId;
use std::path::PathBuf;
use web_api::agent::{Agent, ChangeAgent, CreateAgent, CreatedAgent, MIN_LIMIT_BYTES_PER_S, SILENT_AFTER_S};
use web_api::alert::AlertKind;
use web_api::device::DeviceList;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, RepositoryId};
use web_api::page::{Page, PageQuery};
use web_api::repository::Repository;

/// Agents ask at least every half minute, and may wait longer while the server is away.
const MIN_SILENT_AFTER_S: u32 = 300;

impl Made for CreatedAgent {
    fn without_secret(&self) -> Self {
        Self { agent: self.agent.clone(), secret: None }
    }
}

/// Agents in the order of making, revoked ones included.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents", params(PageQuery),
    responses((status = 200, body = Page<Agent>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<Agent>>> {
    let wanted = Wanted::<AgentId>::parse(&query)?;
    let found = app.database.read(move |connection| db::agent::page(connection, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(found, |agent| agent.id)))
}

/// Lets a machine store into a repository. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/agents", tag = "agents", request_body = CreateAgent,
    responses((status = 201, body = CreatedAgent)))]
pub async fn create(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<CreateAgent>,
) -> ApiResult<(StatusCode, Json<CreatedAgent>)> {
    let wanted = request.repository.clone();
    let found = app.database.read(move |connection| db::repository::named(connection, &wanted)).await?;
    let repository = found.ok_or_else(|| {
        ApiError::new(ErrorCode::Invalid, format!("this server has no repository named {:?}", request.repository))
    })?;
    check(&app, &request, &repository).await?;
    let made = app
        .database
        .write(move |write| once(write, &key, &acting, &request, |write| make(write, &acting, &request, &repository)))
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// The writer must be one that the repository knows and did not revoke.
async fn check(app: &App, request: &CreateAgent, repository: &Repository) -> ApiResult<()> {
    check_name(&request.name)?;
    check_writer(app, parse_writer(&request.writer)?, &repository.directory, request.keeper).await
}

/// Refuses what cannot be an agent's name.
pub fn check_name(name: &str) -> ApiResult<()> {
    if name::is_allowed(name) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Invalid, "this cannot be an agent's name")
        .why("a name has 1 to 64 small letters, digits, '.', '_' or '-' and begins with a letter or digit"))
}

/// A writer's id.
pub fn parse_writer(text: &str) -> ApiResult<WriterId> {
    text.parse().map_err(|_| {
        ApiError::new(ErrorCode::Invalid, "a writer is 32 hexadecimal digits")
            .next("`icecore key writer-export` makes a writer and says its id; `icecore key writers` shows all")
    })
}

/// Refuses a writer that the repository in a directory does not know or has revoked. A keeper is the repository's own writer, which no other
/// agent can be: what the built-in writer stores is the operator's.
pub async fn check_writer(app: &App, writer: WriterId, directory: &str, keeper: bool) -> ApiResult<()> {
    let (app, directory) = (app.clone(), PathBuf::from(directory));
    blocking(move || {
        let served = app.repositories.get(&directory).map_err(|error| ApiError::internal(&format!("{error:#}")))?;
        let gate = served.renew_gate()?;
        if keeper && gate.builtin_writer() != writer {
            return Err(ApiError::new(ErrorCode::Invalid, "a keeper has the repository's own key")
                .why("what came is a machine's writer")
                .next("`icecore agent enroll … --keeps DIR` on the machine that has the repository"));
        }
        gate.may_begin(writer)
            .map_err(|denied| ApiError::new(ErrorCode::Invalid, "this writer cannot be used").why(denied.to_string()))
    })
    .await
}

fn make(
    write: &mut Write<'_>,
    acting: &Acting,
    request: &CreateAgent,
    repository: &Repository,
) -> ApiResult<CreatedAgent> {
    let secret = Secret::generate(Kind::Agent);
    let agent = Agent {
        id: AgentId::generate(),
        name: request.name.clone(),
        repository: repository.name.clone(),
        writer: request.writer.clone(),
        prefix: secret.prefix().to_owned(),
        created_at: acting.now,
        last_seen_at: None,
        revoked_at: None,
        limit_bytes_per_s: None,
        quota_bytes: None,
        keeper: request.keeper,
        suspended_at: None,
        silent_after_s: Some(SILENT_AFTER_S),
        revision: 1,
    };
    insert(write, &agent, repository.id, &secret.hash())?;
    let detail = told(&agent);
    acting.done(write, "agent.create", &agent.id.to_string(), &detail)?;
    Ok(CreatedAgent { agent, secret: Some(secret.expose().to_owned()) })
}

/// What the audit log says of a new agent.
pub fn told(agent: &Agent) -> String {
    let does = if agent.keeper { "keeps" } else { "stores into" };
    format!("{} {does} {} as writer {}", agent.name, agent.repository, agent.writer)
}

/// Stores a new agent, whose name nobody has.
pub fn insert(write: &Write<'_>, agent: &Agent, repository: RepositoryId, secret: &SecretHash) -> ApiResult<()> {
    db::agent::insert(write, agent, repository, secret).map_err(|error| match error.is_duplicate() {
        true => ApiError::new(ErrorCode::Conflict, format!("there is an agent named {}", agent.name))
            .next("choose another name, or revoke that agent: its name is free then"),
        false => error.into(),
    })
}

fn existing(connection: &rusqlite::Connection, id: AgentId) -> ApiResult<Agent> {
    db::agent::get(connection, id)?.ok_or_else(|| ApiError::not_found("agent"))
}

/// One agent.
#[utoipa::path(get, path = "/api/v1/agents/{id}", tag = "agents",
    params(("id" = AgentId, Path, description = "agent")), responses((status = 200, body = Agent)))]
pub async fn read(State(app): State<App>, Path(id): Path<AgentId>) -> ApiResult<impl IntoResponse> {
    let agent = app.database.read(move |connection| existing(connection, id)).await?;
    Ok((etag(agent.revision), Json(agent)))
}

/// Changes what an agent may at most, and when its silence is an alert.
#[utoipa::path(patch, path = "/api/v1/agents/{id}", tag = "agents", request_body = ChangeAgent,
    params(("id" = AgentId, Path, description = "agent")), responses((status = 200, body = Agent)))]
pub async fn change(
    State(app): State<App>,
    Path(id): Path<AgentId>,
    if_match: IfMatch,
    acting: Acting,
    Body(change): Body<ChangeAgent>,
) -> ApiResult<impl IntoResponse> {
    if change.limit_bytes_per_s.is_some_and(|limit| limit > 0 && limit < MIN_LIMIT_BYTES_PER_S) {
        return Err(ApiError::new(ErrorCode::Invalid, "a limit this low would let no pack arrive in time")
            .next(format!("give at least {MIN_LIMIT_BYTES_PER_S} bytes a second, or 0 for none")));
    }
    if change.silent_after_s.is_some_and(|silent| silent > 0 && silent < MIN_SILENT_AFTER_S) {
        return Err(ApiError::new(ErrorCode::Invalid, "an agent is not heard of more often than that")
            .next(format!("give at least {MIN_SILENT_AFTER_S} seconds, or 0 for no alert")));
    }
    let agent = app
        .database
        .write(move |write| {
            let agent = existing(write, id)?;
            if_match.check(agent.revision)?;
            let speed = change.limit_bytes_per_s.or(agent.limit_bytes_per_s).filter(|limit| *limit > 0);
            let quota = change.quota_bytes.or(agent.quota_bytes).filter(|quota| quota.0 > 0);
            let silent = change.silent_after_s.or(agent.silent_after_s).filter(|silent| *silent > 0);
            db::agent::set_limits(write, id, (speed, quota), silent)?;
            let told = |number: Option<u64>| number.map_or("none".to_owned(), |number| number.to_string());
            let (quota, silent) = (told(quota.map(|quota| quota.0)), told(silent.map(u64::from)));
            let detail = format!("{}: limit {}, quota {quota}, silent after {silent}", agent.name, told(speed));
            acting.done(write, "agent.change", &id.to_string(), &detail)?;
            existing(write, id)
        })
        .await?;
    Ok((etag(agent.revision), Json(agent)))
}

/// Revokes an agent: nothing that it sends is taken any more. What it stored stays.
#[utoipa::path(post, path = "/api/v1/agents/{id}/revoke", tag = "agents",
    params(("id" = AgentId, Path, description = "agent")), responses((status = 204)))]
pub async fn revoke(State(app): State<App>, Path(id): Path<AgentId>, acting: Acting) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let Some(agent) = db::agent::get(write, id)? else { return Err(ApiError::not_found("agent")) };
            if db::agent::revoke(write, id, acting.now)? {
                jobs::end_of_excluded(write, id, jobs::Excluded::Revoked, acting.now)?;
                alerts::clear(write, AlertKind::AgentSuspended, &agent.name, acting.now)?;
                acting.done(write, "agent.revoke", &id.to_string(), &agent.name)?;
            }
            Ok(())
        })
        .await?;
    // Its request for work may be waiting.
    app.bell.ring();
    Ok(StatusCode::NO_CONTENT)
}

/// Lets an agent in again that was suspended because of what it stored.
#[utoipa::path(post, path = "/api/v1/agents/{id}/reinstate", tag = "agents",
    params(("id" = AgentId, Path, description = "agent")), responses((status = 200, body = Agent)))]
pub async fn reinstate(State(app): State<App>, Path(id): Path<AgentId>, acting: Acting) -> ApiResult<Json<Agent>> {
    let agent = app
        .database
        .write(move |write| {
            let agent = existing(write, id)?;
            if agent.suspended_at.is_some() {
                db::agent::set_suspended(write, id, None)?;
                alerts::clear(write, AlertKind::AgentSuspended, &agent.name, acting.now)?;
                acting.done(write, "agent.reinstate", &id.to_string(), &agent.name)?;
            }
            existing(write, id)
        })
        .await?;
    Ok(Json(agent))
}

/// The disks of an agent's machine, as it reported them last.
#[utoipa::path(get, path = "/api/v1/agents/{id}/devices", tag = "agents",
    params(("id" = AgentId, Path, description = "agent")), responses((status = 200, body = DeviceList)))]
pub async fn devices(State(app): State<App>, Path(id): Path<AgentId>) -> ApiResult<Json<DeviceList>> {
    let found = app
        .database
        .read(move |connection| {
            db::agent::get(connection, id)?.ok_or_else(|| ApiError::not_found("agent"))?;
            ApiResult::Ok(db::machine::devices(connection, id)?)
        })
        .await?;
    let never = DeviceList { reported_at: None, host: None, version: None, heard_at: None, devices: Vec::new() };
    Ok(Json(found.unwrap_or(never)))
}
