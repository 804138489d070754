// SPDX-License-Identifier: GPL-2.0
//! The chunks of a device of which something is preserved.
//!
//! Looking one up takes no lock and never sleeps. A chunk that is in the table stays until the table goes.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::{bindings, prelude::*, types::Opaque};

use crate::chunk::Chunk;

/// By number.
#[pin_data(PinnedDrop)]
pub struct ChunkTable {
    #[pin]
    array: Opaque<bindings::xarray>,
    count: AtomicU64,
}

// SAFETY: an xarray has a lock of its own.
unsafe impl Send for ChunkTable {}
// SAFETY: as above.
unsafe impl Sync for ChunkTable {}

impl ChunkTable {
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: initialises the memory, which is pinned.
            array <- Opaque::ffi_init(|array| unsafe { bindings::xa_init_flags(array, 0) }),
            count: AtomicU64::new(0),
        })
    }

    /// The chunk, if something of it is preserved or being preserved.
    pub fn get(&self, number: u64) -> Option<&Chunk> {
        let index = usize::try_from(number).ok()?;
        // SAFETY: initialised; it takes the RCU read lock itself, and chunks live as long as the table.
        unsafe { bindings::xa_load(self.array.get(), index).cast::<Chunk>().as_ref() }
    }

    /// The chunk, new if need be. Only one task at a time, which runs with `NoIo`. May sleep.
    pub fn get_or_insert(&self, number: u64) -> Result<&Chunk> {
        if let Some(chunk) = self.get(number) {
            return Ok(chunk);
        }
        let index = usize::try_from(number).map_err(|_| EFBIG)?;
        let chunk = KBox::into_raw(KBox::new(Chunk::new(), GFP_KERNEL | __GFP_NOWARN)?);
        // SAFETY: initialised; the pointer is aligned and not an error pointer.
        let error = unsafe {
            let flags = bindings::GFP_KERNEL | bindings::__GFP_NOWARN;
            bindings::xa_err(bindings::xa_store(self.array.get(), index, chunk.cast(), flags))
        };
        if error != 0 {
            // SAFETY: not stored, so still ours.
            drop(unsafe { KBox::from_raw(chunk) });
            return Err(Error::from_errno(error));
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: in the table now.
        Ok(unsafe { &*chunk })
    }

    /// Chunks in the table.
    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Memory of the chunks, without the table's own nodes.
    pub fn bytes(&self) -> u64 {
        self.len() * core::mem::size_of::<Chunk>() as u64
    }
}

#[pinned_drop]
impl PinnedDrop for ChunkTable {
    fn drop(self: Pin<&mut Self>) {
        let array = self.array.get();
        let mut index = 0;
        loop {
            // SAFETY: nobody else uses the table any more. Bit 8 (XA_PRESENT): any entry.
            let chunk = unsafe { bindings::xa_find(array, &mut index, usize::MAX, bindings::XA_PRESENT) };
            if chunk.is_null() {
                break;
            }
            // SAFETY: from `get_or_insert`.
            drop(unsafe { KBox::from_raw(chunk.cast::<Chunk>()) });
            // SAFETY: as above.
            unsafe { bindings::xa_erase(array, index) };
        }
        // SAFETY: empty, and used by nobody any more.
        unsafe { bindings::xa_destroy(array) };
    }
}
