//! Log-ins by browser. Of a session's secret only the hash is here.

use super::row::{Column, known};
use super::{Result, Write};
use crate::auth::secret::SecretHash;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::id::{SessionId, UserId};
use web_api::role::Role;
use web_api::unit::Time;

/// A session as it is stored; when it ends follows from the settings.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When the person logged in.
    pub created_at: Time,
    /// The last request that was noted.
    pub last_seen_at: Time,
    /// Where the person logged in from.
    pub address: String,
    /// What the browser called itself.
    pub user_agent: String,
}

/// The account behind a session or token, at this moment.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether it may do nothing at all.
    pub disabled: bool,
}

const COLUMNS: &str = "s.id, s.user_id, s.created_at_ms, s.last_seen_at_ms, s.address, s.user_agent";

fn session(row: &Row<'_>) -> rusqlite::Result<StoredSession> {
    Ok(StoredSession {
        id: row.get::<_, Column<SessionId>>(0)?.0,
        user_id: row.get::<_, Column<UserId>>(1)?.0,
        created_at: row.get::<_, Column<Time>>(2)?.0,
        last_seen_at: row.get::<_, Column<Time>>(3)?.0,
        address: row.get(4)?,
        user_agent: row.get(5)?,
    })
}

/// Stores a new session.
pub fn insert(write: &Write<'_>, session: &StoredSession, secret: &SecretHash) -> Result<()> {
    write.execute(
        "INSERT INTO sessions (id, secret_hash, user_id, created_at_ms, last_seen_at_ms, address, user_agent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            Column(session.id),
            secret.0,
            Column(session.user_id),
            Column(session.created_at),
            Column(session.last_seen_at),
            session.address,
            session.user_agent,
        ],
    )?;
    Ok(())
}

/// The session of a secret, with whose it is.
pub fn find(connection: &Connection, secret: &SecretHash) -> Result<Option<(StoredSession, Owner)>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, u.name, u.role, u.disabled FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.secret_hash = ?1"
    ))?;
    let found = query
        .query_row([secret.0], |row| {
            Ok((session(row)?, row.get::<_, String>(6)?, row.get::<_, String>(7)?, row.get::<_, bool>(8)?))
        })
        .optional()?;
    let Some((session, name, role, disabled)) = found else { return Ok(None) };
    Ok(Some((session, Owner { name, role: known("users", &role, Role::named)?, disabled })))
}

/// Sessions of an account, in the order of making.
pub fn of_user(connection: &Connection, user: UserId) -> Result<Vec<StoredSession>> {
    let mut query =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions s WHERE user_id = ?1 ORDER BY id"))?;
    Ok(query.query_map([Column(user)], session)?.collect::<rusqlite::Result<_>>()?)
}

/// Notes that it was used.
pub fn seen(write: &Write<'_>, id: SessionId, at: Time) -> Result<()> {
    write.execute(
        "UPDATE sessions SET last_seen_at_ms = ?2 WHERE id = ?1 AND last_seen_at_ms < ?2",
        params![Column(id), Column(at)],
    )?;
    Ok(())
}

/// Ends one session of an account; whether there was such a one.
pub fn delete(write: &Write<'_>, user: UserId, id: SessionId) -> Result<bool> {
    let sql = "DELETE FROM sessions WHERE user_id = ?1 AND id = ?2";
    Ok(write.execute(sql, params![Column(user), Column(id)])? == 1)
}

/// Ends all sessions of an account but one.
pub fn delete_others(write: &Write<'_>, user: UserId, kept: Option<SessionId>) -> Result<usize> {
    let sql = "DELETE FROM sessions WHERE user_id = ?1 AND (?2 IS NULL OR id <> ?2)";
    Ok(write.execute(sql, params![Column(user), kept.map(Column)])?)
}

/// Removes what nobody can use any more.
pub fn delete_ended(write: &Write<'_>, created_before: Time, seen_before: Time) -> Result<usize> {
    let sql = "DELETE FROM sessions WHERE created_at_ms < ?1 OR last_seen_at_ms < ?2";
    Ok(write.execute(sql, params![Column(created_before), Column(seen_before)])?)
}
