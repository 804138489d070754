//! A clock that programs believe and that a file moves: libfaketime, loaded into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

/// Moves the clock of the programs that were started with it.
pub struct FastClock {
    library: PathBuf,
    file: PathBuf,
}

impl FastClock {
    /// A clock whose offset stands in this file.
    pub fn new(file: &Path) -> Result<Self> {
        let library = library().context("libfaketime is not there; install the package faketime")?;
        Ok(Self { library, file: file.to_owned() })
    }

    /// Lets a program go by this clock. Only its calendar: what measures how long something takes goes on as always.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        command.env("NO_FAKE_STAT", "1").env("FAKETIME_DISABLE_SHM", "1");
    }

    /// Sets it, for all that go by it within a second.
    pub fn set(&self, to: SystemTime) -> Result<()> {
        let offset = match to.duration_since(SystemTime::now()) {
            Ok(ahead) => format!("+{}", ahead.as_secs()),
            Err(behind) => format!("-{}", behind.duration().as_secs()),
        };
        // Replaced as a whole: who reads half an offset is in another century.
        let written = self.file.with_extension("new");
        fs::write(&written, offset + "\n").with_context(|| format!("cannot write {}", written.display()))?;
        Ok(fs::rename(&written, &self.file)?)
    }
}

/// Where Debian puts it, for whatever processor.
fn library() -> Option<PathBuf> {
    let directories = fs::read_dir("/usr/lib").ok()?;
    let mut found: Vec<PathBuf> = directories
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .filter(|library| library.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_program_sees_the_time_that_was_set_and_the_next_one_too() {
        let dir = tempfile::tempdir().unwrap();
        let clock = FastClock::new(&dir.path().join("clock")).unwrap();
        for days in [30, 10, 0] {
            let set = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            clock.set(set).unwrap();
            let mut date = Command::new("date");
            clock.apply(date.arg("+%s"));
            let seen: u64 = String::from_utf8(date.output().unwrap().stdout).unwrap().trim().parse().unwrap();
            let set = set.duration_since(UNIX_EPOCH).unwrap().as_secs();
            assert!(seen.abs_diff(set) <= 60, "{seen} and {set}");
        }
    }
}
