//! Which processes have a file or device open, and which locks lie on a file: what /proc and advisory locks tell of use that no
//! mount shows. A virtual machine that happens not to write for a while is found here.
//!
//! Root sees every process; others see their own, and the locks of everybody (qemu sets them on images).

use super::sys::DeviceNumber;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A process that has something open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opener {
    pub(super) pid: u32,
    /// Its name, as the kernel cuts it.
    pub(super) program: String,
    pub(super) for_writing: bool,
}

/// A lock that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    /// Who holds it says by it that it writes.
    pub(super) for_writing: bool,
}

/// An open file of a process, as its link in /proc.
struct Descriptor {
    pid: u32,
    number: String,
    target: PathBuf,
}

impl Descriptor {
    fn link(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", self.pid, self.number).into()
    }

    /// Flags and inode number, which the kernel tells without asking the file system: one that hangs does not hang us.
    fn info(&self) -> Option<(i32, Option<u64>)> {
        let text = fs::read_to_string(format!("/proc/{}/fdinfo/{}", self.pid, self.number)).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some((i32::from_str_radix(field("flags:")?, 8).ok()?, field("ino:").and_then(|number| number.parse().ok())))
    }

    fn opener(&self, flags: i32) -> Opener {
        let program = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        let program = super::printable(std::ffi::OsStr::new(program.trim_end()));
        Opener { pid: self.pid, program, for_writing: flags & libc::O_ACCMODE != libc::O_RDONLY }
    }
}

/// Everything that other processes have open and that has a path. What comes and goes meanwhile is left out.
fn descriptors() -> impl Iterator<Item = Descriptor> {
    let numbered = |entry: fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(numbered);
    processes.filter(|pid| *pid != std::process::id()).flat_map(|pid| {
        fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().filter_map(move |entry| {
            let target = fs::read_link(entry.path()).ok().filter(|target| target.is_absolute())?;
            Some(Descriptor { pid, number: entry.file_name().to_str()?.to_owned(), target })
        })
    })
}

/// One entry for each process; one that writes also reads.
fn by_process(found: impl Iterator<Item = Opener>) -> Vec<Opener> {
    let mut openers: Vec<Opener> = Vec::new();
    for opener in found {
        match openers.iter_mut().find(|known| known.pid == opener.pid) {
            Some(known) => known.for_writing |= opener.for_writing,
            None => openers.push(opener),
        }
    }
    openers
}

/// Other processes of this machine that have a file open.
pub(super) fn of_file(device: u64, inode: u64) -> Vec<Opener> {
    by_process(descriptors().filter_map(|descriptor| {
        let (flags, number) = descriptor.info()?;
        let may_be = number.is_none_or(|number| number == inode);
        let meta = may_be.then(|| fs::metadata(descriptor.link()).ok()).flatten()?;
        ((meta.dev(), meta.ino()) == (device, inode)).then(|| descriptor.opener(flags))
    }))
}

/// Other processes that have a block device open for writing. Readers are many and come and go (udev).
pub(super) fn writers_of_devices() -> Vec<(DeviceNumber, Opener)> {
    let writer = |descriptor: Descriptor| {
        let (flags, _) = descriptor.target.starts_with("/dev").then(|| descriptor.info()).flatten()?;
        let meta = fs::metadata(descriptor.link()).ok()?;
        let opener = descriptor.opener(flags);
        (meta.file_type().is_block_device() && opener.for_writing)
            .then(|| (DeviceNumber::from_raw(meta.rdev()), opener))
    };
    descriptors().filter_map(writer).collect()
}

/// Bytes of an image on which qemu holds a shared lock while it may write to it, or change its length (`block/file-posix.c`:
/// 100 and the number of the permission's bit).
const QEMU_WRITES_AT: [i64; 2] = [101, 103];

/// A lock that another open file holds on a file, of this process or another; POSIX and open-file-description locks alike.
pub(super) fn lock_on(path: &Path) -> Option<Lock> {
    let file = File::open(path).ok()?;
    let is_written = conflicts(&file, libc::F_RDLCK, 0, 0)
        || QEMU_WRITES_AT.iter().any(|at| conflicts(&file, libc::F_WRLCK, *at, 1));
    (is_written || conflicts(&file, libc::F_WRLCK, 0, 0)).then_some(Lock { for_writing: is_written })
}

/// Whether a lock of this kind could not be had. Nothing is locked. `length` 0 goes to the end of time.
fn conflicts(file: &File, kind: libc::c_int, start: i64, length: i64) -> bool {
    let [kind, free, whence] = [kind, libc::F_UNLCK, libc::SEEK_SET].map(|number| libc::c_short::try_from(number).ok());
    let (Some(kind), Some(free), Some(whence)) = (kind, free, whence) else { return false };
    let mut asked = libc::flock { l_type: kind, l_whence: whence, l_start: start, l_len: length, l_pid: 0 };
    // A file system without locks has none.
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)).is_ok() && asked.l_type != free
}
