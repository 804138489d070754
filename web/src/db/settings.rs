//! The one row of settings.

use super::row::unsigned;
use super::{Result, Write};
use rusqlite::{Connection, Row, params};
use web_api::settings::Settings;

fn settings(row: &Row<'_>) -> Result<Settings> {
    Ok(Settings {
        appliance_name: row.get(0)?,
        session_idle_s: unsigned("settings", row.get(1)?)?,
        session_lifetime_s: unsigned("settings", row.get(2)?)?,
        log_in_link_lifetime_s: unsigned("settings", row.get(3)?)?,
        revision: unsigned("settings", row.get(4)?)?,
    })
}

/// What holds now.
pub fn get(connection: &Connection) -> Result<Settings> {
    let mut query = connection.prepare_cached(
        "SELECT appliance_name, session_idle_s, session_lifetime_s, log_in_link_lifetime_s, revision FROM settings",
    )?;
    query.query_row([], |row| Ok(settings(row)))?
}

/// Stores what is there once more: a write that changes nothing.
pub fn store_again(write: &Write<'_>) -> Result<()> {
    write.execute("UPDATE settings SET revision = revision", [])?;
    Ok(())
}

/// Stores all of them under the next revision.
pub fn set(write: &Write<'_>, settings: &Settings) -> Result<()> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    write.execute(
        "UPDATE settings SET appliance_name = ?1, session_idle_s = ?2, session_lifetime_s = ?3,
         log_in_link_lifetime_s = ?4, revision = revision + 1",
        params![
            settings.appliance_name,
            signed(settings.session_idle_s),
            signed(settings.session_lifetime_s),
            signed(settings.log_in_link_lifetime_s),
        ],
    )?;
    Ok(())
}
