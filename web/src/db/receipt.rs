//! When recovery points came in, by this server's clock.

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

/// Notes that somebody who can read a point found it whole.
pub fn verified(write: &Write<'_>, repository: RepositoryId, manifest: &str, at: Time) -> Result<()> {
    write.execute(
        "UPDATE receipts SET verified_at_ms = COALESCE(verified_at_ms, ?3) WHERE repository_id = ?1 AND manifest = ?2",
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
         FROM receipts r WHERE r.repository_id = ?1 AND r.name_id = ?2",
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
    let sql = "SELECT COALESCE(SUM(size_bytes), 0) FROM receipts WHERE agent_id = ?1";
    let sum: Column<u64> = connection.prepare_cached(sql)?.query_row([Column(agent)], |row| row.get(0))?;
    Ok(sum.0)
}
