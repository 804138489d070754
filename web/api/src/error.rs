//! The envelope of every error: a stable code, what happened, why, and what to do next.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $name:tt, $status:literal;)+) => {
        /// Stable names of what can go wrong. `web/API.md` explains them; a test compares the two.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $($(#[doc = $meaning])+ #[serde(rename = $name)] $variant,)+
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+).trim_ascii_start(),)+ }
            }
        }
    };
}

codes! {
    /// The request cannot be read: not JSON, an unknown field, a value of another type.
    BadRequest = "bad_request", 400;
    /// No valid session or token came with the request.
    NotLoggedIn = "not_logged_in", 401;
    /// Name, password, code or link is wrong or no longer valid.
    WrongCredentials = "wrong_credentials", 401;
    /// The password is right and a one-time code is needed too.
    CodeNeeded = "code_needed", 401;
    /// The role or the token's scope does not include this.
    Forbidden = "forbidden", 403;
    /// The request was not provably made by our own page: CSRF token, Origin or Sec-Fetch-Site.
    CrossSite = "cross_site", 403;
    /// There is nothing of that id or at that URL.
    NotFound = "not_found", 404;
    /// The URL exists and knows other methods.
    MethodNotAllowed = "method_not_allowed", 405;
    /// The request took longer than this route allows.
    TimedOut = "timed_out", 408;
    /// It contradicts what is there, such as a name that is taken or the last admin.
    Conflict = "conflict", 409;
    /// The session's lease lapsed or was revoked; what it stored stays and is not sent again.
    LeaseLost = "lease_lost", 409;
    /// The job is not this agent's any more: its lease ran out, or a person ended it.
    JobLost = "job_lost", 409;
    /// Somebody changed it since it was read; the ETag in If-Match is old.
    Changed = "changed", 412;
    /// The body is larger than this route allows.
    TooLarge = "too_large", 413;
    /// The agent's quota is used up; an admin can raise it, or prune frees space.
    QuotaExceeded = "quota_exceeded", 413;
    /// The body is not declared as application/json.
    UnsupportedMedia = "unsupported_media", 415;
    /// A value is outside what is allowed.
    Invalid = "invalid", 422;
    /// The idempotency key was used for another request.
    KeyReused = "key_reused", 422;
    /// Agent and server are more than one version apart.
    VersionsApart = "versions_apart", 426;
    /// The message was not taken where it goes; the reason is in `why`.
    NotDelivered = "not_delivered", 424;
    /// An edit needs the If-Match header with the ETag that was read.
    IfMatchNeeded = "if_match_needed", 428;
    /// Too many attempts; Retry-After says how many seconds to wait.
    TooManyRequests = "too_many_requests", 429;
    /// A fault of the server; its log has the detail under the request's id.
    Internal = "internal", 500;
    /// The server is starting, stopping or out of room; trying again later may help.
    Unavailable = "unavailable", 503;
}

/// Body of every answer that is not a success.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorEnvelope {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong, for programs (`code`) and for people (the rest).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorDetail {
    /// Stable name of the kind of error.
    pub code: ErrorCode,
    /// What could not be done.
    pub what: String,
    /// The reason, where there is one to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Finds the request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_once_and_as_they_travel() {
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }
}
