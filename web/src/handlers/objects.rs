//! The objects of a repository: what `icecore --repo https://…` reads and writes.
//!
//! Who asks is a machine or a person who may restore; what each may do is `repo_format::gate`'s to say.

use crate::db;
use crate::http::body::{Path, Query};
use crate::http::{ApiError, ApiResult, Asker, Body, reading_lease};
use crate::ingest::{self, blocking};
use crate::repositories::Served;
use crate::state::App;
use crate::unfinished::Upload;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use repo_format::gate::{Object, Party};
use repo_format::id::EntryKey;
use repo_format::pack::{MAX_PACK_BYTES, PackKind};
use repo_format::store::Store as _;
use web_api::error::ErrorCode;
use web_api::object::{
    AskPacks, FoundPacks, Framed, KindOfPack, LEASE_HEADER, ListObjects, ListedObject, MAX_ASKED_KEYS, MAX_LISTED,
    MAX_READ_BYTES, MAX_READ_OBJECTS, OFFSET_HEADER, PersistObjects, ReadObjects, Received, from_url,
};
use web_api::page::Page;
use web_api::unit::{ByteCount, Time};

/// Objects below a prefix that the caller may see, in the order of their keys.
#[utoipa::path(get, path = "/api/v1/repositories/{repository}/objects", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"), ListObjects),
    responses((status = 200, body = Page<ListedObject>)))]
pub async fn list(
    State(app): State<App>,
    asker: Asker,
    Path(repository): Path<String>,
    Query(query): Query<ListObjects>,
) -> ApiResult<Json<Page<ListedObject>>> {
    let served = asker.served(&app, &repository).await?;
    blocking(move || page(&served, asker.party(), &query)).await.map(Json)
}

fn page(served: &Served, party: Party, query: &ListObjects) -> ApiResult<Page<ListedObject>> {
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
        if !gate.may_see(&**served.store(), party, &Object::of(&key))? {
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
    asker: Asker,
    Path((repository, key)): Path<(String, String)>,
) -> ApiResult<Response> {
    let served = asker.served(&app, &repository).await?;
    let size = blocking(move || size_of(&served, asker.party(), &from_url(&key))).await?;
    Ok(([(header::CONTENT_LENGTH, size)], ()).into_response())
}

/// Part of an object, by `Range: bytes=FIRST-LAST`; what lies beyond its end is left out.
#[utoipa::path(get, path = "/api/v1/repositories/{repository}/objects/{key}", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the object, with dots for slashes"),
        ("range" = String, Header, description = "bytes=FIRST-LAST, at most 8 MiB")),
    responses((status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn read(
    State(app): State<App>,
    asker: Asker,
    Path((repository, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let served = asker.served(&app, &repository).await?;
    let key = from_url(&key);
    let range = range(&headers)?;
    let _permit = app.in_memory.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let (bytes, content_range) = blocking(move || part(&served, asker.party(), &key, range)).await?;
    let headers = [(header::CONTENT_RANGE, content_range), (header::CONTENT_TYPE, "application/octet-stream".into())];
    Ok((StatusCode::PARTIAL_CONTENT, headers, bytes).into_response())
}

/// Several small objects as a whole, one after the other: 8 bytes with the length, little-endian, and the bytes. What is not there, not for
/// the caller, or has no room in the 8 MiB of an answer has a length of 2^64 - 1 and no bytes; a request for it alone says which.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/read-objects", tag = "objects", request_body = ReadObjects,
    params(("repository" = String, Path, description = "name of the repository")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn read_several(
    State(app): State<App>,
    asker: Asker,
    Path(repository): Path<String>,
    Body(asked): Body<ReadObjects>,
) -> ApiResult<Response> {
    let served = asker.served(&app, &repository).await?;
    check_count(asked.keys.len(), MAX_READ_OBJECTS)?;
    let _permit = app.in_memory.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let bytes = blocking(move || several(&served, asker.party(), &asked.keys)).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

fn several(served: &Served, party: Party, keys: &[String]) -> ApiResult<Vec<u8>> {
    let mut answer = Vec::new();
    for key in keys {
        let room = MAX_READ_BYTES.saturating_sub(answer.len() as u64);
        match whole(served, party, key, room) {
            Ok(bytes) => Framed::Whole(&bytes).write(&mut answer),
            // A store that fails is no object's fault; the rest is: who asks for it alone hears why.
            Err(error) if error.code() == ErrorCode::Unavailable => return Err(error),
            Err(_) => Framed::AskAlone.write(&mut answer),
        }
    }
    Ok(answer)
}

fn whole(served: &Served, party: Party, key: &str, room_bytes: u64) -> ApiResult<Vec<u8>> {
    let size = size_of(served, party, key)?;
    if size > room_bytes {
        return Err(ApiError::new(ErrorCode::TooLarge, "there is no room left in the answer"));
    }
    if size == 0 {
        return Ok(Vec::new());
    }
    part(served, party, key, (0, size - 1)).map(|(bytes, _)| bytes)
}

/// The bytes, and what the answer says of them.
fn part(served: &Served, party: Party, key: &str, (first, last): (u64, u64)) -> ApiResult<(Vec<u8>, String)> {
    let size = size_of(served, party, key)?;
    let last = last.min(size.saturating_sub(1));
    if first > last || first >= size {
        return Err(ApiError::new(ErrorCode::Invalid, format!("the object ends at byte {size}")));
    }
    let length = last - first + 1;
    served.gate().may_read(&**served.store(), party, (key, &Object::of(key)), (first, length))?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|error| ApiError::internal(&error))?];
    served.store().read_at(key, first, &mut bytes)?;
    Ok((bytes, format!("bytes {first}-{last}/{size}")))
}

fn size_of(served: &Served, party: Party, key: &str) -> ApiResult<u64> {
    let seen = served.gate().may_see(&**served.store(), party, &Object::of(key))?;
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
        ("icecore-lease" = Option<String>, Header, description = "object of the session's lease; with manifests"),
        ("upload-offset" = Option<u64>, Header, description = "of a pack, how many bytes were received before; the body is the rest")),
    responses((status = 204)))]
pub async fn store(
    State(app): State<App>,
    asker: Asker,
    Path((repository, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> ApiResult<StatusCode> {
    let served = asker.served(&app, &repository).await?;
    let key = from_url(&key);
    let object = Object::of(&key);
    if let Object::Pack(kind, id) = object {
        let Asker::Agent(agent) = asker else { return Err(machines_work()) };
        let _permit = app.uploads.acquire().await.map_err(|error| ApiError::internal(&error))?;
        let offset = offset(&headers)?;
        ingest::pack(&app, served, &agent, (kind, id), (offset, body)).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    // Not behind the packs: a lease must be renewed while slow ones arrive.
    let _permit = app.in_memory.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let lease = headers.get(LEASE_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let now = app.now();
    check_quota(&app, &served, &asker, &object).await?;
    reading_lease::before_storing(&app, &asker, &object).await?;
    let size_bytes = ingest::record(&app, served, &asker, (key.clone(), lease), body, now).await?;
    reading_lease::after_storing(&app, &asker, &object).await?;
    stored(&app, asker, (&key, &object), size_bytes, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where the bytes of the body begin.
fn offset(headers: &HeaderMap) -> ApiResult<u64> {
    let Some(value) = headers.get(OFFSET_HEADER) else { return Ok(0) };
    let offset = value.to_str().ok().and_then(|value| value.parse().ok()).filter(|offset| *offset <= MAX_PACK_BYTES);
    offset.ok_or_else(|| {
        ApiError::new(ErrorCode::Invalid, format!("{OFFSET_HEADER} is no offset in a pack"))
            .next("send how many bytes were received, as …/uploads/{key} says")
    })
}

/// How much of a pack came whose line broke: the rest is sent with `Upload-Offset`. A request that still brings it ends.
#[utoipa::path(get, path = "/api/v1/repositories/{repository}/uploads/{key}", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the pack, with dots for slashes")),
    responses((status = 200, body = Received)))]
pub async fn received(
    State(app): State<App>,
    asker: Asker,
    Path((repository, key)): Path<(String, String)>,
) -> ApiResult<Json<Received>> {
    asker.served(&app, &repository).await?;
    let Object::Pack(kind, id) = Object::of(&from_url(&key)) else { return Err(ApiError::not_found("pack")) };
    let Asker::Agent(agent) = asker else { return Err(machines_work()) };
    let received = app.unfinished.received(Upload::new(&agent, (kind, id))).await?;
    Ok(Json(Received { received_bytes: ByteCount(received) }))
}

/// Manifests count too, and none is taken once the quota is used up: packs without a manifest are no recovery point.
async fn check_quota(app: &App, served: &Served, asker: &Asker, object: &Object) -> ApiResult<()> {
    let (Asker::Agent(agent), Object::Manifest(_)) = (asker, object) else { return Ok(()) };
    let Some(quota) = agent.quota_bytes else { return Ok(()) };
    let id = agent.id;
    let manifests = app.database.read(move |connection| db::receipt::bytes_of(connection, id)).await?;
    let used = served.usage().of(agent.writer).saturating_add(manifests);
    if used < quota { Ok(()) } else { Err(ingest::quota_exceeded(agent, used)) }
}

fn machines_work() -> ApiError {
    ApiError::new(ErrorCode::Forbidden, "packs are stored by machines")
        .why("what came is a person's login, which reads")
        .next("back up with the machine's own secret: `icecore agent enroll`, or --token-file")
}

/// Notes what was stored: when a recovery point came in, and what a person changed.
async fn stored(app: &App, asker: Asker, (key, object): (&str, &Object), size_bytes: u64, now: Time) -> ApiResult<()> {
    match (asker, object) {
        (Asker::Agent(agent), Object::Manifest(point)) => {
            let point = *point;
            let note = move |write: &mut db::Write<'_>| {
                db::receipt::note(write, (agent.repository_id, agent.id), &point, size_bytes, now)?;
                db::event::append(write, now, "recovery-point.received", &point.manifest.to_string())
            };
            Ok(app.database.write(note).await?)
        }
        (Asker::Person(acting), _) => {
            let (action, subject) = match key.split_once('/') {
                Some(("tombstones", manifest)) => ("recovery-point.forget", manifest),
                Some(("writers", record)) => ("writer.change", record),
                _ => return Ok(()),
            };
            let subject = subject.to_owned();
            Ok(app.database.write(move |write| acting.done(write, action, &subject, "over the API")).await?)
        }
        _ => Ok(()),
    }
}

/// Removes a lease of one's own, or what stands in the way of a point that a person takes back. Nothing else can be removed here.
#[utoipa::path(delete, path = "/api/v1/repositories/{repository}/objects/{key}", tag = "objects",
    params(("repository" = String, Path, description = "name of the repository"),
        ("key" = String, Path, description = "key of the object, with dots for slashes")),
    responses((status = 204)))]
pub async fn remove(
    State(app): State<App>,
    asker: Asker,
    Path((repository, key)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let served = asker.served(&app, &repository).await?;
    let (key, party) = (from_url(&key), asker.party());
    reading_lease::check(&app, &asker, &Object::of(&key)).await?;
    let key = blocking(move || {
        let _one_at_a_time = served.lock_records();
        served.gate().may_delete(&**served.store(), party, (&key, &Object::of(&key)))?;
        served.store().delete(&key)?;
        Ok(key)
    })
    .await?;
    if let (Asker::Person(acting), Some(("tombstones", manifest))) = (asker, key.split_once('/')) {
        let manifest = manifest.to_owned();
        app.database.write(move |write| acting.done(write, "recovery-point.undo", &manifest, "over the API")).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Packs that hold these chunks or nodes, as far as the caller may rely on them.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/packs-with", tag = "objects", request_body = AskPacks,
    params(("repository" = String, Path, description = "name of the repository")),
    responses((status = 200, body = FoundPacks)))]
pub async fn packs_with(
    State(app): State<App>,
    asker: Asker,
    Path(repository): Path<String>,
    Body(asked): Body<AskPacks>,
) -> ApiResult<Json<FoundPacks>> {
    let served = asker.served(&app, &repository).await?;
    check_count(asked.keys.len(), MAX_ASKED_KEYS)?;
    let kind = match asked.kind {
        KindOfPack::Data => PackKind::Data,
        KindOfPack::Tree => PackKind::Tree,
    };
    let keys: Result<Vec<EntryKey>, _> = asked.keys.iter().map(|key| key.parse()).collect();
    let keys = keys.map_err(|_| ApiError::new(ErrorCode::Invalid, "a key is 32 hexadecimal digits"))?;
    let packs = blocking(move || Ok(served.packs_with(asker.party(), kind, &keys)?)).await?;
    Ok(Json(FoundPacks { packs: packs.iter().map(ToString::to_string).collect() }))
}

/// Makes objects durable that the caller found and did not put.
#[utoipa::path(post, path = "/api/v1/repositories/{repository}/persist", tag = "objects", request_body = PersistObjects,
    params(("repository" = String, Path, description = "name of the repository")), responses((status = 204)))]
pub async fn persist(
    State(app): State<App>,
    asker: Asker,
    Path(repository): Path<String>,
    Body(asked): Body<PersistObjects>,
) -> ApiResult<StatusCode> {
    let served = asker.served(&app, &repository).await?;
    check_count(asked.keys.len(), MAX_ASKED_KEYS)?;
    blocking(move || Ok(served.store().persist(&asked.keys)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_count(count: usize, most: usize) -> ApiResult<()> {
    if count <= most {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Invalid, format!("{count} keys are too many at once"))
        .next(format!("ask for at most {most}")))
}
