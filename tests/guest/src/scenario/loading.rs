//! The module as an administrator loads it: by modprobe, with parameters.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::disk::Disk;
use crate::filter::Tracked;
use crate::kernel_module::Unloaded;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::storm::Area;
use crate::trial::Trial;
use crate::{snapshot, tool};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("loading/modprobe", "`modprobe blksnap` brings everything up, and down again", modprobe)
        .with_module()
        .within_s(120),
    Scenario::new("loading/parameters", "parameters on modprobe's line are in force", parameters).with_module(),
];

fn parameter(name: &str) -> Result<u64> {
    let path = Path::new("/sys/module/blksnap/parameters").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("there is no parameter {name}"))?;
    Ok(text.trim().parse()?)
}

fn modprobe() -> Result<()> {
    let unloaded = Unloaded::new()?;
    tool::run("modprobe", &["blksnap"])?;
    drop(snapshot::control()?);
    ensure!(parameter("diff_storage_minimum")? == 2_097_152, "diff_storage_minimum begins elsewhere");
    ensure!(parameter("chunk_maximum_in_queue")? == 256, "chunk_maximum_in_queue begins elsewhere");
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 14);
    Trial { rounds: 1, ..Trial::new(vec![&tracked], vec![area]) }.run()?;
    tracked.detach()?;
    tool::run("modprobe", &["blksnap"]).context("when it is loaded")?;
    tool::run("modprobe", &["--remove", "blksnap"])?;
    drop(unloaded);
    Ok(())
}

fn parameters() -> Result<()> {
    let unloaded = Unloaded::new()?;
    tool::run("modprobe", &["blksnap", "diff_storage_minimum=16384", "chunk_maximum_in_queue=64"])?;
    ensure!(parameter("diff_storage_minimum")? == 16384, "diff_storage_minimum is not as it was given");
    ensure!(parameter("chunk_maximum_in_queue")? == 64, "chunk_maximum_in_queue is not as it was given");
    let store = StoreDirectory::new()?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let snapshot = Snapshot::take_of(store.path(), AMPLE_SECTORS, &[&tracked])?;
    let capacity = snapshot.statistics()?.capacity_sectors;
    ensure!((1..1 << 16).contains(&capacity), "with a minimum of 16384 sectors the store begins with {capacity}");
    snapshot.destroy()?;
    tracked.detach()?;
    store.close()?;
    tool::run("modprobe", &["--remove", "blksnap"])?;
    // Beyond their range they are cut, not refused.
    tool::run("modprobe", &["blksnap", "chunk_maximum_in_queue=1"])?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 14);
    Trial { rounds: 1, ..Trial::new(vec![&tracked], vec![area]) }.run().context("with senseless parameters")?;
    tracked.detach()?;
    drop(unloaded);
    Ok(())
}
