//! The token that came with the request itself: what it is, and its end. More it cannot do to itself.

use super::tokens;
use crate::auth::secret::{Kind, Secret};
use crate::db;
use crate::http::{Acting, ApiError, ApiResult};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use web_api::id::TokenId;
use web_api::token::{RotatedSecret, Token};

fn own(acting: &Acting) -> ApiResult<TokenId> {
    acting.caller.token_id().ok_or_else(|| ApiError::internal(&"a route is about a token and does not need one"))
}

/// The token of this request.
#[utoipa::path(get, path = "/api/v1/token", tag = "token", responses((status = 200, body = Token)))]
pub async fn read(State(app): State<App>, acting: Acting) -> ApiResult<Json<Token>> {
    let id = own(&acting)?;
    let found = app.database.read(move |connection| db::token::get(connection, id)).await?;
    Ok(Json(found.ok_or_else(|| ApiError::not_found("token"))?))
}

/// A new secret for the token of this request. The old one works until the new one was used once; rights and end stay.
#[utoipa::path(post, path = "/api/v1/token/rotate", tag = "token", responses((status = 200, body = RotatedSecret)))]
pub async fn rotate(State(app): State<App>, acting: Acting) -> ApiResult<Json<RotatedSecret>> {
    let id = own(&acting)?;
    let secret = Secret::generate(Kind::Token);
    let (hash, prefix) = (secret.hash(), secret.prefix().to_owned());
    app.database
        .write(move |write| {
            db::token::set_next_secret(write, id, (&hash, &prefix))?;
            acting.done(write, "token.rotate", &id.to_string(), &prefix)
        })
        .await?;
    Ok(Json(RotatedSecret { secret: secret.expose().to_owned() }))
}

/// Revokes the token of this request.
#[utoipa::path(delete, path = "/api/v1/token", tag = "token", responses((status = 204)))]
pub async fn revoke(State(app): State<App>, acting: Acting) -> ApiResult<StatusCode> {
    let id = own(&acting)?;
    app.database.write(move |write| tokens::revoke_for(write, &acting, acting.caller.user_id, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
