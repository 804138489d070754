//! When recovery points came in, by this server's clock, and what became of them. As people see them they are [`super::point`]'s.

use super::row::{Column, unsigned};
use super::{Error, Result, Write};
use crate::retention::Received;
use jiff::Timestamp;
use repo_format::manifest::PointKey;
use rusqlite::{Connection, OptionalExtension as _, params};
use web_api::id::{AgentId, JobId, PlanId, RepositoryId};
use web_api::unit::Time;

/// Notes a point that was just committed. The first time counts: a request that is repeated changes nothing.
pub fn note(
    write: &Write<'_>,
    (repository, agent): (RepositoryId, AgentId),
    point: &PointKey,
    size_bytes: u64,
    at: Time,
) -> Result<()> {
    write.execute(
        "INSERT INTO receipts (repository_id, manifest, name_id, sequence, agent_id, size_bytes, received_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        params![
            Column(repository),
            point.manifest.to_string(),
            point.name.to_string(),
            i64::try_from(point.sequence).unwrap_or(i64::MAX),
            Column(agent),
            i64::try_from(size_bytes).unwrap_or(i64::MAX),
            Column(at),
        ],
    )?;
    Ok(())
}

/// Notes that a keeper found a point whole, and how old the oldest proof of that is.
pub fn verified(write: &Write<'_>, repository: RepositoryId, manifest: &str, (at, since): (Time, Time)) -> Result<()> {
    write.execute(
        "UPDATE receipts SET verified_at_ms = ?3, proved_since_ms = ?4, flaw = NULL WHERE repository_id = ?1 AND manifest = ?2",
        params![Column(repository), manifest, Column(at), Column(since)],
    )?;
    Ok(())
}

/// Notes what of a point cannot be restored: it is not verified any more. Whether there is such a point.
pub fn flawed(write: &Write<'_>, repository: RepositoryId, manifest: &str, flaw: &str) -> Result<bool> {
    let changed = write.execute(
        "UPDATE receipts SET verified_at_ms = NULL, proved_since_ms = NULL, flaw = ?3
         WHERE repository_id = ?1 AND manifest = ?2 AND gone_at_ms IS NULL",
        params![Column(repository), manifest, flaw],
    )?;
    Ok(changed == 1)
}

/// How many points that are there have a flaw.
pub fn flawed_count(connection: &Connection, repository: RepositoryId) -> Result<u64> {
    let sql = "SELECT COUNT(*) FROM receipts WHERE repository_id = ?1 AND flaw IS NOT NULL AND gone_at_ms IS NULL
        AND forgotten_at_ms IS NULL";
    unsigned("receipts", connection.prepare_cached(sql)?.query_row([Column(repository)], |row| row.get(0))?)
}

/// Points that a keeper should read next: those that nobody verified, and of each series the newest when that was long ago. The newest of
/// each series come first: with them, older ones may be given up.
pub fn pending(
    connection: &Connection,
    repository: RepositoryId,
    verified_before: Time,
    limit: u32,
) -> Result<Vec<String>> {
    let mut query = connection.prepare_cached(
        "WITH open AS (SELECT manifest, name_id, sequence, received_at_ms, verified_at_ms FROM receipts
           WHERE repository_id = ?1 AND flaw IS NULL AND gone_at_ms IS NULL AND forgotten_at_ms IS NULL
           AND (verified_at_ms IS NULL OR verified_at_ms < ?2)),
         marked AS (SELECT *, NOT EXISTS (SELECT 1 FROM receipts n WHERE n.repository_id = ?1 AND n.name_id = open.name_id
           AND n.sequence > open.sequence AND n.gone_at_ms IS NULL AND n.forgotten_at_ms IS NULL) AS is_newest FROM open)
         SELECT manifest FROM marked WHERE verified_at_ms IS NULL OR is_newest
         ORDER BY is_newest DESC, received_at_ms DESC, manifest LIMIT ?3",
    )?;
    let rows = query.query_map(params![Column(repository), Column(verified_before), limit], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether a point waits for its first verification.
pub fn is_unverified(connection: &Connection, repository: RepositoryId) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM receipts WHERE repository_id = ?1 AND verified_at_ms IS NULL AND flaw IS NULL
        AND gone_at_ms IS NULL AND forgotten_at_ms IS NULL)";
    Ok(connection.prepare_cached(sql)?.query_row([Column(repository)], |row| row.get(0))?)
}

/// Whether the newest point of a plan's series has a flaw: the next one has to be read whole.
pub fn newest_is_flawed(connection: &Connection, plan: PlanId) -> Result<bool> {
    let Some(series) = series_of(connection, plan)? else { return Ok(false) };
    let sql = "SELECT flaw IS NOT NULL FROM receipts WHERE repository_id = ?1 AND name_id = ?2 AND gone_at_ms IS NULL
        AND forgotten_at_ms IS NULL ORDER BY sequence DESC LIMIT 1";
    let found =
        connection.prepare_cached(sql)?.query_row(params![Column(series.repository), series.name_id], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(false))
}

/// Notes that a point was given up, or taken back.
pub fn set_forgotten(
    write: &Write<'_>,
    repository: RepositoryId,
    manifest: &str,
    (at, delete_after): (Option<Time>, Option<Time>),
) -> Result<()> {
    write.execute(
        "UPDATE receipts SET forgotten_at_ms = ?3, delete_after_ms = ?4 WHERE repository_id = ?1 AND manifest = ?2",
        params![Column(repository), manifest, at.map(Column), delete_after.map(Column)],
    )?;
    Ok(())
}

/// Notes that a point is gone.
pub fn set_gone(write: &Write<'_>, repository: RepositoryId, manifest: &str, at: Time) -> Result<()> {
    write.execute(
        "UPDATE receipts SET gone_at_ms = COALESCE(gone_at_ms, ?3) WHERE repository_id = ?1 AND manifest = ?2",
        params![Column(repository), manifest, Column(at)],
    )?;
    Ok(())
}

/// A series of points in a repository.
#[derive(Clone, Debug)]
pub struct Series {
    /// The repository.
    pub repository: RepositoryId,
    /// What stands for the series' name there.
    pub name_id: String,
}

/// The series that a plan's last success belongs to. A point that another agent stored is none of the plan's, whatever its agent says.
pub fn series_of(connection: &Connection, plan: PlanId) -> Result<Option<Series>> {
    let mut query = connection.prepare_cached(
        "SELECT r.repository_id, r.name_id FROM jobs j JOIN receipts r ON r.manifest = j.point AND r.agent_id = j.agent_id
         WHERE j.plan_id = ?1 AND j.state = 'succeeded' ORDER BY j.ended_at_ms DESC LIMIT 1",
    )?;
    let series = query.query_row([Column(plan)], |row| {
        Ok(Series { repository: row.get::<_, Column<RepositoryId>>(0)?.0, name_id: row.get(1)? })
    });
    Ok(series.optional()?)
}

/// All points of a series that came in, each with the run of the plan that ended with it.
pub fn of_series(connection: &Connection, series: &Series, plan: PlanId) -> Result<Vec<Received>> {
    let mut query = connection.prepare_cached(
        "SELECT r.manifest, r.sequence, r.received_at_ms, r.verified_at_ms IS NOT NULL, (SELECT MIN(j.id) FROM jobs j
         WHERE j.point = r.manifest AND j.plan_id = ?3 AND j.agent_id = r.agent_id AND j.state = 'succeeded')
         FROM receipts r WHERE r.repository_id = ?1 AND r.name_id = ?2 AND r.gone_at_ms IS NULL",
    )?;
    let mut rows = query.query(params![Column(series.repository), series.name_id, Column(plan)])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let unknown = |what: String| Error::Unknown { what: format!("{what} in receipts") };
        let (manifest, received_at): (String, Time) = (row.get(0)?, row.get::<_, Column<Time>>(2)?.0);
        points.push(Received {
            manifest: manifest.parse().map_err(|_| unknown(manifest))?,
            sequence: unsigned("receipts", row.get(1)?)?,
            received_at: Timestamp::from_millisecond(received_at.ms()).map_err(|error| unknown(error.to_string()))?,
            is_verified: row.get(3)?,
            run: row.get::<_, Option<Column<JobId>>>(4)?.map(|column| column.0),
        });
    }
    Ok(points)
}

/// Bytes of all manifests of an agent.
pub fn bytes_of(connection: &Connection, agent: AgentId) -> Result<u64> {
    let sql = "SELECT COALESCE(SUM(size_bytes), 0) FROM receipts WHERE agent_id = ?1 AND gone_at_ms IS NULL";
    let sum: Column<u64> = connection.prepare_cached(sql)?.query_row([Column(agent)], |row| row.get(0))?;
    Ok(sum.0)
}
