//! Buffers that O_DIRECT accepts.
//!
//! A buffer is an ordinary vector with room to begin at an aligned address, so no unsafe code is needed.

use std::ops::{Deref, DerefMut};

/// Address, offset and length of direct reads are multiples of this; every Linux block device accepts it.
pub const ALIGNMENT_BYTES: usize = 4096;

/// A fixed-size buffer whose first byte lies at a multiple of [`ALIGNMENT_BYTES`].
// INVARIANT: `bytes` is never resized, so its address and with it `start` stay right for its whole life.
pub struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` zeros.
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT_BYTES];
        // `align_offset` may in theory give up; the reader then sees an unaligned buffer and does not read directly.
        let start = bytes.as_ptr().align_offset(ALIGNMENT_BYTES).min(ALIGNMENT_BYTES);
        Self { bytes, start, length }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

/// May these bytes be read or written directly?
pub fn is_aligned(buf: &[u8], offset_bytes: u64) -> bool {
    buf.as_ptr().addr().is_multiple_of(ALIGNMENT_BYTES)
        && buf.len().is_multiple_of(ALIGNMENT_BYTES)
        && offset_bytes.is_multiple_of(ALIGNMENT_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT_BYTES, AlignedBuffer, is_aligned};

    #[test]
    fn buffers_are_aligned_and_have_their_length() {
        for length in [0, 1, 4096, 1 << 20] {
            let mut buffer = AlignedBuffer::new(length);
            assert_eq!(buffer.len(), length);
            buffer.fill(7);
            assert!(buffer.as_ptr().addr().is_multiple_of(ALIGNMENT_BYTES));
            assert_eq!(is_aligned(&buffer, 0), length % ALIGNMENT_BYTES == 0);
            assert!(!is_aligned(&buffer, 512));
        }
    }
}
