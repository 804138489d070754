//! ETags: the revision of what is read, and the condition of edits.

use super::error::{ApiError, ApiResult};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use web_api::error::ErrorCode;

/// The header for a revision.
pub fn etag(revision: u64) -> [(HeaderName, HeaderValue); 1] {
    // Digits and quotes are always a valid value.
    let value = HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""));
    [(header::ETAG, value)]
}

/// The revision that an edit was made from.
#[derive(Clone, Copy, Debug)]
pub struct IfMatch {
    /// `None` for a text that can be no revision of ours.
    revision: Option<u64>,
}

impl IfMatch {
    /// Refuses the edit when somebody else made one since.
    pub fn check(self, revision: u64) -> ApiResult<()> {
        if self.revision == Some(revision) {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Changed, "somebody changed it since it was read; nothing was done")
            .next("read it again, look at the change, and send the edit with the new ETag"))
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let value = parts.headers.get(header::IF_MATCH).ok_or_else(|| {
            ApiError::new(ErrorCode::IfMatchNeeded, "an edit needs the If-Match header")
                .next("read it first and send its ETag as If-Match")
        })?;
        let digits = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
        Ok(Self { revision: digits.and_then(|digits| digits.parse().ok()) })
    }
}
