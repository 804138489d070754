//! Writes that began before the tracker was attached, and are not over at the first TAKE.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::dm::{self, Mapped};
use crate::filter::Tracked;
use crate::oracle::{self, Picture};
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, SMALL_SECTORS, Snapshot};
use crate::storm::Area;
use crate::throttle::Throttle;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "earlier/throttled",
        "a write that was throttled before ATTACH and lands after TAKE is not in the image, and is in the next map",
        throttled,
    )
    .with_module()
    .within_s(180),
    Scenario::new(
        "earlier/slow_mapped",
        "the first TAKE waits for a write that dm holds since before ATTACH",
        slow_mapped,
    )
    .with_module()
    .within_s(120),
    Scenario::new("earlier/slow_queue", "so it does for a request that is in a queue since before ATTACH", slow_queue)
        .with_module()
        .within_s(120),
];

/// A write of zeroes to the beginning of a disk, by a thread of its own.
struct Write {
    thread: JoinHandle<Result<()>>,
    over: Arc<AtomicBool>,
}

impl Write {
    fn begin(path: &Path, length: usize) -> Result<Self> {
        // Opening a disk may read it, which a slow one takes long for.
        let file = DirectFile::open(path)?;
        let over = Arc::new(AtomicBool::new(false));
        let over_here = Arc::clone(&over);
        let thread = std::thread::spawn(move || -> Result<()> {
            file.write(&AlignedBuffer::new(length), 0)?;
            over_here.store(true, Ordering::SeqCst);
            Ok(())
        });
        Ok(Self { thread, over })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn end(self) -> Result<()> {
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?.context("the earlier write")
    }
}

fn throttled() -> Result<()> {
    let disk = Disk::First.node()?;
    let area = Area::of_disk(0, &disk, 0, 1024);
    area.fill()?;
    let throttle = Throttle::writes(&disk, 4 << 10)?;
    let write = Write::begin(&disk, 128 << 10)?;
    nix::poll::poll(&mut [], 1000_u16)?;
    let tracked = Tracked::attach(&disk)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    ensure!(!write.is_over(), "the write was not throttled long enough");
    ensure!(tracked.statistics()?.writes == 0, "the write was seen when it came, so this proves nothing");
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?).context("before the write lands")?;
    // Lifting the limit lets it go.
    drop(throttle);
    write.end()?;
    ensure!(DirectFile::open(&disk)?.read_new(0, 4096)?.bytes().iter().all(|byte| *byte == 0), "the write is lost");
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?).context("the image shows the later write")?;
    snapshot.destroy()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), SMALL_SECTORS, &[&tracked])?;
    let map = tracked.map()?;
    ensure!(map[..2] == [2, 2], "the map says {:?} of the blocks that changed in interval 2", &map[..2]);
    snapshot.destroy()?;
    tracked.detach()
}

/// Writes that the disk has begun and not ended, by the kernel's own account.
fn writes_in_flight(path: &Path) -> Result<u64> {
    let device = std::fs::metadata(path)?.rdev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/inflight"))?;
    Ok(text.split_whitespace().nth(1).context("no count of writes")?.parse()?)
}

/// Another tracker first: setting the hook takes longer than the write may.
fn take_after_attach(path: &Path, write: impl FnOnce() -> Result<Write>) -> Result<()> {
    let hooked = Tracked::attach(&Disk::Scsi.node()?)?;
    let write = write()?;
    while writes_in_flight(path)? == 0 {
        ensure!(!write.is_over(), "the disk did not hold the write");
        nix::poll::poll(&mut [], 5_u8)?;
    }
    let tracked = Tracked::attach(path)?;
    ensure!(writes_in_flight(path)? == 1, "the write was over before ATTACH");
    let snapshot = Snapshot::take_of(Path::new("/tmp"), SMALL_SECTORS, &[&tracked])?;
    ensure!(writes_in_flight(path)? == 0, "TAKE did not wait for the earlier write");
    ensure!(tracked.statistics()?.writes == 0, "the write was seen when it came, so this proves nothing");
    write.end()?;
    let image = DirectFile::open_to_read(&tracked.image()?)?.read_new(0, 4096)?;
    ensure!(image.bytes().iter().all(|byte| *byte == 0), "the image lacks a write that was over at TAKE");
    snapshot.destroy()?;
    tracked.detach()?;
    hooked.detach()
}

/// How long the slow disks hold a write.
const HOLD_MS: u64 = 6000;

fn slow_mapped() -> Result<()> {
    let disk = Disk::First.node()?;
    let sectors = BlockDevice::open(&disk)?.size_bytes()? / 512;
    let slow = Mapped::linear("slow", &disk, sectors)?;
    // The slow one accounts for writes only when it passes them on; this one does when they come.
    let upper = Mapped::linear("upper", &slow.node()?, sectors)?;
    let node = upper.node()?;
    Area::of_disk(0, &node, 0, 1024).fill()?;
    slow.reload(&dm::delay_table(&disk, sectors, 0, HOLD_MS))?;
    take_after_attach(&node, || Write::begin(&node, 4096))?;
    upper.remove()?;
    slow.remove()
}

fn slow_queue() -> Result<()> {
    // null_blk gives a request up after 5 s (drivers/block/null_blk/main.c, `timeout`).
    let hold_ns = 3_000_000_000_u64;
    let disks = MemoryDisks::new(1, 64, &format!("irqmode=2 completion_nsec={hold_ns}"))?;
    let node = disks.node(0)?;
    take_after_attach(&node, || Write::begin(&node, 4096))
}
