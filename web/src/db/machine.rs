//! What agents say of their machines.

use super::row::{Column, json, to_json};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::time::Duration;
use web_api::agent_work::Heartbeat;
use web_api::device::DeviceList;
use web_api::id::AgentId;
use web_api::unit::Time;

/// Stores a sign of life, and the devices that came with it.
pub fn heard(write: &Write<'_>, agent: AgentId, said: &Heartbeat, now: Time) -> Result<()> {
    let devices = said.devices.as_ref().map(to_json).transpose()?;
    write.execute(
        "INSERT INTO machines (agent_id, instance, version, host, boot_id, heard_at_ms, devices, reported_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, CASE WHEN ?7 IS NULL THEN NULL ELSE ?6 END)
         ON CONFLICT (agent_id) DO UPDATE SET instance = ?2, version = ?3, host = ?4, boot_id = ?5, heard_at_ms = ?6,
         devices = COALESCE(?7, devices), reported_at_ms = COALESCE(excluded.reported_at_ms, reported_at_ms)",
        params![Column(agent), said.instance.as_bytes(), said.version, said.host, said.boot_id, Column(now), devices],
    )?;
    Ok(())
}

/// A machine of which something is to be heard.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its agent.
    pub agent: String,
    /// How long nothing need be heard of it.
    pub silent_after: Duration,
    /// When something was heard last.
    pub heard_at: Time,
}

/// Machines that are expected to be heard of: their agents are neither revoked nor suspended, and once ran or have plans to carry out.
pub fn watched(connection: &Connection) -> Result<Vec<Watched>> {
    let mut query = connection.prepare_cached(
        "SELECT a.name, a.silent_after_s, MAX(a.created_at_ms, COALESCE(a.last_seen_at_ms, 0), COALESCE(m.heard_at_ms, 0))
         FROM agents a LEFT JOIN machines m ON m.agent_id = a.id
         WHERE a.revoked_at_ms IS NULL AND a.suspended_at_ms IS NULL AND a.silent_after_s > 0 AND (m.agent_id IS NOT NULL
             OR EXISTS (SELECT 1 FROM plans WHERE agent_id = a.id AND paused = 0)) ORDER BY a.id",
    )?;
    let rows = query.query_map([], |row| {
        let silent_after = Duration::from_secs(row.get::<_, Column<u64>>(1)?.0);
        Ok(Watched { agent: row.get(0)?, silent_after, heard_at: row.get::<_, Column<Time>>(2)?.0 })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The devices of an agent's machine, as they were reported last.
pub fn devices(connection: &Connection, agent: AgentId) -> Result<Option<DeviceList>> {
    let mut query = connection.prepare_cached(
        "SELECT version, host, devices, reported_at_ms, heard_at_ms FROM machines WHERE agent_id = ?1",
    )?;
    let found = query.query_row([Column(agent)], |row| {
        let reported_at = row.get::<_, Option<Column<Time>>>(3)?.map(|column| column.0);
        let heard_at = Some(row.get::<_, Column<Time>>(4)?.0);
        let list = DeviceList { reported_at, host: row.get(1)?, version: row.get(0)?, heard_at, devices: Vec::new() };
        Ok((list, row.get::<_, Option<String>>(2)?))
    });
    let Some((list, devices)) = found.optional()? else { return Ok(None) };
    let devices = devices.map(|text| json("machines", &text)).transpose()?.unwrap_or_default();
    Ok(Some(DeviceList { devices, ..list }))
}
