//! People's accounts.

use crate::id::UserId;
use crate::log_in_link::NewLogInLink;
use crate::role::Role;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// A person's account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Name for logging in; small letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Whether logging in is refused and tokens do not work.
    pub disabled: bool,
    /// Whether a password was set yet.
    pub has_password: bool,
    /// Whether logging in needs a one-time code.
    pub has_totp: bool,
    /// When it was made.
    pub created_at: Time,
    /// The last log-in.
    pub last_log_in_at: Option<Time>,
    /// Grows with every change; the ETag.
    pub revision: u64,
}

/// A new account. The person sets the password by the one-time link in the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Name for logging in: 1 to 64 small letters, digits, `.`, `_`, `-`; begins with a letter or digit.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$"))]
    pub name: String,
    /// What the person may do.
    pub role: Role,
}

/// A new account with the link by which the person sets a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedUser {
    /// The account.
    pub user: User,
    /// The link; missing when an idempotency key repeats a request, because its secret is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_in_link: Option<NewLogInLink>,
}

/// Changes to an account; what is missing stays.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// New role.
    pub role: Option<Role>,
    /// Refuse log-ins and end all sessions, or allow them again.
    pub disabled: Option<bool>,
}
