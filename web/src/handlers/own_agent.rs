//! The agent that makes the request: what it is, and a new secret.

use crate::auth::secret::{Kind, Secret};
use crate::db;
use crate::http::acting::Author;
use crate::http::peer::Peer;
use crate::http::{AgentCaller, ApiError, ApiResult};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::agent::Agent;
use web_api::audit::Outcome;
use web_api::token::RotatedSecret;

/// The agent of this request.
#[utoipa::path(get, path = "/api/v1/agent", tag = "agent", responses((status = 200, body = Agent)))]
pub async fn read(State(app): State<App>, caller: AgentCaller) -> ApiResult<Json<Agent>> {
    let found = app.database.read(move |connection| db::agent::get(connection, caller.id)).await?;
    Ok(Json(found.ok_or_else(|| ApiError::not_found("agent"))?))
}

/// A new secret for the agent of this request. The old one works until the new one was used once.
#[utoipa::path(post, path = "/api/v1/agent/rotate", tag = "agent", responses((status = 200, body = RotatedSecret)))]
pub async fn rotate(State(app): State<App>, peer: Peer, caller: AgentCaller) -> ApiResult<Json<RotatedSecret>> {
    let secret = Secret::generate(Kind::Agent);
    let (hash, prefix) = (secret.hash(), secret.prefix().to_owned());
    let author = Author { actor: format!("agent {}", caller.name), address: peer.address.to_string(), at: app.now() };
    app.database
        .write(move |write| {
            db::agent::set_next_secret(write, caller.id, (&hash, &prefix))?;
            author.record(write, "agent.rotate", &caller.id.to_string(), Outcome::Done, &prefix)?;
            db::event::append(write, author.at, "agent.rotate", &caller.id.to_string())
        })
        .await?;
    Ok(Json(RotatedSecret { secret: secret.expose().to_owned() }))
}
