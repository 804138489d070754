//! Around every request: its id, its line in the log, its place in the metrics.

use super::error::ApiError;
use crate::state::App;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::time::Instant;
use tracing::Instrument as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Label of what no route matches: its path could be anything.
const NO_ROUTE: &str = "none";

tokio::task_local! {
    static ID: String;
}

/// Id of the request that this code works on.
pub fn id() -> Option<String> {
    ID.try_with(Clone::clone).ok()
}

/// The outermost layer.
pub async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = uuid::Uuid::now_v7().simple().to_string();
    let method = request.method().to_string();
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE.to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", request_id = %id, %method, %route);
    let mut response = ID.scope(id.clone(), next.run(request)).instrument(span.clone()).await;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    app.metrics.request(&method, &route, status, took);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::info!(status, took_ms, "answered"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Turns a panic of a handler into an answer, so that its connection and its neighbours live on. What panicked is on standard error.
pub fn panicked(_panic: Box<dyn std::any::Any + Send>) -> Response {
    ApiError::internal(&"a handler panicked").into_response()
}
