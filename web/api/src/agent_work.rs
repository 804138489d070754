//! What an agent and the server say to each other about jobs. The agent asks; the server never dials out.
//!
//! Every such request carries [`PROTOCOL_HEADER`]. All of them can be repeated when an answer was lost.

use crate::device::Device;
use crate::id::{JobId, LeaseId};
use crate::job::{JobError, JobKind, JobProgress, JobResult};
use crate::keeping::KeeperWork;
use crate::plan::BackupWork;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Header with the version of this conversation that an agent speaks.
pub const PROTOCOL_HEADER: &str = "icecore-agent-protocol";
/// The version of this program. A server talks with agents of its own version and of the one before.
pub const PROTOCOL: u32 = 1;
/// Longest time that a request for work waits.
pub const MAX_WAIT_S: u32 = 20;
/// Most lines of a job's log in one report.
pub const MAX_REPORTED_LINES: usize = 100;
/// Longest line of a job's log, in bytes; longer ones are cut.
pub const MAX_LINE_BYTES: usize = 1000;
/// Most devices that an agent reports.
pub const MAX_DEVICES: usize = 1000;

/// A sign of life.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// Names this process of the agent; made anew at every start.
    pub instance: Uuid,
    /// Whether this is the first one of the process. Jobs of earlier processes are free again then.
    pub begins: bool,
    /// Version of the program.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub version: String,
    /// The machine's own name.
    #[cfg_attr(feature = "openapi", schema(max_length = 255))]
    pub host: String,
    /// What the kernel calls this boot of the machine.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub boot_id: String,
    /// The machine's disks, when they are others than those of the last heartbeat.
    #[serde(default)]
    pub devices: Option<Vec<Device>>,
}

/// Answer to a sign of life.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeartbeatAnswer {
    /// After how long the next one is wanted.
    pub again_in_s: u32,
    /// After how long without a report a job is taken from its agent.
    pub lease_s: u32,
}

/// Asks for something to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskWork {
    /// The process that asks.
    pub instance: Uuid,
    /// What it has in hand. Other jobs that it was given got lost on the way and are given once more.
    pub in_hand: Vec<JobId>,
    /// How long the answer may wait for something to come; at most 20 seconds.
    #[cfg_attr(feature = "openapi", schema(maximum = 20))]
    pub wait_s: u32,
    /// Only jobs of these kinds; any without it. Servers of the version before give any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<JobKind>,
}

/// Answer to a request for work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GivenWork {
    /// A job, if there is one.
    pub job: Option<LeasedJob>,
}

/// A job that is this agent's for as long as it reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeasedJob {
    /// The job.
    pub id: JobId,
    /// Proves in reports that the job is still this agent's.
    pub lease: LeaseId,
    /// What is to be done.
    pub kind: JobKind,
    /// 1, 2, 3 …
    pub attempt: u32,
    /// Name of the plan.
    pub plan: String,
    /// What is to be backed up, for a backup.
    pub backup: Option<BackupWork>,
    // Not in `backup`, whose unknown fields an agent of the version before refuses.
    /// After how many days without a full read everything is read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_read_every_days: Option<u32>,
    /// Read and hash everything, because what was stored before is damaged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full_read: bool,
    /// What is to be done in the repository, for its keeper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<KeeperWork>,
    /// After how long without a report the job is taken away.
    pub lease_s: u32,
}

/// A line for a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportedLine {
    /// 1, 2, 3 … within the attempt, so that a repeated report adds nothing.
    pub number: u64,
    /// The line.
    pub text: String,
}

/// How far a job is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportProgress {
    /// The lease that came with the job.
    pub lease: LeaseId,
    /// How far it is.
    pub progress: JobProgress,
    /// New lines for its log; at most 100.
    #[serde(default)]
    pub log: Vec<ReportedLine>,
}

/// Answer to a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportAnswer {
    /// Whether a person wants the job to end.
    pub cancel: bool,
    /// Whether a person wants it to wait: the agent gives it back. Agents of the version before do not know this and go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause: bool,
}

/// How a job came to its end at the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is done.
    Succeeded(JobResult),
    /// This attempt failed.
    Failed {
        /// Why.
        error: JobError,
        /// Whether another attempt may succeed.
        retry: bool,
    },
    /// It was ended because a person wanted so.
    Cancelled,
    /// The agent stops and gives the job back; that counts as no attempt.
    Returned,
}

/// The end of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportEnd {
    /// The lease that came with the job.
    pub lease: LeaseId,
    /// How it ended.
    pub ending: Ending,
    /// How far it was.
    pub progress: JobProgress,
    /// Last lines for its log; at most 100.
    #[serde(default)]
    pub log: Vec<ReportedLine>,
}
