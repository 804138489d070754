//! LZO1X as the kernel writes it, and the frame in which btrfs keeps one stream for each sector of data.
//!
//! Source of the stream format: the kernel's `Documentation/staging/lzo.rst`, version 0 of the bit stream. Everything
//! is bounded by the input and by the length that the caller expects.

use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const LENGTH_BYTES: usize = 4;
/// First bytes from here on are a count of literals.
const FIRST_LITERALS: u8 = 18;
/// State after a long run of literals; below it is the number of literals that followed the last copy.
const MANY_LITERALS: usize = 4;
const END_DISTANCE: usize = 16384;

/// Decompresses a frame: its length, then streams with their lengths, none of which crosses the end of a sector.
///
/// Gives at most `limit_bytes`, and less when the frame holds less.
pub(super) fn decompress_frame(frame: &[u8], sector_bytes: usize, limit_bytes: usize) -> Result<Vec<u8>> {
    let f = Fields::new(frame, "lzo frame");
    let total = f.le32(0)? as usize;
    if total > frame.len() || total < LENGTH_BYTES {
        return Err(damaged());
    }
    let mut output = Vec::with_capacity(limit_bytes);
    let mut at = LENGTH_BYTES;
    while at < total && output.len() < limit_bytes {
        let length = f.le32(at)? as usize;
        at += LENGTH_BYTES;
        let end = at.checked_add(length).filter(|end| *end <= total).ok_or_else(damaged)?;
        output.extend(decompress(&frame[at..end], sector_bytes)?);
        at = end;
        // What cannot hold a length is left empty.
        let left = sector_bytes - at % sector_bytes;
        if left < LENGTH_BYTES {
            at += left;
        }
    }
    output.truncate(limit_bytes);
    Ok(output)
}

/// Decompresses one stream that gives no more than `limit_bytes`.
fn decompress(input: &[u8], limit_bytes: usize) -> Result<Vec<u8>> {
    let mut stream = Stream { input, at: 0, output: Vec::with_capacity(limit_bytes), limit_bytes };
    let mut state = 0;
    if let Some(first) = input.first().filter(|first| **first >= FIRST_LITERALS) {
        stream.at = 1;
        let count = usize::from(first - FIRST_LITERALS + 1);
        stream.literals(count)?;
        state = count.min(MANY_LITERALS);
    }
    while let Some(next) = stream.instruction(state)? {
        state = next;
    }
    if stream.at != input.len() {
        return Err(damaged());
    }
    Ok(stream.output)
}

fn damaged() -> FilesError {
    FilesError::corrupt("data compressed with lzo is damaged")
}

struct Stream<'a> {
    input: &'a [u8],
    at: usize,
    output: Vec<u8>,
    limit_bytes: usize,
}

impl Stream<'_> {
    /// Carries out one instruction and gives the state after it; nothing at the end of the stream.
    fn instruction(&mut self, state: usize) -> Result<Option<usize>> {
        let op = self.byte()?;
        let (length, distance, literals) = match op {
            0..=15 if state == 0 => {
                let count = 3 + self.length(op, 4)?;
                self.literals(count)?;
                return Ok(Some(MANY_LITERALS));
            }
            0..=15 => {
                let (length, nearest) = if state < MANY_LITERALS { (2, 1) } else { (3, 2049) };
                (length, (self.byte()? << 2) + (op >> 2) + nearest, op & 3)
            }
            16..=31 => {
                let length = 2 + self.length(op & 7, 3)?;
                let pair = self.pair()?;
                let distance = END_DISTANCE + ((op & 8) << 11) + (pair >> 2);
                if distance == END_DISTANCE {
                    return Ok(None);
                }
                (length, distance, pair & 3)
            }
            32..=63 => {
                let length = 2 + self.length(op & 31, 5)?;
                let pair = self.pair()?;
                (length, (pair >> 2) + 1, pair & 3)
            }
            64..=127 => (3 + (op >> 5 & 1), (self.byte()? << 3) + (op >> 2 & 7) + 1, op & 3),
            _ => (5 + (op >> 5 & 3), (self.byte()? << 3) + (op >> 2 & 7) + 1, op & 3),
        };
        self.repeat(distance, length)?;
        self.literals(literals)?;
        Ok(Some(literals))
    }

    fn byte(&mut self) -> Result<usize> {
        let byte = self.input.get(self.at).ok_or_else(damaged)?;
        self.at += 1;
        Ok(usize::from(*byte))
    }

    fn pair(&mut self) -> Result<usize> {
        Ok(self.byte()? | self.byte()? << 8)
    }

    /// A length of `bits` bits; zero means that more of it follows.
    fn length(&mut self, small: usize, bits: u32) -> Result<usize> {
        if small != 0 {
            return Ok(small);
        }
        let mut length = (1 << bits) - 1;
        loop {
            match self.byte()? {
                // The input is small, so that this cannot overflow.
                0 => length += 255,
                last => return Ok(length + last),
            }
        }
    }

    fn literals(&mut self, count: usize) -> Result<()> {
        let end = self.at.checked_add(count).ok_or_else(damaged)?;
        let literals = self.input.get(self.at..end).ok_or_else(damaged)?;
        if self.output.len() + count > self.limit_bytes {
            return Err(damaged());
        }
        self.output.extend_from_slice(literals);
        self.at = end;
        Ok(())
    }

    /// Copies from what was written `distance` bytes ago; it may reach into what it writes.
    fn repeat(&mut self, distance: usize, length: usize) -> Result<()> {
        let start = self.output.len().checked_sub(distance).ok_or_else(damaged)?;
        if self.output.len() + length > self.limit_bytes {
            return Err(damaged());
        }
        for at in start..start + length {
            self.output.push(self.output[at]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{decompress, decompress_frame};
    use proptest::prelude::any;

    const END: [u8; 3] = [0x11, 0, 0];

    fn stream(parts: &[&[u8]]) -> Vec<u8> {
        [&parts.concat()[..], &END].concat()
    }

    #[test]
    fn literals_at_the_start_are_copied() {
        assert_eq!(decompress(&stream(&[&[17 + 5], b"hello"]), 100).unwrap(), b"hello");
        assert_eq!(decompress(&END, 100).unwrap(), b"");
    }

    #[test]
    fn each_kind_of_instruction_copies_what_it_says() {
        // Five literals, then 4 bytes from 5 back and one literal, then 2 bytes from 2 back, 3 literals.
        let short = stream(&[&[17 + 5], b"abcde", &[0b0111_0001, 0], b"X", &[0b0000_0111, 0], b"123"]);
        assert_eq!(decompress(&short, 100).unwrap(), b"abcdeabcdXdX123");
        // 7 bytes from one back; they overlap with what is written.
        let overlap = stream(&[&[17 + 4], b"abcz", &[0b1100_0000, 0]]);
        assert_eq!(decompress(&overlap, 100).unwrap(), b"abczzzzzzzz");
        // A long copy: 2 + 31 + 255 + 12 bytes from 3 back, then a run of 3 + 15 + 2 literals.
        let twenty = [b'L'; 20];
        let long = stream(&[&[17 + 4], b"-abc", &[0b0010_0000, 0, 12, 2 << 2, 0], &[0, 2], &twenty]);
        let expected = [&b"-"[..], &b"abc".repeat(101), &twenty].concat();
        assert_eq!(decompress(&long, 1000).unwrap(), expected);
    }

    #[test]
    fn far_copies_reach_as_far_as_they_say() {
        let head = [b'h'; 238];
        let mut parts = vec![vec![255], head.to_vec()];
        // 20 000 bytes of `h` by copies from one back, then `END.` as literals, then 5 bytes from 16 384 + 4 back.
        parts.push([&[0b0010_0000][..], &[0; 78], &[1, 0, 0]].concat());
        parts.push([&[0, 1][..], &[b'.'; 19]].concat());
        parts.push(vec![0b0001_0011, 4 << 2, 0]);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let output = decompress(&stream(&parts), 40_000).unwrap();
        assert_eq!(output.len(), 238 + 2 + 31 + 78 * 255 + 1 + 19 + 5);
        assert_eq!(&output[output.len() - 24..], [&[b'.'; 19][..], b"hhhhh"].concat());
    }

    #[test]
    fn damaged_streams_are_refused() {
        for damaged in [
            &b""[..],
            &[17 + 5, b'a'],
            &[17 + 5, b'a', b'b', b'c', b'd', b'e'],
            &[17 + 4, b'a', b'b', b'c', b'd', 0b0100_0000, 9, 0x11, 0, 0],
            &[0x11, 0, 0, 0],
            &[16, 0, 0, 0, 0],
        ] {
            assert!(decompress(damaged, 100).is_err(), "{damaged:?}");
        }
        assert!(decompress(&stream(&[&[17 + 5], b"hello"]), 4).is_err(), "more than expected");
    }

    #[test]
    fn a_frame_skips_what_cannot_hold_a_length() {
        let one = stream(&[&[17 + 5], b"hello"]);
        let two = stream(&[&[17 + 5], b"world"]);
        // With sectors of 19 bytes two bytes are left after the first stream.
        let mut frame = vec![0; 4];
        for (segment, padding) in [(&one, 2), (&two, 0)] {
            frame.extend(u32::try_from(segment.len()).unwrap().to_le_bytes());
            frame.extend(segment.iter());
            frame.extend(vec![0; padding]);
        }
        let total = u32::try_from(frame.len()).unwrap();
        frame[..4].copy_from_slice(&total.to_le_bytes());
        frame.extend([0; 9]);
        assert_eq!(decompress_frame(&frame, 19, 100).unwrap(), b"helloworld");
        assert_eq!(decompress_frame(&frame, 19, 7).unwrap(), b"hellowo");
        frame[0] = 255;
        assert!(decompress_frame(&frame, 19, 100).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_error_or_no_more_than_the_limit(input in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(output) = decompress(&input, 300) {
                assert!(output.len() <= 300);
            }
            drop(decompress_frame(&input, 64, 300));
        }
    }
}
