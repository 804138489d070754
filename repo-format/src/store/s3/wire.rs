//! One request over HTTP: counted, bounded in time, and a typed problem when it fails. Trying again is `patience`'s.

use super::problem::{Kind, Problem};
use crate::store::requests::Requests;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How long an endpoint may think about a request that has arrived.
const ANSWER: Duration = Duration::from_secs(60);
/// A line slower than this counts as broken.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;
/// How much of the text of a failure is read.
const MAX_FAILURE_BYTES: usize = 16 << 10;

/// Counters that all clones share.
#[derive(Debug, Default)]
pub(super) struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    others: AtomicU64,
    retries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl Counters {
    pub(super) fn so_far(&self) -> Requests {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            puts: load(&self.puts),
            gets: load(&self.gets),
            lists: load(&self.lists),
            deletes: load(&self.deletes),
            others: load(&self.others),
            retries: load(&self.retries),
            bytes_sent: load(&self.bytes_sent),
            bytes_received: load(&self.bytes_received),
        }
    }

    pub(super) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn begin(&self, request: &HttpRequest) {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        let counter = match *request.method() {
            Method::PUT if query.is_empty() || has("partNumber") => &self.puts,
            Method::GET if has("list-type") || has("uploads") || has("versions") => &self.lists,
            Method::GET | Method::HEAD => &self.gets,
            Method::DELETE => &self.deletes,
            _ => &self.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.bytes_sent.fetch_add(request.body().content_length() as u64, Ordering::Relaxed);
    }
}

/// Makes clients that count.
#[derive(Debug, Clone)]
pub(super) struct CountingConnector(pub(super) Arc<Counters>);

impl HttpConnector for CountingConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Counting { inner, counters: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Counting {
    inner: HttpClient,
    counters: Arc<Counters>,
}

#[async_trait]
impl HttpService for Counting {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.counters.begin(&request);
        let sending = Duration::from_secs(request.body().content_length() as u64 / SLOWEST_BYTES_PER_SECOND);
        let is_post = request.method() == Method::POST;
        let answer = match timeout(ANSWER + sending, self.inner.execute(request)).await {
            Err(_) => return Err(failed(Problem::new(Kind::Unreachable, "no answer in time"))),
            Ok(Err(error)) => return Err(failed(of_line(&error))),
            Ok(Ok(answer)) => answer,
        };
        let (parts, body) = answer.into_parts();
        let counters = self.counters.clone();
        let body = HttpResponseBody::new(body.map_frame(move |frame| {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            counters.bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
            frame
        }));
        if !parts.status.is_success() {
            let text = read_text(body).await.map_err(failed)?;
            return Err(failed(Problem::of_answer(parts.status, &parts.headers, &text)));
        }
        if !is_post {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        // Finishing an upload begins its answer with success and may tell a failure in it.
        let text = read_text(body).await.map_err(failed)?;
        if text.contains("<Error>") {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(failed(Problem::of_answer(status, &parts.headers, &text)));
        }
        Ok(HttpResponse::from_parts(parts, text.into()))
    }
}

/// `object_store` tries nothing again that failed like this.
fn failed(problem: Problem) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, problem)
}

fn of_line(error: &HttpError) -> Problem {
    let problem = Problem::of(error);
    match problem.said.contains("certificate") {
        true => Problem::new(Kind::Untrusted, problem.said),
        false => problem,
    }
}

/// The text of a short answer, or its beginning. One that broke off says nothing: what it was about to say may be in the rest.
async fn read_text(mut body: HttpResponseBody) -> Result<String, Problem> {
    let mut text = Vec::new();
    while text.len() < MAX_FAILURE_BYTES {
        match timeout(ANSWER, body.frame()).await {
            Ok(Some(Ok(frame))) => text.extend(frame.data_ref().into_iter().flatten()),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(of_line(&error)),
            Err(_) => return Err(Problem::new(Kind::Unreachable, "the answer stopped coming")),
        }
    }
    text.truncate(MAX_FAILURE_BYTES);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The next piece of a body, or the problem with it.
pub(super) async fn next_piece<S>(stream: &mut S) -> Result<Option<Bytes>, Problem>
where
    S: futures_util::Stream<Item = object_store::Result<Bytes>> + Unpin,
{
    match timeout(ANSWER, futures_util::StreamExt::next(stream)).await {
        Err(_) => Err(Problem::new(Kind::Unreachable, "the answer stopped coming")),
        Ok(None) => Ok(None),
        Ok(Some(piece)) => piece.map(Some).map_err(|error| Problem::of(&error)),
    }
}
