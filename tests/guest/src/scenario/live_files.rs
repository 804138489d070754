//! Live backups of mounted file systems: what is restored is clean after journal replay and has every file that was durable at TAKE.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::disk::{Disk, MemoryDisks};
use crate::icecore::{Detached, Point, Repository, ensure_nothing_left};
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::scenario::file_system::{self, EXT4, Files, Kind, XFS};
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
    Scenario::new(
        "live_files/huge_as_usual",
        "100 MiB changed take the same work on 1 TiB and on 10 GiB",
        huge_as_usual,
    )
    .with_module()
    .only_soak()
    .within_s(1500),
];

/// Files that the writer keeps: more than it writes during one backup, and less than would fill the smallest disk.
const FILES: u64 = 2500;

/// A full backup and so many incrementals while files are written.
fn busy(kind: &Kind, incrementals: usize, disk_mib: u64) -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::Second, 0, disk_mib << 11)?;
    kind.make(&disk.node)?;
    let mount = Mount::new(&disk.node, "busy", kind.name, "")?;
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| file_system::write_files(mount.root(), Files::Newest(FILES), &stop, &durable));
        let seen = (0..=incrementals).try_for_each(|number| {
            file_system::wait_for(&durable, durable.load(Ordering::Relaxed) + 10)?;
            let look = Look { scratch: store.path(), directory: "", files: FILES };
            point(&repository, kind, &disk.node, &durable, look)
                .and_then(|point| point.ensure_kind(if number == 0 { "full" } else { "incremental" }))
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

/// How the files of a point are looked at.
pub struct Look<'l> {
    /// Where it is restored to.
    pub scratch: &'l Path,
    /// Where the writer's files are in the file system.
    pub directory: &'l str,
    /// How many of them it keeps.
    pub files: u64,
}

/// Makes a point, restores it and looks at its files.
pub fn point(repository: &Repository, kind: &Kind, disk: &Path, durable: &AtomicU64, look: Look<'_>) -> Result<Point> {
    let count = durable.load(Ordering::Relaxed);
    let point = repository.backup(&[disk], &[])?;
    // Of the files that made room meanwhile, for those after TAKE or for one that is under way, some may be gone.
    let kept = (durable.load(Ordering::Relaxed) + 1).saturating_sub(look.files);
    ensure!(kept < count, "the writer was too fast for what it keeps: {count} files, kept from {kept} on");
    let restored = look.scratch.join("restored");
    repository.restore(&point, None, &restored)?;
    let device = Loop::attach(&restored)?;
    // The mount replays the journal.
    let mounted = Mount::new(device.node(), "restored", kind.name, kind.mount_options.unwrap_or_default())?;
    file_system::ensure_files(&mounted.root().join(look.directory), kept..count)?;
    mounted.unmount()?;
    kind.check(device.node()).context("the restored file system")?;
    drop(device);
    std::fs::remove_file(restored)?;
    Ok(point)
}

/// Sectors of 1 TiB, of 10 GiB and of the partitions that are backed up.
const HUGE_SECTORS: u64 = 1 << 31;
const USUAL_SECTORS: u64 = 10 << 21;
const SMALL_SECTORS: u64 = 128 << 11;

/// Leaves out what lies between two small partitions at a disk's ends, or the first backup would read a TiB of zeroes under emulation; it is
/// tracked all the same.
const ENDS_ONLY: [&str; 4] = ["--provider", "module", "--exclude", "2"];

/// What an incremental reads follows the changes, whatever the size of the disk.
fn huge() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disks = MemoryDisks::of_sizes(&[HUGE_SECTORS >> 11], "")?;
    let disk = PartitionedDisk::make(disks.node(0)?, HUGE_SECTORS)?;
    let tracked = Detached(vec![&disk.node]);
    repository.backup(&[&disk.node], &ENDS_ONLY)?.ensure_kind("full")?;
    disk.change_100_mib()?;
    let point = repository.backup(&[&disk.node], &ENDS_ONLY)?;
    point.ensure_kind("incremental")?;
    let read = point.number("bytes_read")?;
    println!("1 TiB with 100 MiB changed: {}", point.outcome);
    ensure!((100 << 20..=130 << 20).contains(&read), "{read} bytes were read");
    // The audit of a full read fails when the list left anything out.
    repository.backup(&[&disk.node], &[&ENDS_ONLY[..], &["--full-read"]].concat())?.ensure_kind("full_read")?;
    ensure_nothing_left()?;
    drop(tracked);
    drop(disks);
    store.close()
}

/// A disk of which the ends are backed up.
struct PartitionedDisk {
    node: PathBuf,
    /// First sectors and lengths.
    partitions: [(u64, u64); 3],
}

impl PartitionedDisk {
    fn make(node: PathBuf, sectors: u64) -> Result<Self> {
        let (first, second, third) = (2048, 1 << 20, sectors - (1 << 20));
        let partitions = [(first, SMALL_SECTORS), (second, third - second), (third, SMALL_SECTORS)];
        partition(&node, &partitions)?;
        Ok(Self { node, partitions })
    }

    /// 50 MiB in each of the small partitions.
    fn change_100_mib(&self) -> Result<()> {
        let [first, _, third] = self.partitions;
        [first, third].iter().try_for_each(|(start, _)| Area::of_disk(0, &self.node, start + 4096, 50 << 11).fill())
    }
}

/// What one backup took.
struct Effort {
    read: u64,
    stored: u64,
    ms: u64,
}

/// Incrementals of two disks in turn, so that a host with other work disturbs both alike.
const ROUNDS: usize = 3;

/// The same change on 1 TiB and on 10 GiB takes the same work. Time is printed, not judged: it belongs to the host as well.
fn huge_as_usual() -> Result<()> {
    let store = StoreDirectory::new()?;
    let sizes = [USUAL_SECTORS, HUGE_SECTORS];
    let disks = MemoryDisks::of_sizes(&sizes.map(|sectors| sectors >> 11), "")?;
    let mut each = Vec::new();
    for (number, sectors) in sizes.into_iter().enumerate() {
        let repository = Repository::make(store.path(), &format!("repository-{number}"))?;
        let disk = PartitionedDisk::make(disks.node(number)?, sectors)?;
        repository.backup(&[&disk.node], &ENDS_ONLY)?.ensure_kind("full")?;
        each.push((repository, disk, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (repository, disk, efforts) in &mut each {
            disk.change_100_mib()?;
            let began = Instant::now();
            let point = repository.backup(&[&disk.node], &ENDS_ONLY)?;
            let ms = u64::try_from(began.elapsed().as_millis())?;
            point.ensure_kind("incremental")?;
            efforts.push(Effort { read: point.number("bytes_read")?, stored: point.number("bytes_stored")?, ms });
        }
    }
    let [(_, usual_disk, usual), (_, huge_disk, huge)] = &each[..] else { bail!("there are two disks") };
    for (what, of) in [
        ("bytes read", (|effort| effort.read) as fn(&Effort) -> u64),
        ("bytes stored", |effort| effort.stored),
        ("milliseconds", |effort| effort.ms),
    ] {
        let median = |efforts: &[Effort]| -> u64 {
            let mut all: Vec<u64> = efforts.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        let (usual, huge) = (median(usual), median(huge));
        let percent = huge * 100 / usual.max(1);
        println!("100 MiB changed, {what}: {usual} on 10 GiB, {huge} on 1 TiB, {percent} %");
        ensure!(what == "milliseconds" || percent <= 130, "{what}: {huge} on 1 TiB, but {usual} on 10 GiB");
    }
    ensure_nothing_left()?;
    drop(Detached(vec![&usual_disk.node, &huge_disk.node]));
    drop(disks);
    store.close()
}

fn partition(disk: &Path, partitions: &[(u64, u64)]) -> Result<()> {
    let lines: String = partitions.iter().map(|(start, size)| format!("start={start}, size={size}\n")).collect();
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
