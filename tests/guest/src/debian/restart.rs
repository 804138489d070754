//! Between two backups the machine restarts, in order or by a power cut: nobody knows what was written, so everything is read.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{LoopDevice, Phase};
use crate::random::Random;
use crate::registry::Scenario;
use crate::tool;
use crate::vm::setup::{self, LIVE, REPOSITORY};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("debian/reboot", "after a reboot the next backup reads everything and is right", || {
        restarts("debian/reboot", Phase::restart)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(400),
    Scenario::new("debian/power_cut", "after a power cut the next backup reads everything and is right", || {
        restarts("debian/power_cut", Phase::cut_power)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(400),
];

const FILES: u64 = 40;

fn restarts(name: &str, end: fn(&Phase) -> Result<()>) -> Result<()> {
    let phase = Phase::of(name)?;
    let live = crate::disk::node_of("live")?.to_string_lossy().into_owned();
    let directory = Path::new(LIVE).join(name.replace('/', "-"));
    let back_up = || setup::icecore(&["backup", &live, "--name", name]);
    if phase.number == 0 {
        std::fs::create_dir_all(&directory)?;
        write(&directory, 1)?;
        back_up()?;
        write(&directory, 2)?;
        let second = back_up()?;
        ensure!(second["kind"] == "incremental", "before the restart it was {}", second["kind"]);
        write(&directory, 3)?;
        return end(&phase);
    }
    let after = back_up()?;
    ensure!(after["kind"] == "full_read", "after the restart the backup was {}", after["kind"]);
    ensure!(after["full_read_reason"].as_str().is_some_and(|why| !why.is_empty()), "it does not say why: {after}");
    ensure_restores(&after, &directory, 3)?;
    write(&directory, 4)?;
    let next = back_up()?;
    ensure!(next["kind"] == "incremental", "the one after it was {}", next["kind"]);
    ensure_restores(&next, &directory, 4)
}

fn content(round: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(round * 1000 + number);
    let length = usize::try_from(1 + random.below(200_000)).unwrap_or(1);
    std::iter::repeat_with(|| random.next()).flat_map(u64::to_le_bytes).take(length).collect()
}

/// Writes every file anew, durably.
fn write(directory: &Path, round: u64) -> Result<()> {
    for number in 0..FILES {
        let path = directory.join(number.to_string());
        std::fs::write(&path, content(round, number))?;
        std::fs::File::open(path)?.sync_all()?;
    }
    Ok(std::fs::File::open(directory)?.sync_all()?)
}

fn ensure_restores(point: &Value, directory: &Path, round: u64) -> Result<()> {
    let id = point["id"].as_str().context("a backup without an id")?;
    let target = Path::new(REPOSITORY).join("restored.img");
    setup::icecore(&["restore", id, "--to", &target.to_string_lossy()])?;
    let device = LoopDevice::of(&target)?;
    let partition = format!("{}p1", device.0);
    tool::run("mount", &[&partition, "/mnt"])?;
    let place = Path::new("/mnt").join(directory.strip_prefix(LIVE)?);
    let wrong = (0..FILES)
        .find(|number| std::fs::read(place.join(number.to_string())).ok().as_ref() != Some(&content(round, *number)));
    tool::run("umount", &["/mnt"])?;
    tool::run("e2fsck", &["-f", "-n", &partition]).context("the restored file system is not clean")?;
    drop(device);
    std::fs::remove_file(&target)?;
    ensure!(wrong.is_none(), "file {wrong:?} of the restored disk is not that of round {round}");
    Ok(())
}
