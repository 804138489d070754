//! What can go wrong with object storage, told apart by what the endpoint says and not by the number of its answer alone.
//!
//! An object counts as missing only when the endpoint itself names the object as missing: a proxy, a wrong path or another service answers
//! 404 as well, and an object that passes for deleted is the beginning of a lost backup.

use crate::error::Error;
use http::{HeaderMap, StatusCode};
use std::fmt;
use std::io;
use std::time::Duration;

/// What kind of problem it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The endpoint says that there is no such object.
    NoObject,
    /// The endpoint says that there is no such bucket.
    NoBucket,
    /// The range begins behind the end of the object.
    BadRange,
    /// No key was given, and the machine has none of its own.
    NoKey,
    /// The key is unknown, or its secret is another.
    WrongKey,
    /// The session token has run out.
    ExpiredToken,
    /// This machine's clock and the endpoint's differ too much.
    ClockSkew,
    /// The key may not do this.
    Denied,
    /// The object is locked until a date.
    Locked,
    /// The bucket lies in another region; which, if the endpoint says so.
    WrongRegion(Option<String>),
    /// The multipart upload is not known to the endpoint, or no longer.
    NoUpload,
    /// An option of the request is not known to the endpoint.
    NotOffered,
    /// The endpoint asks for fewer requests; after how long, if it says so.
    Throttled(Option<Duration>),
    /// The endpoint failed.
    ServerFailed,
    /// No answer, or one that broke off.
    Unreachable,
    /// The certificate of what answers there is not trusted.
    Untrusted,
    /// Something answered that does not speak S3.
    NotS3,
    /// What was stored is not what was sent.
    Corrupted,
    /// Anything else.
    Other,
}

/// A problem with one request.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What kind.
    pub kind: Kind,
    /// Number of the answer, if there was one.
    pub status: Option<u16>,
    /// What the endpoint, or the network, said.
    pub said: String,
}

/// Longest text of an endpoint that is shown.
const MAX_SAID_BYTES: usize = 400;

impl Problem {
    /// One that the endpoint did not tell.
    pub fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self { kind, status: None, said: said.into() }
    }

    /// Of an answer that is no success.
    pub fn of_answer(status: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let code = tag(body, "Code").unwrap_or_default();
        let message = tag(body, "Message").unwrap_or_default();
        let kind = kind_of(status, &code, &message, headers, body);
        let mut said = match (code.is_empty(), message.is_empty()) {
            (false, false) => format!("{code}: {message}"),
            (false, true) => code,
            _ => format!("an answer without words, number {}", status.as_u16()),
        };
        said.truncate(said.floor_char_boundary(MAX_SAID_BYTES));
        Self { kind, status: Some(status.as_u16()), said }
    }

    /// The problem in the chain of causes of what `object_store` returned.
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(problem) = error.downcast_ref::<Self>() {
                return problem.clone();
            }
            cause = error.source();
        }
        Self::new(Kind::Unreachable, innermost(error))
    }

    /// Whether the same request may succeed a moment later.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Throttled(_) | Kind::ServerFailed | Kind::Unreachable | Kind::Corrupted)
    }

    /// The error of an operation on `key`.
    pub fn about(self, key: &str) -> Error {
        match self.kind {
            Kind::NoObject => Error::Missing { key: key.into() },
            Kind::BadRange => Error::damaged(key, "it is shorter than it must be"),
            Kind::NoKey | Kind::WrongKey | Kind::ExpiredToken | Kind::ClockSkew | Kind::Denied | Kind::Locked => {
                let next = self.next().to_owned();
                Error::AccessRefused { what: format!("{key}: {}", self.what()), next }
            }
            Kind::NoBucket => Error::NoSuch(format!("{}. {}", self.what(), self.next())),
            _ => Error::Store { key: key.into(), source: io::Error::other(self) },
        }
    }

    fn what(&self) -> String {
        let said = &self.said;
        match &self.kind {
            Kind::NoObject => format!("the object does not exist ({said})"),
            Kind::NoBucket => format!("the bucket does not exist ({said})"),
            Kind::BadRange => format!("the object is shorter than it must be ({said})"),
            Kind::NoKey => format!("there is no key for the object storage ({said})"),
            Kind::WrongKey => format!("the object storage does not accept the access key ({said})"),
            Kind::ExpiredToken => format!("the session token of the object storage has expired ({said})"),
            Kind::ClockSkew => format!("this machine's clock and the object storage's differ too much ({said})"),
            Kind::Denied => format!("the access key may not do this ({said})"),
            Kind::Locked => format!("the object is locked against deletion ({said})"),
            Kind::WrongRegion(Some(region)) => format!("the bucket is in the region {region} ({said})"),
            Kind::WrongRegion(None) => format!("the bucket is not in this region ({said})"),
            Kind::NoUpload => format!("the upload in parts is gone ({said})"),
            Kind::NotOffered => format!("the object storage does not offer what was asked for ({said})"),
            Kind::Throttled(_) => {
                format!("the object storage asked for fewer requests until patience ran out ({said})")
            }
            Kind::ServerFailed => format!("the object storage failed until patience ran out ({said})"),
            Kind::Unreachable => format!("the object storage could not be reached until patience ran out ({said})"),
            Kind::Untrusted => format!("the endpoint's certificate is not trusted ({said})"),
            Kind::NotS3 => format!("what answers there does not speak S3 ({said})"),
            Kind::Corrupted => format!("what arrived at the object storage is not what was sent ({said})"),
            Kind::Other => format!("the object storage refused ({said})"),
        }
    }

    /// What to do about it.
    pub fn next(&self) -> &'static str {
        match self.kind {
            Kind::NoBucket => "Create the bucket first, or correct its name or the endpoint (AWS_ENDPOINT_URL)",
            Kind::NoKey => "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (AWS_PROFILE)",
            Kind::WrongKey => {
                "compare AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, with what the provider shows, and the endpoint with where \
                 the key belongs"
            }
            Kind::ExpiredToken => "get new credentials and start again; what is stored is not sent again",
            Kind::ClockSkew => {
                "set this machine's clock (`timedatectl`) and start again; what is stored is not sent again"
            }
            Kind::Denied => {
                "allow the key s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket and s3:AbortMultipartUpload for this bucket, or use \
                 another key"
            }
            Kind::Locked => "wait until the lock has ended; nothing was deleted",
            Kind::WrongRegion(_) => "Set AWS_REGION to the bucket's region",
            Kind::Throttled(_) | Kind::ServerFailed | Kind::Unreachable => {
                "Start again later; what is stored is not sent again"
            }
            Kind::Untrusted => "Correct the endpoint, or name the file of its certificate authority (AWS_CA_BUNDLE)",
            Kind::NotS3 => "Correct the endpoint (AWS_ENDPOINT_URL)",
            Kind::Corrupted => "Test this machine's memory and network; nothing wrong was kept",
            Kind::NoObject | Kind::BadRange | Kind::NoUpload | Kind::NotOffered | Kind::Other => {
                "See what the provider says about it"
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.what(), self.next())
    }
}

impl std::error::Error for Problem {}

/// The problem inside an error of this store, for who acts on its kind.
pub fn problem_of(error: &Error) -> Option<&Problem> {
    match error {
        Error::Store { source, .. } => source.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn kind_of(status: StatusCode, code: &str, message: &str, headers: &HeaderMap, body: &str) -> Kind {
    match code {
        "NoSuchKey" | "NoSuchVersion" => Kind::NoObject,
        "NoSuchBucket" => Kind::NoBucket,
        "NoSuchUpload" => Kind::NoUpload,
        "InvalidRange" => Kind::BadRange,
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidSecurity" | "NotSignedUp" => Kind::WrongKey,
        "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" | "ExpiredTokenException" => Kind::ExpiredToken,
        "RequestTimeTooSkewed" | "RequestExpired" => Kind::ClockSkew,
        // In Garage's words.
        "AccessDenied" if message.contains("No such key") || message.contains("nvalid signature") => Kind::WrongKey,
        "AccessDenied" if message.to_lowercase().contains("object lock") => Kind::Locked,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" => Kind::Denied,
        "ObjectLocked" => Kind::Locked,
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "TemporaryRedirect" => {
            let named = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok()).map(str::to_owned);
            Kind::WrongRegion(named.or_else(|| tag(body, "Region")))
        }
        "NotImplemented" | "InvalidRequest" | "InvalidArgument" | "MethodNotAllowed" => Kind::NotOffered,
        "BadDigest"
        | "InvalidDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "IncompleteBody" => Kind::Corrupted,
        "SlowDown" | "ServiceUnavailable" | "Throttling" | "RequestLimitExceeded" | "TooManyRequests" => {
            Kind::Throttled(retry_after(headers))
        }
        "InternalError" | "RequestTimeout" | "OperationAborted" => Kind::ServerFailed,
        _ => match status.as_u16() {
            429 | 503 => Kind::Throttled(retry_after(headers)),
            408 | 500 | 502 | 504 => Kind::ServerFailed,
            416 => Kind::BadRange,
            401 => Kind::WrongKey,
            403 => Kind::Denied,
            301 | 307 | 308 if headers.contains_key("x-amz-bucket-region") => {
                let region = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
                Kind::WrongRegion(region.map(str::to_owned))
            }
            _ if code.is_empty() => Kind::NotS3,
            _ => Kind::Other,
        },
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let mut said = cause.to_string();
    said.truncate(said.floor_char_boundary(MAX_SAID_BYTES));
    said
}

/// Text of the first element of this name, its entities resolved. Answers of S3 are flat enough for that.
pub(super) fn tag(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(text.replace("&apos;", "'").replace("&#39;", "'").replace("&#34;", "\"").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, message: &str) -> Problem {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Problem::of_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &body)
    }

    #[test]
    fn only_the_endpoint_itself_says_that_an_object_is_missing() {
        assert!(matches!(answer(404, "NoSuchKey", "").about("config"), Error::Missing { .. }));
        assert!(matches!(answer(404, "NoSuchBucket", "").about("config"), Error::NoSuch(_)));
        let page = Problem::of_answer(StatusCode::NOT_FOUND, &HeaderMap::new(), "<html>Not Found</html>");
        assert_eq!(page.kind, Kind::NotS3);
        let error = page.about("config");
        assert!(matches!(error, Error::Store { .. }) && !error.is_damage() && !error.is_loss(), "{error}");
        assert!(problem_of(&error).is_some());
    }

    #[test]
    fn each_refusal_says_what_happened_and_what_to_do() {
        for (status, code, message, kind, says) in [
            (403, "InvalidAccessKeyId", "The key is unknown", Kind::WrongKey, "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "", Kind::WrongKey, "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", "Forbidden: No such key: GK12", Kind::WrongKey, "AWS_ACCESS_KEY_ID"),
            (400, "ExpiredToken", "", Kind::ExpiredToken, "new credentials"),
            (403, "RequestTimeTooSkewed", "", Kind::ClockSkew, "clock"),
            (403, "AccessDenied", "Access Denied", Kind::Denied, "s3:ListBucket"),
            (403, "AccessDenied", "object protected by object lock", Kind::Locked, "wait"),
        ] {
            let problem = answer(status, code, message);
            assert_eq!(problem.kind, kind, "{code}");
            let Error::AccessRefused { what, next } = problem.about("config") else { panic!("{code}") };
            assert!(what.contains(code) && next.contains(says), "{what}: {next}");
        }
    }

    #[test]
    fn the_region_that_the_endpoint_names_is_told() {
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-west-1</Region></Error>";
        let problem = Problem::of_answer(StatusCode::BAD_REQUEST, &HeaderMap::new(), body);
        assert_eq!(problem.kind, Kind::WrongRegion(Some("eu-west-1".into())));
        assert!(problem.to_string().contains("eu-west-1") && problem.to_string().contains("AWS_REGION"));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, code) in
            [(503, "SlowDown"), (500, "InternalError"), (503, ""), (502, ""), (429, ""), (400, "BadDigest")]
        {
            assert!(answer(status, code, "").may_pass(), "{status} {code}");
        }
        for (status, code) in
            [(404, "NoSuchKey"), (403, "AccessDenied"), (400, "ExpiredToken"), (404, ""), (501, "NotImplemented")]
        {
            assert!(!answer(status, code, "").may_pass(), "{status} {code}");
        }
    }

    #[test]
    fn what_an_endpoint_says_is_cut_and_its_entities_resolved() {
        let problem = answer(400, "Odd", &format!("a &lt;b&gt; &amp;amp; {}", "é".repeat(500)));
        assert!(problem.said.starts_with("Odd: a <b> &amp; é") && problem.said.len() <= MAX_SAID_BYTES);
    }
}
