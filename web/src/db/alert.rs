//! Alerts and what of them is still to be told where.

use super::row::{Column, known};
use super::{Result, Write, event};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::alert::{Alert, AlertKind};
use web_api::id::{AlertChannelId, AlertId};
use web_api::unit::Time;

const COLUMNS: &str = "a.id, a.kind, a.subject, a.what, a.next, a.raised_at_ms, a.cleared_at_ms";

fn alert(row: &Row<'_>) -> Result<Alert> {
    Ok(Alert {
        id: row.get::<_, Column<AlertId>>(0)?.0,
        kind: known("alerts", &row.get::<_, String>(1)?, AlertKind::named)?,
        subject: row.get(2)?,
        what: row.get(3)?,
        next: row.get(4)?,
        raised_at: row.get::<_, Column<Time>>(5)?.0,
        cleared_at: row.get::<_, Option<Column<Time>>>(6)?.map(|column| column.0),
    })
}

/// Raises an alert and queues it for every channel that wants it, unless one of the same cause lasts already. Whether it was raised.
pub fn raise(write: &mut Write<'_>, alert: &Alert) -> Result<bool> {
    let sql = "INSERT INTO alerts (id, kind, subject, what, next, raised_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (kind, subject) WHERE cleared_at_ms IS NULL DO NOTHING";
    let id = Column(alert.id);
    let (kind, at) = (alert.kind.name(), Column(alert.raised_at));
    if write.execute(sql, params![id, kind, alert.subject, alert.what, alert.next, at])? == 0 {
        return Ok(false);
    }
    queue(write, alert.id, alert.kind, alert.raised_at)?;
    event::append(write, alert.raised_at, "alert.raise", &alert.id.to_string())?;
    Ok(true)
}

/// Ends the alert of a cause, if there is one, and queues that, too. Whether there was one.
pub fn clear(write: &mut Write<'_>, kind: AlertKind, subject: &str, at: Time) -> Result<bool> {
    let sql =
        "UPDATE alerts SET cleared_at_ms = ?3 WHERE kind = ?1 AND subject = ?2 AND cleared_at_ms IS NULL RETURNING id";
    let found: Option<Column<AlertId>> =
        write.prepare_cached(sql)?.query_row(params![kind.name(), subject, Column(at)], |row| row.get(0)).optional()?;
    let Some(Column(id)) = found else { return Ok(false) };
    queue(write, id, kind, at)?;
    event::append(write, at, "alert.clear", &id.to_string())?;
    Ok(true)
}

/// Causes of some kinds that last.
pub fn lasting(connection: &Connection, kinds: &[AlertKind]) -> Result<Vec<(AlertKind, String)>> {
    let mut query = connection.prepare_cached("SELECT kind, subject FROM alerts WHERE cleared_at_ms IS NULL")?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = known("alerts", &row.get::<_, String>(0)?, AlertKind::named)?;
        if kinds.contains(&kind) {
            found.push((kind, row.get(1)?));
        }
    }
    Ok(found)
}

fn queue(write: &Write<'_>, id: AlertId, kind: AlertKind, at: Time) -> Result<()> {
    write.execute(
        "INSERT OR REPLACE INTO alert_outbox (channel_id, alert_id, queued_at_ms)
         SELECT id, ?1, ?2 FROM alert_channels
         WHERE enabled AND (kinds = '' OR instr(' ' || kinds || ' ', ' ' || ?3 || ' ') > 0)",
        params![Column(id), Column(at), kind.name()],
    )?;
    Ok(())
}

/// Alerts, the newest first, before one of them; only those that last when `lasting`.
pub fn page(connection: &Connection, lasting: bool, before: Option<AlertId>, limit: u32) -> Result<Vec<Alert>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alerts a WHERE (?1 IS NULL OR id < ?1) AND (NOT ?2 OR cleared_at_ms IS NULL)
         ORDER BY id DESC LIMIT ?3"
    ))?;
    collect(query.query(params![before.map(Column), lasting, limit])?)
}

/// What is still to be told to a channel, the oldest first.
pub fn queued(connection: &Connection, channel: AlertChannelId, limit: u32) -> Result<Vec<Alert>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alert_outbox o JOIN alerts a ON a.id = o.alert_id
         WHERE o.channel_id = ?1 ORDER BY o.queued_at_ms, a.id LIMIT ?2"
    ))?;
    collect(query.query(params![Column(channel), limit])?)
}

/// How much is still to be told to a channel.
pub fn queued_count(connection: &Connection, channel: AlertChannelId) -> Result<u64> {
    let sql = "SELECT COUNT(*) FROM alert_outbox WHERE channel_id = ?1";
    super::row::unsigned("alert_outbox", connection.query_row(sql, [Column(channel)], |row| row.get(0))?)
}

/// Takes out of the queue what was told, but for what changed meanwhile.
pub fn told(write: &Write<'_>, channel: AlertChannelId, alerts: &[Alert]) -> Result<()> {
    let mut delete = write.prepare_cached(
        "DELETE FROM alert_outbox WHERE channel_id = ?1 AND alert_id = ?2
         AND (SELECT cleared_at_ms FROM alerts WHERE id = ?2) IS ?3",
    )?;
    for alert in alerts {
        delete.execute(params![Column(channel), Column(alert.id), alert.cleared_at.map(Column)])?;
    }
    Ok(())
}

/// Removes alerts that were over before a time, and what nobody took since then.
pub fn delete_old(write: &Write<'_>, before: Time) -> Result<()> {
    write.execute("DELETE FROM alerts WHERE cleared_at_ms < ?1", [Column(before)])?;
    write.execute("DELETE FROM alert_outbox WHERE queued_at_ms < ?1", [Column(before)])?;
    Ok(())
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Alert>> {
    let mut alerts = Vec::new();
    while let Some(row) = rows.next()? {
        alerts.push(alert(row)?);
    }
    Ok(alerts)
}
