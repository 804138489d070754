//! Copies of the database: made while it is in use, put back when the file is lost or damaged.
//!
//! A copy is a database file with one more table, which holds the files without which the database is not the server, such as the
//! certificate authority that agents trust. Whether and when copies are made is `crate::copies`' business.

use super::{Error, Result, open};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, params};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often and for how long a copy waits for a lock that another process has.
const BUSY_LOOKS: u32 = 300;
const BUSY_LOOK: Duration = Duration::from_millis(100);
/// The files of a database in WAL mode, by what follows its name.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];
/// Numbers of events that may have been told after the copy was made; they are not told again with another meaning.
const EVENTS_AFTER_COPY: i64 = 1 << 32;

/// A file that travels with the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Companion {
    /// Its name in the data directory.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Copies the database at one instant, whoever uses it, with its companions. The copy appears under its name when it is durable.
pub fn make(database: &Path, copy: &Path, companions: &[Companion]) -> Result<()> {
    // Of this process alone: another one may make the same copy at the same time.
    let partial = beside(copy, &format!("{}.partial", std::process::id()));
    remove(&partial)?;
    create_private(&partial)?;
    let source = open::readable(database)?;
    let mut target = Connection::open_with_flags(&partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    transfer(&source, &mut target)?;
    // One file, without a log beside it, and all of it on disk when the last statement returns.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.pragma_update(None, "synchronous", "FULL")?;
    pack(&mut target, companions)?;
    target.close().map_err(|(_, error)| error)?;
    settle(&partial, copy)
}

/// Looks whether a copy is whole and what version it has, without changing it.
pub fn examine(copy: &Path) -> Result<u32> {
    let failed = |what: String| Error::Open { path: copy.to_owned(), what };
    if !copy.is_file() {
        return Err(failed("there is no such file".into()));
    }
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found = open::version(&connection).map_err(|error| open::damage(copy, error))?;
    if found > open::VERSION {
        return Err(Error::Newer { path: copy.to_owned(), found, known: open::VERSION });
    }
    if found == 0 {
        return Err(failed("this is no database of icecore-server".into()));
    }
    open::check(&connection, copy)?;
    Ok(found)
}

/// Makes the file beside `database` that [`Prepared::install`] puts in its place, and hands out the companions.
pub fn prepare(copy: &Path, database: &Path) -> Result<Prepared> {
    examine(copy)?;
    let next = beside(database, "restored");
    remove(&next)?;
    create_private(&next)?;
    let source = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut target = Connection::open_with_flags(&next, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    transfer(&source, &mut target)?;
    target.pragma_update(None, "journal_mode", "DELETE")?;
    target.pragma_update(None, "synchronous", "FULL")?;
    let companions = unpack(&mut target)?;
    target.close().map_err(|(_, error)| error)?;
    open::check(&open::readable(&next)?, &next)?;
    Ok(Prepared { next, database: database.to_owned(), companions })
}

/// A database that is ready to take the place of another.
pub struct Prepared {
    next: PathBuf,
    database: PathBuf,
    /// Files that came with it.
    pub companions: Vec<Companion>,
}

impl Prepared {
    /// The database, to be changed before it is installed.
    pub fn file(&self) -> &Path {
        &self.next
    }

    /// Takes the place of the database. What was there stays beside it under the name that is returned. No server may run on it.
    pub fn install(self, name_of_old: &str) -> Result<Option<PathBuf>> {
        let kept = self.database.exists().then(|| beside(&self.database, name_of_old));
        if let Some(kept) = &kept {
            // Under both names at first: whatever stops this, what was there is whole under the second.
            for suffix in PARTS {
                let part = with_suffix(&self.database, suffix);
                if part.exists() {
                    fs::hard_link(&part, with_suffix(kept, suffix)).map_err(at(&part))?;
                }
            }
            sync_directory_of(kept)?;
        }
        // A log must never meet a database that is not its own.
        for suffix in &PARTS[1..] {
            remove(&with_suffix(&self.database, suffix))?;
            remove(&with_suffix(&self.next, suffix))?;
        }
        sync_directory_of(&self.database)?;
        settle(&self.next, &self.database)?;
        Ok(kept)
    }
}

/// All pages in one step: of one instant, and writers go on meanwhile, for the source is in WAL mode.
fn transfer(source: &Connection, target: &mut Connection) -> Result<()> {
    let backup = Backup::new(source, target)?;
    for _ in 0..BUSY_LOOKS {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(BUSY_LOOK),
        }
    }
    Err(Error::NotStored("another process holds the database; no copy could be made".into()))
}

fn pack(target: &mut Connection, companions: &[Companion]) -> Result<()> {
    let transaction = target.transaction()?;
    transaction.execute_batch(
        "DROP TABLE IF EXISTS companions; CREATE TABLE companions (name TEXT NOT NULL PRIMARY KEY, bytes BLOB NOT NULL) STRICT;",
    )?;
    for companion in companions {
        transaction.execute("INSERT INTO companions VALUES (?1, ?2)", params![companion.name, companion.bytes])?;
    }
    Ok(transaction.commit()?)
}

fn unpack(target: &mut Connection) -> Result<Vec<Companion>> {
    let transaction = target.transaction()?;
    let has_any: bool =
        transaction
            .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'companions')", [], |row| row.get(0))?;
    let mut companions = Vec::new();
    if has_any {
        let mut query = transaction.prepare("SELECT name, bytes FROM companions ORDER BY name")?;
        let rows = query.query_map([], |row| Ok(Companion { name: row.get(0)?, bytes: row.get(1)? }))?;
        companions = rows.collect::<rusqlite::Result<_>>()?;
        drop(query);
        transaction.execute_batch("DROP TABLE companions")?;
    }
    transaction.execute("UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'events'", [EVENTS_AFTER_COPY])?;
    transaction.commit()?;
    Ok(companions)
}

fn beside(path: &Path, what: &str) -> PathBuf {
    with_suffix(path, &format!(".{what}"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn create_private(path: &Path) -> Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Gives a finished file its name, durably.
fn settle(from: &Path, to: &Path) -> Result<()> {
    File::open(from).and_then(|file| file.sync_all()).map_err(at(from))?;
    fs::rename(from, to).map_err(at(from))?;
    sync_directory_of(to)
}

fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |error| Error::Open { path: path.to_owned(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Write, event, user};
    use web_api::id::UserId;
    use web_api::role::Role;
    use web_api::unit::Time;

    fn now() -> Time {
        Time::from_ms(1_790_000_000_000)
    }

    fn add(connection: &mut Connection, name: &str) {
        let transaction = connection.transaction().unwrap();
        let mut write = Write::within(&transaction);
        user::insert(&write, UserId::generate(), name, Role::Viewer, now()).unwrap();
        event::append(&mut write, now(), "user.create", name).unwrap();
        transaction.commit().unwrap();
    }

    fn names(connection: &Connection) -> Vec<String> {
        user::page(connection, None, 500).unwrap().into_iter().map(|user| user.name).collect()
    }

    fn ca() -> Companion {
        Companion { name: "ca.pem".into(), bytes: b"certificate".to_vec() }
    }

    #[test]
    fn a_copy_made_while_somebody_writes_holds_what_was_committed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("server.sqlite"), dir.path().join("copy"));
        let mut connection = open::writable(&file).unwrap();
        add(&mut connection, "ada");
        let transaction = connection.transaction().unwrap();
        user::insert(&Write::within(&transaction), UserId::generate(), "bob", Role::Viewer, now()).unwrap();
        make(&file, &copy, &[ca()]).unwrap();
        transaction.commit().unwrap();
        assert_eq!(examine(&copy).unwrap(), open::VERSION);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&copy).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "hashes of secrets are in it");
        let prepared = prepare(&copy, &dir.path().join("new.sqlite")).unwrap();
        assert_eq!(prepared.companions, [ca()]);
        assert_eq!(prepared.install("old").unwrap(), None);
        assert_eq!(names(&open::writable(&dir.path().join("new.sqlite")).unwrap()), ["ada"]);
    }

    #[test]
    fn what_a_copy_replaces_is_kept_with_its_log_and_event_numbers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("server.sqlite"), dir.path().join("copy"));
        let mut connection = open::writable(&file).unwrap();
        add(&mut connection, "ada");
        make(&file, &copy, &[]).unwrap();
        add(&mut connection, "bob");
        let told = event::bounds(&connection).unwrap().1;
        // The log still holds the last change: the connection stays open while the files are moved, as after a kill.
        let kept = prepare(&copy, &file).unwrap().install("damaged").unwrap().unwrap();
        std::mem::forget(connection);
        let mut restored = open::writable(&file).unwrap();
        assert_eq!(names(&restored), ["ada"]);
        add(&mut restored, "carl");
        assert!(event::bounds(&restored).unwrap().1 > told, "no number of an event is used again");
        assert_eq!(names(&open::writable(&kept).unwrap()), ["ada", "bob"]);
    }

    #[test]
    fn what_is_no_sound_copy_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("server.sqlite"), dir.path().join("copy"));
        let mut connection = open::writable(&file).unwrap();
        for number in 0..2_000 {
            add(&mut connection, &format!("user-{number}"));
        }
        make(&file, &copy, &[]).unwrap();
        let sound = fs::read(&copy).unwrap();
        let mut torn = sound.clone();
        torn.truncate(sound.len() / 2);
        let mut wrong = sound.clone();
        wrong[sound.len() / 2..sound.len() / 2 + 8192].fill(0xA5);
        for (bytes, what) in
            [(torn, "torn"), (wrong, "overwritten"), (b"no database".to_vec(), "foreign"), (vec![], "empty")]
        {
            fs::write(&copy, bytes).unwrap();
            assert!(prepare(&copy, &file).is_err(), "{what}");
        }
        assert!(prepare(&dir.path().join("missing"), &file).is_err());
        assert_eq!(names(&connection).len(), 500, "a page of the untouched database");
        fs::write(&copy, &sound).unwrap();
        prepare(&copy, &file).unwrap();
    }
}
