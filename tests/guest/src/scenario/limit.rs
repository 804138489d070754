//! Difference storage that grows and runs out, and memory that stays bounded.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::{EVENT_CORRUPTED, EVENT_NO_SPACE};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::filter::Tracked;
use crate::mount::Mount;
use crate::oracle::{self, Picture};
use crate::parameter::Parameter;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::storm::Area;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("limit/overflow", "a full store spoils the image, tells so once and lets all writes pass", overflow)
        .with_module()
        .within_s(120),
    Scenario::new("limit/growth", "the store grows in steps while it is held", growth).with_module().within_s(120),
    Scenario::new(
        "limit/growth_fails",
        "a growth that failed is tried again, and works once there is room",
        growth_fails,
    )
    .with_module()
    .within_s(120),
    Scenario::new("limit/no_space", "at its limit the store says so once, early enough", no_space)
        .with_module()
        .within_s(120),
    Scenario::new("limit/second_touch", "a place is preserved once", second_touch).with_module(),
    Scenario::new("limit/small_write", "a small write copies little", small_write).with_module(),
    Scenario::new("limit/free_at_once", "when DESTROY returns, the room of the store is free", free_at_once)
        .with_module()
        .within_s(180),
    Scenario::new("limit/huge_discard", "a discard of 768 MiB is preserved in bounded memory", huge_discard)
        .with_module()
        .within_s(300),
];

/// Events that have come, until none comes for a while.
fn events(snapshot: &Snapshot) -> Vec<u32> {
    std::iter::from_fn(|| snapshot.wait_event(1500).ok().map(|event| event.code)).take(20).collect()
}

fn overflow() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    Area::of_disk(0, tracked.path(), 0, 1 << 16).fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), 1 << 14, &[&tracked])?;
    let file = DirectFile::open(tracked.path())?;
    let buffer = AlignedBuffer::new(1 << 20);
    for mebibyte in 0..32 {
        file.write(&buffer, mebibyte << 20).with_context(|| format!("write {mebibyte} into an overflow"))?;
    }
    let events = events(&snapshot);
    let count = |code| events.iter().filter(|event| **event == code).count();
    ensure!(count(EVENT_CORRUPTED) == 1, "the events are {events:?}");
    ensure!(count(EVENT_NO_SPACE) <= 1, "the events are {events:?}");
    let info = tracked.snapshot_info()?;
    ensure!(info.error_code < 0, "SNAPSHOTINFO says {}", info.error_code);
    ensure!(file.read_new(5 << 20, 4096)?.bytes().iter().all(|byte| *byte == 0), "a write is lost");
    snapshot.destroy()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked]).context("the next one")?;
    snapshot.destroy()?;
    tracked.detach()
}

fn growth() -> Result<()> {
    let step = Parameter::set("diff_storage_minimum", 16384)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 16);
    area.fill()?;
    let store = StoreDirectory::new()?;
    let snapshot = Snapshot::take_of(store.path(), AMPLE_SECTORS, &[&tracked])?;
    let before = snapshot.statistics()?.capacity_sectors;
    ensure!(before < 1 << 16, "the store begins with {before} sectors");
    let file = DirectFile::open(tracked.path())?;
    let buffer = AlignedBuffer::new(1 << 18);
    for quarter in 0..128 {
        file.write(&buffer, quarter << 18)?;
    }
    let after = snapshot.statistics()?.capacity_sectors;
    ensure!(after > before, "the store has still {after} sectors");
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()?;
    step.restore()?;
    store.close()
}

fn growth_fails() -> Result<()> {
    let step = Parameter::set("diff_storage_minimum", 16384)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 16);
    area.fill()?;
    let store = StoreDirectory::new()?;
    let snapshot = Snapshot::take_of(store.path(), AMPLE_SECTORS, &[&tracked])?;
    let filler = store.filler()?;
    let (file, buffer) = (DirectFile::open(tracked.path())?, AlignedBuffer::new(1 << 18));
    let mut written = 0;
    let full = loop {
        let now = snapshot.statistics()?;
        // Growth begins when half of a step is left.
        if now.capacity_sectors - now.used_sectors <= 6144 {
            break now.capacity_sectors;
        }
        ensure!(written < 100, "the store grows where there is no room: {} sectors", now.capacity_sectors);
        file.write(&buffer, written << 18)?;
        written += 1;
    };
    std::fs::remove_file(filler)?;
    for quarter in written..128 {
        file.write(&buffer, quarter << 18)?;
    }
    let after = snapshot.statistics()?.capacity_sectors;
    ensure!(after > full, "the store has still {after} sectors");
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()?;
    step.restore()?;
    store.close()
}

fn no_space() -> Result<()> {
    let step = Parameter::set("diff_storage_minimum", 16384)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 15);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), 1 << 16, &[&tracked])?;
    let file = DirectFile::open(tracked.path())?;
    let buffer = AlignedBuffer::new(1 << 18);
    for quarter in 0..64 {
        file.write(&buffer, quarter << 18)?;
    }
    ensure!(events(&snapshot).is_empty(), "16 of 32 MiB are in use, and there is an event");
    Area::of_disk(0, tracked.path(), 1 << 15, 1 << 15).fill()?;
    for quarter in 64..118 {
        file.write(&buffer, quarter << 18)?;
    }
    let events = events(&snapshot);
    ensure!(events == [EVENT_NO_SPACE], "near the limit the events are {events:?}");
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()?;
    step.restore()
}

fn second_touch() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let file = DirectFile::open(tracked.path())?;
    let write_all = || (0..32).try_for_each(|number| file.write(&AlignedBuffer::new(4096), number * 65536));
    write_all()?;
    // A write is counted as delayed just after it went on.
    let first = loop {
        let statistics = tracked.statistics()?;
        if statistics.delayed_writes >= 32 {
            break statistics;
        }
        std::thread::yield_now();
    };
    write_all()?;
    let second = tracked.statistics()?;
    ensure!(second.preserved_bytes == first.preserved_bytes, "a second write is preserved again");
    ensure!(second.delayed_writes == first.delayed_writes, "a second write waits");
    ensure!(second.writes == first.writes + 32, "{} writes were counted", second.writes - first.writes);
    snapshot.destroy()?;
    tracked.detach()
}

fn small_write() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let before = tracked.statistics()?;
    DirectFile::open(tracked.path())?.write(&AlignedBuffer::new(4096), 1 << 20)?;
    let after = tracked.statistics()?;
    let (read, stored) = (
        after.read_for_preservation_bytes - before.read_for_preservation_bytes,
        after.preserved_bytes - before.preserved_bytes,
    );
    ensure!((4096..=65536).contains(&read), "4 KiB cost {read} bytes read");
    ensure!((4096..=65536).contains(&stored), "4 KiB cost {stored} bytes stored");
    snapshot.destroy()?;
    tracked.detach()
}

fn available_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:")).context("no MemAvailable")?;
    line.split_whitespace().nth(1).context("MemAvailable without a number")?.parse().context("MemAvailable")
}

fn huge_discard() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 1 << 20, 4096);
    area.fill()?;
    let snapshot = Snapshot::take_of(&Disk::Store.node()?, 1 << 22, &[&tracked])?;
    let before = available_kib()?;
    let done = AtomicBool::new(false);
    let lowest = std::thread::scope(|scope| -> Result<u64> {
        let watcher = scope.spawn(|| -> Result<u64> {
            let mut lowest = before;
            while !done.load(Ordering::Relaxed) {
                lowest = lowest.min(available_kib()?);
                nix::poll::poll(&mut [], 10_u8)?;
            }
            Ok(lowest)
        });
        let discarded = BlockDevice::open(tracked.path())?.discard(0, 768 << 20);
        done.store(true, Ordering::Relaxed);
        discarded?;
        watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?
    })?;
    let pinned_mib = (before - lowest) / 1024;
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    ensure!(pinned_mib <= 32, "{pinned_mib} MiB of memory were in use meanwhile");
    snapshot.destroy()?;
    tracked.detach()
}

/// For each kind of store, with preserved data and reads of the image behind it.
fn free_at_once() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let place = Mount::new(Path::new("none"), "memory", "tmpfs", "size=256m")?;
    let free_blocks = || Ok::<_, nix::Error>(nix::sys::statvfs::statvfs(place.root())?.blocks_free());
    let use_it = |store: &Path, limit_sectors| -> Result<()> {
        let snapshot = Snapshot::take_of(store, limit_sectors, &[&tracked])?;
        DirectFile::open(tracked.path())?.write(&AlignedBuffer::new(1 << 20), 0)?;
        DirectFile::open_to_read(&tracked.image()?)?.read_new(0, 1 << 20)?;
        snapshot.destroy()
    };
    let before = free_blocks()?;
    for round in 0..3 {
        use_it(place.root(), AMPLE_SECTORS)?;
        let after = free_blocks()?;
        ensure!(after == before, "round {round}: {before} blocks were free, and {after} are after DESTROY");
    }
    // No unmount could succeed while a file is open.
    place.unmount().context("the store's file system is in use after DESTROY")?;
    let disk = Disk::Store.node()?;
    for round in 0..3 {
        use_it(&disk, 1 << 22)?;
        let exclusively = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_EXCL).open(&disk);
        exclusively.with_context(|| format!("round {round}: the store's device is in use after DESTROY"))?;
    }
    tracked.detach()
}
