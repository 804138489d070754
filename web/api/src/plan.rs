//! Plans: what is backed up, when, how long it stays, and what happens when it fails.

use crate::id::{AgentId, JobId, PlanId};
use crate::job::JobState;
use crate::unit::Time;
use serde::{Deserialize, Serialize};

/// A plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// What people call it; unique.
    pub name: String,
    /// The agent that carries it out.
    pub agent_id: AgentId,
    /// That agent's name.
    pub agent: String,
    /// What is backed up, and how.
    pub work: BackupWork,
    /// When.
    pub when: When,
    /// How long recovery points stay.
    pub keep: Keep,
    /// What happens when a run fails.
    pub retries: Retries,
    /// Whether it makes no runs by itself at the moment.
    pub paused: bool,
    /// When it was made.
    pub created_at: Time,
    /// Its next run, as far as the calendar alone says.
    pub next_run_at: Option<Time>,
    /// Its latest job.
    pub last_job: Option<LastJob>,
    /// When its last success ended. A machine without a recent one is in danger, whatever the reason.
    pub last_good_at: Option<Time>,
    /// When too old a success is an alert.
    pub alarm: Alarm,
    /// How old that may become before it is: what the plan promises. Nothing is promised without it.
    pub alarm_after_s: Option<u64>,
    /// Grows with every edit; the ETag.
    pub revision: u64,
}

/// When a plan that has no recent success is an alert, whatever the reason: jobs that fail, or none that are made.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// By the calendar: one and a half times the longest pause between two runs, at least that and an hour. A plan that follows another goes by
    /// that one's calendar. A plan that runs when asked only raises none.
    #[default]
    Calendar,
    /// Never.
    Off,
    /// After so many seconds without a success; 300 to 315360000 (ten years).
    AfterS(u32),
}

/// The latest job of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastJob {
    /// The job.
    pub id: JobId,
    /// How far it is.
    pub state: JobState,
    /// When it ended.
    pub ended_at: Option<Time>,
}

/// Which disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    /// Every disk that the machine has when the job begins: no removable ones, none in memory, none that lies on others.
    AllDisks,
    /// Absolute paths of block devices and image files. All of them become one recovery point.
    Paths(Vec<String>),
}

/// Who holds the disks still while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// The kernel module.
    Module,
    /// LVM's snapshots.
    Lvm,
    /// Nobody.
    Direct,
}

/// Whether the machine's own hooks run. A plan names no commands: whoever owns the server would own every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HookRules {
    /// Run the scripts of the machine's directory of hooks.
    #[serde(default = "yes")]
    pub run: bool,
    /// How long each may run; 1 second to a day.
    #[serde(default = "hook_timeout_s")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 86_400, default = 60))]
    pub timeout_s: u32,
    /// A hook that fails makes no backup; without this it is a warning.
    #[serde(default = "yes")]
    pub must_succeed: bool,
}

impl Default for HookRules {
    fn default() -> Self {
        Self { run: true, timeout_s: hook_timeout_s(), must_succeed: true }
    }
}

fn yes() -> bool {
    true
}

fn hook_timeout_s() -> u32 {
    60
}

/// What a backup job does. It is fixed when the job is made: a later edit of the plan counts for later jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BackupWork {
    /// Which disks.
    pub sources: Sources,
    /// Name under which the recovery points follow each other; the plan's name without it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1024))]
    pub point_name: Option<String>,
    /// Who must hold the disks still; the best one that the machine has without it.
    #[serde(default)]
    pub provider: Option<ProviderName>,
    /// Read only what file systems use.
    #[serde(default)]
    pub used_blocks_only: bool,
    /// Partitions whose content is left out, by number.
    #[serde(default)]
    pub exclude_partitions: Vec<u32>,
    /// Back up disks in use even without a snapshot; such points are marked as not consistent.
    #[serde(default)]
    pub allow_live: bool,
    /// The machine's hooks.
    #[serde(default)]
    pub hooks: HookRules,
    /// Most bytes read in a second.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub limit_bytes_per_s: Option<u64>,
    /// Level of compression, 1 to 19.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 19))]
    pub level: Option<i32>,
    /// Everything is read, and compared with the point before, when that was not done for this many days; an older agent goes on without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3650))]
    pub full_read_every_days: Option<u32>,
}

/// When a plan runs: by a calendar, after another plan's success, or only when somebody asks (`cron` and `after` both missing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct When {
    /// A cron expression of five fields (minute, hour, day, month, weekday), or six with seconds in front. A time that a change of the
    /// clocks leaves out runs right after the change; one that it repeats runs once, unless the expression means every hour.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_length = 100))]
    pub cron: Option<String>,
    /// The time zone of `cron` and of the windows, by its IANA name.
    #[serde(default = "utc")]
    #[cfg_attr(feature = "openapi", schema(max_length = 64, default = "UTC"))]
    pub zone: String,
    /// Times at which no run begins; what falls into one waits for its end.
    #[serde(default)]
    pub blackouts: Vec<Blackout>,
    /// Runs begin up to this much later, each by another amount, so that many machines do not begin at once; 0 to a day.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(maximum = 86_400))]
    pub jitter_s: u32,
    /// Whether a run that the server slept through is made up for, once, however many were missed.
    #[serde(default = "yes")]
    pub catch_up: bool,
    /// Runs after each success of this plan; not together with `cron`.
    #[serde(default)]
    pub after: Option<PlanId>,
}

impl Default for When {
    fn default() -> Self {
        Self { cron: None, zone: utc(), blackouts: Vec::new(), jitter_s: 0, catch_up: true, after: None }
    }
}

fn utc() -> String {
    "UTC".into()
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A time of the day, or of some days, at which no run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Blackout {
    /// Days on which it begins; none: every day.
    #[serde(default)]
    pub days: Vec<Weekday>,
    /// Its first minute, `HH:MM`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// The minute at which runs may begin again, `HH:MM`. When it is not after `from`, it is on the next day.
    #[cfg_attr(feature = "openapi", schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub until: String,
}

/// Which recovery points stay, by the server's receive time. The newest one always does. With no rule at all every one stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// The newest ones.
    pub last: u32,
    /// The last of each hour that has one, so many hours.
    pub hourly: u32,
    /// The last of each day.
    pub daily: u32,
    /// The last of each week.
    pub weekly: u32,
    /// The last of each month.
    pub monthly: u32,
    /// The last of each quarter.
    pub quarterly: u32,
    /// The last of each year.
    pub yearly: u32,
    /// All that are younger: `36h`, `14d`, `6m` (months), `1y6m`.
    pub within: Option<String>,
    /// The newest ones that stay whatever the rules say.
    pub minimum: u32,
}

/// What a plan's rules say of one recovery point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PointDecision {
    /// The point.
    pub point: String,
    /// Its place in the series.
    pub sequence: u64,
    /// When the server received it.
    pub received_at: Time,
    /// The run that ended with it; none for what was made outside of the plan.
    pub job_id: Option<JobId>,
    /// Whether somebody who can read it found it whole.
    pub verified: bool,
    /// Whether it stays.
    pub keep: bool,
    /// Every reason for it.
    pub reasons: Vec<String>,
}

/// What is asked about a plan's points.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct AskRetention {
    /// Most items wanted, 1 to 500.
    #[cfg_attr(feature = "openapi", param(minimum = 1, maximum = 500, default = 100))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
    /// As of this time instead of now: what would stay then of the points that are there now.
    #[cfg_attr(feature = "openapi", param(value_type = Option<String>, format = DateTime))]
    pub at: Option<Time>,
}

/// What happens when a run fails or its agent vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How often it is tried again; 0 to 20.
    #[cfg_attr(feature = "openapi", schema(maximum = 20, default = 3))]
    pub count: u32,
    /// How long to wait before the first of them; each further one waits twice as long, up to six hours. 0 to a day.
    #[cfg_attr(feature = "openapi", schema(maximum = 86_400, default = 60))]
    pub pause_s: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 3, pause_s: 60 }
    }
}

/// A new plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreatePlan {
    /// What people shall call it: 1 to 64 small letters, digits, `.`, `_`, `-`; begins with a letter or digit.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$"))]
    pub name: String,
    /// The agent that shall carry it out.
    pub agent_id: AgentId,
    /// What is backed up, and how.
    pub work: BackupWork,
    /// When; without it only when somebody asks.
    #[serde(default)]
    pub when: When,
    /// How long recovery points stay; without it for ever.
    #[serde(default)]
    pub keep: Keep,
    /// What happens when a run fails.
    #[serde(default)]
    pub retries: Retries,
    /// Make no runs yet.
    #[serde(default)]
    pub paused: bool,
    /// When too old a success is an alert.
    #[serde(default)]
    pub alarm: Alarm,
}

/// Changes to a plan; what is missing stays, and what is given takes the place of the whole part.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangePlan {
    /// Another name. Recovery points keep theirs: without `point_name` in `work` a new series begins.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$"))]
    pub name: Option<String>,
    /// Another agent. It cannot go on with the series of another one's points: give `work` another `point_name`.
    pub agent_id: Option<AgentId>,
    /// What is backed up, and how.
    pub work: Option<BackupWork>,
    /// When. Times before the change are not made up for.
    pub when: Option<When>,
    /// How long recovery points stay.
    pub keep: Option<Keep>,
    /// What happens when a run fails.
    pub retries: Option<Retries>,
    /// When too old a success is an alert.
    pub alarm: Option<Alarm>,
}
