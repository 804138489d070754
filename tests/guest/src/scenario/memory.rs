//! Allocations that fail inside the module: calls say so and change nothing, writes never notice.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;

use crate::allocation_faults::AllocationFaults;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::filter::Tracked;
use crate::oracle::{self, Picture};
use crate::registry::Scenario;
use crate::snapshot::{self, AMPLE_SECTORS, Snapshot};
use crate::storm::{Area, Force, Storm};
use crate::{filter, ioctl};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("memory/calls", "each call that lacks memory fails alone, and works when there is some", calls)
        .with_failing_allocations()
        .within_s(240),
    Scenario::new("memory/rare", "images survive, and are read, when every tenth allocation fails", rare)
        .with_failing_allocations()
        .within_s(240),
    Scenario::new(
        "memory/often",
        "writes succeed when most allocations fail; images are exact, or lost and say so",
        || writes(70, &Store::device()?).map(drop),
    )
    .with_failing_allocations()
    .within_s(180),
    Scenario::new("memory/tracking", "no change is lost when the map lacks memory", tracking)
        .with_failing_allocations()
        .within_s(180),
];

/// More allocations than any call makes.
const MANY: u32 = 400;

/// Lets the first, second, third … allocation of a call fail until the call needs no more of them. `undo` takes back a
/// call that succeeded all the same.
fn each_allocation<T>(
    faults: &AllocationFaults,
    what: &str,
    mut call: impl FnMut() -> nix::Result<T>,
    mut undo: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    for nth in 1..=MANY {
        let (result, failed) = faults.at(nth, &mut call)?;
        match result {
            Ok(value) => undo(value).with_context(|| format!("{what} with allocation {nth} failing"))?,
            Err(errno) => {
                ensure!(failed, "{what} fails with {errno} though every allocation succeeded");
                ensure!(errno == Errno::ENOMEM, "{what} with allocation {nth} failing gives {errno}");
            }
        }
        if !failed {
            println!("{what}: {} allocations", nth - 1);
            return Ok(());
        }
    }
    anyhow::bail!("{what} allocates for ever")
}

fn calls() -> Result<()> {
    let faults = AllocationFaults::prepared()?;
    let path = Disk::First.node()?;
    let device = filter::open(&path)?;
    let name = kmod_logic::uapi::FILTER_NAME;
    each_allocation(&faults, "ATTACH", || ioctl::attach(&device, name), |()| Ok(ioctl::detach(&device, name)?))?;
    let control = snapshot::control()?;
    let create = || snapshot::create_raw(&control, &Disk::Store.node().unwrap_or_default(), 1 << 22);
    each_allocation(&faults, "CREATE", create, |id| Ok(ioctl::destroy(&control, id)?))?;
    ensure!(ioctl::count_snapshots(&control)? == 0, "a CREATE that failed left a snapshot");

    let tracked = Tracked::attach(&path)?;
    let area = Area::of_disk(0, &path, 0, 4096);
    area.fill()?;
    // TAKE also writes back what is cached, so it has no fixed number of them.
    for nth in 1..=MANY / 4 {
        let current = Snapshot::create(&Disk::Store.node()?, 1 << 22)?;
        let (result, failed) = faults.at(nth, || tracked.add_to(current.id()).and_then(|()| current.take()))?;
        // Neither half nor whole: what failed is as if it had not been.
        match result {
            Ok(()) => oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?,
            Err(Errno::ENOMEM) if failed => {}
            Err(errno) => anyhow::bail!("ADD and TAKE give {errno} at allocation {nth}"),
        }
        DirectFile::open(&path)?.write(&AlignedBuffer::new(4096), 8 << 20).context("a write afterwards")?;
        current.destroy()?;
        if !failed {
            println!("ADD and TAKE: {} allocations", nth - 1);
            break;
        }
    }
    tracked.detach()
}

/// Where the difference storage lies: with a file the worker preserves, with a device the writer itself does.
struct Store {
    path: PathBuf,
    limit_sectors: u64,
}

impl Store {
    fn device() -> Result<Self> {
        Ok(Self { path: Disk::Store.node()?, limit_sectors: 1 << 22 })
    }

    fn file() -> Self {
        Self { path: "/tmp".into(), limit_sectors: AMPLE_SECTORS }
    }
}

fn rare() -> Result<()> {
    for store in [Store::device()?, Store::file()] {
        let lost = writes(10, &store).with_context(|| format!("with the store in {}", store.path.display()))?;
        ensure!(lost == 0, "{lost} images were lost with the store in {}", store.path.display());
    }
    Ok(())
}

/// Writers under a snapshot, and a reader of its image, while allocations fail; the image is exact or says that it is lost. How
/// many were lost.
fn writes(percent: u32, store: &Store) -> Result<usize> {
    let faults = AllocationFaults::prepared()?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 15);
    area.fill()?;
    let mut lost = 0;
    for round in 0..3_u64 {
        let snapshot = Snapshot::take_of(&store.path, store.limit_sectors, &[&tracked])?;
        let image = tracked.image()?;
        let before = Picture::of(&image, &area)?;
        let storm = Storm::start(std::slice::from_ref(&area), Force::default(), 31 + round)?;
        faults.percent(percent)?;
        let waited = storm.wait_for(30);
        let meanwhile = Picture::of(&image, &area);
        let waited = waited.and_then(|()| storm.wait_for(30));
        faults.percent(0)?;
        waited.context("while allocations fail")?;
        storm.wait_for(10).context("when memory is back")?;
        storm.stop().context("a write fails for lack of memory")?;
        let spoiled = tracked.snapshot_info()?.error_code;
        println!("round {round}: state {spoiled}");
        if spoiled == 0 {
            before.ensure_same(&meanwhile.context("a read while allocations fail")?)?;
            before.ensure_same(&Picture::of(&image, &area)?)?;
        } else {
            super::fault::corrupted_event(&snapshot)?;
            lost += 1;
        }
        snapshot.destroy()?;
    }
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked]).context("the next one")?;
    Picture::of(&tracked.image()?, &area)?;
    snapshot.destroy()?;
    tracked.detach()?;
    Ok(lost)
}

/// A map that lacks memory may name too much, never too little.
fn tracking() -> Result<()> {
    let faults = AllocationFaults::prepared()?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let areas =
        [(0, 1 << 14), (1 << 20, 1 << 14)].map(|(first, sectors)| Area::of_disk(0, tracked.path(), first, sectors));
    let storm = Storm::start(&areas, Force::default(), 41)?;
    let (mut takes, mut maps) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        faults.percent(90)?;
        let waited = storm.wait_for(20);
        faults.percent(0)?;
        waited.context("while allocations fail")?;
        let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
        tracked.add_to(snapshot.id())?;
        takes.push(oracle::Taken::around(|| snapshot.take().context("TAKE"))?);
        maps.push(tracked.map()?);
        snapshot.destroy()?;
    }
    let journals = storm.stop().context("a tracked write fails for lack of memory")?;
    for (number, map) in (1..).zip(&maps) {
        oracle::ensure_no_change_lost(map, 128, 0, &journals, &takes[..number])?;
    }
    tracked.detach()
}
