//! The audit log: who did what, from where, to what, and whether it worked.

use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
}

/// One entry. The hash covers every other field and the hash of the entry before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// 1, 2, 3 … without a gap.
    pub number: u64,
    /// When.
    pub at: Time,
    /// Who: a name, `token:…`, or `console` for the server's own command line.
    pub actor: String,
    /// From which address.
    pub address: String,
    /// What was done, such as `user.create`.
    pub action: String,
    /// To what, such as an id or a name.
    pub subject: String,
    /// Whether it worked.
    pub outcome: Outcome,
    /// More about it; never a secret.
    pub detail: String,
    /// Hash of the entry before, in hexadecimal digits.
    pub previous_hash: String,
    /// Hash of this entry.
    pub hash: String,
}

/// Asks for a walk through the whole chain.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VerifyAudit {
    /// An entry that was noted elsewhere and must still be there. Only this finds a log that was cut at its end or written anew.
    pub noted: Option<AuditHead>,
}

/// The name of a state of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditHead {
    /// Number of its last entry; 0 for an empty log.
    pub number: u64,
    /// Hash of that entry.
    pub hash: String,
}

/// What the walk found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditVerdict {
    /// Whether everything fits.
    pub intact: bool,
    /// Entries that were looked at.
    pub entries: u64,
    /// The last entry that still fits; note it elsewhere.
    pub head: AuditHead,
    /// The first entry that does not fit, and how.
    pub damage: Option<String>,
}
