//! When recovery points came in, by this server's clock.

use super::row::Column;
use super::{Result, Write};
use repo_format::manifest::PointKey;
use rusqlite::params;
use web_api::id::{AgentId, RepositoryId};
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
