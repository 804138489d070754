//! The changed-block map.

mod active;
mod concurrent;
mod history;
mod oracle;
mod view;

use kmod_logic::map::BlockRange;

/// Blocks from `first` up to, not including, `end`.
fn blocks(first: u64, end: u64) -> BlockRange {
    BlockRange { first, end }
}

/// Blocks of a TiB at 64 KiB.
const TIB_BLOCKS: u64 = 1 << 24;
