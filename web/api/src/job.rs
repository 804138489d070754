//! Jobs: one run of something long. Every long action answers with one.

use crate::id::{AgentId, JobId, PlanId};
use crate::role::names;
use crate::unit::{ByteCount, Time};
use serde::{Deserialize, Serialize};
use std::fmt;

names! {
    /// What a job does.
    JobKind {
        /// Makes a recovery point.
        Backup = "backup",
        /// Writes a recovery point back.
        Restore = "restore",
        /// Reads a recovery point and compares it with its ids.
        Verify = "verify",
        /// Looks through the repository's structure.
        Check = "check",
        /// Frees the space of what no recovery point needs.
        Prune = "prune",
    }
}

names! {
    /// How far a job is.
    JobState {
        /// Waits for its turn, for its agent, or for the next attempt.
        Queued = "queued",
        /// An agent works on it.
        Running = "running",
        /// Done.
        Succeeded = "succeeded",
        /// Ended without success; `error` says why.
        Failed = "failed",
        /// A person ended it.
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// Whether nothing happens to it any more by itself.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

names! {
    /// Why a job was made.
    JobCause {
        /// Its plan's calendar.
        Calendar = "calendar",
        /// The success of the plan that its plan follows.
        After = "after",
        /// A person asked for it.
        Person = "person",
    }
}

names! {
    /// What a stage counts.
    ProgressUnit {
        /// Bytes.
        Bytes = "bytes",
        /// Packs.
        Packs = "packs",
        /// Recovery points.
        Points = "points",
        /// Small objects.
        Objects = "objects",
    }
}

/// One run of something long.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    /// Its id; later ones sort after earlier ones.
    pub id: JobId,
    /// What is done.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// Why it was made.
    pub cause: JobCause,
    /// The plan that it is a run of, unless that was removed.
    pub plan_id: Option<PlanId>,
    /// The plan's name when the job was made.
    pub plan: String,
    /// The agent that carries it out.
    pub agent_id: AgentId,
    /// That agent's name.
    pub agent: String,
    /// When it had to begin.
    pub due_at: Time,
    /// When it was made.
    pub created_at: Time,
    /// When work on it began for the first time.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// Which attempt is running or was the last: 1, 2 …; 0 before the first.
    pub attempt: u32,
    /// How many attempts its plan allows.
    pub attempts_allowed: u32,
    /// While it is queued: not begun before this time.
    pub not_before_at: Option<Time>,
    /// Whether somebody asked for its end and the agent has still to hear of it.
    pub cancelling: bool,
    /// How the agent described it last.
    pub progress: Option<JobProgress>,
    /// What came of it.
    pub result: Option<JobResult>,
    /// Why the last attempt failed; also while another one is to come.
    pub error: Option<JobError>,
}

/// How far an agent is with a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct JobProgress {
    /// Stages of this attempt in their order; the last one is under way. At most 32.
    pub stages: Vec<JobStage>,
    /// Sums of this attempt.
    pub counts: JobCounts,
    /// Where the time of the threads that read and compress went so far, in thousandths; all zero where it is not known.
    pub shares: TimeShares,
}

/// One stage of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobStage {
    /// Its name, such as `snapshot` or `backup`.
    pub name: String,
    /// What it counts.
    pub unit: ProgressUnit,
    /// How much is done.
    pub done: u64,
    /// Of how much, where that is known.
    pub total: Option<u64>,
    /// How much was done in each of the last seconds.
    pub per_s: u64,
    /// How long it takes or took.
    pub took_ms: u64,
    /// Whether it is over.
    pub ended: bool,
}

/// What was read, found and stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct JobCounts {
    /// Read from disks.
    pub read_bytes: u64,
    /// Of that zero, which is never stored.
    pub zero_bytes: u64,
    /// Of that already in the repository.
    pub known_bytes: u64,
    /// Of that new.
    pub new_bytes: u64,
    /// What the new became in the repository.
    pub stored_bytes: u64,
}

/// Where time went, in thousandths of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct TimeShares {
    /// Waiting for the disk.
    pub read: u16,
    /// Waiting because the plan sets a limit.
    pub limit: u16,
    /// Hashing and comparing.
    pub hash: u16,
    /// Asking whether a chunk is known.
    pub known: u16,
    /// Compressing.
    pub compress: u16,
    /// Waiting for packs to be sealed and stored.
    pub store: u16,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobResult {
    /// Id of the recovery point that was made.
    pub point: String,
    /// Name of the series that it belongs to.
    pub point_name: String,
    /// Its place in that series.
    pub sequence: u64,
    /// Whether everything was read, and why.
    pub full_read_reason: Option<String>,
    /// Who held the disks still.
    pub provider: String,
    /// Size of the disks.
    pub source_bytes: ByteCount,
    /// What changed since the point before.
    pub changed_bytes: ByteCount,
    /// What was read.
    pub read_bytes: ByteCount,
    /// What was stored.
    pub stored_bytes: ByteCount,
    /// How long the backup took.
    pub took_ms: u64,
    /// What a person should know although it worked.
    pub warnings: Vec<String>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobError {
    /// Stable name: those of `icecore`'s exit codes, and `agent_lost`, `agent_revoked` and `interrupted`.
    pub code: String,
    /// What could not be done.
    pub what: String,
    /// The reasons, the outermost first.
    pub why: Vec<String>,
    /// What to do next.
    pub next: Option<String>,
    /// The attempt that failed.
    pub attempt: u32,
}

/// A line of a job's log. The last 1000 of a job are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobLogLine {
    /// Grows by one with each line of an attempt.
    pub number: u64,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// When it came in.
    pub at: Time,
    /// The line.
    pub text: String,
}

/// Which jobs are wanted.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ListJobs {
    /// Most items wanted, 1 to 500.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 500, default = 100))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
    /// Only runs of this plan.
    pub plan_id: Option<PlanId>,
    /// Only jobs of this agent.
    pub agent_id: Option<AgentId>,
    /// Only jobs in this state.
    pub state: Option<JobState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_travel_by_their_names() {
        for state in JobState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(JobState::named(state.name()), Some(*state));
        }
        assert_eq!(JobKind::named("backups"), None);
    }

    #[test]
    fn progress_of_an_older_agent_is_read() {
        let progress: JobProgress = serde_json::from_str(r#"{"stages": []}"#).unwrap();
        assert_eq!(progress, JobProgress::default());
    }
}
