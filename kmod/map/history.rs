// SPDX-License-Identifier: GPL-2.0
//! In which interval each block last changed. This is the map that is read.
//!
//! It is written at TAKE, when the [`ActiveMap`] of the interval that ended is folded in, and by what changes the past
//! too (image writes, CBTDIRTY). Changing it needs exclusive access and may sleep; it never fails. What the lack of
//! memory costs is precision, and [`History::oldest`] says how much.

use super::active::{ActiveMap, Leaf};
use super::palette::Palette;
use super::sparse::Sparse;
use super::{BlockRange, LEAF_BLOCKS, LEAF_WORDS, leaf_count};
use crate::memory::{Array, Memory, OutOfMemory, Wait};
use core::sync::atomic::Ordering;

/// The number of the interval of each block's last change; 0 where nothing changed since tracking began.
pub struct History<M: Memory> {
    slots: Array<Slot<M>, M>,
    blocks: u64,
    oldest: u64,
    memory: M,
}

/// The numbers of one leaf.
enum Slot<M: Memory> {
    /// All blocks have this number.
    Uniform(u64),
    /// Few differ from the others. An array of one, to keep the top array small.
    Few(Array<Sparse<M>, M>),
    /// Many differ. As above.
    Mixed(Array<Palette<M>, M>),
}

/// Blocks that lie one behind the other and have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The blocks.
    pub blocks: BlockRange,
    /// Their number.
    pub number: u64,
}

impl<M: Memory> History<M> {
    /// A history in which nothing changed. May sleep.
    pub fn new(memory: M, blocks: u64) -> Result<Self, OutOfMemory> {
        let slots = Array::new(memory, Wait::Allowed, leaf_count(blocks)?, |_| Slot::Uniform(0))?;
        Ok(Self { slots, blocks, oldest: 0, memory })
    }

    /// Blocks of the device.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Changes since this number or a later one are told apart exactly; for earlier ones more may be reported.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Memory in use.
    pub fn bytes(&self) -> u64 {
        let leaf = |slot: &Slot<M>| match slot {
            Slot::Uniform(_) => 0,
            Slot::Few(sparse) => sparse.bytes() as u64 + sparse.iter().map(Sparse::bytes).sum::<u64>(),
            Slot::Mixed(palette) => palette.bytes() as u64 + palette.iter().map(Palette::bytes).sum::<u64>(),
        };
        self.slots.bytes() as u64 + self.slots.iter().map(leaf).sum::<u64>()
    }

    /// What changed in `active` changed in interval `number`, which is not below any number in here.
    pub fn fold(&mut self, active: &ActiveMap<M>, number: u64) {
        for leaf in 0..self.slots.len().min(active.leaf_count()) {
            match active.leaf(leaf) {
                Leaf::Empty => {}
                Leaf::All => self.slots[leaf] = Slot::Uniform(number),
                Leaf::Bits(words) => {
                    let word = |at: usize| words.get(at).map_or(0, |word| word.load(Ordering::Relaxed));
                    self.set_in_leaf(leaf, number, word);
                }
            }
        }
        if active.coarse_regions() > 0 {
            self.oldest = self.oldest.max(number);
        }
    }

    /// These blocks changed in interval `number`, which is not below any number in here. Blocks beyond the end are
    /// passed over. Number 0 means: before tracking began; nothing is to be noted then.
    pub fn mark(&mut self, blocks: BlockRange, number: u64) {
        if number == 0 {
            return;
        }
        for (leaf, part) in blocks.below(self.blocks).by_leaf() {
            if leaf >= self.slots.len() {
                return;
            }
            if part.len() == LEAF_BLOCKS {
                self.slots[leaf] = Slot::Uniform(number);
            } else {
                self.set_in_leaf(leaf, number, |word| part.word_mask(word));
            }
        }
    }

    /// The number of a block; 0 beyond the end.
    pub fn number(&self, block: u64) -> u64 {
        self.next_run(BlockRange { first: block, end: block.saturating_add(1) }).map_or(0, |run| run.number)
    }

    /// Blocks of one number from the beginning of `range` on. A run may end before the number changes (at a leaf's end).
    pub fn next_run(&self, range: BlockRange) -> Option<Run> {
        let (leaf, part) = range.below(self.blocks).by_leaf().next()?;
        let (length, number) = match self.slots.get(leaf)? {
            Slot::Uniform(number) => (part.len(), *number),
            Slot::Few(sparse) => {
                let (end, number) = sparse.first()?.run(part.first, part.end);
                (end - part.first, number)
            }
            Slot::Mixed(palette) => {
                let palette = palette.first()?;
                (palette.run_end(part.first, part.end) - part.first, palette.number(part.first))
            }
        };
        Some(Run { blocks: BlockRange { first: range.first, end: range.first + length }, number })
    }

    /// The next blocks in `range` that changed after interval `since` ended: all that lie one behind the other.
    ///
    /// For ranges without changes it takes a step a leaf, so a caller that must not run for long cuts the range.
    pub fn next_changed(&self, range: BlockRange, since: u64) -> Option<BlockRange> {
        let mut found: Option<BlockRange> = None;
        let mut rest = range;
        while let Some(run) = self.next_run(rest) {
            rest.first = run.blocks.end;
            match (&mut found, run.number > since) {
                (Some(found), true) => found.end = run.blocks.end,
                (Some(_), false) => break,
                (None, true) => found = Some(run.blocks),
                (None, false) => {}
            }
        }
        found
    }

    fn set_in_leaf(&mut self, leaf: usize, number: u64, word: impl Fn(usize) -> u64) {
        // What lies behind the device's end does not matter, and must not keep the last leaf from being uniform.
        let positions = self.blocks.saturating_sub((leaf as u64).saturating_mul(LEAF_BLOCKS)).min(LEAF_BLOCKS);
        let beyond = BlockRange { first: positions, end: LEAF_BLOCKS };
        let filled = |at: usize| word(at) | beyond.word_mask(at);
        if (0..LEAF_WORDS).all(|at| word(at) == 0) {
            return;
        }
        if (0..LEAF_WORDS).all(|at| filled(at) == u64::MAX) {
            self.slots[leaf] = Slot::Uniform(number);
            return;
        }
        if !self.set_few(leaf, number, &word) {
            self.set_mixed(leaf, number, filled);
        }
    }

    /// [`Self::set_in_leaf`] where few blocks do not have the number of all others, before and after. False: they are
    /// not few, or there is no memory; nothing was done.
    fn set_few(&mut self, leaf: usize, number: u64, word: &impl Fn(usize) -> u64) -> bool {
        let slot = &mut self.slots[leaf];
        let few = match slot {
            Slot::Uniform(before) if *before == number => return true,
            Slot::Uniform(before) => Sparse::new(self.memory, *before, number, word),
            Slot::Few(few) => few.first().and_then(|few| few.with(number, word)),
            Slot::Mixed(_) => None,
        };
        match few.and_then(|few| Array::one(self.memory, Wait::Allowed, few).ok()) {
            Some(few) => *slot = Slot::Few(few),
            None => return false,
        }
        true
    }

    /// The slot's numbers as a palette, if they are not yet, and up to which number it cannot tell changes apart.
    fn palette_of(&self, slot: &Slot<M>) -> Result<Option<(Palette<M>, u64)>, OutOfMemory> {
        Ok(match slot {
            Slot::Uniform(before) => Some((Palette::uniform(self.memory, *before)?, 0)),
            Slot::Few(few) => Some(few.first().ok_or(OutOfMemory)?.to_palette()?),
            Slot::Mixed(_) => None,
        })
    }

    /// [`Self::set_in_leaf`] where some blocks keep their number.
    fn set_mixed(&mut self, leaf: usize, number: u64, word: impl Fn(usize) -> u64) {
        let new = self.palette_of(&self.slots[leaf]).and_then(|new| {
            new.map(|(palette, merged)| Ok((Array::one(self.memory, Wait::Allowed, palette)?, merged))).transpose()
        });
        let slot = &mut self.slots[leaf];
        match new {
            Ok(None) => {}
            Ok(Some((palette, merged))) => {
                *slot = Slot::Mixed(palette);
                self.oldest = self.oldest.max(merged);
            }
            Err(OutOfMemory) => {
                *slot = Slot::Uniform(number);
                self.oldest = self.oldest.max(number);
                return;
            }
        }
        let Slot::Mixed(palette) = slot else { return };
        let Some(palette) = palette.first_mut() else { return };
        self.oldest = self.oldest.max(palette.set(number, word));
        if let Err(only) = palette.tidy() {
            *slot = Slot::Uniform(only);
        }
    }
}
