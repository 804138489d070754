//! Who asks for a repository's objects: a machine, or a person who may restore.

use super::{Acting, AgentCaller, ApiError, ApiResult};
use crate::audit::Record;
use crate::auth::caller::Caller;
use crate::db;
use crate::repositories::Served;
use crate::state::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use repo_format::gate::{Grants, Party};
use std::path::PathBuf;
use std::sync::Arc;
use web_api::audit::Outcome;
use web_api::error::ErrorCode;
use web_api::id::RepositoryId;
use web_api::role::Right;

/// Who is behind a request for objects.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A machine; which repository and which writer it stands for follows from its secret, not from the request.
    Agent(AgentCaller),
    /// A person with the right to restore, by session or token.
    Person(Acting),
}

/// What a person may do with a repository beside reading.
fn grants(caller: &Caller) -> Grants {
    Grants { forget: caller.may(Right::Operate), writers: caller.may(Right::Agents) }
}

impl Asker {
    /// As the rules of repositories know it.
    pub fn party(&self) -> Party {
        match self {
            Self::Agent(agent) => Party::Writer(agent.writer),
            Self::Person(acting) => Party::Person(grants(&acting.caller)),
        }
    }

    /// The repository of that name, if it is one for the asker. That a person begins to read is noted.
    pub async fn served(&self, app: &App, name: &str) -> ApiResult<Arc<Served>> {
        if let Self::Agent(agent) = self {
            if agent.repository != name {
                return Err(ApiError::not_found("repository"));
            }
            if agent.keeper {
                return Err(ApiError::new(ErrorCode::Forbidden, "a keeper works beside its repository")
                    .next("use --repo DIR on the machine that has it"));
            }
        }
        let wanted = name.to_owned();
        let found = app.database.read(move |connection| db::repository::named(connection, &wanted)).await?;
        let repository = found.ok_or_else(|| ApiError::not_found("repository"))?;
        if let Self::Person(acting) = self {
            note_reading(app, acting, repository.id, name).await;
        }
        open(app, PathBuf::from(repository.directory)).await
    }
}

async fn open(app: &App, directory: PathBuf) -> ApiResult<Arc<Served>> {
    let app = app.clone();
    crate::ingest::blocking(move || {
        app.repositories.get(&directory).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "a repository cannot be opened");
            ApiError::new(ErrorCode::Unavailable, "the repository cannot be used at the moment")
                .next("look into the server's log")
        })
    })
    .await
}

/// One entry of the audit log for all that somebody reads without a long break.
async fn note_reading(app: &App, acting: &Acting, repository: RepositoryId, name: &str) {
    let actor = acting.caller.actor();
    if !app.readings.begins((repository, actor.clone()), acting.now) {
        return;
    }
    let record = Record {
        at: acting.now,
        actor,
        address: acting.peer.address.to_string(),
        action: "repository.read".into(),
        subject: repository.to_string(),
        outcome: Outcome::Done,
        detail: name.into(),
    };
    let noted = app.database.write(move |write| db::audit::append(write, record).map(drop)).await;
    if let Err(error) = noted {
        // A full disk must not keep anybody from restoring.
        tracing::warn!(%error, "it could not be noted who reads a repository");
    }
}

impl FromRequestParts<App> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match parts.extensions.get::<AgentCaller>().cloned() {
            Some(agent) => Ok(Self::Agent(agent)),
            None => Acting::from_request_parts(parts, app).await.map(Self::Person),
        }
    }
}
