//! What the kernel says about block devices and mounts, from /proc and /sys.
//!
//! All reading goes through a [`SysRoot`], so that tests describe machines as directory trees. Only facts of single
//! devices here; conclusions are drawn in [`super::in_use`] and [`super::is_on`]. What is missing or unreadable in /sys
//! counts as absent (devices come and go while one looks); an unreadable /proc is an error.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// Major and minor number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    major: u64,
    minor: u64,
}

impl DeviceNumber {
    /// From `st_rdev` or `st_dev`.
    pub fn from_raw(number: u64) -> Self {
        Self { major: nix::sys::stat::major(number), minor: nix::sys::stat::minor(number) }
    }

    /// From `8:1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Invented by the kernel for file systems without a device of their own (tmpfs, btrfs, NFS).
    pub fn is_anonymous(self) -> bool {
        self.major == 0
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The file system's device; anonymous for some.
    pub device: DeviceNumber,
    /// Which directory of the file system is seen.
    pub root: PathBuf,
    /// Where it is seen.
    pub mountpoint: PathBuf,
    /// `ext4` and the like.
    pub fs_type: String,
    /// Usually a path in /dev.
    pub source: PathBuf,
    /// Options of the file system itself, not of this mount: `ro` here means that nothing writes to the device.
    pub super_options: OsString,
}

impl Mount {
    /// Can nothing write through any mount of this file system?
    pub fn is_read_only(&self) -> bool {
        self.super_options.as_bytes().split(|b| *b == b',').any(|option| option == b"ro")
    }

    /// Is the whole file system seen, and no part of it such as a subvolume?
    pub fn is_whole(&self) -> bool {
        self.root == Path::new("/")
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b' ');
        let device = DeviceNumber::parse(std::str::from_utf8(fields.by_ref().nth(2)?).ok()?)?;
        let root = unescape(fields.next()?).into();
        let mountpoint = unescape(fields.next()?).into();
        // Optional fields end at a lone dash.
        fields.by_ref().find(|field| *field == b"-")?;
        let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
        let source = unescape(fields.next()?).into();
        let super_options = unescape(fields.next().unwrap_or_default());
        Some(Self { device, root, mountpoint, fs_type, source, super_options })
    }
}

/// A loop device and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopDevice {
    /// The loop device itself.
    pub device: DeviceNumber,
    /// Its file or device, as the kernel names it.
    pub backing: PathBuf,
}

/// The directory that holds `proc`, `sys` and `dev`: `/`, or a test's picture of a machine.
#[derive(Clone, Debug)]
pub struct SysRoot {
    root: PathBuf,
}

impl SysRoot {
    /// This machine.
    pub fn host() -> Self {
        Self::at("/")
    }

    /// A tree elsewhere. Absolute paths in it are taken relative to it.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Is this the running machine, where other system calls tell the truth too?
    pub fn is_host(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where an absolute path of the described machine lies.
    pub fn join(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// All mounts that this process sees, in the order they were made.
    pub fn mounts(&self) -> io::Result<Vec<Mount>> {
        let text = fs::read(self.join(Path::new("/proc/self/mountinfo")))?;
        Ok(text.split(|b| *b == b'\n').filter_map(Mount::parse).collect())
    }

    /// Swap devices and files in use; none when the kernel has no swap at all.
    pub fn swaps(&self) -> io::Result<Vec<PathBuf>> {
        let text = match fs::read(self.join(Path::new("/proc/swaps"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let lines = text.split(|b| *b == b'\n').skip(1);
        let first = |line: &[u8]| line.split(u8::is_ascii_whitespace).next().map(unescape);
        Ok(lines.filter_map(first).filter(|name| !name.is_empty()).map(PathBuf::from).collect())
    }

    /// Loop devices that are attached.
    pub fn loops(&self) -> Vec<LoopDevice> {
        let found = self.entries(&self.join(Path::new("/sys/block"))).into_iter().filter_map(|dir| {
            let backing = fs::read(dir.join("loop/backing_file")).ok()?;
            let backing = OsString::from_vec(backing.strip_suffix(b"\n").unwrap_or(&backing).to_vec()).into();
            Some(LoopDevice { device: number_in(&dir)?, backing })
        });
        found.collect()
    }

    /// The file or device behind a loop device.
    pub fn backing_of(&self, device: DeviceNumber) -> Option<PathBuf> {
        self.loops().into_iter().find(|l| l.device == device).map(|l| l.backing)
    }

    /// A small text file of the device in /sys, trimmed.
    pub fn attribute(&self, device: DeviceNumber, name: &str) -> Option<String> {
        let bytes = fs::read(self.device_dir(device)?.join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Logical sector size of the device, or of the disk that it is a partition of.
    pub fn sector_bytes(&self, device: DeviceNumber) -> Option<u32> {
        let disk = self.whole_disk(device).unwrap_or(device);
        self.attribute(disk, "queue/logical_block_size")?.parse().ok().filter(|size: &u32| (512..=65536).contains(size))
    }

    /// `sda1`, or the number when the device is unknown.
    pub fn name(&self, device: DeviceNumber) -> String {
        let dir = self.device_dir(device);
        let name = dir.as_deref().and_then(Path::file_name).map(super::printable);
        // The kernel writes / in names as !.
        name.map_or_else(|| device.to_string(), |name| name.replace('!', "/"))
    }

    /// `/dev/sda1`, with the device mapper's name behind it if it has one.
    pub fn describe(&self, device: DeviceNumber) -> String {
        let node = format!("/dev/{}", self.name(device));
        match self.attribute(device, "dm/name") {
            Some(name) => format!("{node} ({name})"),
            None => node,
        }
    }

    /// The disk of a partition; `None` for whole disks.
    pub fn whole_disk(&self, device: DeviceNumber) -> Option<DeviceNumber> {
        let dir = self.device_dir(device)?;
        dir.join("partition").exists().then(|| number_in(dir.parent()?))?
    }

    /// All whole disks, also those that are made of others or lie in memory.
    pub fn disks(&self) -> Vec<DeviceNumber> {
        self.entries(&self.join(Path::new("/sys/block"))).iter().filter_map(|dir| number_in(dir)).collect()
    }

    /// The partitions of a disk that the kernel knows.
    pub fn partitions(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        let Some(dir) = self.device_dir(device) else { return Vec::new() };
        let entries = self.entries(&dir).into_iter().filter(|entry| entry.join("partition").exists());
        entries.filter_map(|entry| number_in(&entry)).collect()
    }

    /// Devices built on this one: device mapper, md, bcache.
    pub fn holders(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        self.linked(device, "holders")
    }

    /// Devices that this one is built on.
    pub fn slaves(&self, device: DeviceNumber) -> Vec<DeviceNumber> {
        self.linked(device, "slaves")
    }

    /// The block devices that a mount's data lies on; empty for tmpfs, network file systems and the like.
    pub fn devices_of(&self, mount: &Mount) -> Vec<DeviceNumber> {
        if !mount.device.is_anonymous() {
            return vec![mount.device];
        }
        // bcachefs writes all its devices, with colons between them.
        let parts =
            mount.source.as_os_str().as_bytes().split(|b| *b == b':').map(|part| OsString::from_vec(part.to_vec()));
        let named: BTreeSet<_> = parts.filter_map(|part| self.resolve_device(Path::new(&part))).collect();
        if mount.fs_type == "btrfs" { self.btrfs_devices(named) } else { named.into_iter().collect() }
    }

    /// The block device that a path in /dev means.
    pub fn resolve_device(&self, path: &Path) -> Option<DeviceNumber> {
        if !path.is_absolute() {
            return None;
        }
        if let Ok(metadata) = fs::metadata(self.join(path)) {
            return metadata.file_type().is_block_device().then(|| DeviceNumber::from_raw(metadata.rdev()));
        }
        let name = path.strip_prefix("/dev").ok()?;
        if let Ok(mapped) = name.strip_prefix("mapper") {
            let class = self.entries(&self.join(Path::new("/sys/class/block")));
            let is_it = |dir: &PathBuf| {
                fs::read(dir.join("dm/name")).is_ok_and(|n| n.trim_ascii() == mapped.as_os_str().as_bytes())
            };
            return class.into_iter().find(is_it).and_then(|dir| number_in(&dir));
        }
        number_in(&self.join(Path::new("/sys/class/block")).join(name))
    }

    /// The path without symbolic links and `..`, cut at what exists: a directory that is still to be made counts too.
    pub fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let mut existing = path;
        loop {
            match fs::canonicalize(self.join(existing)) {
                Ok(found) => {
                    let root = fs::canonicalize(&self.root)?;
                    let inside = found.strip_prefix(&root).unwrap_or(&found);
                    let missing = path.strip_prefix(existing).unwrap_or(Path::new(""));
                    let mut canonical = Path::new("/").join(inside);
                    // Not `join`: an empty rest would add a slash at the end.
                    canonical.extend(missing.components().filter(|part| matches!(part, Component::Normal(_))));
                    return Ok(canonical);
                }
                Err(error) => existing = existing.parent().ok_or(error)?,
            }
        }
    }

    fn btrfs_devices(&self, named: BTreeSet<DeviceNumber>) -> Vec<DeviceNumber> {
        let mut all = named.clone();
        for filesystem in self.entries(&self.join(Path::new("/sys/fs/btrfs"))) {
            let members: Vec<_> =
                self.entries(&filesystem.join("devices")).iter().filter_map(|dir| number_in(dir)).collect();
            if members.iter().any(|member| named.contains(member)) {
                all.extend(members);
            }
        }
        all.into_iter().collect()
    }

    fn linked(&self, device: DeviceNumber, what: &str) -> Vec<DeviceNumber> {
        let Some(dir) = self.device_dir(device) else { return Vec::new() };
        self.entries(&dir.join(what)).iter().filter_map(|entry| number_in(entry)).collect()
    }

    fn device_dir(&self, device: DeviceNumber) -> Option<PathBuf> {
        fs::canonicalize(self.join(Path::new("/sys/dev/block")).join(device.to_string())).ok()
    }

    /// In a fixed order, so that messages are the same each time.
    fn entries(&self, dir: &Path) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.sort();
        found
    }
}

fn number_in(dir: &Path) -> Option<DeviceNumber> {
    DeviceNumber::parse(&fs::read_to_string(dir.join("dev")).ok()?)
}

/// /proc writes blanks, tabs, line breaks and backslashes as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Mount, unescape};
    use std::ffi::OsString;
    use std::path::Path;

    #[test]
    fn mountinfo_lines_are_read_with_odd_names() {
        let line =
            br"36 35 98:0 /mnt1 /mnt/my\040disk\134 ro,noatime master:1 shared:2 - ext3 /dev/a\011b rw,errors=continue";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(mount.mountpoint, Path::new("/mnt/my disk\\"));
        assert_eq!((mount.fs_type.as_str(), mount.source.as_path()), ("ext3", Path::new("/dev/a\tb")));
        assert!(!mount.is_read_only(), "only this mount is read-only, not the file system");
        assert_eq!(Mount::parse(b"36 35 98:0 /mnt1"), None);
        assert_eq!(Mount::parse(b""), None);
    }

    #[test]
    fn backslashes_that_are_no_escape_stay() {
        assert_eq!(unescape(br"a\9b\04\"), OsString::from(r"a\9b\04\"));
    }
}
