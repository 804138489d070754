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
//! The kernel ends chained bios in a loop, which it recognises by their end function; that is only a mark, nobody may call
//! it. Ended from within ours they would recurse, as deep as the chain is long. So a work item ends them once more, as what
//! they were before.
//!
//! # Whether a bio is counted
//!
//! [`Counter::has`] follows the functions that stand in for each other, from the bio's own to the original one. Somebody
//! else's stand-in (another module's) ends the search; the bio then counts twice, which only delays a TAKE.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use kernel::{
    bindings::{self, bio},
    prelude::*,
};

use crate::{bio as bios, ffi, lists::BioList, work};

type EndIo = unsafe extern "C" fn(*mut bio);

/// `struct blksnap_counts` of `shim.c`: what each processor has counted.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Writes that passed.
    pub begun: u64,
    /// Of those, how many are over.
    pub ended: u64,
    /// What they cover.
    pub sectors: u64,
}

/// The writes of one tracker. Freed by [`Counter::retire`], when all of them are over.
pub struct Counter {
    per_cpu: *mut Counts,
    /// The slot that was used last: a device's writes mostly come from one place. Always one of this counter.
    recent: AtomicPtr<Slot>,
    next_retired: AtomicPtr<Counter>,
}

// SAFETY: the per-CPU memory is only used through functions that any context may call.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

/// A place that stands for (counter, original end function).
///
/// `counter` is null while it is free, `RESERVED` while it is being filled. `original` is valid once `counter` is a
/// real one, and both stay as long as the counter lives. `end` is the function that stands for them.
struct Slot {
    counter: AtomicPtr<Counter>,
    original: AtomicUsize,
    end: EndIo,
}

const ROWS: usize = 32;
const COLUMNS: usize = 16;
const SLOTS: usize = ROWS * COLUMNS;
/// How many slots are looked at for a pair.
const PROBES: usize = 24;
const RESERVED: *mut Counter = 1 as *mut Counter;

macro_rules! row {
    ($($row:literal)*) => { [$( row!(@ $row, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) ),*] };
    (@ $row:literal, $($column:literal)*) => { [$( free_slot(ended::<$row, $column>) ),*] };
}
static SLOT: [[Slot; COLUMNS]; ROWS] =
    row!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

const fn free_slot(end: EndIo) -> Slot {
    Slot { counter: AtomicPtr::new(null_mut()), original: AtomicUsize::new(0), end }
}

/// Never used; so that `Counter::recent` always points to a slot. No function has its address.
static NO_SLOT: Slot =
    Slot { counter: AtomicPtr::new(null_mut()), original: AtomicUsize::new(usize::MAX), end: ended::<0, 0> };

/// Address of the kernel's function that ends chained bios.
static CHAIN: AtomicUsize = AtomicUsize::new(0);
/// Chained bios that a work item will end.
static CHAINED: BioList = BioList::new();
/// Counters whose tracker is gone, while some of their writes are not over.
static RETIRED: AtomicPtr<Counter> = AtomicPtr::new(null_mut());

/// For a write that found no slot.
struct Ticket {
    original: Option<EndIo>,
    private: *mut c_void,
    counter: *const Counter,
}

/// Finds out what the kernel's own end functions are. Once, before anything is counted.
pub fn prepare() {
    CHAIN.store(bios::end_of_chains().map_or(0, |function| function as usize), Ordering::Relaxed);
}

fn address(function: Option<EndIo>) -> usize {
    function.map_or(0, |function| function as usize)
}

impl Counter {
    pub fn new() -> Result<KBox<Self>> {
        let room = KBox::<Self>::new_uninit(GFP_KERNEL)?;
        // SAFETY: no preconditions.
        let per_cpu = unsafe { ffi::blksnap_counts_alloc() };
        if per_cpu.is_null() {
            return Err(ENOMEM);
        }
        let recent = AtomicPtr::new(core::ptr::from_ref(&NO_SLOT).cast_mut());
        Ok(KBox::write(room, Self { per_cpu, recent, next_retired: AtomicPtr::new(null_mut()) }))
    }

    /// All that was counted.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        // SAFETY: allocated as long as `self`.
        unsafe { ffi::blksnap_counts_sum(self.per_cpu, &mut sum) };
        sum
    }

    /// Writes that have begun and are not over. Exact while nothing begins.
    pub fn pending(&self) -> u64 {
        let counts = self.counts();
        counts.begun.wrapping_sub(counts.ended)
    }

    /// Counts a write that is about to pass, if its end function is the one that came last; else nothing is done.
    #[inline]
    pub fn begin_like_the_last(&self, bio: *mut bio, sectors: u64) -> bool {
        // SAFETY: always points to a static.
        let slot = unsafe { &*self.recent.load(Ordering::Acquire) };
        // SAFETY: the caller owns the bio until it passes.
        unsafe {
            if address((*bio).bi_end_io) != slot.original.load(Ordering::Relaxed) {
                return false;
            }
            (*bio).bi_end_io = Some(slot.end);
        }
        self.count(sectors);
        true
    }

    /// Counts a write that is about to pass. `false`: there is no memory; nothing was done. Never sleeps with
    /// `may_sleep` unset.
    pub fn begin(&self, bio: *mut bio, sectors: u64, may_sleep: bool) -> bool {
        // SAFETY: the caller owns the bio until it passes.
        let original = unsafe { (*bio).bi_end_io };
        match self.slot(address(original)) {
            Some(slot) => {
                self.recent.store(core::ptr::from_ref(slot).cast_mut(), Ordering::Release);
                // SAFETY: as above.
                unsafe { (*bio).bi_end_io = Some(slot.end) };
            }
            None => {
                // SAFETY: as above.
                let private = unsafe { (*bio).bi_private };
                // Whoever may sleep runs with `NoIo`.
                let flags = if may_sleep { GFP_KERNEL } else { GFP_NOWAIT };
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
        self.count(sectors);
        true
    }

    #[inline]
    fn count(&self, sectors: u64) {
        // SAFETY: allocated as long as `self`; any context. One call, because this is the write path.
        unsafe { ffi::blksnap_count_begin(self.per_cpu, sectors) };
    }

    fn slot(&self, original: usize) -> Option<&'static Slot> {
        let this = core::ptr::from_ref(self).cast_mut();
        let start = (original ^ (this as usize >> 4)).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> 32;
        for probe in 0..PROBES {
            let at = start.wrapping_add(probe) % SLOTS;
            let slot = &SLOT[at / COLUMNS][at % COLUMNS];
            let owner = slot.counter.load(Ordering::Acquire);
            if owner == this && slot.original.load(Ordering::Relaxed) == original {
                return Some(slot);
            }
            if owner.is_null()
                && slot.counter.compare_exchange(owner, RESERVED, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                slot.original.store(original, Ordering::Relaxed);
                slot.counter.store(this, Ordering::Release);
                return Some(slot);
            }
        }
        None
    }

    /// Whether a bio that is on its way was counted here. Any context.
    pub fn has(&self, bio: *mut bio) -> bool {
        // SAFETY: the caller holds a live bio.
        let (mut end, mut private) = unsafe { (address((*bio).bi_end_io), (*bio).bi_private) };
        // Each stand-in is of another counter.
        for _ in 0..SLOTS {
            let counter: *const Counter;
            if end == ended_with_ticket as EndIo as usize {
                // SAFETY: put there by `begin`; a bio that is on its way keeps it.
                let ticket = unsafe { &*private.cast::<Ticket>() };
                (end, private, counter) = (address(ticket.original), ticket.private, ticket.counter);
            } else if let Some(slot) = SLOT.iter().flatten().find(|slot| slot.end as usize == end) {
                (end, counter) = (slot.original.load(Ordering::Relaxed), slot.counter.load(Ordering::Acquire));
            } else {
                return false;
            }
            if core::ptr::eq(counter, self) {
                return true;
            }
        }
        false
    }

    fn end(&self) {
        // SAFETY: a counter lives until all its writes are over.
        unsafe { ffi::blksnap_count_end(self.per_cpu) };
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
            let mine = |slot: &&Slot| core::ptr::eq(slot.counter.load(Ordering::Relaxed), &*counter);
            for slot in SLOT.iter().flatten().filter(mine) {
                slot.counter.store(null_mut(), Ordering::Release);
            }
            // SAFETY: from `new`, and nobody counts with it any more.
            unsafe { bindings::free_percpu(counter.per_cpu.cast()) };
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

unsafe extern "C" fn ended<const ROW: usize, const COLUMN: usize>(bio: *mut bio) {
    // SAFETY: `begin` put the slot's function into the bio.
    unsafe { ended_in_slot(bio, &SLOT[ROW][COLUMN]) };
}

/// # Safety
///
/// `bio` just ended, and counts with the slot's counter.
#[inline(never)]
unsafe fn ended_in_slot(bio: *mut bio, slot: &Slot) {
    // SAFETY: the counter lives as long as the write counts with it.
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
#[inline(always)]
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
        // SAFETY: `finish` restored the function and gave us the bio. What `bio_endio` does once a bio it has done and
        // noted; the second time it comes to the function.
        unsafe { bindings::bio_endio(bio) };
    }
}
