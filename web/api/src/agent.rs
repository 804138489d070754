//! Agents: the machines that back up into a repository of this server.

use crate::id::AgentId;
use crate::unit::{ByteCount, Time};
use serde::{Deserialize, Serialize};

/// An agent, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// What people call it; unique among those that are not revoked.
    pub name: String,
    /// The repository that it stores into, by name.
    pub repository: String,
    /// The writer of that repository in whose name it stores, as 32 hexadecimal digits.
    pub writer: String,
    /// First characters of its secret, to recognise it.
    pub prefix: String,
    /// When it was made.
    pub created_at: Time,
    /// Its last request, to the minute.
    pub last_seen_at: Option<Time>,
    /// Whether it keeps the repository: it works beside it, with the repository's own key, and verifies, checks and prunes.
    #[serde(default)]
    pub keeper: bool,
    /// When it was suspended because what it stored was not what it said; from then on nothing that it sends is taken until an admin
    /// reinstates it.
    #[serde(default)]
    pub suspended_at: Option<Time>,
    /// When it was revoked; from then on nothing that it sends is taken.
    pub revoked_at: Option<Time>,
    /// How fast it may send, all of its connections together.
    pub limit_bytes_per_s: Option<u64>,
    /// How much its packs may take in the repository.
    pub quota_bytes: Option<ByteCount>,
    /// When nothing was heard of the machine for so long, that is an alert.
    pub silent_after_s: Option<u32>,
    /// Number of the last edit.
    pub revision: u64,
}

/// Slowest limit: a pack still arrives within the time that a request may take.
pub const MIN_LIMIT_BYTES_PER_S: u64 = 256 << 10;

/// How long nothing need be heard of a machine, unless something else is set.
pub const SILENT_AFTER_S: u32 = 86_400;

/// Changes to an agent; what is missing stays.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeAgent {
    /// How fast it may send: at least 262144 bytes a second, or 0 for as fast as it goes.
    pub limit_bytes_per_s: Option<u64>,
    /// How much its packs may take in the repository; 0 for as much as there is.
    pub quota_bytes: Option<ByteCount>,
    /// When nothing was heard of the machine for so long, that is an alert: at least 300 seconds, or 0 for never.
    pub silent_after_s: Option<u32>,
}

/// A new agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAgent {
    /// What people shall call it.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64))]
    pub name: String,
    /// The repository that it may store into, by name.
    pub repository: String,
    /// The writer whose key file the machine has (`icecore key writer-export` says its id).
    #[cfg_attr(feature = "openapi", schema(min_length = 32, max_length = 32))]
    pub writer: String,
    /// Whether it shall keep the repository; then the writer is the repository's built-in one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeper: bool,
}

/// A new agent with its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedAgent {
    /// The agent.
    pub agent: Agent,
    /// To be given to the machine. Missing when an idempotency key repeats a request, because it is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}
