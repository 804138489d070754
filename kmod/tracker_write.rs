// SPDX-License-Identifier: GPL-2.0
//! The write path of a tracker.
//!
//! ```text
//! DIVERT ──────────────▶ hold it (a TAKE is going on)
//! TAKEN, not preserved ▶ preserve what it overwrites: in the submitter's place if that may wait, else hold it for the worker
//! else                 ▶ count it, mark it, let it pass
//! ```
//!
//! All that is atomics, with preemption off, which also is the read side of the RCU that guards `active` and `cow`.
//! Counting comes before marking and both before passing, so a TAKE that set `DIVERT`, waited for a grace period and
//! then saw no counted write knows that every earlier write is marked and over.
//!
//! # In the submitter's place
//!
//! Handing a write to the worker and back costs two context switches, more than all else that preserving it takes in
//! instructions. `submit_bio_noacct` may sleep, so its caller may wait for the copy as well; it does unless
//!
//! - it submits from within a driver (`current->bio_list`): what it waits for would be queued behind it;
//! - it is reclaiming memory: there the stack is deep, and memory may be freed only when it goes on;
//! - it asked not to wait, or it is a write to another difference storage: so this never nests;
//! - the storage is a file: the caller may hold locks or an open transaction of a file system, and must not enter one;
//! - others are held already, or the worker is at it: they would only wait for each other.
//!
//! What is done is the same, under the same lock (`Cow::batch`). Whoever ends the engine waits for `Tracker::here`.

use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;

use kernel::{
    bindings::{self, bio},
    prelude::*,
    sync::{Arc, rcu},
    time::{Delta, delay::fsleep},
    workqueue::WorkItem,
};

use crate::cow::Cow;
use crate::filter::Filter;
use crate::filter_submit::{self, HELD, PASS, Verdict};
use crate::kernel_memory::NoIo;
use crate::sizes::SectorRange;
use crate::tracker::{DIVERT, FLOW, TAKEN, Tracker};
use crate::{bio as bios, ffi, work};

impl Tracker {
    /// With preemption off.
    #[inline]
    fn submit(self: &Arc<Self>, bio: *mut bio, first: u64, count: u64) -> Verdict {
        // In any state that is not the usual one, or when the bio is not like the last one.
        if count == 0 || self.state.load(Ordering::Acquire) != 0 || !self.counter().begin_like_the_last(bio, count) {
            return self.submit_unusual(bio, SectorRange::new(first, count));
        }
        self.mark(first, count);
        PASS
    }

    #[inline(never)]
    fn submit_unusual(self: &Arc<Self>, bio: *mut bio, sectors: SectorRange) -> Verdict {
        if sectors.is_empty() {
            // A flush changes nothing.
            return PASS;
        }
        let state = self.state.load(Ordering::Acquire);
        if state & DIVERT != 0 {
            // One that passed already comes again when its driver had put it off (a suspended dm device); TAKE waits for it.
            return if self.counter().has(bio) { PASS } else { self.hold(bio) };
        }
        if state & TAKEN != 0 {
            // SAFETY: under RCU, see `set_cow` and `clear_cow`.
            if let Some(cow) = unsafe { self.cow.load(Ordering::Acquire).as_ref() } {
                if !cow.may_pass(sectors) {
                    return self.preserve_first(cow, bio);
                }
            }
        }
        if self.pass(bio, sectors, false) { PASS } else { self.hold(bio) }
    }

    /// A bio that came out of throttling. It is not known only if it went in before the tracker was attached.
    fn submit_throttled(self: &Arc<Self>, bio: *mut bio, sectors: SectorRange) -> Verdict {
        if self.counter().has(bio) {
            return PASS;
        }
        match self.submit_unusual(bio, sectors) {
            filter_submit::HERE => {
                // The dispatcher of throttled bios has others to submit.
                self.here.fetch_sub(1, Ordering::Release);
                self.hold(bio)
            }
            verdict => verdict,
        }
    }

    /// A write that must not pass before what it overwrites is preserved.
    fn preserve_first(self: &Arc<Self>, cow: &Cow, bio: *mut bio) -> Verdict {
        // SAFETY: the bio is being submitted by this task.
        let may_be_here = unsafe {
            cow.store.is_device()
                && self.held.is_empty()
                && !bios::must_not_wait(bio)
                && !bios::may_be_own(bio)
                && ffi::blksnap_may_wait_here()
        };
        if !may_be_here {
            return self.hold(bio);
        }
        self.here.fetch_add(1, Ordering::Relaxed);
        filter_submit::here(self.filter, bio)
    }

    /// Follows: in the task that submits the bio, which may sleep.
    fn handle(self: &Arc<Self>, bio: *mut bio) {
        let began_ns = now_ns();
        let _no_io = NoIo::begin();
        // SAFETY: ours until it is released.
        unsafe { bios::defer(bio) };
        // The engine stays while `here` counts us; if it is being ended, the worker lets the bio go.
        if self.cow().is_some_and(|cow| cow.handle(self, bio)) {
            self.statistics.delayed(1, now_ns().saturating_sub(began_ns));
        } else {
            self.hold(bio);
        }
    }

    /// Holds a bio back and wakes the worker.
    #[cold]
    fn hold(self: &Arc<Self>, bio: *mut bio) -> Verdict {
        // SAFETY: the bio is ours now.
        unsafe { bios::defer(bio) };
        if self.held.push(bio) {
            self.held_since_ns.store(now_ns(), Ordering::Relaxed);
            self.wake();
        }
        HELD
    }

    /// Has the worker look at the held bios.
    pub fn wake(self: &Arc<Self>) {
        // Already queued is as good.
        let _ = work::writes().enqueue(self.clone());
    }

    /// Counts and marks a write that is about to pass. False: no memory to count it.
    fn pass(&self, bio: *mut bio, sectors: SectorRange, may_sleep: bool) -> bool {
        if !self.counter().begin(bio, sectors.len(), may_sleep) {
            return false;
        }
        // The hook's caller has preemption off, which is a read side already.
        let _rcu = may_sleep.then(rcu::read_lock);
        self.mark(sectors.first, sectors.len());
        true
    }

    /// Marks sectors in the map of this interval; `count` is not zero. In a read side of RCU.
    #[inline]
    fn mark(&self, first: u64, count: u64) {
        // SAFETY: never null, and not freed before the grace period of this read side is over.
        let active = unsafe { &*self.active.load(Ordering::Acquire) };
        let block = |sector: u64| sector.wrapping_shr(active.sector_shift);
        if !active.map.mark_usual(block(first), block(first.wrapping_add(count).wrapping_sub(1))) {
            active.map.mark(active.blocks.touched(SectorRange::new(first, count)));
        }
    }

    /// Lets a held bio go, to what is below this filter. Never uncounted or unmarked: it rather waits for memory.
    pub fn release(&self, bio: *mut bio) {
        let sectors = self.sectors_of(bio);
        while !self.pass(bio, sectors, true) {
            fsleep(Delta::from_millis(1));
        }
        filter_submit::resubmit(self.filter, bio);
    }

    /// The sectors of this device that a held bio touches.
    pub fn sectors_of(&self, bio: *mut bio) -> SectorRange {
        // SAFETY: held bios are ours and unchanged since the hook saw them; the devices are referenced.
        let (first, count, start, length) = unsafe {
            let bdev = self.bdev();
            (bios::first_on_disk(bio), bios::sectors(bio), (*bdev).bd_start_sect, (*bdev).bd_nr_sectors)
        };
        let from = first.max(start);
        let end = first.saturating_add(count).min(start.saturating_add(length));
        SectorRange { first: from - start, end: end.max(from) - start }
    }
}

impl WorkItem for Tracker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _no_io = NoIo::begin();
        // Either we see that a TAKE began, or it sees that we are at work.
        this.releasing.store(true, Ordering::SeqCst);
        let state = this.state.load(Ordering::SeqCst);
        if state & DIVERT == 0 || state & FLOW != 0 {
            let_go(&this, state);
        }
        // Else whoever ends the TAKE wakes us.
        this.releasing.store(false, Ordering::SeqCst);
    }
}

fn let_go(this: &Arc<Tracker>, state: u32) {
    let since = this.held_since_ns.swap(0, Ordering::Relaxed);
    let held = this.held.take_all();
    let mut count = 0;
    let held = held.inspect(|_| count += 1);
    match this.cow() {
        Some(cow) if state & TAKEN != 0 => cow.work(this, held),
        cow => {
            held.for_each(|bio| this.release(bio));
            if let Some(cow) = cow {
                cow.end_image_writes();
            }
        }
    }
    if count != 0 && since != 0 {
        this.statistics.delayed(count, now_ns().saturating_sub(since));
    }
}

/// Nanoseconds since some moment, for durations.
pub fn now_ns() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bindings::ktime_get() as u64 }
}

/// The tracker of a filter of our own.
///
/// # Safety
///
/// `filter` is attached and of our type; the result is used while it stays attached.
#[inline]
unsafe fn of(filter: *mut Filter) -> ManuallyDrop<Arc<Tracker>> {
    // SAFETY: `attach` put it there.
    ManuallyDrop::new(unsafe { Arc::from_raw((*filter).private.cast::<Tracker>()) })
}

pub unsafe extern "C" fn attach(filter: *mut Filter, _opt: u64, _optlen: u32) -> c_int {
    // SAFETY: being attached: the filter is ours, and its device is open.
    let is_unfit = unsafe { ffi::blksnap_unfit_for_tracking((*filter).bdev) };
    if is_unfit {
        pr_warn!("a device with zones or DAX cannot be tracked: not all that changes it can be seen; take the volume on top of it\n");
        return EOPNOTSUPP.to_errno();
    }
    match Tracker::new(filter) {
        Ok(tracker) => {
            // SAFETY: as above.
            unsafe { (*filter).private = Arc::into_raw(tracker).cast_mut().cast() };
            0
        }
        Err(error) => error.to_errno(),
    }
}

pub unsafe extern "C" fn detach(filter: *mut Filter) {
    // SAFETY: by the contract of the filter's operations; it is out of the table.
    let tracker = ManuallyDrop::into_inner(unsafe { of(filter) });
    tracker.change_state(0, DIVERT | FLOW | TAKEN);
    tracker.wait_for_handlers();
    tracker.wake();
    tracker.settle();
}

pub unsafe extern "C" fn may_detach(filter: *mut Filter) -> c_int {
    // SAFETY: by the contract of the filter's operations.
    let tracker = unsafe { of(filter) };
    if crate::snapshot::holds(&tracker) { EBUSY.to_errno() } else { 0 }
}

pub unsafe extern "C" fn gone(filter: *mut Filter) {
    // SAFETY: by the contract of the filter's operations.
    unsafe { of(filter) }.set_gone();
}

pub unsafe extern "C" fn ctl(filter: *mut Filter, command: u32, opt: u64, optlen: *mut u32) -> c_int {
    // SAFETY: by the contract of the filter's operations.
    let (tracker, length) = unsafe { (of(filter), &mut *optlen) };
    match crate::tracker_call::handle(&tracker, command, opt, length) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

pub unsafe extern "C" fn submit_bio(filter: *mut Filter, bio: *mut bio, first: u64, count: u64) -> Verdict {
    // SAFETY: by the contract of the filter's operations.
    unsafe { of(filter) }.submit(bio, first, count)
}

pub unsafe extern "C" fn handle_bio(filter: *mut Filter, bio: *mut bio) {
    // SAFETY: `detach` and `clear_cow` wait until `here` is zero.
    let tracker = unsafe { of(filter) };
    tracker.handle(bio);
    // Nothing of the tracker or the filter may be touched afterwards.
    tracker.here.fetch_sub(1, Ordering::Release);
}

pub unsafe extern "C" fn submit_throttled(filter: *mut Filter, bio: *mut bio, first: u64, count: u64) -> Verdict {
    // SAFETY: by the contract of the filter's operations.
    unsafe { of(filter) }.submit_throttled(bio, SectorRange::new(first, count))
}

pub unsafe extern "C" fn missed(filter: *mut Filter) {
    // SAFETY: by the contract of the filter's operations.
    unsafe { of(filter) }.missed();
}

/// Whether the hook sees writes of this tracker's device now; if not, the tracker learns of it.
pub fn is_seen(tracker: &Tracker) -> Result<bool> {
    let seen = filter_submit::hook_sees(tracker.bdev())?;
    if !seen {
        tracker.missed();
    }
    Ok(seen)
}
