//! Files inside a disk: one read-only view of any file system, found by its superblock.
//!
//! `ext4` reads ext2, ext3 and ext4, `xfs`, `btrfs`, `ntfs` and `fat` what they are named after; others join by implementing [`FileSystem`]
//! and standing in [`KNOWN`], from which everybody learns what can be read. `listing` renders entries for people and programs, `walk` visits
//! a tree, `restore` writes one into a directory. Nothing here knows repositories or partition tables: it all stands on [`ReadAt`]. The
//! bytes of the disk are never trusted.

pub mod btrfs;
pub mod confined;
pub mod detail;
mod error;
mod escape;
pub mod ext4;
pub mod fat;
mod fields;
mod listing;
pub mod ntfs;
mod path;
pub mod restore;
mod walk;
pub mod xfs;

pub use error::{FilesError, Result};
pub use escape::{escape_name, unescape_name};
pub use listing::{ListEntry, list, stat, time_text};
pub use path::{lookup_path, split_path};
pub use walk::{MAX_DEPTH, Visit, Walk, WalkEntry, walk};

use std::sync::Arc;

use crate::facts::content::ContentKind;
use crate::read_at::ReadAt;

/// Number of a file inside its file system (the inode number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct FileId(pub u64);

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

impl FileKind {
    /// The kind in a Unix mode, as stored in an inode.
    pub(crate) fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::Regular,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }
}

/// A point in time since 1970-01-01 UTC, negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// 0..=999_999_999, always forward in time.
    pub nanoseconds: u32,
}

/// Number of a device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// Everything but name, content and extended attributes.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Metadata {
    /// The file.
    pub id: FileId,
    /// Its kind.
    pub kind: FileKind,
    /// The lower twelve bits of the mode: permissions, set-user-id, set-group-id, sticky.
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names of this file.
    pub links: u32,
    /// Length of the content.
    pub size_bytes: u64,
    /// Space it takes on the disk.
    pub allocated_bytes: u64,
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of content or metadata.
    pub changed: Timestamp,
    /// When it was made, where the file system records that.
    pub created: Option<Timestamp>,
    /// For device files.
    pub device: Option<DeviceNumber>,
}

/// One name in a directory; `.` and `..` are never reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: any bytes; check it before it becomes part of a path.
    pub name: Vec<u8>,
    /// The file it names.
    pub id: FileId,
}

/// An extended attribute as `setxattr` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// Full name with its prefix, such as `user.mime_type`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A stretch of a file that holds data; what lies between is holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataExtent {
    /// Offset in the file.
    pub offset_bytes: u64,
    /// Length, not zero.
    pub length_bytes: u64,
}

/// The content of one regular file, opened for reading.
pub trait FileContent {
    /// Length of the file.
    fn size_bytes(&self) -> u64;

    /// Stretches with data in ascending order, not overlapping, inside the file. Unwritten space counts as a hole.
    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_>;

    /// Fills `buf` from `offset_bytes`; holes read as zeros. The window must lie inside the file.
    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()>;
}

/// A read-only file system. All calls may block on the disk and may run on any thread.
pub trait FileSystem: Send + Sync {
    /// Short name, such as `ext4`.
    fn name(&self) -> &'static str;

    /// The root directory.
    fn root(&self) -> FileId;

    /// What a person should know about the state this was read in, such as a journal that was replayed.
    fn notes(&self) -> &[String];

    /// Facts of one file.
    fn metadata(&self, id: FileId) -> Result<Metadata>;

    /// All names in a directory, in the order of the disk.
    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>>;

    /// Target of a symbolic link.
    fn read_link(&self, id: FileId) -> Result<Vec<u8>>;

    /// Extended attributes, POSIX ACLs included.
    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>>;

    /// What of a file its facts, content and attributes here do not hold, such as a stream that is too large for an
    /// extended attribute; each a sentence about the file.
    fn left_out(&self, _id: FileId) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Opens a regular file.
    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>>;
}

type Probe = fn(&dyn ReadAt) -> Result<bool>;
type Open = for<'a> fn(Arc<dyn ReadAt + 'a>) -> Result<Box<dyn FileSystem + 'a>>;

/// A file system that is read here.
struct Known {
    /// As facts of disks name it.
    kinds: &'static [ContentKind],
    /// Whether a disk holds one.
    probe: Probe,
    open: Open,
}

/// All that are read, in the order in which facts of disks look for them. FAT is the last: its first sector has little to tell it from others.
const KNOWN: &[Known] = &[
    Known { kinds: &[ContentKind::Xfs], probe: xfs::probe, open: |disk| Ok(Box::new(xfs::Xfs::open(disk)?)) },
    Known {
        kinds: &[ContentKind::Ext2, ContentKind::Ext3, ContentKind::Ext4],
        probe: ext4::probe,
        open: |disk| Ok(Box::new(ext4::Ext4::open(disk)?)),
    },
    Known { kinds: &[ContentKind::Btrfs], probe: btrfs::probe, open: |disk| Ok(Box::new(btrfs::Btrfs::open(disk)?)) },
    Known { kinds: &[ContentKind::Ntfs], probe: ntfs::probe, open: |disk| Ok(Box::new(ntfs::Ntfs::open(disk)?)) },
    Known { kinds: &[ContentKind::Fat], probe: fat::probe, open: |disk| Ok(Box::new(fat::Fat::open(disk)?)) },
];

/// Finds out which file system is on `disk` (a whole disk without partitions, or one partition) and opens it.
pub fn open<'a>(disk: Arc<dyn ReadAt + 'a>) -> Result<Box<dyn FileSystem + 'a>> {
    for known in KNOWN {
        if (known.probe)(&*disk)? {
            return (known.open)(disk);
        }
    }
    Err(FilesError::NotRecognised)
}

/// Whether [`open`] reads what facts of a disk call this.
pub fn reads(kind: ContentKind) -> bool {
    KNOWN.iter().any(|known| known.kinds.contains(&kind))
}
