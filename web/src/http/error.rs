//! Errors as they leave the server. What is inside goes to the log under the request's id, never out.

use super::request;
use crate::auth::password;
use crate::db;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::time::Duration;
use web_api::error::{ErrorCode, ErrorDetail, ErrorEnvelope};

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

/// An answer that is not a success.
#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    what: String,
    why: Option<String>,
    next: Option<String>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with what could not be done.
    pub fn new(code: ErrorCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), why: None, next: None, retry_after: None }
    }

    /// With the reason.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// With how long to wait.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Nothing of that id.
    pub fn not_found(noun: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no such {noun}"))
    }

    /// A fault of the server. The detail is logged here and goes nowhere else.
    pub fn internal(detail: &dyn std::fmt::Display) -> Self {
        tracing::error!(%detail, "a request failed inside the server");
        Self::new(ErrorCode::Internal, "the server could not do this")
            .next("look into the server's log for the request's id")
    }
}

/// For a terminal.
impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        self.why.iter().try_for_each(|why| write!(f, ": {why}"))
    }
}

impl From<db::Error> for ApiError {
    fn from(error: db::Error) -> Self {
        if !error.is_passing() {
            return Self::internal(&error);
        }
        tracing::error!(%error, "the database did not take a request");
        if error.is_full() {
            return Self::new(ErrorCode::Unavailable, "there is no room left for the server's database")
                .why("nothing can be stored; what was acknowledged before is safe")
                .next("make room on the server where its data_dir lies, then try again")
                .retry_after(Duration::from_secs(30));
        }
        Self::new(ErrorCode::Unavailable, "the server cannot store or read anything at the moment")
            .next("try again; if it lasts, look into the server's log")
            .retry_after(Duration::from_secs(2))
    }
}

impl From<password::Error> for ApiError {
    fn from(error: password::Error) -> Self {
        match error {
            password::Error::Busy => Self::new(ErrorCode::Unavailable, "too many people log in at this moment")
                .next("try again in a few seconds")
                .retry_after(Duration::from_secs(2)),
            password::Error::Hash(_) => Self::internal(&error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail =
            ErrorDetail { code: self.code, what: self.what, why: self.why, next: self.next, request_id: request::id() };
        let mut response = (status, Json(ErrorEnvelope { error: detail })).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if self.code == ErrorCode::NotLoggedIn {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
