//! Whether a request that changes something was made by our own page.
//!
//! Two proofs: what the browser says about where it comes from, and a token that only our page can read. The first is asked of
//! everybody, the second of whoever comes with a cookie. Scripts with a token in `Authorization` are no browsers acting unasked.

use super::error::{ApiError, ApiResult};
use crate::auth::secret;
use axum::http::{HeaderMap, HeaderName, Method, Uri, header};
use web_api::error::ErrorCode;

/// Header with the session's CSRF token.
pub const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether requests of this method change nothing.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses a request that a browser says another site made.
pub fn check_origin(headers: &HeaderMap, uri: &Uri) -> ApiResult<()> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(&SEC_FETCH_SITE)
        && site != "same-origin"
        && site != "none"
    {
        return Err(cross_site("the browser says that another site made it (Sec-Fetch-Site)"));
    }
    if let Some(origin) = text(&header::ORIGIN) {
        let host = text(&header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
        let origin_host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if origin_host.is_none() || origin_host != host {
            return Err(cross_site("its Origin is not this server"));
        }
    }
    Ok(())
}

/// Refuses a request without the session's token.
pub fn check_token(headers: &HeaderMap, expected: &str) -> ApiResult<()> {
    let given = headers.get(CSRF_TOKEN).and_then(|value| value.to_str().ok());
    if given.is_some_and(|given| secret::same(given, expected)) {
        return Ok(());
    }
    Err(cross_site("its X-CSRF-Token is missing or not that of the session"))
}

fn cross_site(why: &str) -> ApiError {
    ApiError::new(ErrorCode::CrossSite, "the request was not provably made by this server's own page").why(why).next(
        "send csrf_token of GET /api/v1/session as X-CSRF-Token, from a page of this server; scripts use an API token",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn origin(pairs: &[(&'static str, &str)]) -> bool {
        let pairs =
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        check_origin(&pairs.collect(), &Uri::from_static("/api/v1/session")).is_ok()
    }

    #[test]
    fn what_browsers_say_of_other_sites_is_refused() {
        for site in ["cross-site", "same-site", "", "SAME-ORIGIN"] {
            assert!(!origin(&[("sec-fetch-site", site)]), "{site}");
        }
        for foreign in
            ["https://evil.example", "null", "http://ice.example.evil", "https://ice.example:444", "ice.example"]
        {
            assert!(!origin(&[("origin", foreign), ("host", "ice.example")]), "{foreign}");
        }
        assert!(!origin(&[("origin", "https://ice.example")]), "without a host nothing can be compared");
    }

    #[test]
    fn our_own_page_and_scripts_pass() {
        assert!(origin(&[
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://ice.example"),
            ("host", "ice.example")
        ]));
        assert!(origin(&[("sec-fetch-site", "none")]));
        assert!(origin(&[]));
        let uri = Uri::from_static("https://ice.example:8443/x");
        let headers = [(header::ORIGIN, HeaderValue::from_static("https://ice.example:8443"))].into_iter().collect();
        assert!(check_origin(&headers, &uri).is_ok(), "HTTP/2 has the host in the URI");
    }

    #[test]
    fn only_the_sessions_token_counts() {
        let with =
            |token: &'static str| [(CSRF_TOKEN, HeaderValue::from_static(token))].into_iter().collect::<HeaderMap>();
        assert!(check_token(&with("abc"), "abc").is_ok());
        for wrong in ["abd", "ab", "abcd", ""] {
            assert!(check_token(&with(wrong), "abc").is_err(), "{wrong}");
        }
        assert!(check_token(&HeaderMap::new(), "abc").is_err());
    }
}
