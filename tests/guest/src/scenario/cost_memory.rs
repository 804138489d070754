//! What the module needs of memory: only for `cargo xtask bench --kernel`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};

use crate::block_device::BlockDevice;
use crate::disk::{Disk, MemoryDisks};
use crate::filter::Tracked;
use crate::kernel_module;
use crate::meter::Meter;
use crate::parameter::Parameter;
use crate::registry::Scenario;
use crate::scenario::cost::{Block, take};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("cost/map_memory", "the map of a TiB that was touched all over", map_memory)
        .with_module()
        .only_measures()
        .in_own_boot()
        .within_s(600),
    Scenario::new("cost/discard_memory", "memory in use while 768 MiB are discarded under a snapshot", discard_memory)
        .with_module()
        .only_measures()
        .in_own_boot()
        .within_s(1800),
];

/// Changes are spread this far apart: no region of the map, whatever its size, stays untouched.
const DISTANCE_BYTES: u64 = 64 << 20;
const TIB: u64 = 1 << 40;
const DISCARD_BYTES: u64 = 768 << 20;

/// A field of /proc/meminfo in bytes.
fn meminfo(field: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field}"))?;
    let kib: u64 = line.split_whitespace().nth(1).context("a field of meminfo without a number")?.parse()?;
    Ok(kib * 1024)
}

/// The same once it stays as it is: what is freed is not free at once.
fn at_rest(field: &str) -> Result<u64> {
    const NOISE_BYTES: u64 = 64 << 10;
    let mut last = u64::MAX;
    for _ in 0..30 {
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        let now = meminfo(field)?;
        if now.abs_diff(last) <= NOISE_BYTES {
            return Ok(now);
        }
        last = now;
        nix::poll::poll(&mut [], 1000_u16)?;
    }
    bail!("{field} does not come to rest")
}

/// The readable map and that of the current interval are both full: every region changed before TAKE and after it.
fn map_memory() -> Result<()> {
    kernel_module::load("blksnap", "")?;
    let disks = MemoryDisks::new(1, TIB >> 20, "memory_backed=0")?;
    let (path, store) = (disks.node(0)?, Disk::Store.node()?);
    let mut meter = Meter::new(&[])?;
    let block = Block::of(&path)?;
    // What the first snapshots make the kernel keep is no part of a map.
    for _ in 0..2 {
        fill_both_maps(&block, &store)?.detach()?;
    }
    let untracked_bytes = at_rest("MemFree:")?;
    let tracked = fill_both_maps(&block, &store)?;
    let used_bytes = untracked_bytes.saturating_sub(at_rest("MemFree:")?);
    let statistics = tracked.statistics()?;
    ensure!(statistics.coarse_regions == 0, "{} regions are tracked as a whole", statistics.coarse_regions);
    meter.say("memory", "map_bytes_per_tib", statistics.map_bytes as f64)?;
    meter.say("memory", "kernel_bytes_per_tib", used_bytes as f64)?;
    tracked.detach()
}

fn fill_both_maps(block: &Block, store: &Path) -> Result<Tracked> {
    let touch = || (0..TIB / DISTANCE_BYTES).try_for_each(|number| block.write(number * DISTANCE_BYTES));
    let tracked = Tracked::attach(block.path())?;
    touch()?;
    take(&tracked, store)?.destroy()?;
    touch()?;
    Ok(tracked)
}

/// On disks whose content is the host's, because a disk in memory would itself take and give memory.
fn discard_memory() -> Result<()> {
    kernel_module::load("blksnap", "")?;
    let mut meter = Meter::new(&[])?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    for (pieces, case) in [(None, "discard_pinned_bytes"), (Some(32), "discard_pinned_bytes_with_32_pieces")] {
        let bound = pieces.map(|pieces| Parameter::set("chunk_maximum_in_queue", pieces)).transpose()?;
        meter.say("memory", case, pinned_by_discard(&tracked)? as f64)?;
        bound.map_or(Ok(()), Parameter::restore)?;
    }
    tracked.detach()
}

fn pinned_by_discard(tracked: &Tracked) -> Result<u64> {
    let store = Disk::Store.node()?;
    let before = at_rest("MemAvailable:")?;
    let snapshot = take(tracked, &store)?;
    let device = BlockDevice::open(tracked.path())?;
    let statistics = tracked.statistics()?;
    let lowest = lowest_available_while(|| device.discard(0, DISCARD_BYTES))?;
    let preserved = tracked.statistics()?.preserved_bytes - statistics.preserved_bytes;
    ensure!(preserved == DISCARD_BYTES, "{preserved} of {DISCARD_BYTES} bytes were preserved");
    ensure!(tracked.snapshot_info()?.error_code == 0, "the discard spoiled the snapshot");
    snapshot.destroy()?;
    // What came free meanwhile must not hide what was in use.
    Ok(before.max(at_rest("MemAvailable:")?).saturating_sub(lowest))
}

fn lowest_available_while(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<u64> {
        let watcher = scope.spawn(|| -> Result<u64> {
            let mut lowest = meminfo("MemAvailable:")?;
            while !done.load(Ordering::Relaxed) {
                lowest = lowest.min(meminfo("MemAvailable:")?);
                nix::poll::poll(&mut [], 5_u8)?;
            }
            Ok(lowest)
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked?;
        watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?
    })
}
