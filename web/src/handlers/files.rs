//! The files inside a recovery point, for people: each request becomes questions to the repository's keeper.

use crate::audit::Record;
use crate::db;
use crate::http::body::{Path, Query};
use crate::http::{Acting, ApiError, ApiResult};
use crate::keeping;
use crate::questions::Answered;
use crate::state::App;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use web_api::audit::Outcome;
use web_api::error::ErrorCode;
use web_api::file::{
    FileAnswer, FileEntry, FilePage, FilePlace, FileQuestion, FileRefusal, ListFiles, ListedFiles, MAX_FILES,
    MAX_PATH_BYTES, MAX_PIECE_BYTES, PointVolumes,
};
use web_api::id::RepositoryId;

/// Pieces of a download that lie in memory beside the one on its way.
pub(super) const AHEAD: usize = 1;

/// A point whose files somebody looks at.
pub(super) struct Looked {
    pub(super) repository: RepositoryId,
    pub(super) name: String,
    pub(super) point: String,
}

/// The point, if it is there. That a person begins to look into it is noted.
pub(super) async fn looked(app: &App, acting: &Acting, point: &str) -> ApiResult<Looked> {
    let id = point.to_ascii_lowercase();
    let wanted = id.clone();
    let found = app
        .database
        .read(move |connection| {
            let Some((repository, point)) = db::point::get(connection, &wanted)? else { return Ok(None) };
            // Without one nobody would answer, and this says how to get one.
            keeping::keeper(connection, repository, &point.repository)?;
            ApiResult::Ok(Some((repository, point)))
        })
        .await?;
    let (repository, point) = found.ok_or_else(|| ApiError::not_found("recovery point"))?;
    let actor = acting.caller.actor();
    if app.readings.begins((repository, format!("{actor} {id}")), acting.now) {
        note(app, acting, ("recovery-point.look", &id), point.repository.clone()).await;
    }
    Ok(Looked { repository, name: point.repository, point: id })
}

pub(super) async fn note(app: &App, acting: &Acting, (action, subject): (&str, &str), detail: String) {
    let record = Record {
        at: acting.now,
        actor: acting.caller.actor(),
        address: acting.peer.address.to_string(),
        action: action.into(),
        subject: subject.into(),
        outcome: Outcome::Done,
        detail,
    };
    let noted = app.database.write(move |write| db::audit::append(write, record).map(drop)).await;
    if let Err(error) = noted {
        // A full disk must not keep anybody from restoring.
        tracing::warn!(%error, "it could not be noted who looks at files");
    }
}

impl Looked {
    pub(super) async fn ask(&self, app: &App, question: FileQuestion) -> ApiResult<Answered> {
        match app.questions.ask(self.repository, &self.point, question).await? {
            Answered::Said(FileAnswer::Refused(FileRefusal { is_missing, what })) => {
                let code = if is_missing { ErrorCode::NotFound } else { ErrorCode::Conflict };
                Err(ApiError::new(code, what))
            }
            answered => Ok(answered),
        }
    }
}

pub(super) fn check(path: &str) -> ApiResult<()> {
    if path.starts_with('/') && path.len() <= MAX_PATH_BYTES {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::Invalid, format!("a path begins with / and has at most {MAX_PATH_BYTES} bytes")))
}

/// A keeper of another version, or one that was taken over.
pub(super) fn odd_answer() -> ApiError {
    ApiError::new(ErrorCode::Unavailable, "the keeper gave an answer to another question")
        .next("look whether keeper and server are of the same version")
}

/// The disks of a recovery point with their partitions, and which of them can be looked into.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}/volumes", tag = "files",
    params(("id" = String, Path, description = "recovery point")), responses((status = 200, body = Vec<PointVolumes>)))]
pub async fn volumes(
    State(app): State<App>,
    Path(point): Path<String>,
    acting: Acting,
) -> ApiResult<Json<Vec<PointVolumes>>> {
    let looked = looked(&app, &acting, &point).await?;
    match looked.ask(&app, FileQuestion::Volumes).await? {
        Answered::Said(FileAnswer::Volumes(volumes)) => Ok(Json(volumes)),
        _ => Err(odd_answer()),
    }
}

/// Entries of a directory inside a recovery point, in the order of their names.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}/files", tag = "files",
    params(("id" = String, Path, description = "recovery point"), ListFiles), responses((status = 200, body = ListedFiles)))]
pub async fn list(
    State(app): State<App>,
    Path(point): Path<String>,
    acting: Acting,
    Query(query): Query<ListFiles>,
) -> ApiResult<Json<ListedFiles>> {
    check(&query.path)?;
    let limit = query.limit.unwrap_or(MAX_FILES);
    if !(1..=MAX_FILES).contains(&limit) {
        return Err(ApiError::new(ErrorCode::BadRequest, format!("limit is 1 to {MAX_FILES}")));
    }
    let looked = looked(&app, &acting, &point).await?;
    let ListFiles { disk, partition, path, cursor, .. } = query;
    let question = FileQuestion::List { disk, partition, path, behind: cursor, limit };
    match looked.ask(&app, question).await? {
        Answered::Said(FileAnswer::List(FilePage { file_system, notes, count, items, more })) => {
            let next_cursor = items.last().filter(|_| more).map(|last| last.name.clone());
            Ok(Json(ListedFiles { file_system, notes, count, items, next_cursor }))
        }
        _ => Err(odd_answer()),
    }
}

/// The content of one file inside a recovery point, as a download. Browsers are told to save it and never to show it.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}/content", tag = "files",
    params(("id" = String, Path, description = "recovery point"), FilePlace),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn content(
    State(app): State<App>,
    Path(point): Path<String>,
    acting: Acting,
    Query(place): Query<FilePlace>,
) -> ApiResult<Response> {
    check(&place.path)?;
    let looked = looked(&app, &acting, &point).await?;
    let permit = app.downloads.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(ErrorCode::Unavailable, "too many files are being downloaded at the moment")
            .next("try again when one is done")
    })?;
    let FilePlace { disk, partition, path } = place.clone();
    let entry = match looked.ask(&app, FileQuestion::Look { disk, partition, path }).await? {
        Answered::Said(FileAnswer::Look(entry)) => entry,
        _ => return Err(odd_answer()),
    };
    if entry.kind.as_deref() != Some("regular") {
        return Err(ApiError::new(ErrorCode::Conflict, format!("{} is no file with content", place.path)));
    }
    let detail = format!("{} of {} in {}", place.path, looked.point, looked.name);
    note(&app, &acting, ("file.read", &looked.point), detail.chars().take(1000).collect()).await;
    let (sender, pieces) = mpsc::channel(AHEAD);
    let headers = headers(&entry)?;
    let size_bytes = entry.size_bytes.0;
    tokio::spawn(async move {
        send(&app, (&looked, place, size_bytes), sender).await;
        drop(permit);
    });
    Ok((headers, Body::from_stream(Pieces(pieces))).into_response())
}

fn headers(entry: &FileEntry) -> ApiResult<[(header::HeaderName, HeaderValue); 3]> {
    let length = HeaderValue::from(entry.size_bytes.0);
    let [kind, disposition] = as_download(&entry.name)?;
    Ok([kind, (header::CONTENT_LENGTH, length), disposition])
}

/// What makes a browser save it under this name, and never show it.
pub(super) fn as_download(name: &str) -> ApiResult<[(header::HeaderName, HeaderValue); 2]> {
    // By the letters and digits that every browser takes; the real name in the form of RFC 5987.
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let disposition = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    let disposition = HeaderValue::try_from(disposition).map_err(|error| ApiError::internal(&error))?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)])
}

/// Asks for one piece after the other until all came, one was refused, or nobody takes them any more.
async fn send(
    app: &App,
    (looked, place, size_bytes): (&Looked, FilePlace, u64),
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let mut offset_bytes = 0;
    while offset_bytes < size_bytes {
        let length = u64::from(MAX_PIECE_BYTES).min(size_bytes - offset_bytes);
        let FilePlace { disk, partition, path } = place.clone();
        let length_bytes = u32::try_from(length).unwrap_or(MAX_PIECE_BYTES);
        let question = FileQuestion::Read { disk, partition, path, offset_bytes, length_bytes };
        let piece = tokio::select! {
            asked = looked.ask(app, question) => match asked {
                Ok(Answered::Piece(bytes)) if bytes.len() as u64 == length => Ok(bytes),
                Ok(_) => Err(io::Error::other("the keeper gave another answer")),
                Err(error) => Err(io::Error::other(format!("{error:?}"))),
            },
            () = sender.closed() => return,
        };
        let is_over = piece.is_err();
        if let Err(error) = &piece {
            tracing::warn!(%error, point = looked.point, offset_bytes, "a download was cut off");
        }
        if sender.send(piece).await.is_err() || is_over {
            return;
        }
        offset_bytes += length;
    }
}

/// The receiving end as a body; cut off by an error, which no client takes for the end.
pub(super) struct Pieces(pub(super) mpsc::Receiver<io::Result<Bytes>>);

impl futures_core::Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
