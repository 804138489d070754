//! The real `icecore` in the guest: a repository on the disk for storage, and backups of live disks into it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::store::StoreDirectory;

/// Where snapshots are recorded; gone with the boot.
pub const STATE: &str = "/tmp/icecore-state";

/// A repository with its key.
pub struct Repository {
    dir: PathBuf,
}

/// What a backup says of itself.
pub struct Point {
    /// All of it.
    pub outcome: Value,
}

impl Point {
    /// A number of its statistics.
    pub fn number(&self, field: &str) -> Result<u64> {
        self.outcome[field].as_u64().with_context(|| format!("no number {field} in {}", self.outcome))
    }

    /// Its id.
    pub fn id(&self) -> Result<&str> {
        self.outcome["id"].as_str().context("the outcome has no id")
    }

    /// Fails unless it is of this kind.
    pub fn ensure_kind(&self, kind: &str) -> Result<()> {
        ensure!(self.outcome["kind"] == kind, "it is not {kind} but: {}", self.outcome);
        Ok(())
    }

    /// Fails unless everything was read for a reason that contains `words`.
    pub fn ensure_full_read(&self, words: &str) -> Result<()> {
        self.ensure_kind("full_read")?;
        let reason = self.outcome["full_read_reason"].as_str().unwrap_or_default();
        ensure!(reason.contains(words), "the reason does not say {words:?}: {reason}");
        Ok(())
    }
}

impl Repository {
    /// A new one in a directory that is there.
    pub fn make(parent: &Path, name: &str) -> Result<Self> {
        let repository = Self { dir: parent.join(name) };
        let output = repository.command(&["init"]).output().context("cannot start icecore")?;
        ensure!(output.status.success(), "`icecore init` failed: {}", errors(&output));
        Ok(repository)
    }

    /// One that was made before.
    pub fn existing(parent: &Path, name: &str) -> Self {
        Self { dir: parent.join(name) }
    }

    /// One on the disk for storage.
    pub fn on(store: &StoreDirectory) -> Result<Self> {
        Self::make(store.path(), "repository")
    }

    /// `icecore` with this repository and its key.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("icecore");
        command.args(args).stdin(Stdio::null());
        command.env("ICECORE_REPO", &self.dir).env("ICECORE_KEY_FILE", self.dir.with_extension("key"));
        command.env("ICECORE_STATE_DIR", STATE).env("ICECORE_INDEX_DIR", "/tmp/icecore-index").env("HOME", "/tmp");
        command
    }

    /// A verb that must succeed; what it says as JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let shown = args.join(" ");
        let began = Instant::now();
        let output = self.command(&[&["--json"], args].concat()).output().context("cannot start icecore")?;
        println!("icecore {shown}: {} ms", began.elapsed().as_millis());
        ensure!(output.status.success(), "`icecore {shown}` failed ({}): {}", output.status, errors(&output));
        serde_json::from_slice(&output.stdout).with_context(|| format!("`icecore {shown}` gives no JSON"))
    }

    /// A verb that must fail with this exit code and say all of this.
    pub fn fails(&self, args: &[&str], code: i32, says: &[&str]) -> Result<()> {
        ensure_failed(&self.command(args).output().context("cannot start icecore")?, code, says)
    }

    /// A backup as a point of the name `live`.
    pub fn backup(&self, disks: &[&Path], more: &[&str]) -> Result<Point> {
        let disks: Vec<&str> = disks.iter().filter_map(|disk| disk.to_str()).collect();
        let args = [&["backup", "--name", "live"], more, &disks[..]].concat();
        Ok(Point { outcome: self.json(&args)? })
    }

    /// Restores a disk of a point into a new file.
    pub fn restore(&self, point: &Point, disk: Option<&str>, to: &Path) -> Result<()> {
        let _ = std::fs::remove_file(to);
        let to = to.to_str().context("a path is not UTF-8")?;
        let disk: Vec<&str> = disk.iter().flat_map(|disk| ["--disk", *disk]).collect();
        self.json(&[&["restore", point.id()?, "--to", to], &disk[..]].concat()).map(drop)
    }
}

/// What a failed run must look like.
pub fn ensure_failed(output: &Output, code: i32, says: &[&str]) -> Result<()> {
    let errors = errors(output);
    ensure!(output.status.code() == Some(code), "it ended with {} instead of {code}: {errors}", output.status);
    for words in says {
        ensure!(errors.contains(words), "it does not say {words:?}: {errors}");
    }
    Ok(())
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing of a backup is left: no snapshot, no record of one, no memory that is mounted for one.
pub fn ensure_nothing_left() -> Result<()> {
    let output =
        Command::new("icecore").args(["--json", "tracker", "snapshot", "list"]).env("HOME", "/tmp").output()?;
    let left: Value = serde_json::from_slice(&output.stdout).context("the list of snapshots")?;
    ensure!(left.as_array().is_some_and(Vec::is_empty), "snapshots are left: {left}");
    let records = std::fs::read_dir(Path::new(STATE).join("snapshots")).map_or(0, Iterator::count);
    ensure!(records == 0, "{records} records of snapshots are left");
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    ensure!(!mounts.contains(STATE), "memory for a snapshot is still mounted: {mounts}");
    Ok(())
}

/// Ends tracking of devices that a backup began to track; scenarios leave no filter.
pub struct Detached<'d>(pub Vec<&'d Path>);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        for device in &self.0 {
            let _ = Command::new("icecore").args(["tracker", "detach"]).arg(device).env("HOME", "/tmp").output();
        }
    }
}
