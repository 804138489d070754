//! Requests of agents: who it is, which repository and which writer it stands for.

use super::access;
use super::error::{ApiError, ApiResult};
use crate::auth::secret::{Kind, Secret};
use crate::auth::session::NOTE_EVERY;
use crate::db;
use crate::state::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use repo_format::id::WriterId;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, RepositoryId};

/// The agent behind a request of a route that needs one.
#[derive(Clone, Debug)]
pub struct AgentCaller {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// The repository that it may use.
    pub repository: String,
    /// That repository's id.
    pub repository_id: RepositoryId,
    /// The writer in whose name it stores.
    pub writer: WriterId,
    /// How fast it may send.
    pub limit_bytes_per_s: Option<u64>,
    /// How much its packs may take.
    pub quota_bytes: Option<u64>,
    /// Whether it keeps the repository.
    pub keeper: bool,
}

/// Whether a machine asks: what came has the mark of an agent's secret.
pub fn comes(headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer.is_some_and(|text| Kind::Agent.marks(text.trim()))
}

/// Who that is, at this moment; revoked agents are nobody.
pub async fn agent(app: &App, headers: &HeaderMap) -> ApiResult<AgentCaller> {
    let secret = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|text| Secret::parse(Kind::Agent, text.trim()))
        .ok_or_else(|| no_agent(headers, app.secure))?;
    let hash = secret.hash();
    let found = app
        .database
        .read(move |connection| {
            let Some((agent, is_next)) = db::agent::find(connection, &hash)? else { return Ok(None) };
            let repository = db::repository::named(connection, &agent.repository)?;
            Ok::<_, db::Error>(repository.map(|repository| (agent, repository.id, is_next)))
        })
        .await?;
    let Some((agent, repository_id, is_next)) = found.filter(|(agent, ..)| agent.revoked_at.is_none()) else {
        return Err(unknown("the agent is unknown or was revoked"));
    };
    if agent.suspended_at.is_some() {
        return Err(suspended());
    }
    if is_next {
        // Refused where it cannot be stored: who uses the new secret relies on the end of the old one.
        app.database.write(move |write| db::agent::end_old_secret(write, &hash)).await?;
    }
    let (id, now) = (agent.id, app.now());
    // Later than now is by a clock that was ahead; it would hide that nothing is heard.
    if agent.last_seen_at.is_none_or(|seen| now.since(seen) >= NOTE_EVERY || seen > now)
        && let Err(error) = app.database.write(move |write| db::agent::seen(write, id, now)).await
    {
        // A full disk must not keep anybody from restoring.
        tracing::warn!(%error, "it could not be noted when an agent was last seen");
    }
    let writer = agent.writer.parse().map_err(|error| ApiError::internal(&error))?;
    let (limit_bytes_per_s, quota_bytes) = (agent.limit_bytes_per_s, agent.quota_bytes.map(|quota| quota.0));
    let (name, repository, keeper) = (agent.name, agent.repository, agent.keeper);
    Ok(AgentCaller { id, name, repository, repository_id, writer, limit_bytes_per_s, quota_bytes, keeper })
}

/// Refuses an agent that was revoked since its request began: what takes long to arrive is not taken any more.
pub async fn still_counts(app: &App, agent: &AgentCaller) -> ApiResult<()> {
    let id = agent.id;
    let found = app.database.read(move |connection| db::agent::get(connection, id)).await?;
    match found {
        Some(agent) if agent.suspended_at.is_some() => Err(suspended()),
        Some(agent) if agent.revoked_at.is_none() => Ok(()),
        _ => Err(unknown("the agent was revoked")),
    }
}

/// What it stored was not what it said.
fn suspended() -> ApiError {
    ApiError::new(ErrorCode::NotLoggedIn, "the agent was suspended")
        .why("something that it stored does not hold what it says")
        .next("ask an admin of the server: the alert about it says more, and reinstating it lets it in again")
}

/// Who comes as a person or a script is somebody, and not who this is for.
fn no_agent(headers: &HeaderMap, secure: bool) -> ApiError {
    const WHY: &str = "no agent's secret came with the request";
    match access::credential(headers, secure) {
        Ok(_) => ApiError::new(ErrorCode::Forbidden, "this is for agents").why(WHY),
        Err(_) => unknown(WHY),
    }
}

fn unknown(why: &str) -> ApiError {
    ApiError::new(ErrorCode::NotLoggedIn, "this is for agents")
        .why(why)
        .next("give the machine its secret by --token-file or ICECORE_TOKEN")
}

impl FromRequestParts<App> for AgentCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal(&"a route asks for an agent and does not need one"))
    }
}
