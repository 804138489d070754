// SPDX-License-Identifier: GPL-2.0
//! The module's workqueues. Both have a rescuer, because writing back memory may depend on them.

use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::{bindings, prelude::*, workqueue::Queue};

extern "C" {
    fn blksnap_chain_work_queue(queue: *mut bindings::workqueue_struct);
}

/// Preserves data before it is overwritten, and lets held writes go.
static WRITES: AtomicPtr<bindings::workqueue_struct> = AtomicPtr::new(core::ptr::null_mut());
/// Reads of images, and what may take long.
static IMAGES: AtomicPtr<bindings::workqueue_struct> = AtomicPtr::new(core::ptr::null_mut());

/// The workqueues; dropped after everything that uses them.
pub struct Queues(());

impl Queues {
    pub fn new() -> Result<Self> {
        let queues = Self(());
        for (slot, name) in [(&WRITES, c"blksnap-write"), (&IMAGES, c"blksnap-image")] {
            let flags = bindings::wq_flags_WQ_MEM_RECLAIM | bindings::wq_flags_WQ_UNBOUND;
            // SAFETY: the format has no arguments.
            let queue = unsafe { bindings::alloc_workqueue_noprof(name.as_char_ptr(), flags, 0) };
            if queue.is_null() {
                return Err(ENOMEM);
            }
            slot.store(queue, Ordering::Release);
        }
        Ok(queues)
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        for slot in [&WRITES, &IMAGES] {
            let queue = slot.swap(core::ptr::null_mut(), Ordering::AcqRel);
            if !queue.is_null() {
                // SAFETY: made by `new`; nothing queues any more.
                unsafe { bindings::destroy_workqueue(queue) };
            }
        }
    }
}

/// Where held writes are worked on.
pub fn writes() -> &'static Queue {
    // SAFETY: exists as long as anything that calls this.
    unsafe { Queue::from_raw(WRITES.load(Ordering::Acquire)) }
}

/// Where images are read.
pub fn images() -> &'static Queue {
    // SAFETY: exists as long as anything that calls this.
    unsafe { Queue::from_raw(IMAGES.load(Ordering::Acquire)) }
}

/// Has chained bios ended soon. Any context.
pub fn end_chains() {
    // SAFETY: the queue exists while bios are in flight.
    unsafe { blksnap_chain_work_queue(WRITES.load(Ordering::Acquire)) };
}

#[no_mangle]
extern "C" fn blksnap_rust_end_chained() {
    crate::in_flight::end_chained();
}
