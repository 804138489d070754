//! One-time links by which a person without a password gets in and sets one.

use crate::id::LogInLinkId;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// A link as its maker sees it, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewLogInLink {
    /// Its id, for the audit log.
    pub id: LogInLinkId,
    /// The link, to be given to the person.
    pub url: String,
    /// The part of it that a client sends to redeem it.
    pub secret: String,
    /// When it stops working.
    pub expires_at: Time,
}

/// Uses a link up: sets the password and logs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RedeemLogInLink {
    /// The link's secret.
    #[cfg_attr(feature = "openapi", schema(max_length = 128))]
    pub secret: String,
    /// Name of the first account; only for the link of the first start, other links know whose they are.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub name: Option<String>,
    /// The new password.
    #[cfg_attr(feature = "openapi", schema(min_length = 12, max_length = 1024))]
    pub password: String,
    /// One-time code, when the account asks for one.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub code: Option<String>,
}
