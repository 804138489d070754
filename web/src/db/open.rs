//! Opening the file: rights, pragmas, the integrity check and migrations.

use super::{Error, Result, copy};
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shorter than requests may take: whoever waits for another process is told that nothing was stored, and not that nobody knows.
const BUSY: Duration = Duration::from_secs(10);
const CACHE_KIB: i64 = 8 << 10;
/// Only forward; a file is never edited after it was released.
pub(super) const MIGRATIONS: [&str; 10] = [
    include_str!("../../../migrations/server/0001_initial.sql"),
    include_str!("../../../migrations/server/0002_repositories_and_agents.sql"),
    include_str!("../../../migrations/server/0003_plans_and_jobs.sql"),
    include_str!("../../../migrations/server/0004_enrolments.sql"),
    include_str!("../../../migrations/server/0005_alerts.sql"),
    include_str!("../../../migrations/server/0006_keepers.sql"),
    include_str!("../../../migrations/server/0007_days_and_kits.sql"),
    include_str!("../../../migrations/server/0008_names_of_agents.sql"),
    include_str!("../../../migrations/server/0009_leases_for_reading.sql"),
    include_str!("../../../migrations/server/0010_alarms.sql"),
];
/// Version of the database after all migrations.
#[expect(clippy::cast_possible_truncation, reason = "there are a few")]
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// A connection that writes, to a file that is checked and of this program's version.
pub fn writable(path: &Path) -> Result<Connection> {
    let mut connection = unmigrated(path)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// A connection to a file that is checked and not newer than this program, and may be older.
pub fn unmigrated(path: &Path) -> Result<Connection> {
    make_private(path)?;
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    let found = version(&connection).map_err(|error| damage(path, error))?;
    if found > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
    }
    prepare(&connection).map_err(|error| damage(path, error))?;
    check(&connection, path)?;
    Ok(connection)
}

/// A connection that cannot write.
pub fn readable(path: &Path) -> Result<Connection> {
    // Not opened read-only: a reader of a WAL has to be able to make the shared memory file.
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Brings an opened file to this program's version. Returns the version it had. A copy of it, as it was, stays beside it: the
/// way back to the program before.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<u32> {
    let before = version(connection)?;
    if (1..VERSION).contains(&before) {
        copy::make(path, &copy_of_version(path, before), &[])?;
    }
    if before < VERSION {
        // A table is made anew without its rows vanishing from those that refer to it; before the COMMIT all of them are looked at. What a
        // transaction begins with cannot be changed inside of it.
        connection.pragma_update(None, "foreign_keys", false)?;
        let migrated = migrations(&MIGRATIONS).to_latest(connection);
        connection.pragma_update(None, "foreign_keys", true)?;
        migrated
            .map_err(|error| Error::Open { path: path.to_owned(), what: format!("the migration failed: {error}") })?;
    }
    Ok(before)
}

pub(super) fn migrations(files: &[&'static str]) -> Migrations<'static> {
    Migrations::from_iter(files.iter().map(|file| M::up(file).foreign_key_check()))
}

/// Where the copy of a database lies that had an earlier version.
pub fn copy_of_version(path: &Path, version: u32) -> PathBuf {
    path.with_extension(format!("version-{version}.sqlite"))
}

/// Version of an opened file; 0 for an empty one.
pub fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Hashes of secrets and the authenticators' secrets are in the file: nobody else reads it.
fn make_private(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Open { path: path.to_owned(), what: error.to_string() };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
    Ok(())
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Looks whether the file's pages fit together.
pub fn check(connection: &Connection, path: &Path) -> Result<()> {
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| damage(path, error))?;
    if found == "ok" { Ok(()) } else { Err(Error::Damaged { path: path.to_owned(), what: found }) }
}

/// An error while the file is looked at for the first time is told as damage where it is damage.
pub(super) fn damage(path: &Path, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => Error::Damaged { path: path.to_owned(), what: error.to_string() },
        _ => Error::Open { path: path.to_owned(), what: error.to_string() },
    }
}
