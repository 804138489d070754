//! Files by name through recovery points: the keeper lists them by itself, and what killing it and damage cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance, Machine};
use e2e::{DiskImage, FileSystem, MIB, PartitionPlan};
use serde_json::Value;

/// The keeper looks for new points every few seconds.
const LISTED_WITHIN: Duration = Duration::from_secs(180);
const FILES: usize = 4000;

/// A server with two points of one disk, in which one file changed.
struct Kept {
    appliance: Appliance,
    points: Vec<String>,
    keeper: Machine,
}

impl Kept {
    fn new() -> Result<Self> {
        let appliance = Appliance::with(&[])?;
        let content = appliance.dir().join("content");
        fs::create_dir_all(content.join("etc/nginx"))?;
        fs::create_dir_all(content.join("many"))?;
        fs::write(content.join("etc/hostname"), "iceberg\n")?;
        fs::write(content.join("etc/odd\nname.conf"), "odd")?;
        fs::write(content.join("etc/nginx/NGINX.conf"), "worker_processes 1;\n")?;
        for number in 0..FILES {
            fs::write(content.join(format!("many/a-file-with-a-long-name-{number:05}")), "")?;
        }
        let path = appliance.dir().join("disk.img");
        let plans = [
            PartitionPlan::sized(FileSystem::Vfat, 40 * MIB),
            PartitionPlan::rest(FileSystem::Ext4).filled_from(&content),
        ];
        let image = DiskImage::create(&path, 104 * MIB, &plans)?;
        let machine = appliance.machine("web")?;
        let mut points = vec![id_of(&appliance.backup(&machine, &path, "web")?)?];
        let longer = appliance.dir().join("longer");
        fs::write(&longer, "iceberg.example.org\n")?;
        image.delete_file(2, "/etc/hostname")?;
        image.put_file(2, &longer, "/etc/hostname")?;
        points.push(id_of(&appliance.backup(&machine, &path, "web")?)?);
        let keeper = appliance.keeper("keeper")?;
        Ok(Self { appliance, points, keeper })
    }

    fn keep(&self) -> Result<Agent> {
        let mut command = self.appliance.keeper_command(&self.keeper)?;
        command.arg("--show-files");
        Agent::start(command, &self.keeper)
    }

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

fn id_of(point: &Value) -> Result<String> {
    Ok(point["id"].as_str().context("a point has an id")?.to_owned())
}

fn paths(found: &Value) -> Vec<&str> {
    found["files"].as_array().into_iter().flatten().filter_map(|file| file["path"].as_str()).collect()
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
    ensure!(paths(&hosts) == ["/etc/hostname"] && file["versions"] == 2 && file["points"] == 2, "{hosts}");
    ensure!(file["partition"] == 2 && file["newest_point"] == kept.points[1].as_str(), "{hosts}");
    let many: Vec<String> = (0..FILES).map(|number| format!("/many/a-file-with-a-long-name-{number:05}")).collect();
    ensure!(paths(&kept.searched("a-file")?) == many, "none is missing");

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
        ensure!(paths(&found).is_empty() || found["points_searched"] != 2, "it is half believed: {found}");
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
