//! That a repository's recovery kit is in a safe place: somebody says so, and types a part of it to show that they have it before them.
//!
//! The server has never seen the kit. What is typed is the end of the repository's id, which is printed on the kit and proves
//! only that somebody looked; the point is that the overview stays red until somebody did.

use crate::db;
use crate::http::body::Path;
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::error::ErrorCode;
use web_api::repository::{ConfirmKit, KIT_DIGITS, Repository};

/// Notes that the kit is safe.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/recovery-kit", tag = "repositories", request_body = ConfirmKit,
    params(("repository" = String, Path, description = "name of the repository")), responses((status = 200, body = Repository)))]
pub async fn confirm(
    State(app): State<App>,
    Path(name): Path<String>,
    acting: Acting,
    Body(request): Body<ConfirmKit>,
) -> ApiResult<Json<Repository>> {
    let repository = app
        .database
        .write(move |write| {
            let found = db::repository::named(write, &name)?.ok_or_else(|| ApiError::not_found("repository"))?;
            check(&found, &request.digits)?;
            db::repository::confirm_kit(write, found.id, &acting.caller.name, acting.now)?;
            acting.done(write, "repository.kit_confirm", &found.id.to_string(), &found.name)?;
            db::repository::get(write, found.id)?.ok_or_else(|| ApiError::not_found("repository"))
        })
        .await?;
    Ok(Json(repository))
}

/// Compares without regard to case, spaces and dashes, as a kit is read.
fn check(repository: &Repository, typed: &str) -> ApiResult<()> {
    let typed: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let expected = &repository.format_id[repository.format_id.len().saturating_sub(KIT_DIGITS)..];
    if typed.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Invalid, "this is not on the recovery kit of this repository")
        .why(format!("the line `repository:` of its kit ends in other digits (the last {KIT_DIGITS} count)"))
        .next("look whether the kit in your hand is that of this repository; `icecore key recovery-export` makes it again"))
}
