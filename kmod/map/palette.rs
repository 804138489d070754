// SPDX-License-Identifier: GPL-2.0
//! The numbers of one leaf's blocks, as short codes into a list of the numbers that occur.
//!
//! Few intervals touch the same 2 GiB between two folds of it, so one bit a block is usual; codes get wider (2, 4, 8 bits)
//! only when more numbers are really in use, and narrower again. When no wider code is possible or memory is short,
//! the two oldest numbers become one, the later of them: more is reported, never less.

use super::{LEAF_BLOCKS, LEAF_WORDS, low_bits};
use crate::memory::{Array, Memory, OutOfMemory, Wait};

/// The widest codes have 2 to this power bits.
const MAXIMUM_WIDTH_SHIFT: u32 = 3;

/// The numbers of the blocks of one leaf.
///
/// INVARIANT: `codes` has `LEAF_WORDS << width_shift` words of codes of `1 << width_shift` bits, `numbers` a place for each
/// possible code; every code in use is below `used`, and no number stands twice in `numbers[..used]`.
pub struct Palette<M: Memory> {
    codes: Array<u64, M>,
    numbers: Array<u64, M>,
    used: usize,
    width_shift: u32,
    memory: M,
}

/// Which codes occur: one bit a code.
#[derive(Clone, Copy, Default)]
struct CodeSet([u64; 4]);

impl CodeSet {
    fn insert(&mut self, code: usize) {
        self.0[code / 64 % 4] |= 1 << (code % 64);
    }

    fn has(&self, code: usize) -> bool {
        self.0[code / 64 % 4] >> (code % 64) & 1 == 1
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

impl<M: Memory> Palette<M> {
    /// All blocks have the same number. May sleep.
    pub fn uniform(memory: M, number: u64) -> Result<Self, OutOfMemory> {
        let mut palette = Self::empty(memory, 0)?;
        palette.numbers[0] = number;
        palette.used = 1;
        Ok(palette)
    }

    /// Memory in use.
    pub fn bytes(&self) -> u64 {
        (self.codes.bytes() + self.numbers.bytes()) as u64
    }

    /// The number of the block at a position.
    pub fn number(&self, position: u64) -> u64 {
        self.numbers.get(self.code(index(position))).copied().unwrap_or(u64::MAX)
    }

    /// The end of the run of blocks from `position` on that have one number, at most `end`.
    pub fn run_end(&self, position: u64, end: u64) -> u64 {
        let end = end.min(LEAF_BLOCKS);
        let code = self.code(index(position));
        let repeated = self.repeated(code);
        let per_word_shift = 6 - self.width_shift;
        let mut at = position;
        while at < end {
            let word = at >> per_word_shift;
            if self.codes[index(word)] == repeated {
                at = (word + 1) << per_word_shift;
            } else if self.code(index(at)) == code {
                at += 1;
            } else {
                return at;
            }
        }
        end
    }

    /// Gives the blocks whose bits are set in `word(0..LEAF_WORDS)` a number that is not below any other here.
    ///
    /// Returns up to which number the leaf cannot tell changes apart any more because numbers had to be merged: 0 if none.
    pub fn set(&mut self, number: u64, word: impl Fn(usize) -> u64) -> u64 {
        let (code, merged) = self.code_for(number, &word);
        for at in 0..LEAF_WORDS {
            self.set_word(at, word(at), code);
        }
        merged
    }

    /// Uses the narrowest codes that do; `Err(number)` when only one number is left and no codes are needed.
    pub fn tidy(&mut self) -> Result<(), u64> {
        let live = self.live(&|_| 0);
        if live.len() == 1 {
            let only = (0..self.used).find(|code| live.has(*code)).unwrap_or(0);
            return Err(self.numbers[only]);
        }
        let needed = width_shift_for(live.len());
        if needed < self.width_shift {
            // Without memory the wider codes stay: nothing is wrong with them.
            let _ = self.recode(needed, live);
        }
        Ok(())
    }

    fn empty(memory: M, width_shift: u32) -> Result<Self, OutOfMemory> {
        let codes = Array::new(memory, Wait::Allowed, LEAF_WORDS << width_shift, |_| 0)?;
        let numbers = Array::new(memory, Wait::Allowed, capacity(width_shift), |_| 0)?;
        Ok(Self { codes, numbers, used: 0, width_shift, memory })
    }

    /// (word, bits below the code, mask of a code).
    fn place(&self, position: usize) -> (usize, usize, u64) {
        let per_word_shift = 6 - self.width_shift;
        let shift = (position & ((1 << per_word_shift) - 1)) << self.width_shift;
        (position >> per_word_shift, shift, low_code(self.width_shift))
    }

    fn code(&self, position: usize) -> usize {
        let (word, shift, mask) = self.place(position);
        let code = self.codes.get(word).map_or(0, |word| word >> shift & mask);
        index(code)
    }

    fn set_code(&mut self, position: usize, code: usize) {
        let (word, shift, mask) = self.place(position);
        if let Some(word) = self.codes.get_mut(word) {
            *word = *word & !(mask << shift) | (code as u64 & mask) << shift;
        }
    }

    /// A word full of one code.
    fn repeated(&self, code: usize) -> u64 {
        let ones = [u64::MAX, 0x5555_5555_5555_5555, 0x1111_1111_1111_1111, 0x0101_0101_0101_0101];
        ones.get(self.width_shift as usize).map_or(0, |ones| ones.wrapping_mul(code as u64))
    }

    /// Gives 64 blocks, those whose bits are set, a code.
    fn set_word(&mut self, at: usize, mut bits: u64, code: usize) {
        if bits == u64::MAX {
            let (first, count) = (at << self.width_shift, 1 << self.width_shift);
            let repeated = self.repeated(code);
            self.codes[first..first + count].fill(repeated);
            return;
        }
        while bits != 0 {
            self.set_code(64 * at + bits.trailing_zeros() as usize, code);
            bits &= bits - 1;
        }
    }

    /// The code of a number that the blocks of `word` are about to get, a new one if need be, and up to which number
    /// merging was necessary for that.
    fn code_for(&mut self, number: u64, word: &impl Fn(usize) -> u64) -> (usize, u64) {
        if let Some(code) = self.numbers[..self.used].iter().position(|known| *known == number) {
            return (code, 0);
        }
        if self.used < self.numbers.len() {
            return (self.append(number), 0);
        }
        // Full: first a number that no block keeps gives up its code, then codes widen, then numbers merge.
        let live = self.live(word);
        if let Some(free) = (0..self.used).find(|code| !live.has(*code)) {
            self.numbers[free] = number;
            return (free, 0);
        }
        if self.width_shift < MAXIMUM_WIDTH_SHIFT && self.recode(self.width_shift + 1, live).is_ok() {
            return (self.append(number), 0);
        }
        let (freed, merged) = self.merge_two_oldest();
        self.numbers[freed] = number;
        (freed, merged)
    }

    fn append(&mut self, number: u64) -> usize {
        let code = self.used;
        self.numbers[code] = number;
        self.used += 1;
        code
    }

    /// The codes of all blocks whose bits are not set in `word`.
    fn live(&self, word: &impl Fn(usize) -> u64) -> CodeSet {
        let mut live = CodeSet::default();
        for at in 0..LEAF_WORDS {
            let start = 64 * at as u64;
            let mut rest = !word(at);
            while rest != 0 {
                let position = start + u64::from(rest.trailing_zeros());
                live.insert(self.code(index(position)));
                rest &= !low_bits(self.run_end(position, start + 64) - start);
            }
        }
        live
    }

    /// Other widths, and only the live numbers; blocks without one get any. Nothing changes when memory is short.
    fn recode(&mut self, width_shift: u32, live: CodeSet) -> Result<(), OutOfMemory> {
        let mut new = Self::empty(self.memory, width_shift)?;
        let mut new_codes = [0u8; 256];
        for code in (0..self.used).filter(|code| live.has(*code)) {
            let new_code = new.append(self.numbers[code]);
            // There are at most 256 codes.
            new_codes[code] = u8::try_from(new_code).map_err(|_| OutOfMemory)?;
        }
        for position in 0..index(LEAF_BLOCKS) {
            new.set_code(position, new_codes[self.code(position)].into());
        }
        *self = new;
        Ok(())
    }

    /// The blocks of the oldest number get the second oldest. Returns the code that became free, and that number.
    ///
    /// Only called when all codes are in use, so there are at least two.
    fn merge_two_oldest(&mut self) -> (usize, u64) {
        let code_of_oldest = |numbers: &[u64], but: usize| {
            (0..numbers.len()).filter(|code| *code != but).min_by_key(|code| numbers[*code]).unwrap_or(0)
        };
        let oldest = code_of_oldest(&self.numbers, usize::MAX);
        let second = code_of_oldest(&self.numbers, oldest);
        for position in 0..index(LEAF_BLOCKS) {
            if self.code(position) == oldest {
                self.set_code(position, second);
            }
        }
        (oldest, self.numbers[second])
    }
}

/// How many numbers codes of a width can mean.
const fn capacity(width_shift: u32) -> usize {
    1 << (1 << width_shift)
}

/// The mask of one code.
const fn low_code(width_shift: u32) -> u64 {
    (1 << (1 << width_shift)) - 1
}

fn width_shift_for(numbers: usize) -> u32 {
    (0..MAXIMUM_WIDTH_SHIFT).find(|shift| numbers <= capacity(*shift)).unwrap_or(MAXIMUM_WIDTH_SHIFT)
}

/// A position, word or code as an index: all of them are below `LEAF_BLOCKS`.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
