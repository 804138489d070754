//! The conversation with the server about jobs (`web_api::agent_work`). Each call is one request; whoever calls decides about another one.

use crate::remote::{Address, Client, Options, Problem, Renew, Tell};
use anyhow::Result;
use reqwest::Method;
use reqwest::blocking::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use uuid::Uuid;
use web_api::agent_work::{
    AskWork, GivenWork, Heartbeat, HeartbeatAnswer, LeasedJob, PROTOCOL, PROTOCOL_HEADER, ReportAnswer, ReportEnd,
    ReportProgress,
};
use web_api::error::ErrorCode;
use web_api::file::{AskPart, AskQuestion, AskedQuestion, FileAnswer, GivenQuestion};
use web_api::id::{JobId, QuestionId};
use web_api::job::JobKind;
use web_api::recovery_point::ReportPoints;
use zeroize::Zeroizing;

/// A server that says nothing for this long is away.
const ANSWER: Duration = Duration::from_secs(40);

/// Who and where the server is.
#[derive(Clone)]
pub struct Server {
    /// The repository that this agent stores into.
    pub address: Address,
    /// Who we are, to the server.
    pub token: Zeroizing<String>,
    /// Certificates (PEM) of the only authorities to trust; without them those that the system knows.
    pub authority: Option<String>,
    /// Finds the token anew: it may be replaced while the service runs.
    pub renew: Option<Renew>,
}

impl Server {
    /// A client for it. `tell` hears when it is waited for.
    pub fn client(&self, patience: Duration, cancel: Arc<AtomicBool>, tell: Tell) -> Result<Client> {
        let (token, authority) = (Some(self.token.clone()), self.authority.clone());
        let client = Client::new(self.address.clone(), Options { token, authority, patience, cancel, tell })?;
        Ok(client.renewing(self.renew.clone()))
    }
}

/// Why the server refuses this agent. Waiting does not help.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Why a request came to nothing.
#[derive(Debug)]
pub enum Asked {
    /// The server is away, or cannot answer at the moment.
    Away(String),
    /// It does not want this agent.
    Refused(Refused),
}

/// What a report met with.
pub enum Reported<T> {
    /// It was taken.
    Taken(T),
    /// The job is not this agent's any more.
    Lost,
}

/// To the server. Shared by all threads.
pub struct Link {
    client: Client,
    instance: Uuid,
}

impl Link {
    /// Connects when it is first used.
    pub fn new(server: &Server) -> Result<Self> {
        // Nothing repeats inside: the loops outside do, and look for signals in between.
        let client = server.client(Duration::ZERO, Arc::default(), Arc::new(|_| {}))?;
        Ok(Self { client, instance: Uuid::now_v7() })
    }

    /// For the requests of one job: a server that is away is waited for, until the job is to end.
    pub fn waiting(server: &Server, patience: Duration, cancel: Arc<AtomicBool>, tell: Tell) -> Result<Self> {
        Ok(Self { client: server.client(patience, cancel, tell)?, instance: Uuid::now_v7() })
    }

    /// Names this process to the server.
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    fn post<T>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
        take: impl Fn(Response) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let url = self.client.address().api_url(&[&["agent"], segments].concat());
        let finish = |request: reqwest::blocking::RequestBuilder| {
            request.timeout(ANSWER).header(PROTOCOL_HEADER, PROTOCOL).json(body)
        };
        self.client.ask(&Method::POST, &url, finish, take)
    }

    /// A sign of life.
    pub fn heartbeat(&self, said: &Heartbeat) -> Result<HeartbeatAnswer, Asked> {
        self.post(&["heartbeat"], said, read).map_err(asked)
    }

    /// Asks for work, of some kinds or of any, and waits for it a while.
    pub fn ask_work(&self, only: &[JobKind], wait_s: u32) -> Result<Option<LeasedJob>, Asked> {
        // What it was given and does not know of got lost on the way: one job at a time is in hand, and then it asks for no other.
        let body = AskWork { instance: self.instance, in_hand: Vec::new(), wait_s, only: only.to_vec() };
        self.post(&["jobs", "lease"], &body, read::<GivenWork>).map(|given| given.job).map_err(asked)
    }

    /// Reports what a keeper sees in its repository.
    pub fn points(&self, report: &ReportPoints) -> Result<(), Asked> {
        self.post(&["points"], report, |_| Ok(())).map_err(asked)
    }

    /// Asks for a question about files, or for one for an archive, and waits for one a while.
    pub fn ask_question(&self, wait_s: u32, archives: bool) -> Result<Option<AskedQuestion>, Asked> {
        let given = self.post(&["questions", "next"], &AskQuestion { wait_s, archives }, read::<GivenQuestion>);
        given.map(|given| given.question).map_err(asked)
    }

    /// Answers a question about files in words.
    pub fn answer(&self, question: QuestionId, answer: &FileAnswer) -> Result<(), Asked> {
        self.post(&["questions", &question.to_string(), "answer"], answer, |_| Ok(())).map_err(asked)
    }

    /// Answers a question about files with a piece of one.
    pub fn bring_piece(&self, question: QuestionId, bytes: Vec<u8>) -> Result<(), Asked> {
        let url = self.client.address().api_url(&["agent", "questions", &question.to_string(), "piece"]);
        let bytes = bytes::Bytes::from(bytes);
        let finish = |request: reqwest::blocking::RequestBuilder| {
            let request = request.timeout(ANSWER).header(PROTOCOL_HEADER, PROTOCOL);
            request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream").body(bytes.clone())
        };
        self.client.ask(&Method::POST, &url, finish, |_| Ok(())).map_err(asked)
    }

    /// Asks for a part of the disk that a restore job of this machine writes.
    pub fn ask_part(&self, job: JobId, asked: &AskPart) -> Result<Vec<u8>, Problem> {
        let take = |response: Response| {
            let bytes = response.bytes();
            bytes
                .map(|bytes| bytes.to_vec())
                .map_err(|error| Problem::Unreachable(format!("an answer was cut: {error}")))
        };
        self.post(&["jobs", &job.to_string(), "part"], asked, take)
    }

    /// Reports how far a job is.
    pub fn progress(&self, job: JobId, report: &ReportProgress) -> Result<Reported<ReportAnswer>, Asked> {
        reported(self.post(&["jobs", &job.to_string(), "progress"], report, read))
    }

    /// Reports the end of a job.
    pub fn finish(&self, job: JobId, report: &ReportEnd) -> Result<Reported<()>, Asked> {
        reported(self.post(&["jobs", &job.to_string(), "finish"], report, |_| Ok(())))
    }
}

fn read<T: DeserializeOwned>(response: Response) -> Result<T, Problem> {
    response.json().map_err(|error| Problem::Unreachable(format!("the server's answer cannot be read: {error}")))
}

fn reported<T>(result: Result<T, Problem>) -> Result<Reported<T>, Asked> {
    match result {
        Ok(taken) => Ok(Reported::Taken(taken)),
        // A job that was removed with its record is lost as well.
        Err(problem) if matches!(problem.code(), Some(ErrorCode::JobLost | ErrorCode::NotFound)) => Ok(Reported::Lost),
        Err(problem) => Err(asked(problem)),
    }
}

fn asked(problem: Problem) -> Asked {
    let words = problem.to_string();
    match problem.code() {
        Some(ErrorCode::NotLoggedIn | ErrorCode::Forbidden | ErrorCode::VersionsApart) => {
            Asked::Refused(Refused(words))
        }
        _ => Asked::Away(words),
    }
}
