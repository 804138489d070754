//! Trackers on and below other block drivers: device-mapper, LVM, RAID, loop.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::block_device::BlockDevice;
use crate::disk::{Disk, MemoryDisks};
use crate::dm::Mapped;
use crate::filter::Tracked;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::storm::Area;
use crate::tool;
use crate::trial::{AREA_SECTORS, Trial, View};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("stack/dm_linear", "a mapped device, tracked on top", dm_linear).with_module().within_s(180),
    Scenario::new("stack/below_dm_linear", "a disk, tracked below a mapped device", below_dm_linear)
        .with_module()
        .within_s(180),
    Scenario::new("stack/lv_and_pv", "a volume and its disk in one snapshot show the same instant", lv_and_pv)
        .with_module()
        .within_s(240),
    Scenario::new("stack/md", "a mirror, and both its members, in one snapshot", md).with_module().within_s(240),
    Scenario::new("stack/loop", "a loop device on a file", on_loop).with_module().within_s(180),
    Scenario::new("stack/store_on_own_disk", "a disk on which the store lies is refused", store_on_own_disk)
        .with_module(),
    Scenario::new("stack/store_below_loop", "so is it when a loop lies between", store_below_loop).with_module(),
    Scenario::new(
        "stack/store_below_image",
        "so is it when an image of another snapshot lies between",
        store_below_image,
    )
    .with_module(),
    Scenario::new(
        "stack/store_on_tracked_disk",
        "a store on a tracked disk outside of the snapshot works",
        store_on_tracked,
    )
    .with_module()
    .within_s(180),
];

fn sectors_of(path: &Path) -> Result<u64> {
    Ok(BlockDevice::open(path)?.size_bytes()? / 512)
}

fn dm_linear() -> Result<()> {
    let disk = Disk::First.node()?;
    let mapped = Mapped::linear("top", &disk, sectors_of(&disk)?)?;
    let tracked = Tracked::attach(&mapped.node()?)?;
    Trial::new(vec![&tracked], vec![Area::of_disk(0, tracked.path(), 0, AREA_SECTORS)]).run()?;
    tracked.detach()?;
    mapped.remove()
}

fn below_dm_linear() -> Result<()> {
    let disk = Disk::First.node()?;
    let mapped = Mapped::new("top", &format!("0 {} linear {} 8192", 1 << 20, disk.display()))?;
    let tracked = Tracked::attach(&disk)?;
    let area = Area {
        path: mapped.node()?,
        disk: 0,
        first_sector: 8192 + 4096,
        first_sector_on_path: 4096,
        sectors: AREA_SECTORS,
        granule_sectors: 1,
    };
    Trial::new(vec![&tracked], vec![area]).run()?;
    tracked.detach()?;
    mapped.remove()
}

/// A volume group on the first disk; gone when dropped.
struct VolumeGroup {
    disk: String,
}

impl VolumeGroup {
    fn make() -> Result<Self> {
        let disk = Disk::First.node()?.to_string_lossy().into_owned();
        tool::run("lvm", &["pvcreate", "-ff", "-y", &disk])?;
        tool::run("lvm", &["vgcreate", "group", &disk])?;
        let group = Self { disk };
        tool::run("lvm", &["lvcreate", "-y", "-Zn", "-Wn", "-L", "128M", "-n", "volume", "group"])?;
        Ok(group)
    }

    fn volume() -> Result<PathBuf> {
        Ok(std::fs::canonicalize("/dev/mapper/group-volume")?)
    }

    /// The sector of the disk at which the volume begins.
    fn start() -> Result<u64> {
        let table = tool::run("dmsetup", &["table", "group-volume"])?;
        let start = table.split_whitespace().last().context("the volume has no table")?;
        Ok(start.parse()?)
    }
}

impl Drop for VolumeGroup {
    fn drop(&mut self) {
        let _ = tool::run("lvm", &["vgchange", "-an", "group"]);
        let _ = tool::run("lvm", &["vgremove", "-ff", "-y", "group"]);
        let _ = tool::run("lvm", &["pvremove", "-ff", "-y", &self.disk]);
    }
}

fn lv_and_pv() -> Result<()> {
    let group = VolumeGroup::make()?;
    let volume = Tracked::attach(&VolumeGroup::volume()?)?;
    let disk = Tracked::attach(&Disk::First.node()?)?;
    let areas = vec![Area::of_disk(0, volume.path(), 4096, AREA_SECTORS / 2)];
    let on_disk = View { area: 0, tracked: 1, first_sector: VolumeGroup::start()? + 4096 };
    Trial { views: vec![on_disk], ..Trial::new(vec![&volume, &disk], areas) }.run()?;
    volume.detach()?;
    disk.detach()?;
    drop(group);
    Ok(())
}

/// A mirror of two disks in memory; gone when dropped.
struct Mirror {
    disks: MemoryDisks,
}

impl Mirror {
    const NODE: &str = "/dev/md0";

    fn make() -> Result<Self> {
        let mirror = Self { disks: MemoryDisks::new(2, 48, "")? };
        let members = [mirror.disks.node(0)?, mirror.disks.node(1)?].map(|node| node.to_string_lossy().into_owned());
        let fixed =
            ["--create", Self::NODE, "--run", "--assume-clean", "--metadata=1.0", "--level=1", "--raid-devices=2"];
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        tool::run("mdadm", &[&fixed[..], &members].concat())?;
        Ok(mirror)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = tool::run("mdadm", &["--stop", Self::NODE]);
    }
}

/// Metadata 1.0 lies at the members' ends, so that sectors have the same numbers on the mirror and its members.
fn md() -> Result<()> {
    let mirror = Mirror::make()?;
    let paths = [PathBuf::from(Mirror::NODE), mirror.disks.node(0)?, mirror.disks.node(1)?];
    let tracked = paths.iter().map(|path| Tracked::attach(path)).collect::<Result<Vec<_>>>()?;
    let areas = vec![Area::of_disk(0, Path::new(Mirror::NODE), 2048, AREA_SECTORS / 2)];
    let views = (1..=2).map(|tracked| View { area: 0, tracked, first_sector: 2048 }).collect();
    Trial { views, ..Trial::new(tracked.iter().collect(), areas) }.run()?;
    tracked.into_iter().try_for_each(Tracked::detach)?;
    drop(mirror);
    Ok(())
}

/// A loop device; gone when dropped.
pub struct Loop {
    node: PathBuf,
}

impl Loop {
    /// Attaches a file.
    pub fn attach(file: &Path) -> Result<Self> {
        let shown = tool::run("losetup", &["--find", "--show", &file.to_string_lossy()])?;
        Ok(Self { node: PathBuf::from(shown.trim()) })
    }

    /// Its node.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// Looks at the file's size again.
    pub fn resize(&self) -> Result<()> {
        tool::run("losetup", &["--set-capacity", &self.node.to_string_lossy()]).map(drop)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = tool::run("losetup", &["--detach", &self.node.to_string_lossy()]);
    }
}

fn on_loop() -> Result<()> {
    let store = StoreDirectory::new()?;
    let file = store.file(128 << 20)?;
    let device = Loop::attach(&file)?;
    let tracked = Tracked::attach(device.node())?;
    Trial::new(vec![&tracked], vec![Area::of_disk(0, device.node(), 2048, AREA_SECTORS)]).run()?;
    tracked.detach()?;
    drop(device);
    std::fs::remove_file(file)?;
    store.close()
}

/// Either ADD or TAKE refuses, and nothing stays behind.
fn ensure_refused(tracked: &Tracked, store: &Path, limit_sectors: u64) -> Result<()> {
    let snapshot = Snapshot::create(store, limit_sectors)?;
    let refused = tracked.add_to(snapshot.id()).and_then(|()| snapshot.take());
    ensure!(refused.is_err(), "a disk that holds the store is in the snapshot");
    snapshot.destroy()
}

fn store_on_own_disk() -> Result<()> {
    let store = StoreDirectory::new()?;
    let tracked = Tracked::attach(&Disk::Store.node()?)?;
    ensure_refused(&tracked, store.path(), 1 << 16)?;
    ensure_refused(&tracked, &store.file(16 << 20)?, 1 << 16)?;
    tracked.detach()?;
    store.close()
}

fn store_below_loop() -> Result<()> {
    let outer = StoreDirectory::new()?;
    let device = Loop::attach(&outer.file(64 << 20)?)?;
    tool::run("mkfs.ext4", &["-q", "-F", &device.node().to_string_lossy()])?;
    let inner = crate::mount::Mount::new(device.node(), "inner", "ext4", "")?;
    let tracked = Tracked::attach(&Disk::Store.node()?)?;
    ensure_refused(&tracked, inner.root(), 1 << 16)?;
    tracked.detach()?;
    inner.unmount()?;
    drop(device);
    outer.close()
}

/// What is written to an image goes to the store of the image's snapshot.
fn store_below_image() -> Result<()> {
    let outer = StoreDirectory::new()?;
    let original = Tracked::attach(&Disk::First.node()?)?;
    let first = Snapshot::take_of(outer.path(), AMPLE_SECTORS, &[&original])?;
    let below = Tracked::attach(&Disk::Store.node()?)?;
    let image = original.image()?;
    let image_sectors = sectors_of(&image)?;
    ensure_refused(&below, &image, image_sectors)?;
    let elsewhere = Tracked::attach(&Disk::Second.node()?)?;
    let second = Snapshot::create(&image, image_sectors)?;
    elsewhere.add_to(second.id())?;
    second.take()?;
    second.destroy()?;
    for tracked in [elsewhere, below] {
        tracked.detach()?;
    }
    first.destroy()?;
    original.detach()?;
    outer.close()
}

fn store_on_tracked() -> Result<()> {
    let store = StoreDirectory::new()?;
    let below = Tracked::attach(&Disk::Store.node()?)?;
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    Trial::new(vec![&tracked], vec![Area::of_disk(0, tracked.path(), 0, AREA_SECTORS)])
        .with_store(store.path())
        .run()?;
    Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&below])?.destroy()?;
    ensure!(below.map()?.iter().any(|byte| *byte > 0), "writes of the store are not tracked on its disk");
    tracked.detach()?;
    below.detach()?;
    store.close()
}
