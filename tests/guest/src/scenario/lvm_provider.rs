//! Backups by `icecore backup --provider lvm` of volumes in use: thin ones with a list of changes, classic ones whole.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::icecore::{Point, Repository};
use crate::kernel_module;
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::store::StoreDirectory;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("lvm/thin", "a thin volume's incremental reads what changed, and falls back where it must", thin)
        .with_stock_kernel()
        .in_own_boot()
        .within_s(300),
    Scenario::new(
        "lvm/classic",
        "a classic volume is backed up whole from a snapshot that goes, or overflows in words",
        classic,
    )
    .with_stock_kernel()
    .in_own_boot()
    .within_s(240),
];

const MIB: u64 = 1 << 20;
/// The pool's blocks: a change is listed as so much.
const BLOCK: u64 = 64 << 10;

/// A volume group on the first disk and a repository on another; gone when dropped.
struct Scene {
    disk: String,
    repository: Repository,
    store: StoreDirectory,
}

impl Scene {
    fn new() -> Result<Self> {
        let disk = Disk::First.node()?.to_string_lossy().into_owned();
        // Pools are not checked by programs that this machine does not have.
        let none =
            "global { thin_check_executable = \"\" thin_repair_executable = \"\" thin_dump_executable = \"\" }\n";
        std::fs::write("/etc/lvm/lvmlocal.conf", none)?;
        tool::run("lvm", &["pvcreate", "-ff", "-y", &disk])?;
        tool::run("lvm", &["vgcreate", "group", &disk])?;
        let store = StoreDirectory::new()?;
        Ok(Self { disk, repository: Repository::on(&store)?, store })
    }

    fn backup(&self, volumes: &[&Path]) -> Result<Point> {
        let point = self.repository.backup(volumes, &["--provider", "lvm"])?;
        let outcome = &point.outcome;
        ensure!(outcome["provider"] == "lvm" && outcome["consistency"] == "crash_consistent", "{outcome}");
        Ok(point)
    }

    /// The point restored beside the repository; compared with the volume.
    fn assert_restored(&self, point: &Point, volume: &Path) -> Result<()> {
        let image = self.store.path().join("restored.img");
        self.repository.restore(point, None, &image)?;
        let (restored, volume) = (DirectFile::open_to_read(&image)?, DirectFile::open_to_read(volume)?);
        let size = std::fs::metadata(&image)?.len();
        for offset in (0..size).step_by(1 << 20) {
            let (is, was) = (restored.read_new(offset, 1 << 20)?, volume.read_new(offset, 1 << 20)?);
            ensure!(is.bytes() == was.bytes(), "the restored volume differs in the MiB at {offset}");
        }
        Ok(std::fs::remove_file(image)?)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = tool::run("lvm", &["vgchange", "-an", "group"]);
        let _ = tool::run("lvm", &["vgremove", "-ff", "-y", "group"]);
        let _ = tool::run("lvm", &["pvremove", "-ff", "-y", &self.disk]);
    }
}

fn node(volume: &str) -> Result<PathBuf> {
    Ok(std::fs::canonicalize(format!("/dev/mapper/group-{volume}"))?)
}

fn write(volume: &Path, offset: u64, fill: u8) -> Result<()> {
    let mut buffer = AlignedBuffer::new(4096);
    buffer.bytes_mut().fill(fill);
    Ok(DirectFile::open(volume)?.write(&buffer, offset)?)
}

fn snapshots() -> Result<Vec<String>> {
    let names = tool::run("lvm", &["lvs", "--noheadings", "-o", "lv_name", "group"])?;
    Ok(names.split_whitespace().filter(|name| name.starts_with("icecore-")).map(str::to_owned).collect())
}

fn thin() -> Result<()> {
    kernel_module::load("dm_thin_pool", "")?;
    let scene = Scene::new()?;
    tool::run(
        "lvm",
        &["lvcreate", "-y", "-Zn", "--type", "thin-pool", "-L", "80M", "-c", "64k", "-n", "pool", "group"],
    )?;
    tool::run("lvm", &["lvcreate", "-y", "-Wn", "-V", "64M", "--thinpool", "pool", "-n", "data", "group"])?;
    let data = node("data")?;
    for block in 0..20 {
        write(&data, block * MIB, 1)?;
    }
    // In use: only a snapshot may be read.
    let holder = DirectFile::open(&data)?;
    let first = scene.backup(&[&data])?;
    first.ensure_kind("full")?;
    ensure!(snapshots()?.len() == 1, "the base is not there: {:?}", snapshots()?);
    let base = Path::new("/dev/mapper").join(format!("group-{}", snapshots()?[0].replace('-', "--")));
    ensure!(!base.exists(), "the base is active");
    scene.assert_restored(&first, &data)?;

    write(&data, 7 * MIB, 2)?;
    write(&data, 40 * MIB, 3)?;
    let second = scene.backup(&[&data])?;
    second.ensure_kind("incremental")?;
    ensure!(second.number("bytes_changed")? == 2 * BLOCK, "{}", second.outcome);
    ensure!(second.number("bytes_read")? <= 2 * BLOCK + 16 * MIB, "{}", second.outcome);
    ensure!(snapshots()?.len() == 1, "the old base stays: {:?}", snapshots()?);
    scene.assert_restored(&second, &data)?;

    // Somebody removes the base: everything is read, and why is said.
    tool::run("lvm", &["lvremove", "-y", &format!("group/{}", snapshots()?[0])])?;
    scene.backup(&[&data])?.ensure_full_read("snapshot of the point before is gone")?;

    // A tight pool: the backup is made and no base is kept.
    for block in 0..MIB * 56 / BLOCK {
        write(&data, block * BLOCK, 4)?;
    }
    tool::run("lvm", &["lvcreate", "-y", "-Wn", "-V", "32M", "--thinpool", "pool", "-n", "more", "group"])?;
    let more = node("more")?;
    for block in 0..MIB * 14 / BLOCK {
        write(&more, block * BLOCK, 5)?;
    }
    let tight = scene.backup(&[&data])?;
    tight.ensure_kind("full_read")?;
    ensure!(snapshots()?.is_empty(), "a base fills a tight pool: {:?}", snapshots()?);
    scene.assert_restored(&tight, &data)?;

    // Two volumes at once: each has its instant, and the point says that they are two.
    let both = scene.backup(&[&data, &more])?;
    ensure!(both.outcome["one_instant"] == false, "{}", both.outcome);
    let shown = scene.repository.json(&["show", both.id()?])?;
    ensure!(shown["one_instant"] == false, "the point does not say that: {shown}");
    drop(holder);
    drop(scene);
    Ok(())
}

fn classic() -> Result<()> {
    let scene = Scene::new()?;
    tool::run("lvm", &["lvcreate", "-y", "-Zn", "-Wn", "-L", "64M", "-n", "volume", "group"])?;
    let volume = node("volume")?;
    let path = volume.to_str().context("a node's path is not UTF-8")?;
    tool::run("mkfs.ext4", &["-q", "-F", path])?;
    let mount = Mount::new(&volume, "volume", "ext4", "")?;
    std::fs::write(mount.root().join("file"), vec![7; 8 << 20])?;
    let point = scene.backup(&[&volume])?;
    ensure!(snapshots()?.is_empty(), "a snapshot stays: {:?}", snapshots()?);
    let image = scene.store.path().join("restored.img");
    scene.repository.restore(&point, None, &image)?;
    let image = image.to_string_lossy().into_owned();
    tool::run("e2fsck", &["-f", "-p", &image]).context("the restored file system is not clean")?;
    let listed = tool::run("debugfs", &["-R", "stat /file", &image])?;
    ensure!(listed.contains("8388608"), "the file is not there: {listed}");
    // No room for a snapshot: refused before anything is read.
    tool::run("lvm", &["lvcreate", "-y", "-Zn", "-Wn", "-l", "100%FREE", "-n", "rest", "group"])?;
    scene.repository.fails(&["backup", path, "--provider", "lvm"], 6, &["vgextend group"])?;
    mount.unmount()?;
    drop(scene);
    Ok(())
}
