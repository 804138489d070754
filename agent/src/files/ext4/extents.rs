//! The extent tree of an inode.

use super::mapping::{Collector, Mapping};
use crate::files::Result;
use crate::files::fields::{Fields, join};

const MAGIC: u16 = 0xF30A;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;
/// The kernel's own limit; it also bounds the recursion.
const MAX_DEPTH: u16 = 5;
/// Longer counts mark an extent that is allocated but not yet written.
const MAX_WRITTEN_BLOCKS: u16 = 32768;

/// Visits the tree whose root is in `root`, the block area of the inode.
pub(super) fn collect(collector: &mut Collector<'_, '_>, root: &[u8]) -> Result<()> {
    let depth = Fields::new(root, "extent tree").le16(6)?;
    if depth > MAX_DEPTH {
        return Err(collector.corrupt("has an extent tree that is too deep"));
    }
    let mut next_logical = 0;
    visit(collector, root, depth, &mut next_logical, true)
}

/// `next_logical` only grows, and each node but the root has an entry, so even a tree that refers to itself ends.
fn visit(
    collector: &mut Collector<'_, '_>,
    node: &[u8],
    depth: u16,
    next_logical: &mut u64,
    is_root: bool,
) -> Result<()> {
    let f = Fields::new(node, "extent tree node");
    let entries = f.le16(2)?;
    if f.le16(0)? != MAGIC || f.le16(6)? != depth || entries == 0 && !is_root {
        return Err(collector.corrupt("has a damaged extent tree"));
    }
    for index in 0..usize::from(entries) {
        let at = HEADER_BYTES + index * ENTRY_BYTES;
        let logical = f.le32(at)?;
        if u64::from(logical) < *next_logical {
            return Err(collector.corrupt("has an extent tree out of order"));
        }
        if depth == 0 {
            *next_logical = leaf(collector, &f, at, logical)?;
            continue;
        }
        let child = join(u32::from(f.le16(at + 8)?), f.le32(at + 4)?);
        let child = collector.volume.blocks.block(child)?;
        visit(collector, &child, depth - 1, next_logical, false)?;
    }
    Ok(())
}

fn leaf(collector: &mut Collector<'_, '_>, f: &Fields<'_>, at: usize, logical: u32) -> Result<u64> {
    let length = f.le16(at + 4)?;
    let physical = join(u32::from(f.le16(at + 6)?), f.le32(at + 8)?);
    let unwritten = length > MAX_WRITTEN_BLOCKS;
    let blocks = u32::from(if unwritten { length - MAX_WRITTEN_BLOCKS } else { length });
    if blocks == 0 {
        return Err(collector.corrupt("has an empty extent"));
    }
    if !unwritten {
        collector.push(Mapping { logical, blocks, physical })?;
    }
    Ok(u64::from(logical) + u64::from(blocks))
}
