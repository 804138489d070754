//! Used bytes of XFS: everything except what the free-space trees (by block number) of all allocation groups list.
//!
//! Trees, free lists, the log and inodes are never in those trees, so they count as used without being looked for. The
//! sum of each tree must equal the group's count of free blocks, and on version 5 every checksum must be right.

use super::xfs_log::Log;
use super::{Distrust, all_but, extent_of};
use crate::extents::{ExtentList, MAX_EXTENTS};
use crate::facts::checksum::crc32c_continue;
use crate::facts::fields::{Fields, read_bytes};
use crate::read_at::ReadAt;

/// finobt, rmapbt, reflink, inobtcounts.
const RO_COMPAT_KNOWN: u32 = 0xF;
/// ftype, sparse inodes, meta uuid, bigtime, large extent counts, exchange range, parent pointers.
/// Not: needs repair, metadata directory, zoned.
const INCOMPAT_KNOWN: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80;
const MAX_LEVELS: u32 = 16;

pub fn used(partition: &dyn ReadAt) -> Result<ExtentList, Distrust> {
    let layout = Layout::read(partition)?;
    Log { partition, offset_bytes: layout.log_offset_bytes, blocks: layout.log_bytes / 512 }.check_clean()?;
    let mut free = ExtentList::new();
    for group in 0..layout.groups {
        FreeSpace::read(&layout, group, partition)?.add_to(&mut free)?;
        if free.len() > MAX_EXTENTS {
            return Err("the free space is in too many pieces".into());
        }
    }
    Ok(all_but(partition.size_bytes(), &free))
}

/// The checked superblock.
// INVARIANT: groups · group_blocks covers blocks, and all of it lies on the partition; sizes are powers of two.
struct Layout {
    block_bytes: u64,
    sector_bytes: u64,
    blocks: u64,
    group_blocks: u64,
    groups: u64,
    log_offset_bytes: u64,
    log_bytes: u64,
    has_checksums: bool,
}

impl Layout {
    fn read(partition: &dyn ReadAt) -> Result<Self, Distrust> {
        let first = read_bytes(partition, 0, 512)?.ok_or("no superblock")?;
        let sector_bytes = u64::from(Fields(&first).be16(102));
        if !sector_bytes.is_power_of_two() || !(512..=32768).contains(&sector_bytes) {
            return Err("the sector size is impossible".into());
        }
        let sector = usize::try_from(sector_bytes).map_err(|_| "sector size")?;
        let bytes = read_bytes(partition, 0, sector)?.ok_or("no superblock")?;
        let sb = Fields(&bytes);
        let has_checksums = check_version(&bytes)?;
        let log_start = sb.be64(48);
        if log_start == 0 {
            return Err("the log is on another device, so nobody can tell whether it is empty".into());
        }
        let (block_bytes, group_blocks) = (u64::from(sb.be32(4)), u64::from(sb.be32(84)));
        let group_shift = u32::from(sb.u8(124));
        // A block's address is its group's number above `group_shift` bits and its number in the group below.
        let log_group = log_start.checked_shr(group_shift).ok_or("group size")?;
        let log_block = log_start & !(u64::MAX.checked_shl(group_shift).ok_or("group size")?);
        let log_first = log_group.checked_mul(group_blocks).and_then(|block| block.checked_add(log_block));
        let layout = Self {
            block_bytes,
            sector_bytes,
            blocks: sb.be64(8),
            group_blocks,
            groups: u64::from(sb.be32(88)),
            log_offset_bytes: log_first.and_then(|block| block.checked_mul(block_bytes)).ok_or("the log's place")?,
            log_bytes: u64::from(sb.be32(96)).checked_mul(block_bytes).ok_or("the log's size")?,
            has_checksums,
        };
        if sb.u8(126) != 0 {
            return Err("the file system is still being made or copied".into());
        }
        if layout.is_possible(partition.size_bytes()) {
            Ok(layout)
        } else {
            Err("the superblock contradicts itself".into())
        }
    }

    fn is_possible(&self, partition_bytes: u64) -> bool {
        let sizes_ok = self.block_bytes.is_power_of_two()
            && (512..=65536).contains(&self.block_bytes)
            && self.group_blocks >= 4
            && self.group_blocks < u64::from(u32::MAX);
        let covered = self.groups > 0 && self.blocks.div_ceil(self.group_blocks.max(1)) == self.groups;
        let fits = self.blocks.checked_mul(self.block_bytes).is_some_and(|size| size <= partition_bytes);
        let log_ok = self.log_bytes >= 64 * 512
            && self.log_offset_bytes.checked_add(self.log_bytes).is_some_and(|end| end <= partition_bytes);
        sizes_ok && covered && fits && log_ok
    }

    fn blocks_of(&self, group: u64) -> u64 {
        self.group_blocks.min(self.blocks - group * self.group_blocks)
    }

    fn block_offset(&self, group: u64, block: u64) -> u64 {
        (group * self.group_blocks + block) * self.block_bytes
    }
}

/// Returns whether this is version 5 (with checksums); refuses features that are not understood.
fn check_version(sector: &[u8]) -> Result<bool, Distrust> {
    let sb = Fields(sector);
    if !sb.has(0, b"XFSB") {
        return Err("no superblock".into());
    }
    match sb.be16(100) & 0xF {
        4 => Ok(false),
        5 => {
            let (ro_compat, incompat, log_incompat) = (sb.be32(212), sb.be32(216), sb.be32(220));
            if ro_compat & !RO_COMPAT_KNOWN != 0 || incompat & !INCOMPAT_KNOWN != 0 || log_incompat != 0 {
                let bits = format!("ro_compat {ro_compat:#x}, incompat {incompat:#x}, log {log_incompat:#x}");
                return Err(format!("features that are not understood ({bits})").into());
            }
            check_checksum(sector, 224, "superblock")?;
            Ok(true)
        }
        other => Err(format!("unknown version {other}").into()),
    }
}

/// The checksum is little-endian at `at` and covers the whole sector or block with zeros in its place.
fn check_checksum(bytes: &[u8], at: usize, what: &str) -> Result<(), Distrust> {
    let crc = crc32c_continue(crc32c_continue(!0, &bytes[..at]), &[0; 4]);
    if !crc32c_continue(crc, &bytes[at + 4..]) == Fields(bytes).le32(at) {
        Ok(())
    } else {
        Err(format!("a checksum is wrong: {what}").into())
    }
}

/// The free-space tree of one allocation group.
struct FreeSpace<'a> {
    layout: &'a Layout,
    partition: &'a dyn ReadAt,
    group: u64,
    group_blocks: u64,
    root: u64,
    levels: u32,
    free_blocks: u64,
}

impl<'a> FreeSpace<'a> {
    fn read(layout: &'a Layout, group: u64, partition: &'a dyn ReadAt) -> Result<Self, Distrust> {
        let sector_length = usize::try_from(layout.sector_bytes).map_err(|_| "sector size")?;
        let at = layout.block_offset(group, 0) + layout.sector_bytes;
        let bytes = read_bytes(partition, at, sector_length)?.ok_or("a group header lies outside the partition")?;
        let header = Fields(&bytes);
        if layout.has_checksums {
            check_checksum(&bytes, 216, "header of a group's free space")?;
        }
        let group_blocks = layout.blocks_of(group);
        let is_header = header.has(0, b"XAGF") && header.be32(4) == 1 && u64::from(header.be32(8)) == group;
        let levels = header.be32(28);
        if !is_header || u64::from(header.be32(12)) != group_blocks || !(1..=MAX_LEVELS).contains(&levels) {
            return Err(format!("the header of group {group} is not as it should be").into());
        }
        let (root, free_blocks) = (u64::from(header.be32(16)), u64::from(header.be32(52)));
        Ok(Self { layout, partition, group, group_blocks, root, levels, free_blocks })
    }

    /// Goes down to the first leaf and then from leaf to leaf; starts must ascend, so a cycle ends.
    fn add_to(&self, free: &mut ExtentList) -> Result<(), Distrust> {
        let mut leaf = self.first_leaf()?;
        let (mut next_start, mut sum) = (0, 0);
        loop {
            for record in leaf.records()? {
                let (start, count) = (u64::from(record.be32(0)), u64::from(record.be32(4)));
                if start < next_start || count == 0 || start + count > self.group_blocks {
                    return Err(format!("the free-space tree of group {} is damaged", self.group).into());
                }
                next_start = start + count;
                sum += count;
                let first = self.group * self.layout.group_blocks + start;
                free.push(extent_of(first, count, self.layout.block_bytes)?);
            }
            match leaf.right_sibling() {
                Some(_) if leaf.is_empty() => return Err("a leaf of a free-space tree is empty".into()),
                Some(block) => leaf = self.read_node(block, 0)?,
                None => break,
            }
        }
        if sum == self.free_blocks {
            Ok(())
        } else {
            Err(format!("the free-space tree of group {} contradicts its header", self.group).into())
        }
    }

    fn first_leaf(&self) -> Result<Node, Distrust> {
        let mut block = self.root;
        for level in (1..self.levels).rev() {
            block = self.read_node(block, level)?.first_child()?;
        }
        self.read_node(block, 0)
    }

    fn read_node(&self, block: u64, level: u32) -> Result<Node, Distrust> {
        if block >= self.group_blocks {
            return Err("a node of a free-space tree lies outside its group".into());
        }
        let length = usize::try_from(self.layout.block_bytes).map_err(|_| "block size")?;
        let at = self.layout.block_offset(self.group, block);
        let bytes = read_bytes(self.partition, at, length)?.ok_or("a tree node lies outside the partition")?;
        let (magic, header_bytes): (&[u8], usize) =
            if self.layout.has_checksums { (b"AB3B", 56) } else { (b"ABTB", 16) };
        if self.layout.has_checksums {
            check_checksum(&bytes, 52, "node of a free-space tree")?;
        }
        if !Fields(&bytes).has(0, magic) || u32::from(Fields(&bytes).be16(4)) != level {
            return Err("a node of a free-space tree is damaged".into());
        }
        Ok(Node { bytes, header_bytes })
    }
}

/// A block of a free-space tree: records of (start, count) in a leaf, keys and then children above.
struct Node {
    bytes: Vec<u8>,
    header_bytes: usize,
}

impl Node {
    fn count(&self) -> usize {
        usize::from(Fields(&self.bytes).be16(6))
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn right_sibling(&self) -> Option<u64> {
        Some(Fields(&self.bytes).be32(12)).filter(|block| *block != u32::MAX).map(u64::from)
    }

    fn records(&self) -> Result<impl Iterator<Item = Fields<'_>>, Distrust> {
        let records = self.bytes.get(self.header_bytes..self.header_bytes + self.count() * 8);
        Ok(records.ok_or("a leaf has too many records")?.chunks_exact(8).map(Fields))
    }

    fn first_child(&self) -> Result<u64, Distrust> {
        let capacity = (self.bytes.len() - self.header_bytes) / 12;
        if self.is_empty() || self.count() > capacity {
            return Err("a node of a free-space tree is damaged".into());
        }
        Ok(u64::from(Fields(&self.bytes).be32(self.header_bytes + capacity * 8)))
    }
}
