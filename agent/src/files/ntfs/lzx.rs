//! Decompresses chunks of LZX, the denser algorithm of system compression, in the variant of WIM archives.
//!
//! Each chunk stands for itself. The format is that of Microsoft's specification MS-PATCH without its header: a window
//! of 32 KiB, and calls in x86 code translated as if the file were of one certain length.

use super::huffman::{Bits, Code, copy, damaged};
use crate::files::Result;

const LITERALS: usize = 256;
/// For a window of 32 KiB.
const SLOTS: usize = 30;
const MAIN_SYMBOLS: usize = LITERALS + 8 * SLOTS;
const LENGTH_SYMBOLS: usize = 249;
const PRETREE_SYMBOLS: usize = 20;
const ALIGNED_SYMBOLS: usize = 8;
const SHORTEST_COPY_BYTES: usize = 2;
const LONG: usize = 7;
const DEFAULT_BLOCK_BYTES: usize = 32 << 10;
/// The last three distances have the first slots; the others follow.
const RECENT: usize = 3;
const ALIGNED_BITS: u32 = 3;
const TRANSLATED_FILE_BYTES: i32 = 12_000_000;

/// Fills `output` with what one chunk expands to.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let mut decoder = Decoder {
        bits: Bits::new(input),
        recent: [1; RECENT],
        main: vec![0; MAIN_SYMBOLS],
        lengths: vec![0; LENGTH_SYMBOLS],
    };
    let mut written = 0;
    while written < output.len() {
        written = decoder.block(output, written)?;
    }
    untranslate_calls(output);
    Ok(())
}

struct Decoder<'a> {
    bits: Bits<'a>,
    /// The distances that were used last.
    recent: [usize; RECENT],
    /// Code lengths, which each block gives by their difference from those of the one before.
    main: Vec<u8>,
    lengths: Vec<u8>,
}

impl Decoder<'_> {
    /// Expands one block and returns how many bytes there are now.
    fn block(&mut self, output: &mut [u8], written: usize) -> Result<usize> {
        let kind = self.bits.take(3)?;
        let length = match self.bits.take(1)? {
            1 => DEFAULT_BLOCK_BYTES,
            _ => self.bits.take(16)? as usize,
        };
        if length == 0 || length > output.len() - written {
            return Err(damaged("has a block of impossible length"));
        }
        let block = &mut output[..written + length];
        match kind {
            1 => self.coded(block, written, None)?,
            2 => {
                let mut aligned = [0; ALIGNED_SYMBOLS];
                for length in &mut aligned {
                    *length = self.small(3)?;
                }
                self.coded(block, written, Some(&Code::new(&aligned)?))?;
            }
            3 => self.plain(block, written)?,
            _ => return Err(damaged("has a block of unknown kind")),
        }
        Ok(written + length)
    }

    fn small(&mut self, count: u32) -> Result<u8> {
        Ok(u8::try_from(self.bits.take(count)?).unwrap_or(u8::MAX))
    }

    fn plain(&mut self, block: &mut [u8], written: usize) -> Result<()> {
        self.bits.align()?;
        for distance in &mut self.recent {
            let bytes = self.bits.bytes(4)?;
            *distance = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        }
        let target = &mut block[written..];
        target.copy_from_slice(self.bits.bytes(target.len())?);
        if !target.len().is_multiple_of(2) {
            self.bits.bytes(1)?;
        }
        Ok(())
    }

    fn coded(&mut self, block: &mut [u8], mut written: usize, aligned: Option<&Code>) -> Result<()> {
        let mut main = std::mem::take(&mut self.main);
        self.code_lengths(&mut main[..LITERALS])?;
        self.code_lengths(&mut main[LITERALS..])?;
        let mut lengths = std::mem::take(&mut self.lengths);
        self.code_lengths(&mut lengths)?;
        let (main_code, length_code) = (Code::new(&main)?, Code::new(&lengths)?);
        (self.main, self.lengths) = (main, lengths);
        while written < block.len() {
            let symbol = main_code.take(&mut self.bits)?;
            if let Ok(literal) = u8::try_from(symbol) {
                block[written] = literal;
                written += 1;
                continue;
            }
            let (length, slot) = ((symbol - LITERALS) % 8, (symbol - LITERALS) / 8);
            let length = if length == LONG { LONG + length_code.take(&mut self.bits)? } else { length };
            let distance = self.distance(slot, aligned)?;
            written = copy(block, written, distance, length + SHORTEST_COPY_BYTES)?;
        }
        Ok(())
    }

    fn distance(&mut self, slot: usize, aligned: Option<&Code>) -> Result<usize> {
        if slot < RECENT {
            self.recent.swap(0, slot);
            return Ok(self.recent[0]);
        }
        let (base, extra_bits) = slot_of(slot);
        let extra = match aligned {
            Some(code) if extra_bits >= ALIGNED_BITS => {
                let high = self.bits.take(extra_bits - ALIGNED_BITS)? as usize;
                high << ALIGNED_BITS | code.take(&mut self.bits)?
            }
            _ => self.bits.take(extra_bits)? as usize,
        };
        let distance = base + extra + 1 - RECENT;
        self.recent = [distance, self.recent[0], self.recent[1]];
        Ok(distance)
    }

    /// Updates code lengths, which are themselves coded.
    fn code_lengths(&mut self, lengths: &mut [u8]) -> Result<()> {
        let mut pretree = [0; PRETREE_SYMBOLS];
        for length in &mut pretree {
            *length = self.small(4)?;
        }
        let pretree = Code::new(&pretree)?;
        let mut at = 0;
        while at < lengths.len() {
            let symbol = pretree.take(&mut self.bits)?;
            let (count, length) = match symbol {
                17 => (4 + usize::from(self.small(4)?), 0),
                18 => (20 + usize::from(self.small(5)?), 0),
                19 => {
                    let count = 4 + usize::from(self.small(1)?);
                    let difference = pretree.take(&mut self.bits)?;
                    (count, changed(lengths[at], difference)?)
                }
                difference => (1, changed(lengths[at], difference)?),
            };
            let end = at + count;
            let run = lengths.get_mut(at..end).ok_or_else(|| damaged("has more code lengths than symbols"))?;
            run.fill(length);
            at = end;
        }
        Ok(())
    }
}

/// A code length by its difference from the one before, counted downwards in a circle of 17.
fn changed(length: u8, difference: usize) -> Result<u8> {
    match u8::try_from(difference) {
        Ok(difference @ 0..=16) => Ok((length + 17 - difference) % 17),
        _ => Err(damaged("has an impossible code length")),
    }
}

/// The first distance of a slot, in the counting that includes the recent ones, and how many bits say which of it.
fn slot_of(slot: usize) -> (usize, u32) {
    if slot < 4 {
        return (slot, 0);
    }
    let extra_bits = slot / 2 - 1;
    ((2 + slot % 2) << extra_bits, u32::try_from(extra_bits).unwrap_or(0))
}

/// The compressor made the targets of x86 calls absolute, so that calls of one function look alike.
fn untranslate_calls(output: &mut [u8]) {
    const CALL: u8 = 0xE8;
    const TAIL_BYTES: usize = 10;
    let end = output.len().saturating_sub(TAIL_BYTES);
    let mut at = 0;
    while at < end {
        if output[at] != CALL {
            at += 1;
            continue;
        }
        let field = &mut output[at + 1..at + 5];
        let absolute = i32::from_le_bytes([field[0], field[1], field[2], field[3]]);
        // Chunks are short, so the position is a small number.
        let position = i32::try_from(at).unwrap_or(i32::MAX);
        if absolute >= -position && absolute < TRANSLATED_FILE_BYTES {
            let relative = if absolute >= 0 { absolute - position } else { absolute + TRANSLATED_FILE_BYTES };
            field.copy_from_slice(&relative.to_le_bytes());
        }
        at += 5;
    }
}

#[cfg(test)]
mod tests {
    use super::{changed, decompress, slot_of, untranslate_calls};
    use crate::files::ntfs::wof_samples::{LZX, bytes, damage, text};

    #[test]
    fn what_another_program_packed_expands_to_the_text() {
        let mut output = vec![0; text().len()];
        decompress(&bytes(LZX), &mut output).unwrap();
        assert!(output == text());
    }

    #[test]
    fn a_plain_block_is_copied_and_sets_the_recent_distances() {
        // Kind 3, and 16 bits of length, 5; then three distances, the bytes, and one to make them even.
        let head = [0b0110_0000_0000_0000_u16, 0b0101_0000_0000_0000].map(u16::to_le_bytes).concat();
        let packed = [&head[..], &[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0], b"bytes", &[0]].concat();
        let mut output = [0; 5];
        decompress(&packed, &mut output).unwrap();
        assert_eq!(&output, b"bytes");
        decompress(&packed[..20], &mut output).unwrap_err();
    }

    #[test]
    fn damaged_chunks_give_errors_and_no_panic() {
        damage(&bytes(LZX), decompress);
    }

    #[test]
    fn slots_have_the_distances_of_the_specification() {
        let slots: Vec<_> = [0, 3, 4, 5, 6, 7, 28, 29].into_iter().map(slot_of).collect();
        assert_eq!(slots, [(0, 0), (3, 0), (4, 1), (6, 1), (8, 2), (12, 2), (16384, 13), (24576, 13)]);
    }

    #[test]
    fn code_lengths_go_down_in_a_circle() {
        assert_eq!((changed(5, 2).unwrap(), changed(0, 1).unwrap(), changed(16, 0).unwrap()), (3, 16, 16));
        changed(0, 17).unwrap_err();
    }

    #[test]
    fn calls_become_relative_again_but_not_in_the_last_bytes() {
        let mut code = [0; 30];
        code[4..9].copy_from_slice(&[0xE8, 20, 0, 0, 0]);
        code[20..25].copy_from_slice(&[0xE8, 25, 0, 0, 0]);
        untranslate_calls(&mut code);
        assert_eq!(code[4..9], [0xE8, 16, 0, 0, 0]);
        assert_eq!(code[20..25], [0xE8, 25, 0, 0, 0]);
    }
}
