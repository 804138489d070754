//! The superblock of ext2, ext3 and ext4: geometry and features, checked once for all who read such a file system.
//!
//! Whatever is divided by, shifted with or multiplied later is possible when [`Superblock::parse`] returned. Which features a
//! reader understands, and whether it wants the file system clean, is its own business.
//!
//! Source: the kernel's Documentation/filesystems/ext4.

use super::checksum::crc32c_continue;
use super::fields::Fields;

/// Where the superblock lies.
pub const OFFSET_BYTES: u64 = 1024;
/// Its length.
pub const LENGTH_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;
const STATE_CLEAN: u16 = 1;

/// Features that one may be ignorant of.
pub mod compat {
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const FAST_COMMIT: u32 = 0x400;
}

/// Features that forbid reading to who does not know them.
pub mod incompat {
    pub const FILETYPE: u32 = 0x2;
    pub const RECOVER: u32 = 0x4;
    pub const META_BG: u32 = 0x10;
    pub const EXTENTS: u32 = 0x40;
    pub const WIDE: u32 = 0x80;
    pub const MMP: u32 = 0x100;
    pub const FLEX_BG: u32 = 0x200;
    pub const EA_INODE: u32 = 0x400;
    pub const DIRDATA: u32 = 0x1000;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const LARGEDIR: u32 = 0x4000;
    pub const INLINE_DATA: u32 = 0x8000;
    pub const ENCRYPT: u32 = 0x1_0000;
    pub const CASEFOLD: u32 = 0x2_0000;
}

/// Features that forbid writing to who does not know them.
pub mod ro_compat {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const HUGE_FILE: u32 = 0x8;
    pub const GDT_CSUM: u32 = 0x10;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const ORPHAN_PRESENT: u32 = 0x1_0000;
}

/// A superblock whose numbers are possible and agree with each other.
// INVARIANT: block_bytes is 1024 << 0..=6; blocks_per_cluster is a power of two up to 2^20; the sizes of inodes and descriptors are powers of
// two and fit a block; nothing that is divided by is zero; blocks × block_bytes fits 64 bits.
#[derive(Debug, Clone)]
pub struct Superblock {
    pub block_bytes: u32,
    pub blocks: u64,
    pub first_data_block: u64,
    pub blocks_per_group: u32,
    /// Blocks that one bit of a bitmap stands for; 1 without bigalloc.
    pub blocks_per_cluster: u32,
    pub inodes: u32,
    pub inodes_per_group: u32,
    pub inode_bytes: u32,
    pub descriptor_bytes: u32,
    pub reserved_gdt_blocks: u16,
    pub first_meta_group: u32,
    pub backup_groups: [u32; 2],
    /// Zero without a journal, or with one on another device.
    pub journal_inode: u32,
    pub is_clean: bool,
    pub is_checksum_wrong: bool,
    pub uuid: [u8; 16],
    pub compat: u32,
    pub incompat: u32,
    pub ro_compat: u32,
    stored_seed: u32,
}

/// Whether `bytes`, those at [`OFFSET_BYTES`], carry the magic of the family.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.len() >= LENGTH_BYTES && Fields(bytes).le16(0x38) == MAGIC
}

/// The features that forbid reading to who does not know them: of a file system with unknown ones nothing else need be as expected.
pub fn incompat_of(bytes: &[u8]) -> u32 {
    let f = Fields(bytes);
    // Revision 0 has neither features nor inode sizes.
    if f.le32(0x4C) >= 1 { f.le32(0x60) } else { 0 }
}

impl Superblock {
    /// Takes over the bytes at [`OFFSET_BYTES`], which carry the magic; says what is impossible about them.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let f = Fields(bytes);
        if !has_magic(bytes) {
            return Err("is none".into());
        }
        let is_dynamic = f.le32(0x4C) >= 1;
        let [compat, ro_compat] = [0x5C, 0x64].map(|at| if is_dynamic { f.le32(at) } else { 0 });
        let incompat = incompat_of(bytes);
        let is_wide = incompat & incompat::WIDE != 0;
        let log_block = f.le32(0x18);
        if log_block > 6 {
            return Err(format!("names a block size of 2^{log_block} KiB"));
        }
        // Without bigalloc old tools left this field as something else ("fragment size").
        let log_cluster = if ro_compat & ro_compat::BIGALLOC != 0 { f.le32(0x1C) } else { log_block };
        let cluster_shift = log_cluster.checked_sub(log_block).filter(|shift| *shift <= 20);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[0x68..0x78]);
        let superblock = Self {
            block_bytes: 1024 << log_block,
            blocks: u64::from(f.le32(0x4)) | if is_wide { u64::from(f.le32(0x150)) << 32 } else { 0 },
            first_data_block: u64::from(f.le32(0x14)),
            blocks_per_group: f.le32(0x20),
            blocks_per_cluster: 1 << cluster_shift.ok_or("names an impossible cluster size")?,
            inodes: f.le32(0x0),
            inodes_per_group: f.le32(0x28),
            inode_bytes: if is_dynamic { u32::from(f.le16(0x58)) } else { 128 },
            descriptor_bytes: if is_wide { u32::from(f.le16(0xFE)) } else { 32 },
            reserved_gdt_blocks: f.le16(0xCE),
            first_meta_group: f.le32(0x104),
            backup_groups: [f.le32(0x24C), f.le32(0x250)],
            journal_inode: if compat & compat::HAS_JOURNAL != 0 { f.le32(0xE0) } else { 0 },
            is_clean: f.le16(0x3A) == STATE_CLEAN,
            is_checksum_wrong: ro_compat & ro_compat::METADATA_CSUM != 0
                && crc32c_continue(!0, &bytes[..0x3FC]) != f.le32(0x3FC),
            uuid,
            compat,
            incompat,
            ro_compat,
            stored_seed: f.le32(0x270),
        };
        superblock.check().map(|()| superblock)
    }

    fn check(&self) -> Result<(), String> {
        if !self.inode_bytes.is_power_of_two() || self.inode_bytes < 128 || self.inode_bytes > self.block_bytes {
            return Err(format!("names an inode size of {}", self.inode_bytes));
        }
        let descriptor = self.descriptor_bytes;
        if !descriptor.is_power_of_two() || descriptor < 32 || descriptor > self.block_bytes.min(1024) {
            return Err(format!("names a group descriptor size of {descriptor}"));
        }
        if self.blocks_per_group == 0 || self.inodes_per_group == 0 || self.inodes == 0 {
            return Err("has empty block groups".into());
        }
        if self.first_data_block > 1 || self.blocks <= self.first_data_block {
            return Err(format!("starts at block {} of {}", self.first_data_block, self.blocks));
        }
        if self.blocks.checked_mul(u64::from(self.block_bytes)).is_none() {
            return Err(format!("counts {} blocks", self.blocks));
        }
        Ok(())
    }

    /// Seed of all CRC-32C checksums, when the file system has them.
    pub fn checksum_seed(&self) -> Option<u32> {
        let from_uuid = || crc32c_continue(!0, &self.uuid);
        let seed = if self.incompat & incompat::CSUM_SEED != 0 { self.stored_seed } else { from_uuid() };
        (self.ro_compat & ro_compat::METADATA_CSUM != 0).then_some(seed)
    }

    /// Group descriptors in a block.
    pub fn descriptors_per_block(&self) -> u64 {
        u64::from(self.block_bytes / self.descriptor_bytes)
    }

    /// Whether a group starts with a copy of the superblock.
    pub fn group_has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat & compat::SPARSE_SUPER2 != 0 {
            return self.backup_groups.iter().any(|backup| u64::from(*backup) == group);
        }
        self.ro_compat & ro_compat::SPARSE_SUPER == 0 || group == 1 || [3, 5, 7].iter().any(|b| is_power(group, *b))
    }

    /// Block that holds the `index`th block of group descriptors, as the kernel's `descriptor_loc` has it.
    pub fn descriptor_block(&self, index: u64) -> u64 {
        if self.incompat & incompat::META_BG == 0 || index < u64::from(self.first_meta_group) {
            return OFFSET_BYTES / u64::from(self.block_bytes) + 1 + index;
        }
        let group = index.saturating_mul(self.descriptors_per_block());
        let start = self.first_data_block.saturating_add(group.saturating_mul(u64::from(self.blocks_per_group)));
        // With 1 KiB blocks that are counted from 0 (bigalloc) the superblock is the second block of the first group.
        let shifted = self.block_bytes == 1024 && index == 0 && self.first_data_block == 0;
        start.saturating_add(u64::from(self.group_has_superblock(group)) + u64::from(shifted))
    }
}

fn is_power(mut number: u64, base: u64) -> bool {
    while number.is_multiple_of(base) && number > 1 {
        number /= base;
    }
    number == 1
}
