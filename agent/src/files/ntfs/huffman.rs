//! What the two algorithms of system compression share: bits in words of sixteen, and canonical prefix codes.

use crate::files::{FilesError, Result};

/// No code word of either algorithm is longer.
pub(super) const MAX_CODE_BITS: usize = 16;
/// Decoders look ahead by a word or two that the input need not have.
const MAX_PADDING_WORDS: usize = 2;

/// Bits of little-endian 16-bit words, the highest bit of each word first. Whole bytes may lie between the words.
pub(super) struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    buffer: u32,
    count: u32,
    padding_words: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, buffer: 0, count: 0, padding_words: 0 }
    }

    /// Reads the next word if fewer than sixteen bits are left.
    pub(super) fn refill(&mut self) -> Result<()> {
        if self.count >= 16 {
            return Ok(());
        }
        let word = match self.input.get(self.at..self.at + 2) {
            Some(word) => u16::from_le_bytes([word[0], word[1]]),
            None if self.padding_words < MAX_PADDING_WORDS => {
                self.padding_words += 1;
                0
            }
            None => return Err(damaged("is cut short")),
        };
        self.at += 2;
        self.buffer |= u32::from(word) << (16 - self.count);
        self.count += 16;
        Ok(())
    }

    /// The next `count` bits, sixteen at most.
    pub(super) fn take(&mut self, count: u32) -> Result<u32> {
        self.refill()?;
        let bits = self.buffer.checked_shr(32 - count).unwrap_or(0);
        self.skip(count);
        Ok(bits)
    }

    fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// The rest of the word that was begun is dropped; a whole one where none was.
    pub(super) fn align(&mut self) -> Result<()> {
        match self.count {
            0 => drop(self.bytes(2)?),
            // Read ahead and not begun, while one before it was.
            17.. => self.at = self.at.saturating_sub(2),
            _ => {}
        }
        (self.buffer, self.count) = (0, 0);
        Ok(())
    }

    /// Bytes from between the words.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let bytes = self.at.checked_add(count).and_then(|end| self.input.get(self.at..end));
        self.at = self.at.saturating_add(count);
        bytes.ok_or_else(|| damaged("is cut short"))
    }
}

/// A prefix code given by the lengths of its words: shorter ones first, among equals in the order of their symbols.
pub(super) struct Code {
    /// By length: the first value of sixteen bits that begins with no word of that length or a shorter one.
    limits: [u32; MAX_CODE_BITS + 1],
    /// By length: how many words are shorter.
    shorter: [usize; MAX_CODE_BITS + 1],
    symbols: Vec<u16>,
}

impl Code {
    /// A length of zero is a symbol that does not occur; none is longer than [`MAX_CODE_BITS`].
    pub(super) fn new(lengths: &[u8]) -> Result<Self> {
        let mut counts = [0_usize; MAX_CODE_BITS + 1];
        for length in lengths {
            counts[usize::from(*length).min(MAX_CODE_BITS)] += 1;
        }
        let (mut limits, mut shorter) = ([0; MAX_CODE_BITS + 1], [0; MAX_CODE_BITS + 1]);
        let (mut limit, mut words) = (0, 0);
        for length in 1..=MAX_CODE_BITS {
            shorter[length] = words;
            words += counts[length];
            limit += counts[length] << (MAX_CODE_BITS - length);
            if limit > 1 << MAX_CODE_BITS {
                return Err(damaged("has more code words than there can be"));
            }
            limits[length] = u32::try_from(limit).unwrap_or(u32::MAX);
        }
        let mut symbols = vec![0; words];
        let mut next = shorter;
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let place = &mut next[usize::from(*length).min(MAX_CODE_BITS)];
            symbols[*place] = u16::try_from(symbol).unwrap_or(u16::MAX);
            *place += 1;
        }
        Ok(Self { limits, shorter, symbols })
    }

    /// The next symbol.
    pub(super) fn take(&self, bits: &mut Bits<'_>) -> Result<usize> {
        bits.refill()?;
        let value = bits.buffer >> 16;
        for length in 1..=MAX_CODE_BITS {
            if value < self.limits[length] {
                let first = self.limits[length - 1];
                let index = self.shorter[length] + ((value - first) >> (MAX_CODE_BITS - length)) as usize;
                bits.skip(u32::try_from(length).unwrap_or(u32::MAX));
                return self.symbols.get(index).map(|symbol| usize::from(*symbol)).ok_or_else(|| damaged("is wrong"));
            }
        }
        Err(damaged("has a code word without a meaning"))
    }
}

/// Appends `length` bytes to the `written` first ones of `output`, which are those from `distance` before its end.
pub(super) fn copy(output: &mut [u8], written: usize, distance: usize, length: usize) -> Result<usize> {
    if distance == 0 || distance > written {
        return Err(damaged("copies from before its chunk"));
    }
    if length > output.len() - written {
        return Err(damaged("expands beyond its chunk"));
    }
    // Byte by byte: a copy may read what it just wrote.
    for at in written..written + length {
        output[at] = output[at - distance];
    }
    Ok(written + length)
}

pub(super) fn damaged(how: &str) -> FilesError {
    FilesError::corrupt(format!("data under system compression {how}"))
}

#[cfg(test)]
mod tests {
    use super::{Bits, Code, copy};

    #[test]
    fn bits_come_from_words_and_bytes_from_between_them() {
        let mut bits = Bits::new(&[0x34, 0x12, 0x78, 0x56, 0xAA, 0xBB]);
        assert_eq!((bits.take(4).unwrap(), bits.take(8).unwrap(), bits.take(0).unwrap()), (1, 0x23, 0));
        // Less than a word was left, so that the next one was read ahead.
        assert_eq!(bits.bytes(1).unwrap(), [0xAA]);
        assert_eq!(bits.take(16).unwrap(), 0x4567);
        bits.bytes(2).unwrap_err();
    }

    #[test]
    fn one_word_or_its_rest_is_dropped_to_align() {
        let input: Vec<u8> = (0..8).collect();
        for (taken, next) in [(0, 2), (1, 2), (4, 2), (15, 2), (16, 4), (17, 4), (20, 4), (31, 4), (32, 6)] {
            let mut bits = Bits::new(&input);
            for _ in 0..taken {
                bits.take(1).unwrap();
            }
            bits.align().unwrap();
            assert_eq!(bits.bytes(1).unwrap(), [next], "after {taken} bits");
        }
    }

    #[test]
    fn canonical_codes_are_decoded() {
        // a: 0, c: 10, b: 110, d: 111.
        let code = Code::new(&[1, 3, 2, 3, 0]).unwrap();
        let mut bits = Bits::new(&[0b1000_0000, 0b0101_1011]);
        let symbols: Vec<_> = (0..4).map(|_| code.take(&mut bits).unwrap()).collect();
        assert_eq!(symbols, [0, 2, 1, 3]);
    }

    #[test]
    fn impossible_codes_and_copies_are_refused() {
        assert!(Code::new(&[1, 1, 1]).is_err());
        let code = Code::new(&[2, 2]).unwrap();
        code.take(&mut Bits::new(&[0xFF, 0xFF])).unwrap_err();
        Code::new(&[]).unwrap().take(&mut Bits::new(&[0, 0])).unwrap_err();
        for (written, distance, length) in [(0, 1, 1), (2, 3, 1), (2, 0, 1), (2, 1, 3)] {
            copy(&mut [0; 4], written, distance, length).unwrap_err();
        }
    }
}
