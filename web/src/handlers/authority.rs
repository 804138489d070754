//! The server's own certificate authority, for who does not trust it yet.

use crate::http::{ApiError, ApiResult};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::authority::Authority;

/// The internal certificate authority. Whoever asks has to compare the fingerprint: the way here is not trusted yet.
#[utoipa::path(get, path = "/api/v1/authority", tag = "authority", responses((status = 200, body = Authority)))]
pub async fn read(State(app): State<App>) -> ApiResult<Json<Authority>> {
    let authority = app.authority.clone().ok_or_else(|| {
        ApiError::not_found("certificate authority").why("this server's certificate is not of an authority of its own")
    })?;
    Ok(Json(authority))
}
