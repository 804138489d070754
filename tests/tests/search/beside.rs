//! Beside the repository, and what killing the keeper and damage cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Kept, LISTED_WITHIN, many, paths};

impl Kept {
    /// What a search beside the repository finds that lists nothing itself, once both points are listed. (The copies of the server's
    /// database are points of another name.)
    fn searched(&self, pattern: &str) -> Result<Value> {
        let until = Instant::now() + LISTED_WITHIN;
        loop {
            let found =
                self.appliance.local(&["search", pattern, "--name", "web", "--listed-only", "--limit", "5000"])?;
            if found["points_searched"] == 2 {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "nothing is listed: {found}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn objects(&self, below: &str) -> Vec<PathBuf> {
        let (mut found, mut left) = (Vec::new(), vec![self.appliance.repository().join(below)]);
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { left.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }
}

/// A keeper that is killed while it lists leaves parts that count for nothing, and the next one finds everything.
#[test]
fn a_killed_keeper_and_damaged_lists_cost_time_and_no_file() -> Result<()> {
    let kept = Kept::new()?;
    for objects in ["leaves", "catalogs"] {
        let running = kept.keep()?;
        let until = Instant::now() + LISTED_WITHIN;
        while kept.objects(objects).is_empty() {
            ensure!(Instant::now() < until, "nothing is listed: {}", running.said()?);
            std::thread::sleep(Duration::from_millis(1));
        }
        running.kill()?;
    }
    let running = kept.keep()?;
    let hosts = kept.searched("HOSTN*")?;
    let file = &hosts["files"][0];
    ensure!(paths(&hosts["files"]) == ["/etc/hostname"] && file["versions"] == 2 && file["points"] == 2, "{hosts}");
    ensure!(file["partition"] == 2 && file["newest_point"] == kept.points[1].as_str(), "{hosts}");
    ensure!(paths(&kept.searched("a-file")?["files"]) == many(), "none is missing");

    // Every part is damaged. A search says that it was not searched, and the keeper makes it again without a restart.
    let leaves = kept.objects("leaves");
    for leaf in &leaves {
        spoil(leaf)?;
    }
    let until = Instant::now() + LISTED_WITHIN;
    loop {
        let found = kept.appliance.local(&["search", "HOSTN*", "--name", "web", "--listed-only", "--limit", "5000"])?;
        if found == hosts {
            break;
        }
        ensure!(paths(&found["files"]).is_empty() || found["points_searched"] != 2, "it is half believed: {found}");
        ensure!(Instant::now() < until, "it is not made again: {}", running.said()?);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn spoil(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Another file takes its place, as on a medium that gives back other bytes.
    let other = path.with_extension("bad");
    fs::write(&other, bytes)?;
    fs::rename(other, path)?;
    Ok(())
}
