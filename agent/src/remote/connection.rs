//! Requests to a server, repeated while it makes sense: with growing pauses, and until the caller wants no more.

use super::problem::Problem;
use anyhow::{Context, Result};
use reqwest::blocking::{Client as Http, ClientBuilder, RequestBuilder, Response};
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use web_api::error::ErrorCode;
use zeroize::Zeroizing;

/// A server that does not take a connection is tried again after this time.
const CONNECT: Duration = Duration::from_secs(10);
/// A machine at the other end that confirms nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(90);
/// A pack over a slow line takes its time; an answer that takes longer does not come any more.
const ANSWER: Duration = Duration::from_secs(1800);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a pause looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Waiting for less than this is not worth a word.
const SILENT_WAIT: Duration = Duration::from_secs(1);
/// Longest text of an error that is read.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// Hears, in sentences for a person, that a server is waited for and that it answers again.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Finds the token anew where it is kept: another program may have replaced it.
pub type Renew = Arc<dyn Fn() -> Option<Zeroizing<String>> + Send + Sync>;

/// How a connection behaves.
pub struct Options {
    /// Who we are, to the server; nobody where it is for finding out.
    pub token: Option<Zeroizing<String>>,
    /// Certificates (PEM) of the only authorities to trust; without them those that the system knows.
    pub authority: Option<String>,
    /// How long a request is tried again before it fails.
    pub patience: Duration,
    /// Ends waiting.
    pub cancel: Arc<AtomicBool>,
    /// Hears of waiting.
    pub tell: Tell,
}

impl Options {
    /// Nobody's, trusting whom the system trusts, without patience.
    pub fn plain(cancel: Arc<AtomicBool>) -> Self {
        Self { token: None, authority: None, patience: Duration::ZERO, cancel, tell: Arc::new(|_| {}) }
    }
}

/// Talks to one server. Shared by all threads; connections are kept and used again.
pub struct Connection {
    http: Http,
    server: Url,
    // Held only to copy or to replace it.
    token: RwLock<Option<Zeroizing<String>>>,
    renew: Option<Renew>,
    patience: Duration,
    cancel: Arc<AtomicBool>,
    tell: Tell,
    /// Whether [`Tell`] heard that the server is waited for, and not yet that it answers.
    waits: AtomicBool,
}

/// What all connections have in common.
fn builder() -> ClientBuilder {
    Http::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .tcp_keepalive(SILENCE / 3)
        .tcp_user_timeout(SILENCE)
        .tcp_nodelay(true)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")))
}

/// The certificates in PEM text; at least one.
fn certificates(pem: &str) -> Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(pem.as_bytes()).context("the certificate authority cannot be read")?;
    anyhow::ensure!(!found.is_empty(), "there is no certificate in what was given as certificate authority");
    Ok(found)
}

impl Connection {
    /// To a server, whose URL ends in `/`; made when it is first used.
    pub fn new(server: Url, options: Options) -> Result<Self> {
        let Options { token, authority, patience, cancel, tell } = options;
        let http = match &authority {
            Some(pem) => builder().tls_certs_only(certificates(pem)?),
            None => builder(),
        };
        let http = http.build().context("cannot set up HTTPS")?;
        let (token, waits) = (RwLock::new(token), AtomicBool::new(false));
        Ok(Self { http, server, token, renew: None, patience, cancel, tell, waits })
    }

    /// The same connection, which looks for another token before it believes that its own is not taken any more.
    #[must_use]
    pub fn renewing(self, renew: Option<Renew>) -> Self {
        Self { renew, ..self }
    }

    /// To a server that nothing is known of: whoever answers is believed. Only for asking what a person or a fingerprint then confirms;
    /// nothing secret may go over it.
    pub(super) fn unproved(server: Url, cancel: Arc<AtomicBool>) -> Result<Self> {
        let http = builder().tls_danger_accept_invalid_certs(true).build().context("cannot set up HTTPS")?;
        let Options { token, patience, tell, .. } = Options::plain(cancel.clone());
        let (token, waits) = (RwLock::new(token), AtomicBool::new(false));
        Ok(Self { http, server, token, renew: None, patience, cancel, tell, waits })
    }

    /// URL of the server.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// A URL below the server's `api/v1`; the segments are encoded.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    /// Reads something.
    pub fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, Problem> {
        self.ask(&Method::GET, &self.url(segments), |request| request, json)
    }

    /// Sends something that may be sent again, and reads the answer.
    pub fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T, Problem> {
        self.ask(&Method::POST, &self.url(segments), |request| request.json(body), json)
    }

    /// Removes something.
    pub fn delete(&self, segments: &[&str]) -> Result<(), Problem> {
        self.ask(&Method::DELETE, &self.url(segments), |request| request, |_| Ok(()))
    }

    /// Makes a request until it is answered for good. `finish` gives it headers and body, anew each time, and must be the same each time.
    pub fn ask<T>(
        &self,
        method: &Method,
        url: &Url,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
        take: impl Fn(Response) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.ask_going_on(method, url, finish, take, || Ok(false))
    }

    /// The same of a request that goes on where its line broke. `went_on` says whether anything came of a try that failed; then it is no
    /// repetition, and patience begins anew.
    pub fn ask_going_on<T>(
        &self,
        method: &Method,
        url: &Url,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
        take: impl Fn(Response) -> Result<T, Problem>,
        went_on: impl Fn() -> Result<bool, Problem>,
    ) -> Result<T, Problem> {
        let mut began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            let (problem, asked_pause) = match self.once(method, url, &finish, &take) {
                Ok(taken) => {
                    self.answers();
                    return Ok(taken);
                }
                Err(failed) => failed,
            };
            if problem.code() == Some(ErrorCode::NotLoggedIn) && self.is_renewed() {
                continue;
            }
            if problem.may_pass() && went_on()? {
                (began, pause) = (Instant::now(), FIRST_PAUSE);
                continue;
            }
            let wait = asked_pause.unwrap_or(pause).min(LONGEST_PAUSE);
            if !problem.may_pass() || began.elapsed() + wait > self.patience {
                return Err(problem);
            }
            tracing::debug!(?problem, "a request is repeated");
            if began.elapsed() + wait >= SILENT_WAIT {
                self.waits_for(&problem, self.patience.saturating_sub(began.elapsed()));
            }
            self.pause(wait)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try; a failure comes with the pause that the server asks for.
    fn once<T>(
        &self,
        method: &Method,
        url: &Url,
        finish: &impl Fn(RequestBuilder) -> RequestBuilder,
        take: &impl Fn(Response) -> Result<T, Problem>,
    ) -> Result<T, (Problem, Option<Duration>)> {
        let request = self.http.request(method.clone(), url.clone());
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        let request = match &token {
            Some(token) => request.bearer_auth(token.as_str()),
            None => request,
        };
        match finish(request).send() {
            Ok(response) if response.status().is_success() => take(response).map_err(|problem| (problem, None)),
            Ok(response) if *method == Method::HEAD => Err((Problem::of_head(response.status().as_u16()), None)),
            Ok(response) => Err(refused(response)),
            Err(error) => Err((self.unreachable(&error), None)),
        }
    }

    /// Whether there is another token now.
    fn is_renewed(&self) -> bool {
        let Some(found) = self.renew.as_ref().and_then(|renew| renew()) else { return false };
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = token.as_ref().is_none_or(|token| token.as_str() != found.as_str());
        *token = Some(found);
        is_other
    }

    fn pause(&self, time: Duration) -> Result<(), Problem> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
        Ok(())
    }

    fn waits_for(&self, problem: &Problem, longest: Duration) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            (self.tell)(&format!("{problem}. It is asked again for up to {} seconds", longest.as_secs()));
        }
    }

    fn answers(&self) {
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::Relaxed) {
            (self.tell)("The server answers again");
        }
    }

    /// The innermost reason: what stands round it is the library's.
    fn unreachable(&self, error: &reqwest::Error) -> Problem {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let what = format!("the server {} cannot be reached: {cause}", self.server);
        // Nothing tells these apart but their words: a certificate that is not trusted is the same at every try.
        match error.is_connect() && cause.to_string().contains("certificate") {
            true => Problem::Untrusted(what),
            false => Problem::Unreachable(what),
        }
    }
}

fn json<T: DeserializeOwned>(response: Response) -> Result<T, Problem> {
    response.json().map_err(|error| Problem::Unreachable(format!("the server's answer cannot be read: {error}")))
}

/// What the answer says, and after how long to ask again if it says that.
fn refused(response: Response) -> (Problem, Option<Duration>) {
    let status = response.status().as_u16();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    // Half an error is read as none of ours.
    let _ = response.take(MAX_ERROR_BYTES).read_to_end(&mut body);
    (Problem::of(status, &body), seconds.map(Duration::from_secs))
}
