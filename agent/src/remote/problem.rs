//! What a server says when it does not do what it was asked, as an error of ours.

use repo_format::Error;
use std::fmt;
use std::io;
use web_api::error::{ErrorCode, ErrorDetail, ErrorEnvelope};

/// A request that came to nothing.
#[derive(Debug)]
pub enum Problem {
    /// The server answered with an error.
    Answered(ErrorDetail),
    /// Whoever answered did not prove to be the server.
    Untrusted(String),
    /// It was not reached, or did not answer as one of ours does.
    Unreachable(String),
    /// The caller wants no more.
    Interrupted,
}

impl Problem {
    /// From the status and body of an answer.
    pub fn of(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<ErrorEnvelope>(body) {
            Ok(envelope) => Self::Answered(envelope.error),
            Err(_) => Self::Unreachable(format!("it answers with HTTP status {status}, not as an Icecore server does")),
        }
    }

    /// Of an answer to HEAD, which has no body: the first code that has the status.
    pub fn of_head(status: u16) -> Self {
        match ErrorCode::ALL.iter().copied().find(|code| code.status() == status) {
            Some(code) => {
                let what = code.meaning().to_owned();
                Self::Answered(ErrorDetail { code, what, why: None, next: None, request_id: None })
            }
            None => Self::of(status, &[]),
        }
    }

    /// Whether the same request may succeed in a while.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Answered(detail) => matches!(
                detail.code,
                ErrorCode::Unavailable | ErrorCode::TooManyRequests | ErrorCode::TimedOut | ErrorCode::Internal
            ),
            Self::Interrupted | Self::Untrusted(_) => false,
        }
    }

    /// The stable code of an answer.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Answered(detail) => Some(detail.code),
            Self::Untrusted(_) | Self::Unreachable(_) | Self::Interrupted => None,
        }
    }

    /// As an error about an object of the store.
    pub fn about(self, key: &str) -> Error {
        match self {
            Self::Interrupted => Error::Interrupted,
            Self::Unreachable(why) | Self::Untrusted(why) => {
                Error::Store { key: key.into(), source: io::Error::other(why) }
            }
            Self::Answered(detail) => match detail.code {
                ErrorCode::NotFound => Error::Missing { key: key.into() },
                ErrorCode::LeaseLost => Error::LeaseLost,
                ErrorCode::NotLoggedIn | ErrorCode::WrongCredentials | ErrorCode::CodeNeeded => {
                    access_refused(detail, Some(LOG_IN))
                }
                ErrorCode::Forbidden => access_refused(detail, None),
                ErrorCode::Internal | ErrorCode::Unavailable | ErrorCode::TimedOut | ErrorCode::TooManyRequests => {
                    Error::Store { key: key.into(), source: io::Error::other(sentence(&detail)) }
                }
                _ => Error::Refused(sentence(&detail)),
            },
        }
    }
}

/// What a command line can do, where the server speaks of requests.
const LOG_IN: &str = "log in anew: `icecore login SERVER`; or give another token by --token-file or ICECORE_TOKEN";

fn access_refused(mut detail: ErrorDetail, next: Option<&str>) -> Error {
    let said = detail.next.take();
    let next = next.map(str::to_owned).or(said);
    let next = next.unwrap_or_else(|| "give another token by --token-file or ICECORE_TOKEN".into());
    Error::AccessRefused { what: sentence(&detail), next }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        problem.about("the server")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(detail) => f.write_str(&sentence(detail)),
            Self::Unreachable(why) | Self::Untrusted(why) => f.write_str(why),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Problem {}

/// The server's words in one line.
fn sentence(detail: &ErrorDetail) -> String {
    let parts = [Some(&detail.what), detail.why.as_ref(), detail.next.as_ref()];
    let said = parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(". ");
    match &detail.request_id {
        Some(id) => format!("the server says: {said} (request {id})"),
        None => format!("the server says: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: &str) -> Problem {
        Problem::of(
            400,
            format!(r#"{{"error":{{"code":"{code}","what":"cannot","next":"wait","request_id":"r7"}}}}"#).as_bytes(),
        )
    }

    #[test]
    fn answers_become_errors_that_callers_act_on() {
        assert!(matches!(answered("not_found").about("config"), Error::Missing { .. }));
        assert!(matches!(answered("lease_lost").about("x"), Error::LeaseLost));
        assert!(matches!(answered("forbidden").about("x"), Error::AccessRefused { next, .. } if next == "wait"));
        assert!(matches!(answered("not_logged_in").about("x"), Error::AccessRefused { next, .. } if next == LOG_IN));
        assert!(matches!(answered("unavailable").about("x"), Error::Store { .. }));
        let refused = answered("invalid").about("x");
        assert_eq!(refused.to_string(), "the server says: cannot. wait (request r7)");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(answered("unavailable").may_pass() && answered("too_many_requests").may_pass());
        assert!(!answered("forbidden").may_pass() && !answered("conflict").may_pass());
        let strange = Problem::of(502, b"<html>bad gateway</html>");
        assert!(strange.may_pass());
        assert!(strange.about("x").to_string().contains("502"));
    }
}
