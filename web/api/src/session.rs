//! Sessions: log-ins of people by browser.

use crate::id::{SessionId, UserId};
use crate::role::{Right, Role};
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// A log-in with name and password.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The account's name.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub name: String,
    /// Its password.
    #[cfg_attr(feature = "openapi", schema(max_length = 1024))]
    pub password: String,
    /// One-time code of the authenticator, or a recovery code; needed when the account asks for one.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub code: Option<String>,
}

/// Who is logged in here, and what a page needs to act for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CurrentSession {
    /// The session.
    pub session: Session,
    /// The account's name.
    pub name: String,
    /// The account's role.
    pub role: Role,
    /// What the role includes.
    pub rights: Vec<Right>,
    /// To be sent as `X-CSRF-Token` with everything that changes something.
    pub csrf_token: String,
}

/// A log-in that is still valid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Whether this very request came with it.
    pub current: bool,
    /// When the person logged in.
    pub created_at: Time,
    /// The last request, to the minute.
    pub last_seen_at: Time,
    /// When it ends unless it is used.
    pub idle_until_at: Time,
    /// When it ends in any case.
    pub expires_at: Time,
    /// Where the person logged in from.
    pub address: String,
    /// What the browser called itself.
    pub user_agent: String,
}
