//! Where every group of ext2, ext3 and ext4 has its metadata, for who will not believe it unless all of it is sound.
//!
//! Everything is checked before it is used; a feature that is not listed here as understood makes the file system untrusted.

use super::Distrust;
use crate::facts::checksum::{crc16_continue, crc32c_continue};
use crate::facts::ext4_superblock::{self, Superblock, compat, incompat, ro_compat};
use crate::facts::fields::{Fields, read_bytes};
use crate::read_at::ReadAt;

/// With dir_prealloc, imagic_inodes, ext_attr, resize_inode, dir_index, stable_inodes, orphan_file.
const COMPAT_KNOWN: u32 =
    0x1 | 0x2 | compat::HAS_JOURNAL | 0x8 | 0x10 | 0x20 | compat::SPARSE_SUPER2 | compat::FAST_COMMIT | 0x800 | 0x1000;
/// Not recover: what the journal holds is not in the bitmaps yet.
const INCOMPAT_KNOWN: u32 = incompat::FILETYPE
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::WIDE
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::DIRDATA
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;
/// With large_file, btree_dir, dir_nlink, extra_isize, quota, readonly, project, verity.
const RO_KNOWN: u32 = ro_compat::SPARSE_SUPER
    | 0x2
    | 0x4
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | 0x20
    | 0x40
    | 0x100
    | ro_compat::BIGALLOC
    | ro_compat::METADATA_CSUM
    | 0x1000
    | 0x2000
    | 0x8000;

/// The groups of a file system that is clean and understood.
// INVARIANT: groups > 0, and the counts agree with each other and with the partition's size.
pub struct Layout {
    superblock: Superblock,
    pub block_bytes: u64,
    pub blocks: u64,
    pub first_data_block: u64,
    pub blocks_per_group: u64,
    pub blocks_per_cluster: u64,
    pub inode_table_blocks: u64,
    pub groups: u64,
    /// Seed of all CRC-32C checksums, when the file system has them.
    pub checksum_seed: Option<u32>,
    gdt_crc16: bool,
}

impl Layout {
    /// Reads the superblock and refuses whatever is not clean and understood.
    pub fn read(partition: &dyn ReadAt) -> Result<Self, Distrust> {
        let bytes = read_bytes(partition, ext4_superblock::OFFSET_BYTES, ext4_superblock::LENGTH_BYTES)?;
        let superblock = Superblock::parse(&bytes.ok_or("no superblock")?)
            .map_err(|what| Distrust::from(format!("the superblock {what}")))?;
        check_state(&superblock)?;
        let block_bytes = u64::from(superblock.block_bytes);
        let inode_table_bytes = u64::from(superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
        let mut layout = Self {
            block_bytes,
            blocks: superblock.blocks,
            first_data_block: superblock.first_data_block,
            blocks_per_group: u64::from(superblock.blocks_per_group),
            blocks_per_cluster: u64::from(superblock.blocks_per_cluster),
            inode_table_blocks: inode_table_bytes.div_ceil(block_bytes),
            groups: 0,
            checksum_seed: superblock.checksum_seed(),
            gdt_crc16: superblock.ro_compat & ro_compat::GDT_CSUM != 0 && superblock.checksum_seed().is_none(),
            superblock,
        };
        layout.groups = layout.count_groups(partition.size_bytes()).ok_or("the superblock contradicts itself")?;
        Ok(layout)
    }

    /// The number of groups, if all counts are possible.
    fn count_groups(&self, partition_bytes: u64) -> Option<u64> {
        let fits = self.blocks.checked_mul(self.block_bytes)? <= partition_bytes;
        let bitmap_bits = 8 * self.block_bytes;
        let group_ok = self.blocks_per_group.is_multiple_of(self.blocks_per_cluster)
            && self.blocks_per_group / self.blocks_per_cluster <= bitmap_bits
            // Bitmap checksums cover whole bytes.
            && (self.blocks_per_group / self.blocks_per_cluster).is_multiple_of(8);
        let tables_ok = (1..=self.blocks_per_group).contains(&self.inode_table_blocks);
        let data_blocks = self.blocks.checked_sub(self.first_data_block).filter(|n| *n > 0)?;
        (fits && group_ok && tables_ok).then(|| data_blocks.div_ceil(self.blocks_per_group))
    }

    /// First block of a group.
    pub fn group_start(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// Blocks of a group; the last one may be shorter.
    pub fn group_blocks(&self, group: u64) -> u64 {
        self.blocks_per_group.min(self.blocks - self.group_start(group))
    }

    /// Where `sparse_super2` leaves copies out, more.
    fn may_have_super(&self, group: u64) -> bool {
        self.superblock.compat & compat::SPARSE_SUPER2 != 0 || self.superblock.group_has_superblock(group)
    }

    fn descriptor_blocks(&self) -> u64 {
        self.groups.div_ceil(self.superblock.descriptors_per_block())
    }

    /// Number of blocks at a group's start that hold the superblock and descriptors, as `ext4_num_base_meta_blocks`
    /// counts them, or more.
    pub fn base_meta_blocks(&self, group: u64) -> u64 {
        let per_block = self.superblock.descriptors_per_block();
        let first_meta_group = u64::from(self.superblock.first_meta_group);
        let is_meta_bg = self.superblock.incompat & incompat::META_BG != 0;
        let own_super = u64::from(self.may_have_super(group));
        if is_meta_bg && group >= first_meta_group.saturating_mul(per_block) {
            let place = group % per_block;
            return own_super + u64::from(place == 0 || place == 1 || place == per_block - 1);
        }
        let copied = if is_meta_bg { first_meta_group } else { self.descriptor_blocks() };
        let reserved = u64::from(self.superblock.reserved_gdt_blocks);
        if own_super == 0 { 0 } else { 1 + copied.min(self.blocks) + reserved }
    }

    /// Reads all group descriptors and checks their checksums.
    pub fn read_groups(&self, partition: &dyn ReadAt) -> Result<Vec<Group>, Distrust> {
        let block_length = usize::try_from(self.block_bytes).map_err(|_| "block size")?;
        let descriptor_length = usize::try_from(self.superblock.descriptor_bytes).map_err(|_| "descriptor size")?;
        let mut groups = Vec::new();
        for index in 0..self.descriptor_blocks() {
            let at = self.superblock.descriptor_block(index).saturating_mul(self.block_bytes);
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
            let crc = crc16_continue(crc16_continue(!0, &self.superblock.uuid), &number);
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

fn check_state(sb: &Superblock) -> Result<(), Distrust> {
    if sb.is_checksum_wrong {
        return Err("the superblock's checksum is wrong".into());
    }
    if sb.incompat & incompat::RECOVER != 0 {
        return Err("the journal holds changes that are not written back (not unmounted cleanly)".into());
    }
    if !sb.is_clean || sb.ro_compat & ro_compat::ORPHAN_PRESENT != 0 {
        return Err("the file system was not unmounted cleanly or has errors".into());
    }
    for (name, unknown) in [
        ("compat", sb.compat & !COMPAT_KNOWN),
        ("incompat", sb.incompat & !INCOMPAT_KNOWN),
        ("ro_compat", sb.ro_compat & !RO_KNOWN),
    ] {
        if unknown != 0 {
            return Err(format!("unknown {name} features {unknown:#x}").into());
        }
    }
    Ok(())
}
