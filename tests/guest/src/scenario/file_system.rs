//! Images of mounted file systems: clean after journal replay, with every file that was durable at TAKE.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, ensure};

use crate::disk::Disk;
use crate::filter::Tracked;
use crate::mount::Mount;
use crate::pace::Deadline;
use crate::random::Random;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("file_system/ext4", "the image of a busy ext4 is clean and complete", || busy(&EXT4))
        .with_module()
        .within_s(240),
    Scenario::new("file_system/xfs", "the image of a busy xfs is clean and complete", || busy(&XFS))
        .with_module()
        .within_s(240),
    Scenario::new("file_system/btrfs", "the image of a busy btrfs is clean", || busy(&BTRFS))
        .with_module()
        .within_s(240),
    Scenario::new(
        "file_system/still_writable",
        "a file system under a snapshot goes on and is clean afterwards",
        goes_on,
    )
    .with_module()
    .within_s(240),
];

/// A kind of file system and its tools.
pub struct Kind {
    /// As the kernel calls it.
    pub name: &'static str,
    make: &'static [&'static str],
    check: &'static [&'static str],
    /// To mount the image beside the original, which has the same id; `None` where that cannot be.
    pub mount_options: Option<&'static str>,
}

/// ext4.
pub const EXT4: Kind =
    Kind { name: "ext4", make: &["mkfs.ext4", "-q", "-F"], check: &["e2fsck", "-f", "-n"], mount_options: Some("") };
/// xfs.
pub const XFS: Kind =
    Kind { name: "xfs", make: &["mkfs.xfs", "-q", "-f"], check: &["xfs_repair", "-n"], mount_options: Some("nouuid") };
const BTRFS: Kind = Kind {
    name: "btrfs",
    make: &["mkfs.btrfs", "-q", "-f"],
    check: &["btrfs", "check", "--readonly", "--force"],
    mount_options: None,
};

impl Kind {
    /// Makes the file system.
    pub fn make(&self, device: &Path) -> Result<()> {
        Self::run(self.make, device)
    }

    /// Fails unless the file system is clean.
    pub fn check(&self, device: &Path) -> Result<()> {
        Self::run(self.check, device)
    }

    fn run(words: &[&str], device: &Path) -> Result<()> {
        let device = device.to_string_lossy();
        let args: Vec<&str> = words[1..].iter().copied().chain([device.as_ref()]).collect();
        tool::run(words[0], &args).map(drop)
    }
}

/// How many files a writer makes.
#[derive(Clone, Copy)]
pub enum Files {
    /// Until it is stopped.
    Endless,
    /// It stands still after so many.
    AtMost(u64),
    /// Until it is stopped; older ones than so many make room.
    Newest(u64),
}

impl Files {
    fn most(self) -> u64 {
        if let Self::AtMost(most) = self { most } else { u64::MAX }
    }

    /// What makes room for this one.
    fn replaced_by(self, number: u64) -> Option<u64> {
        let Self::Newest(keep) = self else { return None };
        number.checked_sub(keep).filter(|old| !is_removed(*old))
    }
}

/// Writes small files until it is stopped, each durable before the next begins; says how many are.
pub fn write_files(directory: &Path, files: Files, stop: &AtomicBool, durable: &AtomicU64) -> Result<()> {
    let mut random = Random::new(42);
    for number in 0..files.most() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Some(old) = files.replaced_by(number) {
            std::fs::remove_file(directory.join(format!("file-{old}")))?;
        }
        let length = usize::try_from(1 + random.below(60_000))?;
        let path = directory.join(format!("file-{number}"));
        std::fs::write(&path, content(number, length))?;
        std::fs::File::open(&path)?.sync_all()?;
        if number % 5 == 4 {
            std::fs::remove_file(directory.join(format!("file-{}", number - 2)))?;
        }
        std::fs::File::open(directory)?.sync_all()?;
        durable.store(number + 1, Ordering::Relaxed);
    }
    Ok(())
}

/// Every fifth file goes soon after it was written.
fn is_removed(number: u64) -> bool {
    number % 5 == 2
}

fn content(number: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(number + 1);
    let words = std::iter::repeat_with(|| random.next()).flat_map(u64::to_le_bytes);
    words.take(length).collect()
}

/// All files of these numbers, which were durable before TAKE and kept, are there as they were written.
pub fn ensure_files(root: &Path, numbers: Range<u64>) -> Result<()> {
    for number in numbers.filter(|number| !is_removed(*number)) {
        let bytes = std::fs::read(root.join(format!("file-{number}"))).with_context(|| format!("file {number}"))?;
        ensure!(bytes == content(number, bytes.len()) && !bytes.is_empty(), "file {number} has other content");
    }
    Ok(())
}

/// Waits until so many files are durable.
pub fn wait_for(durable: &AtomicU64, goal: u64) -> Result<()> {
    let (mut seen, mut deadline) = (0, Deadline::after_s(60));
    while durable.load(Ordering::Relaxed) < goal {
        let now = durable.load(Ordering::Relaxed);
        if now > seen {
            (seen, deadline) = (now, Deadline::after_s(60));
        }
        ensure!(!deadline.is_over(), "the file system stands still");
        nix::poll::poll(&mut [], 10_u8)?;
    }
    Ok(())
}

fn busy(kind: &Kind) -> Result<()> {
    let node = Disk::Second.node()?;
    Kind::run(kind.make, &node)?;
    let mount = Mount::new(&node, "busy", kind.name, "")?;
    let tracked = Tracked::attach(&node)?;
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| write_files(mount.root(), Files::Endless, &stop, &durable));
        let seen = look_at_image(kind, &tracked, &durable);
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        seen
    })?;
    tracked.detach()?;
    mount.unmount()?;
    Kind::run(kind.check, &node).context("the original")
}

fn look_at_image(kind: &Kind, tracked: &Tracked, durable: &AtomicU64) -> Result<()> {
    wait_for(durable, 20)?;
    let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    tracked.add_to(snapshot.id())?;
    let count = durable.load(Ordering::Relaxed);
    snapshot.take().context("TAKE")?;
    wait_for(durable, count + 20)?;
    let image: PathBuf = tracked.image()?;
    // A mount replays the journal, if there is anything in it, into the image.
    if let Some(options) = kind.mount_options {
        let mounted = Mount::new(&image, "image", kind.name, options)?;
        ensure_files(mounted.root(), 0..count)?;
        mounted.unmount()?;
    }
    Kind::run(kind.check, &image).context("the image")?;
    if let Some(options) = kind.mount_options {
        let mounted = Mount::read_only(&image, "image", kind.name, options)?;
        ensure_files(mounted.root(), 0..count).context("after the check")?;
        mounted.unmount()?;
    }
    snapshot.destroy()
}

fn goes_on() -> Result<()> {
    let node = Disk::Second.node()?;
    Kind::run(EXT4.make, &node)?;
    let mount = Mount::new(&node, "busy", EXT4.name, "")?;
    let tracked = Tracked::attach(&node)?;
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| write_files(mount.root(), Files::Endless, &stop, &durable));
        let rounds = (1..=4).try_for_each(|round| {
            let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
            wait_for(&durable, round * 15)?;
            snapshot.destroy()
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        rounds
    })?;
    ensure_files(mount.root(), 0..durable.load(Ordering::Relaxed))?;
    tracked.detach()?;
    mount.unmount()?;
    Kind::run(EXT4.check, &node)
}
