// SPDX-License-Identifier: GPL-2.0
//! The numbers of one leaf of which few blocks differ from all others: a list of those.
//!
//! A leaf is 2 GiB of the device and usually little of it changes in an interval, so this is what most leaves are. When
//! the list would get long a [`Palette`] takes over, which takes the same room however many blocks differ.

use super::palette::Palette;
use super::{LEAF_BLOCKS, LEAF_WORDS};
use crate::memory::{Array, Memory, OutOfMemory, Wait};

/// The most blocks in the list: a quarter of the room of the narrowest palette.
const MOST: usize = 128;
/// A position takes the low bits of an entry, the number those above.
const POSITION_BITS: u32 = LEAF_BLOCKS.trailing_zeros();

/// The numbers of the blocks of one leaf.
///
/// INVARIANT: positions ascend, none stands twice.
pub struct Sparse<M: Memory> {
    base: u64,
    entries: Array<u64, M>,
    memory: M,
}

fn position_of(entry: u64) -> u64 {
    entry & (LEAF_BLOCKS - 1)
}

fn number_of(entry: u64) -> u64 {
    entry >> POSITION_BITS
}

impl<M: Memory> Sparse<M> {
    /// All blocks have the number `base`, but those whose bits are set in `word(0..LEAF_WORDS)` have `number`. May sleep.
    /// `None`: they are too many, or there is no memory.
    pub fn new(memory: M, base: u64, number: u64, word: &impl Fn(usize) -> u64) -> Option<Self> {
        Self::build((memory, base), &[], number, word)
    }

    /// The same leaf after the blocks of `word` got a number. May sleep. `None` as above.
    pub fn with(&self, number: u64, word: &impl Fn(usize) -> u64) -> Option<Self> {
        Self::build((self.memory, self.base), &self.entries, number, word)
    }

    fn build((memory, base): (M, u64), old: &[u64], number: u64, word: &impl Fn(usize) -> u64) -> Option<Self> {
        let is_kept = |entry: u64| {
            let position = position_of(entry);
            word(usize::try_from(position / 64).unwrap_or(0)) >> (position % 64) & 1 == 0
        };
        let marked: usize = (0..LEAF_WORDS).map(|at| word(at).count_ones() as usize).sum();
        let kept = old.iter().copied().filter(|entry| is_kept(*entry));
        let count = marked + kept.clone().count();
        if count > MOST || number > u64::MAX >> POSITION_BITS {
            return None;
        }
        let mut bits = (0..LEAF_WORDS).flat_map(|at| bits_of(word(at)).map(move |bit| 64 * at as u64 + bit));
        let mut entries = kept.chain(core::iter::from_fn(|| Some(number << POSITION_BITS | bits.next()?)));
        let mut entries = Array::new(memory, Wait::Allowed, count, |_| entries.next().unwrap_or(0)).ok()?;
        entries.sort_unstable_by_key(|entry| position_of(*entry));
        // INVARIANT: sorted, and no kept position is marked.
        Some(Self { base, entries, memory })
    }

    /// Memory in use.
    pub fn bytes(&self) -> u64 {
        self.entries.bytes() as u64
    }

    /// The end of the run of blocks from `position` on that have one number, at most `end`, and that number.
    pub fn run(&self, position: u64, end: u64) -> (u64, u64) {
        let at = self.entries.partition_point(|entry| position_of(*entry) < position);
        let rest = self.entries.get(at..).unwrap_or(&[]);
        let number = match rest.first() {
            Some(first) if position_of(*first) == position => number_of(*first),
            next => return (next.map_or(end, |entry| position_of(*entry).min(end)), self.base),
        };
        let belongs = |(entry, wanted): &(&u64, u64)| position_of(**entry) == *wanted && number_of(**entry) == number;
        let length = rest.iter().zip(position..end).take_while(belongs).count();
        (position + length as u64, number)
    }

    /// The same as a palette, and up to which number it cannot tell changes apart any more.
    pub fn to_palette(&self) -> Result<(Palette<M>, u64), OutOfMemory> {
        let mut palette = Palette::uniform(self.memory, self.base)?;
        let (mut number, mut merged) = (self.base, 0);
        // Ascending, as a palette takes them. Who has the base number needs no more.
        while let Some(next) = self.entries.iter().map(|entry| number_of(*entry)).filter(|next| *next > number).min() {
            merged = merged.max(palette.set(next, |word| self.word(word, next)));
            number = next;
        }
        Ok((palette, merged))
    }

    /// The blocks of a word that have this number in the list.
    fn word(&self, word: usize, number: u64) -> u64 {
        let start = 64 * word as u64;
        let first = self.entries.partition_point(|entry| position_of(*entry) < start);
        let rest = self.entries.get(first..).unwrap_or(&[]).iter();
        let in_word = rest.take_while(|entry| position_of(**entry) < start + 64);
        in_word
            .filter(|entry| number_of(**entry) == number)
            .fold(0, |bits, entry| bits | 1 << (position_of(*entry) - start))
    }
}

/// The positions of the set bits, ascending.
fn bits_of(mut word: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        let bit = u64::from((word != 0).then(|| word.trailing_zeros())?);
        word &= word - 1;
        Some(bit)
    })
}
