//! One inode: kind, owner, times, and the raw places its content and attributes are found from.

use super::Volume;
use super::groups::locate_inode;
use crate::files::fields::{Fields, join};
use crate::files::{DeviceNumber, FileId, FileKind, FilesError, Metadata, Result, Timestamp};

const FLAG_ENCRYPTED: u32 = 0x800;
const FLAG_HUGE_FILE: u32 = 0x4_0000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_ATTRIBUTE_VALUE: u32 = 0x20_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
const CLASSIC_BYTES: usize = 128;
/// Length of the area that holds block pointers, an extent tree root, a short link target or inline data.
pub(super) const BLOCK_AREA_BYTES: usize = 60;

/// A parsed inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) kind: FileKind,
    pub(super) size_bytes: u64,
    pub(super) block_area: [u8; BLOCK_AREA_BYTES],
    /// Block with extended attributes, 0 for none.
    pub(super) attribute_block: u64,
    /// What follows the fixed fields: in-inode extended attributes, if any.
    pub(super) attribute_area: Vec<u8>,
    metadata: Metadata,
    flags: u32,
}

impl Inode {
    pub(super) fn read(volume: &Volume<'_>, number: u64) -> Result<Self> {
        let superblock = &volume.superblock;
        let (block, at) = locate_inode(superblock, &volume.blocks, number)?;
        let block = volume.blocks.block(block)?;
        let raw = Fields::new(&block, "inode").slice(at, superblock.inode_bytes as usize)?;
        Self::parse(volume, number, raw)
    }

    fn parse(volume: &Volume<'_>, number: u64, raw: &[u8]) -> Result<Self> {
        let f = Fields::new(raw, "inode");
        let mode = f.le16(0x0)?;
        let kind = FileKind::of_mode(mode.into()).ok_or_else(|| {
            let state = if mode == 0 { "is not in use".to_owned() } else { format!("has the unknown mode {mode:#o}") };
            FilesError::corrupt(format!("inode {number} {state}"))
        })?;
        let flags = f.le32(0x20)?;
        let mut block_area = [0; BLOCK_AREA_BYTES];
        block_area.copy_from_slice(f.slice(0x28, BLOCK_AREA_BYTES)?);
        let has_high_size =
            kind == FileKind::Regular || kind == FileKind::Directory && volume.superblock.has_large_directories();
        let size_bytes = join(if has_high_size { f.le32(0x6C)? } else { 0 }, f.le32(0x4)?);
        let extra_bytes = extra_bytes(&f, raw.len(), number)?;
        let metadata = Metadata {
            id: FileId(number),
            kind,
            permissions: u32::from(mode & 0o7777),
            uid: u32::from(f.le16(0x78)?) << 16 | u32::from(f.le16(0x2)?),
            gid: u32::from(f.le16(0x7A)?) << 16 | u32::from(f.le16(0x18)?),
            links: u32::from(f.le16(0x1A)?),
            size_bytes,
            allocated_bytes: allocated_bytes(volume, &f, flags)?,
            accessed: time(&f, 0x8, 0x8C, extra_bytes)?,
            modified: time(&f, 0x10, 0x88, extra_bytes)?,
            changed: time(&f, 0xC, 0x84, extra_bytes)?,
            created: if extra_bytes >= 0x98 - CLASSIC_BYTES { Some(time(&f, 0x90, 0x94, extra_bytes)?) } else { None },
            device: device(kind, &block_area)?,
        };
        Ok(Self {
            number,
            kind,
            size_bytes,
            block_area,
            attribute_block: u64::from(f.le16(0x76)?) << 32 | u64::from(f.le32(0x68)?),
            attribute_area: raw.get(CLASSIC_BYTES + extra_bytes..).unwrap_or_default().to_vec(),
            metadata,
            flags,
        })
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    pub(super) fn has_inline_data(&self) -> bool {
        self.flags & FLAG_INLINE_DATA != 0
    }

    /// Whether it holds the value of an extended attribute instead of a file.
    pub(super) fn is_attribute_value(&self) -> bool {
        self.flags & FLAG_ATTRIBUTE_VALUE != 0
    }

    pub(super) fn refuse_encrypted(&self) -> Result<()> {
        if self.flags & FLAG_ENCRYPTED != 0 { Err(FilesError::Encrypted { inode: self.number }) } else { Ok(()) }
    }
}

/// Number of bytes in use after the classic 128.
fn extra_bytes(f: &Fields<'_>, inode_bytes: usize, number: u64) -> Result<usize> {
    if inode_bytes <= CLASSIC_BYTES {
        return Ok(0);
    }
    let extra = usize::from(f.le16(0x80)?);
    if extra > inode_bytes - CLASSIC_BYTES || !extra.is_multiple_of(4) {
        return Err(FilesError::corrupt(format!("inode {number} claims {extra} extra bytes")));
    }
    Ok(extra)
}

fn allocated_bytes(volume: &Volume<'_>, f: &Fields<'_>, flags: u32) -> Result<u64> {
    let low = f.le32(0x1C)?;
    if !volume.superblock.has_huge_files() {
        return Ok(u64::from(low) * 512);
    }
    let count = join(u32::from(f.le16(0x74)?), low);
    let unit = if flags & FLAG_HUGE_FILE != 0 { u64::from(volume.superblock.block_bytes) } else { 512 };
    Ok(count.saturating_mul(unit))
}

/// Seconds at `at`; two more bits of them and the nanoseconds at `extra_at`, where the inode is that large.
fn time(f: &Fields<'_>, at: usize, extra_at: usize, extra_bytes: usize) -> Result<Timestamp> {
    let seconds = i64::from(f.le32(at)?.cast_signed());
    if extra_at + 4 > CLASSIC_BYTES + extra_bytes {
        return Ok(Timestamp { seconds, nanoseconds: 0 });
    }
    let extra = f.le32(extra_at)?;
    let nanoseconds = if extra >> 2 < 1_000_000_000 { extra >> 2 } else { 0 };
    Ok(Timestamp { seconds: seconds + (i64::from(extra & 3) << 32), nanoseconds })
}

/// Device numbers are stored 16 bits wide in the first slot, or in the kernel's 32-bit form in the second.
fn device(kind: FileKind, block_area: &[u8]) -> Result<Option<DeviceNumber>> {
    if !matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) {
        return Ok(None);
    }
    let f = Fields::new(block_area, "device number");
    let (old, new) = (f.le32(0)?, f.le32(4)?);
    Ok(Some(if old != 0 {
        DeviceNumber { major: old >> 8 & 0xFF, minor: old & 0xFF }
    } else {
        DeviceNumber { major: new >> 8 & 0xFFF, minor: new & 0xFF | new >> 12 & 0xF_FF00 }
    }))
}
