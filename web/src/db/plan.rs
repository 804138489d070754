//! Plans. What they say is kept as JSON of the API's types; what the scheduler asks for has columns of its own.

use super::row::{Column, json, known, to_json, unsigned};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::id::{AgentId, JobId, PlanId, RepositoryId};
use web_api::job::JobState;
use web_api::plan::{Alarm, LastJob, Plan, Retries, When};
use web_api::unit::Time;

const COLUMNS: &str = "p.id, p.name, p.agent_id, a.name, p.work, p.time_rule, p.after_plan_id, p.keep, p.retry_count, p.retry_pause_s, \
     p.paused, p.created_at_ms, p.last_good_at_ms, p.revision, j.id, j.state, j.ended_at_ms, p.alarm";
const FROM: &str = "plans p JOIN agents a ON a.id = p.agent_id \
     LEFT JOIN jobs j ON j.id = (SELECT MAX(id) FROM jobs WHERE plan_id = p.id)";

fn plan(row: &Row<'_>) -> Result<Plan> {
    let after = row.get::<_, Option<Column<PlanId>>>(6)?.map(|column| column.0);
    let count = |at: usize| -> Result<u32> { Ok(row.get(at)?) };
    let last_job = row.get::<_, Option<Column<JobId>>>(14)?.map(|id| -> Result<LastJob> {
        let state = known("jobs", &row.get::<_, String>(15)?, JobState::named)?;
        Ok(LastJob { id: id.0, state, ended_at: row.get::<_, Option<Column<Time>>>(16)?.map(|column| column.0) })
    });
    Ok(Plan {
        id: row.get::<_, Column<PlanId>>(0)?.0,
        name: row.get(1)?,
        agent_id: row.get::<_, Column<AgentId>>(2)?.0,
        agent: row.get(3)?,
        work: json("plans", &row.get::<_, String>(4)?)?,
        when: When { after, ..json("plans", &row.get::<_, String>(5)?)? },
        keep: json("plans", &row.get::<_, String>(7)?)?,
        retries: Retries { count: count(8)?, pause_s: count(9)? },
        paused: row.get(10)?,
        created_at: row.get::<_, Column<Time>>(11)?.0,
        // Only who knows calendars can say, and what is promised too.
        next_run_at: None,
        last_job: last_job.transpose()?,
        last_good_at: row.get::<_, Option<Column<Time>>>(12)?.map(|column| column.0),
        alarm: json("plans", &row.get::<_, String>(17)?)?,
        alarm_after_s: None,
        revision: unsigned("plans", row.get(13)?)?,
    })
}

fn time_rule(when: &When) -> Result<String> {
    to_json(&When { after: None, ..when.clone() })
}

/// Stores a new one. Runs count from its making on.
pub fn insert(write: &Write<'_>, plan: &Plan) -> Result<()> {
    write.execute(
        "INSERT INTO plans (id, name, agent_id, work, time_rule, after_plan_id, keep, retry_count, retry_pause_s, paused,
         considered_until_ms, created_at_ms, alarm) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12)",
        params![
            Column(plan.id),
            plan.name,
            Column(plan.agent_id),
            to_json(&plan.work)?,
            time_rule(&plan.when)?,
            plan.when.after.map(Column),
            to_json(&plan.keep)?,
            plan.retries.count,
            plan.retries.pause_s,
            plan.paused,
            Column(plan.created_at),
            to_json(&plan.alarm)?,
        ],
    )?;
    Ok(())
}

/// Stores what a plan says, under the next revision.
pub fn change(write: &Write<'_>, plan: &Plan) -> Result<()> {
    write.execute(
        "UPDATE plans SET name = ?2, work = ?3, time_rule = ?4, after_plan_id = ?5, keep = ?6, retry_count = ?7,
         retry_pause_s = ?8, paused = ?9, agent_id = ?10, alarm = ?11, revision = revision + 1 WHERE id = ?1",
        params![
            Column(plan.id),
            plan.name,
            to_json(&plan.work)?,
            time_rule(&plan.when)?,
            plan.when.after.map(Column),
            to_json(&plan.keep)?,
            plan.retries.count,
            plan.retries.pause_s,
            plan.paused,
            Column(plan.agent_id),
            to_json(&plan.alarm)?,
        ],
    )?;
    Ok(())
}

/// Removes it. Its jobs stay and lose their plan.
pub fn delete(write: &Write<'_>, id: PlanId) -> Result<()> {
    write.execute("DELETE FROM plans WHERE id = ?1", [Column(id)])?;
    Ok(())
}

/// One plan.
pub fn get(connection: &Connection, id: PlanId) -> Result<Option<Plan>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE p.id = ?1"))?;
    query.query_row([Column(id)], |row| Ok(plan(row))).optional()?.transpose()
}

/// In the order of making, after one of them.
pub fn page(connection: &Connection, after: Option<PlanId>, limit: u32) -> Result<Vec<Plan>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE ?1 IS NULL OR p.id > ?1 ORDER BY p.id LIMIT ?2"
    ))?;
    let mut rows = query.query(params![after.map(Column), limit])?;
    let mut plans = Vec::new();
    while let Some(row) = rows.next()? {
        plans.push(plan(row)?);
    }
    Ok(plans)
}

/// The plan that a plan follows.
pub fn followed_by(connection: &Connection, id: PlanId) -> Result<Option<PlanId>> {
    let mut query = connection.prepare_cached("SELECT after_plan_id FROM plans WHERE id = ?1")?;
    let found: Option<Option<Column<PlanId>>> = query.query_row([Column(id)], |row| row.get(0)).optional()?;
    Ok(found.flatten().map(|column| column.0))
}

/// Names of the plans that follow one.
pub fn followers(connection: &Connection, id: PlanId) -> Result<Vec<String>> {
    let mut query = connection.prepare_cached("SELECT name FROM plans WHERE after_plan_id = ?1 ORDER BY name")?;
    let rows = query.query_map([Column(id)], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A plan that makes runs by itself, as the scheduler needs it.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// The plan.
    pub id: PlanId,
    /// Its revision: as long as that is the same, so is `when`.
    pub revision: u64,
    /// When it runs, as JSON.
    pub time_rule: String,
    /// Whether it follows another one.
    pub follows: bool,
    /// Up to which time its runs were considered.
    pub considered_until: Time,
    /// Whether one of its jobs is queued or running.
    pub has_open_job: bool,
    /// The last success of the plan that it follows.
    pub followed: Option<(JobId, Time)>,
}

/// Plans that are not paused and whose agents were not revoked.
pub fn scheduled(connection: &Connection) -> Result<Vec<Scheduled>> {
    let mut query = connection.prepare_cached(
        "SELECT p.id, p.revision, p.time_rule, p.after_plan_id IS NOT NULL, p.considered_until_ms,
         EXISTS (SELECT 1 FROM jobs WHERE plan_id = p.id AND state IN ('queued', 'running')), j.id, j.ended_at_ms
         FROM plans p JOIN agents a ON a.id = p.agent_id LEFT JOIN jobs j ON j.id =
         (SELECT id FROM jobs WHERE plan_id = p.after_plan_id AND state = 'succeeded' ORDER BY ended_at_ms DESC LIMIT 1)
         WHERE p.paused = 0 AND a.revoked_at_ms IS NULL AND a.suspended_at_ms IS NULL ORDER BY p.id",
    )?;
    let mut rows = query.query([])?;
    let mut plans = Vec::new();
    while let Some(row) = rows.next()? {
        let job = row.get::<_, Option<Column<JobId>>>(6)?.map(|column| column.0);
        let ended_at = row.get::<_, Option<Column<Time>>>(7)?.map(|column| column.0);
        plans.push(Scheduled {
            id: row.get::<_, Column<PlanId>>(0)?.0,
            revision: unsigned("plans", row.get(1)?)?,
            time_rule: row.get(2)?,
            follows: row.get(3)?,
            considered_until: row.get::<_, Column<Time>>(4)?.0,
            has_open_job: row.get(5)?,
            followed: job.zip(ended_at),
        });
    }
    Ok(plans)
}

/// Notes up to which time a plan's runs were considered.
pub fn considered(write: &Write<'_>, id: PlanId, until: Time) -> Result<()> {
    write.execute("UPDATE plans SET considered_until_ms = ?2 WHERE id = ?1", params![Column(id), Column(until)])?;
    Ok(())
}

/// Plans that store into a repository.
pub fn of_repository(connection: &Connection, repository: RepositoryId) -> Result<Vec<PlanId>> {
    let mut query = connection.prepare_cached(
        "SELECT p.id FROM plans p JOIN agents a ON a.id = p.agent_id WHERE a.repository_id = ?1 ORDER BY p.id",
    )?;
    let rows = query.query_map([Column(repository)], |row| Ok(row.get::<_, Column<PlanId>>(0)?.0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether it makes runs by itself at the moment.
pub fn makes_runs(connection: &Connection, id: PlanId) -> Result<bool> {
    let mut query = connection.prepare_cached(
        "SELECT p.paused = 0 AND a.revoked_at_ms IS NULL AND a.suspended_at_ms IS NULL FROM plans p JOIN agents a ON a.id = p.agent_id WHERE p.id = ?1",
    )?;
    Ok(query.query_row([Column(id)], |row| row.get(0)).optional()?.unwrap_or(false))
}

/// What a plan's promise counts from is this time, unless it succeeded since.
pub fn promise_from(write: &Write<'_>, id: PlanId, at: Time) -> Result<()> {
    write.execute("UPDATE plans SET alarm_from_ms = ?2 WHERE id = ?1", params![Column(id), Column(at)])?;
    Ok(())
}

/// A plan as whoever watches over promises needs it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The plan.
    pub id: PlanId,
    /// Its name.
    pub name: String,
    /// When too old a success is an alert.
    pub alarm: Alarm,
    /// When it runs.
    pub when: When,
    /// Its revision.
    pub revision: u64,
    /// When its last success ended.
    pub last_good_at: Option<Time>,
    /// Its promise counts from then on.
    pub counts_from: Time,
    /// Whether it makes no runs because a person wanted that.
    pub paused: bool,
    /// Its agent.
    pub agent: String,
    /// Whether that may do nothing any more.
    pub is_revoked: bool,
}

/// All plans.
pub fn watched(connection: &Connection) -> Result<Vec<Watched>> {
    let mut query = connection.prepare_cached(
        "SELECT p.id, p.name, p.alarm, p.time_rule, p.after_plan_id, p.revision, p.last_good_at_ms,
         COALESCE(p.alarm_from_ms, p.created_at_ms), p.paused, a.name, a.revoked_at_ms IS NOT NULL
         FROM plans p JOIN agents a ON a.id = p.agent_id ORDER BY p.id",
    )?;
    let mut rows = query.query([])?;
    let mut plans = Vec::new();
    while let Some(row) = rows.next()? {
        let after = row.get::<_, Option<Column<PlanId>>>(4)?.map(|column| column.0);
        plans.push(Watched {
            id: row.get::<_, Column<PlanId>>(0)?.0,
            name: row.get(1)?,
            alarm: json("plans", &row.get::<_, String>(2)?)?,
            when: When { after, ..json("plans", &row.get::<_, String>(3)?)? },
            revision: unsigned("plans", row.get(5)?)?,
            last_good_at: row.get::<_, Option<Column<Time>>>(6)?.map(|column| column.0),
            counts_from: row.get::<_, Column<Time>>(7)?.0,
            paused: row.get(8)?,
            agent: row.get(9)?,
            is_revoked: row.get(10)?,
        });
    }
    Ok(plans)
}

/// Names of all plans with the end of their last success.
pub fn last_good(connection: &Connection) -> Result<Vec<(String, Option<Time>)>> {
    let mut query = connection.prepare_cached("SELECT name, last_good_at_ms FROM plans ORDER BY name")?;
    let rows = query.query_map([], |row| {
        let at = row.get::<_, Option<Column<Time>>>(1)?;
        Ok((row.get(0)?, at.map(|column| column.0)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Notes a success.
pub fn good(write: &Write<'_>, id: PlanId, at: Time) -> Result<()> {
    write.execute("UPDATE plans SET last_good_at_ms = ?2 WHERE id = ?1", params![Column(id), Column(at)])?;
    Ok(())
}
