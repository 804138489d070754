//! Decompresses chunks of XPRESS with Huffman codes, the faster algorithm of system compression.
//!
//! Described in sections 2.1 and 2.2 of Microsoft's "Xpress Compression Algorithm" specification, MS-XCA.

use super::huffman::{Bits, Code, copy, damaged};
use crate::files::Result;

/// Code lengths of 512 symbols, two in a byte.
const TABLE_BYTES: usize = 256;
const LITERALS: usize = 256;
const SHORTEST_COPY_BYTES: usize = 3;
/// A length that is continued in a byte, and the byte that is continued in two.
const LONG: usize = 15;
const LONGER: u8 = 255;

/// Fills `output` with what one chunk expands to.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let (table, words) = input.split_at_checked(TABLE_BYTES).ok_or_else(|| damaged("is cut short"))?;
    let lengths: Vec<u8> = table.iter().flat_map(|pair| [pair & 0xF, pair >> 4]).collect();
    let code = Code::new(&lengths)?;
    let mut bits = Bits::new(words);
    let mut written = 0;
    while written < output.len() {
        let symbol = code.take(&mut bits)?;
        if let Ok(literal) = u8::try_from(symbol) {
            output[written] = literal;
            written += 1;
            continue;
        }
        let (length, distance_bits) = ((symbol - LITERALS) % 16, (symbol - LITERALS) / 16);
        // Both the rest of the length and that of the distance come after the word that is read ahead here.
        bits.refill()?;
        let length = if length == LONG { long(&mut bits)? } else { length };
        let low = bits.take(u32::try_from(distance_bits).unwrap_or(0))?;
        let distance = 1 << distance_bits | low as usize;
        written = copy(output, written, distance, length + SHORTEST_COPY_BYTES)?;
    }
    Ok(())
}

fn long(bits: &mut Bits<'_>) -> Result<usize> {
    let byte = bits.bytes(1)?[0];
    if byte < LONGER {
        return Ok(LONG + usize::from(byte));
    }
    let word = bits.bytes(2)?;
    match usize::from(u16::from_le_bytes([word[0], word[1]])) {
        // Chunks here are too short for lengths of more bytes still.
        length @ LONG.. => Ok(length),
        _ => Err(damaged("has an impossible length")),
    }
}

#[cfg(test)]
mod tests {
    use super::decompress;
    use crate::files::ntfs::wof_samples::{XPRESS, bytes, damage, text};

    #[test]
    fn what_another_program_packed_expands_to_the_text() {
        let mut output = vec![0; text().len()];
        decompress(&bytes(XPRESS), &mut output).unwrap();
        assert!(output == text());
    }

    #[test]
    fn damaged_chunks_give_errors_and_no_panic() {
        damage(&bytes(XPRESS), decompress);
    }
}
