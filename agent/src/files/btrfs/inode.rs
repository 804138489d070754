//! Inode items: the facts of a file.

use super::Volume;
use super::fields::Fields;
use super::identity::Identity;
use super::node::Key;
use super::trees::Tree;
use crate::files::{DeviceNumber, FileKind, FilesError, Metadata, Result};

const INODE_ITEM: u8 = 1;
const ITEM_BYTES: usize = 160;
const FLAG_NO_DATA_CHECKSUMS: u64 = 1;

/// An inode of a subvolume.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// The tree that holds its items.
    pub(super) tree: Tree,
    pub(super) number: u64,
    pub(super) has_checksums: bool,
    pub(super) metadata: Metadata,
}

impl Inode {
    pub(super) fn read(volume: &Volume<'_>, subvolume: u64, number: u64) -> Result<Self> {
        let tree = volume.subvolume(subvolume)?.tree;
        let cursor = volume.floor(&tree, Key::new(number, INODE_ITEM, 0))?;
        if cursor.key() != Some(Key::new(number, INODE_ITEM, 0)) {
            return Err(FilesError::corrupt(format!("inode {number} of subvolume {subvolume} is missing")));
        }
        let f = Fields::new(cursor.item(), "inode");
        f.slice(0, ITEM_BYTES)?;
        let (mode, size_bytes) = (f.le32(52)?, f.le64(16)?);
        let kind = kind_of(mode)
            .ok_or_else(|| FilesError::corrupt(format!("inode {number} has the unknown mode {mode:#o}")))?;
        if i64::try_from(size_bytes).is_err() {
            return Err(FilesError::corrupt(format!("inode {number} has an impossible size")));
        }
        let created = f.time(148)?;
        let sector_bytes = u64::from(volume.superblock.sector_bytes);
        let metadata = Metadata {
            id: Identity::of_inode(subvolume, number).pack()?,
            kind,
            permissions: mode & 0o7777,
            uid: f.le32(44)?,
            gid: f.le32(48)?,
            links: f.le32(40)?,
            size_bytes,
            allocated_bytes: f.le64(24)?.checked_next_multiple_of(sector_bytes).unwrap_or(u64::MAX),
            accessed: f.time(112)?,
            modified: f.time(136)?,
            changed: f.time(124)?,
            // Old file systems did not record it.
            created: (created.seconds != 0 || created.nanoseconds != 0).then_some(created),
            device: device(kind, f.le64(56)?),
        };
        Ok(Self { tree, number, has_checksums: f.le64(64)? & FLAG_NO_DATA_CHECKSUMS == 0, metadata })
    }

    pub(super) fn kind(&self) -> FileKind {
        self.metadata.kind
    }

    pub(super) fn corrupt(&self, what: &str) -> FilesError {
        FilesError::corrupt(format!("inode {} of subvolume {} {what}", self.number, self.tree.number))
    }
}

fn kind_of(mode: u32) -> Option<FileKind> {
    Some(match mode & 0o170_000 {
        0o010_000 => FileKind::Fifo,
        0o020_000 => FileKind::CharDevice,
        0o040_000 => FileKind::Directory,
        0o060_000 => FileKind::BlockDevice,
        0o100_000 => FileKind::Regular,
        0o120_000 => FileKind::Symlink,
        0o140_000 => FileKind::Socket,
        _ => return None,
    })
}

/// Twelve bits of major and twenty of minor number; the upper half is not used.
fn device(kind: FileKind, stored: u64) -> Option<DeviceNumber> {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let number = u32::try_from(stored & 0xFFFF_FFFF).unwrap_or(0);
    is_device.then_some(DeviceNumber { major: number >> 20, minor: number & 0xF_FFFF })
}
