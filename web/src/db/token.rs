//! API tokens. Of a token's secret only the hash and the first characters are here.

use super::row::{Column, known};
use super::session::Owner;
use super::{Result, Write};
use crate::auth::secret::SecretHash;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use web_api::id::{TokenId, UserId};
use web_api::role::{Right, Role};
use web_api::token::Token;
use web_api::unit::Time;

const COLUMNS: &str =
    "t.id, t.user_id, t.name, t.prefix, t.rights, t.created_at_ms, t.expires_at_ms, t.last_used_at_ms";

fn token(row: &Row<'_>) -> Result<Token> {
    let rights: String = row.get(4)?;
    Ok(Token {
        id: row.get::<_, Column<TokenId>>(0)?.0,
        user_id: row.get::<_, Column<UserId>>(1)?.0,
        name: row.get(2)?,
        prefix: row.get(3)?,
        rights: rights.split_whitespace().map(|name| known("tokens", name, Right::named)).collect::<Result<_>>()?,
        created_at: row.get::<_, Column<Time>>(5)?.0,
        expires_at: row.get::<_, Column<Time>>(6)?.0,
        last_used_at: row.get::<_, Option<Column<Time>>>(7)?.map(|column| column.0),
    })
}

/// Stores a new token.
pub fn insert(write: &Write<'_>, token: &Token, secret: &SecretHash) -> Result<()> {
    let rights = token.rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(" ");
    write.execute(
        "INSERT INTO tokens (id, secret_hash, user_id, name, prefix, rights, created_at_ms, expires_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            Column(token.id),
            secret.0,
            Column(token.user_id),
            token.name,
            token.prefix,
            rights,
            Column(token.created_at),
            Column(token.expires_at),
        ],
    )?;
    Ok(())
}

/// What a secret opens.
pub struct Found {
    /// The token.
    pub token: Token,
    /// Whose it is.
    pub owner: Owner,
    /// Whether the secret is the one that shall replace the other.
    pub is_next: bool,
}

/// The token of a secret, with whose it is.
pub fn find(connection: &Connection, secret: &SecretHash) -> Result<Option<Found>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, u.name, u.role, u.disabled, t.secret_hash <> ?1 FROM tokens t JOIN users u ON u.id = t.user_id
         WHERE t.secret_hash = ?1 OR t.next_secret_hash = ?1"
    ))?;
    let found = query
        .query_row([secret.0], |row| {
            Ok((token(row), row.get(8)?, row.get::<_, String>(9)?, row.get(10)?, row.get(11)?))
        })
        .optional()?;
    let Some((token, name, role, disabled, is_next)) = found else { return Ok(None) };
    let owner = Owner { name, role: known("users", &role, Role::named)?, disabled };
    Ok(Some(Found { token: token?, owner, is_next }))
}

/// Keeps a secret that shall replace the one that there is, in the place of an earlier one that was never used.
pub fn set_next_secret(write: &Write<'_>, id: TokenId, (secret, prefix): (&SecretHash, &str)) -> Result<()> {
    let sql = "UPDATE tokens SET next_secret_hash = ?2, next_prefix = ?3 WHERE id = ?1";
    write.execute(sql, params![Column(id), secret.0, prefix])?;
    Ok(())
}

/// The new secret was used: the old one ends. Whether it was still to be done.
pub fn end_old_secret(write: &Write<'_>, next: &SecretHash) -> Result<bool> {
    let sql = "UPDATE tokens SET secret_hash = next_secret_hash, prefix = next_prefix, next_secret_hash = NULL,
        next_prefix = NULL WHERE next_secret_hash = ?1";
    Ok(write.execute(sql, [next.0])? == 1)
}

/// One token.
pub fn get(connection: &Connection, id: TokenId) -> Result<Option<Token>> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens t WHERE t.id = ?1"))?;
    query.query_row([Column(id)], |row| Ok(token(row))).optional()?.transpose()
}

/// Tokens of an account in the order of making, after one of them.
pub fn page(connection: &Connection, user: UserId, after: Option<TokenId>, limit: u32) -> Result<Vec<Token>> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tokens t WHERE user_id = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"
    ))?;
    let mut rows = query.query(params![Column(user), after.map(Column), limit])?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        tokens.push(token(row)?);
    }
    Ok(tokens)
}

/// Notes that it was used.
pub fn used(write: &Write<'_>, id: TokenId, at: Time) -> Result<()> {
    write.execute("UPDATE tokens SET last_used_at_ms = ?2 WHERE id = ?1", params![Column(id), Column(at)])?;
    Ok(())
}

/// Revokes one token of an account; whether there was such a one.
pub fn delete(write: &Write<'_>, user: UserId, id: TokenId) -> Result<bool> {
    let sql = "DELETE FROM tokens WHERE user_id = ?1 AND id = ?2";
    Ok(write.execute(sql, params![Column(user), Column(id)])? == 1)
}

/// Removes tokens that ended before a time.
pub fn delete_ended(write: &Write<'_>, expired_before: Time) -> Result<usize> {
    Ok(write.execute("DELETE FROM tokens WHERE expires_at_ms < ?1", [Column(expired_before)])?)
}
