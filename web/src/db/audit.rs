//! The audit log's rows. What is hashed and how entries are chained is `crate::audit`'s business.

use super::row::{Column, known, unsigned};
use super::{Error, Result, Write};
use crate::audit::{Entry, Hash, Record};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::audit::Outcome;
use web_api::unit::Time;

const COLUMNS: &str = "number, at_ms, actor, address, action, subject, outcome, detail, previous_hash, hash";

fn outcome_named(name: &str) -> Option<Outcome> {
    [Outcome::Done, Outcome::Refused].into_iter().find(|outcome| outcome_name(*outcome) == name)
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
    }
}

fn hash(bytes: Vec<u8>) -> Result<Hash> {
    bytes.try_into().map(Hash).map_err(|_| Error::Unknown { what: "a hash of another length in audit".into() })
}

fn entry(row: &Row<'_>) -> Result<Entry> {
    let record = Record {
        at: row.get::<_, Column<Time>>(1)?.0,
        actor: row.get(2)?,
        address: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        outcome: known("audit", &row.get::<_, String>(6)?, outcome_named)?,
        detail: row.get(7)?,
    };
    Ok(Entry {
        number: unsigned("audit", row.get(0)?)?,
        record,
        previous: hash(row.get(8)?)?,
        hash: hash(row.get(9)?)?,
    })
}

/// Adds a record at the end. Its place is found in the same transaction, so several processes may add.
pub fn append(write: &Write<'_>, record: Record) -> Result<Entry> {
    let entry = Entry::after(last(write)?.as_ref(), record);
    let number =
        i64::try_from(entry.number).map_err(|_| Error::Unknown { what: "too many entries in audit".into() })?;
    let sql = format!("INSERT INTO audit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    let record = &entry.record;
    write.prepare_cached(&sql)?.execute(params![
        number,
        Column(record.at),
        record.actor,
        record.address,
        record.action,
        record.subject,
        outcome_name(record.outcome),
        record.detail,
        entry.previous.0,
        entry.hash.0,
    ])?;
    Ok(entry)
}

/// The last entry.
pub fn last(connection: &Connection) -> Result<Option<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM audit ORDER BY number DESC LIMIT 1");
    connection.prepare_cached(&sql)?.query_row([], |row| Ok(entry(row))).optional()?.transpose()
}

/// Entries before a number, the latest first.
pub fn page(connection: &Connection, before: Option<u64>, limit: u32) -> Result<Vec<Entry>> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2");
    let mut query = connection.prepare_cached(&sql)?;
    let mut rows = query.query(params![before, limit])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

/// Hands every entry to `each` from the first on, until that says it has seen enough. An unreadable one is an error in its place.
pub fn walk(connection: &Connection, mut each: impl FnMut(Result<Entry>) -> bool) -> Result<()> {
    let mut query = connection.prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY number"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if !each(entry(row)) {
            break;
        }
    }
    Ok(())
}
