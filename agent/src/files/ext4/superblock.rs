//! The superblock: geometry and features. Every number that is divided by or shifted with is checked here once.

use super::checksum::crc32c;
use super::fields::{Fields, join};
use crate::files::{FilesError, Result};

/// Where the superblock lies on the disk.
pub(super) const OFFSET_BYTES: u64 = 1024;
/// Its length.
pub(super) const LENGTH_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;

const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_MMP: u32 = 0x100;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const INCOMPAT_EA_INODE: u32 = 0x400;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_LARGEDIR: u32 = 0x4000;
const INCOMPAT_INLINE_DATA: u32 = 0x8000;
const INCOMPAT_ENCRYPT: u32 = 0x1_0000;
const INCOMPAT_CASEFOLD: u32 = 0x2_0000;
const INCOMPAT_KNOWN: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_META_BG
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_MMP
    | INCOMPAT_FLEX_BG
    | INCOMPAT_EA_INODE
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR
    | INCOMPAT_INLINE_DATA
    | INCOMPAT_ENCRYPT
    | INCOMPAT_CASEFOLD;
const INCOMPAT_NAMES: [(u32, &str); 3] =
    [(0x1, "compression"), (0x8, "an external journal device"), (0x1000, "dirdata")];

const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_HUGE_FILE: u32 = 0x8;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// What the reader needs of the superblock; all values are consistent with each other.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u32,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u32,
    pub(super) descriptor_bytes: u32,
    pub(super) first_meta_group: u32,
    pub(super) backup_groups: [u32; 2],
    pub(super) journal_inode: u32,
    pub(super) damaged_checksum: bool,
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

/// Whether `bytes`, the 1024 bytes at [`OFFSET_BYTES`], carry the magic of ext2, ext3 and ext4.
pub(super) fn has_magic(bytes: &[u8]) -> bool {
    matches!(Fields::new(bytes, "superblock").le16(0x38), Ok(MAGIC))
}

impl Superblock {
    /// Checks and takes over the 1024 bytes at [`OFFSET_BYTES`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let f = Fields::new(bytes, "superblock");
        if !has_magic(bytes) {
            return Err(FilesError::NotRecognised);
        }
        let dynamic = f.le32(0x4C)? >= 1;
        let features = |at| if dynamic { f.le32(at) } else { Ok(0) };
        let (compat, incompat, ro_compat) = (features(0x5C)?, features(0x60)?, features(0x64)?);
        refuse_unknown(incompat)?;
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        let log_block = f.le32(0x18)?;
        if log_block > 6 {
            return Err(FilesError::corrupt(format!("superblock names a block size of 2^{log_block} KiB")));
        }
        let superblock = Self {
            block_bytes: 1024 << log_block,
            blocks: join(if is_64bit { f.le32(0x150)? } else { 0 }, f.le32(0x4)?),
            first_data_block: u64::from(f.le32(0x14)?),
            blocks_per_group: f.le32(0x20)?,
            inodes: f.le32(0x0)?,
            inodes_per_group: f.le32(0x28)?,
            inode_bytes: if dynamic { u32::from(f.le16(0x58)?) } else { 128 },
            descriptor_bytes: if is_64bit { u32::from(f.le16(0xFE)?) } else { 32 },
            first_meta_group: f.le32(0x104)?,
            backup_groups: [f.le32(0x24C)?, f.le32(0x250)?],
            journal_inode: if compat & COMPAT_HAS_JOURNAL != 0 { f.le32(0xE0)? } else { 0 },
            damaged_checksum: ro_compat & RO_COMPAT_METADATA_CSUM != 0
                && crc32c(u32::MAX, f.slice(0, 0x3FC)?) != f.le32(0x3FC)?,
            compat,
            incompat,
            ro_compat,
        };
        superblock.check()?;
        Ok(superblock)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(FilesError::corrupt(format!("superblock {what}")));
        if !self.inode_bytes.is_power_of_two() || self.inode_bytes < 128 || self.inode_bytes > self.block_bytes {
            return wrong(format!("names an inode size of {}", self.inode_bytes));
        }
        let descriptor = self.descriptor_bytes;
        if !descriptor.is_power_of_two() || descriptor < 32 || descriptor > self.block_bytes.min(1024) {
            return wrong(format!("names a group descriptor size of {descriptor}"));
        }
        if self.blocks_per_group == 0 || self.inodes_per_group == 0 || self.inodes == 0 {
            return wrong("has empty block groups".to_owned());
        }
        if self.first_data_block > 1 || self.blocks <= self.first_data_block {
            return wrong(format!("starts at block {} of {}", self.first_data_block, self.blocks));
        }
        if self.blocks.checked_mul(u64::from(self.block_bytes)).is_none() {
            return wrong(format!("counts {} blocks", self.blocks));
        }
        Ok(())
    }

    pub(super) fn has_file_types(&self) -> bool {
        self.incompat & INCOMPAT_FILETYPE != 0
    }

    pub(super) fn needs_recovery(&self) -> bool {
        self.incompat & INCOMPAT_RECOVER != 0
    }

    pub(super) fn has_meta_groups(&self) -> bool {
        self.incompat & INCOMPAT_META_BG != 0
    }

    pub(super) fn has_huge_files(&self) -> bool {
        self.ro_compat & RO_COMPAT_HUGE_FILE != 0
    }

    pub(super) fn has_large_directories(&self) -> bool {
        self.incompat & INCOMPAT_LARGEDIR != 0
    }

    /// ext2 has no journal, ext3 no extents or other newer features.
    pub(super) fn family(&self) -> &'static str {
        const NEWER: u32 = !(INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG);
        // sparse_super, large_file and btree_dir are all that ext2 and ext3 know.
        if self.incompat & NEWER != 0 || self.ro_compat & !0x7 != 0 {
            "ext4"
        } else if self.compat & COMPAT_HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Whether `group` starts with a copy of the superblock.
    pub(super) fn group_has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat & COMPAT_SPARSE_SUPER2 != 0 {
            return self.backup_groups.iter().any(|backup| u64::from(*backup) == group);
        }
        self.ro_compat & RO_COMPAT_SPARSE_SUPER == 0 || group == 1 || [3, 5, 7].iter().any(|b| is_power(group, *b))
    }
}

fn is_power(mut number: u64, base: u64) -> bool {
    while number.is_multiple_of(base) && number > 1 {
        number /= base;
    }
    number == 1
}

fn refuse_unknown(incompat: u32) -> Result<()> {
    let unknown = incompat & !INCOMPAT_KNOWN;
    if unknown == 0 {
        return Ok(());
    }
    let named = INCOMPAT_NAMES.iter().find(|(bit, _)| unknown & bit != 0).map(|(_, name)| (*name).to_owned());
    let feature = named.unwrap_or_else(|| format!("the unknown feature bits {unknown:#x}"));
    Err(FilesError::Unsupported { file_system: "ext4", feature })
}
