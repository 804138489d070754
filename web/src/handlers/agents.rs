//! Agents: who may store into which repository, in whose name.

use crate::auth::name;
use crate::auth::secret::{Kind, Secret};
use crate::db::{self, Write};
use crate::http::body::{Path, Query};
use crate::http::cursor::Wanted;
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::ingest::blocking;
use crate::jobs;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use repo_format::id::WriterId;
use std::path::PathBuf;
use web_api::agent::{Agent, CreateAgent, CreatedAgent};
use web_api::device::DeviceList;
use web_api::error::ErrorCode;
use web_api::id::AgentId;
use web_api::page::{Page, PageQuery};
use web_api::repository::Repository;

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
    if !name::is_allowed(&request.name) {
        return Err(ApiError::new(ErrorCode::Invalid, "this cannot be an agent's name")
            .why("a name has 1 to 64 small letters, digits, '.', '_' or '-' and begins with a letter or digit"));
    }
    let writer: WriterId = request.writer.parse().map_err(|_| {
        ApiError::new(ErrorCode::Invalid, "a writer is 32 hexadecimal digits")
            .next("`icecore key writer-export` makes a writer and says its id; `icecore key list` shows all")
    })?;
    let (app, directory) = (app.clone(), PathBuf::from(&repository.directory));
    blocking(move || {
        let served = app.repositories.get(&directory).map_err(|error| ApiError::internal(&format!("{error:#}")))?;
        served
            .renew_gate()?
            .may_begin(writer)
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
    };
    db::agent::insert(write, &agent, repository.id, &secret.hash()).map_err(|error| match error.is_duplicate() {
        true => ApiError::new(ErrorCode::Conflict, format!("there is an agent named {}", agent.name))
            .next("choose another name"),
        false => error.into(),
    })?;
    let detail = format!("{} stores into {} as writer {}", agent.name, agent.repository, agent.writer);
    acting.done(write, "agent.create", &agent.id.to_string(), &detail)?;
    Ok(CreatedAgent { agent, secret: Some(secret.expose().to_owned()) })
}

/// Revokes an agent: nothing that it sends is taken any more. What it stored stays.
#[utoipa::path(post, path = "/api/v1/agents/{id}/revoke", tag = "agents",
    params(("id" = AgentId, Path, description = "agent")), responses((status = 204)))]
pub async fn revoke(State(app): State<App>, Path(id): Path<AgentId>, acting: Acting) -> ApiResult<StatusCode> {
    app.database
        .write(move |write| {
            let Some(agent) = db::agent::get(write, id)? else { return Err(ApiError::not_found("agent")) };
            if db::agent::revoke(write, id, acting.now)? {
                jobs::end_of_revoked(write, id, acting.now)?;
                acting.done(write, "agent.revoke", &id.to_string(), &agent.name)?;
            }
            Ok(())
        })
        .await?;
    // Its request for work may be waiting.
    app.bell.ring();
    Ok(StatusCode::NO_CONTENT)
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
