//! Agents. Of an agent's secret only the hash and the first characters are here.

use super::row::Column;
use super::{Result, Write};
use crate::auth::secret::SecretHash;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::agent::Agent;
use web_api::id::{AgentId, RepositoryId};
use web_api::unit::{ByteCount, Time};

const COLUMNS: &str = "a.id, a.name, r.name, a.writer, a.prefix, a.created_at_ms, a.last_seen_at_ms, a.revoked_at_ms,
    a.limit_bytes_per_s, a.quota_bytes, a.revision, a.keeps, a.suspended_at_ms, a.silent_after_s";
const FROM: &str = "agents a JOIN repositories r ON r.id = a.repository_id";

fn agent(row: &Row<'_>) -> rusqlite::Result<Agent> {
    Ok(Agent {
        id: row.get::<_, Column<AgentId>>(0)?.0,
        name: row.get(1)?,
        repository: row.get(2)?,
        writer: row.get(3)?,
        prefix: row.get(4)?,
        created_at: row.get::<_, Column<Time>>(5)?.0,
        last_seen_at: row.get::<_, Option<Column<Time>>>(6)?.map(|column| column.0),
        revoked_at: row.get::<_, Option<Column<Time>>>(7)?.map(|column| column.0),
        limit_bytes_per_s: row.get::<_, Option<Column<u64>>>(8)?.map(|column| column.0),
        quota_bytes: row.get::<_, Option<Column<u64>>>(9)?.map(|column| ByteCount(column.0)),
        revision: row.get::<_, Column<u64>>(10)?.0,
        keeper: row.get(11)?,
        suspended_at: row.get::<_, Option<Column<Time>>>(12)?.map(|column| column.0),
        silent_after_s: Some(row.get(13)?).filter(|seconds| *seconds > 0),
    })
}

/// Stores a new one.
pub fn insert(write: &Write<'_>, agent: &Agent, repository: RepositoryId, secret: &SecretHash) -> Result<()> {
    write.execute(
        "INSERT INTO agents (id, secret_hash, name, repository_id, writer, prefix, created_at_ms, keeps, silent_after_s)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            Column(agent.id),
            secret.0,
            agent.name,
            Column(repository),
            agent.writer,
            agent.prefix,
            Column(agent.created_at),
            agent.keeper,
            agent.silent_after_s.unwrap_or(0),
        ],
    )?;
    Ok(())
}

/// The agent of a secret, and whether that is the one that shall replace the other.
pub fn find(connection: &Connection, secret: &SecretHash) -> Result<Option<(Agent, bool)>> {
    let sql = format!(
        "SELECT {COLUMNS}, a.secret_hash <> ?1 FROM {FROM} WHERE a.secret_hash = ?1 OR a.next_secret_hash = ?1"
    );
    let mut query = connection.prepare_cached(&sql)?;
    Ok(query.query_row([secret.0], |row| Ok((agent(row)?, row.get(14)?))).optional()?)
}

/// Keeps a secret that shall replace the one that there is, in the place of an earlier one that was never used.
pub fn set_next_secret(write: &Write<'_>, id: AgentId, (secret, prefix): (&SecretHash, &str)) -> Result<()> {
    let sql = "UPDATE agents SET next_secret_hash = ?2, next_prefix = ?3 WHERE id = ?1";
    write.execute(sql, params![Column(id), secret.0, prefix])?;
    Ok(())
}

/// The new secret was used: the old one ends. Whether it was still to be done.
pub fn end_old_secret(write: &Write<'_>, next: &SecretHash) -> Result<bool> {
    let sql = "UPDATE agents SET secret_hash = next_secret_hash, prefix = next_prefix, next_secret_hash = NULL,
        next_prefix = NULL WHERE next_secret_hash = ?1";
    Ok(write.execute(sql, [next.0])? == 1)
}

/// Sets what it may at most, and when its silence is an alert.
pub fn set_limits(
    write: &Write<'_>,
    id: AgentId,
    (speed, quota): (Option<u64>, Option<ByteCount>),
    silent_after_s: Option<u32>,
) -> Result<()> {
    let stored = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    write.execute(
        "UPDATE agents SET limit_bytes_per_s = ?2, quota_bytes = ?3, silent_after_s = ?4, revision = revision + 1
         WHERE id = ?1",
        params![Column(id), speed.map(stored), quota.map(|quota| stored(quota.0)), silent_after_s.unwrap_or(0),],
    )?;
    Ok(())
}

/// One agent.
pub fn get(connection: &Connection, id: AgentId) -> Result<Option<Agent>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE a.id = ?1"))?;
    Ok(query.query_row([Column(id)], agent).optional()?)
}

/// In the order of making, after one of them.
pub fn page(connection: &Connection, after: Option<AgentId>, limit: u32) -> Result<Vec<Agent>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE ?1 IS NULL OR a.id > ?1 ORDER BY a.id LIMIT ?2"
    ))?;
    let rows = query.query_map(params![after.map(Column), limit], agent)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The agent that keeps a repository: of several that may, the one that was heard of last.
pub fn keeper_of(connection: &Connection, repository: RepositoryId) -> Result<Option<Agent>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE a.repository_id = ?1 AND a.keeps AND a.revoked_at_ms IS NULL
         AND a.suspended_at_ms IS NULL ORDER BY a.last_seen_at_ms DESC NULLS LAST, a.id DESC LIMIT 1"
    ))?;
    Ok(query.query_row([Column(repository)], agent).optional()?)
}

/// Agents that store into a repository as a writer and are neither revoked nor suspended. Keepers are not among them.
pub fn of_writer(connection: &Connection, repository: RepositoryId, writer: &str) -> Result<Vec<Agent>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE a.repository_id = ?1 AND a.writer = ?2 AND NOT a.keeps
         AND a.revoked_at_ms IS NULL AND a.suspended_at_ms IS NULL ORDER BY a.id"
    ))?;
    let rows = query.query_map(params![Column(repository), writer], agent)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Suspends it, or reinstates it with no time.
pub fn set_suspended(write: &Write<'_>, id: AgentId, at: Option<Time>) -> Result<()> {
    let sql = "UPDATE agents SET suspended_at_ms = ?2, revision = revision + 1 WHERE id = ?1";
    write.execute(sql, params![Column(id), at.map(Column)])?;
    Ok(())
}

/// Notes that it was heard of.
pub fn seen(write: &Write<'_>, id: AgentId, at: Time) -> Result<()> {
    write.execute("UPDATE agents SET last_seen_at_ms = ?2 WHERE id = ?1", params![Column(id), Column(at)])?;
    Ok(())
}

/// Revokes it; whether it was there and not revoked.
pub fn revoke(write: &Write<'_>, id: AgentId, at: Time) -> Result<bool> {
    let sql = "UPDATE agents SET revoked_at_ms = ?2 WHERE id = ?1 AND revoked_at_ms IS NULL";
    Ok(write.execute(sql, params![Column(id), Column(at)])? == 1)
}
