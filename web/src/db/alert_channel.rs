//! Places that alerts go to, with their secrets.

use super::row::{Column, known, unsigned};
use super::{Error, Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::alert::{AlertChannel, AlertKind, AlertTarget};
use web_api::id::AlertChannelId;
use web_api::unit::Time;
use zeroize::Zeroizing;

const COLUMNS: &str = "id, name, enabled, kinds, target, created_at_ms, last_sent_at_ms, last_error, revision, secret, \
                       attempts, tried_at_ms";

/// A channel with what only the server knows.
#[derive(Clone)]
pub struct StoredChannel {
    /// As the API shows it.
    pub channel: AlertChannel,
    /// The mail server's password, or what signs.
    pub secret: Option<Zeroizing<String>>,
    /// Attempts that failed since the last success.
    pub attempts: u32,
    /// The last attempt, trials included.
    pub tried_at: Option<Time>,
}

fn channel(row: &Row<'_>) -> Result<StoredChannel> {
    let time = |column: usize| row.get::<_, Option<Column<Time>>>(column).map(|found| found.map(|column| column.0));
    let kinds: String = row.get(3)?;
    let target: String = row.get(4)?;
    let channel = AlertChannel {
        id: row.get::<_, Column<AlertChannelId>>(0)?.0,
        name: row.get(1)?,
        enabled: row.get(2)?,
        kinds: kinds
            .split_whitespace()
            .map(|name| known("alert_channels", name, AlertKind::named))
            .collect::<Result<_>>()?,
        target: serde_json::from_str(&target)
            .map_err(|_| Error::Unknown { what: "a target in alert_channels".into() })?,
        created_at: row.get::<_, Column<Time>>(5)?.0,
        last_sent_at: time(6)?,
        last_error: row.get(7)?,
        revision: unsigned("alert_channels", row.get(8)?)?,
    };
    let secret = row.get::<_, Option<String>>(9)?.map(Zeroizing::new);
    Ok(StoredChannel { channel, secret, attempts: row.get(10)?, tried_at: time(11)? })
}

fn kinds_text(kinds: &[AlertKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" ")
}

fn target_text(target: &AlertTarget) -> Result<String> {
    serde_json::to_string(target).map_err(|error| Error::NotStored(error.to_string()))
}

/// Stores a new one.
pub fn insert(write: &Write<'_>, channel: &AlertChannel, secret: Option<&str>) -> Result<()> {
    write.execute(
        "INSERT INTO alert_channels (id, name, enabled, kinds, target, secret, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            Column(channel.id),
            channel.name,
            channel.enabled,
            kinds_text(&channel.kinds),
            target_text(&channel.target)?,
            secret,
            Column(channel.created_at),
        ],
    )?;
    Ok(())
}

/// Stores an edit under the next revision; what is in the queue is tried again at once.
pub fn change(write: &Write<'_>, channel: &AlertChannel, secret: Option<&str>) -> Result<()> {
    write.execute(
        "UPDATE alert_channels SET name = ?2, enabled = ?3, kinds = ?4, target = ?5, secret = ?6, attempts = 0,
         last_error = NULL, revision = revision + 1 WHERE id = ?1",
        params![
            Column(channel.id),
            channel.name,
            channel.enabled,
            kinds_text(&channel.kinds),
            target_text(&channel.target)?,
            secret,
        ],
    )?;
    Ok(())
}

/// One of them.
pub fn get(connection: &Connection, id: AlertChannelId) -> Result<Option<StoredChannel>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM alert_channels WHERE id = ?1"))?;
    query.query_row([Column(id)], |row| Ok(channel(row))).optional()?.transpose()
}

/// In the order of making, after one of them.
pub fn page(connection: &Connection, after: Option<AlertChannelId>, limit: u32) -> Result<Vec<StoredChannel>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alert_channels WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2"
    ))?;
    let mut rows = query.query(params![after.map(Column), limit])?;
    let mut channels = Vec::new();
    while let Some(row) = rows.next()? {
        channels.push(channel(row)?);
    }
    Ok(channels)
}

/// Those with something in the queue that may be told.
pub fn with_queue(connection: &Connection) -> Result<Vec<StoredChannel>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alert_channels c WHERE enabled
         AND EXISTS (SELECT 1 FROM alert_outbox o WHERE o.channel_id = c.id) ORDER BY id"
    ))?;
    let mut rows = query.query([])?;
    let mut channels = Vec::new();
    while let Some(row) = rows.next()? {
        channels.push(channel(row)?);
    }
    Ok(channels)
}

/// Notes that an attempt begins.
pub fn tried(write: &Write<'_>, id: AlertChannelId, at: Time) -> Result<()> {
    write.execute("UPDATE alert_channels SET tried_at_ms = ?2 WHERE id = ?1", params![Column(id), Column(at)])?;
    Ok(())
}

/// Notes how an attempt ended: with a message that was taken, or why not.
pub fn ended(write: &Write<'_>, id: AlertChannelId, at: Time, error: Option<&str>) -> Result<()> {
    let id = Column(id);
    match error {
        None => write.execute(
            "UPDATE alert_channels SET last_sent_at_ms = ?2, last_error = NULL, attempts = 0 WHERE id = ?1",
            params![id, Column(at)],
        )?,
        Some(error) => write.execute(
            "UPDATE alert_channels SET last_error = ?2, attempts = attempts + 1 WHERE id = ?1",
            params![id, error],
        )?,
    };
    Ok(())
}

/// Removes one with its queue; whether it was there.
pub fn delete(write: &Write<'_>, id: AlertChannelId) -> Result<bool> {
    Ok(write.execute("DELETE FROM alert_channels WHERE id = ?1", [Column(id)])? == 1)
}
