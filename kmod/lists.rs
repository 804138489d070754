// SPDX-License-Identifier: GPL-2.0
//! Lists of bios, linked by `bi_next`.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::bindings::bio;

/// Bios that wait for a work item. Any context may add one, without a lock; all are taken at once.
pub struct BioList(AtomicPtr<bio>);

impl BioList {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Adds a bio that the caller owns. True: the list was empty, so somebody has to be woken.
    pub fn push(&self, bio: *mut bio) -> bool {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: the caller owns the bio.
            unsafe { (*bio).bi_next = head };
            match self.0.compare_exchange(head, bio, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Whether none waits; it may have changed by now.
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes all, in the order in which they came.
    pub fn take_all(&self) -> Bios {
        let mut newest = self.0.swap(null_mut(), Ordering::Acquire);
        let mut oldest = null_mut();
        while !newest.is_null() {
            // SAFETY: taken off the list, so the bios are ours.
            let next = unsafe { core::mem::replace(&mut (*newest).bi_next, oldest) };
            oldest = newest;
            newest = next;
        }
        Bios(oldest)
    }
}

/// Bios that the holder owns, first come first. It must be run to its end.
pub struct Bios(*mut bio);

impl Iterator for Bios {
    type Item = *mut bio;

    fn next(&mut self) -> Option<*mut bio> {
        let first = self.0;
        if first.is_null() {
            return None;
        }
        // SAFETY: ours until we give it out; a bio is submitted with `bi_next` null.
        unsafe { self.0 = core::mem::replace(&mut (*first).bi_next, null_mut()) };
        Some(first)
    }
}
