//! Deaths, removals and changes at bad moments: of writers, owners, disks and of the module itself.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::FILTER_NAME;
use kmod_logic::uapi::extension::CREATE_TIED_TO_FD;

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::dm::{self, Mapped};
use crate::filter::Tracked;
use crate::oracle::{self, Picture};
use crate::pace::Deadline;
use crate::registry::Scenario;
use crate::scenario::stack::Loop;
use crate::snapshot::{self, AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::storm::{Area, Force, Storm};
use crate::{filter, ioctl, kernel_module};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "lifecycle/killed_writers",
        "killing writers in the middle of a preservation spoils nothing",
        killed_writers,
    )
    .with_module()
    .within_s(120),
    Scenario::new(
        "lifecycle/survives_its_owner",
        "a snapshot outlives the descriptor that made it",
        survives_its_owner,
    )
    .with_module(),
    Scenario::new("lifecycle/killed_owner", "a snapshot outlives the killed process that made it", killed_owner)
        .with_module(),
    Scenario::new("lifecycle/tied_to_owner", "a tied snapshot ends with its descriptor", tied_to_owner).with_module(),
    Scenario::new("lifecycle/grown", "a disk that grows is reset, and preserved beyond its old end", grown)
        .with_module()
        .within_s(120),
    Scenario::new("lifecycle/shrunk", "a disk that shrinks under a snapshot is reset", shrunk)
        .with_module()
        .within_s(120),
    Scenario::new("lifecycle/unload_refused", "the module stays while it is in use", unload_refused).with_module(),
    Scenario::new("lifecycle/unload_under_load", "load, attach, detach and unload under writes", || {
        unload_under_load(3)
    })
    .with_module()
    .within_s(300),
    Scenario::new("lifecycle/unload_often", "the same fifteen times", || unload_under_load(15))
        .with_module()
        .only_soak()
        .within_s(1500),
    Scenario::new("lifecycle/restart", "the machine restarts in order under writes and a snapshot", restart)
        .with_module()
        .in_own_boot()
        .ends_with_restart(),
    Scenario::new("lifecycle/driver_unloaded", "a tracked disk vanishes and its driver is unloaded", driver_unloaded)
        .with_module(),
    Scenario::new("lifecycle/unplugged", "a disk unplugged under a snapshot harms nobody else", unplugged)
        .with_module()
        .in_own_boot()
        .within_s(120),
];

/// Processes that work until they are killed.
struct Processes(Vec<Child>);

impl Processes {
    fn start(work: &str, path: &Path, count: usize) -> Result<Self> {
        let start = || Command::new("/proc/self/exe").arg(work).arg(path).spawn();
        Ok(Self((0..count).map(|_| start()).collect::<std::io::Result<_>>()?))
    }

    fn writing(path: &Path, count: usize) -> Result<Self> {
        Self::start("write", path, count)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
        }
        for process in &mut self.0 {
            let _ = process.wait();
        }
    }
}

/// What `guest write PATH` does.
pub fn write_for_ever(path: &Path) -> Result<std::process::ExitCode> {
    let (file, buffer) = (DirectFile::open(path)?, AlignedBuffer::new(24 << 10));
    let mut random = crate::random::Random::new(u64::from(std::process::id()));
    loop {
        file.write(&buffer, random.below(500) * 4096)?;
    }
}

fn killed_writers() -> Result<()> {
    let disk = Disk::First.node()?;
    let sectors = BlockDevice::open(&disk)?.size_bytes()? / 512;
    let mapped = Mapped::linear("origin", &disk, sectors)?;
    let tracked = Tracked::attach(&mapped.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 1 << 13);
    area.fill()?;
    mapped.reload(&dm::delay_table(&disk, sectors, 60, 0))?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    for _ in 0..6 {
        let writers = Processes::writing(tracked.path(), 4)?;
        nix::poll::poll(&mut [], 250_u16)?;
        drop(writers);
    }
    mapped.reload(&dm::linear_table(&disk, sectors))?;
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()?;
    mapped.remove()
}

fn survives_its_owner() -> Result<()> {
    let id = snapshot::create_raw(&snapshot::control()?, Path::new("/tmp"), AMPLE_SECTORS)?;
    let control = snapshot::control()?;
    let (result, count, ids) = ioctl::collect(&control, 4);
    result?;
    ensure!(count == 1 && ids[0] == id, "COLLECT finds {count} snapshots");
    ioctl::destroy(&control, id)?;
    Ok(())
}

/// What `guest own PATH` does.
pub fn own_snapshot(path: &Path) -> Result<std::process::ExitCode> {
    let control = snapshot::control()?;
    let id = snapshot::create_raw(&control, Path::new("/tmp"), AMPLE_SECTORS)?;
    let device = filter::open(path)?;
    filter::add(&device, id)?;
    ioctl::take(&control, id)?;
    loop {
        std::thread::park();
    }
}

fn killed_owner() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 4096);
    area.fill()?;
    let owner = Processes::start("own", tracked.path(), 1)?;
    let deadline = Deadline::after_s(20);
    while tracked.image().is_err() {
        deadline.ensure("the owner takes no snapshot")?;
        nix::poll::poll(&mut [], 20_u8)?;
    }
    drop(owner);
    DirectFile::open(tracked.path())?.write(&AlignedBuffer::new(65536), 0)?;
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    let control = snapshot::control()?;
    let (result, count, ids) = ioctl::collect(&control, 4);
    result?;
    ensure!(count == 1, "COLLECT finds {count} snapshots");
    ioctl::destroy(&control, ids[0])?;
    tracked.detach()
}

/// Returns only when it fails: the kernel restarts the machine, which ends there.
fn restart() -> Result<()> {
    let tracked = [Disk::First, Disk::Scsi].map(|disk| disk.node().and_then(|node| Tracked::attach(&node)));
    let [first, second] = tracked;
    let (first, second) = (first?, second?);
    Area::of_disk(0, first.path(), 0, 4096).fill()?;
    let store = StoreDirectory::new()?;
    let snapshot = Snapshot::take_of(store.path(), AMPLE_SECTORS, &[&first, &second])?;
    let writers = [Processes::writing(first.path(), 2)?, Processes::writing(second.path(), 2)?];
    nix::poll::poll(&mut [], 500_u16)?;
    let never = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT);
    drop((writers, snapshot));
    anyhow::bail!("the machine does not restart: {never:?}")
}

fn tied_to_owner() -> Result<()> {
    let (owner, control) = (snapshot::control()?, snapshot::control()?);
    let id = ioctl::create_with(&owner, c"/tmp", AMPLE_SECTORS, CREATE_TIED_TO_FD)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    tracked.add_to(id)?;
    ioctl::take(&owner, id)?;
    let image = tracked.image()?;
    drop(owner);
    ensure!(ioctl::count_snapshots(&control)? == 0, "the snapshot survives its descriptor");
    ensure!(!image.exists(), "its image does");
    tracked.detach()
}

fn grown() -> Result<()> {
    let store = StoreDirectory::new()?;
    let path = store.file(64 << 20)?;
    let device = Loop::attach(&path)?;
    let tracked = Tracked::attach(device.node())?;
    let before = tracked.info()?;
    let area = Area::of_disk(0, device.node(), 0, 4096);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(96 << 20)?;
    device.resize()?;
    let file = DirectFile::open(device.node())?;
    file.write(&AlignedBuffer::new(4096), 80 << 20).context("a write beyond the old end")?;
    file.write(&AlignedBuffer::new(4096), 0)?;
    // The image is either still exact or has said that it is lost, but never silently wrong.
    if tracked.snapshot_info()?.error_code == 0 {
        oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    }
    snapshot.destroy()?;
    Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?.destroy()?;
    let after = tracked.info()?;
    ensure!(after.capacity_bytes == 96 << 20, "the tracker sees {} bytes", after.capacity_bytes);
    ensure!(after.generation != before.generation, "the generation is the same after a change of size");
    drop(file);
    tracked.detach()?;
    drop(device);
    store.close()
}

fn shrunk() -> Result<()> {
    let store = StoreDirectory::new()?;
    let path = store.file(64 << 20)?;
    let device = Loop::attach(&path)?;
    let tracked = Tracked::attach(device.node())?;
    let before = tracked.info()?;
    let area = Area::of_disk(0, device.node(), 0, 4096);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(32 << 20)?;
    device.resize()?;
    DirectFile::open(device.node())?.write(&AlignedBuffer::new(65536), 0).context("a write to what is left")?;
    // What has gone cannot be in the image; what is left is either exact or lost, and then the image says so.
    if tracked.snapshot_info()?.error_code == 0 {
        oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    }
    snapshot.destroy()?;
    Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?.destroy()?;
    let after = tracked.info()?;
    ensure!(after.capacity_bytes == 32 << 20, "the tracker sees {} bytes", after.capacity_bytes);
    ensure!(after.generation != before.generation, "the generation is the same after a change of size");
    tracked.detach()?;
    drop(device);
    store.close()
}

fn unload_refused() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    ensure!(kernel_module::remove("blksnap").is_err(), "the module goes while a tracker is attached");
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    ensure!(kernel_module::remove("blksnap").is_err(), "the module goes under a snapshot");
    snapshot.destroy()?;
    tracked.detach()?;
    let control = snapshot::control()?;
    ensure!(kernel_module::remove("blksnap").is_err(), "the module goes while its device is open");
    drop(control);
    Ok(())
}

fn unload_under_load(rounds: u32) -> Result<()> {
    let path = Disk::First.node()?;
    let area = Area::of_disk(0, &path, 0, 1 << 16);
    let storm = Storm::start(std::slice::from_ref(&area), Force::default(), 23)?;
    for round in 1..=rounds {
        storm.wait_for(5)?;
        let tracked = Tracked::attach(&path).with_context(|| format!("round {round}"))?;
        storm.wait_for(5)?;
        Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?.destroy()?;
        tracked.detach()?;
        kernel_module::remove("blksnap").with_context(|| format!("cannot unload in round {round}"))?;
        storm.wait_for(5)?;
        kernel_module::load("blksnap", "").with_context(|| format!("cannot load in round {round}"))?;
    }
    storm.stop().map(drop)
}

/// The filter's last reference on a disk that had vanished went into code of a driver that was unloaded by then.
fn driver_unloaded() -> Result<()> {
    for _ in 0..3 {
        let disks = MemoryDisks::new(1, 16, "")?;
        // Never detached: the disk goes from under its filter.
        ioctl::attach(&std::fs::File::open(disks.node(0)?)?, FILTER_NAME)?;
        drop(disks);
        let deadline = Deadline::after_s(15);
        while kernel_module::is_loaded("null_blk") {
            ensure!(!deadline.is_over(), "the driver cannot be unloaded after its tracked disk has gone");
            // Refused while somebody uses it.
            let _ = kernel_module::remove("null_blk");
            nix::poll::poll(&mut [], 10_u8)?;
        }
    }
    Ok(())
}

fn unplugged() -> Result<()> {
    let (scsi, other) = (Disk::Scsi.node()?, Tracked::attach(&Disk::First.node()?)?);
    let delete = Path::new("/sys/block").join(Disk::Scsi.name()?).join("device/delete");
    let tracked = Tracked::attach(&scsi)?;
    let area = Area::of_disk(0, other.path(), 0, 4096);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked, &other])?;
    let writers = Processes::writing(&scsi, 2)?;
    nix::poll::poll(&mut [], 300_u16)?;
    std::fs::write(&delete, "1").context("cannot unplug")?;
    drop(writers);
    DirectFile::open(other.path())?.write(&AlignedBuffer::new(65536), 0).context("a write to the disk that stays")?;
    if other.snapshot_info()?.error_code == 0 {
        oracle::ensure_baseline(&Picture::of(&other.image()?, &area)?)?;
    }
    snapshot.destroy()?;
    drop(tracked);
    other.detach()?;
    kernel_module::remove("blksnap").context("the module cannot be unloaded after the disk has gone")
}
