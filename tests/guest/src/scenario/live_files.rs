//! Live backups of mounted file systems: what is restored is clean after journal replay and has every file that was durable at TAKE.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
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
use crate::storm::Area;

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

/// First sectors and lengths of the partitions of [`huge`]; the second one is left out of its backups.
const HUGE_SECTORS: u64 = 1 << 31;
const SMALL_SECTORS: u64 = 128 << 11;
const PARTITIONS: [(u64, u64); 3] =
    [(2048, SMALL_SECTORS), (1 << 20, HUGE_SECTORS - (2 << 20)), (HUGE_SECTORS - (1 << 20), SMALL_SECTORS)];

/// What an incremental reads follows the changes, whatever the size of the disk. What lies between two small partitions at the disk's
/// ends is left out, or the first backup would read a TiB of zeroes under emulation; it is tracked all the same.
fn huge() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disks = MemoryDisks::new(1, 1 << 20, "")?;
    let node = disks.node(0)?;
    let tracked = Detached(vec![&node]);
    partition(&node)?;
    let options = ["--provider", "module", "--exclude", "2"];
    repository.backup(&[&node], &options)?.ensure_kind("full")?;
    // 50 MiB in each of the small partitions.
    for (first, _) in [PARTITIONS[0], PARTITIONS[2]] {
        Area::of_disk(0, &node, first + 4096, 50 << 11).fill()?;
    }
    let point = repository.backup(&[&node], &options)?;
    point.ensure_kind("incremental")?;
    let read = point.number("bytes_read")?;
    println!("1 TiB with 100 MiB changed: {}", point.outcome);
    ensure!((100 << 20..=130 << 20).contains(&read), "{read} bytes were read");
    // The audit of a full read fails when the list left anything out.
    repository.backup(&[&node], &[&options[..], &["--full-read"]].concat())?.ensure_kind("full_read")?;
    ensure_nothing_left()?;
    drop(tracked);
    drop(disks);
    store.close()
}

fn partition(disk: &Path) -> Result<()> {
    let lines: String = PARTITIONS.iter().map(|(start, size)| format!("start={start}, size={size}\n")).collect();
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(disk)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("sfdisk has no input")?;
    input.write_all(format!("label: gpt\n{lines}").as_bytes())?;
    drop(input);
    ensure!(child.wait()?.success(), "sfdisk failed");
    Ok(())
}
