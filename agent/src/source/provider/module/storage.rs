//! Where the difference storage of a snapshot lies, and how large it may become.
//!
//! Automatically: the roomiest other file system of this machine, else memory within a limit, else an error that says what to do.
//! Never on a disk of the job: what is overwritten there must wait elsewhere, or keeping it would overwrite more.

use super::super::NamedSource;
use super::super::SnapshotError;
use crate::output;
use crate::read_at::ReadAt as _;
use crate::source::is_on;
use crate::source::sys::{Mount, SysRoot};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::statvfs::statvfs;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Less room than this is no help to a machine that works.
const LEAST_BYTES: u64 = 64 << 20;
/// Local file systems that are known to have unnamed temporary files and direct I/O.
const FILE_SYSTEMS: [&str; 6] = ["ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs"];
/// What to do when nothing fits.
const NEXT: &str = "give a directory on another disk with --snapshot-storage DIR, allow memory with --snapshot-storage ram:BYTES, or back up the disks in separate jobs";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Where.
    pub place: Wanted,
    /// How far it may grow; chosen from the free room unless given.
    pub limit_bytes: Option<u64>,
}

/// Where the storage is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Wherever it fits best.
    #[default]
    Auto,
    /// In memory.
    Ram,
    /// A directory, a file or a block device.
    At(PathBuf),
}

/// A place that was found.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    limit_bytes: u64,
    shown: String,
    /// Unmounted when this is dropped; what the module opened in it lives on.
    _memory: Option<MemoryMount>,
}

impl Place {
    /// For the module.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The storage grows no further than this.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// For people.
    pub fn describe(&self) -> String {
        format!("{}, at most {}", self.shown, output::bytes(self.limit_bytes))
    }
}

/// A directory in which the storage could be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Room {
    dir: PathBuf,
    free_bytes: u64,
}

impl Storage {
    /// Finds a place for a snapshot of these disks.
    pub fn place(&self, sys: &SysRoot, disks: &[NamedSource], state_dir: &Path) -> Result<Place> {
        // No more can be overwritten than there is.
        let most = disks.iter().map(|(_, source)| source.size_bytes()).fold(0, u64::saturating_add);
        match &self.place {
            Wanted::At(path) => self.at(sys, path, disks, most),
            Wanted::Ram => self.in_memory(memory(sys)?, most, state_dir).context("the difference storage in memory"),
            Wanted::Auto => {
                let rooms = rooms(sys, disks, &free_bytes)?;
                if let Some(room) = roomiest(rooms, self.limit_bytes, most) {
                    return Ok(self.in_directory(room, most));
                }
                self.in_memory(memory(sys)?, most, state_dir).context("no other file system of this machine has room for the snapshot's difference storage, and memory is no place for it either")
            }
        }
    }

    fn at(&self, sys: &SysRoot, path: &Path, disks: &[NamedSource], most: u64) -> Result<Place> {
        let shown = path.display();
        let metadata =
            fs::metadata(path).with_context(|| format!("looking at {shown}, the place of --snapshot-storage"))?;
        for (_, source) in disks {
            let chain = is_on(sys, path, source.location()).context("looking where the difference storage lies")?;
            if let Some(chain) = chain {
                let what = format!(
                    "the snapshot's difference storage {shown} would lie on {}, a disk of this backup: {}",
                    source.path().display(),
                    chain.join(" → ")
                );
                return Err(refused(what));
            }
        }
        if metadata.is_dir() {
            let free_bytes = free_bytes(path).with_context(|| format!("looking for room in {shown}"))?;
            let place = self.in_directory(Room { dir: path.to_owned(), free_bytes }, most);
            if place.limit_bytes < LEAST_BYTES.min(most) && self.limit_bytes.is_none() {
                let free = output::bytes(free_bytes);
                return Err(refused(format!(
                    "there is too little room for the snapshot's difference storage in {shown}: {free} are free"
                )));
            }
            return Ok(place);
        }
        let has_bytes = match metadata.file_type().is_block_device() {
            true => crate::source::Source::open(path)?.size_bytes(),
            false => metadata.size(),
        };
        // The module refuses a limit below what a file has already.
        let limit_bytes = self.limit_bytes.unwrap_or(has_bytes).max(has_bytes);
        Ok(Place { path: path.to_owned(), limit_bytes, shown: format!("at {shown}"), _memory: None })
    }

    fn in_directory(&self, room: Room, most: u64) -> Place {
        let limit_bytes = self.limit_bytes.unwrap_or((room.free_bytes / 2).min(most));
        let shown = format!("in {}", room.dir.display());
        Place { path: room.dir, limit_bytes, shown, _memory: None }
    }

    fn in_memory(&self, memory: Memory, most: u64, state_dir: &Path) -> Result<Place> {
        let allowed = match self.place {
            // Asked for by name: whoever gives a number knows the machine, but it must stay alive.
            Wanted::Ram => memory.available_bytes / 2,
            _ => memory.automatic_bytes(),
        };
        let limit_bytes = self.limit_bytes.unwrap_or_else(|| memory.automatic_bytes()).min(most.max(LEAST_BYTES));
        if limit_bytes > allowed || limit_bytes < LEAST_BYTES.min(most) {
            let (wanted, allowed) = (output::bytes(limit_bytes.max(LEAST_BYTES.min(most))), output::bytes(allowed));
            return Err(refused(format!(
                "{wanted} of memory are needed for it; this machine, with {} available, may give {allowed}",
                output::bytes(memory.available_bytes)
            )));
        }
        let mount = MemoryMount::new(state_dir, limit_bytes)?;
        let path = mount.dir.clone();
        Ok(Place { path, limit_bytes, shown: "in memory".into(), _memory: Some(mount) })
    }
}

fn refused(what: String) -> anyhow::Error {
    SnapshotError { what, next: NEXT.into() }.into()
}

/// Directories of other local file systems, one each, with their room. What cannot be asked is no candidate.
fn rooms(sys: &SysRoot, disks: &[NamedSource], free: &dyn Fn(&Path) -> io::Result<u64>) -> Result<Vec<Room>> {
    let mut rooms: Vec<(Mount, Room)> = Vec::new();
    for mount in sys.mounts().context("looking for a place for the snapshot's difference storage")? {
        let known = FILE_SYSTEMS.contains(&mount.fs_type.as_str()) && !mount.is_read_only();
        let is_image = |device| sys.name(device).starts_with(super::IMAGE_PREFIX);
        if !known || rooms.iter().any(|(other, _)| other.device == mount.device) {
            continue;
        }
        if sys.devices_of(&mount).into_iter().any(is_image) || lies_on_a_disk(sys, &mount.mountpoint, disks)? {
            continue;
        }
        if let Ok(free_bytes) = free(&mount.mountpoint) {
            let room = Room { dir: mount.mountpoint.clone(), free_bytes };
            rooms.push((mount, room));
        }
    }
    Ok(rooms.into_iter().map(|(_, room)| room).collect())
}

fn lies_on_a_disk(sys: &SysRoot, path: &Path, disks: &[NamedSource]) -> Result<bool> {
    for (_, source) in disks {
        if is_on(sys, path, source.location()).context("looking where the difference storage would lie")?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The one with the most room, if that is enough for the limit (or for something useful) and as much again for everybody else.
fn roomiest(rooms: Vec<Room>, limit_bytes: Option<u64>, most: u64) -> Option<Room> {
    let needed = limit_bytes.unwrap_or(LEAST_BYTES.min(most)).saturating_mul(2);
    rooms.into_iter().filter(|room| room.free_bytes >= needed).max_by_key(|room| room.free_bytes)
}

/// Free room of a directory in which the module could have an unnamed file; an error where it could not.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let flags = OFlag::O_TMPFILE | OFlag::O_DIRECT;
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(dir)?;
    let room = statvfs(dir)?;
    Ok(room.blocks_available().saturating_mul(room.fragment_size()))
}

/// Memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    total_bytes: u64,
    available_bytes: u64,
}

impl Memory {
    /// A tenth of all, and never more than half of what is available.
    fn automatic_bytes(self) -> u64 {
        (self.total_bytes / 10).min(self.available_bytes / 2)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Self { total_bytes: field("MemTotal")?, available_bytes: field("MemAvailable")? })
    }
}

fn memory(sys: &SysRoot) -> Result<Memory> {
    let text =
        fs::read_to_string(sys.join(Path::new("/proc/meminfo"))).context("asking for the memory of this machine")?;
    Memory::parse(&text).context("/proc/meminfo does not tell how much memory there is")
}

/// A file system in memory that only the module needs to reach, for as long as it takes to open a file in it.
#[derive(Debug)]
struct MemoryMount {
    dir: PathBuf,
}

impl MemoryMount {
    fn new(state_dir: &Path, limit_bytes: u64) -> Result<Self> {
        let dir = state_dir.join(format!("memory-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let mount = Self { dir };
        // Swapping it out could write to the very disks whose old data it holds. Kernels before 6.4 do not know the option.
        let size = format!("size={},mode=0700", limit_bytes.saturating_add(1 << 20));
        let made = mount_memory(&mount.dir, &format!("{size},noswap")).or_else(|errno| match errno {
            Errno::EINVAL => mount_memory(&mount.dir, &size),
            other => Err(other),
        });
        made.with_context(|| format!("mounting memory at {}", mount.dir.display()))?;
        Ok(mount)
    }
}

fn mount_memory(dir: &Path, options: &str) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(Some("icecore"), dir, Some("tmpfs"), flags, Some(options))
}

impl Drop for MemoryMount {
    fn drop(&mut self) {
        // Detached: the module's file keeps the file system alive, and its memory is given back with it.
        let _ = nix::mount::umount2(&self.dir, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Unmounts what a killed process could not: it was killed between mounting and creating its snapshot.
pub fn clean_up(state_dir: &Path) {
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("memory-").and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            drop(MemoryMount { dir: entry.path() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::test_images::Image;
    use crate::source::Source;

    const GIB: u64 = 1 << 30;

    fn room(dir: &str, free_bytes: u64) -> Room {
        Room { dir: dir.into(), free_bytes }
    }

    #[test]
    fn the_roomiest_is_taken_and_must_hold_twice_what_is_needed() {
        let rooms = vec![room("/a", GIB), room("/b", 3 * GIB), room("/c", 2 * GIB)];
        assert_eq!(roomiest(rooms.clone(), None, 100 * GIB).unwrap().dir, Path::new("/b"));
        assert_eq!(roomiest(rooms.clone(), Some(2 * GIB), 100 * GIB), None);
        assert_eq!(roomiest(vec![room("/a", LEAST_BYTES)], None, 100 * GIB), None);
        assert!(roomiest(vec![room("/a", 4 << 20)], None, 2 << 20).is_some(), "a tiny disk needs little");
    }

    #[test]
    fn memory_gives_a_tenth_and_never_more_than_half_of_what_is_free() {
        let text = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!(memory.automatic_bytes(), 1_600_000 * 1024);
        assert_eq!(Memory { available_bytes: 2000, ..memory }.automatic_bytes(), 1000);
        assert_eq!(Memory::parse("MemTotal: 5 kB"), None);
    }

    #[test]
    fn too_little_memory_is_refused_with_what_to_do() {
        let memory = Memory { total_bytes: GIB, available_bytes: GIB / 2 };
        let dir = tempfile::tempdir().unwrap();
        for storage in [
            Storage { place: Wanted::Ram, limit_bytes: Some(GIB) },
            Storage { place: Wanted::Auto, limit_bytes: Some(GIB / 4) },
            Storage { place: Wanted::Auto, limit_bytes: Some(1 << 20) },
        ] {
            let error = storage.in_memory(memory, 100 * GIB, dir.path()).unwrap_err();
            let error = error.downcast_ref::<SnapshotError>().expect("an error with a next step");
            assert!(error.what.contains("of memory") && error.next.contains("--snapshot-storage"), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    }

    fn machine(mounts: &str) -> (tempfile::TempDir, SysRoot) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::write(root.path().join("proc/self/mountinfo"), mounts).unwrap();
        for dir in ["mnt/data", "mnt/more", "mnt/full", "mnt/net", "mnt/ro"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let sys = SysRoot::at(root.path());
        (root, sys)
    }

    #[test]
    fn only_other_local_writable_file_systems_are_candidates_each_once() {
        let mounts = "1 0 8:1 / /mnt/data rw - ext4 /dev/sda1 rw\n2 0 8:17 / /mnt/more rw - xfs /dev/sdb1 rw\n\
                      3 0 8:17 /sub /mnt/full rw - xfs /dev/sdb1 rw\n4 0 0:44 / /mnt/net rw - nfs4 host:/x rw\n\
                      5 0 8:33 / /mnt/ro rw - ext4 /dev/sdc1 ro\n";
        let (_root, sys) = machine(mounts);
        let image = Image::sparse(1 << 20);
        let disks = vec![("disk".to_owned(), Source::open(&image.path).unwrap())];
        let found = rooms(&sys, &disks, &|_| Ok(GIB)).unwrap();
        assert_eq!(found, [room("/mnt/data", GIB), room("/mnt/more", GIB)]);
        let refusing = rooms(&sys, &disks, &|_| Err(io::ErrorKind::Unsupported.into())).unwrap();
        assert_eq!(refusing, [], "a file system without unnamed files is no candidate");
    }

    #[test]
    fn a_storage_on_a_disk_of_the_job_is_refused_with_the_way_there() {
        let image = Image::sparse(1 << 20);
        let disks = vec![("disk".to_owned(), Source::open(&image.path).unwrap())];
        let storage = Storage { place: Wanted::At(image.path.clone()), limit_bytes: None };
        let error = storage.place(&SysRoot::host(), &disks, Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("is the source"), "{error}");
    }
}
