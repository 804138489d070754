//! The disks that every guest has, found by the serial numbers that the host gave them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::kernel_module;

/// A disk of the machine; `xtask/src/guest/machine.rs` makes them under these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// virtio, sectors of 512 bytes.
    First,
    /// The same a second time.
    Second,
    /// virtio, logical and physical blocks of 4096 bytes.
    FourKib,
    /// virtio, for difference storage.
    Store,
    /// SCSI, so that it can be unplugged.
    Scsi,
}

impl Disk {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::First, Self::Second, Self::FourKib, Self::Store, Self::Scsi];

    /// The serial number.
    pub const fn serial(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::FourKib => "four-kib",
            Self::Store => "store",
            Self::Scsi => "scsi",
        }
    }

    /// Its node in `/dev`.
    pub fn node(self) -> Result<PathBuf> {
        Ok(Path::new("/dev").join(self.name()?))
    }

    /// Its name in `/sys/block`.
    pub fn name(self) -> Result<String> {
        name_of(self.serial())
    }
}

/// The node of the disk with this serial number.
pub fn node_of(serial: &str) -> Result<PathBuf> {
    Ok(Path::new("/dev").join(name_of(serial)?))
}

fn name_of(serial: &str) -> Result<String> {
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        if serial_of(&entry.path()).is_some_and(|found| found == serial) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    bail!("no disk has the serial number {serial}")
}

/// virtio says it in `serial`; SCSI in page 0x80 of its vital product data, after four bytes of header.
fn serial_of(directory: &Path) -> Option<String> {
    if let Ok(serial) = std::fs::read_to_string(directory.join("serial")) {
        return Some(serial.trim().to_owned());
    }
    let page = std::fs::read(directory.join("device/vpd_pg80")).ok()?;
    Some(String::from_utf8_lossy(page.get(4..)?).trim().to_owned())
}

/// Disks in the guest's memory by the null_blk driver; gone when dropped.
pub struct MemoryDisks {
    count: usize,
}

impl MemoryDisks {
    /// Makes `count` disks of `size_mib` each, with `more` module parameters.
    pub fn new(count: usize, size_mib: u64, more: &str) -> Result<Self> {
        Self::of_sizes(&vec![size_mib; count], more)
    }

    /// Makes one of each size in MiB.
    pub fn of_sizes(sizes_mib: &[u64], more: &str) -> Result<Self> {
        // Its unit `gb` is too coarse; a size in MiB is only taken through configfs.
        kernel_module::load("null_blk", "nr_devices=0")?;
        let disks = Self { count: sizes_mib.len() };
        for (number, size_mib) in sizes_mib.iter().enumerate() {
            let group = group(number);
            std::fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
            let size = size_mib.to_string();
            let settings = [("size", size.as_str()), ("memory_backed", "1"), ("discard", "1")];
            let more = more.split_whitespace().filter_map(|setting| setting.split_once('='));
            for (key, value) in settings.into_iter().chain(more).chain([("power", "1")]) {
                std::fs::write(group.join(key), value).with_context(|| format!("null_blk refuses {key}={value}"))?;
            }
        }
        Ok(disks)
    }

    /// The node of disk `number`.
    pub fn node(&self, number: usize) -> Result<PathBuf> {
        ensure!(number < self.count, "there are only {} disks in memory", self.count);
        Ok(Path::new("/dev").join(name(number)))
    }
}

/// The driver names the disk like the directory that describes it.
fn name(number: usize) -> String {
    format!("nullb{number}")
}

fn group(number: usize) -> PathBuf {
    Path::new("/sys/kernel/config/nullb").join(name(number))
}

impl Drop for MemoryDisks {
    fn drop(&mut self) {
        for number in 0..self.count {
            let _ = std::fs::remove_dir(group(number));
        }
        let _ = kernel_module::remove("null_blk");
    }
}
