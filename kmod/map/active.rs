// SPDX-License-Identifier: GPL-2.0
//! What changed in the current interval: one bit a block, set without locks.
//!
//! # Concurrency
//!
//! [`ActiveMap::mark`] may run on any number of processors at once, in any context: it uses atomics only, never sleeps,
//! and asks for memory with [`Wait::Never`]. A slot of the top array changes at most once:
//!
//! ```text
//! EMPTY ──first mark──▶ leaf        (stays; its bits only ever get set)
//!       └─whole leaf marked, or no memory──▶ ALL
//! ```
//!
//! So a reference to a leaf stays good as long as the map is borrowed, and readers need no lock either. The map is
//! replaced, not cleared, at TAKE; whoever does that makes sure that no `mark` on the old one is still running before it
//! is folded and freed.
//!
//! Marks order nothing by themselves. What makes them visible to the folding side is what told it that the write is
//! over: if the completion of a write happens before the fold, so does its mark, and a bit that was found set (and is
//! therefore not written again) is seen as set by everything that comes later.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::{BlockRange, LEAF_BLOCKS, LEAF_WORDS, leaf_count};
use crate::memory::{Array, Memory, OutOfMemory, Wait};

/// The changed blocks of one interval of one device.
///
/// INVARIANT: a slot is null, [`all`], or a leaf: `LEAF_WORDS` words from `Array::into_raw` with `memory`; once it is
/// not null it never changes before the map is dropped or reset.
pub struct ActiveMap<M: Memory> {
    slots: Array<AtomicPtr<AtomicU64>, M>,
    blocks: u64,
    leaves: AtomicU64,
    coarse: AtomicU64,
    memory: M,
}

/// What a slot holds.
pub enum Leaf<'m> {
    /// No block of it changed.
    Empty,
    /// Every block of it counts as changed.
    All,
    /// The blocks whose bits are set changed.
    Bits(&'m [AtomicU64]),
}

/// The pointer that means [`Leaf::All`]. Never dereferenced; no leaf has an odd address.
fn all() -> *mut AtomicU64 {
    ptr::without_provenance_mut(1)
}

impl<M: Memory> ActiveMap<M> {
    /// A map of `blocks` blocks in which nothing changed. May sleep.
    pub fn new(memory: M, blocks: u64) -> Result<Self, OutOfMemory> {
        let empty = |_| AtomicPtr::new(ptr::null_mut());
        let slots = Array::new(memory, Wait::Allowed, leaf_count(blocks)?, empty)?;
        Ok(Self { slots, blocks, leaves: AtomicU64::new(0), coarse: AtomicU64::new(0), memory })
    }

    /// Blocks of the device.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Regions that count as changed only because memory was short.
    pub fn coarse_regions(&self) -> u64 {
        self.coarse.load(Ordering::Relaxed)
    }

    /// Memory in use.
    pub fn bytes(&self) -> u64 {
        let leaves = self.leaves.load(Ordering::Relaxed);
        self.slots.bytes() as u64 + leaves.saturating_mul(8 * LEAF_WORDS as u64)
    }

    /// Marks blocks as changed and returns how many were not yet. Blocks beyond the end are passed over.
    ///
    /// Never fails: without memory for a leaf, the whole leaf counts as changed.
    pub fn mark(&self, blocks: BlockRange) -> u64 {
        let mut newly = 0;
        for (leaf, part) in blocks.below(self.blocks).by_leaf() {
            if let Some(slot) = self.slots.get(leaf) {
                newly += self.mark_in_leaf(slot, leaf, part);
            }
        }
        newly
    }

    /// Marks the blocks `first..=last` if that is as simple as usual: blocks of one word, in a leaf that is there.
    /// `false`: nothing was done. (The write path; it takes some twenty instructions.)
    #[inline]
    pub fn mark_usual(&self, first: u64, last: u64) -> bool {
        if first / 64 != last / 64 || last >= self.blocks {
            return false;
        }
        let Some(slot) = usize::try_from(first / LEAF_BLOCKS).ok().and_then(|leaf| self.slots.get(leaf)) else {
            return false;
        };
        let Leaf::Bits(words) = self.read(slot.load(Ordering::Acquire)) else { return false };
        let Some(word) = words.get((first / 64) as usize % LEAF_WORDS) else { return false };
        let mask = u64::MAX << (first % 64) & u64::MAX >> (63 - last % 64);
        // Looks first: a second mark must not dirty the cache line.
        if word.load(Ordering::Relaxed) & mask != mask {
            word.fetch_or(mask, Ordering::AcqRel);
        }
        true
    }

    /// How many blocks are marked. Those of a leaf that counts as changed wholly are.
    pub fn marked(&self) -> u64 {
        let in_leaf = |leaf: usize| match self.leaf(leaf) {
            Leaf::Empty => 0,
            Leaf::All => self.positions(leaf),
            Leaf::Bits(words) => words.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum(),
        };
        (0..self.slots.len()).map(in_leaf).sum()
    }

    /// Whether a block is marked.
    pub fn is_marked(&self, block: u64) -> bool {
        let (leaf, position) = (block / LEAF_BLOCKS, block % LEAF_BLOCKS);
        match usize::try_from(leaf).map_or(Leaf::Empty, |leaf| self.leaf(leaf)) {
            Leaf::Empty => false,
            Leaf::All => block < self.blocks,
            Leaf::Bits(words) => {
                let word = usize::try_from(position / 64).ok().and_then(|at| words.get(at));
                word.is_some_and(|word| word.load(Ordering::Relaxed) >> (position % 64) & 1 == 1)
            }
        }
    }

    /// Number of leaves, of which each has a [`Self::leaf`].
    pub fn leaf_count(&self) -> usize {
        self.slots.len()
    }

    /// A leaf's state; out of range is empty.
    pub fn leaf(&self, leaf: usize) -> Leaf<'_> {
        // Acquire: the words were initialised before the pointer was stored.
        let found = self.slots.get(leaf).map_or(ptr::null_mut(), |slot| slot.load(Ordering::Acquire));
        self.read(found)
    }

    /// Forgets all marks and frees the leaves.
    pub fn reset(&mut self) {
        for slot in self.slots.iter_mut() {
            let leaf = core::mem::replace(slot.get_mut(), ptr::null_mut());
            if let Some(leaf) = NonNull::new(leaf).filter(|leaf| leaf.as_ptr() != all()) {
                // SAFETY: by the invariant it came from `into_raw`; `&mut self` proves that nobody else looks at it.
                drop(unsafe { Array::from_raw(leaf, LEAF_WORDS, self.memory) });
            }
        }
        *self.leaves.get_mut() = 0;
        *self.coarse.get_mut() = 0;
    }

    fn read(&self, found: *mut AtomicU64) -> Leaf<'_> {
        match NonNull::new(found) {
            None => Leaf::Empty,
            Some(found) if found.as_ptr() == all() => Leaf::All,
            // SAFETY: by the invariant it points to `LEAF_WORDS` words that stay as long as `self` is borrowed.
            Some(found) => Leaf::Bits(unsafe { core::slice::from_raw_parts(found.as_ptr(), LEAF_WORDS) }),
        }
    }

    fn mark_in_leaf(&self, slot: &AtomicPtr<AtomicU64>, leaf: usize, part: BlockRange) -> u64 {
        let found = self.read(slot.load(Ordering::Acquire));
        let found = match found {
            Leaf::Empty => self.fill(slot, part, self.positions(leaf)),
            other => Ok(other),
        };
        match found {
            Err(newly) => newly,
            Ok(Leaf::Bits(words)) => part.words().map(|word| set(&words[word], part.word_mask(word))).sum(),
            Ok(Leaf::All | Leaf::Empty) => 0,
        }
    }

    /// Positions of a leaf that the device has: all but in the last one.
    fn positions(&self, leaf: usize) -> u64 {
        self.blocks.saturating_sub((leaf as u64).saturating_mul(LEAF_BLOCKS)).min(LEAF_BLOCKS)
    }

    /// Gives an empty slot something to mark in: the leaf, or, when it became [`all`] by this very mark, how many blocks
    /// of the mark that covers.
    #[cold]
    fn fill(&self, slot: &AtomicPtr<AtomicU64>, part: BlockRange, positions: u64) -> Result<Leaf<'_>, u64> {
        let whole = part.first == 0 && part.end >= positions;
        let new = match whole {
            true => Err(OutOfMemory),
            false => Array::new(self.memory, Wait::Never, LEAF_WORDS, |_| AtomicU64::new(0)),
        };
        let new = new.map_or(all(), |array| array.into_raw().as_ptr());
        // Release: whoever sees the pointer sees the zeroed words. Acquire on failure: the same for the winner's.
        match slot.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) if new == all() => {
                self.coarse.fetch_add(u64::from(!whole), Ordering::Relaxed);
                Err(part.len())
            }
            Ok(_) => {
                self.leaves.fetch_add(1, Ordering::Relaxed);
                Ok(self.read(new))
            }
            Err(winner) => {
                if let Some(lost) = NonNull::new(new).filter(|lost| lost.as_ptr() != all()) {
                    // SAFETY: it came from `into_raw` above and never got into the slot.
                    drop(unsafe { Array::from_raw(lost, LEAF_WORDS, self.memory) });
                }
                Ok(self.read(winner))
            }
        }
    }
}

impl<M: Memory> Drop for ActiveMap<M> {
    fn drop(&mut self) {
        self.reset();
    }
}

/// Sets bits of a word and returns how many were not yet.
fn set(word: &AtomicU64, mask: u64) -> u64 {
    if word.load(Ordering::Relaxed) & mask == mask {
        return 0;
    }
    let before = word.fetch_or(mask, Ordering::AcqRel);
    u64::from((mask & !before).count_ones())
}
