//! A disk that is backed up: a block device or an image file.
//!
//! Owns opening, reading and describing it. Whether it is in use is found out in [`in_use`], how it is held still while it is read
//! in [`provider`], what lies on it in [`crate::facts`].

mod holes;
mod identity;
pub mod image_rules;
pub mod in_use;
mod lies_on;
mod names;
mod openers;
pub mod provider;
mod reading;
mod stamp;
pub mod sys;
#[cfg(test)]
mod tests;
mod written;

pub use holes::DataExtents;
pub use identity::{DiskIdentity, IdentityKind};
pub use lies_on::is_on;
pub use names::disk_names;
pub use written::Written;

use crate::extents::{Extent, ExtentList, MAX_EXTENTS};
use crate::facts::DiskFacts;
use crate::read_at::ReadAt;
use nix::fcntl::OFlag;
use reading::Reader;
use serde::{Deserialize, Serialize};
use stamp::Stamp;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use sys::{DeviceNumber, SysRoot};

/// Logical sector size of image files and of devices that do not tell.
const DEFAULT_SECTOR_BYTES: u32 = 512;

/// Why something cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not there, or not allowed.
    #[error("cannot open {path}: {source}")]
    Open {
        /// As it was given.
        path: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Directories, character devices, sockets …
    #[error("{path} is {what}; a source is a block device such as /dev/sda, or an image file{hint}")]
    NotADisk {
        /// As it was given.
        path: String,
        /// `a directory` and the like.
        what: &'static str,
        /// What to do instead, with its own punctuation.
        hint: &'static str,
    },
    /// Nothing to back up: an empty file, or a drive without a medium.
    #[error("{path} is empty (0 bytes); give a device or image that holds a disk")]
    Empty {
        /// As it was given.
        path: String,
    },
}

/// What a source is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A block device.
    Device,
    /// A regular file.
    Image,
    /// Written by a newer program.
    #[serde(other)]
    Unknown,
}

/// What a manifest records about a source. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct SourceFacts {
    /// Absolute, symbolic links kept as given; bytes that are not UTF-8 are shown as `\xNN`.
    pub path: String,
    /// Device or image.
    pub kind: SourceKind,
    /// Size when it was opened.
    pub size_bytes: u64,
    /// Smallest unit that the device addresses.
    pub sector_bytes: u32,
    /// To recognise the disk next time.
    pub identity: DiskIdentity,
    /// Partitions and file systems.
    pub disk: DiskFacts,
}

/// Where a file or device is, apart from its name: what the safety checks compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A block device.
    Device(DeviceNumber),
    /// A regular file: its path for messages, and the file system's device and inode number.
    File {
        /// Absolute.
        path: PathBuf,
        /// `st_dev`.
        device: u64,
        /// `st_ino`.
        inode: u64,
    },
}

impl Location {
    /// Of a path that exists and is a block device or anything else that has an inode.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from_metadata(&std::path::absolute(path)?, &fs::metadata(path)?))
    }

    fn from_metadata(path: &Path, metadata: &Metadata) -> Self {
        if metadata.file_type().is_block_device() {
            return Self::Device(DeviceNumber::from_raw(metadata.rdev()));
        }
        Self::File { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() }
    }
}

/// An open source of fixed size, readable from any number of threads at once.
pub struct Source {
    path: PathBuf,
    kind: SourceKind,
    location: Location,
    sector_bytes: u32,
    reader: Reader,
    stamp: Option<Stamp>,
}

impl Source {
    /// Opens a block device or image file for reading.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let shown = printable(path.as_os_str());
        let fail = |source| SourceError::Open { path: shown.clone(), source };
        // Looked at before opening: opening a pipe would wait for a writer, a tape would rewind.
        let kind = kind_of(&fs::metadata(path).map_err(fail)?, &shown)?;
        let absolute = std::path::absolute(path).map_err(fail)?;
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        kind_of(&metadata, &shown)?;
        let reader = Reader::new(file, path, shown.clone()).map_err(fail)?;
        if reader.size_bytes() == 0 {
            return Err(SourceError::Empty { path: shown });
        }
        let location = Location::from_metadata(&absolute, &metadata);
        let sector_bytes = match &location {
            Location::Device(number) => SysRoot::host().sector_bytes(*number).unwrap_or(DEFAULT_SECTOR_BYTES),
            Location::File { .. } => DEFAULT_SECTOR_BYTES,
        };
        let stamp = Stamp::of(&metadata);
        Ok(Self { path: absolute, kind, location, sector_bytes, reader, stamp })
    }

    /// From now on the bytes come from `image`, a block device that shows this disk as it was at a snapshot; path, location and
    /// identity stay. The image is opened exclusively, so that nobody mounts or assembles it meanwhile; `EBUSY` when somebody has.
    /// After an error nothing is changed.
    pub fn read_from(&mut self, image: &Path) -> io::Result<()> {
        let exclusive = OpenOptions::new().read(true).custom_flags(OFlag::O_EXCL.bits()).open(image)?;
        self.reader = Reader::new(exclusive, image, printable(self.path.as_os_str()))?;
        self.stamp = None;
        Ok(())
    }

    /// Was an image file written to, cut or removed since it was opened? Devices have [`Written`] for that.
    pub fn was_touched(&self) -> bool {
        let now = fs::metadata(&self.path).ok().and_then(|metadata| Stamp::of(&metadata));
        self.stamp.is_some() && now != self.stamp
    }

    /// Absolute path, symbolic links kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device or image.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// For [`in_use`] and [`is_on`].
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Reads the disk's layout and puts together what a manifest records.
    pub fn facts(&self) -> io::Result<SourceFacts> {
        let disk = DiskFacts::read(self, self.sector_bytes)?;
        let path = printable(self.path.as_os_str());
        let number = match self.location {
            Location::Device(number) => Some(number),
            Location::File { .. } => None,
        };
        let size_bytes = self.size_bytes();
        let identity = DiskIdentity::find(&SysRoot::host(), self.kind, number, &disk, &path, size_bytes);
        Ok(SourceFacts { path, kind: self.kind, size_bytes, sector_bytes: self.sector_bytes, identity, disk })
    }

    /// Everything that is not a hole, as a list; a device has no holes. In files with very many pieces small holes may be included.
    pub fn data_extents(&self) -> io::Result<ExtentList> {
        holes::collect(self.data_extents_iter(), MAX_EXTENTS, self.size_bytes())
    }

    /// The same, found while iterating and exact. Only one iteration at a time.
    pub fn data_extents_iter(&self) -> impl Iterator<Item = io::Result<Extent>> + '_ {
        let holes = matches!(self.kind, SourceKind::Image);
        let whole = Extent::new(0, self.size_bytes()).filter(|_| !holes).map(Ok);
        let (found, failed) = match holes.then(|| DataExtents::new(self.reader.file(), self.size_bytes())).transpose() {
            Ok(found) => (found, None),
            Err(error) => (None, Some(Err(error))),
        };
        whole.into_iter().chain(failed).chain(found.into_iter().flatten())
    }

    /// Are reads going past the page cache? (For logs and tests; a source may fall back at any read.)
    pub fn is_direct(&self) -> bool {
        self.reader.is_direct()
    }
}

impl ReadAt for Source {
    fn size_bytes(&self) -> u64 {
        self.reader.size_bytes()
    }

    /// Fastest for aligned buffers, offsets and lengths ([`repo_format::aligned`]); others go through a bounce buffer.
    /// An error names the path and the offset. Safe to retry.
    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        self.reader.read_exact_at(buf, offset_bytes)
    }
}

fn kind_of(metadata: &Metadata, shown: &str) -> Result<SourceKind, SourceError> {
    let kind = metadata.file_type();
    let (what, hint) = match () {
        () if kind.is_block_device() => return Ok(SourceKind::Device),
        () if kind.is_file() => return Ok(SourceKind::Image),
        () if kind.is_dir() => ("a directory", "; to back up the files in it, give the device that it is mounted from"),
        () if kind.is_char_device() => ("a character device", ""),
        () if kind.is_fifo() => ("a pipe", "; a disk must be readable at any offset"),
        () => ("neither a device nor a file", ""),
    };
    Err(SourceError::NotADisk { path: shown.to_owned(), what, hint })
}

/// Text for messages and manifests: UTF-8 as it is, other bytes as `\xNN`.
fn printable(name: &OsStr) -> String {
    name.to_str().map_or_else(|| name.as_bytes().escape_ascii().to_string(), str::to_owned)
}
