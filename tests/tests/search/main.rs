//! Files by name through recovery points: listed by the keeper, searched beside the repository and over the server.

mod beside;
mod served;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
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
}

/// Paths of the many files, in their order.
fn many() -> Vec<String> {
    (0..FILES).map(|number| format!("/many/a-file-with-a-long-name-{number:05}")).collect()
}

fn id_of(point: &Value) -> Result<String> {
    Ok(point["id"].as_str().context("a point has an id")?.to_owned())
}

/// Paths in a list of what was found.
fn paths(found: &Value) -> Vec<&str> {
    found.as_array().into_iter().flatten().filter_map(|file| file["path"].as_str()).collect()
}
