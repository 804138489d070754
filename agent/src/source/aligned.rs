//! Buffers that O_DIRECT accepts, and a pool that bounds how many of them exist.
//!
//! A buffer is an ordinary vector with room to begin at an aligned address, so no unsafe code is needed.

use crossbeam_channel::{Receiver, Sender, bounded};
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

/// A fixed number of equal buffers, shared by threads. Cloning shares the same buffers.
#[derive(Clone)]
pub struct BufferPool {
    free: Receiver<AlignedBuffer>,
    give_back: Sender<AlignedBuffer>,
}

impl BufferPool {
    /// Allocates `count` buffers of `buffer_bytes` at once: the peak is known from the start.
    pub fn new(count: usize, buffer_bytes: usize) -> Self {
        let (give_back, free) = bounded(count);
        for _ in 0..count {
            // Cannot fail: the receiver is alive and there is room for `count`.
            let _ = give_back.try_send(AlignedBuffer::new(buffer_bytes));
        }
        Self { free, give_back }
    }

    /// Waits for a free buffer; its content is whatever the last user left. With a pool of no buffers this waits forever.
    pub fn take(&self) -> PooledBuffer {
        // Cannot fail: this pool holds a sender, so the channel is never closed.
        let buffer = self.free.recv().ok();
        PooledBuffer { buffer, give_back: self.give_back.clone() }
    }
}

/// A buffer that goes back to its pool when it is dropped, from whatever thread.
// INVARIANT: `buffer` is Some until drop.
pub struct PooledBuffer {
    buffer: Option<AlignedBuffer>,
    give_back: Sender<AlignedBuffer>,
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // Fails only when the pool is gone; the buffer is then simply freed.
            let _ = self.give_back.try_send(buffer);
        }
    }
}

/// May these bytes be read directly into this buffer?
pub(super) fn is_aligned(buf: &[u8], offset_bytes: u64) -> bool {
    buf.as_ptr().addr().is_multiple_of(ALIGNMENT_BYTES)
        && buf.len().is_multiple_of(ALIGNMENT_BYTES)
        && offset_bytes.is_multiple_of(ALIGNMENT_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::{ALIGNMENT_BYTES, AlignedBuffer, BufferPool, is_aligned};

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

    #[test]
    fn a_pool_never_has_more_buffers_than_it_was_made_with() {
        let pool = BufferPool::new(2, 4096);
        let (first, second) = (pool.take(), pool.take());
        assert!(pool.free.is_empty());
        let addresses = [first.as_ptr(), second.as_ptr()];
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| pool.take().as_ptr().addr());
            drop(first);
            assert_eq!(waiter.join().unwrap(), addresses[0].addr());
        });
        drop(second);
        assert_eq!(pool.free.len(), 2);
    }
}
