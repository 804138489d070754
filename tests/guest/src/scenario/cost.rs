//! What the module costs, next to nothing at all and to dm-snapshot: only for `cargo xtask bench --kernel`.
//!
//! All cases use disks in memory that complete at once, so that only instructions count. A run of a case under a
//! snapshot has a snapshot of its own. The names of the cases are those that `xtask/src/bench/kernel` knows.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::MemoryDisks;
use crate::dm::Mapped;
use crate::filter::Tracked;
use crate::kernel_module;
use crate::meter::{DISK_MIB, Meter, OPERATION_BYTES, OPERATIONS, RUNS, neighbours, offsets};
use crate::registry::Scenario;
use crate::snapshot::Snapshot;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("cost/dm_snapshot", "dm-snapshot, to compare with", dm_snapshot)
        .with_module()
        .only_measures()
        .within_s(1200),
    Scenario::new("cost/raw", "a disk without any module", raw).with_module().only_measures().within_s(600),
    Scenario::new("cost/tracking", "the tracker, on this disk and on another one", tracking)
        .with_module()
        .only_measures()
        .within_s(600),
    Scenario::new("cost/snapshot", "writes under a snapshot and reads of its image", snapshot)
        .with_module()
        .only_measures()
        .within_s(1200),
    Scenario::new("cost/discard", "discards, raw, tracked and under a snapshot", discard)
        .with_module()
        .only_measures()
        .within_s(1200),
];

/// The disk that is measured, one for difference storage, and another one.
struct Disks {
    _disks: MemoryDisks,
    origin: PathBuf,
    store: PathBuf,
    other: PathBuf,
}

impl Disks {
    fn new() -> Result<Self> {
        let disks = MemoryDisks::new(3, DISK_MIB, "")?;
        let [origin, store, other] = [disks.node(0)?, disks.node(1)?, disks.node(2)?];
        fill(&origin)?;
        Ok(Self { _disks: disks, origin, store, other })
    }

    fn meter(&self) -> Result<Meter> {
        Meter::new(&[("origin", &self.origin), ("store", &self.store)])
    }
}

/// Gives every block that will be touched its memory, so that no operation has to.
fn fill(path: &Path) -> Result<()> {
    let block = Block::of(path)?;
    for run in 0..RUNS {
        let touched = offsets(run);
        block.write_all(&touched)?;
        block.write_all(&neighbours(&touched))?;
    }
    Ok(())
}

/// A file and a block to write to it or read from it.
pub struct Block {
    path: PathBuf,
    file: DirectFile,
    buffer: AlignedBuffer,
}

impl Block {
    /// Opens it past the cache.
    pub fn of(path: &Path) -> Result<Self> {
        let mut buffer = AlignedBuffer::new(usize::try_from(OPERATION_BYTES)?);
        buffer.bytes_mut().fill(0xa5);
        Ok(Self { path: path.to_owned(), file: DirectFile::open(path)?, buffer })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the block once.
    pub fn write(&self, offset: u64) -> Result<()> {
        Ok(self.file.write_once(&self.buffer, offset)?)
    }

    fn write_all(&self, offsets: &[u64]) -> Result<()> {
        offsets.iter().try_for_each(|offset| self.write(*offset))
    }

    fn measure_writes(&self, meter: &mut Meter, case: &str, offsets: &[u64]) -> Result<()> {
        meter.run(case, offsets, |offset| self.write(offset))
    }

    fn measure_reads(&mut self, meter: &mut Meter, case: &str, offsets: &[u64]) -> Result<()> {
        let (file, buffer) = (&self.file, &mut self.buffer);
        meter.run(case, offsets, |offset| Ok(file.read_once(buffer, offset)?))
    }
}

/// The first scenarios need a kernel into which the module is not loaded yet.
fn ensure_without_module() -> Result<()> {
    ensure!(!kernel_module::is_loaded("blksnap"), "the module is loaded already");
    Ok(())
}

fn raw() -> Result<()> {
    ensure_without_module()?;
    let disks = Disks::new()?;
    let (mut meter, mut block) = (disks.meter()?, Block::of(&disks.origin)?);
    (0..RUNS).try_for_each(|run| block.measure_writes(&mut meter, "write/raw", &offsets(run)))?;
    (0..RUNS).try_for_each(|run| block.measure_reads(&mut meter, "read/raw", &offsets(run)))?;
    kernel_module::load("blksnap", "")?;
    (0..RUNS).try_for_each(|run| block.measure_writes(&mut meter, "write/module_loaded", &offsets(run)))
}

fn tracking() -> Result<()> {
    kernel_module::load("blksnap", "")?;
    let disks = Disks::new()?;
    let (mut meter, block) = (disks.meter()?, Block::of(&disks.origin)?);
    let other = Tracked::attach(&disks.other)?;
    (0..RUNS).try_for_each(|run| block.measure_writes(&mut meter, "write/another_tracked", &offsets(run)))?;
    let tracked = Tracked::attach(&disks.origin)?;
    other.detach()?;
    (0..RUNS).try_for_each(|run| block.measure_writes(&mut meter, "write/tracked", &offsets(run)))?;
    tracked.detach()
}

/// A snapshot of one device with a block device as its storage.
pub fn take(tracked: &Tracked, store: &Path) -> Result<Snapshot> {
    let limit_sectors = BlockDevice::open(store)?.size_bytes()? / 512;
    Snapshot::take_of(store, limit_sectors, &[tracked])
}

/// Gives the places of the difference storage that will be used their memory.
fn warm_up(tracked: &Tracked, store: &Path) -> Result<()> {
    let snapshot = take(tracked, store)?;
    let block = Block::of(tracked.path())?;
    block.write_all(&offsets(0))?;
    block.write_all(&neighbours(&offsets(0)))?;
    snapshot.destroy()
}

fn snapshot() -> Result<()> {
    kernel_module::load("blksnap", "")?;
    let disks = Disks::new()?;
    let (mut meter, block) = (disks.meter()?, Block::of(&disks.origin)?);
    let tracked = Tracked::attach(&disks.origin)?;
    warm_up(&tracked, &disks.store)?;
    for run in 0..RUNS {
        let snapshot = take(&tracked, &disks.store)?;
        let (touched, before) = (offsets(run), tracked.statistics()?);
        let mut image = Block::of(&tracked.image()?)?;
        image.measure_reads(&mut meter, "image_read/not_preserved", &touched)?;
        block.measure_writes(&mut meter, "write/first_touch", &touched)?;
        let after = tracked.statistics()?;
        let each = |counted: u64| counted as f64 / OPERATIONS as f64;
        let read = after.read_for_preservation_bytes - before.read_for_preservation_bytes;
        meter.say("write/first_touch", "module_read_bytes", each(read))?;
        let stored = after.preserved_bytes - before.preserved_bytes;
        meter.say("write/first_touch", "module_preserved_bytes", each(stored))?;
        let chunks = snapshot.statistics()?.preserved_chunks;
        ensure!(chunks == OPERATIONS as u64, "{OPERATIONS} writes made {chunks} chunks");
        meter.say("memory", "bytes_per_chunk", after.chunk_map_bytes as f64 / chunks as f64)?;
        block.measure_writes(&mut meter, "write/second_touch", &touched)?;
        image.measure_reads(&mut meter, "image_read/preserved", &touched)?;
        block.measure_writes(&mut meter, "write/first_touch_in_known_chunk", &neighbours(&touched))?;
        drop(image);
        snapshot.destroy()?;
    }
    tracked.detach()
}

fn discard() -> Result<()> {
    kernel_module::load("blksnap", "")?;
    let disks = Disks::new()?;
    let mut meter = disks.meter()?;
    let device = BlockDevice::open(&disks.origin)?;
    let measure = |meter: &mut Meter, case: &str, offsets: &[u64]| {
        meter.run(case, offsets, |offset| device.discard(offset, OPERATION_BYTES))
    };
    // A discard takes the block's memory away.
    let block = Block::of(&disks.origin)?;
    for run in 0..RUNS {
        measure(&mut meter, "discard/raw", &offsets(run))?;
        block.write_all(&offsets(run))?;
    }
    let tracked = Tracked::attach(&disks.origin)?;
    warm_up(&tracked, &disks.store)?;
    for run in 0..RUNS {
        measure(&mut meter, "discard/tracked", &offsets(run))?;
        block.write_all(&offsets(run))?;
        let snapshot = take(&tracked, &disks.store)?;
        measure(&mut meter, "discard/first_touch", &offsets(run))?;
        block.write_all(&offsets(run))?;
        measure(&mut meter, "discard/second_touch", &offsets(run))?;
        block.write_all(&offsets(run))?;
        snapshot.destroy()?;
    }
    tracked.detach()
}

/// Chunks of 4 KiB and exceptions that are kept in memory only, as ours are.
fn dm_snapshot() -> Result<()> {
    ensure_without_module()?;
    let disks = Disks::new()?;
    let mut meter = disks.meter()?;
    let sectors = BlockDevice::open(&disks.origin)?.size_bytes()? / 512;
    let (origin, store) = (disks.origin.display(), disks.store.display());
    let upper = Mapped::new("cost-origin", &format!("0 {sectors} snapshot-origin {origin}"))?;
    let block = Block::of(&upper.node()?)?;
    (0..RUNS).try_for_each(|run| block.measure_writes(&mut meter, "dm/write_without_snapshot", &offsets(run)))?;
    let image_table = format!("0 {sectors} snapshot {origin} {store} N 8");
    let warm_up = Mapped::new("cost-image", &image_table)?;
    block.write_all(&offsets(0))?;
    warm_up.remove()?;
    for run in 0..RUNS {
        let image = Mapped::new("cost-image", &image_table)?;
        let touched = offsets(run);
        let mut reader = Block::of(&image.node()?)?;
        reader.measure_reads(&mut meter, "dm/image_read_not_preserved", &touched)?;
        block.measure_writes(&mut meter, "dm/first_touch", &touched)?;
        block.measure_writes(&mut meter, "dm/second_touch", &touched)?;
        reader.measure_reads(&mut meter, "dm/image_read_preserved", &touched)?;
        drop(reader);
        image.remove()?;
    }
    drop(block);
    upper.remove()
}
