//! Databases that are written to while their disk is backed up: every recovery point starts and passes its own checks.
//!
//! Here is what all of them have in common: load, points, restores. What a database is asked stands in a file of its own.

mod postgresql;
mod sqlite;

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Child;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{LoopDevice, ensure_same};
use crate::registry::Scenario;
use crate::tool;
use crate::vm::setup::{self, LIVE, REPOSITORY};
use postgresql::Cluster;
use sqlite::Ledger;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "debian/databases",
        "SQLite and PostgreSQL at work are whole in an incremental point of both",
        || {
            every_point_is_whole(
                "debian/databases",
                &mut [&mut Ledger::start(LIVE)?, &mut Cluster::start(LIVE)?],
                2,
                Restored::Last,
            )
        },
    )
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(900),
    Scenario::new("debian/sqlite", "a SQLite database in WAL mode is whole in every recovery point", || {
        every_point_is_whole("debian/sqlite", &mut [&mut Ledger::start(LIVE)?], 3, Restored::All)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(900),
    Scenario::new("debian/postgresql", "PostgreSQL under pgbench starts from every point, nothing amiss", || {
        every_point_is_whole("debian/postgresql", &mut [&mut Cluster::start(LIVE)?], 2, Restored::All)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(1500),
    Scenario::new("debian/postgresql_long", "the same over twelve points", || {
        every_point_is_whole("debian/postgresql_long", &mut [&mut Cluster::start(LIVE)?], 12, Restored::All)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(5400),
];

/// Which points are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Restored {
    All,
    Last,
}

/// A database on the live disk, under load.
trait Database {
    /// How much it has committed.
    fn committed(&self) -> Result<u64>;

    /// Ends load and database.
    fn stop(&mut self) -> Result<()>;

    /// Lets the one in a restored file system recover and checks it; it must have committed so much.
    fn judge(&self, root: &Path, committed: RangeInclusive<u64>) -> Result<()>;
}

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What each database commits at least between two points.
const COMMITS: u64 = 20;

/// Makes points of this name under load, then restores them and lets every database say what it thinks of itself.
fn every_point_is_whole(
    name: &str,
    databases: &mut [&mut dyn Database],
    rounds: usize,
    restored: Restored,
) -> Result<()> {
    let committed = |databases: &[&mut dyn Database]| -> Result<Vec<u64>> {
        databases.iter().map(|database| database.committed()).collect()
    };
    let mut points = Vec::new();
    for _ in 0..rounds {
        let goals: Vec<u64> = committed(databases)?.iter().map(|count| count + COMMITS).collect();
        crate::vm::wait_until("a database stands still", || {
            Ok(committed(databases)?.iter().zip(&goals).all(|(count, goal)| count >= goal))
        })?;
        let before = committed(databases)?;
        points.push((back_up(name)?, before, committed(databases)?));
    }
    databases.iter_mut().try_for_each(|database| database.stop())?;
    for (number, (point, before, after)) in points.iter().enumerate() {
        let kind = if number == 0 { "full" } else { "incremental" };
        ensure_same("the kind of a point", &point["kind"].as_str(), &Some(kind))?;
        if restored == Restored::Last && number + 1 < points.len() {
            continue;
        }
        look_into(point, |root| {
            let all = databases.iter().zip(before.iter().zip(after));
            all.into_iter().try_for_each(|(database, (before, after))| database.judge(root, *before..=*after))
        })
        .with_context(|| format!("point {}", number + 1))?;
    }
    Ok(())
}

fn back_up(name: &str) -> Result<Value> {
    let live = crate::disk::node_of("live")?;
    setup::icecore(&["backup", &live.to_string_lossy(), "--name", name, "--used-blocks-only"])
}

/// Restores a point, mounts its partition, which replays the journal, looks, and lets the file system be checked.
fn look_into(point: &Value, look: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let id = point["id"].as_str().context("a backup without an id")?;
    let target = Path::new(REPOSITORY).join("restored.img");
    setup::icecore(&["restore", id, "--to", &target.to_string_lossy()])?;
    let device = LoopDevice::of(&target)?;
    let partition = format!("{}p1", device.0);
    tool::run("mount", &[&partition, "/mnt"])?;
    let seen = look(Path::new("/mnt"));
    let unmounted = tool::run("umount", &["/mnt"]);
    // What was seen says more than a mount that is still in use because of it.
    seen?;
    unmounted?;
    tool::run("e2fsck", &["-f", "-n", &partition]).context("the restored file system is not clean")?;
    drop(device);
    Ok(std::fs::remove_file(&target)?)
}
