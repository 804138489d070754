//! Requests to a server, repeated while it makes sense: with growing pauses, and until the caller wants no more.

use super::address::Address;
use super::problem::Problem;
use anyhow::{Context, Result};
use reqwest::blocking::{Client as Http, RequestBuilder, Response};
use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Method, Url};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
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
/// Longest text of an error that is read.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// How a client behaves.
pub struct Options<'o> {
    /// Who we are, to the server.
    pub token: Zeroizing<String>,
    /// A certificate authority that the system does not know.
    pub ca_file: Option<&'o Path>,
    /// How long a request is tried again before it fails.
    pub patience: Duration,
    /// Ends waiting.
    pub cancel: Arc<AtomicBool>,
}

/// Talks to one repository of one server. Shared by all threads.
pub struct Client {
    http: Http,
    address: Address,
    token: Zeroizing<String>,
    patience: Duration,
    cancel: Arc<AtomicBool>,
}

impl Client {
    /// Connects when it is first used.
    pub fn new(address: Address, options: Options<'_>) -> Result<Self> {
        let mut http = Http::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .tcp_keepalive(SILENCE / 3)
            .tcp_user_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = options.ca_file {
            let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let found = Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("{} holds no certificates", file.display()))?;
            for certificate in found {
                http = http.add_root_certificate(certificate);
            }
        }
        let http = http.build().context("cannot set up HTTPS")?;
        let Options { token, patience, cancel, .. } = options;
        Ok(Self { http, address, token, patience, cancel })
    }

    /// Where it talks to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Makes a request until it is answered for good. `finish` gives it headers and body, anew each time, and must be the same each time.
    pub fn ask<T>(
        &self,
        method: &Method,
        url: &Url,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
        take: impl Fn(Response) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            let request = self.http.request(method.clone(), url.clone()).bearer_auth(self.token.as_str());
            let (problem, asked_pause) = match finish(request).send() {
                Ok(response) if response.status().is_success() => match take(response) {
                    Ok(taken) => return Ok(taken),
                    Err(problem) => (problem, None),
                },
                Ok(response) if *method == Method::HEAD => (Problem::of_head(response.status().as_u16()), None),
                Ok(response) => refused(response),
                Err(error) => (Problem::Unreachable(self.unreachable(&error)), None),
            };
            let wait = asked_pause.unwrap_or(pause).min(LONGEST_PAUSE);
            if !problem.may_pass() || began.elapsed() + wait > self.patience {
                return Err(problem);
            }
            tracing::debug!(?problem, "a request is repeated");
            self.pause(wait)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
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

    /// The innermost reason: what stands round it is the library's.
    fn unreachable(&self, error: &reqwest::Error) -> String {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        format!("the server {} cannot be reached: {cause}", self.address.server())
    }
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
