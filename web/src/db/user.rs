//! Accounts, with what they log in with.

use super::row::{Column, known, unsigned};
use super::{Result, Write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::id::UserId;
use web_api::role::Role;
use web_api::unit::Time;
use web_api::user::User;

/// An account with its secrets, for logging in.
#[derive(Clone)]
pub struct Account {
    /// What everybody may see.
    pub user: User,
    /// Hash of the password; `None` until the person set one.
    pub password: Option<String>,
    /// Secret of the authenticator in use.
    pub totp_secret: Option<Vec<u8>>,
    /// Secret of an authenticator that was not confirmed yet.
    pub totp_offered: Option<Vec<u8>>,
    /// Step of the last code that was accepted.
    pub totp_last_step: i64,
}

const COLUMNS: &str = "id, name, role, disabled, password, totp_secret, created_at_ms, last_log_in_at_ms, revision, \
                       totp_offered, totp_last_step";

fn account(row: &Row<'_>) -> Result<Account> {
    let password: Option<String> = row.get(4)?;
    let totp_secret: Option<Vec<u8>> = row.get(5)?;
    let user = User {
        id: row.get::<_, Column<UserId>>(0)?.0,
        name: row.get(1)?,
        role: known("users", &row.get::<_, String>(2)?, Role::named)?,
        disabled: row.get(3)?,
        has_password: password.is_some(),
        has_totp: totp_secret.is_some(),
        created_at: row.get::<_, Column<Time>>(6)?.0,
        last_log_in_at: row.get::<_, Option<Column<Time>>>(7)?.map(|column| column.0),
        revision: unsigned("users", row.get(8)?)?,
    };
    Ok(Account { user, password, totp_secret, totp_offered: row.get(9)?, totp_last_step: row.get(10)? })
}

/// The account of that id.
pub fn find(connection: &Connection, id: UserId) -> Result<Option<Account>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?1"))?;
    query.query_row([Column(id)], |row| Ok(account(row))).optional()?.transpose()
}

/// The account of that name.
pub fn find_by_name(connection: &Connection, name: &str) -> Result<Option<Account>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE name = ?1"))?;
    query.query_row([name], |row| Ok(account(row))).optional()?.transpose()
}

/// Accounts in the order of making, after one of them.
pub fn page(connection: &Connection, after: Option<UserId>, limit: u32) -> Result<Vec<User>> {
    let mut query = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2"))?;
    let mut rows = query.query(params![after.map(Column), limit])?;
    let mut users = Vec::new();
    while let Some(row) = rows.next()? {
        users.push(account(row)?.user);
    }
    Ok(users)
}

/// Whether nobody has an account yet.
pub fn nobody(connection: &Connection) -> Result<bool> {
    Ok(!connection.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get::<_, bool>(0))?)
}

/// Number of admins who can log in.
pub fn enabled_admins(connection: &Connection) -> Result<u64> {
    let count = connection.query_row(
        "SELECT COUNT(*) FROM users WHERE role = ?1 AND NOT disabled",
        [Role::Admin.name()],
        |row| row.get(0),
    )?;
    unsigned("users", count)
}

/// Stores a new account without a password. A name that is taken is a duplicate.
pub fn insert(write: &Write<'_>, id: UserId, name: &str, role: Role, created_at: Time) -> Result<()> {
    write.execute(
        "INSERT INTO users (id, name, role, created_at_ms) VALUES (?1, ?2, ?3, ?4)",
        params![Column(id), name, role.name(), Column(created_at)],
    )?;
    Ok(())
}

/// Sets role and whether it is disabled.
pub fn change(write: &Write<'_>, id: UserId, role: Role, disabled: bool) -> Result<()> {
    write.execute(
        "UPDATE users SET role = ?2, disabled = ?3, revision = revision + 1 WHERE id = ?1",
        params![Column(id), role.name(), disabled],
    )?;
    Ok(())
}

/// Removes an account with its sessions, tokens and links.
pub fn delete(write: &Write<'_>, id: UserId) -> Result<()> {
    write.execute("DELETE FROM users WHERE id = ?1", [Column(id)])?;
    Ok(())
}

/// Sets the hash of the password, or takes it away.
pub fn set_password(write: &Write<'_>, id: UserId, hash: Option<&str>) -> Result<()> {
    write
        .execute("UPDATE users SET password = ?2, revision = revision + 1 WHERE id = ?1", params![Column(id), hash])?;
    Ok(())
}

/// Replaces the hash by another one of the same password.
pub fn renew_hash(write: &Write<'_>, id: UserId, old: &str, new: &str) -> Result<()> {
    write.execute("UPDATE users SET password = ?3 WHERE id = ?1 AND password = ?2", params![Column(id), old, new])?;
    Ok(())
}

/// Keeps a secret that an authenticator was offered, until it is confirmed.
pub fn offer_totp(write: &Write<'_>, id: UserId, secret: &[u8]) -> Result<()> {
    write.execute("UPDATE users SET totp_offered = ?2 WHERE id = ?1", params![Column(id), secret])?;
    Ok(())
}

/// Sets the authenticator, or takes it away.
pub fn set_totp(write: &Write<'_>, id: UserId, secret: Option<&[u8]>) -> Result<()> {
    write.execute(
        "UPDATE users SET totp_secret = ?2, totp_offered = NULL, revision = revision + 1 WHERE id = ?1",
        params![Column(id), secret],
    )?;
    Ok(())
}

/// Notes that the code of a step was used. False when it, or a later one, was used before.
pub fn use_totp_step(write: &Write<'_>, id: UserId, step: i64) -> Result<bool> {
    let changed = write.execute(
        "UPDATE users SET totp_last_step = ?2 WHERE id = ?1 AND totp_last_step < ?2",
        params![Column(id), step],
    )?;
    Ok(changed == 1)
}

/// Notes a log-in.
pub fn logged_in(write: &Write<'_>, id: UserId, at: Time) -> Result<()> {
    write.execute("UPDATE users SET last_log_in_at_ms = ?2 WHERE id = ?1", params![Column(id), Column(at)])?;
    Ok(())
}
