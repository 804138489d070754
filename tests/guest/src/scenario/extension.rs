//! Our additions to the interface: wide numbers, interval ids, extents, counters, maps of huge disks.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::Uuid;
use kmod_logic::uapi::extension::{
    ChangedQuery, Extent, FEATURE_FINE_MAP, FEATURE_INTERVAL_IDS, FEATURE_STATISTICS, FEATURE_TIED_SNAPSHOTS,
};
use nix::errno::Errno;

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::filter::Tracked;
use crate::ioctl;
use crate::registry::Scenario;
use crate::scenario::abi::expect;
use crate::snapshot::{self, SMALL_SECTORS, Snapshot};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("extension/features", "the module says which additions it has", features).with_module(),
    Scenario::new("extension/intervals", "each interval has its own id, and old ids stay known", intervals)
        .with_module(),
    Scenario::new("extension/changed", "extents since a number are those of the map", changed).with_module(),
    Scenario::new("extension/stale", "a query that a TAKE has overtaken says so", stale).with_module(),
    Scenario::new("extension/huge_disk", "16 TiB are tracked by 64 KiB in little memory", huge_disk).with_module(),
];

fn end_interval(tracked: &Tracked) -> Result<()> {
    Snapshot::take_of(Path::new("/tmp"), SMALL_SECTORS, &[tracked])?.destroy()
}

fn features() -> Result<()> {
    let found = ioctl::features(&snapshot::control()?)?;
    let wanted = FEATURE_FINE_MAP | FEATURE_INTERVAL_IDS | FEATURE_STATISTICS | FEATURE_TIED_SNAPSHOTS;
    ensure!(found.bits & wanted == wanted, "the features are {:#x}", found.bits);
    ensure!(found.version == 1, "the version is {}", found.version);
    Ok(())
}

fn intervals() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let mut seen = Vec::new();
    for number in 1..=5 {
        end_interval(&tracked)?;
        let info = tracked.tracker_info()?;
        ensure!(info.number == number, "the number is {} instead of {number}", info.number);
        seen.push(info.interval);
    }
    let ids = ioctl::intervals(tracked.device(), 1, 16)?;
    ensure!(ids == seen, "the ids of intervals are {ids:?} instead of {seen:?}");
    let mut unique = seen.clone();
    unique.dedup();
    ensure!(unique.len() == 5 && !seen.contains(&Uuid::default()), "ids repeat: {seen:?}");
    expect("an interval that is to come", ioctl::intervals(tracked.device(), 6, 1), Errno::ENOENT)?;
    tracked.detach()
}

/// All extents since a number, asked for a few at a time.
fn extents(tracked: &Tracked, since: u64, at_once: usize) -> Result<Vec<Extent>> {
    let info = tracked.tracker_info()?;
    let mut query = ChangedQuery {
        generation: info.generation,
        number: info.number,
        since,
        length_bytes: info.capacity_bytes,
        ..ChangedQuery::default()
    };
    let mut found = Vec::new();
    while query.offset_bytes < info.capacity_bytes {
        query.length_bytes = info.capacity_bytes - query.offset_bytes;
        let (extents, next) = ioctl::changed(tracked.device(), query, at_once).context("CHANGED")?;
        ensure!(next > query.offset_bytes, "the query does not get on from {next}");
        query.offset_bytes = next;
        found.extend(extents);
    }
    Ok(found)
}

fn blocks_of(extents: &[Extent]) -> Vec<u64> {
    let blocks = |extent: &Extent| extent.offset_bytes / 65536..(extent.offset_bytes + extent.length_bytes) / 65536;
    extents.iter().flat_map(blocks).collect()
}

fn changed() -> Result<()> {
    let path = Disk::First.node()?;
    let tracked = Tracked::attach(&path)?;
    let file = DirectFile::open(&path)?;
    let blocks = |step: u64| (0..1 << 14).step_by(usize::try_from(step).unwrap_or(1)).collect::<Vec<u64>>();
    for step in [3001, 577] {
        for block in blocks(step) {
            file.write(&AlignedBuffer::new(4096), block * 65536 + 8192)?;
        }
        end_interval(&tracked)?;
    }
    ensure!(blocks_of(&extents(&tracked, 1, 1000)?) == blocks(577), "the extents since 1 are wrong");
    ensure!(extents(&tracked, 1, 3)? == extents(&tracked, 1, 1000)?, "extents depend on how many fit");
    let map = tracked.map()?;
    let by_map: Vec<u64> = (0..).zip(&map).filter(|(_, byte)| **byte > 0).map(|(block, _)| block).collect();
    ensure!(blocks_of(&extents(&tracked, 0, 7)?) == by_map, "the extents since 0 are not those of the map");
    ensure!(extents(&tracked, 2, 7)?.is_empty(), "there are extents since the last TAKE");
    tracked.detach()
}

fn stale() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    end_interval(&tracked)?;
    let info = tracked.tracker_info()?;
    let query = ChangedQuery {
        generation: info.generation,
        number: info.number,
        length_bytes: info.capacity_bytes,
        ..ChangedQuery::default()
    };
    ioctl::changed(tracked.device(), query, 4).context("CHANGED")?;
    expect("since the future", ioctl::changed(tracked.device(), ChangedQuery { since: 2, ..query }, 4), Errno::EINVAL)?;
    let beyond = ChangedQuery { offset_bytes: info.capacity_bytes + 1, ..query };
    expect("beyond the end", ioctl::changed(tracked.device(), beyond, 4), Errno::EINVAL)?;
    expect("no room", ioctl::changed(tracked.device(), query, 0), Errno::EINVAL)?;
    let other = ChangedQuery { generation: Uuid { bytes: [3; 16] }, ..query };
    expect("another generation", ioctl::changed(tracked.device(), other, 4), Errno::ESTALE)?;
    end_interval(&tracked)?;
    expect("after a TAKE", ioctl::changed(tracked.device(), query, 4), Errno::ESTALE)?;
    tracked.detach()
}

fn huge_disk() -> Result<()> {
    const TIB: u64 = 1 << 40;
    let disks = MemoryDisks::new(1, 16 << 20, "memory_backed=0 discard=0")?;
    let tracked = Tracked::attach(&disks.node(0)?)?;
    let info = tracked.info()?;
    ensure!(info.block_size == 65536, "blocks have {} bytes", info.block_size);
    ensure!(info.block_count == 1 << 28, "there are {} blocks", info.block_count);
    let empty = tracked.tracker_info()?.map_bytes;
    ensure!(empty <= 1 << 20, "an empty map takes {empty} bytes");
    let file = DirectFile::open(tracked.path())?;
    for step in 0..512 {
        file.write(&AlignedBuffer::new(4096), 3 * TIB + step * (TIB / 512))?;
    }
    end_interval(&tracked)?;
    let touched = tracked.tracker_info()?.map_bytes - empty;
    ensure!(touched <= 4 << 20, "a TiB that was touched all over takes {touched} bytes");
    let found = extents(&tracked, 0, 100)?;
    ensure!(found.len() == 512 && found[0].offset_bytes == 3 * TIB, "{} extents", found.len());
    tracked.detach()
}
