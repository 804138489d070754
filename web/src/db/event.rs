//! The last events, for clients that come back after a while.

use super::row::{Column, unsigned};
use super::{Result, Write};
use rusqlite::{Connection, Row, params};
use web_api::event::Event;
use web_api::unit::Time;

/// Events that are kept.
pub const KEPT: u32 = 10_000;

fn event(row: &Row<'_>) -> Result<Event> {
    Ok(Event {
        number: unsigned("events", row.get(0)?)?,
        at: row.get::<_, Column<Time>>(1)?.0,
        kind: row.get(2)?,
        subject: row.get(3)?,
    })
}

/// Stores an event and tells it to listeners once the transaction is on disk.
pub fn append(write: &mut Write<'_>, at: Time, kind: &str, subject: &str) -> Result<()> {
    let sql = "INSERT INTO events (at_ms, kind, subject) VALUES (?1, ?2, ?3) RETURNING number, at_ms, kind, subject";
    let event = write.prepare_cached(sql)?.query_row(params![Column(at), kind, subject], |row| Ok(event(row)))??;
    write.tell(event);
    Ok(())
}

/// Number of the oldest event that is kept and of the latest that ever was; 0 where there is none.
pub fn bounds(connection: &Connection) -> Result<(u64, u64)> {
    let oldest = connection.query_row("SELECT COALESCE(MIN(number), 0) FROM events", [], |row| row.get(0))?;
    let latest = connection.query_row(
        "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
        [],
        |row| row.get(0),
    )?;
    Ok((unsigned("events", oldest)?, unsigned("events", latest)?))
}

/// Events after a number, the oldest first.
pub fn after(connection: &Connection, number: u64, limit: u32) -> Result<Vec<Event>> {
    let mut query = connection
        .prepare_cached("SELECT number, at_ms, kind, subject FROM events WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    let mut rows = query.query(params![i64::try_from(number).unwrap_or(i64::MAX), limit])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(event(row)?);
    }
    Ok(events)
}

/// Removes all but the last ones.
pub fn delete_old(write: &Write<'_>) -> Result<usize> {
    Ok(write.execute("DELETE FROM events WHERE number <= (SELECT MAX(number) FROM events) - ?1", [KEPT])?)
}
