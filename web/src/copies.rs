//! Daily copies of the database in the data directory: which there are, when the next is due, which are dropped.
//!
//! They help against a damaged file and a mistaken change, not against a lost disk: for that the newest one is backed up like a
//! disk, and comes back by `icecore-server admin recover` (`crate::recover`).

use crate::alerts;
use crate::config::Config;
use crate::db::copy::{self, Companion};
use crate::state::App;
use crate::tls;
use anyhow::Context as _;
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use web_api::alert::AlertKind;
use web_api::unit::Time;

/// Directory of the copies in the data directory.
const DIRECTORY: &str = "copies";
/// Name of the one that is backed up: always the newest.
const NEWEST: &str = "server.sqlite";
/// Directory beside the daily ones, of the copy that a keeper stores: what it takes is of the moment, and no daily one is dropped for it.
const OUTGOING: &str = "outgoing";
const EVERY: Duration = Duration::from_secs(24 * 3600);
const LOOK: Duration = Duration::from_secs(600);
const KEPT: usize = 7;
/// What alerts about it are about.
const SUBJECT: &str = "copies of the database";
/// How the time stands in a file's name.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The copies of one server.
#[derive(Clone)]
pub struct Copies {
    data_dir: PathBuf,
    database: PathBuf,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatabaseCopy {
    /// When it was made.
    pub made_at: Timestamp,
    /// Where it is.
    pub path: PathBuf,
}

impl Copies {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Self {
        Self { data_dir: config.data_dir.clone(), database: config.database_file() }
    }

    /// The file that is always the newest daily copy, for whoever takes it elsewhere.
    pub fn newest_file(&self) -> PathBuf {
        self.directory().join(NEWEST)
    }

    /// Makes one now and drops those beyond the last seven. Blocks.
    pub fn make(&self, now: Timestamp) -> anyhow::Result<DatabaseCopy> {
        let directory = self.directory();
        let _one_at_a_time = prepare(&directory)?;
        let path = directory.join(format!("{}.sqlite", now.strftime(TIME)));
        copy::make(&self.database, &path, &self.companions()?)?;
        self.point_newest_at(&path)?;
        for old in self.list()?.into_iter().skip(KEPT).filter(|old| old.path != path) {
            fs::remove_file(&old.path).with_context(|| format!("cannot remove {}", old.path.display()))?;
        }
        Ok(DatabaseCopy { made_at: now, path })
    }

    /// Makes one now for a repository's keeper to take, beside the daily ones and in the place of the one before. Blocks.
    pub fn make_outgoing(&self) -> anyhow::Result<PathBuf> {
        let directory = self.directory().join(OUTGOING);
        let _one_at_a_time = prepare(&directory)?;
        let path = directory.join(NEWEST);
        copy::make(&self.database, &path, &self.companions()?)?;
        Ok(path)
    }

    /// All of them, the newest first.
    pub fn list(&self) -> anyhow::Result<Vec<DatabaseCopy>> {
        let directory = self.directory();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", directory.display()))?,
        };
        let mut copies = Vec::new();
        for entry in entries {
            let path = entry?.path();
            copies.extend(made_at(&path).map(|made_at| DatabaseCopy { made_at, path }));
        }
        copies.sort_by_key(|copy| std::cmp::Reverse(copy.made_at));
        Ok(copies)
    }

    /// Whether the newest is older than a day. Those of a clock that was ahead do not count.
    fn is_due(&self, now: Timestamp) -> anyhow::Result<bool> {
        let newest = self.list()?.into_iter().find(|copy| copy.made_at <= now);
        Ok(newest.is_none_or(|copy| Time::from(now).since(copy.made_at.into()) >= EVERY))
    }

    fn directory(&self) -> PathBuf {
        self.data_dir.join(DIRECTORY)
    }

    fn companions(&self) -> anyhow::Result<Vec<Companion>> {
        let mut found = Vec::new();
        for name in tls::AUTHORITY_FILES {
            let path = self.data_dir.join(name);
            match fs::read(&path) {
                Ok(bytes) => found.push(Companion { name: name.to_owned(), bytes }),
                // A server without TLS of its own has none.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        Ok(found)
    }

    fn point_newest_at(&self, path: &Path) -> anyhow::Result<()> {
        let (newest, link) = (self.newest_file(), self.directory().join("server.sqlite.partial"));
        let _ = fs::remove_file(&link);
        fs::hard_link(path, &link)
            .and_then(|()| fs::rename(&link, &newest))
            .with_context(|| format!("cannot make {}", newest.display()))
    }
}

/// A directory for copies, without what was left unfinished, and nobody else's until the lock is dropped.
fn prepare(directory: &Path) -> anyhow::Result<Flock<File>> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let lock = lock(directory)?;
    remove_leftovers(directory)?;
    Ok(lock)
}

/// The server and `admin copy-database` may want to make one at the same time.
fn lock(directory: &Path) -> anyhow::Result<Flock<File>> {
    let file = File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("cannot lock {}", directory.display()))
}

/// Copies that were not finished, because their maker was killed.
fn remove_leftovers(directory: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().contains(".partial") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn made_at(path: &Path) -> Option<Timestamp> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".sqlite")?;
    jiff::civil::DateTime::strptime(TIME, stem)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// Makes one a day until the server ends.
pub async fn run(app: App) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let (copies, now) = (app.copies.clone(), app.now());
        let done = tokio::task::spawn_blocking(move || daily(&copies, now)).await;
        let noted = match done.unwrap_or_else(|error| Err(error.into())) {
            Ok(None) => continue,
            Ok(Some(copy)) => {
                tracing::info!(path = %copy.path.display(), "the database was copied");
                app.database.write(move |write| alerts::clear(write, AlertKind::Server, SUBJECT, now)).await
            }
            Err(error) => {
                let what = format!("The daily copy of the server's database failed: {error:#}");
                tracing::error!(error = format!("{error:#}"), "the database could not be copied; it is tried again");
                let next = "make room in the data directory or mend it; it is tried again every ten minutes";
                app.database
                    .write(move |write| alerts::raise(write, (AlertKind::Server, SUBJECT), (&what, Some(next)), now))
                    .await
            }
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "an alert could not be noted");
        }
    }
}

fn daily(copies: &Copies, now: Time) -> anyhow::Result<Option<DatabaseCopy>> {
    let now = Timestamp::from_millisecond(now.ms())?;
    copies.is_due(now)?.then(|| copies.make(now)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::open;

    fn copies() -> (Copies, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        drop(open::writable(&config.database_file()).unwrap());
        (Copies::of(&config), dir)
    }

    fn day(number: i64) -> Time {
        Time::from_ms(1_790_000_000_000 + number * 86_400_000)
    }

    #[test]
    fn one_a_day_is_made_and_the_last_seven_stay() {
        let (copies, _dir) = copies();
        for number in 0..10 {
            assert!(daily(&copies, day(number)).unwrap().is_some());
            assert!(daily(&copies, day(number).after(Duration::from_secs(23 * 3600))).unwrap().is_none());
        }
        let found = copies.list().unwrap();
        assert_eq!(found.len(), KEPT);
        assert_eq!(Time::from(found[0].made_at).unix_s(), day(9).unix_s());
        let newest = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        assert_eq!(newest(&copies.newest_file()), newest(&found[0].path));
    }

    #[test]
    fn copies_that_are_wanted_at_the_same_time_are_made_one_after_the_other() {
        let (copies, dir) = copies();
        fs::create_dir_all(dir.path().join("copies")).unwrap();
        fs::write(dir.path().join("copies/20200101T000000Z.sqlite.1.partial"), "of a maker that was killed").unwrap();
        let now = Timestamp::from_millisecond(day(0).ms()).unwrap();
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4).map(|_| scope.spawn(|| copies.make(now).unwrap().path)).collect();
            for maker in makers {
                copy::examine(&maker.join().unwrap()).unwrap();
            }
        });
        assert_eq!(fs::read_dir(dir.path().join("copies")).unwrap().count(), 2, "one copy, and the name of the newest");
    }

    #[test]
    fn what_a_keeper_takes_is_of_the_moment_and_costs_no_daily_copy() {
        let (copies, _dir) = copies();
        for number in 0..9 {
            daily(&copies, day(number)).unwrap();
        }
        for _ in 0..3 {
            copy::examine(&copies.make_outgoing().unwrap()).unwrap();
        }
        assert_eq!(copies.list().unwrap().len(), KEPT);
    }

    #[test]
    fn a_clock_set_back_does_not_end_the_copies() {
        let (copies, _dir) = copies();
        for number in 100..110 {
            daily(&copies, day(number)).unwrap().unwrap();
        }
        let made = daily(&copies, day(1)).unwrap().unwrap();
        assert!(made.path.exists() && daily(&copies, day(1)).unwrap().is_none());
    }

    #[test]
    fn the_authority_travels_with_the_database() {
        let (copies, dir) = copies();
        fs::write(dir.path().join("ca.pem"), "certificate").unwrap();
        fs::write(dir.path().join("ca.key"), "key").unwrap();
        let made = daily(&copies, day(0)).unwrap().unwrap();
        let prepared = copy::prepare(&made.path, &dir.path().join("other.sqlite")).unwrap();
        let names: Vec<_> = prepared.companions.iter().map(|companion| companion.name.as_str()).collect();
        assert_eq!(names, ["ca.key", "ca.pem"]);
    }
}
