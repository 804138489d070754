//! How the types of the API stand in columns. What this program did not write is an error, never a panic or a guess.

use super::{Error, Result};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use web_api::id::{
    AgentId, AlertChannelId, AlertId, EnrolmentId, JobId, LeaseId, LogInLinkId, PlanId, RepositoryId, SessionId,
    TokenId, UserId,
};
use web_api::unit::Time;

/// An id or a time in a column.
#[derive(Clone, Copy)]
pub(super) struct Column<T>(pub T);

macro_rules! id_column {
    ($($id:ident)+) => { $(
        impl ToSql for Column<$id> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.0.as_bytes())))
            }
        }

        impl FromSql for Column<$id> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let id = Uuid::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(Box::new(error)))?;
                Ok(Self($id(id)))
            }
        }
    )+ };
}

id_column!(UserId SessionId TokenId LogInLinkId AgentId RepositoryId PlanId JobId LeaseId EnrolmentId AlertId AlertChannelId);

impl ToSql for Column<Time> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.ms().into())
    }
}

impl FromSql for Column<Time> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(|ms| Self(Time::from_ms(ms)))
    }
}

/// A count; SQLite's numbers are signed.
impl FromSql for Column<u64> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// A stored word that has to be one of few.
pub(super) fn known<T>(table: &str, word: &str, named: impl Fn(&str) -> Option<T>) -> Result<T> {
    named(word).ok_or_else(|| Error::Unknown { what: format!("{word:?} in {table}") })
}

/// A count that SQLite keeps signed.
pub(super) fn unsigned(table: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| Error::Unknown { what: format!("{value} in {table}") })
}

/// A value that is kept as JSON.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Unknown { what: format!("a value that is no JSON: {error}") })
}

/// The value of stored JSON.
pub(super) fn json<T: DeserializeOwned>(table: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Unknown { what: format!("JSON in {table} ({error})") })
}
