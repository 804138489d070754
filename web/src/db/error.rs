//! What can go wrong with the database. Says what to do where a person has to act.

use std::path::PathBuf;

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused a statement, or the file system refused SQLite.
    #[error("the database refused: {0}")]
    Sql(#[from] rusqlite::Error),
    /// A transaction of several writes could not be put on disk, so none of them counts.
    #[error("the database could not store the change: {0}")]
    NotStored(String),
    /// The same, because there is no room left.
    #[error("there is no room left for the database, so the change is not stored")]
    Full,
    /// The work of a write panicked; nothing of it was stored.
    #[error("a write to the database ended in a fault of the program; nothing of it was stored")]
    Panicked,
    /// The server is stopping.
    #[error("the database is closed")]
    Closed,
    /// More writes wait than are taken on.
    #[error("too many writes wait for the database")]
    Busy,
    /// A stored value is not what this program writes.
    #[error("the database holds {what}, which this program does not know")]
    Unknown {
        /// The value and where it stands.
        what: String,
    },
    /// A file could not be made or opened.
    #[error("cannot open the database {path}: {what}")]
    Open {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// The file is of a newer program.
    #[error(
        "the database {path} has version {found}, this icecore-server knows versions up to {known}; nothing was changed. \
         Use the newer icecore-server again, or put the copy of the database back that was made before the upgrade"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// The file's pages contradict each other.
    #[error(
        "the database {path} is damaged: {what}. Nothing was changed. Next: `icecore-server admin copies` lists the daily copies, and \
         `icecore-server admin restore-database FILE` puts one back and keeps this file beside it. Recovery points are not affected: \
         they lie in the repositories"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        what: String,
    },
}

/// Result with the database's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether a UNIQUE rule refused it.
    pub fn is_duplicate(&self) -> bool {
        let Self::Sql(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
    }

    /// Of a transaction that SQLite could not begin or end.
    pub(super) fn of_transaction(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::NotStored(error.to_string()),
        }
    }

    /// Whether what is missing is room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Sql(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
        let busy = |code| matches!(code, DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure);
        match self {
            Self::Busy | Self::Closed | Self::NotStored(_) | Self::Full => true,
            Self::Sql(error) => error.sqlite_error_code().is_some_and(busy),
            _ => false,
        }
    }
}
