//! What a backup is asked to do, what it tells afterwards, and what it refuses.

use super::audit::Audit;
use crate::hooks::{HookReport, HookSettings, HookSubject};
use crate::priority::Priority;
use crate::source::provider::ProviderKind;
use anyhow::{Result, bail};
use repo_format::codec::LEVELS;
use repo_format::id::ManifestId;
use repo_format::manifest::{Consistency, MAX_DISKS, MAX_NAME_BYTES, PointKey, PointKind, Stats};
use serde::Serialize;
use std::path::PathBuf;

/// What to back up, and how.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// Block devices and image files; all of them become one recovery point.
    pub sources: Vec<PathBuf>,
    /// Name of the points; by default the host and the absolute paths.
    pub name: Option<String>,
    /// Name of this machine.
    pub host: String,
    /// What changed since a point, when somebody knows.
    pub changed: Option<ChangedList>,
    /// Read everything even so, and report every difference outside the list.
    pub full_read: bool,
    /// The same for each disk of which not everything was read for so many days.
    pub full_read_every_days: Option<u32>,
    /// zstd level.
    pub level: i32,
    /// Most bytes read in a second.
    pub limit_bytes_per_s: Option<u64>,
    /// Read only what file systems use; the rest is stored as zero.
    pub used_blocks_only: bool,
    /// Partitions whose content is stored as zero.
    pub exclude_partitions: Vec<u32>,
    /// The provider that must be used; the best one unless given.
    pub provider: Option<ProviderKind>,
    /// Places that must not lie on a source: the repository, the index.
    pub guarded: Vec<Guarded>,
    /// What runs round the instant.
    pub hooks: HookSettings,
    /// How much reading and compressing yields to others.
    pub priority: Priority,
}

/// A place that a backup writes to.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// `the repository`, `the index`.
    pub what: &'static str,
    /// Where.
    pub path: PathBuf,
}

/// A list of changed extents.
#[derive(Clone, Debug)]
pub struct ChangedList {
    /// File of `offset length` lines.
    pub file: PathBuf,
    /// Since which point; the latest of the same name unless given.
    pub since: Option<PointKey>,
}

/// Why a backup was refused before it touched anything. A person can lift each of them knowingly.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The repository would back up itself.
    #[error(
        "{what} lies on {source}, which is to be backed up: {chain}. A repository on the disk it backs up is lost with it, and grows while it reads itself. Choose a place on another disk (--repo, --index-dir), or back up only the other partitions"
    )]
    RepositoryOnSource {
        /// The repository or the index.
        what: &'static str,
        /// Disk.
        r#source: String,
        /// Devices in between.
        chain: String,
    },
    /// A changed list with nothing to apply it to.
    #[error(
        "a list of changed extents needs a recovery point of the same disk to start from: {why}. Run one backup without the list first"
    )]
    ListWithoutPoint {
        /// What is missing.
        why: String,
    },
}

/// A committed point.
#[derive(Clone, Debug, Serialize)]
pub struct BackupOutcome {
    /// Its id.
    pub id: ManifestId,
    /// Its place among the points of its name.
    pub sequence: u64,
    /// Its name.
    pub name: String,
    /// How it came to be.
    pub kind: PointKind,
    /// Why everything was read.
    pub full_read_reason: Option<String>,
    /// Counts; `bytes_stored` includes the manifest here.
    #[serde(flatten)]
    pub stats: Stats,
    /// Who held the disks still.
    pub provider: &'static str,
    /// What the point says of its disks.
    pub consistency: Consistency,
    /// Whether all disks are of the same instant.
    pub one_instant: bool,
    /// What became of each disk.
    pub disks: Vec<DiskOutcome>,
    /// What was read besides the changes, to see whether the list of them is complete; none without a list.
    pub audit: Option<Audit>,
    /// What ran round the instant, and how it went.
    #[serde(skip_serializing_if = "HookReport::is_empty")]
    pub hooks: HookReport,
}

/// One disk of a committed point.
#[derive(Clone, Debug, Serialize)]
pub struct DiskOutcome {
    /// Its name in the point.
    pub name: String,
    /// Why all of it was read; none when only changes were, or when it is the first point.
    pub full_read_reason: Option<String>,
    /// Its size.
    pub bytes_source: u64,
    /// What was read of it.
    pub bytes_read: u64,
    /// The disk in 128 equal parts: how many percent of each changed since the point before, 0 only for nothing at all. Empty without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed_percent: Vec<u8>,
}

impl BackupRequest {
    /// Refuses values that cannot be meant.
    pub fn check(&self) -> Result<()> {
        if self.sources.is_empty() {
            bail!("name at least one disk or image file to back up");
        }
        if self.sources.len() > MAX_DISKS {
            bail!("a recovery point holds at most {MAX_DISKS} disks; make several backups");
        }
        if !LEVELS.contains(&self.level) {
            bail!("--level is {}; allowed is {} to {}", self.level, LEVELS.start(), LEVELS.end());
        }
        if self.limit_bytes_per_s == Some(0) {
            bail!("--limit 0 would never end; leave it out for no limit");
        }
        if self.full_read_every_days == Some(0) {
            bail!("--full-read-every 0 is no interval; --full-read reads everything each time");
        }
        if let Some(name) = &self.name
            && (name.is_empty() || name.len() > MAX_NAME_BYTES)
        {
            bail!("a name has 1 to {MAX_NAME_BYTES} bytes");
        }
        Ok(())
    }

    /// What hooks are told.
    pub(super) fn hook_subject(&self) -> HookSubject {
        let disks = self.absolute_sources().collect();
        HookSubject { point_name: self.point_name(), host: self.host.clone(), disks }
    }

    fn absolute_sources(&self) -> impl Iterator<Item = PathBuf> {
        // What has no absolute path is refused when it is opened.
        self.sources.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
    }

    /// The name of the points: as given, or host and absolute paths.
    pub fn point_name(&self) -> String {
        let paths =
            || self.absolute_sources().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",");
        let mut name = self.name.clone().unwrap_or_else(|| format!("{}:{}", self.host, paths()));
        while name.len() > MAX_NAME_BYTES {
            name.pop();
        }
        name
    }
}
