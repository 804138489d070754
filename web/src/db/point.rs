//! Recovery points as people see them, and what keepers report of them.

use super::row::{Column, json, to_json, unsigned};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::fmt;
use std::str::FromStr;
use web_api::id::{AgentId, JobId, PlanId, RepositoryId};
use web_api::recovery_point::{PointContent, RecoveryPoint, ReportPoints, SeenPoint};
use web_api::unit::Time;

const COLUMNS: &str = "r.manifest, s.name, r.name_id, r.sequence, r.agent_id, a.name, j.plan_id, j.plan_name, j.id, r.received_at_ms, \
     r.content, r.verified_at_ms, r.proved_since_ms, r.flaw, r.suspect, r.forgotten_at_ms, r.delete_after_ms, r.gone_at_ms";
const FROM: &str = "receipts r JOIN repositories s ON s.id = r.repository_id LEFT JOIN agents a ON a.id = r.agent_id
     LEFT JOIN jobs j ON j.id = (SELECT MIN(id) FROM jobs WHERE point = r.manifest AND agent_id = r.agent_id AND state = 'succeeded')";

fn time(row: &Row<'_>, at: usize) -> Result<Option<Time>> {
    Ok(row.get::<_, Option<Column<Time>>>(at)?.map(|column| column.0))
}

fn point(row: &Row<'_>) -> Result<RecoveryPoint> {
    let content = row.get::<_, Option<String>>(10)?.map(|text| json::<PointContent>("receipts", &text)).transpose()?;
    let part = |of: fn(PointContent) -> String| content.clone().map(of);
    Ok(RecoveryPoint {
        id: row.get(0)?,
        repository: row.get(1)?,
        series: row.get(2)?,
        sequence: unsigned("receipts", row.get(3)?)?,
        name: part(|content| content.name),
        host: part(|content| content.host),
        agent_id: row.get::<_, Option<Column<AgentId>>>(4)?.map(|column| column.0),
        agent: row.get(5)?,
        plan_id: row.get::<_, Option<Column<PlanId>>>(6)?.map(|column| column.0),
        plan: row.get::<_, Option<String>>(7)?.filter(|name| !name.is_empty()),
        job_id: row.get::<_, Option<Column<JobId>>>(8)?.map(|column| column.0),
        received_at: row.get::<_, Column<Time>>(9)?.0,
        made_at: content.as_ref().map(|content| content.made_at),
        kind: part(|content| content.kind),
        consistency: part(|content| content.consistency),
        disks: content.as_ref().map(|content| content.disks.clone()).unwrap_or_default(),
        source_bytes: content.as_ref().map(|content| content.source_bytes),
        stored_bytes: content.as_ref().map(|content| content.stored_bytes),
        verified_at: time(row, 11)?,
        proved_since: time(row, 12)?,
        flaw: row.get(13)?,
        suspect: row.get(14)?,
        forgotten_at: time(row, 15)?,
        delete_after: time(row, 16)?,
        gone_at: time(row, 17)?,
    })
}

/// A place in the list: the newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointPlace {
    /// When the point came in.
    pub received_at: Time,
    /// Its id.
    pub manifest: String,
}

impl fmt::Display for PointPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.received_at.ms(), self.manifest)
    }
}

impl FromStr for PointPlace {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (ms, manifest) = text.split_once('.').ok_or(())?;
        Ok(Self { received_at: Time::from_ms(ms.parse().map_err(drop)?), manifest: manifest.to_owned() })
    }
}

/// Which points a page shows.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// Only points of the repository of this name.
    pub repository: Option<String>,
    /// Only points of this agent.
    pub agent: Option<AgentId>,
    /// Only points of this plan's runs.
    pub plan: Option<PlanId>,
    /// Only points of this series.
    pub series: Option<String>,
    /// Also those that were given up.
    pub forgotten: bool,
}

/// Points that are there, the newest first, behind a place.
pub fn page(
    connection: &Connection,
    filter: &Filter,
    behind: Option<&PointPlace>,
    limit: u32,
) -> Result<Vec<RecoveryPoint>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE r.gone_at_ms IS NULL AND (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR r.agent_id = ?2)
         AND (?3 IS NULL OR j.plan_id = ?3) AND (?4 IS NULL OR r.name_id = ?4) AND (?5 OR r.forgotten_at_ms IS NULL)
         AND (?6 IS NULL OR (r.received_at_ms, r.manifest) < (?6, ?7))
         ORDER BY r.received_at_ms DESC, r.manifest DESC LIMIT ?8"
    ))?;
    let mut rows = query.query(params![
        filter.repository,
        filter.agent.map(Column),
        filter.plan.map(Column),
        filter.series,
        filter.forgotten,
        behind.map(|place| Column(place.received_at)),
        behind.map(|place| &place.manifest),
        limit
    ])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        points.push(point(row)?);
    }
    Ok(points)
}

/// One point with the repository that it is in, also one that is gone. Of a point that several repositories hold, one.
pub fn get(connection: &Connection, manifest: &str) -> Result<Option<(RepositoryId, RecoveryPoint)>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, r.repository_id FROM {FROM} WHERE r.manifest = ?1 ORDER BY r.gone_at_ms IS NOT NULL LIMIT 1"
    ))?;
    let found = query.query_row([manifest], |row| Ok((row.get::<_, Column<RepositoryId>>(18)?.0, point(row))));
    found.optional()?.map(|(repository, point)| Ok((repository, point?))).transpose()
}

/// Whether a repository has a point, as far as is known.
pub fn is_in(connection: &Connection, repository: RepositoryId, manifest: &str) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM receipts WHERE repository_id = ?1 AND manifest = ?2 AND gone_at_ms IS NULL)";
    Ok(connection.prepare_cached(sql)?.query_row(params![Column(repository), manifest], |row| row.get(0))?)
}

/// Notes what a keeper sees. When the server itself received a point stays what it is; of others the receipt's time counts.
pub fn seen(write: &Write<'_>, repository: RepositoryId, report: &ReportPoints, now: Time) -> Result<()> {
    for point in &report.points {
        note(write, repository, report, point)?;
    }
    if report.complete {
        // What came in after the look began may have been overlooked.
        write.execute(
            "UPDATE receipts SET gone_at_ms = ?3 WHERE repository_id = ?1 AND gone_at_ms IS NULL AND received_at_ms < ?4
             AND (survey IS NULL OR survey <> ?2)",
            params![Column(repository), report.survey.as_bytes(), Column(now), Column(report.begun_at)],
        )?;
    }
    Ok(())
}

fn note(write: &Write<'_>, repository: RepositoryId, report: &ReportPoints, point: &SeenPoint) -> Result<()> {
    let stored = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    write.prepare_cached(
        "INSERT INTO receipts (repository_id, manifest, name_id, sequence, agent_id, size_bytes, received_at_ms, content, suspect,
         forgotten_at_ms, delete_after_ms, survey)
         VALUES (?1, ?2, ?3, ?4, (SELECT id FROM agents WHERE repository_id = ?1 AND writer = ?5 ORDER BY id DESC LIMIT 1), ?6, ?7, ?8,
         ?9, ?10, ?11, ?12)
         ON CONFLICT (repository_id, manifest) DO UPDATE SET content = COALESCE(?8, content), suspect = ?9, forgotten_at_ms = ?10,
         delete_after_ms = ?11, survey = ?12, gone_at_ms = NULL",
    )?
    .execute(params![
        Column(repository),
        point.id,
        point.series,
        stored(point.sequence),
        point.writer,
        stored(point.size_bytes.0),
        Column(point.received_at),
        point.content.as_ref().map(to_json).transpose()?,
        point.suspect,
        point.forgotten_at.map(Column),
        point.delete_after.map(Column),
        report.survey.as_bytes(),
    ])?;
    Ok(())
}

/// Removes what has been gone since before a time.
pub fn delete_gone(write: &Write<'_>, before: Time) -> Result<()> {
    write.execute("DELETE FROM receipts WHERE gone_at_ms < ?1", [Column(before)])?;
    Ok(())
}

/// When each kind of a keeper's job that nobody asked for ended last, with whether it succeeded.
pub fn last_ends(connection: &Connection, repository: RepositoryId) -> Result<Vec<(String, bool, Time)>> {
    let mut query = connection.prepare_cached(
        "SELECT kind, state = 'succeeded', MAX(ended_at_ms) FROM jobs WHERE repository_id = ?1 AND ended_at_ms IS NOT NULL
         AND cause IN ('calendar', 'received') GROUP BY kind, state = 'succeeded'",
    )?;
    let rows = query
        .query_map([Column(repository)], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Column<Time>>(2)?.0)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Kinds of a keeper's jobs that are open without anybody having asked for them.
pub fn open_kinds(connection: &Connection, repository: RepositoryId) -> Result<Vec<String>> {
    let mut query = connection.prepare_cached(
        "SELECT kind FROM jobs WHERE repository_id = ?1 AND state IN ('queued', 'running') AND cause IN ('calendar', 'received')",
    )?;
    let rows = query.query_map([Column(repository)], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
