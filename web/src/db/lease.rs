//! Leases: which agent's process has which job in hand, and until when. Every statement names the state that it expects, so what came in
//! between changes nothing.

use super::row::{Column, json, known, to_json};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;
use web_api::id::{AgentId, JobId, LeaseId, PlanId, RepositoryId};
use web_api::job::{JobKind, JobProgress, JobResult, JobState};
use web_api::keeping::KeeperWork;
use web_api::plan::{BackupWork, Retries};
use web_api::unit::Time;

/// A job as whoever gives it out and takes reports needs it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The job.
    pub id: JobId,
    /// What is done.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// The plan that it is a run of.
    pub plan_id: Option<PlanId>,
    /// That plan's name.
    pub plan: String,
    /// The agent.
    pub agent_id: AgentId,
    /// What it does.
    pub work: Work,
    /// The repository that it belongs to, where it is a keeper's, with its name.
    pub repository: Option<(RepositoryId, String)>,
    /// Whether a person wants it to wait.
    pub paused: bool,
    /// What happens when it fails.
    pub retries: Retries,
    /// The attempt under way, or the last one.
    pub attempt: u32,
    /// Whether somebody asked for its end.
    pub cancelling: bool,
    /// The lease of that attempt.
    pub lease: Option<LeaseId>,
    /// How far it was at the last report, in the words of the agent.
    pub stage: Option<String>,
}

/// What a job does.
#[derive(Clone, Debug)]
pub enum Work {
    /// A run of a plan.
    Backup(Box<BackupWork>),
    /// A keeper's.
    Keeper(Box<KeeperWork>),
}

const COLUMNS: &str = "id, kind, state, plan_id, plan_name, agent_id, work, retry_count, retry_pause_s, attempt, cancelling, lease, \
     json_extract(progress, '$.stages[#-1].name'), repository_id, \
     (SELECT name FROM repositories WHERE repositories.id = jobs.repository_id), paused";

fn held(row: &Row<'_>) -> Result<Held> {
    let kind = known("jobs", &row.get::<_, String>(1)?, JobKind::named)?;
    let work: String = row.get(6)?;
    let repository = row.get::<_, Option<Column<RepositoryId>>>(13)?.map(|column| column.0);
    Ok(Held {
        id: row.get::<_, Column<JobId>>(0)?.0,
        kind,
        state: known("jobs", &row.get::<_, String>(2)?, JobState::named)?,
        plan_id: row.get::<_, Option<Column<PlanId>>>(3)?.map(|column| column.0),
        plan: row.get(4)?,
        agent_id: row.get::<_, Column<AgentId>>(5)?.0,
        work: match kind.is_keepers() {
            false => Work::Backup(json("jobs", &work)?),
            true => Work::Keeper(json("jobs", &work)?),
        },
        repository: repository.zip(row.get(14)?),
        paused: row.get(15)?,
        retries: Retries { count: row.get(7)?, pause_s: row.get(8)? },
        attempt: row.get(9)?,
        cancelling: row.get(10)?,
        lease: row.get::<_, Option<Column<LeaseId>>>(11)?.map(|column| column.0),
        stage: row.get(12)?,
    })
}

fn all(connection: &Connection, condition: &str, parameters: impl rusqlite::Params) -> Result<Vec<Held>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE {condition}"))?;
    let mut rows = query.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(held(row)?);
    }
    Ok(found)
}

/// One job.
pub fn get(connection: &Connection, id: JobId) -> Result<Option<Held>> {
    Ok(all(connection, "id = ?1", [Column(id)])?.pop())
}

/// Jobs that a process was given.
pub fn of_instance(connection: &Connection, agent: AgentId, instance: Uuid) -> Result<Vec<Held>> {
    let condition = "state = 'running' AND agent_id = ?1 AND lease_instance = ?2 ORDER BY id";
    all(connection, condition, params![Column(agent), instance.as_bytes()])
}

/// Jobs of an agent that are running in other processes than this one.
pub fn of_other_instances(connection: &Connection, agent: AgentId, instance: Uuid) -> Result<Vec<Held>> {
    let condition = "state = 'running' AND agent_id = ?1 AND lease_instance <> ?2 ORDER BY id";
    all(connection, condition, params![Column(agent), instance.as_bytes()])
}

/// Jobs of an agent that are not over.
pub fn open_of_agent(connection: &Connection, agent: AgentId) -> Result<Vec<Held>> {
    all(connection, "state IN ('queued', 'running') AND agent_id = ?1 ORDER BY id", [Column(agent)])
}

/// Jobs whose lease has run out.
pub fn expired(connection: &Connection, now: Time) -> Result<Vec<Held>> {
    all(connection, "state = 'running' AND lease_expires_at_ms <= ?1 ORDER BY id", [Column(now)])
}

/// Kinds of jobs, as a statement asks for them; all when there are none.
fn names(only: &[JobKind]) -> String {
    only.iter().map(|kind| format!(" {kind} ")).collect()
}

/// The job that an agent is to be given next, of some kinds or of any. What somebody waits for comes before what nobody does.
pub fn next_queued(connection: &Connection, agent: AgentId, only: &[JobKind], now: Time) -> Result<Option<Held>> {
    let condition = "state = 'queued' AND NOT paused AND agent_id = ?1 AND not_before_ms <= ?2
        AND (?3 = '' OR instr(?3, ' ' || kind || ' ') > 0)
        ORDER BY CASE kind WHEN 'restore' THEN 0 WHEN 'forget' THEN 1 WHEN 'copy' THEN 2 WHEN 'backup' THEN 3 WHEN 'prune' THEN 4
        WHEN 'verify' THEN 5 ELSE 6 END, not_before_ms, id LIMIT 1";
    Ok(all(connection, condition, params![Column(agent), Column(now), names(only)])?.pop())
}

/// When an agent's next queued job may begin.
pub fn next_not_before(connection: &Connection, agent: AgentId, only: &[JobKind]) -> Result<Option<Time>> {
    let mut query = connection.prepare_cached(
        "SELECT MIN(not_before_ms) FROM jobs WHERE state = 'queued' AND NOT paused AND agent_id = ?1
         AND (?2 = '' OR instr(?2, ' ' || kind || ' ') > 0)",
    )?;
    let parameters = params![Column(agent), names(only)];
    let found: Option<Option<Column<Time>>> = query.query_row(parameters, |row| row.get(0)).optional()?;
    Ok(found.flatten().map(|column| column.0))
}

/// Gives a queued job to a process: its next attempt begins.
pub fn begin(
    write: &Write<'_>,
    id: JobId,
    (lease, instance): (LeaseId, Uuid),
    now: Time,
    expires_at: Time,
) -> Result<()> {
    write.execute(
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease = ?2, lease_instance = ?3, lease_expires_at_ms = ?4,
         started_at_ms = COALESCE(started_at_ms, ?5), progress = NULL WHERE id = ?1 AND state = 'queued'",
        params![Column(id), Column(lease), instance.as_bytes(), Column(expires_at), Column(now)],
    )?;
    Ok(())
}

/// Takes a job that ran out of its lease back for the same attempt, when nobody else was given it since.
pub fn revive(write: &Write<'_>, id: JobId, lease: LeaseId) -> Result<bool> {
    let sql = "UPDATE jobs SET state = 'running' WHERE id = ?1 AND state = 'queued' AND lease = ?2";
    Ok(write.execute(sql, params![Column(id), Column(lease)])? == 1)
}

/// Notes a report: how far the job is, and that it is in hand.
pub fn renew(write: &Write<'_>, id: JobId, progress: &JobProgress, expires_at: Time) -> Result<()> {
    write.execute(
        "UPDATE jobs SET progress = ?2, lease_expires_at_ms = ?3 WHERE id = ?1 AND state = 'running'",
        params![Column(id), to_json(progress)?, Column(expires_at)],
    )?;
    Ok(())
}

/// Gives every running job until `expires_at`, not less and not more, and lets no queued one wait beyond `latest`: after a start of the server
/// or a jump of its clock, which are not the agents' fault, and must not hide for long that one of them is gone.
pub fn put_right(write: &Write<'_>, expires_at: Time, latest: Time) -> Result<()> {
    write.execute("UPDATE jobs SET lease_expires_at_ms = ?1 WHERE state = 'running'", [Column(expires_at)])?;
    let sql = "UPDATE jobs SET not_before_ms = ?1 WHERE state = 'queued' AND not_before_ms > ?1";
    write.execute(sql, [Column(latest)])?;
    Ok(())
}

/// Puts a job back into the queue. An attempt that is not `counted` allows one more. The lease stays noted, for [`revive`].
pub fn requeue(write: &Write<'_>, id: JobId, not_before: Time, counted: bool) -> Result<()> {
    write.execute(
        "UPDATE jobs SET state = 'queued', not_before_ms = ?2, retry_count = retry_count + ?3, lease_instance = NULL,
         lease_expires_at_ms = NULL WHERE id = ?1 AND state = 'running'",
        params![Column(id), Column(not_before), !counted],
    )?;
    Ok(())
}

/// Ends a job.
pub fn end(write: &Write<'_>, id: JobId, state: JobState, result: Option<&JobResult>, now: Time) -> Result<()> {
    write.execute(
        "UPDATE jobs SET state = ?2, ended_at_ms = ?3, result = ?4, point = ?5, lease_instance = NULL, lease_expires_at_ms = NULL
         WHERE id = ?1 AND state IN ('queued', 'running')",
        params![
            Column(id),
            state.name(),
            Column(now),
            result.map(to_json).transpose()?,
            result.and_then(JobResult::backup).map(|backup| backup.point.to_ascii_lowercase()),
        ],
    )?;
    Ok(())
}
