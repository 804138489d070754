//! Which snapshots of the module are ours: a small file each, durable before TAKE.
//!
//! A process that is killed cannot destroy its snapshot. The next one finds the file, sees that its owner is dead, and does.
//! Snapshots without such a file belong to other programs and are left alone.

use super::held::is_gone;
use crate::tracker::{Id, Module};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The records of this machine.
pub struct Records {
    dir: PathBuf,
}

/// The record of a living snapshot.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
}

/// What is in a record.
#[derive(Serialize, Deserialize)]
struct Body {
    owner: Owner,
}

/// A process of one boot. Its number alone may have gone to another process since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    /// When it was started, in clock ticks since the boot.
    started_ticks: u64,
    boot: String,
}

impl Owner {
    fn me() -> Result<Self> {
        let pid = std::process::id();
        let started_ticks = started_ticks(pid).context("looking up when this process was started")?;
        Ok(Self { pid, started_ticks, boot: boot()? })
    }

    /// Is it alive? When in doubt it is.
    fn lives(&self) -> bool {
        boot().is_ok_and(|now| now == self.boot) && started_ticks(self.pid) == Some(self.started_ticks)
    }
}

fn boot() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the id of this boot")?;
    Ok(text.trim().to_owned())
}

/// Field 22 of /proc/PID/stat. The name in field 2 may hold anything, so fields are counted from its closing bracket.
fn started_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

impl Records {
    /// In a directory that is made if it is not there.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let dir = state_dir.join("snapshots");
        fs::create_dir_all(&dir).with_context(|| {
            format!("making {}, where snapshots are recorded (ICECORE_STATE_DIR chooses another place)", dir.display())
        })?;
        Ok(Self { dir })
    }

    /// Records a snapshot as this process's own; durable when it returns.
    pub fn enter(&self, id: Id) -> Result<Record> {
        let path = self.dir.join(id.to_string());
        let body = serde_json::to_vec(&Body { owner: Owner::me()? })?;
        let context = || format!("writing {}", path.display());
        let mut file = File::create_new(&path).with_context(context)?;
        let record = Record { path: path.clone() };
        file.write_all(&body).with_context(context)?;
        file.sync_all().with_context(context)?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).with_context(context)?;
        Ok(record)
    }

    /// Destroys the snapshots whose owners are dead; returns them. What cannot be read names no owner and keeps its snapshot.
    pub fn clean_up(&self, module: &dyn Module) -> Result<Vec<Id>> {
        let mut released = Vec::new();
        let living = module.list()?;
        let entries = fs::read_dir(&self.dir).with_context(|| format!("listing {}", self.dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Ok(id) = name.parse::<Id>() else { continue };
            let owner = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Body>(&bytes).ok());
            if owner.as_ref().is_some_and(|body| body.owner.lives()) {
                continue;
            }
            if living.contains(&id) {
                if owner.is_none() {
                    tracing::warn!(snapshot = %id, record = %path.display(), "a snapshot's record cannot be read; see whose it is, then `icecore tracker snapshot destroy`");
                    continue;
                }
                match module.destroy(id) {
                    Err(error) if is_gone(&error) => {}
                    other => other?,
                }
                released.push(id);
            }
            Record { path }.strike()?;
        }
        Ok(released)
    }
}

impl Record {
    /// Takes it away once the snapshot is gone. Need not be durable: a record of nothing harms nobody.
    pub fn strike(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("removing {}", self.path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::fake::{BLOCK, Fake};

    struct Bench {
        dir: tempfile::TempDir,
        records: Records,
        fake: Fake,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let records = Records::open(&dir.path().join("state")).unwrap();
            Self { dir, records, fake: Fake::new(BLOCK, false) }
        }

        fn snapshot(&self) -> Id {
            self.fake.create(Path::new("/var/tmp"), 4096, false).unwrap()
        }

        /// The record as if another process had written it.
        fn owned_by(&self, id: Id, change: impl FnOnce(&mut Owner)) {
            let mut owner = Owner::me().unwrap();
            change(&mut owner);
            let path = self.dir.path().join("state/snapshots").join(id.to_string());
            fs::write(path, serde_json::to_vec(&Body { owner }).unwrap()).unwrap();
        }

        fn left(&self) -> usize {
            fs::read_dir(self.dir.path().join("state/snapshots")).unwrap().count()
        }
    }

    #[test]
    fn only_recorded_snapshots_of_dead_owners_are_destroyed() {
        let bench = Bench::new();
        let [foreign, mine, dead, reused, earlier_boot] = std::array::from_fn(|_| bench.snapshot());
        let record = bench.records.enter(mine).unwrap();
        bench.owned_by(dead, |owner| owner.pid = u32::MAX);
        bench.owned_by(reused, |owner| owner.started_ticks += 1);
        bench.owned_by(earlier_boot, |owner| owner.boot = "another".into());
        let mut released = bench.records.clean_up(&bench.fake).unwrap();
        released.sort();
        assert_eq!(released, [dead, reused, earlier_boot]);
        assert_eq!((bench.fake.list().unwrap(), bench.left()), (vec![foreign, mine], 1));
        record.strike().unwrap();
        assert_eq!(bench.left(), 0);
    }

    #[test]
    fn a_record_without_its_snapshot_is_taken_away_and_an_unreadable_one_is_no_reason_to_destroy() {
        let bench = Bench::new();
        bench.owned_by(Id([9; 16]), |owner| owner.pid = u32::MAX);
        let unclear = bench.snapshot();
        let dir = bench.dir.path().join("state/snapshots");
        fs::write(dir.join(unclear.to_string()), b"{").unwrap();
        fs::write(dir.join("note"), b"not a record").unwrap();
        assert_eq!(bench.records.clean_up(&bench.fake).unwrap(), []);
        assert_eq!(bench.fake.list().unwrap(), [unclear]);
        assert_eq!(bench.left(), 2, "the unreadable record and the foreign file stay");
    }
}
