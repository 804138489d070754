//! The web page: its files, which are a part of the program, and how browsers get and keep them.
//!
//! It owns no content: `ui/` has the page's source, `build.rs` lists what was made of it. Files with a hash in their name never
//! change and are kept for ever; everything else is asked for again with its ETag. The page finds its own way by the URL, so
//! whatever a browser opens that is neither a file nor a part of the API is the page.

use crate::http::ApiError;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::LazyLock;
use web_api::error::ErrorCode;

/// A file as the build made it.
struct Built {
    /// Its URL.
    path: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

static BUILT: &[Built] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));
static ABSENT: &[Built] = &[Built { path: INDEX, plain: include_bytes!("page/absent.html"), gzip: None, brotli: None }];
static SITE: LazyLock<Site> = LazyLock::new(|| Site::of(if BUILT.is_empty() { ABSENT } else { BUILT }));

const INDEX: &str = "/index.html";
/// Names below it have a hash of the content in them.
const HASHED: &str = "/assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Kept, but asked for again each time.
const ASK_AGAIN: &str = "no-cache";

/// A file or the page for what a browser opens; an error as everywhere else for what it is not meant to find.
pub async fn serve(request: Request) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match SITE.find(path, headers).filter(|_| reads) {
        Some(found) => found.answer(headers),
        None => ApiError::new(ErrorCode::NotFound, "there is nothing at this URL").into_response(),
    }
}

/// All files by their URL.
struct Site {
    files: HashMap<&'static str, (&'static Built, String)>,
}

/// A file that was found, with the hash of its content.
struct Found<'s> {
    file: &'static Built,
    hash: &'s str,
}

impl Site {
    fn of(files: &'static [Built]) -> Self {
        let named = |file: &'static Built| (file.path, (file, blake3::hash(file.plain).to_hex()[..32].to_owned()));
        Self { files: files.iter().map(named).collect() }
    }

    fn find(&self, path: &str, headers: &HeaderMap) -> Option<Found<'_>> {
        let at = |path: &str| self.files.get(path).map(|(file, hash)| Found { file, hash });
        match path {
            "/" => at(INDEX),
            _ => at(path).or_else(|| at(INDEX).filter(|_| is_screen(path, headers))),
        }
    }
}

/// Whether a browser opens one of the page's own URLs, and no script asks for a file that is not there.
fn is_screen(path: &str, headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    accepts.contains("text/html") && !path.starts_with("/api/") && !is_file
}

impl Found<'_> {
    fn answer(&self, asked: &HeaderMap) -> Response {
        let (encoding, bytes) = self.encoded(asked);
        let etag = format!("\"{}{}\"", self.hash, encoding.map(|name| format!("-{name}")).unwrap_or_default());
        let cache = if self.file.path.starts_with(HASHED) { FOR_EVER } else { ASK_AGAIN };
        let same = is_known(asked, &etag);
        let mut response =
            if same { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(bytes).into_response() };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(header::ETAG, etag);
        }
        if !same {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(self.file.path)));
            if let Some(name) = encoding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
            }
        }
        response
    }

    /// The smallest form that the client takes.
    fn encoded(&self, asked: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
        let packed = [("br", self.file.brotli), ("gzip", self.file.gzip)];
        let smallest = packed.into_iter().find_map(|(name, bytes)| Some((name, bytes.filter(|_| takes(asked, name))?)));
        smallest.map_or((None, self.file.plain), |(name, bytes)| (Some(name), bytes))
    }
}

/// Whether `Accept-Encoding` names an encoding without forbidding it.
fn takes(asked: &HeaderMap, encoding: &str) -> bool {
    let listed = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|text| text.split(',')).any(|item| {
        let (name, quality) = item.split_once(';').unwrap_or((item, ""));
        let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case(encoding) && !refused
    })
}

/// Whether the client says that it has this very content.
fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let listed = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|text| text.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
