//! The superblock and the group descriptors of ext2, ext3 and ext4: where every group's metadata lies.
//!
//! Follows the kernel's documentation of the layout (Documentation/filesystems/ext4). Everything is checked before it is
//! used; a feature that is not listed here as understood makes the file system untrusted.

use super::Distrust;
use crate::facts::checksum::{crc16_continue, crc32c_continue};
use crate::facts::fields::{Fields, read_bytes};
use crate::read_at::ReadAt;

const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;

const COMPAT_SPARSE_SUPER2: u32 = 0x200;
/// dir_prealloc, imagic_inodes, has_journal, ext_attr, resize_inode, dir_index, sparse_super2, fast_commit,
/// stable_inodes, orphan_file.
const COMPAT_KNOWN: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | COMPAT_SPARSE_SUPER2 | 0x400 | 0x800 | 0x1000;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// filetype, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, dirdata, csum_seed, largedir, inline_data, encrypt, casefold.
const INCOMPAT_KNOWN: u32 = 0x2
    | INCOMPAT_META_BG
    | 0x40
    | INCOMPAT_64BIT
    | 0x100
    | 0x200
    | 0x400
    | 0x1000
    | INCOMPAT_CSUM_SEED
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;
const RO_SPARSE_SUPER: u32 = 0x1;
const RO_GDT_CSUM: u32 = 0x10;
const RO_BIGALLOC: u32 = 0x200;
const RO_METADATA_CSUM: u32 = 0x400;
const RO_ORPHAN_PRESENT: u32 = 0x1_0000;
/// sparse_super, large_file, btree_dir, huge_file, gdt_csum, dir_nlink, extra_isize, quota, bigalloc, metadata_csum,
/// readonly, project, verity.
const RO_KNOWN: u32 = RO_SPARSE_SUPER
    | 0x2
    | 0x4
    | 0x8
    | RO_GDT_CSUM
    | 0x20
    | 0x40
    | 0x100
    | RO_BIGALLOC
    | RO_METADATA_CSUM
    | 0x1000
    | 0x2000
    | 0x8000;
const STATE_CLEAN: u16 = 1;

/// A checked superblock.
// INVARIANT: block_bytes is 1024..=65536, cluster_bytes a multiple of it, groups > 0 and the counts agree with each other.
pub struct Layout {
    pub block_bytes: u64,
    pub blocks: u64,
    pub first_data_block: u64,
    pub blocks_per_group: u64,
    /// Blocks that one bit of a bitmap stands for; 1 without bigalloc.
    pub blocks_per_cluster: u64,
    pub inode_table_blocks: u64,
    pub groups: u64,
    descriptor_bytes: u64,
    reserved_gdt_blocks: u64,
    first_meta_group: u64,
    is_meta_bg: bool,
    every_group_has_super: bool,
    /// Seed of all CRC-32C checksums, when the file system has them.
    pub checksum_seed: Option<u32>,
    gdt_crc16: bool,
    uuid: [u8; 16],
}

impl Layout {
    /// Reads the superblock and refuses whatever is not clean and understood.
    pub fn read(partition: &dyn ReadAt) -> Result<Self, Distrust> {
        let bytes = read_bytes(partition, SUPERBLOCK_AT, SUPERBLOCK_BYTES)?.ok_or("no superblock")?;
        let sb = Fields(&bytes);
        check_state(sb)?;
        let (incompat, ro) = (sb.le32(0x60), sb.le32(0x64));
        if ro & RO_METADATA_CSUM != 0 && crc32c_continue(!0, &bytes[..0x3FC]) != sb.le32(0x3FC) {
            return Err("the superblock's checksum is wrong".into());
        }
        let uuid: [u8; 16] = bytes[0x68..0x78].try_into().map_err(|_| "no superblock")?;
        let seed = if incompat & INCOMPAT_CSUM_SEED != 0 { sb.le32(0x270) } else { crc32c_continue(!0, &uuid) };
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        let log_block = sb.le32(0x18);
        // Without bigalloc old tools left this field as something else ("fragment size").
        let log_cluster = if ro & RO_BIGALLOC != 0 { sb.le32(0x1C) } else { log_block };
        let ratio_shift = log_cluster.checked_sub(log_block).filter(|shift| *shift <= 20 && log_block <= 6);
        let block_bytes = 1024 << log_block.min(6);
        let inode_bytes = if sb.le32(0x4C) == 0 { 128 } else { u64::from(sb.le16(0x58)) };
        let inodes_per_group = u64::from(sb.le32(0x28));
        let mut layout = Self {
            block_bytes,
            blocks: u64::from(sb.le32(4)) | if is_64bit { u64::from(sb.le32(0x150)) << 32 } else { 0 },
            first_data_block: u64::from(sb.le32(0x14)),
            blocks_per_group: u64::from(sb.le32(0x20)),
            blocks_per_cluster: 1 << ratio_shift.ok_or("the block or cluster size is impossible")?,
            inode_table_blocks: (inodes_per_group * inode_bytes).div_ceil(block_bytes),
            groups: 0,
            descriptor_bytes: if is_64bit { u64::from(sb.le16(0xFE)) } else { 32 },
            reserved_gdt_blocks: u64::from(sb.le16(0xCE)),
            first_meta_group: u64::from(sb.le32(0x104)),
            is_meta_bg: incompat & INCOMPAT_META_BG != 0,
            every_group_has_super: ro & RO_SPARSE_SUPER == 0 || sb.le32(0x5C) & COMPAT_SPARSE_SUPER2 != 0,
            checksum_seed: (ro & RO_METADATA_CSUM != 0).then_some(seed),
            gdt_crc16: ro & RO_GDT_CSUM != 0 && ro & RO_METADATA_CSUM == 0,
            uuid,
        };
        layout.groups = layout.count_groups(partition.size_bytes()).ok_or("the superblock contradicts itself")?;
        Ok(layout)
    }

    /// The number of groups, if all counts are possible.
    fn count_groups(&self, partition_bytes: u64) -> Option<u64> {
        let fits = self.blocks.checked_mul(self.block_bytes)? <= partition_bytes;
        let bitmap_bits = 8 * self.block_bytes;
        let group_ok = self.blocks_per_group > 0
            && self.blocks_per_group.is_multiple_of(self.blocks_per_cluster)
            && self.blocks_per_group / self.blocks_per_cluster <= bitmap_bits
            // Bitmap checksums cover whole bytes.
            && (self.blocks_per_group / self.blocks_per_cluster).is_multiple_of(8);
        let descriptor_ok = self.descriptor_bytes.is_power_of_two() && (32..=1024).contains(&self.descriptor_bytes);
        let tables_ok = (1..=self.blocks_per_group).contains(&self.inode_table_blocks);
        let data_blocks = self.blocks.checked_sub(self.first_data_block).filter(|n| *n > 0)?;
        let first_ok = self.first_data_block <= 1;
        (fits && group_ok && descriptor_ok && tables_ok && first_ok)
            .then(|| data_blocks.div_ceil(self.blocks_per_group))
    }

    /// First block of a group.
    pub fn group_start(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// Blocks of a group; the last one may be shorter.
    pub fn group_blocks(&self, group: u64) -> u64 {
        self.blocks_per_group.min(self.blocks - self.group_start(group))
    }

    fn has_super(&self, group: u64) -> bool {
        let is_power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        self.every_group_has_super || group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
    }

    fn descriptors_per_block(&self) -> u64 {
        self.block_bytes / self.descriptor_bytes
    }

    fn descriptor_blocks(&self) -> u64 {
        self.groups.div_ceil(self.descriptors_per_block())
    }

    /// Number of blocks at a group's start that hold the superblock and descriptors, as `ext4_num_base_meta_blocks`
    /// counts them. Where `sparse_super2` makes that uncertain, more.
    pub fn base_meta_blocks(&self, group: u64) -> u64 {
        let per_block = self.descriptors_per_block();
        let own_super = u64::from(self.has_super(group));
        if self.is_meta_bg && group >= self.first_meta_group.saturating_mul(per_block) {
            let place = group % per_block;
            return own_super + u64::from(place == 0 || place == 1 || place == per_block - 1);
        }
        let copied = if self.is_meta_bg { self.first_meta_group } else { self.descriptor_blocks() };
        if own_super == 0 { 0 } else { 1 + copied.min(self.blocks) + self.reserved_gdt_blocks }
    }

    /// Where the descriptors of a block's worth of groups lie, as the kernel's `descriptor_loc` has it.
    fn descriptor_block_at(&self, index: u64) -> u64 {
        let super_block = SUPERBLOCK_AT / self.block_bytes;
        if !self.is_meta_bg || index < self.first_meta_group {
            return super_block + index + 1;
        }
        let group = index * self.descriptors_per_block();
        // With 1 KiB blocks and first data block 0 (bigalloc) block 0 is the boot block.
        let after_boot_block = u64::from(self.block_bytes == 1024 && index == 0 && self.first_data_block == 0);
        self.group_start(group) + u64::from(self.has_super(group)) + after_boot_block
    }

    /// Reads all group descriptors and checks their checksums.
    pub fn read_groups(&self, partition: &dyn ReadAt) -> Result<Vec<Group>, Distrust> {
        let block_length = usize::try_from(self.block_bytes).map_err(|_| "block size")?;
        let descriptor_length = usize::try_from(self.descriptor_bytes).map_err(|_| "descriptor size")?;
        let mut groups = Vec::new();
        for index in 0..self.descriptor_blocks() {
            let at = self.descriptor_block_at(index).saturating_mul(self.block_bytes);
            let block =
                read_bytes(partition, at, block_length)?.ok_or("group descriptors lie outside the partition")?;
            for descriptor in block.chunks_exact(descriptor_length) {
                let number = groups.len() as u64;
                if number == self.groups {
                    break;
                }
                self.check_descriptor(number, descriptor)?;
                groups.push(Group::parse(descriptor));
            }
        }
        Ok(groups)
    }

    fn check_descriptor(&self, group: u64, descriptor: &[u8]) -> Result<(), Distrust> {
        let stored = Fields(descriptor).le16(0x1E);
        let number = u32::try_from(group).map_err(|_| "too many groups")?.to_le_bytes();
        let computed = if let Some(seed) = self.checksum_seed {
            let crc = crc32c_continue(crc32c_continue(seed, &number), &descriptor[..0x1E]);
            let crc = crc32c_continue(crc32c_continue(crc, &[0, 0]), &descriptor[0x20..]);
            crc & 0xFFFF
        } else if self.gdt_crc16 {
            let crc = crc16_continue(crc16_continue(!0, &self.uuid), &number);
            u32::from(crc16_continue(crc16_continue(crc, &descriptor[..0x1E]), &descriptor[0x20..]))
        } else {
            return Ok(());
        };
        if u32::from(stored) == computed {
            Ok(())
        } else {
            Err(format!("the checksum of group {group} is wrong").into())
        }
    }

    /// Are groups allowed to have bitmaps that were never written?
    pub fn may_be_uninitialised(&self) -> bool {
        self.checksum_seed.is_some() || self.gdt_crc16
    }
}

/// One group descriptor.
pub struct Group {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    /// In clusters.
    pub free_clusters: u64,
    pub is_block_bitmap_uninitialised: bool,
    /// `None` when only the low half is stored.
    pub bitmap_checksum_high: Option<u16>,
    pub bitmap_checksum_low: u16,
}

impl Group {
    fn parse(descriptor: &[u8]) -> Self {
        let d = Fields(descriptor);
        // Fields past a 32-byte descriptor read as zero.
        let wide = |low: usize, high: usize| u64::from(d.le32(low)) | u64::from(d.le32(high)) << 32;
        Self {
            block_bitmap: wide(0x0, 0x20),
            inode_bitmap: wide(0x4, 0x24),
            inode_table: wide(0x8, 0x28),
            free_clusters: u64::from(d.le16(0xC)) | u64::from(d.le16(0x2C)) << 16,
            is_block_bitmap_uninitialised: d.le16(0x12) & 0x2 != 0,
            bitmap_checksum_low: d.le16(0x18),
            bitmap_checksum_high: (descriptor.len() >= 0x3A).then(|| d.le16(0x38)),
        }
    }
}

fn check_state(sb: Fields<'_>) -> Result<(), Distrust> {
    let (compat, incompat, ro) = (sb.le32(0x5C), sb.le32(0x60), sb.le32(0x64));
    if sb.le16(0x38) != 0xEF53 {
        return Err("no superblock".into());
    }
    if incompat & INCOMPAT_RECOVER != 0 {
        return Err("the journal holds changes that are not written back (not unmounted cleanly)".into());
    }
    if sb.le16(0x3A) != STATE_CLEAN || ro & RO_ORPHAN_PRESENT != 0 {
        return Err("the file system was not unmounted cleanly or has errors".into());
    }
    for (name, unknown) in
        [("compat", compat & !COMPAT_KNOWN), ("incompat", incompat & !INCOMPAT_KNOWN), ("ro_compat", ro & !RO_KNOWN)]
    {
        if unknown != 0 {
            return Err(format!("unknown {name} features {unknown:#x}").into());
        }
    }
    Ok(())
}
