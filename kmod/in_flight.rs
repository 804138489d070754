// SPDX-License-Identifier: GPL-2.0
//! How many writes of a tracker are between the hook and their end.
//!
//! TAKE must know when every write that came before it is over; a queue freeze does not tell, because a write may wait
//! in throttling or on a list before it enters the queue. So each write that passes is counted, and its end is seen by
//! taking over `bi_end_io`.
//!
//! Nothing is allocated for that: a [`Slot`] stands for one pair of counter and original function, and has a function
//! of its own to put into the bio; few such pairs occur at a time. Only when no slot is free, a [`Ticket`] is allocated.
//!
//! # Ends of chains
//!
//! The kernel ends chained bios in a loop, which it recognises by their end function. Called through ours it would
//! recurse, as deep as the chain is long. So those are ended by a work item.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use kernel::{bindings::bio, prelude::*};

use crate::{ffi, lists::BioList, work};

type EndIo = unsafe extern "C" fn(*mut bio);

/// The writes of one tracker. Freed by [`Counter::retire`], when all of them are over.
pub struct Counter {
    per_cpu: *mut u64,
    next_retired: AtomicPtr<Counter>,
}

// SAFETY: the per-CPU memory is only used through functions that any context may call.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

/// A place that stands for (counter, original end function).
///
/// `counter` is null while it is free, `RESERVED` while it is being filled. `original` is valid once `counter` is a
/// real one, and both stay as long as the counter lives.
struct Slot {
    counter: AtomicPtr<Counter>,
    original: AtomicUsize,
}

const ROWS: usize = 32;
const COLUMNS: usize = 16;
const SLOTS: usize = ROWS * COLUMNS;
/// How many slots are looked at for a pair.
const PROBES: usize = 24;
const RESERVED: *mut Counter = 1 as *mut Counter;

static SLOT: [Slot; SLOTS] =
    [const { Slot { counter: AtomicPtr::new(null_mut()), original: AtomicUsize::new(0) } }; SLOTS];
/// Address of the kernel's function that ends chained bios.
static CHAIN: AtomicUsize = AtomicUsize::new(0);
/// Chained bios that a work item will end.
static CHAINED: BioList = BioList::new();
/// Counters whose tracker is gone, while some of their writes are not over.
static RETIRED: AtomicPtr<Counter> = AtomicPtr::new(null_mut());

macro_rules! row {
    ($($row:literal)*) => { [$( row!(@ $row, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) ),*] };
    (@ $row:literal, $($column:literal)*) => { [$( ended::<{ $row * COLUMNS + $column }> as EndIo ),*] };
}
static END: [[EndIo; COLUMNS]; ROWS] =
    row!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

/// For a write that found no slot.
struct Ticket {
    original: Option<EndIo>,
    private: *mut c_void,
    counter: *const Counter,
}

/// Finds out what the kernel's own end functions are. Once, before anything is counted.
pub fn prepare() {
    // SAFETY: only looks at a bio of its own.
    let chain = unsafe { ffi::blksnap_chain_end_io() };
    CHAIN.store(chain.map_or(0, |function| function as usize), Ordering::Relaxed);
}

impl Counter {
    pub fn new() -> Result<KBox<Self>> {
        // SAFETY: no preconditions.
        let per_cpu = unsafe { ffi::blksnap_counter_alloc() };
        if per_cpu.is_null() {
            return Err(ENOMEM);
        }
        Ok(KBox::new(Self { per_cpu, next_retired: AtomicPtr::new(null_mut()) }, GFP_KERNEL)?)
    }

    /// Writes that have begun and are not over. Exact while nothing begins.
    pub fn pending(&self) -> u64 {
        // SAFETY: allocated as long as `self`.
        unsafe { ffi::blksnap_counter_sum(self.per_cpu) }
    }

    /// Counts a write that is about to pass. `false`: there is no memory; nothing was done. Never sleeps with
    /// `may_sleep` unset.
    pub fn begin(&self, bio: *mut bio, may_sleep: bool) -> bool {
        // SAFETY: the caller owns the bio until it passes.
        let original = unsafe { (*bio).bi_end_io };
        match self.slot(original.map_or(0, |function| function as usize)) {
            // SAFETY: as above.
            Some(slot) => unsafe { (*bio).bi_end_io = Some(END[slot / COLUMNS][slot % COLUMNS]) },
            None => {
                // SAFETY: as above.
                let private = unsafe { (*bio).bi_private };
                let flags = if may_sleep { GFP_KERNEL } else { GFP_NOWAIT };
                let _no_io = crate::kernel_memory::NoIo::begin();
                let Ok(ticket) = KBox::new(Ticket { original, private, counter: self }, flags | __GFP_NOWARN) else {
                    return false;
                };
                // SAFETY: as above.
                unsafe {
                    (*bio).bi_private = KBox::into_raw(ticket).cast();
                    (*bio).bi_end_io = Some(ended_with_ticket);
                }
            }
        }
        // SAFETY: allocated as long as `self`.
        unsafe { ffi::blksnap_counter_add(self.per_cpu, 1) };
        true
    }

    fn slot(&self, original: usize) -> Option<usize> {
        let this = core::ptr::from_ref(self).cast_mut();
        let start = (original ^ (this as usize >> 4)).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> 32;
        for probe in 0..PROBES {
            let at = start.wrapping_add(probe) % SLOTS;
            let slot = &SLOT[at];
            let owner = slot.counter.load(Ordering::Acquire);
            if owner == this && slot.original.load(Ordering::Relaxed) == original {
                return Some(at);
            }
            if owner.is_null()
                && slot.counter.compare_exchange(owner, RESERVED, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                slot.original.store(original, Ordering::Relaxed);
                slot.counter.store(this, Ordering::Release);
                return Some(at);
            }
        }
        None
    }

    fn end(&self) {
        // SAFETY: a counter lives until all its writes are over.
        unsafe { ffi::blksnap_counter_add(self.per_cpu, u64::MAX) };
    }

    /// Gives up a counter with which nothing begins any more. It is freed now or, when writes are not over, later.
    pub fn retire(counter: KBox<Self>) {
        let counter = KBox::into_raw(counter);
        // SAFETY: just given up by its only owner.
        let next = unsafe { &(*counter).next_retired };
        let mut head = RETIRED.load(Ordering::Relaxed);
        loop {
            next.store(head, Ordering::Relaxed);
            match RETIRED.compare_exchange(head, counter, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        sweep();
    }
}

/// Frees retired counters whose writes are over. True: none is left. Under the filter's lock or at unload.
pub fn sweep() -> bool {
    let mut at = RETIRED.swap(null_mut(), Ordering::Acquire);
    let mut none_left = true;
    while !at.is_null() {
        // SAFETY: taken off the list, so it is ours.
        let counter = unsafe { KBox::from_raw(at) };
        at = counter.next_retired.load(Ordering::Relaxed);
        if counter.pending() == 0 {
            for slot in SLOT.iter().filter(|slot| slot.counter.load(Ordering::Relaxed) == core::ptr::from_ref(&*counter).cast_mut()) {
                slot.counter.store(null_mut(), Ordering::Release);
            }
            // SAFETY: from `new`, and nobody counts with it any more.
            unsafe { ffi::blksnap_counter_free(counter.per_cpu) };
        } else {
            none_left = false;
            let back = KBox::into_raw(counter);
            // SAFETY: ours.
            unsafe { (*back).next_retired.store(RETIRED.load(Ordering::Relaxed), Ordering::Relaxed) };
            RETIRED.store(back, Ordering::Release);
        }
    }
    none_left
}

unsafe extern "C" fn ended<const AT: usize>(bio: *mut bio) {
    let slot = &SLOT[AT];
    // SAFETY: the bio counts with the slot's counter, which therefore lives.
    let counter = unsafe { &*slot.counter.load(Ordering::Acquire) };
    let original = slot.original.load(Ordering::Relaxed);
    // SAFETY: `original` is what was in `bi_end_io` when the write began: null or a function of this type.
    unsafe { finish(bio, core::mem::transmute::<usize, Option<EndIo>>(original), counter) };
}

unsafe extern "C" fn ended_with_ticket(bio: *mut bio) {
    // SAFETY: put there by `begin`, and a bio ends once.
    let ticket = unsafe { KBox::from_raw((*bio).bi_private.cast::<Ticket>()) };
    // SAFETY: the bio is ours until we call the original function; the counter lives as long as the write.
    unsafe {
        (*bio).bi_private = ticket.private;
        finish(bio, ticket.original, &*ticket.counter);
    }
}

/// # Safety
///
/// `bio` just ended; `original` was its end function.
unsafe fn finish(bio: *mut bio, original: Option<EndIo>, counter: &Counter) {
    // SAFETY: by the caller's promise.
    unsafe { (*bio).bi_end_io = original };
    counter.end();
    let Some(original) = original else { return };
    if original as usize == CHAIN.load(Ordering::Relaxed) {
        if CHAINED.push(bio) {
            work::end_chains();
        }
        return;
    }
    // SAFETY: the owner's function gets its bio as it expects it.
    unsafe { original(bio) };
}

/// Ends the chained bios that have come together. In a work item.
pub fn end_chained() {
    for bio in CHAINED.take_all() {
        // SAFETY: `finish` restored the function and gave us the bio.
        if let Some(original) = unsafe { (*bio).bi_end_io } {
            // SAFETY: as in `finish`.
            unsafe { original(bio) };
        }
    }
}
