//! Files by name, and the versions of one file, through all recovery points of a series: questions to the repository's keeper, which keeps
//! the lists of files sealed. The server sees what is asked and what is found, as with every look into a point.

use super::files::{check, looked, odd_answer};
use crate::http::body::{Path, Query};
use crate::http::{Acting, ApiError, ApiResult};
use crate::questions::Answered;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use web_api::error::ErrorCode;
use web_api::file::{
    FileAnswer, FilePlace, FileQuestion, FileVersions, FoundFiles, MAX_FOUND, MAX_PATH_BYTES, MAX_PATTERN, SearchFiles,
};

/// Longest place of a search that is passed on.
const MAX_CURSOR_BYTES: usize = 2 * MAX_PATH_BYTES;

/// Files by name through all recovery points of the same name as this one, in all their versions.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}/search", tag = "files",
    params(("id" = String, Path, description = "recovery point"), SearchFiles), responses((status = 200, body = FoundFiles)))]
pub async fn search(
    State(app): State<App>,
    Path(point): Path<String>,
    acting: Acting,
    Query(query): Query<SearchFiles>,
) -> ApiResult<Json<FoundFiles>> {
    let SearchFiles { name, below, limit, cursor } = query;
    let limit = limit.unwrap_or(MAX_FOUND);
    if !(1..=MAX_FOUND).contains(&limit) {
        return Err(ApiError::new(ErrorCode::BadRequest, format!("limit is 1 to {MAX_FOUND}")));
    }
    if !(1..=MAX_PATTERN).contains(&name.chars().count()) {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            format!("a name to search for has 1 to {MAX_PATTERN} characters"),
        ));
    }
    below.as_deref().map_or(Ok(()), check)?;
    if cursor.as_ref().is_some_and(|cursor| cursor.len() > MAX_CURSOR_BYTES) {
        return Err(ApiError::new(ErrorCode::Invalid, "this is no place of a search"));
    }
    let looked = looked(&app, &acting, &point).await?;
    match looked.ask(&app, FileQuestion::Search { pattern: name, below, cursor, limit }).await? {
        Answered::Said(FileAnswer::Found(found)) => Ok(Json(found)),
        _ => Err(odd_answer()),
    }
}

/// What one file was through all recovery points of the same name as this one.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}/versions", tag = "files",
    params(("id" = String, Path, description = "recovery point"), FilePlace), responses((status = 200, body = FileVersions)))]
pub async fn versions(
    State(app): State<App>,
    Path(point): Path<String>,
    acting: Acting,
    Query(place): Query<FilePlace>,
) -> ApiResult<Json<FileVersions>> {
    check(&place.path)?;
    let looked = looked(&app, &acting, &point).await?;
    let FilePlace { disk, partition, path } = place;
    match looked.ask(&app, FileQuestion::Versions { disk, partition, path }).await? {
        Answered::Said(FileAnswer::Versions(versions)) => Ok(Json(versions)),
        _ => Err(odd_answer()),
    }
}
