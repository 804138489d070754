//! Disks that fail under a snapshot: the image is lost and says so, the disk's own writes are not.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::extension::TRACKER_INVALID;
use kmod_logic::uapi::{EVENT_CORRUPTED, SnapshotEvent};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::dm::{self, Mapped};
use crate::filter::Tracked;
use crate::kernel_module;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::storm::Area;
use crate::trial::{AREA_SECTORS, Trial};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("fault/origin_reads", "a read error of the origin spoils the image, not the write", origin_reads)
        .with_module(),
    Scenario::new(
        "fault/origin_dead",
        "an origin that fails everything leaves a snapshot that can be destroyed",
        origin_dead,
    )
    .with_module(),
    Scenario::new("fault/store_writes", "a write error of the store spoils the image, not the write", store_writes)
        .with_module(),
    Scenario::new("fault/slow_store", "a slow store loses nothing", slow_store).with_module().within_s(240),
    Scenario::new(
        "fault/hook_lost",
        "when the kernel's tracing fails, living images are lost at once and tracking begins anew",
        hook_lost,
    )
    .with_module()
    .within_s(180),
    Scenario::new(
        "fault/second_half",
        "a read that fails in its second half fails, though the first half ends later",
        || with_failing_second_half(second_half),
    )
    .with_module(),
    Scenario::new("fault/one_of_two", "a spoiled image leaves the other disk's write alone", one_of_two).with_module(),
];

fn sectors_of(disk: Disk) -> Result<u64> {
    Ok(BlockDevice::open(&disk.node()?)?.size_bytes()? / 512)
}

fn linear(name: &str, disk: Disk) -> Result<Mapped> {
    Mapped::linear(name, &disk.node()?, sectors_of(disk)?)
}

/// The event says which disk and why, the state says it, and reads of the image fail.
fn ensure_spoiled(snapshot: &Snapshot, tracked: &Tracked) -> Result<()> {
    let event = corrupted_event(snapshot)?;
    let number = BlockDevice::open(tracked.path())?.number()?;
    let word =
        |at: usize| u32::from_ne_bytes([event.data[at], event.data[at + 1], event.data[at + 2], event.data[at + 3]]);
    let (major, minor, errno) = (u64::from(word(0)), u64::from(word(4)), word(8).cast_signed());
    ensure!((major, minor) == number, "the event names {major}:{minor}, the disk is {number:?}");
    ensure!(errno > 0, "the event's errno is {errno}");
    ensure!(event.time_ns > 0, "the event has no time");
    let info = tracked.snapshot_info().context("SNAPSHOTINFO of a spoiled snapshot")?;
    ensure!(info.error_code < 0, "SNAPSHOTINFO says {}", info.error_code);
    let image = Path::new("/dev").join(crate::filter::image_name(&info)?);
    let read = DirectFile::open_to_read(&image).map(|image| image.read_new(0, 4096).is_ok());
    ensure!(!matches!(read, Ok(true)), "a spoiled image can be read");
    Ok(())
}

/// The event that the image is lost; others may come before it.
pub fn corrupted_event(snapshot: &Snapshot) -> Result<SnapshotEvent> {
    for _ in 0..4 {
        let event = snapshot.wait_event(10_000).context("no event says that the image is lost")?;
        if event.code == EVENT_CORRUPTED {
            return Ok(event);
        }
    }
    anyhow::bail!("four events, and none says that the image is lost")
}

fn origin_reads() -> Result<()> {
    let mapped = linear("origin", Disk::First)?;
    let tracked = Tracked::attach(&mapped.node()?)?;
    Area::of_disk(0, tracked.path(), 0, 4096).fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    mapped.reload_at_once(&dm::failing_reads_table(&Disk::First.node()?, sectors_of(Disk::First)?))?;
    let file = DirectFile::open(tracked.path())?;
    file.write(&AlignedBuffer::new(8192), 65536).context("the write fails with the preservation")?;
    ensure_spoiled(&snapshot, &tracked)?;
    mapped.reload_at_once(&dm::linear_table(&Disk::First.node()?, sectors_of(Disk::First)?))?;
    ensure!(file.read_new(65536, 8192)?.bytes().iter().all(|byte| *byte == 0), "the write is not on the disk");
    file.write(&AlignedBuffer::new(8192), 1 << 20).context("a write under a spoiled snapshot")?;
    snapshot.destroy()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked]).context("the next one")?;
    ensure!(DirectFile::open_to_read(&tracked.image()?)?.read_new(0, 4096).is_ok(), "the next image cannot be read");
    snapshot.destroy()?;
    drop(file);
    tracked.detach()?;
    mapped.remove()
}

fn origin_dead() -> Result<()> {
    let mapped = linear("origin", Disk::First)?;
    let tracked = Tracked::attach(&mapped.node()?)?;
    Area::of_disk(0, tracked.path(), 0, 4096).fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let image = tracked.image()?;
    mapped.reload_at_once(&dm::error_table(sectors_of(Disk::First)?))?;
    let file = DirectFile::open(tracked.path())?;
    ensure!(file.write(&AlignedBuffer::new(8192), 0).is_err(), "a dead disk takes writes");
    let read = DirectFile::open_to_read(&image).and_then(|image| Ok(image.read_new(0, 4096)?));
    ensure!(read.is_err(), "the image of a dead disk can be read");
    snapshot.destroy()?;
    drop(file);
    tracked.detach()?;
    mapped.remove()
}

fn store_writes() -> Result<()> {
    let store = linear("store", Disk::Store)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    Area::of_disk(0, tracked.path(), 0, 4096).fill()?;
    let snapshot = Snapshot::take_of(&store.node()?, 1 << 22, &[&tracked])?;
    store.reload_at_once(&dm::error_table(sectors_of(Disk::Store)?))?;
    let file = DirectFile::open(tracked.path())?;
    for offset in [0, 1 << 19, 1 << 20] {
        file.write(&AlignedBuffer::new(8192), offset).context("the write fails with the store")?;
    }
    ensure_spoiled(&snapshot, &tracked)?;
    snapshot.destroy()?;
    tracked.detach()?;
    store.remove()
}

fn slow_store() -> Result<()> {
    let store = Mapped::delayed("store", &Disk::Store.node()?, sectors_of(Disk::Store)?, 20, 60)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, AREA_SECTORS / 8);
    let trial = Trial::new(vec![&tracked], vec![area]).with_store(&store.node()?);
    Trial { limit_sectors: 1 << 22, rounds: 1, writes_between: 8, ..trial }.run()?;
    tracked.detach()?;
    store.remove()
}

/// Sectors after which the disk fails: as much as one request takes of pages that are no neighbours.
const HALF_SECTORS: u64 = 256 * 8;

/// A disk whose first half is slow, and whose second half fails what it is asked, at once.
fn with_failing_second_half(scenario: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let first = dm::delay_table(&Disk::First.node()?, HALF_SECTORS, 500, 0);
    let mapped = Mapped::new("half", &format!("{first}\n{HALF_SECTORS} {HALF_SECTORS} error"))?;
    scenario(&mapped.node()?)?;
    mapped.remove()
}

/// Direct I/O of several requests keeps their errors in the first of them. The image ended that one, when it was read at last,
/// with its own success, and what the second request had not read counted as read: memory that was never filled.
fn second_half(disk: &Path) -> Result<()> {
    let pages = usize::try_from(2 * HALF_SECTORS / 8)?;
    let read = DirectFile::open_to_read(disk)?.read_scattered(pages, 0);
    ensure!(read.is_err(), "the disk itself gives {read:?}: this proves nothing");
    let tracked = Tracked::attach(disk)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let read = DirectFile::open_to_read(&tracked.image()?)?.read_scattered(pages, 0);
    ensure!(read.is_err(), "an image of which half cannot be read gives {read:?}");
    snapshot.destroy()?;
    tracked.detach()
}

fn one_of_two() -> Result<()> {
    let mapped = linear("origin", Disk::First)?;
    let (broken, sound) = (Tracked::attach(&mapped.node()?)?, Tracked::attach(&Disk::Second.node()?)?);
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&broken, &sound])?;
    mapped.reload_at_once(&dm::failing_reads_table(&Disk::First.node()?, sectors_of(Disk::First)?))?;
    DirectFile::open(broken.path())?.write(&AlignedBuffer::new(8192), 65536)?;
    corrupted_event(&snapshot)?;
    DirectFile::open(sound.path())?.write(&AlignedBuffer::new(8192), 65536).context("the other disk's write")?;
    mapped.reload_at_once(&dm::linear_table(&Disk::First.node()?, sectors_of(Disk::First)?))?;
    snapshot.destroy()?;
    broken.detach()?;
    sound.detach()?;
    mapped.remove()
}

/// The address of a function of the module under test.
fn address_of(function: &str) -> Result<String> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    let mut lines = symbols.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(2) == Some(&function)).with_context(|| format!("no symbol {function}"))?;
    Ok(format!("0x{}", line[0]))
}

fn hook_lost() -> Result<()> {
    const LOSE_HOOK: &str = "blksnap_lose_hook";
    let (tracked, bystander) = (Tracked::attach(&Disk::First.node()?)?, Tracked::attach(&Disk::Second.node()?)?);
    Area::of_disk(0, tracked.path(), 0, 4096).fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let generations = [tracked.info()?.generation, bystander.info()?.generation];
    let functions = [address_of("blkfilter_unhook_writes")?, address_of("blkfilter_hook_writes")?];
    kernel_module::load(LOSE_HOOK, &format!("unhook={} hook={}", functions[0], functions[1]))?;
    // Nobody asks; the module finds it out itself.
    ensure_spoiled(&snapshot, &tracked)?;
    for (tracked, before) in [&tracked, &bystander].into_iter().zip(generations) {
        ensure!(tracked.info()?.generation != before, "tracking goes on as if nothing was missed");
        let flags = tracked.tracker_info()?.flags;
        ensure!(flags & TRACKER_INVALID != 0, "the flags are {flags}");
    }
    let second = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    bystander.add_to(second.id())?;
    let result = second.take();
    ensure!(result == Err(nix::Error::ENXIO), "TAKE gives {result:?}");
    kernel_module::remove(LOSE_HOOK)?;
    second.take().context("TAKE when writes are seen again")?;
    ensure!(bystander.tracker_info()?.flags & TRACKER_INVALID == 0, "the new generation is not valid");
    second.destroy()?;
    snapshot.destroy()?;
    tracked.detach()?;
    bystander.detach()
}
