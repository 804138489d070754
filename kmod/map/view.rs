// SPDX-License-Identifier: GPL-2.0
//! The map as the old interface shows it: one byte a block.
//!
//! Numbers are `u64` inside and never wrap. The old interface sees a window of 255 of them: byte = number − base. When
//! the next number would not fit, the window moves and gets a new generation, so that its users read everything once;
//! for users of the wide numbers nothing happens.

use super::BlockRange;
use super::history::History;
use crate::memory::Memory;
use crate::uapi::Uuid;

/// The greatest number that a byte can show.
const WIDTH: u64 = u8::MAX as u64;

/// Which numbers the one-byte interface shows, and under which generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    base: u64,
    generation: Uuid,
}

impl Window {
    /// The window at the beginning of tracking.
    pub fn new(generation: Uuid) -> Self {
        Self { base: 0, generation }
    }

    /// The generation that the old interface shows.
    pub fn generation(&self) -> Uuid {
        self.generation
    }

    /// The byte of a block is its number minus this.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// TAKE ended interval `number`. If it is behind the window, the window moves and takes the generation.
    ///
    /// After a move it looks as after the first TAKE of a new tracking: the interval that just ended has number 1.
    pub fn advance(&mut self, number: u64, new_generation: impl FnOnce() -> Uuid) -> bool {
        let behind = number.saturating_sub(self.base) > WIDTH;
        if behind {
            *self = Self { base: number - 1, generation: new_generation() };
        }
        behind
    }

    /// A number as a byte: 0 when it is before the window.
    pub fn byte(&self, number: u64) -> u8 {
        // More than a byte cannot be inside the window; 255 reports such a block as changed.
        u8::try_from(number.saturating_sub(self.base)).unwrap_or(u8::MAX)
    }

    /// The bytes of the blocks from `first` on. Bytes behind the last block are zero.
    pub fn fill<M: Memory>(&self, history: &History<M>, first: u64, bytes: &mut [u8]) {
        let mut rest = bytes;
        let mut at = first;
        while !rest.is_empty() {
            let range = BlockRange { first: at, end: at.saturating_add(rest.len() as u64) };
            let Some(run) = history.next_run(range) else {
                rest.fill(0);
                return;
            };
            let length = usize::try_from(run.blocks.len()).map_or(rest.len(), |length| length.min(rest.len()));
            let (now, later) = rest.split_at_mut(length);
            now.fill(self.byte(run.number));
            at = run.blocks.end;
            rest = later;
        }
    }
}
