//! What the map says about writes of every kind, and that it never forgets one.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::Sectors;

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::filter::Tracked;
use crate::oracle::{self, Picture, Taken};
use crate::registry::Scenario;
use crate::snapshot::{self, AMPLE_SECTORS, Snapshot};
use crate::storm::{Area, Force, Storm};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("tracking/single_writes", "a write marks its blocks and no others", single_writes).with_module(),
    Scenario::new("tracking/map_is_of_take", "the readable map is what was true at TAKE", map_is_of_take).with_module(),
    Scenario::new("tracking/dirty", "CBTDIRTY marks what it names at once", dirty).with_module(),
    Scenario::new("tracking/discard", "discard and write-zeroes mark their whole range", discard).with_module(),
    Scenario::new("tracking/chained", "writes that the kernel chains end, and are marked", chained).with_module(),
    Scenario::new("tracking/partition_writes", "a write to a partition marks its whole disk", partition_writes)
        .with_module(),
    Scenario::new("tracking/page_cache", "a buffered write marks when it is written back", page_cache).with_module(),
    Scenario::new("tracking/image_writes", "a write to the image marks both maps", image_writes).with_module(),
    Scenario::new("tracking/oracle", "under writes the map names every change with its interval", || {
        oracle(Disk::First, 5)
    })
    .with_module()
    .within_s(120),
    Scenario::new("tracking/oracle_4k", "the same with blocks of 4096 bytes", || oracle(Disk::FourKib, 3))
        .with_module()
        .within_s(120),
    Scenario::new("tracking/wrap", "after 255 intervals a new generation begins", wrap).with_module().within_s(600),
    Scenario::new("tracking/oracle_long", "40 intervals under writes", || oracle(Disk::First, 40))
        .with_module()
        .only_soak()
        .within_s(900),
];

/// An interval ends with a TAKE; its snapshot is of no further use.
fn end_interval(tracked: &Tracked) -> Result<()> {
    Snapshot::take_of(Path::new("/tmp"), snapshot::SMALL_SECTORS, &[tracked])?.destroy()
}

fn changed_blocks(map: &[u8]) -> Vec<(usize, u8)> {
    map.iter().copied().enumerate().filter(|(_, byte)| *byte > 0).collect()
}

fn single_writes() -> Result<()> {
    let path = Disk::First.node()?;
    let tracked = Tracked::attach(&path)?;
    let file = DirectFile::open(&path)?;
    // The first sector, the last of a block with the first of the next, a block in the middle, the last sector.
    file.write(&AlignedBuffer::new(512), 0)?;
    file.write(&AlignedBuffer::new(1024), 10 * 65536 - 512)?;
    file.write(&AlignedBuffer::new(65536), 100 * 65536)?;
    file.write(&AlignedBuffer::new(512), (1 << 30) - 512)?;
    ensure!(changed_blocks(&tracked.map()?).is_empty(), "the readable map changes before TAKE");
    end_interval(&tracked)?;
    let expected = [(0, 1), (9, 1), (10, 1), (100, 1), (16383, 1)];
    ensure!(changed_blocks(&tracked.map()?) == expected, "the map is {:?}", changed_blocks(&tracked.map()?));
    ensure!(tracked.info()?.changes_number == 1, "the number is {}", tracked.info()?.changes_number);
    file.write(&AlignedBuffer::new(4096), 100 * 65536)?;
    end_interval(&tracked)?;
    let expected = [(0, 1), (9, 1), (10, 1), (100, 2), (16383, 1)];
    ensure!(changed_blocks(&tracked.map()?) == expected, "then it is {:?}", changed_blocks(&tracked.map()?));
    tracked.detach()
}

fn map_is_of_take() -> Result<()> {
    let path = Disk::First.node()?;
    let tracked = Tracked::attach(&path)?;
    let file = DirectFile::open(&path)?;
    file.write(&AlignedBuffer::new(4096), 0)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    file.write(&AlignedBuffer::new(4096), 1 << 20)?;
    ensure!(changed_blocks(&tracked.map()?) == [(0, 1)], "a write after TAKE shows in the map");
    snapshot.destroy()?;
    ensure!(changed_blocks(&tracked.map()?) == [(0, 1)], "DESTROY changes the map");
    end_interval(&tracked)?;
    ensure!(changed_blocks(&tracked.map()?) == [(0, 1), (16, 2)], "{:?}", changed_blocks(&tracked.map()?));
    tracked.detach()
}

fn dirty() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    // Before the first TAKE the readable map has nothing but the number 0 to say it with.
    end_interval(&tracked)?;
    let ranges = [(0, 1), (127, 2), (128 * 50, 128 * 3)];
    let ranges = ranges.map(|(offset_sectors, count_sectors)| Sectors { offset_sectors, count_sectors });
    tracked.mark(&ranges)?;
    let blocks = |map: &[u8]| changed_blocks(map).into_iter().map(|(block, _)| block).collect::<Vec<_>>();
    let expected = [0, 1, 50, 51, 52];
    ensure!(blocks(&tracked.map()?) == expected, "at once the map is {:?}", blocks(&tracked.map()?));
    end_interval(&tracked)?;
    ensure!(blocks(&tracked.map()?) == expected, "after TAKE the map is {:?}", blocks(&tracked.map()?));
    let many: Vec<Sectors> = (0..5000).map(|n| Sectors { offset_sectors: n * 256, count_sectors: 1 }).collect();
    tracked.mark(&many).context("5000 ranges")?;
    let marked = blocks(&tracked.map()?).len();
    ensure!(marked >= 5000, "only {marked} of 5000 blocks are marked");
    tracked.detach()
}

fn discard() -> Result<()> {
    let path = Disk::First.node()?;
    let tracked = Tracked::attach(&path)?;
    let device = BlockDevice::open(&path)?;
    device.discard(65536 * 20, 65536 * 300)?;
    device.zero(65536 * 1000 + 512, 1024)?;
    end_interval(&tracked)?;
    let map = tracked.map()?;
    let expected = |block: usize| u8::from((20..320).contains(&block) || block == 1000);
    let wrong = (0..map.len()).find(|block| map[*block] != expected(*block));
    ensure!(wrong.is_none(), "block {wrong:?} is wrong after discard and write-zeroes");
    tracked.detach()
}

/// The kernel chains the many requests that make a long range zero or discard it. Their end function is a mark that nobody
/// may call (since Linux 6.19 it is a BUG), and the module called it.
fn chained() -> Result<()> {
    const LENGTH: u64 = 16 << 20;
    // It has no command for zeroes, so pages of them are written.
    let disks = MemoryDisks::new(1, 64, "")?;
    let path = disks.node(0)?;
    let tracked = Tracked::attach(&path)?;
    let area = Area::of_disk(0, &path, 0, LENGTH / 512);
    area.fill()?;
    let device = BlockDevice::open(&path)?;
    device.zero(2 * LENGTH, LENGTH)?;
    // Begins off the granularity, so the kernel makes two of it.
    device.discard(3 * LENGTH + 512, LENGTH / 2)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let map = tracked.map()?;
    let missing = (512..896).find(|block| map[*block] != 1);
    ensure!(missing.is_none(), "block {missing:?} is not marked");
    let before = Picture::of(&tracked.image()?, &area)?;
    device.zero(0, LENGTH)?;
    before.ensure_same(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    drop(device);
    tracked.detach()
}

fn partition_writes() -> Result<()> {
    let path = Disk::Second.node()?;
    let partitions = crate::partition::Partitions::make(&path, &[(2048, 1 << 17), (262_144, 1 << 17)])?;
    let tracked = Tracked::attach(&path)?;
    DirectFile::open(&partitions.node(2))?.write(&AlignedBuffer::new(4096), 65536 * 3)?;
    end_interval(&tracked)?;
    let expected = 262_144 / 128 + 3;
    let map = changed_blocks(&tracked.map()?);
    ensure!(map == [(expected, 1)], "the map is {map:?} instead of block {expected}");
    tracked.detach()?;
    partitions.remove()
}

fn page_cache() -> Result<()> {
    let path = Disk::First.node()?;
    let tracked = Tracked::attach(&path)?;
    let device = BlockDevice::open(&path)?;
    std::os::unix::fs::FileExt::write_all_at(device.file(), &[1; 4096], 65536 * 77)?;
    device.file().sync_all()?;
    end_interval(&tracked)?;
    ensure!(changed_blocks(&tracked.map()?) == [(77, 1)], "{:?}", changed_blocks(&tracked.map()?));
    tracked.detach()
}

fn image_writes() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    DirectFile::open(&tracked.image()?)?.write(&AlignedBuffer::new(4096), 65536 * 5)?;
    let blocks = |map: Vec<u8>| changed_blocks(&map).into_iter().map(|(block, _)| block).collect::<Vec<_>>();
    let before = blocks(tracked.map()?);
    ensure!(before == [5], "the readable map is {before:?} after a write to the image");
    snapshot.destroy()?;
    end_interval(&tracked)?;
    let after = blocks(tracked.map()?);
    ensure!(after == [5], "the next map is {after:?}");
    tracked.detach()
}

fn oracle(disk: Disk, intervals: usize) -> Result<()> {
    let path = disk.node()?;
    let tracked = Tracked::attach(&path)?;
    let sector_bytes = BlockDevice::open(&path)?.sector_bytes()?;
    let areas = [(0, 1 << 16), (1 << 20, 1 << 18)]
        .map(|(first, sectors)| Area::of_disk(0, &path, first, sectors).in_granules_of(sector_bytes / 512));
    let storm = Storm::start(&areas, Force { largest: 300, ..Force::default() }, 11)?;
    let mut takes = Vec::new();
    let mut maps = Vec::new();
    for _ in 0..intervals {
        storm.wait_for(20)?;
        let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
        tracked.add_to(snapshot.id())?;
        takes.push(Taken::around(|| snapshot.take().context("TAKE"))?);
        maps.push(tracked.map()?);
        snapshot.destroy()?;
    }
    let journals = storm.stop()?;
    for (number, map) in (1..).zip(&maps) {
        oracle::ensure_map(map, 128, 0, &journals, &takes[..number])
            .with_context(|| format!("map {number} of {intervals}"))?;
    }
    tracked.detach()
}

fn wrap() -> Result<()> {
    let path = Disk::First.node()?;
    let tracked = Tracked::attach(&path)?;
    let file = DirectFile::open(&path)?;
    let first = tracked.info()?;
    let mut last = first;
    for round in 1..=257_u32 {
        println!("interval {round}");
        file.write(&AlignedBuffer::new(4096), u64::from(round) * 65536)?;
        end_interval(&tracked)?;
        let info = tracked.info()?;
        if info.generation == last.generation {
            ensure!(info.changes_number > last.changes_number, "interval {round} has number {}", info.changes_number);
        } else {
            ensure!(round > 200, "the generation changes after {round} intervals");
        }
        last = info;
    }
    ensure!(last.generation != first.generation, "257 intervals fit into a byte");
    let fine = tracked.tracker_info()?;
    ensure!(fine.number == 257, "the wide number is {}", fine.number);
    ensure!(fine.generation == tracked.tracker_info()?.generation, "the wide generation changes");
    tracked.detach()
}
