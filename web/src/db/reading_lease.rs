//! Whose the leases for reading are.

use super::row::Column;
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, params};
use web_api::id::UserId;
use web_api::unit::Time;

/// Notes that a lease is somebody's, or that they renewed it. False when it is another's, and nothing is changed then.
pub fn take(write: &Write<'_>, lease: &str, user: UserId, now: Time) -> Result<bool> {
    let sql = "INSERT INTO reading_leases (lease, user_id, renewed_at_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (lease) DO UPDATE SET renewed_at_ms = ?3 WHERE user_id = ?2";
    Ok(write.execute(sql, params![lease, Column(user), Column(now)])? == 1)
}

/// Whose it is; `None` where that was not noted.
pub fn owner(connection: &Connection, lease: &str) -> Result<Option<UserId>> {
    let mut query = connection.prepare_cached("SELECT user_id FROM reading_leases WHERE lease = ?1")?;
    let found: Option<Column<UserId>> = query.query_row([lease], |row| row.get(0)).optional()?;
    Ok(found.map(|column| column.0))
}

/// Forgets what was not renewed since a time.
pub fn delete_old(write: &Write<'_>, before: Time) -> Result<()> {
    write.execute("DELETE FROM reading_leases WHERE renewed_at_ms < ?1", [Column(before)])?;
    Ok(())
}
