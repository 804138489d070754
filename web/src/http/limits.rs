//! How large a request's body and how long its handling may be. Each route says it in `router.rs`.

use super::error::ApiError;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::time::Duration;
use web_api::error::ErrorCode;

/// Limits of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest body.
    pub body_bytes: usize,
    /// Longest time from the request's head to the answer's head; a body that follows may take longer.
    pub answer_within: Duration,
}

impl Limits {
    /// For what asks or changes a little.
    pub const SMALL: Self = Self { body_bytes: 16 << 10, answer_within: Duration::from_secs(30) };
    /// For what agents report.
    pub const REPORT: Self = Self { body_bytes: 512 << 10, answer_within: Duration::from_secs(30) };
    /// For questions about many chunks.
    pub const QUESTION: Self = Self { body_bytes: 512 << 10, answer_within: Duration::from_secs(60) };
    /// For a piece of a file; its length is limited as it arrives.
    pub const PIECE: Self = Self { body_bytes: 1 << 20, answer_within: Duration::from_secs(60) };
    /// For a pack over a slow line; its length is limited as it arrives.
    pub const OBJECT: Self = Self { body_bytes: 64 << 20, answer_within: Duration::from_secs(3600) };
    /// For what walks through much.
    pub const LONG: Self = Self { body_bytes: 16 << 10, answer_within: Duration::from_secs(300) };
}

/// Ends a request that takes too long. Work that the database has taken on is still done.
pub async fn end_in_time(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(limits.answer_within, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        ApiError::new(ErrorCode::TimedOut, "the request took too long")
            .why(format!("this route answers within {} seconds or not at all", limits.answer_within.as_secs()))
            .next("look whether it was done before you try again, or use an Idempotency-Key")
            .into_response()
    })
}
