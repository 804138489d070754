//! Live backups of mounted file systems: what is restored is clean after journal replay and has every file that was durable at TAKE.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, ensure};

use crate::disk::{Disk, MemoryDisks};
use crate::icecore::{Detached, Repository, ensure_nothing_left};
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::scenario::file_system::{self, EXT4, Kind, XFS};
use crate::scenario::live::TestDisk;
use crate::scenario::stack::Loop;
use crate::store::StoreDirectory;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("live_files/ext4", "points of a busy ext4 are clean and complete", || busy(&EXT4, 2, 192))
        .with_module()
        .within_s(600),
    Scenario::new("live_files/xfs", "points of a busy xfs are clean and complete", || busy(&XFS, 2, 320))
        .with_module()
        .within_s(600),
    Scenario::new("live_files/ext4_long", "twenty points of a busy ext4", || busy(&EXT4, 20, 192))
        .with_module()
        .only_soak()
        .within_s(3000),
    Scenario::new("live_files/xfs_long", "twenty points of a busy xfs", || busy(&XFS, 20, 512))
        .with_module()
        .only_soak()
        .within_s(3000),
    Scenario::new("live_files/huge", "of 1 TiB with 100 MiB changed at most 130 MiB are read", huge)
        .with_module()
        .within_s(600),
];

/// More than are written while the points are made, and less than would fill the smallest disk.
const FILES: u64 = 4500;

/// A full backup and so many incrementals while files are written.
fn busy(kind: &Kind, incrementals: usize, disk_mib: u64) -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::Second, 0, disk_mib << 11)?;
    kind.make(&disk.node)?;
    let mount = Mount::new(&disk.node, "busy", kind.name, "")?;
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| file_system::write_files(mount.root(), FILES, &stop, &durable));
        let seen = (0..=incrementals).try_for_each(|number| {
            file_system::wait_for(&durable, durable.load(Ordering::Relaxed) + 10)?;
            point(&repository, kind, (&disk.node, store.path()), &durable, number)
                .with_context(|| format!("point {}", number + 1))
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        seen
    })?;
    ensure_nothing_left()?;
    drop(Detached(vec![&disk.node]));
    mount.unmount()?;
    kind.check(&disk.node).context("the original")?;
    disk.remove()?;
    store.close()
}

/// Makes a point, restores it and looks at its files.
fn point(
    repository: &Repository,
    kind: &Kind,
    (disk, scratch): (&Path, &Path),
    durable: &AtomicU64,
    number: usize,
) -> Result<()> {
    let count = durable.load(Ordering::Relaxed);
    let point = repository.backup(&[disk], &[])?;
    point.ensure_kind(if number == 0 { "full" } else { "incremental" })?;
    let restored = scratch.join("restored");
    repository.restore(&point, None, &restored)?;
    let device = Loop::attach(&restored)?;
    // The mount replays the journal.
    let mounted = Mount::new(device.node(), "restored", kind.name, kind.mount_options.unwrap_or_default())?;
    file_system::ensure_files(mounted.root(), count)?;
    mounted.unmount()?;
    kind.check(device.node()).context("the restored file system")?;
    drop(device);
    Ok(std::fs::remove_file(restored)?)
}

/// The time and the reading of an incremental follow the changes, whatever the size of the disk.
fn huge() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disks = MemoryDisks::new(1, 1 << 20, "")?;
    let node = disks.node(0)?;
    let shown = node.to_string_lossy().into_owned();
    // Few inodes, written now: what the kernel would write in the background later is no change of anybody's.
    let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    crate::tool::run("mkfs.ext4", &["-q", "-F", "-N", "65536", "-J", "size=16", "-E", options, &shown])?;
    let mount = Mount::new(&node, "huge", "ext4", "noinit_itable")?;
    let options = ["--used-blocks-only"];
    repository.backup(&[&node], &options)?.ensure_kind("full")?;
    std::fs::write(mount.root().join("ballast"), vec![0x5A; 100 << 20])?;
    nix::unistd::sync();
    let point = repository.backup(&[&node], &options)?;
    point.ensure_kind("incremental")?;
    let read = point.number("bytes_read")?;
    println!("1 TiB with 100 MiB changed: {}", point.outcome);
    ensure!((100 << 20..=130 << 20).contains(&read), "{read} bytes were read");
    ensure_nothing_left()?;
    drop(Detached(vec![&node]));
    mount.unmount()?;
    drop(disks);
    store.close()
}
