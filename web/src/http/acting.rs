//! Who does something, from where and when: what a handler writes into the audit log.

use super::error::ApiError;
use super::peer::Peer;
use crate::audit::Record;
use crate::auth::caller::Caller;
use crate::db::{self, Write};
use crate::state::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use web_api::audit::Outcome;
use web_api::unit::Time;

/// The caller of a route that needs one.
#[derive(Clone, Debug)]
pub struct Acting {
    /// Who.
    pub caller: Caller,
    /// From where.
    pub peer: Peer,
    /// When: one time for all that a request does.
    pub now: Time,
}

impl Acting {
    /// Records what is done, in the same transaction as the deed, and tells listeners. `kind` is `noun.verb`.
    pub fn done(&self, write: &mut Write<'_>, kind: &str, subject: &str, detail: &str) -> db::Result<()> {
        let by = Author { actor: self.caller.actor(), address: self.peer.address.to_string(), at: self.now };
        by.record(write, kind, subject, Outcome::Done, detail)?;
        db::event::append(write, self.now, kind, subject)
    }
}

impl FromRequestParts<App> for Acting {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal(&"a route asks for a caller and declares no need"))?;
        let Ok(peer) = Peer::from_request_parts(parts, app).await;
        Ok(Self { caller, peer, now: app.now() })
    }
}

/// Somebody as the audit log names them, with or without an account.
#[derive(Clone, Debug)]
pub struct Author {
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// When.
    pub at: Time,
}

impl Author {
    /// Adds an entry to the audit log.
    pub fn record(
        &self,
        write: &Write<'_>,
        action: &str,
        subject: &str,
        outcome: Outcome,
        detail: &str,
    ) -> db::Result<()> {
        let record = Record {
            at: self.at,
            actor: self.actor.clone(),
            address: self.address.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome,
            detail: detail.to_owned(),
        };
        db::audit::append(write, record).map(drop)
    }
}
