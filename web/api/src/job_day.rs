//! What became of each machine's backups, day by day.

use crate::id::AgentId;
use crate::unit::ByteCount;
use serde::{Deserialize, Serialize};

/// Most days that are told at once.
pub const MAX_DAYS: u32 = 92;

/// Which days are wanted.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct AskJobDays {
    /// How many, up to today; 1 to 92.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 92, default = 30))]
    pub days: Option<u32>,
    /// Where a day begins and ends: a time zone by its IANA name; UTC without it.
    #[cfg_attr(feature = "openapi", param(max_length = 64, default = "UTC"))]
    pub zone: Option<String>,
}

/// The backups of one machine that ended on one day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobDay {
    /// The machine's agent.
    pub agent_id: AgentId,
    /// The day, such as `2026-11-29`.
    pub day: String,
    /// Backups that succeeded.
    pub succeeded: u64,
    /// Backups that failed for good.
    pub failed: u64,
    /// Backups that a person ended.
    pub cancelled: u64,
    /// What those that succeeded stored.
    pub stored_bytes: ByteCount,
}

/// Days on which something ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobDays {
    /// All days that were asked for, the oldest first; days without any backup are in no item.
    pub days: Vec<String>,
    /// What ended on them, by day and machine.
    pub items: Vec<JobDay>,
}
