//! Is a disk in use? Asked before a backup reads it and before a restore writes to it.
//!
//! Looks upwards from the disk: its partitions, loop devices, device mapper and md devices on any of them, and what is
//! mounted or swapped on at the top; and at the processes that have any of it open. Every reason forbids a restore onto
//! it; a backup minds only those where [`InUse::disturbs_reading`].

use super::Location;
use super::openers::{self, Opener};
use super::sys::{DeviceNumber, Mount, SysRoot};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One reason why a disk is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The device or file that is used, such as `/dev/sda1`.
    pub what: String,
    /// How.
    pub usage: Usage,
}

/// Ways of using a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A file system on it is mounted.
    Mounted {
        /// Where.
        mountpoint: PathBuf,
        /// The file system itself cannot be written to, through no mount of it.
        read_only: bool,
    },
    /// Active swap space.
    Swap,
    /// An active volume group, encrypted volume, RAID array … is built on it.
    Held {
        /// The device that is built on it.
        by: String,
    },
    /// A loop device shows it; what happens there is listed separately.
    Loop {
        /// The loop device.
        device: String,
    },
    /// A process has it open.
    Open {
        /// Its name.
        program: String,
        /// Its number.
        pid: u32,
        /// It may write.
        for_writing: bool,
    },
    /// Somebody holds a lock on it, as virtual machines do on their images.
    Locked {
        /// The lock says that it writes.
        for_writing: bool,
    },
    /// The kernel refuses exclusive use of it, but does not say to whom it belongs (ZFS, another mount namespace).
    Claimed,
}

impl InUse {
    /// May it change while a backup reads it?
    pub fn disturbs_reading(&self) -> bool {
        !matches!(
            self.usage,
            Usage::Loop { .. }
                | Usage::Mounted { read_only: true, .. }
                | Usage::Open { for_writing: false, .. }
                | Usage::Locked { for_writing: false }
        )
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.what)?;
        match &self.usage {
            Usage::Mounted { mountpoint, read_only } => {
                let mode = if *read_only { " (read-only)" } else { "" };
                write!(f, "is mounted at {}{mode}", super::printable(mountpoint.as_os_str()))
            }
            Usage::Swap => write!(f, "is active swap space"),
            Usage::Held { by } => write!(f, "is part of the active device {by}"),
            Usage::Loop { device } => write!(f, "is behind the loop device {device}"),
            Usage::Open { program, pid, for_writing } => {
                let mode = if *for_writing { "for writing" } else { "for reading" };
                write!(f, "is open {mode} in {program} (process {pid})")
            }
            Usage::Locked { for_writing: true } => write!(f, "is locked by a program that writes to it"),
            Usage::Locked { for_writing: false } => write!(f, "is locked by a program that uses it"),
            Usage::Claimed => write!(f, "is claimed exclusively by another program or the kernel"),
        }
    }
}

/// All reasons, in a fixed order; empty when the disk is free.
pub fn in_use(sys: &SysRoot, location: &Location) -> io::Result<Vec<InUse>> {
    let mut search = Search::new(sys)?;
    match location {
        Location::Device(device) => {
            // Whoever holds the whole disk holds its partitions too; the sisters of a partition do not matter.
            if let Some(disk) = sys.whole_disk(*device) {
                search.own_uses(disk);
            }
            search.visit(*device);
            if search.found.is_empty() && sys.is_host() && is_claimed(&format!("/dev/{}", sys.name(*device))) {
                search.found.push(InUse { what: sys.describe(*device), usage: Usage::Claimed });
            }
        }
        Location::File { path, .. } => search.visit_file(path, location),
    }
    Ok(search.found)
}

struct Search<'a> {
    sys: &'a SysRoot,
    mounts: Vec<(Vec<DeviceNumber>, Mount)>,
    swaps: Vec<PathBuf>,
    writers: Vec<(DeviceNumber, Opener)>,
    visited: BTreeSet<DeviceNumber>,
    found: Vec<InUse>,
}

impl<'a> Search<'a> {
    fn new(sys: &'a SysRoot) -> io::Result<Self> {
        let mounts = sys.mounts()?.into_iter().map(|mount| (sys.devices_of(&mount), mount)).collect();
        let writers = if sys.is_host() { openers::writers_of_devices() } else { Vec::new() };
        Ok(Self { sys, mounts, swaps: sys.swaps()?, writers, visited: BTreeSet::new(), found: Vec::new() })
    }

    fn add(&mut self, what: &str, usage: Usage) {
        self.found.push(InUse { what: what.to_owned(), usage });
    }

    /// Everything above a device, each device once.
    fn visit(&mut self, device: DeviceNumber) {
        if !self.visited.insert(device) {
            return;
        }
        self.own_uses(device);
        let node = Location::Device(device);
        self.visit_loops(&self.sys.describe(device), &node);
        for above in self.sys.partitions(device).into_iter().chain(self.sys.holders(device)) {
            self.visit(above);
        }
    }

    /// Uses of exactly this device.
    fn own_uses(&mut self, device: DeviceNumber) {
        let what = self.sys.describe(device);
        let on_it = |(devices, _): &&(Vec<DeviceNumber>, Mount)| devices.contains(&device);
        let mounted: Vec<Usage> = self
            .mounts
            .iter()
            .filter(on_it)
            .map(|(_, m)| Usage::Mounted { mountpoint: m.mountpoint.clone(), read_only: m.is_read_only() })
            .collect();
        mounted.into_iter().for_each(|usage| self.add(&what, usage));
        if self.swaps.iter().any(|swap| self.sys.resolve_device(swap) == Some(device)) {
            self.add(&what, Usage::Swap);
        }
        for holder in self.sys.holders(device) {
            let by = self.sys.describe(holder);
            self.add(&what, Usage::Held { by });
        }
        let open: Vec<Usage> = self.writers.iter().filter(|(on, _)| *on == device).map(|(_, by)| opened(by)).collect();
        open.into_iter().for_each(|usage| self.add(&what, usage));
    }

    fn visit_file(&mut self, path: &Path, location: &Location) {
        let what = super::printable(path.as_os_str());
        if self.swaps.iter().any(|swap| is_at(self.sys, swap, location)) {
            self.add(&what, Usage::Swap);
        }
        self.visit_loops(&what, location);
        let Location::File { device, inode, .. } = location else { return };
        if !self.sys.is_host() {
            return;
        }
        let openers = openers::of_file(*device, *inode);
        openers.iter().for_each(|by| self.add(&what, opened(by)));
        // Who is seen is named; a lock tells of who is not.
        if let Some(lock) =
            openers::lock_on(path).filter(|lock| !openers.iter().any(|by| by.for_writing >= lock.for_writing))
        {
            self.add(&what, Usage::Locked { for_writing: lock.for_writing });
        }
    }

    /// Loop devices over a file or device, and what is above them.
    fn visit_loops(&mut self, what: &str, location: &Location) {
        for found in self.sys.loops() {
            if is_at(self.sys, &found.backing, location) {
                let device = self.sys.describe(found.device);
                self.add(what, Usage::Loop { device });
                self.visit(found.device);
            }
        }
    }
}

fn opened(by: &Opener) -> Usage {
    Usage::Open { program: by.program.clone(), pid: by.pid, for_writing: by.for_writing }
}

/// Does a path of the described machine mean this very file or device?
pub(super) fn is_at(sys: &SysRoot, path: &Path, location: &Location) -> bool {
    match location {
        Location::Device(device) => sys.resolve_device(path) == Some(*device),
        Location::File { device, inode, .. } => match Location::of(&sys.join(path)) {
            Ok(Location::File { device: other, inode: other_inode, .. }) => (*device, *inode) == (other, other_inode),
            _ => false,
        },
    }
}

/// The kernel's own answer, which also knows of users that /proc and /sys do not show.
fn is_claimed(node: &str) -> bool {
    let opened = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_EXCL.bits()).open(node);
    opened.is_err_and(|error| error.raw_os_error() == Some(Errno::EBUSY as i32))
}
