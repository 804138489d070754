//! Recovery codes of accounts with an authenticator. Only their hashes are here.

use super::row::Column;
use super::{Result, Write};
use crate::auth::secret::SecretHash;
use rusqlite::params;
use web_api::id::UserId;

/// Replaces all codes of an account; an empty list takes them away.
pub fn replace(write: &Write<'_>, user: UserId, codes: &[SecretHash]) -> Result<()> {
    write.execute("DELETE FROM recovery_codes WHERE user_id = ?1", [Column(user)])?;
    let mut insert = write.prepare_cached("INSERT INTO recovery_codes (user_id, hash) VALUES (?1, ?2)")?;
    for code in codes {
        insert.execute(params![Column(user), code.0])?;
    }
    Ok(())
}

/// Uses a code up; whether it was there.
pub fn take(write: &Write<'_>, user: UserId, code: &SecretHash) -> Result<bool> {
    let sql = "DELETE FROM recovery_codes WHERE user_id = ?1 AND hash = ?2";
    Ok(write.execute(sql, params![Column(user), code.0])? == 1)
}
