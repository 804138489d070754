//! Answers to requests that made something, by the key that the client chose.

use super::row::Column;
use super::{Error, Result, Write};
use rusqlite::{Connection, OptionalExtension as _, params};
use web_api::unit::Time;

/// An answer that was given.
#[derive(Clone, Debug)]
pub struct StoredAnswer {
    /// Hash of the request that it answered.
    pub request_hash: [u8; 32],
    /// JSON without secrets.
    pub body: String,
}

/// The answer that was given to a caller under a key.
pub fn find(connection: &Connection, caller: &str, key: &str) -> Result<Option<StoredAnswer>> {
    let mut query =
        connection.prepare_cached("SELECT request_hash, body FROM idempotency WHERE caller = ?1 AND key = ?2")?;
    let found = query.query_row([caller, key], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?))).optional()?;
    let Some((hash, body)) = found else { return Ok(None) };
    let request_hash =
        hash.try_into().map_err(|_| Error::Unknown { what: "a hash of another length in idempotency".into() })?;
    Ok(Some(StoredAnswer { request_hash, body }))
}

/// Keeps an answer.
pub fn insert(write: &Write<'_>, caller: &str, key: &str, answer: &StoredAnswer, at: Time) -> Result<()> {
    write.execute(
        "INSERT INTO idempotency (caller, key, request_hash, body, created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![caller, key, answer.request_hash, answer.body, Column(at)],
    )?;
    Ok(())
}

/// Removes answers that were given before a time.
pub fn delete_old(write: &Write<'_>, given_before: Time) -> Result<usize> {
    Ok(write.execute("DELETE FROM idempotency WHERE created_at_ms < ?1", [Column(given_before)])?)
}
