//! Used bytes of ext2, ext3 and ext4 from the block bitmaps.
//!
//! Each bitmap must agree with its checksum (where there is one) and with the group's count of free clusters (always);
//! one disagreement anywhere and nothing is believed. Metadata is counted as used even where a bitmap was never written.

use super::ext4_layout::{Group, Layout};
use super::{Distrust, all_but, extent_of};
use crate::extents::{Extent, ExtentList, MAX_EXTENTS};
use crate::facts::checksum::crc32c_continue;
use crate::facts::fields::read_bytes;
use crate::read_at::ReadAt;

pub fn used(partition: &dyn ReadAt) -> Result<ExtentList, Distrust> {
    let layout = Layout::read(partition)?;
    let groups = layout.read_groups(partition)?;
    let metadata = metadata_blocks(&layout, &groups)?;
    let mut free = ExtentList::new();
    for (number, group) in (0..).zip(&groups) {
        if group.is_block_bitmap_uninitialised && layout.may_be_uninitialised() {
            free_of_unwritten(&layout, number, group, &metadata, &mut free)?;
        } else {
            free_of_bitmap(&layout, number, group, partition, &mut free)?;
        }
        if free.len() > MAX_EXTENTS {
            return Err("the free space is in too many pieces".into());
        }
    }
    // Metadata last: whatever a bitmap says, it is kept.
    Ok(all_but(partition.size_bytes(), &free).union(&metadata))
}

/// Bytes of all superblock copies, descriptors, bitmaps and inode tables.
fn metadata_blocks(layout: &Layout, groups: &[Group]) -> Result<ExtentList, Distrust> {
    let mut extents = Vec::new();
    for (number, group) in (0..).zip(groups) {
        let start = layout.group_start(number);
        let base = layout.base_meta_blocks(number).min(layout.group_blocks(number));
        let tables = [(start, base), (group.block_bitmap, 1), (group.inode_bitmap, 1)];
        for (first, count) in tables.into_iter().chain([(group.inode_table, layout.inode_table_blocks)]) {
            if count == 0 {
                continue;
            }
            if first.checked_add(count).is_none_or(|end| end > layout.blocks) || first < layout.first_data_block {
                return Err(format!("the metadata of group {number} lies outside the file system").into());
            }
            extents.push(extent_of(first, count, layout.block_bytes)?);
        }
    }
    Ok(ExtentList::from_unsorted(extents))
}

fn group_extent(layout: &Layout, number: u64) -> Result<Extent, Distrust> {
    extent_of(layout.group_start(number), layout.group_blocks(number), layout.block_bytes)
}

/// A group whose bitmap was never written holds metadata only; the count of free clusters must not say otherwise.
fn free_of_unwritten(
    layout: &Layout,
    number: u64,
    group: &Group,
    metadata: &ExtentList,
    free: &mut ExtentList,
) -> Result<(), Distrust> {
    let cluster_bytes = layout.block_bytes * layout.blocks_per_cluster;
    let whole = group_extent(layout, number)?;
    let inside = ExtentList::from_iter([whole]).intersect(metadata);
    let shifted: ExtentList =
        inside.iter().filter_map(|e| Extent::new(e.offset_bytes() - whole.offset_bytes(), e.length_bytes())).collect();
    let clusters = layout.group_blocks(number).div_ceil(layout.blocks_per_cluster);
    let metadata_clusters = shifted.chunk_positions(cluster_bytes).count() as u64;
    let used_clusters = clusters.checked_sub(group.free_clusters);
    if used_clusters.is_none_or(|used| used > metadata_clusters) {
        return Err(format!("group {number} has no bitmap, but more than metadata in use").into());
    }
    ExtentList::from_iter([whole]).subtract(&inside).iter().for_each(|extent| free.push(extent));
    Ok(())
}

fn free_of_bitmap(
    layout: &Layout,
    number: u64,
    group: &Group,
    partition: &dyn ReadAt,
    free: &mut ExtentList,
) -> Result<(), Distrust> {
    let length = usize::try_from(layout.block_bytes).map_err(|_| "block size")?;
    let at = group.block_bitmap.saturating_mul(layout.block_bytes);
    let bitmap = read_bytes(partition, at, length)?.ok_or("a block bitmap lies outside the partition")?;
    check_bitmap(layout, number, group, &bitmap)?;
    let (start, blocks) = (layout.group_start(number), layout.group_blocks(number));
    let clusters = blocks.div_ceil(layout.blocks_per_cluster);
    let mut free_clusters = 0;
    for (first, count) in ZeroBits::new(&bitmap, clusters) {
        free_clusters += count;
        let first_block = first * layout.blocks_per_cluster;
        let count_blocks = (count * layout.blocks_per_cluster).min(blocks - first_block);
        free.push(extent_of(start + first_block, count_blocks, layout.block_bytes)?);
    }
    if free_clusters == group.free_clusters {
        Ok(())
    } else {
        Err(format!("the bitmap of group {number} contradicts its count of free blocks").into())
    }
}

fn check_bitmap(layout: &Layout, number: u64, group: &Group, bitmap: &[u8]) -> Result<(), Distrust> {
    let Some(seed) = layout.checksum_seed else { return Ok(()) };
    let covered = usize::try_from(layout.blocks_per_group / layout.blocks_per_cluster / 8).map_err(|_| "group size")?;
    let [low0, low1, high0, high1] = crc32c_continue(seed, &bitmap[..covered.min(bitmap.len())]).to_le_bytes();
    let low_ok = group.bitmap_checksum_low == u16::from_le_bytes([low0, low1]);
    let high_ok = group.bitmap_checksum_high.is_none_or(|high| high == u16::from_le_bytes([high0, high1]));
    if low_ok && high_ok {
        Ok(())
    } else {
        Err(format!("the checksum of the bitmap of group {number} is wrong").into())
    }
}

/// Runs of zero bits among the first `bits` of a bitmap: (first, count), ascending.
struct ZeroBits<'a> {
    bitmap: &'a [u8],
    bits: u64,
    next: u64,
}

impl<'a> ZeroBits<'a> {
    fn new(bitmap: &'a [u8], bits: u64) -> Self {
        Self { bitmap, bits: bits.min(bitmap.len() as u64 * 8), next: 0 }
    }

    /// First bit at or after `from` that is `wanted`; whole bytes of the other value are skipped at once.
    fn first_at(&self, from: u64, wanted: bool) -> u64 {
        let mut bit = from;
        while bit < self.bits {
            let byte = usize::try_from(bit / 8).ok().and_then(|i| self.bitmap.get(i)).copied().unwrap_or(0xFF);
            if bit.is_multiple_of(8) && byte == if wanted { 0 } else { 0xFF } {
                bit += 8;
            } else if (byte >> (bit % 8) & 1 == 1) == wanted {
                return bit;
            } else {
                bit += 1;
            }
        }
        self.bits
    }
}

impl Iterator for ZeroBits<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let first = self.first_at(self.next, false);
        let end = self.first_at(first, true);
        self.next = end;
        (first < self.bits).then(|| (first, end - first))
    }
}

#[cfg(test)]
mod tests {
    use super::ZeroBits;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn zero_bits_agree_with_looking_at_each_bit(
            bitmap in proptest::collection::vec(proptest::prop_oneof![proptest::strategy::Just(0xFF_u8), proptest::strategy::Just(0), any::<u8>()], 0..20),
            cut in 0..160_u64,
        ) {
            let bits = cut.min(bitmap.len() as u64 * 8);
            let zeros: Vec<u64> = (0..bits)
                .filter(|b| bitmap[usize::try_from(b / 8).unwrap()] >> (b % 8) & 1 == 0)
                .collect();
            let runs: Vec<(u64, u64)> = ZeroBits::new(&bitmap, cut).collect();
            prop_assert_eq!(runs.iter().flat_map(|(first, count)| *first..first + count).collect::<Vec<_>>(), zeros);
            prop_assert_eq!(runs.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0), true);
        }
    }
}
