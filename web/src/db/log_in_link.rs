//! One-time log-in links. Of a link's secret only the hash is here.

use super::row::Column;
use super::{Result, Write};
use crate::auth::secret::SecretHash;
use rusqlite::{Connection, OptionalExtension as _, params};
use web_api::id::{LogInLinkId, UserId};
use web_api::unit::Time;

/// A link as it is stored.
#[derive(Clone, Debug)]
pub struct StoredLink {
    /// Its id.
    pub id: LogInLinkId,
    /// Whom it lets in; `None` makes the first account.
    pub user_id: Option<UserId>,
    /// When it was made.
    pub created_at: Time,
    /// When it stops working.
    pub expires_at: Time,
}

/// Stores a new link.
pub fn insert(write: &Write<'_>, link: &StoredLink, secret: &SecretHash) -> Result<()> {
    write.execute(
        "INSERT INTO log_in_links (id, secret_hash, user_id, created_at_ms, expires_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![Column(link.id), secret.0, link.user_id.map(Column), Column(link.created_at), Column(link.expires_at)],
    )?;
    Ok(())
}

/// The link of a secret.
pub fn find(connection: &Connection, secret: &SecretHash) -> Result<Option<StoredLink>> {
    let sql = "SELECT id, user_id, created_at_ms, expires_at_ms FROM log_in_links WHERE secret_hash = ?1";
    let link = connection.query_row(sql, [secret.0], |row| {
        Ok(StoredLink {
            id: row.get::<_, Column<LogInLinkId>>(0)?.0,
            user_id: row.get::<_, Option<Column<UserId>>>(1)?.map(|column| column.0),
            created_at: row.get::<_, Column<Time>>(2)?.0,
            expires_at: row.get::<_, Column<Time>>(3)?.0,
        })
    });
    Ok(link.optional()?)
}

/// Uses a link up; false when somebody else was faster.
pub fn delete(write: &Write<'_>, id: LogInLinkId) -> Result<bool> {
    Ok(write.execute("DELETE FROM log_in_links WHERE id = ?1", [Column(id)])? == 1)
}

/// Ends all links of an account, or with `None` those that make the first account.
pub fn delete_of(write: &Write<'_>, user: Option<UserId>) -> Result<usize> {
    Ok(write.execute("DELETE FROM log_in_links WHERE user_id IS ?1", [user.map(Column)])?)
}

/// Removes links that ended before a time.
pub fn delete_ended(write: &Write<'_>, expired_before: Time) -> Result<usize> {
    Ok(write.execute("DELETE FROM log_in_links WHERE expires_at_ms < ?1", [Column(expired_before)])?)
}
