//! What a backup costs those who write to its disk meanwhile: how long their writes take, and what is copied for them. Only for
//! `cargo xtask bench --kernel`.
//!
//! The same program reads all of the same disk in three ways: as it is, from a snapshot of our module that it takes itself, and from one
//! of dm-snapshot. A writer touches another block of it every millisecond, from before the snapshot is taken until after it has gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::disk::MemoryDisks;
use crate::dm::Mapped;
use crate::icecore::{Detached, Repository, ensure_nothing_left};
use crate::kernel_module;
use crate::meter::{self, Meter, OPERATION_BYTES, RUNS};
use crate::random::Random;
use crate::registry::Scenario;
use crate::scenario::cost::Block;
use crate::storm::Area;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "cost/backup_dm",
        "writes during a backup of dm-snapshot's image, and of the disk as it is",
        without_module,
    )
    .with_module()
    .only_measures()
    .in_own_boot()
    .within_s(3600),
    Scenario::new("cost/backup", "writes during a backup by the module", with_module)
        .with_module()
        .only_measures()
        .in_own_boot()
        .within_s(3600),
];

/// Small, because emulation is slow; every block is written once at most, so that each write is a first touch.
const DISK_MIB: u64 = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// The disk that is backed up and one for what is overwritten.
struct Disks {
    _disks: MemoryDisks,
    origin: PathBuf,
    store: PathBuf,
}

impl Disks {
    fn new() -> Result<Self> {
        let disks = MemoryDisks::new(2, DISK_MIB, "")?;
        let [origin, store] = [disks.node(0)?, disks.node(1)?];
        // Gives every block its memory, and the program something to store.
        [&origin, &store].into_iter().try_for_each(|disk| Area::of_disk(0, disk, 0, DISK_MIB << 11).fill())?;
        Ok(Self { _disks: disks, origin, store })
    }

    fn meter(&self) -> Result<Meter> {
        Meter::new(&[("origin", &self.origin), ("store", &self.store)])
    }
}

/// Runs `work` and measures writes to `disk` as long as it lasts.
fn measure(meter: &mut Meter, case: &str, disk: &Path, run: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let over = AtomicBool::new(false);
    let before = meter.traffic()?;
    let (worked, took) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(disk, run, &over));
        let worked = work();
        over.store(true, Ordering::Relaxed);
        (worked, writer.join())
    });
    worked.with_context(|| format!("while measuring {case}"))?;
    let mut took = took.map_err(|_| anyhow!("the writer panicked"))??;
    ensure!(took.len() >= 200, "only {} writes in {case}", took.len());
    took.sort_unstable();
    let writes = took.len();
    meter.say(case, "median", took[writes / 2] as f64)?;
    meter.say(case, "percentile_99", took[writes * 99 / 100] as f64)?;
    meter.say(case, "longest", took[writes - 1] as f64)?;
    meter.say(case, "writes", writes as f64)?;
    let stored = meter.traffic()?[1][1] - before[1][1];
    meter.say(case, "stored_bytes_per_write", stored as f64 / writes as f64)
}

/// What each write took.
fn write_until(disk: &Path, run: u64, over: &AtomicBool) -> Result<Vec<u64>> {
    let block = Block::of(disk)?;
    let mut random = Random::new(run + 1);
    let count = (DISK_MIB << 20) / OPERATION_BYTES;
    let mut order: Vec<(u64, u64)> = (0..count).map(|number| (random.next(), number)).collect();
    order.sort_unstable();
    let mut took = Vec::new();
    for (_, number) in order {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let began = meter::counter();
        block.write(number * OPERATION_BYTES)?;
        took.push(meter::counter() - began);
        std::thread::park_timeout(PAUSE);
    }
    Ok(took)
}

/// A new repository in memory, so that everything is stored every time.
fn repository(number: u64) -> Result<Repository> {
    let place = Path::new("/tmp/cost-repository");
    if place.exists() {
        std::fs::remove_dir_all(place)?;
    }
    std::fs::create_dir_all(place)?;
    Repository::make(place, &format!("of-run-{number}"))
}

fn back_up(repository: &Repository, disk: &Path, more: &[&str]) -> Result<()> {
    repository.backup(&[disk], more)?.ensure_kind("full")
}

fn with_module() -> Result<()> {
    kernel_module::load("blksnap", "")?;
    let disks = Disks::new()?;
    let mut meter = disks.meter()?;
    let store = disks.store.to_string_lossy();
    for run in 0..RUNS {
        let repository = repository(run)?;
        measure(&mut meter, "backup/module", &disks.origin, run, || {
            back_up(&repository, &disks.origin, &["--provider", "module", "--snapshot-storage", &store])
        })?;
        ensure_nothing_left()?;
        drop(Detached(vec![&disks.origin]));
    }
    Ok(())
}

fn without_module() -> Result<()> {
    ensure!(!kernel_module::is_loaded("blksnap"), "the module is loaded already");
    let disks = Disks::new()?;
    let mut meter = disks.meter()?;
    let as_it_is = ["--provider", "direct", "--allow-live"];
    for run in 0..RUNS {
        measure(&mut meter, "backup/none", &disks.origin, run, || {
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        })?;
        let repository = repository(run)?;
        measure(&mut meter, "backup/unprotected", &disks.origin, run, || {
            back_up(&repository, &disks.origin, &as_it_is)
        })?;
    }
    let sectors = DISK_MIB << 11;
    let (origin, store) = (disks.origin.display(), disks.store.display());
    let upper = Mapped::new("cost-origin", &format!("0 {sectors} snapshot-origin {origin}"))?;
    for run in 0..RUNS {
        let repository = repository(run)?;
        measure(&mut meter, "backup/dm", &upper.node()?, run, || {
            tool::run("dmsetup", &["suspend", "cost-origin"])?;
            let image = Mapped::new("cost-image", &format!("0 {sectors} snapshot {origin} {store} N 8"));
            tool::run("dmsetup", &["resume", "--noudevsync", "cost-origin"])?;
            let image = image?;
            back_up(&repository, &image.node()?, &as_it_is)?;
            image.remove()
        })?;
    }
    upper.remove()
}
