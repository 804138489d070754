//! Events as they happen, as server-sent events.
//!
//! A client that comes back names the last event it saw and gets what it missed from the table. One that is too slow for the ring
//! is cut off and comes back that way, so the server buffers for nobody without end.

use crate::db;
use crate::events::Listener;
use crate::http::access::{self, Credential};
use crate::http::{ApiError, ApiResult};
use crate::state::App;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use web_api::error::ErrorCode;
use web_api::event::{Event, PASSING};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is asked whether the session or token still counts.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A client that takes nothing for this long is cut off.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that wait between the ring and the connection.
const QUEUE: usize = 32;
const RESUMED_AT_ONCE: u32 = 500;

/// Follows what happens. With `Last-Event-ID` it begins after that event; when that is too long ago, an event `gap` comes first.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<u64>, Header, description = "number of the last event that was seen")),
    responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub async fn follow(State(app): State<App>, headers: HeaderMap) -> ApiResult<impl IntoResponse> {
    let last_seen =
        match headers.get(LAST_EVENT_ID) {
            Some(value) => {
                Some(value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
                    ApiError::new(ErrorCode::BadRequest, "Last-Event-ID is not the number of an event")
                })?)
            }
            None => None,
        };
    let credential = access::credential(&headers, app.secure)?;
    // Listening begins before the table is read, so nothing falls between the two.
    let listener = app.events.listen().ok_or_else(|| {
        ApiError::new(ErrorCode::Unavailable, "too many clients follow the events").retry_after(Duration::from_secs(30))
    })?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let stream = Stream { app, sender };
        // An end is told to nobody: the client notices the closed connection and comes back.
        let _ = stream.run(listener, last_seen, credential).await;
    });
    Ok(Sse::new(Received(receiver)).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// One client's stream on the server's side.
struct Stream {
    app: App,
    sender: mpsc::Sender<Result<Sent, Infallible>>,
}

/// Why a stream ends. All are ends in order.
struct Ended;

impl Stream {
    async fn run(self, mut listener: Listener, last_seen: Option<u64>, credential: Credential) -> Result<(), Ended> {
        let mut sent = match last_seen {
            Some(number) => self.resume(number).await?,
            None => 0,
        };
        let mut stopping = self.app.stopping.clone();
        let mut ask_again = tokio::time::interval_at(Instant::now() + ASK_AGAIN, ASK_AGAIN);
        ask_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = listener.events.recv() => match event {
                    Ok(event) if event.number == PASSING => self.send(render(&event)).await?,
                    Ok(event) if event.number > sent => {
                        sent = event.number;
                        self.send(render(&event)).await?;
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(Ended),
                },
                _ = ask_again.tick() => {
                    access::caller(&self.app, credential.copy()).await.map_err(|_| Ended)?;
                }
                () = stop(&mut stopping) => return Err(Ended),
                () = self.sender.closed() => return Err(Ended),
            }
        }
    }

    /// Sends what was missed; returns the number of the last event that the client has then.
    async fn resume(&self, last_seen: u64) -> Result<u64, Ended> {
        let bounds = self.app.database.read(db::event::bounds).await;
        let (oldest, latest) = bounds.map_err(|_| Ended)?;
        let mut sent = last_seen;
        // A number that was never given out is of another database.
        if last_seen > latest || last_seen.saturating_add(1) < oldest {
            let gap = Sent::default().event("gap").data(r#"{"what":"events were missed; load again what is shown"}"#);
            self.send(gap).await?;
            sent = oldest.saturating_sub(1);
        }
        loop {
            let read = move |connection: &rusqlite::Connection| db::event::after(connection, sent, RESUMED_AT_ONCE);
            let events = self.app.database.read(read).await.map_err(|_| Ended)?;
            if events.is_empty() {
                return Ok(sent);
            }
            for event in events {
                sent = event.number;
                self.send(render(&event)).await?;
            }
        }
    }

    async fn send(&self, event: Sent) -> Result<(), Ended> {
        self.sender.send_timeout(Ok(event), PATIENCE).await.map_err(|_| Ended)
    }
}

/// Waits for the server's end.
async fn stop(stopping: &mut watch::Receiver<bool>) {
    // The sender is gone only when the server is.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn render(event: &Event) -> Sent {
    let data = serde_json::to_string(event).unwrap_or_else(|_| "{}".into());
    let sent = Sent::default().event(&event.kind).data(data);
    if event.number == PASSING { sent } else { sent.id(event.number.to_string()) }
}

/// The receiving end as a stream; it ends when the sender does.
struct Received(mpsc::Receiver<Result<Sent, Infallible>>);

impl futures_core::Stream for Received {
    type Item = Result<Sent, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
