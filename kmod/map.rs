// SPDX-License-Identifier: GPL-2.0
//! The changed-block map: which tracking blocks changed in which interval. Pure logic, needs only `core`.
//!
//! ```text
//! write ─▶ ActiveMap          one bit a block: changed in the current interval    lock-free, any context
//!             │ fold, at TAKE
//!             ▼
//!          History            number of the interval of each block's last change  exclusive access to change
//!             │
//!             ├─▶ next_changed   extents since a number (our extension)
//!             └─▶ Window         one byte a block, as the old interface shows it
//! ```
//!
//! What is promised in every state, memory failures included: a block that was marked is reported. What may happen: a
//! block that was not marked is reported too, and then `History::oldest` says from which number on answers are exact.

#[path = "map/active.rs"]
pub mod active;
#[path = "map/history.rs"]
pub mod history;
#[path = "map/palette.rs"]
mod palette;
#[path = "map/sparse.rs"]
mod sparse;
#[path = "map/view.rs"]
pub mod view;

/// Blocks of a leaf, the unit in which both maps allocate: 2 GiB at blocks of 64 KiB.
pub const LEAF_BLOCKS: u64 = 64 * LEAF_WORDS as u64;
/// Words of a leaf with one bit a block: one page.
pub const LEAF_WORDS: usize = 512;

/// Blocks `first..end` of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The first one.
    pub first: u64,
    /// The one behind the last; an `end` that is not above `first` makes the range empty.
    pub end: u64,
}

impl BlockRange {
    /// Whether no block lies in it.
    pub fn is_empty(self) -> bool {
        self.first >= self.end
    }

    /// How many blocks lie in it.
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// What of it lies below `end`.
    pub fn below(self, end: u64) -> Self {
        Self { first: self.first, end: self.end.min(end) }
    }

    /// Cuts it at the borders of leaves: (leaf, positions in that leaf).
    fn by_leaf(self) -> impl Iterator<Item = (usize, BlockRange)> {
        let mut at = self.first;
        core::iter::from_fn(move || {
            if at >= self.end {
                return None;
            }
            let (leaf, first) = (at / LEAF_BLOCKS, at % LEAF_BLOCKS);
            let part = BlockRange { first, end: LEAF_BLOCKS.min(first.saturating_add(self.end - at)) };
            at += part.len();
            Some((usize::try_from(leaf).ok()?, part))
        })
    }

    /// The bits of word `word` of a leaf that lie in the range (of positions in that leaf).
    fn word_mask(self, word: usize) -> u64 {
        let start = 64 * word as u64;
        let first = self.first.saturating_sub(start).min(64);
        let end = self.end.saturating_sub(start).min(64);
        low_bits(end) & !low_bits(first)
    }

    /// The words of a leaf that the range (of positions in that leaf) touches.
    fn words(self) -> core::ops::Range<usize> {
        if self.is_empty() {
            return 0..0;
        }
        let word = |position: u64| usize::try_from(position / 64).unwrap_or(LEAF_WORDS).min(LEAF_WORDS);
        word(self.first)..(word(self.end - 1) + 1).min(LEAF_WORDS)
    }
}

/// The lowest `count` bits set; `count` is at most 64.
fn low_bits(count: u64) -> u64 {
    match count {
        64.. => u64::MAX,
        _ => (1 << count) - 1,
    }
}

/// Leaves that a device of so many blocks has.
fn leaf_count(blocks: u64) -> Result<usize, crate::memory::OutOfMemory> {
    usize::try_from(blocks.div_ceil(LEAF_BLOCKS)).map_err(|_| crate::memory::OutOfMemory)
}
