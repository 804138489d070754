//! Recovery points, as people look at them and as a keeper reports them.
//!
//! When a point came in the server knows by itself. Its name, its disks and sizes are sealed for the server; what it knows of them its
//! keeper told it.

use crate::id::{AgentId, JobId, PlanId};
use crate::unit::{ByteCount, Time};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most points in one report of a keeper.
pub const MAX_REPORTED_POINTS: usize = 200;
/// Most disks of a point that are reported; a point with more is shown with the first ones.
pub const MAX_REPORTED_DISKS: usize = 32;

/// A disk of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointDisk {
    /// Its name in the point.
    pub name: String,
    /// Where it was read from.
    pub path: String,
    /// Its size.
    pub size_bytes: ByteCount,
}

/// A recovery point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecoveryPoint {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// The repository that it is in, by name.
    pub repository: String,
    /// What stands for its name in the repository; the same for all points of a series.
    pub series: String,
    /// Its place in the series.
    pub sequence: u64,
    /// The name of the series, once a keeper told it.
    pub name: Option<String>,
    /// The machine that was backed up, by its own name.
    pub host: Option<String>,
    /// The agent that stored it; none where it was stored beside the server.
    pub agent_id: Option<AgentId>,
    /// That agent's name.
    pub agent: Option<String>,
    /// The plan whose run ended with it.
    pub plan_id: Option<PlanId>,
    /// That plan's name.
    pub plan: Option<String>,
    /// That run.
    pub job_id: Option<JobId>,
    /// When it came in, by this server's clock where it came through this server.
    pub received_at: Time,
    /// When the disks were as it shows them, by the machine's clock.
    pub made_at: Option<Time>,
    /// `full`, `full_read` or `incremental`.
    pub kind: Option<String>,
    /// `offline`, `crash_consistent`, `application_consistent` or `not_consistent`.
    pub consistency: Option<String>,
    /// Its disks; at most 32.
    pub disks: Vec<PointDisk>,
    /// Size of all disks.
    pub source_bytes: Option<ByteCount>,
    /// What it added to the repository.
    pub stored_bytes: Option<ByteCount>,
    /// When its keeper last found it whole.
    pub verified_at: Option<Time>,
    /// Since when all of it is proved: no part of it was read longer ago than that at `verified_at`.
    pub proved_since: Option<Time>,
    /// What of it cannot be restored, as its keeper found.
    pub flaw: Option<String>,
    /// It restores, but may lack changes: the list of changes that it was made from was incomplete.
    pub suspect: bool,
    /// When it was given up.
    pub forgotten_at: Option<Time>,
    /// Until when it can be had back.
    pub delete_after: Option<Time>,
    /// When it was found to be gone from the repository.
    pub gone_at: Option<Time>,
}

/// Which points are wanted.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ListPoints {
    /// Most items wanted, 1 to 500.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 500, default = 100))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
    /// Only points of this repository, by name.
    pub repository: Option<String>,
    /// Only points of this agent.
    pub agent_id: Option<AgentId>,
    /// Only points that runs of this plan ended with.
    pub plan_id: Option<PlanId>,
    /// Only points of this series.
    pub series: Option<String>,
    /// Also those that were given up, while they can be had back.
    #[cfg_attr(feature = "openapi", param(default = false))]
    pub forgotten: Option<bool>,
}

/// A point as its keeper sees it in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeenPoint {
    /// Its id.
    pub id: String,
    /// What stands for its name.
    pub series: String,
    /// Its place in the series.
    pub sequence: u64,
    /// The writer that stored it.
    pub writer: String,
    /// When it was received, as its receipt says.
    pub received_at: Time,
    /// Length of its manifest.
    pub size_bytes: ByteCount,
    /// What its manifest says; nothing where it cannot be opened.
    pub content: Option<PointContent>,
    /// Whether it may lack changes.
    pub suspect: bool,
    /// When it was given up.
    pub forgotten_at: Option<Time>,
    /// From when on prune may delete it.
    pub delete_after: Option<Time>,
}

/// What a point's manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointContent {
    /// Name of its series.
    pub name: String,
    /// The machine.
    pub host: String,
    /// When its disks were so.
    pub made_at: Time,
    /// How it came to be.
    pub kind: String,
    /// What was promised of the disks while they were read.
    pub consistency: String,
    /// Its disks; at most 32.
    pub disks: Vec<PointDisk>,
    /// Size of all disks.
    pub source_bytes: ByteCount,
    /// What it added to the repository.
    pub stored_bytes: ByteCount,
}

/// Part of what a keeper sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportPoints {
    /// Names the look that this is part of.
    pub survey: Uuid,
    /// When the look began.
    pub begun_at: Time,
    /// Some points; at most 200.
    pub points: Vec<SeenPoint>,
    /// Whether this is the last part: what no part named is gone.
    pub complete: bool,
}

/// Why a point is given up.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ForgetPoint {
    /// For people; at most 200 characters.
    #[cfg_attr(feature = "openapi", schema(max_length = 200))]
    pub reason: String,
}
