//! The block pointers of ext2 and ext3: twelve direct ones, then one tree of each depth from one to three.

use super::mapping::{Collector, Mapping};
use crate::files::Result;
use crate::files::fields::Fields;
use crate::lengths::in_memory;

const DIRECT: usize = 12;
/// Pointer blocks that lead to no data are freed by every writer; more than this many of them is an attack on our time.
const MAX_BARREN: u32 = 1 << 16;

struct Cursor {
    /// Number of blocks of the file.
    end: u64,
    /// Block of the file that the next pointer is for.
    logical: u64,
    barren: u32,
}

/// Visits all pointers that lie inside a file of `size_bytes`.
pub(super) fn collect(collector: &mut Collector<'_, '_>, area: &[u8], size_bytes: u64) -> Result<()> {
    let block_bytes = u64::from(collector.volume.blocks.block_bytes());
    let end = size_bytes.div_ceil(block_bytes).min(u64::from(u32::MAX));
    let mut cursor = Cursor { end, logical: 0, barren: 0 };
    let f = Fields::new(area, "block pointers");
    for slot in 0..DIRECT + 3 {
        let depth = slot.saturating_sub(DIRECT - 1);
        visit(collector, &mut cursor, f.le32(slot * 4)?, depth)?;
    }
    Ok(())
}

fn visit(collector: &mut Collector<'_, '_>, cursor: &mut Cursor, pointer: u32, depth: usize) -> Result<()> {
    if cursor.logical >= cursor.end {
        return Ok(());
    }
    let pointers = u64::from(collector.volume.blocks.block_bytes() / 4);
    if pointer == 0 {
        // At most 16384^3, so this cannot overflow.
        cursor.logical += (0..depth).fold(1, |span, _| span * pointers);
        return Ok(());
    }
    if depth == 0 {
        let logical = u32::try_from(cursor.logical).map_err(|_| collector.corrupt("is too large"))?;
        cursor.logical += 1;
        return collector.push(Mapping { logical, blocks: 1, physical: u64::from(pointer) });
    }
    let block = collector.volume.blocks.block(u64::from(pointer))?;
    if block.iter().all(|byte| *byte == 0) {
        cursor.barren += 1;
        if cursor.barren > MAX_BARREN {
            return Err(collector.corrupt("has too many empty pointer blocks"));
        }
    }
    let f = Fields::new(&block, "pointer block");
    for index in 0..in_memory(pointers) {
        visit(collector, cursor, f.le32(index * 4)?, depth - 1)?;
    }
    Ok(())
}
