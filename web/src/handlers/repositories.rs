//! Repositories that this server keeps for agents.

use crate::db::{self, Write};
use crate::http::body::Query;
use crate::http::cursor::Wanted;
use crate::http::idempotency::{IdempotencyKey, Made, once};
use crate::http::{Acting, ApiError, ApiResult, Body};
use crate::ingest::blocking;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::path::{Path, PathBuf};
use web_api::error::ErrorCode;
use web_api::id::RepositoryId;
use web_api::page::{Page, PageQuery};
use web_api::repository::{AddRepository, REPOSITORY_NAMES, Repository, is_repository_name};

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
