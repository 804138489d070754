//! Directories of a recovery point as archives: the keeper makes them and brings them piece by piece, this passes the pieces on.
//!
//! The length is known to nobody beforehand, so the end is what counts: a download ends as it should only after the keeper's word that the
//! archive is whole. In every other case the connection is cut, which no client takes for the end.

use super::files::{AHEAD, Looked, Pieces, as_download, check, looked, note, odd_answer};
use crate::http::body::{Path, Query};
use crate::http::{Acting, ApiError, ApiResult};
use crate::questions::{ANSWER_WITHIN, Answered, Many};
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use web_api::error::ErrorCode;
use web_api::file::{ArchivePlace, FileAnswer, FileQuestion, FileRefusal};

/// A keeper that brings nothing for so long does not go on. It says every few seconds that it does.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// A directory inside a recovery point with everything below it, as a download. There is no `Content-Length`: an archive is whole if and
/// only if the transfer ended as HTTP has it; when something could not be read, it is cut.
#[utoipa::path(get, path = "/api/v1/recovery-points/{id}/archive", tag = "files",
    params(("id" = String, Path, description = "recovery point"), ArchivePlace),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn archive(
    State(app): State<App>,
    Path(point): Path<String>,
    acting: Acting,
    Query(place): Query<ArchivePlace>,
) -> ApiResult<Response> {
    check(&place.path)?;
    let looked = looked(&app, &acting, &point).await?;
    let permit = app.archives.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(ErrorCode::Unavailable, "too many directories are being downloaded at the moment")
            .next("try again when one is done, or restore the directory beside the repository")
    })?;
    let headers = as_download(&file_name(&place, &looked.point))?;
    let detail = format!("{} as {} of {} in {}", place.path, place.format.extension(), looked.point, looked.name);
    note(&app, &acting, ("directory.read", &looked.point), detail.chars().take(1000).collect()).await;
    let (begins, begun) = oneshot::channel();
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        pass_on(&app, (&looked, place), begins, &sender).await;
        drop(permit);
    });
    begun.await.map_err(|error| ApiError::internal(&error))??;
    Ok((headers, Body::from_stream(Pieces(pieces))).into_response())
}

/// The directory's name, or of which point it is the root.
fn file_name(place: &ArchivePlace, point: &str) -> String {
    let last = place.path.rsplit('/').find(|name| !name.is_empty());
    let stem = last.map_or_else(|| format!("point-{}", point.chars().take(12).collect::<String>()), str::to_owned);
    format!("{stem}.{}", place.format.extension())
}

/// Passes pieces on until the archive is whole, something is wrong, or nobody takes them any more. Says first whether it begins at all.
async fn pass_on(
    app: &App,
    (looked, place): (&Looked, ArchivePlace),
    begins: oneshot::Sender<ApiResult<()>>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) {
    let ArchivePlace { disk, partition, path, format } = place;
    let question = FileQuestion::Archive { disk, partition, path, format };
    let first = match app.questions.ask_for_many(looked.repository, &looked.point, question) {
        Ok(mut answers) => {
            let first = tokio::select! {
                first = piece(&mut answers, ANSWER_WITHIN) => first,
                () = sender.closed() => return,
            };
            first.map(|first| (first, answers))
        }
        Err(error) => Err(error),
    };
    let (mut next, mut answers) = match first {
        Ok(first) => first,
        // Nobody who waits for it any more is nothing to do about.
        Err(error) => return drop(begins.send(Err(error))),
    };
    if begins.send(Ok(())).is_err() {
        return;
    }
    while let Some(bytes) = next {
        if !bytes.is_empty() && sender.send(Ok(bytes)).await.is_err() {
            return;
        }
        let came = tokio::select! {
            came = piece(&mut answers, PIECE_WITHIN) => came,
            () = sender.closed() => return,
        };
        next = match came {
            Ok(next) => next,
            Err(error) => {
                let why = format!("{error:?}");
                tracing::warn!(why, point = looked.point, "the download of a directory was cut off");
                // Whoever does not take it any more sees no end either.
                let _ = sender.send(Err(io::Error::other(why))).await;
                return;
            }
        };
    }
}

/// A piece; nothing when the archive is whole.
async fn piece(answers: &mut Many<'_>, within: Duration) -> ApiResult<Option<Bytes>> {
    match answers.next(within).await? {
        Answered::Piece(bytes) => Ok(Some(bytes)),
        Answered::Said(FileAnswer::Whole) => Ok(None),
        Answered::Said(FileAnswer::Refused(FileRefusal { is_missing, what })) => {
            Err(ApiError::new(if is_missing { ErrorCode::NotFound } else { ErrorCode::Conflict }, what))
        }
        Answered::Said(_) => Err(odd_answer()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use web_api::file::ArchiveFormat;

    #[test]
    fn an_archive_is_called_like_its_directory() {
        let name = |path: &str| {
            let place = ArchivePlace { disk: None, partition: None, path: path.into(), format: ArchiveFormat::Zip };
            file_name(&place, "0123456789abcdef")
        };
        assert_eq!(
            (name("/a/b"), name("/a/b/"), name("/")),
            ("b.zip".into(), "b.zip".into(), "point-0123456789ab.zip".into())
        );
    }
}
