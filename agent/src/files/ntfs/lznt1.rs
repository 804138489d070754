//! Decompresses LZNT1, the algorithm of compressed files: chunks of 4 KiB, each a mix of bytes and copies.
//!
//! Described in section 2.5 of Microsoft's "Xpress Compression Algorithm" specification, MS-XCA.

use crate::files::{FilesError, Result};

/// What one chunk expands to.
const CHUNK_BYTES: usize = 4096;
const FLAG_COMPRESSED: u16 = 0x8000;
/// Three bits that are the same in every head.
const SIGNATURE: u16 = 0x3000;
const SIGNATURE_MASK: u16 = 0x7000;
const SHORTEST_COPY_BYTES: usize = 3;

/// Fills `output` with what `input` expands to; what it says nothing of stays zero, as on Windows.
///
/// Input that expands to nothing at all is damage: nobody stores such.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    output.fill(0);
    let mut rest = input;
    for (index, chunk) in output.chunks_mut(CHUNK_BYTES).enumerate() {
        let [low, high, tail @ ..] = rest else { break };
        let head = u16::from_le_bytes([*low, *high]);
        if head == 0 {
            return if index == 0 { Err(damaged("is empty")) } else { Ok(()) };
        }
        if head & SIGNATURE_MASK != SIGNATURE {
            return Err(damaged("has a chunk without its signature"));
        }
        let length = usize::from(head & 0xFFF) + 1;
        let (body, behind) = tail.split_at_checked(length).ok_or_else(|| damaged("is cut short"))?;
        if head & FLAG_COMPRESSED != 0 {
            expand(body, chunk)?;
        } else {
            let length = length.min(chunk.len());
            chunk[..length].copy_from_slice(&body[..length]);
        }
        rest = behind;
    }
    Ok(())
}

fn expand(body: &[u8], chunk: &mut [u8]) -> Result<()> {
    let mut written = 0;
    let mut rest = body;
    while let [flags, tail @ ..] = rest {
        rest = tail;
        for bit in 0..8 {
            if rest.is_empty() {
                return Ok(());
            }
            if flags >> bit & 1 == 0 {
                let (byte, tail) = rest.split_at(1);
                *chunk.get_mut(written).ok_or_else(|| damaged("expands beyond its chunk"))? = byte[0];
                written += 1;
                rest = tail;
                continue;
            }
            let [low, high, tail @ ..] = rest else { return Err(damaged("ends inside a copy")) };
            written = copy(chunk, written, u16::from_le_bytes([*low, *high]))?;
            rest = tail;
        }
    }
    Ok(())
}

/// Repeats earlier bytes of the chunk. The further into it, the more bits of `token` are distance and the fewer length.
fn copy(chunk: &mut [u8], written: usize, token: u16) -> Result<usize> {
    if written == 0 {
        return Err(damaged("copies from before its chunk"));
    }
    let distance_bits = usize::BITS - (written - 1).leading_zeros();
    let length_bits = 16 - distance_bits.clamp(4, 12);
    let distance = usize::from(token >> length_bits) + 1;
    let length = usize::from(token & ((1 << length_bits) - 1)) + SHORTEST_COPY_BYTES;
    if distance > written {
        return Err(damaged("copies from before its chunk"));
    }
    if length > chunk.len() - written {
        return Err(damaged("expands beyond its chunk"));
    }
    // Byte by byte: a copy may read what it just wrote.
    for at in written..written + length {
        chunk[at] = chunk[at - distance];
    }
    Ok(written + length)
}

fn damaged(how: &str) -> FilesError {
    FilesError::corrupt(format!("compressed data {how}"))
}

#[cfg(test)]
mod tests {
    use super::decompress;

    fn expanded(input: &[u8], length: usize) -> Result<Vec<u8>, String> {
        let mut output = vec![1; length];
        decompress(input, &mut output).map(|()| output).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_of_the_specification_expands() {
        // Section 3.3 of MS-XCA.
        let compressed = [
            0x38, 0xB0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xA2, 0x47, 0x01, 0xA0, 0x45,
            0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xC0, 0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xB4,
            0x02, 0x4A, 0x44, 0xEF, 0x03, 0x58, 0x02, 0x8C, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xBE, 0x00, 0x9E, 0x00,
            0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let text = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# \
                     G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        let shown = expanded(&compressed, text.len()).unwrap();
        assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(text));
    }

    #[test]
    fn a_copy_may_overlap_itself_and_use_the_longest_length() {
        // One byte, then it again 4095 times: distance 1, length 4095, all of 12 bits minus 3.
        let shown = expanded(&[0x03, 0xB0, 0x02, b'x', 0xFC, 0x0F], 4096).unwrap();
        assert!(shown.iter().all(|byte| *byte == b'x'));
    }

    #[test]
    fn plain_chunks_are_copied_and_the_rest_is_zero() {
        let mut input = vec![0xFF, 0x3F];
        input.extend(vec![b'p'; 4096]);
        input.extend([0x01, 0xB0, 0x00, b'q', 0, 0]);
        let shown = expanded(&input, 12_288).unwrap();
        assert!(shown[..4096].iter().all(|byte| *byte == b'p'));
        assert_eq!(shown[4096], b'q');
        assert!(shown[4097..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn damaged_input_is_refused() {
        let odd: [(&[u8], &str); 7] = [
            (&[0, 0, 1, 2], "is empty"),
            (&[0x01, 0x80, 0, b'x'], "signature"),
            (&[0x09, 0xB0, 0], "cut short"),
            (&[0x02, 0xB0, 0x01, 0, 0], "before its chunk"),
            (&[0x03, 0xB0, 0x02, b'x', 0x00, 0x10], "before its chunk"),
            (&[0x03, 0xB0, 0x02, b'x', 0xFD, 0x0F], "beyond its chunk"),
            (&[0x02, 0xB0, 0x02, b'x', 0x00], "inside a copy"),
        ];
        for (input, why) in odd {
            let error = expanded(input, 4096).unwrap_err();
            assert!(error.contains(why), "{input:x?}: {error}");
        }
    }
}
