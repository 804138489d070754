//! A point of a file system that nobody froze, restored to a larger disk with `--grow`: it is repaired, grown and complete.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, ensure};

use crate::disk::Disk;
use crate::dm::Mapped;
use crate::icecore::{Detached, Point, Repository, ensure_nothing_left};
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::scenario::file_system::{self, EXT4, Files, Kind, XFS};
use crate::scenario::live::TestDisk;
use crate::scenario::stack::Loop;
use crate::store::StoreDirectory;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("live_grow/ext4", "an unclean ext4 grows on restore and loses nothing", || unclean(&EXT4, 96))
        .with_module()
        .with_stock_kernel()
        .within_s(300),
    Scenario::new("live_grow/xfs", "an unclean xfs grows on restore and loses nothing", || unclean(&XFS, 320))
        .with_module()
        .with_stock_kernel()
        .within_s(300),
];

/// What the target is larger by.
const MORE_MIB: u64 = 64;

/// The file system lies on a device above the one that is backed up, so no snapshot of the lower one freezes it.
fn unclean(kind: &Kind, disk_mib: u64) -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("below", Disk::Second, 0, disk_mib << 11)?;
    let above = Mapped::linear("above", &disk.node, disk_mib << 11)?;
    kind.make(&above.node()?)?;
    let mount = Mount::new(&above.node()?, "busy", kind.name, "")?;
    let (point, durable) = back_up_under_writes(&repository, &disk.node, mount.root())?;
    ensure_unclean(kind, &repository, &point, store.path())?;

    // The original with the same UUID stays mounted meanwhile.
    let restored = store.path().join("restored");
    let (to, size) = (restored.to_string_lossy(), format!("{}M", disk_mib + MORE_MIB));
    let outcome = repository.json(&["restore", point.id()?, "--to", &to, "--size", &size, "--grow"])?;
    let grown = &outcome["grow"];
    ensure!(grown["content_grown"] == true && grown["failed"] == false, "it did not grow: {outcome}");
    let device = Loop::attach(&restored)?;
    kind.check(device.node()).context("the grown file system")?;
    let mounted = Mount::new(device.node(), "restored", kind.name, kind.mount_options.unwrap_or_default())?;
    file_system::ensure_files(mounted.root(), 0..durable)?;
    let (bytes, more) = (size_of(mounted.root())?, size_of(mount.root())? + (MORE_MIB << 20) / 2);
    ensure!(bytes >= more, "the grown file system has {bytes} bytes, not even {more}");
    mounted.unmount()?;
    drop(device);
    ensure_nothing_left()?;
    mount.unmount()?;
    above.remove()?;
    drop(Detached(vec![&disk.node]));
    disk.remove()?;
    store.close()
}

/// A point made while files are written, and how many were durable before it.
fn back_up_under_writes(repository: &Repository, disk: &Path, root: &Path) -> Result<(Point, u64)> {
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| file_system::write_files(root, Files::Endless, &stop, &durable));
        let made = file_system::wait_for(&durable, 20).and_then(|()| {
            let count = durable.load(Ordering::Relaxed);
            Ok((repository.backup(&[disk], &["--provider", "module"])?, count))
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        made
    })
}

/// Without growing it shows a journal that waits to be replayed, or nothing would be proved.
fn ensure_unclean(kind: &Kind, repository: &Repository, point: &Point, scratch: &Path) -> Result<()> {
    let as_it_is = scratch.join("as-it-is");
    repository.restore(point, None, &as_it_is)?;
    let device = Loop::attach(&as_it_is)?;
    let node = device.node().to_string_lossy();
    let (says, words) = match kind.name {
        "ext4" => (tool::run("tune2fs", &["-l", &node])?, "needs_recovery"),
        _ => {
            // It ends with an error, because what it must not replay looks like damage.
            let output = Command::new("xfs_repair").args(["-n", &node]).output().context("cannot start xfs_repair")?;
            (String::from_utf8_lossy(&output.stderr).into_owned(), "valuable metadata changes in a log")
        }
    };
    ensure!(says.contains(words), "the point is clean, so nothing would be proved: {says}");
    drop(device);
    Ok(std::fs::remove_file(as_it_is)?)
}

fn size_of(root: &Path) -> Result<u64> {
    let about = nix::sys::statvfs::statvfs(root).with_context(|| format!("statvfs of {}", root.display()))?;
    Ok(about.blocks() * about.fragment_size())
}
