//! API tokens: what scripts log in with.

use crate::id::{TokenId, UserId};
use crate::role::Right;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Whose it is. It never may more than its owner at that moment.
    pub user_id: UserId,
    /// What it is for, in the owner's words.
    pub name: String,
    /// First characters of the secret, to recognise it.
    pub prefix: String,
    /// What it is limited to.
    pub rights: Vec<Right>,
    /// When it was made.
    pub created_at: Time,
    /// When it stops working.
    pub expires_at: Time,
    /// The last request with it, to the minute.
    pub last_used_at: Option<Time>,
}

/// A new token of one's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 100))]
    pub name: String,
    /// What it is limited to; at least one, and only what the owner's role includes.
    pub rights: Vec<Right>,
    /// When it stops working; in the future, at most two years ahead.
    pub expires_at: Time,
}

/// A secret that replaces the one that the request came with. Both work until the new one was used once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotatedSecret {
    /// The new secret. Asking again with the old one makes another.
    pub secret: String,
}

/// A new token with its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// To be sent as `Authorization: Bearer …`. Missing when an idempotency key repeats a request, because it is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}
