//! Jobs as people read them: rows, pages and logs. Who has one in hand is [`super::lease`]'s.

use super::row::{Column, json, known, to_json, unsigned};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::agent_work::ReportedLine;
use web_api::id::{AgentId, JobId, PlanId, RepositoryId};
use web_api::job::{Job, JobCause, JobKind, JobLogLine, JobState};
use web_api::keeping::KeeperWork;
use web_api::plan::Retries;
use web_api::unit::Time;

/// Lines of a job's log that are kept.
const LINES_KEPT: u32 = 1000;

const COLUMNS: &str = "j.id, j.kind, j.state, j.cause, j.plan_id, j.plan_name, j.agent_id, a.name, j.due_at_ms, j.created_at_ms, \
     j.started_at_ms, j.ended_at_ms, j.attempt, j.retry_count, j.not_before_ms, j.cancelling, j.progress, j.result, j.error, \
     r.name, j.work, j.paused";
const FROM: &str = "jobs j JOIN agents a ON a.id = j.agent_id JOIN repositories r ON r.id = a.repository_id";

fn time(row: &Row<'_>, at: usize) -> Result<Option<Time>> {
    Ok(row.get::<_, Option<Column<Time>>>(at)?.map(|column| column.0))
}

fn part<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<Option<T>> {
    row.get::<_, Option<String>>(at)?.map(|text| json("jobs", &text)).transpose()
}

fn job(row: &Row<'_>) -> Result<Job> {
    let state = known("jobs", &row.get::<_, String>(2)?, JobState::named)?;
    let kind = known("jobs", &row.get::<_, String>(1)?, JobKind::named)?;
    let work = kind.is_keepers().then(|| row.get::<_, String>(20)).transpose()?;
    Ok(Job {
        id: row.get::<_, Column<JobId>>(0)?.0,
        kind,
        repository: row.get(19)?,
        work: work.map(|text| json("jobs", &text)).transpose()?,
        paused: row.get::<_, bool>(21)? && !state.is_over(),
        state,
        cause: known("jobs", &row.get::<_, String>(3)?, JobCause::named)?,
        plan_id: row.get::<_, Option<Column<PlanId>>>(4)?.map(|column| column.0),
        plan: row.get(5)?,
        agent_id: row.get::<_, Column<AgentId>>(6)?.0,
        agent: row.get(7)?,
        due_at: row.get::<_, Column<Time>>(8)?.0,
        created_at: row.get::<_, Column<Time>>(9)?.0,
        started_at: time(row, 10)?,
        ended_at: time(row, 11)?,
        attempt: row.get(12)?,
        attempts_allowed: row.get::<_, u32>(13)?.saturating_add(1),
        not_before_at: time(row, 14)?.filter(|_| state == JobState::Queued),
        cancelling: row.get::<_, bool>(15)? && !state.is_over(),
        progress: part(row, 16)?,
        result: part(row, 17)?,
        error: part(row, 18)?,
    })
}

/// A job that is to be made.
#[derive(Clone, Debug)]
pub struct NewJob<'n> {
    /// Its id.
    pub id: JobId,
    /// Why.
    pub cause: JobCause,
    /// The plan that it is a run of.
    pub plan_id: PlanId,
    /// Which run of it.
    pub run_key: &'n str,
    /// When it had to begin.
    pub due_at: Time,
}

/// Makes a job of what its plan says now. False when that run was made before, or another job of the plan is open.
pub fn insert(write: &Write<'_>, new: &NewJob<'_>, now: Time) -> Result<bool> {
    let sql = "INSERT INTO jobs (id, kind, state, cause, plan_id, plan_name, agent_id, run_key, work, retry_count, retry_pause_s,
         due_at_ms, created_at_ms, not_before_ms)
         SELECT ?1, 'backup', 'queued', ?2, id, name, agent_id, ?3, work, retry_count, retry_pause_s, ?4, ?5, ?5 FROM plans WHERE id = ?6
         ON CONFLICT DO NOTHING";
    let parameters =
        params![Column(new.id), new.cause.name(), new.run_key, Column(new.due_at), Column(now), Column(new.plan_id),];
    Ok(write.prepare_cached(sql)?.execute(parameters)? == 1)
}

/// A job of a keeper that is to be made.
#[derive(Clone, Debug)]
pub struct NewKeeperJob<'n> {
    /// Its id.
    pub id: JobId,
    /// What is done.
    pub kind: JobKind,
    /// Why.
    pub cause: JobCause,
    /// The repository.
    pub repository: RepositoryId,
    /// Its keeper.
    pub keeper: AgentId,
    /// What exactly.
    pub work: &'n KeeperWork,
    /// What happens when it fails.
    pub retries: Retries,
}

/// Makes a job of a keeper. False when nobody asked for it and another one of its kind is open.
pub fn insert_keepers(write: &Write<'_>, new: &NewKeeperJob<'_>, now: Time) -> Result<bool> {
    let sql = "INSERT INTO jobs (id, kind, state, cause, plan_name, agent_id, run_key, work, retry_count, retry_pause_s, due_at_ms,
         created_at_ms, not_before_ms, repository_id) VALUES (?1, ?2, 'queued', ?3, '', ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?9, ?10)
         ON CONFLICT DO NOTHING";
    let parameters = params![
        Column(new.id),
        new.kind.name(),
        new.cause.name(),
        Column(new.keeper),
        new.id.to_string(),
        to_json(new.work)?,
        new.retries.count,
        new.retries.pause_s,
        Column(now),
        Column(new.repository),
    ];
    Ok(write.prepare_cached(sql)?.execute(parameters)? == 1)
}

/// Makes a job wait, or go on.
pub fn set_paused(write: &Write<'_>, id: JobId, paused: bool) -> Result<()> {
    write.execute(
        "UPDATE jobs SET paused = ?2 WHERE id = ?1 AND state IN ('queued', 'running')",
        params![Column(id), paused],
    )?;
    Ok(())
}

/// One job.
pub fn get(connection: &Connection, id: JobId) -> Result<Option<Job>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE j.id = ?1"))?;
    query.query_row([Column(id)], |row| Ok(job(row))).optional()?.transpose()
}

/// Which jobs a page shows.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// Only runs of this plan.
    pub plan: Option<PlanId>,
    /// Only jobs of this agent.
    pub agent: Option<AgentId>,
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs of this kind.
    pub kind: Option<JobKind>,
    /// Only jobs in the repository of this name.
    pub repository: Option<String>,
}

/// The latest first, before one of them.
pub fn page(connection: &Connection, filter: &Filter, before: Option<JobId>, limit: u32) -> Result<Vec<Job>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE (?1 IS NULL OR j.id < ?1) AND (?2 IS NULL OR j.plan_id = ?2)
         AND (?3 IS NULL OR j.agent_id = ?3) AND (?4 IS NULL OR j.state = ?4)
         AND (?6 IS NULL OR j.kind = ?6) AND (?7 IS NULL OR r.name = ?7) ORDER BY j.id DESC LIMIT ?5"
    ))?;
    let mut rows = query.query(params![
        before.map(Column),
        filter.plan.map(Column),
        filter.agent.map(Column),
        filter.state.map(JobState::name),
        limit,
        filter.kind.map(JobKind::name),
        filter.repository
    ])?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(job(row)?);
    }
    Ok(jobs)
}

/// How many jobs are queued and how many running.
pub fn open(connection: &Connection) -> Result<(u64, u64)> {
    let count = |state: &str| -> Result<u64> {
        let mut query = connection.prepare_cached("SELECT COUNT(*) FROM jobs WHERE state = ?1")?;
        unsigned("jobs", query.query_row([state], |row| row.get(0))?)
    };
    Ok((count("queued")?, count("running")?))
}

/// Asks for the end of a job that is running.
pub fn cancel_running(write: &Write<'_>, id: JobId) -> Result<()> {
    write.execute("UPDATE jobs SET cancelling = 1 WHERE id = ?1 AND state = 'running'", [Column(id)])?;
    Ok(())
}

/// Puts a job that is over back into the queue, with all the attempts that its plan allows. False when another job of its plan is open.
pub fn requeue_ended(write: &Write<'_>, id: JobId, now: Time) -> Result<bool> {
    let sql = "UPDATE OR IGNORE jobs SET state = 'queued', cancelling = 0, paused = 0, lease = NULL, ended_at_ms = NULL, not_before_ms = ?2,
         retry_count = attempt + COALESCE((SELECT retry_count FROM plans WHERE plans.id = jobs.plan_id), 0)
         WHERE id = ?1 AND state IN ('failed', 'cancelled')";
    Ok(write.execute(sql, params![Column(id), Column(now)])? == 1)
}

/// Adds lines to a job's log and removes the oldest. Lines that are there already stay as they are.
pub fn add_log(write: &Write<'_>, id: JobId, attempt: u32, lines: &[ReportedLine], at: Time) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut insert = write.prepare_cached(
        "INSERT INTO job_log (job_id, attempt, number, at_ms, line) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    )?;
    for line in lines {
        let number = i64::try_from(line.number).unwrap_or(i64::MAX);
        insert.execute(params![Column(id), attempt, number, Column(at), line.text])?;
    }
    write.execute(
        "DELETE FROM job_log WHERE job_id = ?1 AND (attempt, number) <=
         (SELECT attempt, number FROM job_log WHERE job_id = ?1 ORDER BY attempt DESC, number DESC LIMIT 1 OFFSET ?2)",
        params![Column(id), LINES_KEPT],
    )?;
    Ok(())
}

/// Lines of a job's log after a place in it.
pub fn log_page(connection: &Connection, id: JobId, after: (u32, u64), limit: u32) -> Result<Vec<JobLogLine>> {
    let mut query = connection.prepare_cached(
        "SELECT attempt, number, at_ms, line FROM job_log WHERE job_id = ?1 AND (attempt, number) > (?2, ?3)
         ORDER BY attempt, number LIMIT ?4",
    )?;
    let mut rows = query.query(params![Column(id), after.0, i64::try_from(after.1).unwrap_or(i64::MAX), limit])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        lines.push(JobLogLine {
            attempt: row.get(0)?,
            number: unsigned("job_log", row.get(1)?)?,
            at: row.get::<_, Column<Time>>(2)?.0,
            text: row.get(3)?,
        });
    }
    Ok(lines)
}

/// Removes jobs that ended before a time, with their logs.
pub fn delete_old(write: &Write<'_>, ended_before: Time) -> Result<usize> {
    let sql = "DELETE FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled') AND ended_at_ms < ?1";
    Ok(write.execute(sql, [Column(ended_before)])?)
}

/// How a job ends, or how an attempt of it does.
pub fn store_error(write: &Write<'_>, id: JobId, error: Option<&web_api::job::JobError>) -> Result<()> {
    write.execute("UPDATE jobs SET error = ?2 WHERE id = ?1", params![Column(id), error.map(to_json).transpose()?])?;
    Ok(())
}
