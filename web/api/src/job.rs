//! Jobs: one run of something long. Every long action answers with one.

use crate::id::{AgentId, JobId, PlanId};
use crate::keeping::{CheckResult, ForgetResult, KeeperWork, PruneResult, RestoreResult, VerifyResult};
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
        /// Gives up what plans do not keep, and frees the space of what no recovery point needs.
        Prune = "prune",
        /// Gives recovery points up by hand, or takes them back.
        Forget = "forget",
        /// Stores a copy of the server's database in a repository.
        Copy = "copy",
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

impl JobKind {
    /// Whether it is for the keeper of a repository, and for nobody else.
    pub fn is_keepers(self) -> bool {
        self != Self::Backup
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
        /// What came in: a recovery point that is to be verified.
        Received = "received",
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
    /// The repository that it works in, by name; that of the agent.
    pub repository: String,
    /// What it does, where it is a keeper's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<KeeperWork>,
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
    /// Whether it waits until a person wants it to go on; while it is running the agent has still to hear of it.
    #[serde(default)]
    pub paused: bool,
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

/// What came of a job, by its kind. That of a backup stands for itself, as it always did; others stand under the name of their kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobResult {
    /// Of a verification.
    Verify(VerifyResult),
    /// Of a check.
    Check(CheckResult),
    /// Of a prune.
    Prune(PruneResult),
    /// Of giving up or taking back.
    Forget(ForgetResult),
    /// Of a restore.
    Restore(RestoreResult),
    /// Of a backup or a copy of the server's database.
    #[serde(untagged)]
    Backup(BackupResult),
}

impl JobResult {
    /// What a backup made.
    pub fn backup(&self) -> Option<&BackupResult> {
        match self {
            Self::Backup(result) => Some(result),
            _ => None,
        }
    }

    /// Whether a job of this kind can end with it.
    pub fn fits(&self, kind: JobKind) -> bool {
        match self {
            Self::Verify(_) => kind == JobKind::Verify,
            Self::Check(_) => kind == JobKind::Check,
            Self::Prune(_) => kind == JobKind::Prune,
            Self::Forget(_) => kind == JobKind::Forget,
            Self::Restore(_) => kind == JobKind::Restore,
            Self::Backup(_) => matches!(kind, JobKind::Backup | JobKind::Copy),
        }
    }
}

/// The document's generator does not know variants without a name of their own.
#[cfg(feature = "openapi")]
mod schema {
    use super::{BackupResult, CheckResult, ForgetResult, JobResult, PruneResult, RestoreResult, VerifyResult};
    use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    fn named<T: ToSchema>(name: &str) -> ObjectBuilder {
        ObjectBuilder::new().property(name, Ref::from_schema_name(T::name())).required(name)
    }

    impl PartialSchema for JobResult {
        fn schema() -> RefOr<Schema> {
            let one_of = OneOfBuilder::new()
                .item(Ref::from_schema_name(BackupResult::name()))
                .item(named::<VerifyResult>("verify"))
                .item(named::<CheckResult>("check"))
                .item(named::<PruneResult>("prune"))
                .item(named::<ForgetResult>("forget"))
                .item(named::<RestoreResult>("restore"));
            one_of.description(Some("What came of a job, by its kind.")).into()
        }
    }

    impl ToSchema for JobResult {
        fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                schemas.push((T::name().into_owned(), T::schema()));
                T::schemas(schemas);
            }
            add::<BackupResult>(schemas);
            add::<VerifyResult>(schemas);
            add::<CheckResult>(schemas);
            add::<PruneResult>(schemas);
            add::<ForgetResult>(schemas);
            add::<RestoreResult>(schemas);
        }
    }
}

/// What came of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupResult {
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
    /// Where the disks changed; none from agents that do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub disks: Vec<ChangedDisk>,
}

/// Where a disk changed since the recovery point before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedDisk {
    /// Its name in the recovery point.
    pub name: String,
    /// Its size.
    pub size_bytes: ByteCount,
    /// The disk in 128 equal parts: how many percent of each changed; 0 only where nothing did.
    #[cfg_attr(feature = "openapi", schema(max_items = 128))]
    pub changed_percent: Vec<u8>,
}

/// Parts of a disk in [`ChangedDisk`].
pub const CHANGED_PARTS: usize = 128;
/// Most disks of a backup that say where they changed: the most of a recovery point.
pub const MAX_CHANGED_DISKS: usize = 256;

impl ChangedDisk {
    /// Whether it is what an agent may say.
    pub fn is_sound(&self) -> bool {
        let percent = &self.changed_percent;
        self.name.len() <= 255 && percent.len() == CHANGED_PARTS && percent.iter().all(|share| *share <= 100)
    }
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
    /// Only jobs of this kind.
    pub kind: Option<JobKind>,
    /// Only jobs in this repository, by name.
    pub repository: Option<String>,
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

    /// Agents of the version before know results of backups alone, and say them without a name.
    #[test]
    fn results_of_backups_travel_as_they_always_did_and_others_by_their_name() {
        let text = r#"{"point": "ab", "point_name": "web", "sequence": 1, "full_read_reason": null, "provider": "direct", "source_bytes": 1,
            "changed_bytes": 1, "read_bytes": 1, "stored_bytes": 1, "took_ms": 1, "warnings": []}"#;
        let backup: JobResult = serde_json::from_str(text).unwrap();
        assert!(backup.fits(JobKind::Backup) && !backup.fits(JobKind::Verify));
        assert_eq!(serde_json::to_value(&backup).unwrap(), serde_json::from_str::<serde_json::Value>(text).unwrap());
        let forgot = JobResult::Forget(ForgetResult { points: vec!["ab".into()], delete_after: None });
        let value = serde_json::to_value(&forgot).unwrap();
        assert_eq!(value["forget"]["points"][0], "ab");
        assert_eq!(serde_json::from_value::<JobResult>(value).unwrap(), forgot);
        assert!(serde_json::from_str::<JobResult>("{}").is_err());
    }

    #[test]
    fn progress_of_an_older_agent_is_read() {
        let progress: JobProgress = serde_json::from_str(r#"{"stages": []}"#).unwrap();
        assert_eq!(progress, JobProgress::default());
    }
}
