//! What agents send: packs that stream in and are looked at as a whole before they get their name, and small records.
//!
//! Memory stays small however many send: a pack lies in a temporary file while it arrives. All work on files is done on threads
//! that may block.

use crate::http::{AgentCaller, ApiError, ApiResult, Asker, agent};
use crate::repositories::Served;
use crate::state::App;
use crate::unfinished::{Arriving, Part, Upload};
use axum::body::{Body, Bytes, HttpBody as _};
use repo_format::gate::{Denied, Grant, Object, check_pack};
use repo_format::id::PackId;
use repo_format::pack::{MAX_PACK_BYTES, PackKind};
use repo_format::record::{HEADER_BYTES, MAX_BODY_BYTES, TAIL_BYTES};
use repo_format::store::staged::Staged;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use web_api::error::ErrorCode;
use web_api::role::Right;
use web_api::unit::Time;

/// Bytes that are gathered before they go to the file.
const PIECE_BYTES: usize = 1 << 20;
/// Frames below this are put together.
const SMALL_FRAME_BYTES: usize = 16 << 10;
/// Largest record: a manifest's two.
const MAX_RECORD_BYTES: usize = 2 * (HEADER_BYTES + TAIL_BYTES) + MAX_BODY_BYTES + (1 << 16);
/// An index that is older than this is brought up to date when a session begins.
const CATCH_UP_AFTER: Duration = Duration::from_secs(600);
/// A MiB that takes this many times as long comes from somebody who only holds a place.
const SLOWEST_PIECE: u32 = 4;

/// Receives a pack from an offset on, looks at every byte of it, stores it and enters it into the index. At the speed and within the quota of
/// its agent. Where its line breaks, what came is kept (`unfinished`).
pub async fn pack(
    app: &App,
    served: Arc<Served>,
    agent: &AgentCaller,
    (kind, id): (PackKind, PackId),
    (offset_bytes, body): (u64, Body),
) -> ApiResult<()> {
    let writer = agent.writer;
    let most = MAX_PACK_BYTES.saturating_sub(offset_bytes);
    let said = body.size_hint().upper().unwrap_or(MAX_PACK_BYTES).min(MAX_PACK_BYTES);
    let begin = || async {
        let ask = || served.usage().room(writer, said, agent.quota_bytes);
        // What is kept of packs that nobody goes on with must not keep others out.
        let room = ask().or_else(|_| {
            app.unfinished.forget_of(agent.id);
            ask()
        });
        let room = room.map_err(|used| quota_exceeded(agent, used))?;
        let store = served.store().clone();
        blocking(move || Ok(Part::new(Staged::begin(&store)?, room))).await
    };
    let upload = Upload::new(agent, (kind, id));
    let mut arriving = app.unfinished.begin(upload, offset_bytes, begin).await?;
    let whole = offset_bytes.saturating_add(said).min(MAX_PACK_BYTES);
    arriving.make_room(whole, agent.quota_bytes).map_err(|used| quota_exceeded(agent, used))?;
    let mut arriving = receive(app, agent, arriving, Pieces::new(body, most, app.silence)).await?;
    if let Err(error) = agent::still_counts(app, agent).await {
        arriving.give_up();
        return Err(error);
    }
    blocking(move || {
        let (staged, _room) = arriving.take()?;
        let info = check_pack(&served.gate(), writer, kind, &id, &staged)?;
        // Sent once more, such as after an answer that was lost: it has the same bytes, or it would not have this name.
        staged.commit(&kind.key(&id))?;
        Ok(served.enter(id, &info)?)
    })
    .await
}

/// Takes all that comes, unless a newer request with the same pack says that nothing more will.
async fn receive(app: &App, agent: &AgentCaller, mut arriving: Arriving, mut pieces: Pieces) -> ApiResult<Arriving> {
    let stop = arriving.stop();
    loop {
        let piece = tokio::select! {
            biased;
            piece = pieces.next() => piece,
            stopped = Arriving::stopped(&stop) => {
                pieces.end(stopped);
                continue;
            }
        };
        let piece = match piece {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(arriving),
            Err(error) => {
                if error.code() != ErrorCode::TimedOut {
                    arriving.give_up();
                }
                return Err(error);
            }
        };
        let length = piece.length_bytes as u64;
        arriving = blocking(move || {
            arriving.push(&piece.into_parts())?;
            Ok(arriving)
        })
        .await?;
        let wait = app.rates.book(agent.id, length, agent.limit_bytes_per_s, Instant::now());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            stopped = Arriving::stopped(&stop) => pieces.end(stopped),
        }
    }
}

/// Refused before anything of it is read, so that it costs the agent nothing but the words.
pub fn quota_exceeded(agent: &AgentCaller, used_bytes: u64) -> ApiError {
    let quota = agent.quota_bytes.unwrap_or_default();
    ApiError::new(ErrorCode::QuotaExceeded, format!("the quota of {} is used up", agent.name))
        .why(format!("it stores {used_bytes} bytes here, and {quota} is the most that it may"))
        .next("ask an admin to raise it (PATCH /api/v1/agents/{id}), or forget recovery points and prune")
}

/// Receives a record and stores it as the rules allow.
pub async fn record(
    app: &App,
    served: Arc<Served>,
    asker: &Asker,
    (key, lease): (String, Option<String>),
    body: Body,
    now: Time,
) -> ApiResult<u64> {
    let party = asker.party();
    let mut bytes = Vec::new();
    let mut pieces = Pieces::new(body, MAX_RECORD_BYTES as u64, app.silence);
    while let Some(piece) = pieces.next().await? {
        piece.into_parts().iter().for_each(|part| bytes.extend_from_slice(part));
    }
    if let Asker::Agent(agent) = asker {
        agent::still_counts(app, agent).await?;
    }
    blocking(move || {
        let now = jiff::Timestamp::from_millisecond(now.ms()).map_err(|error| ApiError::internal(&error))?;
        // A session begins with its lease, and knows from then on what is condemned.
        let gate = match Object::of(&key) {
            Object::Lease(_, 0) => {
                catch_up_aside(served.clone());
                served.renew_gate()?
            }
            _ => served.gate(),
        };
        let _one_at_a_time = served.lock_records();
        gate.accept(&**served.store(), party, (&key, &bytes), lease.as_deref(), now)?;
        Ok(bytes.len() as u64)
    })
    .await
}

/// What was stored beside this server meanwhile is learnt while the session goes on; until then it is stored once more.
fn catch_up_aside(served: Arc<Served>) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = served.catch_up(CATCH_UP_AFTER) {
            tracing::warn!(%error, "an index could not be brought up to date");
        }
    });
}

/// Runs what blocks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> ApiResult<T> + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

/// A body in pieces of some size, within a limit. What came before it broke off is given before the error is.
struct Pieces {
    body: Body,
    left_bytes: u64,
    silence: Duration,
    gathered: Piece,
    ended: Option<ApiResult<()>>,
}

impl Pieces {
    fn new(body: Body, limit_bytes: u64, silence: Duration) -> Self {
        Self { body, left_bytes: limit_bytes, silence, gathered: Piece::default(), ended: None }
    }

    async fn next(&mut self) -> ApiResult<Option<Piece>> {
        if self.ended.is_none() {
            let (silence, all) = (self.silence, self.silence * SLOWEST_PIECE);
            let too_slow = |_| cut_off(&format!("a MiB of it did not come within {} seconds", all.as_secs_f32()));
            let gathered = tokio::time::timeout(all, self.gather(silence)).await;
            self.ended = gathered.unwrap_or_else(|late| Some(Err(too_slow(late))));
        }
        match (std::mem::take(&mut self.gathered), &self.ended) {
            (piece, _) if piece.length_bytes > 0 => Ok(Some(piece)),
            (_, Some(Err(_))) => self.ended.replace(Ok(())).unwrap_or(Ok(())).map(|()| None),
            _ => Ok(None),
        }
    }

    /// Gives what came so far, and then this error.
    fn end(&mut self, error: ApiError) {
        self.ended = Some(Err(error));
    }

    /// Until there is a piece, or the body ended somehow.
    async fn gather(&mut self, silence: Duration) -> Option<ApiResult<()>> {
        while self.gathered.length_bytes < PIECE_BYTES {
            match self.frame(silence).await {
                Ok(Some(data)) => self.gathered.push(data),
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    async fn frame(&mut self, silence: Duration) -> ApiResult<Option<Bytes>> {
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let silent = |_| cut_off(&format!("nothing came for {} seconds", silence.as_secs_f32()));
            let Some(frame) = tokio::time::timeout(silence, frame).await.map_err(silent)? else { return Ok(None) };
            let Ok(data) = frame.map_err(|error| cut_off(&error.to_string()))?.into_data() else { continue };
            self.left_bytes = self.left_bytes.checked_sub(data.len() as u64).ok_or_else(|| {
                ApiError::new(ErrorCode::TooLarge, "the object is larger than any of its kind may be")
            })?;
            return Ok(Some(data));
        }
    }
}

/// Part of a body.
#[derive(Default)]
struct Piece {
    length_bytes: usize,
    parts: Vec<Bytes>,
    /// What small frames brought behind the last part.
    small: Vec<u8>,
}

impl Piece {
    /// Large frames stay as they came: to put them together would copy every byte once more. Small ones are put together, so that a body
    /// in frames of a byte takes no more memory and no more writes than another.
    fn push(&mut self, frame: Bytes) {
        self.length_bytes += frame.len();
        if frame.len() < SMALL_FRAME_BYTES {
            self.small.extend_from_slice(&frame);
        } else {
            self.close();
            self.parts.push(frame);
        }
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            self.parts.push(std::mem::take(&mut self.small).into());
        }
    }

    /// What came, in its order.
    fn into_parts(mut self) -> Vec<Bytes> {
        self.close();
        self.parts
    }
}

fn cut_off(why: &str) -> ApiError {
    ApiError::new(ErrorCode::TimedOut, "the object did not arrive as a whole").why(why).next("send it again")
}

/// The right that grants it.
fn right_of(grant: Grant) -> Right {
    match grant {
        Grant::Forget => Right::Operate,
        Grant::Writers => Right::Agents,
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let words = denied.to_string();
        match denied {
            Denied::Forbidden(_) => Self::new(ErrorCode::Forbidden, words),
            Denied::NotGranted { grant, .. } => Self::new(ErrorCode::Forbidden, words)
                .why(format!("the login does not include the right {:?}", right_of(grant).name()))
                .next(format!("log in with it: `icecore login --rights restore,{}`", right_of(grant))),
            Denied::NotHere(_) => Self::new(ErrorCode::Forbidden, words)
                .next("do it on the machine that has the repository, with --repo DIR"),
            Denied::Busy(_) => Self::new(ErrorCode::TooManyRequests, words).retry_after(Duration::from_secs(60)),
            Denied::Exists(_) => Self::new(ErrorCode::Conflict, words).why("objects are never replaced"),
            Denied::Wrong(_) => Self::new(ErrorCode::Invalid, words),
            Denied::LeaseLost => {
                Self::new(ErrorCode::LeaseLost, words).next("start the backup again: what is stored is not sent again")
            }
            Denied::Store(error) => error.into(),
        }
    }
}

/// Whether a disk or its owner's share of it is full.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

impl From<repo_format::Error> for ApiError {
    fn from(error: repo_format::Error) -> Self {
        match error {
            repo_format::Error::Missing { .. } => Self::not_found("object"),
            repo_format::Error::NoSuch(what) => Self::new(ErrorCode::Invalid, what),
            repo_format::Error::Store { key, source } if is_full(&source) => {
                tracing::error!(key, error = %source, "there is no room left in a repository");
                Self::new(ErrorCode::Unavailable, "there is no room left in the repository")
                    .why("the server cannot store more in it; what it holds is safe")
                    .next("make room on the server where the repository lies: forget recovery points and prune, or give it a larger disk")
                    .retry_after(Duration::from_secs(5))
            }
            other => {
                tracing::error!(error = %other, "the repository's store failed");
                Self::new(ErrorCode::Unavailable, "the repository cannot be used at the moment")
                    .next("try again; if it lasts, look into the server's log")
                    .retry_after(Duration::from_secs(5))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_size_become_few_parts_with_the_same_bytes_in_the_same_order() {
        let sizes = [0, 1, 5, SMALL_FRAME_BYTES, 3, SMALL_FRAME_BYTES + 1, SMALL_FRAME_BYTES, 7, 7].into_iter();
        let mut piece = Piece::default();
        let mut sent = Vec::new();
        for (number, size) in (0_u8..=u8::MAX).cycle().zip(sizes.chain(std::iter::repeat_n(1, 1000))) {
            let frame = vec![number; size];
            sent.extend_from_slice(&frame);
            piece.push(frame.into());
        }
        assert_eq!(piece.length_bytes, sent.len());
        let parts = piece.into_parts();
        assert_eq!((parts.len(), parts.concat()), (6, sent));
    }
}
