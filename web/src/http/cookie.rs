//! The session's cookie.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};

/// Over TLS the browser guarantees by this name: this host only, every path, never over plain HTTP.
const SECURE_NAME: &str = "__Host-icecore-session";
const PLAIN_NAME: &str = "icecore-session";

fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { PLAIN_NAME }
}

/// The secret that a browser sent.
pub fn read(headers: &HeaderMap, secure: bool) -> Option<String> {
    CookieJar::from_headers(headers).get(name(secure)).map(|cookie| cookie.value().to_owned())
}

/// Gives the browser a secret, until it is closed or the session ends.
pub fn set(secret: &str, secure: bool) -> [(HeaderName, HeaderValue); 1] {
    header_of(cookie(secret, secure))
}

/// Takes it back.
pub fn clear(secure: bool) -> [(HeaderName, HeaderValue); 1] {
    let mut cookie = cookie("", secure);
    cookie.make_removal();
    header_of(cookie)
}

fn cookie(value: &str, secure: bool) -> Cookie<'_> {
    Cookie::build((name(secure), value)).path("/").http_only(true).secure(secure).same_site(SameSite::Strict).build()
}

fn header_of(cookie: Cookie<'_>) -> [(HeaderName, HeaderValue); 1] {
    // Our secrets are plain characters, so this is always a valid value.
    let value = HeaderValue::from_str(&cookie.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
    [(header::SET_COOKIE, value)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_tls_the_cookie_is_bound_to_host_and_transport() {
        let [(_, value)] = set("ics_1", true);
        let text = value.to_str().unwrap();
        assert!(text.starts_with("__Host-icecore-session=ics_1;"), "{text}");
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("Domain"));
    }

    #[test]
    fn a_cookie_is_read_under_the_name_of_its_transport_only() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            HeaderValue::from_static("a=b; icecore-session=plain; __Host-icecore-session=safe"),
        );
        assert_eq!(read(&headers, true).as_deref(), Some("safe"));
        assert_eq!(read(&headers, false).as_deref(), Some("plain"));
        assert_eq!(read(&HeaderMap::new(), true), None);
    }
}
