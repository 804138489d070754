//! Orders of events that are rare in life, made certain by devices that delay.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::dm::{self, Mapped};
use crate::filter::Tracked;
use crate::oracle::{self, Picture, Taken};
use crate::parameter::Parameter;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::storm::{Area, Force};
use crate::throttle::Throttle;
use crate::{pace, stamp, tool};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "race/image_read_before_write",
        "an image read that is overtaken by a write returns the old data",
        || with_each_store(|store| image_read_and_write(Order::ReadFirst, store)),
    )
    .with_module(),
    Scenario::new("race/image_read_after_write", "an image read during the preservation returns the old data", || {
        with_each_store(|store| image_read_and_write(Order::WriteFirst, store))
    })
    .with_module(),
    Scenario::new("race/parts_of_a_chunk", "writes to the parts of one chunk at once are all preserved", || {
        with_each_store(parts_of_a_chunk)
    })
    .with_module(),
    Scenario::new(
        "race/take_and_slow_writes",
        "writes that a slow disk holds at TAKE are in map and image as they must",
        take_and_slow_writes,
    )
    .with_module()
    .within_s(240),
    Scenario::new("race/take_and_throttled_writes", "so are writes that wait for io.max", take_and_throttled_writes)
        .with_module()
        .within_s(240),
    Scenario::new("race/take_gives_up", "a TAKE that cannot wait any longer undoes everything", take_gives_up)
        .with_module()
        .within_s(300),
    Scenario::new("race/destroy_during_copy", "DESTROY while data is being preserved lets the writes go", || {
        with_each_store(destroy_during_copy)
    })
    .with_module(),
];

/// How long the slow disk holds a read or write.
const HOLD_MS: u64 = 700;

/// A disk whose reads or writes take long.
struct Slow {
    mapped: Mapped,
    sectors: u64,
}

impl Slow {
    fn new(read_ms: u64, write_ms: u64) -> Result<Self> {
        let disk = Disk::First.node()?;
        let sectors = BlockDevice::open(&disk)?.size_bytes()? / 512;
        Ok(Self { mapped: Mapped::delayed("slow", &disk, sectors, read_ms, write_ms)?, sectors })
    }

    fn set(&self, read_ms: u64, write_ms: u64) -> Result<()> {
        self.mapped.reload(&dm::delay_table(&Disk::First.node()?, self.sectors, read_ms, write_ms))
    }
}

enum Order {
    ReadFirst,
    WriteFirst,
}

/// With a file as the store the worker preserves, with a device the writer itself does.
fn with_each_store(scenario: impl Fn(&Store) -> Result<()>) -> Result<()> {
    scenario(&Store { path: "/tmp".into(), limit_sectors: AMPLE_SECTORS }).context("with a file as the store")?;
    let device = Store { path: Disk::Store.node()?, limit_sectors: 1 << 22 };
    scenario(&device).context("with a device as the store")
}

struct Store {
    path: PathBuf,
    limit_sectors: u64,
}

impl Store {
    fn take(&self, tracked: &Tracked) -> Result<Snapshot> {
        Snapshot::take_of(&self.path, self.limit_sectors, &[tracked])
    }
}

fn image_read_and_write(order: Order, store: &Store) -> Result<()> {
    let slow = Slow::new(0, 0)?;
    let tracked = Tracked::attach(&slow.mapped.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 4096);
    area.fill()?;
    slow.set(HOLD_MS, 0)?;
    let snapshot = store.take(&tracked)?;
    let part = Area { sectors: 64, ..area.clone() };
    let (image, disk) = (tracked.image()?, DirectFile::open(tracked.path())?);
    let write = || disk.write(&AlignedBuffer::new(32768), 0).context("the write");
    let read = || Picture::of(&image, &part);
    let picture = std::thread::scope(|scope| -> Result<Picture> {
        let (picture, written) = match order {
            Order::ReadFirst => {
                let reader = scope.spawn(read);
                nix::poll::poll(&mut [], 200_u16)?;
                let written = write();
                (reader.join(), written)
            }
            Order::WriteFirst => {
                let writer = scope.spawn(write);
                nix::poll::poll(&mut [], 200_u16)?;
                (Ok(read()), writer.join().map_err(|_| anyhow!("the writer panicked"))?)
            }
        };
        written?;
        picture.map_err(|_| anyhow!("the reader panicked"))?
    })?;
    oracle::ensure_baseline(&picture).context("the image shows what was written after TAKE")?;
    oracle::ensure_baseline(&Picture::of(&image, &area)?).context("later")?;
    snapshot.destroy()?;
    drop(disk);
    tracked.detach()?;
    slow.mapped.remove()
}

fn parts_of_a_chunk(store: &Store) -> Result<()> {
    let slow = Slow::new(0, 0)?;
    let tracked = Tracked::attach(&slow.mapped.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1024);
    area.fill()?;
    slow.set(HOLD_MS, 0)?;
    let snapshot = store.take(&tracked)?;
    std::thread::scope(|scope| -> Result<()> {
        let writers = (0..16_u64).map(|number| {
            let path = tracked.path();
            scope.spawn(move || -> Result<()> {
                // Overlapping its neighbours by a sector on both sides, and none of them aligned to a page.
                let start = number * 32 + 7;
                DirectFile::open(path)?.write(&AlignedBuffer::new(34 * 512), start * 512)?;
                Ok(())
            })
        });
        let writers: Vec<_> = writers.collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| anyhow!("a writer panicked"))?)
    })?;
    slow.set(0, 0)?;
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()?;
    slow.mapped.remove()
}

/// Snapshots and maps of a device that is written while its writes take long; the map oracle comes with the image's.
fn ensure_take_is_an_instant(tracked: &Tracked, areas: &[Area], force: Force) -> Result<()> {
    let storm = crate::storm::Storm::start(areas, force, 17)?;
    let (mut takes, mut maps, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
    // The fill was tracked, too; this TAKE puts it behind us.
    Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[tracked])?.destroy()?;
    let base = usize::from(tracked.info()?.changes_number);
    let began_ns = stamp::now_ns()?;
    for _ in 0..3 {
        storm.wait_for(2)?;
        let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
        tracked.add_to(snapshot.id())?;
        takes.push(Taken::around(|| snapshot.take().context("TAKE"))?);
        storm.wait_for(2)?;
        maps.push(tracked.map()?);
        let image = tracked.image()?;
        pictures.push(areas.iter().map(|area| Picture::of(&image, area)).collect::<Result<Vec<_>>>()?);
        snapshot.destroy()?;
    }
    let mut journals = storm.stop()?;
    for (taken, pictures) in takes.iter().zip(&pictures) {
        oracle::ensure_instant(pictures, &journals, *taken)?;
    }
    for journal in &mut journals {
        journal.writes.retain(|write| write.issued_ns > began_ns);
    }
    for (number, map) in (1..).zip(&maps) {
        let since: Vec<u8> =
            map.iter().map(|byte| byte.saturating_sub(u8::try_from(base).unwrap_or(u8::MAX))).collect();
        oracle::ensure_no_change_lost(&since, 128, 0, &journals, &takes[..number])?;
    }
    Ok(())
}

/// Two small areas, far from each other, filled while the disk is still fast.
fn filled_areas(tracked: &Tracked) -> Result<Vec<Area>> {
    let places = [(0, 1 << 14), (1 << 17, 1 << 14)];
    let areas = places.map(|(first, sectors)| Area::of_disk(0, tracked.path(), first, sectors)).to_vec();
    areas.iter().try_for_each(Area::fill)?;
    Ok(areas)
}

fn take_and_slow_writes() -> Result<()> {
    let slow = Slow::new(0, 0)?;
    let tracked = Tracked::attach(&slow.mapped.node()?)?;
    let areas = filled_areas(&tracked)?;
    slow.set(0, HOLD_MS / 2)?;
    ensure_take_is_an_instant(&tracked, &areas, Force { writers: 4, largest: 32, pause_us: 0 })?;
    tracked.detach()?;
    slow.mapped.remove()
}

fn take_and_throttled_writes() -> Result<()> {
    let disk = Disk::First.node()?;
    let tracked = Tracked::attach(&disk)?;
    let areas = filled_areas(&tracked)?;
    let throttle = Throttle::writes(&disk, 256 << 10)?;
    ensure_take_is_an_instant(&tracked, &areas, Force { writers: 4, largest: 64, pause_us: 0 })?;
    drop(throttle);
    tracked.detach()
}

/// A suspended device holds its writes for as long as it is suspended.
fn take_gives_up() -> Result<()> {
    let slow = Slow::new(0, 0)?;
    let node = slow.mapped.node()?;
    let tracked = Tracked::attach(&node)?;
    let area = Area::of_disk(0, &node, 0, 4096);
    area.fill()?;
    tool::run("dmsetup", &["suspend", "--noflush", "--nolockfs", "slow"])?;
    let held = {
        let node = node.clone();
        std::thread::spawn(move || -> Result<()> {
            DirectFile::open(&node)?.write(&AlignedBuffer::new(4096), 0).context("the held write")
        })
    };
    nix::poll::poll(&mut [], 300_u16)?;
    let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    tracked.add_to(snapshot.id())?;
    // The usual half a minute would prove the same.
    let short = Parameter::set("take_timeout_ms", 3000)?;
    let started = Instant::now();
    let result = snapshot.take();
    let elapsed = started.elapsed();
    short.restore()?;
    tool::run("dmsetup", &["resume", "--noudevsync", "slow"])?;
    held.join().map_err(|_| anyhow!("the writer panicked"))??;
    ensure!(result == Err(nix::Error::ETIMEDOUT), "TAKE with a held write gives {result:?} after {elapsed:?}");
    ensure!(elapsed < Duration::from_secs(20) * pace::patience(), "TAKE gave up only after {elapsed:?}");
    ensure!(tracked.info()?.changes_number == 0, "a TAKE that was undone counts");
    DirectFile::open(&node)?.write(&AlignedBuffer::new(4096), 8192).context("a write after the undone TAKE")?;
    snapshot.destroy()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked]).context("the next one")?;
    ensure!(tracked.map()?[0] == 1, "the held write is not in the map");
    snapshot.destroy()?;
    tracked.detach()?;
    slow.mapped.remove()
}

fn destroy_during_copy(store: &Store) -> Result<()> {
    let slow = Slow::new(0, 0)?;
    let tracked = Tracked::attach(&slow.mapped.node()?)?;
    Area::of_disk(0, tracked.path(), 0, 4096).fill()?;
    slow.set(HOLD_MS, 0)?;
    let snapshot = store.take(&tracked)?;
    let disk = DirectFile::open(tracked.path())?;
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| disk.write(&AlignedBuffer::new(65536), 0));
        nix::poll::poll(&mut [], 150_u16)?;
        snapshot.destroy()?;
        writer.join().map_err(|_| anyhow!("the writer panicked"))?.context("the write")
    })?;
    slow.set(0, 0)?;
    ensure!(disk.read_new(0, 65536)?.bytes().iter().all(|byte| *byte == 0), "the write is lost");
    drop(disk);
    tracked.detach()?;
    slow.mapped.remove()
}
