//! The superblock: geometry and features, checked once so that whatever is shifted with or divided by later is possible.

use crate::facts::checksum::crc32c_continue as crc32c;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// Length of the part that has a meaning.
pub(super) const LENGTH_BYTES: usize = 512;
const MAGIC: [u8; 4] = *b"XFSB";
const CHECKSUM_AT: usize = 224;
/// The kernel's limit for a log.
const MAX_LOG_BYTES: u64 = 1 << 31;
/// Inode clusters were this large for inodes of 256 bytes; with version 5 they grow with the inodes.
const CLUSTER_BYTES: u32 = 8192;

const VERSION_NLINK: u16 = 0x20;
const VERSION_SHARED: u16 = 0x200;
const VERSION_LOGV2: u16 = 0x400;
const VERSION_DIRV2: u16 = 0x2000;
const VERSION_MORE: u16 = 0x8000;
const FEATURES2_KNOWN: u32 = 0x2 | 0x8 | 0x80 | 0x100 | FEATURES2_FTYPE;
const FEATURES2_FTYPE: u32 = 0x200;

const INCOMPAT_FTYPE: u32 = 0x1;
const INCOMPAT_META_UUID: u32 = 0x4;
const INCOMPAT_NEEDS_REPAIR: u32 = 0x10;
/// File types, sparse inodes, metadata UUID, big times, repair, 64-bit counters, exchanged ranges, parent pointers.
const INCOMPAT_KNOWN: u32 = 0xFF;
/// Logged extended attributes.
const LOG_INCOMPAT_KNOWN: u32 = 0x1;
const INCOMPAT_NAMES: [(u32, &str); 3] = [
    (0x100, "a directory tree of metadata (metadir)"),
    (0x200, "zoned storage (zoned)"),
    (0x400, "zones with gaps (zone_gaps)"),
];

/// A superblock whose numbers are possible and agree with each other.
// INVARIANT: block_bytes is 1 << block_log with block_log 9..=16; inodes are 256..=2048 bytes and fit a block;
// ags × ag_blocks × block_bytes fits 63 bits; blocks reaches into the last allocation group and not further.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) block_bytes: u32,
    block_log: u32,
    pub(super) blocks: u64,
    pub(super) ag_blocks: u32,
    pub(super) ags: u32,
    ag_block_log: u32,
    pub(super) inode_bytes: u32,
    inodes_per_block_log: u32,
    /// Blocks that a buffer of inodes takes.
    pub(super) cluster_blocks: u32,
    pub(super) root_inode: u64,
    pub(super) dir_block_bytes: u32,
    pub(super) is_v5: bool,
    pub(super) has_file_types: bool,
    pub(super) has_metadata_uuid: bool,
    pub(super) has_log_v2: bool,
    pub(super) is_checksum_wrong: bool,
    pub(super) uuid: [u8; 16],
    /// What metadata blocks carry: the UUID the file system was made with.
    pub(super) metadata_uuid: [u8; 16],
    /// First block of the log as a number of an allocation group and a block in it; 0 when it is on another device.
    pub(super) log_start: u64,
    pub(super) log_blocks: u32,
    log_incompat: u32,
}

/// Whether these bytes begin like a superblock.
pub(super) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Refuses what is impossible, what is not understood, and what was left half repaired.
pub(super) fn parse(bytes: &[u8]) -> Result<Superblock> {
    let f = Fields::new(bytes, "superblock");
    let version = f.be16(100)?;
    let is_v5 = match version & 0xF {
        4 => false,
        5 => true,
        other => return Err(unsupported(format!("version {other} of its format"))),
    };
    let incompat = if is_v5 { f.be32(216)? } else { 0 };
    refuse_features(&f, version, incompat)?;
    let features2 = if version & VERSION_MORE != 0 { f.be32(200)? } else { 0 };
    let uuid = f.array(32)?;
    let has_metadata_uuid = incompat & INCOMPAT_META_UUID != 0;
    let block_log = u32::from(f.byte(120)?);
    let inode_bytes = u32::from(f.be16(104)?);
    let superblock = Superblock {
        block_bytes: f.be32(4)?,
        block_log,
        blocks: f.be64(8)?,
        ag_blocks: f.be32(84)?,
        ags: f.be32(88)?,
        ag_block_log: u32::from(f.byte(124)?),
        inode_bytes,
        inodes_per_block_log: u32::from(f.byte(123)?),
        cluster_blocks: cluster_blocks(is_v5, inode_bytes, f.be32(180)?, block_log),
        root_inode: f.be64(56)?,
        dir_block_bytes: 1 << (block_log + u32::from(f.byte(192)?)).min(31),
        is_v5,
        has_file_types: if is_v5 { incompat & INCOMPAT_FTYPE != 0 } else { features2 & FEATURES2_FTYPE != 0 },
        has_metadata_uuid,
        has_log_v2: is_v5 || version & VERSION_LOGV2 != 0,
        is_checksum_wrong: is_v5 && !checksum_holds(&f)?,
        uuid,
        metadata_uuid: if has_metadata_uuid { f.array(248)? } else { uuid },
        log_start: f.be64(48)?,
        log_blocks: f.be32(96)?,
        log_incompat: if is_v5 { f.be32(220)? } else { 0 },
    };
    if f.byte(126)? != 0 {
        return Err(FilesError::corrupt("it was never finished by mkfs.xfs"));
    }
    superblock.check(u32::from(f.byte(122)?))?;
    Ok(superblock)
}

fn refuse_features(f: &Fields<'_>, version: u16, incompat: u32) -> Result<()> {
    for (bit, name) in INCOMPAT_NAMES {
        if incompat & bit != 0 {
            return Err(unsupported(name.to_owned()));
        }
    }
    if incompat & !INCOMPAT_KNOWN != 0 {
        return Err(unsupported(format!("the unknown feature bits {:#x}", incompat & !INCOMPAT_KNOWN)));
    }
    if incompat & INCOMPAT_NEEDS_REPAIR != 0 {
        return Err(FilesError::corrupt(
            "its superblock asks for xfs_repair (needsrepair), without which it means nothing",
        ));
    }
    if version & 0xF == 5 {
        return Ok(());
    }
    if version & VERSION_DIRV2 == 0 || version & VERSION_NLINK == 0 {
        return Err(unsupported("directories or link counts of version 1".to_owned()));
    }
    if version & VERSION_SHARED != 0 {
        return Err(unsupported("sharing between machines".to_owned()));
    }
    match if version & VERSION_MORE != 0 { f.be32(200)? & !FEATURES2_KNOWN } else { 0 } {
        0 => Ok(()),
        unknown => Err(unsupported(format!("the unknown features2 bits {unknown:#x}"))),
    }
}

/// The kernel's rule; `alignment` is in blocks.
fn cluster_blocks(is_v5: bool, inode_bytes: u32, alignment: u32, block_log: u32) -> u32 {
    let block_log = block_log.min(31);
    let scaled = CLUSTER_BYTES * (inode_bytes / 256).max(1);
    let bytes = if is_v5 && alignment >= scaled >> block_log { scaled } else { CLUSTER_BYTES };
    (bytes >> block_log).max(1)
}

fn checksum_holds(f: &Fields<'_>) -> Result<bool> {
    let sector_bytes = usize::from(f.be16(102)?);
    // Only the first sector was read; the rest of a larger one is zero.
    let covered = sector_bytes.clamp(LENGTH_BYTES, 1 << 15);
    let mut crc = crc32c(!0, f.slice(0, CHECKSUM_AT)?);
    crc = crc32c(crc, &[0; 4]);
    crc = crc32c(crc, f.slice(CHECKSUM_AT + 4, LENGTH_BYTES - CHECKSUM_AT - 4)?);
    crc = crc32c(crc, &vec![0; covered - LENGTH_BYTES]);
    Ok(!crc == f.le32(CHECKSUM_AT)?)
}

impl Superblock {
    fn check(&self, inode_log: u32) -> Result<()> {
        let wrong = |what: &str| Err(FilesError::corrupt(format!("the superblock has an impossible {what}")));
        if !(9..=16).contains(&self.block_log) || self.block_bytes != 1 << self.block_log {
            return wrong("block size");
        }
        if !(8..=11).contains(&inode_log)
            || self.inode_bytes != 1 << inode_log
            || inode_log > self.block_log
            || self.inodes_per_block_log != self.block_log - inode_log
        {
            return wrong("inode size");
        }
        if self.dir_block_bytes > 1 << 16 {
            return wrong("size of directory blocks");
        }
        let ag_blocks = u64::from(self.ag_blocks);
        if self.ag_blocks < 2 || self.ag_block_log > 32 || ag_blocks.next_power_of_two() != 1 << self.ag_block_log {
            return wrong("size of allocation groups");
        }
        // Both are below 2^32, and a block below 2^17 bytes.
        let most = u64::from(self.ags) * ag_blocks;
        if self.ags == 0 || self.blocks > most || self.blocks <= most - ag_blocks || self.blocks > i64::MAX as u64 >> 16
        {
            return wrong("number of blocks");
        }
        if u64::from(self.log_blocks) * u64::from(self.block_bytes) > MAX_LOG_BYTES {
            return wrong("length of its log");
        }
        Ok(())
    }

    /// Whether `other` could be the same file system after it has grown.
    pub(super) fn has_geometry_of(&self, other: &Self) -> bool {
        let geometry = |s: &Self| (s.block_log, s.ag_block_log, s.ag_blocks, s.inode_bytes, s.dir_block_bytes, s.is_v5);
        geometry(self) == geometry(other)
    }

    /// The place of a block counted from the start of the disk, when `count` blocks from it lie in its allocation group.
    pub(super) fn linear_block(&self, numbered: u64, count: u64) -> Option<u64> {
        let ag = numbered >> self.ag_block_log;
        let in_ag = numbered & ((1 << self.ag_block_log) - 1);
        let first = self.linear_ag_block(ag, in_ag)?;
        let fits = in_ag.checked_add(count)? <= u64::from(self.ag_blocks) && first.checked_add(count)? <= self.blocks;
        fits.then_some(first)
    }

    fn linear_ag_block(&self, ag: u64, in_ag: u64) -> Option<u64> {
        let possible = ag < u64::from(self.ags) && in_ag < u64::from(self.ag_blocks);
        possible.then(|| ag * u64::from(self.ag_blocks) + in_ag)
    }

    /// Block from the start of the disk and byte in it where an inode lies.
    pub(super) fn inode_place(&self, number: u64) -> Option<(u64, usize)> {
        let in_block = number & ((1 << self.inodes_per_block_log) - 1);
        let block = self.linear_block(number >> self.inodes_per_block_log, 1)?;
        let at = usize::try_from(in_block).ok()? * self.inode_bytes as usize;
        Some((block, at))
    }

    /// The number of an inode that begins at this byte of the disk.
    pub(super) fn inode_at(&self, byte: u64) -> u64 {
        let block = byte >> self.block_log;
        let (ag, in_ag) = (block / u64::from(self.ag_blocks), block % u64::from(self.ag_blocks));
        let in_block = (byte & u64::from(self.block_bytes - 1)) / u64::from(self.inode_bytes);
        (ag << self.ag_block_log | in_ag) << self.inodes_per_block_log | in_block
    }

    /// Length of an inode's fixed fields.
    pub(super) fn inode_core_bytes(&self) -> usize {
        if self.is_v5 { 176 } else { 100 }
    }

    /// Refuses a log that holds what this reader does not know.
    pub(super) fn refuse_log_features(&self) -> Result<()> {
        match self.log_incompat & !LOG_INCOMPAT_KNOWN {
            0 => Ok(()),
            unknown => Err(unsupported(format!("a log with the unknown feature bits {unknown:#x}"))),
        }
    }
}

/// The refusal of a feature.
pub(super) fn unsupported(feature: String) -> FilesError {
    FilesError::Unsupported { file_system: "xfs", feature }
}
