//! What browsers and scripts get, of a page made for the test and of the one in this program.

use super::{Built, Site};
use crate::test_app::TestApp;
use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;

static FILES: &[Built] = &[
    Built { path: "/index.html", plain: b"<!doctype html>", gzip: None, brotli: None },
    Built { path: "/assets/a-1234.js", plain: b"plain script", gzip: Some(b"gzipped"), brotli: Some(b"brotli") },
];

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

fn get(path: &str, asked: &[(HeaderName, &str)]) -> Option<Response> {
    let asked = headers(asked);
    Some(Site::of(FILES).find(path, &asked)?.answer(&asked))
}

async fn body(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()
}

#[tokio::test]
async fn each_client_gets_the_smallest_form_that_it_takes() {
    for (accepted, encoding, expected) in [
        ("gzip, deflate, br, zstd", "br", &b"brotli"[..]),
        ("gzip", "gzip", b"gzipped"),
        ("br;q=0, gzip;q=0.5", "gzip", b"gzipped"),
        ("identity", "", b"plain script"),
        ("brotli, gzipped", "", b"plain script"),
    ] {
        let answer = get("/assets/a-1234.js", &[(header::ACCEPT_ENCODING, accepted)]).unwrap();
        let said = answer.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
        assert_eq!(said.unwrap_or_default(), encoding, "{accepted}");
        assert_eq!(answer.headers()[header::VARY], "accept-encoding");
        assert_eq!(body(answer).await, expected, "{accepted}");
    }
}

#[tokio::test]
async fn files_with_a_hash_are_kept_for_ever_and_the_page_is_asked_for_again() {
    let script = get("/assets/a-1234.js", &[]).unwrap();
    assert!(script.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    let page = get("/", &[]).unwrap();
    assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
    let etag = page.headers()[header::ETAG].to_str().unwrap().to_owned();
    let other = format!("\"x\", W/{etag}");
    for known in [etag.as_str(), other.as_str(), "*"] {
        let again = get("/", &[(header::IF_NONE_MATCH, known)]).unwrap();
        assert_eq!((again.status().as_u16(), body(again).await.len()), (304, 0), "{known}");
    }
    assert_eq!(get("/", &[(header::IF_NONE_MATCH, "\"x\"")]).unwrap().status(), 200);
}

#[test]
fn forms_of_one_file_have_different_etags() {
    let etag = |accepted| {
        get("/assets/a-1234.js", &[(header::ACCEPT_ENCODING, accepted)]).unwrap().headers()[header::ETAG].clone()
    };
    assert!(etag("br") != etag("gzip") && etag("gzip") != etag("identity"));
}

#[test]
fn browsers_get_the_page_at_its_own_urls_and_nothing_else_does() {
    let browser = [(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")];
    for path in ["/", "/plans", "/jobs/0193", "/log-in"] {
        assert!(get(path, &browser).is_some(), "{path}");
    }
    for path in ["/api/v1/nothing", "/assets/gone-99.js", "/wp-login.php", "/.env"] {
        assert!(get(path, &browser).is_none(), "{path}");
    }
    assert!(get("/plans", &[(header::ACCEPT, "*/*")]).is_none(), "a script that mistyped a URL is told so");
    assert!(get("/plans", &[]).is_none());
}

#[tokio::test]
async fn the_servers_own_page_comes_with_its_headers_and_only_to_who_reads() {
    let app = TestApp::new();
    let page = app.get("/").send().await;
    assert_eq!((page.status, page.header(header::CONTENT_TYPE)), (200, "text/html; charset=utf-8"));
    assert!(page.header(header::CONTENT_SECURITY_POLICY).contains("script-src 'self'; style-src 'self';"));
    assert_eq!(page.header(header::CACHE_CONTROL), "no-cache");
    let screen = app.get("/plans").header("accept", "text/html").send().await;
    assert_eq!(screen.header(header::ETAG), page.header(header::ETAG));
    for method in [Method::POST, Method::DELETE, Method::PUT] {
        assert_eq!(app.ask(method, "/").send().await.code(), "not_found");
    }
}
