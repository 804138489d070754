//! The objects of a repository, for agents: what `icecore --repo https://…` reads and writes.
//!
//! Who asks is an agent; which repository and which writer it stands for follows from its secret, not from the request.

use crate::db;
use crate::http::body::{Path, Query};
use crate::http::{AgentCaller, ApiError, ApiResult, Body};
use crate::ingest::{self, blocking};
use crate::repositories::Served;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use repo_format::gate::Object;
use repo_format::id::EntryKey;
use repo_format::pack::PackKind;
use repo_format::store::Store as _;
use std::path::PathBuf;
use std::sync::Arc;
use web_api::error::ErrorCode;
use web_api::object::{
    AskPacks, FoundPacks, KindOfPack, LEASE_HEADER, ListObjects, ListedObject, MAX_ASKED_KEYS, MAX_LISTED,
    MAX_READ_BYTES, PersistObjects, from_url,
};
use web_api::page::Page;
use web_api::unit::ByteCount;

/// The repository of an agent's requests, if that is the one in the URL.
async fn served(app: &App, agent: &AgentCaller, name: &str) -> ApiResult<Arc<Served>> {
    if agent.repository != name {
        return Err(ApiError::not_found("repository"));
    }
    let wanted = name.to_owned();
    let found = app.database.read(move |connection| db::repository::named(connection, &wanted)).await?;
    let directory = PathBuf::from(found.ok_or_else(|| ApiError::not_found("repository"))?.directory);
    let app = app.clone();
    blocking(move || {
        app.repositories.get(&directory).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "a repository cannot be opened");
            ApiError::new(ErrorCode::Unavailable, "the repository cannot be used at the moment")
                .next("look into the server's log")
        })
    })
    .await
}

/// Objects below a prefix that the agent may see, in the order of their keys.
#[utoipa::path(get, path = "/api/v1/repositories/{repository}/objects", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"), ListObjects),
    responses((status = 200, body = Page<ListedObject>)))]
pub async fn list(
    State(app): State<App>,
    agent: AgentCaller,
    Path(repository): Path<String>,
    Query(query): Query<ListObjects>,
) -> ApiResult<Json<Page<ListedObject>>> {
    let served = served(&app, &agent, &repository).await?;
    blocking(move || page(&served, &agent, &query)).await.map(Json)
}

fn page(served: &Served, agent: &AgentCaller, query: &ListObjects) -> ApiResult<Page<ListedObject>> {
    let mut found = Vec::new();
    served.store().list(&query.prefix, &mut |key, size| {
        if query.cursor.as_deref().is_none_or(|cursor| key > cursor) {
            found.push((key.to_owned(), size));
        }
    })?;
    found.sort_unstable();
    let gate = served.gate();
    let mut items = Vec::new();
    let mut next_cursor = None;
    for (key, size) in found {
        if !gate.may_see(&**served.store(), agent.writer, &Object::of(&key))? {
            continue;
        }
        if items.len() == MAX_LISTED {
            next_cursor = items.last().map(|last: &ListedObject| last.key.clone());
            break;
        }
        items.push(ListedObject { key, size_bytes: ByteCount(size) });
    }
    Ok(Page { items, next_cursor })
}

/// How long an object is, as the length of an answer without a body.
#[utoipa::path(head, path = "/api/v1/repositories/{repository}/objects/{key}", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the object, with dots for slashes")), responses((status = 200)))]
pub async fn size(
    State(app): State<App>,
    agent: AgentCaller,
    Path((repository, key)): Path<(String, String)>,
) -> ApiResult<Response> {
    let served = served(&app, &agent, &repository).await?;
    let size = blocking(move || size_of(&served, &agent, &from_url(&key))).await?;
    Ok(([(header::CONTENT_LENGTH, size)], ()).into_response())
}

/// Part of an object, by `Range: bytes=FIRST-LAST`.
#[utoipa::path(get, path = "/api/v1/repositories/{repository}/objects/{key}", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the object, with dots for slashes"),
        ("range" = String, Header, description = "bytes=FIRST-LAST, at most 8 MiB")),
    responses((status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn read(
    State(app): State<App>,
    agent: AgentCaller,
    Path((repository, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let served = served(&app, &agent, &repository).await?;
    let key = from_url(&key);
    let (first, last) = range(&headers)?;
    let _permit = app.in_memory.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let (bytes, size) = blocking(move || {
        let size = size_of(&served, &agent, &key)?;
        if last >= size {
            return Err(ApiError::new(ErrorCode::Invalid, format!("the object ends at byte {size}")));
        }
        let gate = served.gate();
        let object = Object::of(&key);
        gate.may_read(&**served.store(), agent.writer, (&key, &object), (first, last - first + 1))?;
        let mut bytes = vec![0; usize::try_from(last - first + 1).map_err(|error| ApiError::internal(&error))?];
        served.store().read_at(&key, first, &mut bytes)?;
        Ok((bytes, size))
    })
    .await?;
    let content_range = format!("bytes {first}-{last}/{size}");
    let headers = [(header::CONTENT_RANGE, content_range), (header::CONTENT_TYPE, "application/octet-stream".into())];
    Ok((StatusCode::PARTIAL_CONTENT, headers, bytes).into_response())
}

fn size_of(served: &Served, agent: &AgentCaller, key: &str) -> ApiResult<u64> {
    let seen = served.gate().may_see(&**served.store(), agent.writer, &Object::of(key))?;
    let size = if seen { served.store().size(key)? } else { None };
    size.ok_or_else(|| ApiError::not_found("object"))
}

/// First and last byte of the range that is wanted.
fn range(headers: &HeaderMap) -> ApiResult<(u64, u64)> {
    let invalid = || {
        ApiError::new(ErrorCode::Invalid, "this is no range that can be read")
            .why(format!("a request reads one range of at most {MAX_READ_BYTES} bytes"))
            .next("send Range: bytes=FIRST-LAST")
    };
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).ok_or_else(invalid)?;
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(invalid)?;
    let (first, last): (u64, u64) = first.parse().ok().zip(last.parse().ok()).ok_or_else(invalid)?;
    if last < first || last - first >= MAX_READ_BYTES {
        return Err(invalid());
    }
    Ok((first, last))
}

/// Stores an object. The same bytes once more are no error; anything else in the place of an object is.
#[utoipa::path(put, path = "/api/v1/repositories/{repository}/objects/{key}", tag = "objects",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the object, with dots for slashes"),
        ("icecore-lease" = Option<String>, Header, description = "object of the session's lease; with manifests")),
    responses((status = 204)))]
pub async fn store(
    State(app): State<App>,
    agent: AgentCaller,
    Path((repository, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> ApiResult<StatusCode> {
    let served = served(&app, &agent, &repository).await?;
    let key = from_url(&key);
    let object = Object::of(&key);
    if let Object::Pack(kind, id) = object {
        let _permit = app.uploads.acquire().await.map_err(|error| ApiError::internal(&error))?;
        ingest::pack(served, agent.writer, (kind, id), body).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    // Not behind the packs: a lease must be renewed while slow ones arrive.
    let _permit = app.in_memory.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let lease = headers.get(LEASE_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let now = app.now();
    let size_bytes = ingest::record(served, agent.writer, key, lease, body, now).await?;
    if let Object::Manifest(point) = object {
        app.database
            .write(move |write| {
                db::receipt::note(write, (agent.repository_id, agent.id), &point, size_bytes, now)?;
                db::event::append(write, now, "recovery-point.received", &point.manifest.to_string())
            })
            .await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Removes one of the agent's own leases. Nothing else can be removed here.
#[utoipa::path(delete, path = "/api/v1/repositories/{repository}/objects/{key}", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the object, with dots for slashes")),
    responses((status = 204)))]
pub async fn remove(
    State(app): State<App>,
    agent: AgentCaller,
    Path((repository, key)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let served = served(&app, &agent, &repository).await?;
    let key = from_url(&key);
    blocking(move || {
        served.gate().may_delete(&**served.store(), agent.writer, (&key, &Object::of(&key)))?;
        Ok(served.store().delete(&key)?)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Packs that hold these chunks or nodes, as far as the agent may rely on them.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/packs-with", tag = "objects", request_body = AskPacks,
    params(("repository" = String, Path, description = "name of the repository")),
    responses((status = 200, body = FoundPacks)))]
pub async fn packs_with(
    State(app): State<App>,
    agent: AgentCaller,
    Path(repository): Path<String>,
    Body(asked): Body<AskPacks>,
) -> ApiResult<Json<FoundPacks>> {
    let served = served(&app, &agent, &repository).await?;
    check_count(asked.keys.len())?;
    let kind = match asked.kind {
        KindOfPack::Data => PackKind::Data,
        KindOfPack::Tree => PackKind::Tree,
    };
    let keys: Result<Vec<EntryKey>, _> = asked.keys.iter().map(|key| key.parse()).collect();
    let keys = keys.map_err(|_| ApiError::new(ErrorCode::Invalid, "a key is 32 hexadecimal digits"))?;
    let packs = blocking(move || Ok(served.gate().packs_with(served.index(), agent.writer, kind, &keys)?)).await?;
    Ok(Json(FoundPacks { packs: packs.iter().map(ToString::to_string).collect() }))
}

/// Makes objects durable that the agent found and did not put.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/persist", tag = "objects", request_body = PersistObjects,
    params(("repository" = String, Path, description = "name of the repository")), responses((status = 204)))]
pub async fn persist(
    State(app): State<App>,
    agent: AgentCaller,
    Path(repository): Path<String>,
    Body(asked): Body<PersistObjects>,
) -> ApiResult<StatusCode> {
    let served = served(&app, &agent, &repository).await?;
    check_count(asked.keys.len())?;
    blocking(move || Ok(served.store().persist(&asked.keys)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_count(count: usize) -> ApiResult<()> {
    if count <= MAX_ASKED_KEYS {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Invalid, format!("{count} keys are too many at once"))
        .next(format!("ask for at most {MAX_ASKED_KEYS}")))
}
