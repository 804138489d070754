//! Inode items: the facts of a file.

use super::Volume;
use super::identity::Identity;
use super::node::Key;
use super::trees::Tree;
use crate::files::fields::Fields;
use crate::files::{DeviceNumber, FileKind, FilesError, Metadata, Result, Timestamp};

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
        let kind = FileKind::of_mode(mode)
            .ok_or_else(|| FilesError::corrupt(format!("inode {number} has the unknown mode {mode:#o}")))?;
        if i64::try_from(size_bytes).is_err() {
            return Err(FilesError::corrupt(format!("inode {number} has an impossible size")));
        }
        let created = time(f, 148)?;
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
            accessed: time(f, 112)?,
            modified: time(f, 136)?,
            changed: time(f, 124)?,
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

/// Twelve bits of major and twenty of minor number; the upper half is not used.
fn device(kind: FileKind, stored: u64) -> Option<DeviceNumber> {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let number = u32::try_from(stored & 0xFFFF_FFFF).unwrap_or(0);
    is_device.then_some(DeviceNumber { major: number >> 20, minor: number & 0xF_FFFF })
}

/// Seconds and nanoseconds in twelve bytes.
fn time(fields: Fields<'_>, at: usize) -> Result<Timestamp> {
    let nanoseconds = fields.le32(at + 8)?;
    Ok(Timestamp {
        seconds: fields.le64(at)?.cast_signed(),
        nanoseconds: if nanoseconds < 1_000_000_000 { nanoseconds } else { 0 },
    })
}
