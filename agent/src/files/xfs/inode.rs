//! One inode: kind, owner, times, and the two areas its content and attributes are found from.

use super::Volume;
use crate::files::fields::Fields;
use crate::files::{DeviceNumber, FileId, FileKind, FilesError, Metadata, Result, Timestamp};

/// First bytes of every inode.
pub(super) const MAGIC: [u8; 2] = *b"IN";
/// Inodes of this version have the long core.
const VERSION_LONG: u8 = 3;
const FLAG_REALTIME: u16 = 0x1;
pub(super) const FLAG2_BIG_TIME: u64 = 0x8;
pub(super) const FLAG2_LARGE_COUNTERS: u64 = 0x10;
/// Big times count from here, the least 32-bit time.
const BIG_TIME_EPOCH_S: i64 = -(1 << 31);
const NANOSECONDS: u64 = 1_000_000_000;

/// How a fork keeps what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Device,
    Local,
    Extents,
    Btree,
    Other(u8),
}

impl Format {
    fn of(stored: u8) -> Self {
        match stored {
            0 => Self::Device,
            1 => Self::Local,
            2 => Self::Extents,
            3 => Self::Btree,
            other => Self::Other(other),
        }
    }
}

/// One of the two maps of an inode, as its bytes lie in the inode.
#[derive(Debug, Clone)]
pub(super) struct Fork {
    pub(super) format: Format,
    pub(super) extents: u64,
    pub(super) bytes: Vec<u8>,
}

/// A parsed inode.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) kind: FileKind,
    pub(super) size_bytes: u64,
    pub(super) data: Fork,
    /// Missing when the inode never had extended attributes.
    pub(super) attributes: Option<Fork>,
    metadata: Metadata,
    flags: u16,
}

impl Inode {
    pub(super) fn read(volume: &Volume<'_>, number: u64) -> Result<Self> {
        let place = volume.superblock.inode_place(number);
        let (block, at) =
            place.ok_or_else(|| FilesError::corrupt(format!("inode {number} lies outside the file system")))?;
        let block = volume.blocks.block(block)?;
        let raw = Fields::new(&block, "inode").slice(at, volume.superblock.inode_bytes as usize)?;
        Self::parse(volume, number, raw)
    }

    fn parse(volume: &Volume<'_>, number: u64, raw: &[u8]) -> Result<Self> {
        let damaged = |what: &str| FilesError::corrupt(format!("inode {number} {what}"));
        let f = Fields::new(raw, "inode");
        let (mode, version) = (f.be16(2)?, f.byte(4)?);
        let is_long = version == VERSION_LONG;
        if f.slice(0, 2)? != MAGIC || is_long != volume.superblock.is_v5 || !(1..=3).contains(&version) {
            return Err(damaged("has no magic number or another version"));
        }
        if is_long && f.be64(152)? != number {
            return Err(damaged("says that it is another one"));
        }
        let kind = FileKind::of_mode(mode.into()).ok_or_else(|| match mode {
            0 => damaged("is not in use"),
            _ => damaged(&format!("has the unknown mode {mode:#o}")),
        })?;
        let flags2 = if is_long { f.be64(120)? } else { 0 };
        let size_bytes = f.be64(56)?;
        if size_bytes > i64::MAX as u64 {
            return Err(damaged("has an impossible size"));
        }
        let (data, attributes) = forks(volume, &f, flags2, number)?;
        let time = |at| time(&f, at, flags2 & FLAG2_BIG_TIME != 0);
        let metadata = Metadata {
            id: FileId(number),
            kind,
            permissions: u32::from(mode & 0o7777),
            uid: f.be32(8)?,
            gid: f.be32(12)?,
            links: if version == 1 { u32::from(f.be16(6)?) } else { f.be32(16)? },
            size_bytes,
            allocated_bytes: f.be64(64)?.saturating_mul(u64::from(volume.superblock.block_bytes)),
            accessed: time(32)?,
            modified: time(40)?,
            changed: time(48)?,
            created: if is_long { Some(time(144)?) } else { None },
            device: device(kind, &data.bytes)?,
        };
        Ok(Self { number, kind, size_bytes, data, attributes, metadata, flags: f.be16(90)? })
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether its content is on the realtime device.
    pub(super) fn is_realtime(&self) -> bool {
        self.kind == FileKind::Regular && self.flags & FLAG_REALTIME != 0
    }
}

fn forks(volume: &Volume<'_>, f: &Fields<'_>, flags2: u64, number: u64) -> Result<(Fork, Option<Fork>)> {
    let core_bytes = volume.superblock.inode_core_bytes();
    let area = f.slice(core_bytes, volume.superblock.inode_bytes as usize - core_bytes)?;
    let large = flags2 & FLAG2_LARGE_COUNTERS != 0;
    let split = usize::from(f.byte(82)?) * 8;
    if split >= area.len() {
        return Err(FilesError::corrupt(format!("inode {number} has its attributes outside of itself")));
    }
    let extents = if large { f.be64(24)? } else { u64::from(f.be32(76)?) };
    let data_end = if split == 0 { area.len() } else { split };
    let data = Fork { format: Format::of(f.byte(5)?), extents, bytes: area[..data_end].to_vec() };
    let attributes = if split == 0 {
        None
    } else {
        let extents = if large { u64::from(f.be32(76)?) } else { u64::from(f.be16(80)?) };
        Some(Fork { format: Format::of(f.byte(83)?), extents, bytes: area[split..].to_vec() })
    };
    Ok((data, attributes))
}

/// Big times are nanoseconds, the others 32 bits of seconds with a sign and 32 bits of nanoseconds.
fn time(f: &Fields<'_>, at: usize, is_big: bool) -> Result<Timestamp> {
    let stored = f.be64(at)?;
    let (seconds, nanoseconds) = if is_big {
        // A quotient of 64 bits by a billion fits easily.
        (i64::try_from(stored / NANOSECONDS).unwrap_or(i64::MAX) + BIG_TIME_EPOCH_S, stored % NANOSECONDS)
    } else {
        (i64::from(i32::from_be_bytes(f.array(at)?)), u64::from(f.be32(at + 4)?).min(NANOSECONDS - 1))
    };
    Ok(Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) })
}

/// 14 bits of the driver, 18 of its device.
fn device(kind: FileKind, data: &[u8]) -> Result<Option<DeviceNumber>> {
    if !matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) {
        return Ok(None);
    }
    let stored = Fields::new(data, "device number").be32(0)?;
    Ok(Some(DeviceNumber { major: stored >> 18, minor: stored & 0x3_FFFF }))
}

#[cfg(test)]
mod tests {
    use super::{Fields, device, time};
    use crate::files::{DeviceNumber, FileKind, Timestamp};

    #[test]
    fn times_of_both_forms_reach_before_1970() {
        let seconds = |stored: u64, is_big| {
            let bytes = stored.to_be_bytes();
            time(&Fields::new(&bytes, "time"), 0, is_big).unwrap()
        };
        assert_eq!(seconds(0, true), Timestamp { seconds: -(1 << 31), nanoseconds: 0 });
        assert_eq!(seconds((1 << 31) * 1_000_000_000 + 7, true), Timestamp { seconds: 0, nanoseconds: 7 });
        assert_eq!(seconds(0xFFFF_FFFF_0000_0009, false), Timestamp { seconds: -1, nanoseconds: 9 });
        assert_eq!(seconds(0x0000_0001_FFFF_FFFF, false), Timestamp { seconds: 1, nanoseconds: 999_999_999 });
    }

    #[test]
    fn device_numbers_have_14_and_18_bits() {
        let stored = (259_u32 << 18 | 70_000).to_be_bytes();
        let expected = Some(DeviceNumber { major: 259, minor: 70_000 });
        assert_eq!(device(FileKind::BlockDevice, &stored).unwrap(), expected);
        assert_eq!(device(FileKind::Regular, &stored).unwrap(), None);
        assert!(device(FileKind::CharDevice, &stored[..3]).is_err());
    }
}
