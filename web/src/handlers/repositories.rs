//! Repositories that this server keeps for agents.

use crate::db::{self, Write};
use crate::http::body::{Path as Name, Query};
use crate::http::cursor::Wanted;
use crate::http::etag::{IfMatch, etag};
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::ingest::blocking;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use web_api::error::ErrorCode;
use web_api::id::RepositoryId;
use web_api::keeping::Care;
use web_api::page::{Page, PageQuery};
use web_api::repository::{AddRepository, ChangeRepository, REPOSITORY_NAMES, Repository, is_repository_name};

/// How often something may be done by itself.
const EVERY_S: RangeInclusive<u32> = 3600..=31_536_000;

impl Made for Repository {
    fn without_secret(&self) -> Self {
        self.clone()
    }
}

/// Repositories in the order of adding.
#[utoipa::path(get, path = "/api/v1/repositories", tag = "repositories", params(PageQuery),
    responses((status = 200, body = Page<Repository>)))]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> ApiResult<Json<Page<Repository>>> {
    let wanted = Wanted::<RepositoryId>::parse(&query)?;
    let found =
        app.database.read(move |connection| db::repository::page(connection, wanted.after, wanted.fetch())).await?;
    Ok(Json(wanted.page(found, |repository| repository.id)))
}

/// Takes over a repository that is on this server already. Nothing in it is changed.
#[utoipa::path(post, path = "/api/v1/repositories", tag = "repositories", request_body = AddRepository,
    responses((status = 201, body = Repository)))]
pub async fn add(
    State(app): State<App>,
    key: IdempotencyKey,
    acting: Acting,
    Body(request): Body<AddRepository>,
) -> ApiResult<(StatusCode, Json<Repository>)> {
    check(&request)?;
    let directory = PathBuf::from(&request.directory);
    let server = app.clone();
    let format_id = blocking(move || open(&server, &directory)).await?;
    let made = app
        .database
        .write(move |write| {
            once(write, &key, &acting, &request, |write| {
                let repository = Repository {
                    id: RepositoryId::generate(),
                    name: request.name.clone(),
                    directory: request.directory.clone(),
                    format_id,
                    created_at: acting.now,
                    care: Care::default(),
                    keeper: None,
                    revision: 1,
                    kit_confirmed_at: None,
                    kit_confirmed_by: None,
                };
                insert(write, &repository)?;
                let detail = format!("{} in {}", repository.name, repository.directory);
                acting.done(write, "repository.add", &repository.id.to_string(), &detail)?;
                Ok(repository)
            })
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// One repository.
#[utoipa::path(get, path = "/api/v1/repositories/{repository}", tag = "repositories",
    params(("repository" = String, Path, description = "its name")), responses((status = 200, body = Repository)))]
pub async fn read(State(app): State<App>, Name(name): Name<String>) -> ApiResult<impl IntoResponse> {
    let repository = app.database.read(move |connection| existing(connection, &name)).await?;
    Ok((etag(repository.revision), Json(repository)))
}

/// Changes how a repository is looked after.
#[utoipa::path(patch, path = "/api/v1/repositories/{repository}", tag = "repositories", request_body = ChangeRepository,
    params(("repository" = String, Path, description = "its name")), responses((status = 200, body = Repository)))]
pub async fn change(
    State(app): State<App>,
    Name(name): Name<String>,
    if_match: IfMatch,
    acting: Acting,
    Body(change): Body<ChangeRepository>,
) -> ApiResult<impl IntoResponse> {
    change.care.as_ref().map(check_care).transpose()?;
    let repository = app
        .database
        .write(move |write| {
            let repository = existing(write, &name)?;
            if_match.check(repository.revision)?;
            if let Some(care) = &change.care {
                db::repository::set_care(write, repository.id, care)?;
                let detail = format!(
                    "{name}: verify {}, check every {} s with {} %, prune every {} s, copy the database {}",
                    care.verify, care.check_every_s, care.check_sample_percent, care.prune_every_s, care.copy_database
                );
                acting.done(write, "repository.change", &repository.id.to_string(), &detail)?;
            }
            existing(write, &name)
        })
        .await?;
    Ok((etag(repository.revision), Json(repository)))
}

/// The repository of that name, or that there is none.
pub fn existing(connection: &rusqlite::Connection, name: &str) -> ApiResult<Repository> {
    db::repository::named(connection, name)?.ok_or_else(|| ApiError::not_found("repository"))
}

fn check_care(care: &Care) -> ApiResult<()> {
    for (what, every_s) in [("check_every_s", care.check_every_s), ("prune_every_s", care.prune_every_s)] {
        if every_s != 0 && !EVERY_S.contains(&every_s) {
            let allowed = format!("{what} is {every_s}; allowed is 0, or {} to {}", EVERY_S.start(), EVERY_S.end());
            return Err(ApiError::new(ErrorCode::Invalid, allowed));
        }
    }
    if !(0.0..=100.0).contains(&care.check_sample_percent) {
        return Err(ApiError::new(ErrorCode::Invalid, "check_sample_percent is a part of 100"));
    }
    Ok(())
}

fn check(request: &AddRepository) -> ApiResult<()> {
    if !is_repository_name(&request.name) {
        return Err(ApiError::new(ErrorCode::Invalid, "this cannot be a repository's name").why(REPOSITORY_NAMES));
    }
    if !Path::new(&request.directory).is_absolute() {
        return Err(ApiError::new(ErrorCode::Invalid, "a repository's directory is an absolute path on the server"));
    }
    Ok(())
}

fn open(app: &App, directory: &Path) -> ApiResult<String> {
    match app.repositories.get(directory) {
        Ok(served) => Ok(served.format_id().to_string()),
        Err(error) => Err(ApiError::new(ErrorCode::Invalid, "there is no repository that this server can use")
            .why(format!("{error:#}"))
            .next("make one with `icecore init`, readable and writable for the server's user")),
    }
}

fn insert(write: &Write<'_>, repository: &Repository) -> ApiResult<()> {
    db::repository::insert(write, repository).map_err(|error| match error.is_duplicate() {
        true => ApiError::new(ErrorCode::Conflict, "this server has a repository of that name, or this one already"),
        false => error.into(),
    })
}
