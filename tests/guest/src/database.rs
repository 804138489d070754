//! Databases that are written to while their disk is backed up: every recovery point starts and passes its own checks.
//!
//! Here is what all of them have in common: load, points, restores. What a database is asked stands in a file of its own, where its programs
//! are in [`system`]; which machine it is, who backs it up and how it is looked into is the scenario's ([`Machine`]).

mod postgresql;
mod sqlite;
mod system;

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Child;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::debian::ensure_same;
use crate::vm;

pub use postgresql::Cluster;
pub use sqlite::Ledger;
pub use system::{System, become_inside};

/// Which points are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// Every one.
    All,
    /// The last one, an incremental.
    Last,
}

/// Where databases live, and what backs them up.
pub trait Machine {
    /// Makes a recovery point of the disk with the databases; what it says of itself.
    fn back_up(&self) -> Result<Value>;

    /// Restores a point, mounts it, which replays the journal, looks, and lets the file system be checked.
    fn look_into(&self, point: &Value, look: &dyn Fn(&Path) -> Result<()>) -> Result<()>;
}

/// A database on the live disk, under load.
pub trait Database {
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

/// Makes points under load, then restores them and lets every database say what it thinks of itself.
pub fn every_point_is_whole(
    machine: &dyn Machine,
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
        vm::wait_until("a database stands still", || {
            Ok(committed(databases)?.iter().zip(&goals).all(|(count, goal)| count >= goal))
        })?;
        let before = committed(databases)?;
        points.push((machine.back_up()?, before, committed(databases)?));
    }
    databases.iter_mut().try_for_each(|database| database.stop())?;
    for (number, (point, before, after)) in points.iter().enumerate() {
        let kind = if number == 0 { "full" } else { "incremental" };
        ensure_same("the kind of a point", &point["kind"].as_str(), &Some(kind))?;
        if restored == Restored::Last && number + 1 < points.len() {
            continue;
        }
        let look = |root: &Path| {
            let mut all = databases.iter().zip(before.iter().zip(after));
            all.try_for_each(|(database, (before, after))| database.judge(root, *before..=*after))
        };
        machine.look_into(point, &look).with_context(|| format!("point {}", number + 1))?;
    }
    Ok(())
}
