// SPDX-License-Identifier: GPL-2.0
//! The filter that records what changes on a block device, and that holds writes back while a snapshot needs it.
//!
//! # What the write path does
//!
//! ```text
//! DIVERT ──────────────▶ hold it (a TAKE is going on)
//! TAKEN, not preserved ▶ hold it for the worker, which preserves what it overwrites
//! else                 ▶ count it, mark it, let it pass
//! ```
//!
//! All that is atomics, with preemption off, which also is the read side of the RCU that guards `active` and `cow`.
//! Counting comes before marking and both before passing, so a TAKE that set `DIVERT`, waited for a grace period and
//! then saw no counted write knows that every earlier write is marked and over.
//!
//! # Locks
//!
//! Attaching, commands, snapshots: all under the filter's lock (`filter::STATE`). `Tracker::maps` comes inside it and is
//! taken alone by the worker, for image writes.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use kernel::{
    bindings::{self, bio, block_device},
    impl_has_work, new_mutex, new_work,
    prelude::*,
    sync::{rcu, Arc, Mutex},
    workqueue::{Work, WorkItem},
};

use crate::cow::Cow;
use crate::filter::{self, Filter};
use crate::in_flight::Counter;
use crate::intervals::Intervals;
use crate::kernel_memory::KernelMemory;
use crate::lists::BioList;
use crate::map::{active::ActiveMap, history::History, view::Window};
use crate::sizes::{SectorRange, TrackingBlocks};
use crate::statistics::Statistics;
use crate::uapi::Uuid;
use crate::{ffi, parameters, work};

/// A TAKE holds new writes back.
pub const DIVERT: u32 = 1 << 0;
/// The worker lets held writes go although `DIVERT` is set: what is above this device waits for them.
pub const FLOW: u32 = 1 << 1;
/// An image exists: what it needs is preserved before it is overwritten.
pub const TAKEN: u32 = 1 << 2;
/// The device vanished.
pub const GONE: u32 = 1 << 3;

/// The map of the current interval, with its measure.
pub struct Active {
    pub map: ActiveMap<KernelMemory>,
    pub blocks: TrackingBlocks,
}

/// What is read and changed under a lock.
pub struct Maps {
    pub history: History<KernelMemory>,
    pub intervals: Intervals<KernelMemory>,
    pub window: Window,
    pub generation: Uuid,
    pub blocks: TrackingBlocks,
    pub capacity_sectors: u64,
    /// The next TAKE begins a new generation, because writes may have been missed.
    pub invalid: bool,
}

/// Tracking of one block device.
#[pin_data(PinnedDrop)]
pub struct Tracker {
    filter: *mut Filter,
    bdev: *mut block_device,
    state: AtomicU32,
    /// Never null. Replaced at TAKE, under RCU.
    active: AtomicPtr<Active>,
    /// From `Arc::into_raw`, or null. Under RCU.
    cow: AtomicPtr<Cow>,
    held: BioList,
    counter: *mut Counter,
    pub statistics: Statistics,
    /// When the held bio that came first since the worker last looked was held.
    held_since_ns: AtomicU64,
    #[pin]
    pub maps: Mutex<Maps>,
    #[pin]
    work: Work<Tracker>,
}

impl_has_work! {
    impl HasWork<Self> for Tracker { self.work }
}

// SAFETY: the raw pointers are to things that live as long as the tracker and are used as their own rules say.
unsafe impl Send for Tracker {}
// SAFETY: everything that changes is atomic or behind a lock.
unsafe impl Sync for Tracker {}

/// A random id, never all zeroes.
pub fn random_uuid() -> Uuid {
    let mut id = Uuid::default();
    // SAFETY: writes 16 bytes.
    unsafe { bindings::generate_random_uuid(id.bytes.as_mut_ptr()) };
    id
}

impl Active {
    fn new(blocks: TrackingBlocks) -> Result<KBox<Self>> {
        let map = ActiveMap::new(KernelMemory, blocks.count).map_err(|_| ENOMEM)?;
        Ok(KBox::new(Self { map, blocks }, GFP_KERNEL)?)
    }
}

impl Maps {
    fn new(capacity_sectors: u64) -> Result<Self> {
        let blocks = TrackingBlocks::new(capacity_sectors, parameters::tracking_limits());
        let generation = random_uuid();
        Ok(Self {
            history: History::new(KernelMemory, blocks.count).map_err(|_| ENOMEM)?,
            intervals: Intervals::new(KernelMemory, random_uuid()).map_err(|_| ENOMEM)?,
            window: Window::new(generation),
            generation,
            blocks,
            capacity_sectors,
            invalid: false,
        })
    }

    /// The interval that the last TAKE ended.
    pub fn number(&self) -> u64 {
        self.intervals.newest()
    }
}

impl Tracker {
    /// Begins to track `filter`'s device. No write is seen before the filter is in the table.
    pub fn new(filter: *mut Filter) -> Result<Arc<Self>> {
        // SAFETY: being attached, under the filter's lock.
        let bdev = unsafe { (*filter).bdev };
        // SAFETY: the filter holds a reference on its device.
        let capacity_sectors = unsafe { (*bdev).bd_nr_sectors };
        let maps = Maps::new(capacity_sectors)?;
        let active = KBox::into_raw(Active::new(maps.blocks)?);
        let counter = KBox::into_raw(Counter::new()?);
        let statistics = Statistics::new()?;
        // An allocation failure of the Arc leaks these; it is that of some hundred bytes with GFP_KERNEL.
        Arc::pin_init(
            pin_init!(Self {
                filter,
                bdev,
                state: AtomicU32::new(0),
                active: AtomicPtr::new(active),
                cow: AtomicPtr::new(null_mut()),
                held: BioList::new(),
                counter,
                statistics,
                held_since_ns: AtomicU64::new(0),
                maps <- new_mutex!(maps),
                work <- new_work!("blksnap::Tracker"),
            }),
            GFP_KERNEL,
        )
    }

    pub fn bdev(&self) -> *mut block_device {
        self.bdev
    }

    pub fn capacity_sectors(&self) -> u64 {
        // SAFETY: the filter holds a reference on its device.
        unsafe { (*self.bdev).bd_nr_sectors }
    }

    /// (major, minor)
    pub fn device_number(&self) -> (u32, u32) {
        // SAFETY: as above.
        let number = unsafe { (*self.bdev).bd_dev };
        (number >> 20, number & 0xf_ffff)
    }

    pub fn is_gone(&self) -> bool {
        self.state.load(Ordering::Acquire) & GONE != 0
    }

    pub fn set_gone(&self) {
        self.state.fetch_or(GONE, Ordering::AcqRel);
    }

    fn counter(&self) -> &Counter {
        // SAFETY: retired only when the tracker is dropped.
        unsafe { &*self.counter }
    }

    /// Writes that passed and are not over.
    pub fn pending(&self) -> u64 {
        self.counter().pending()
    }

    /// The write path. With preemption off; true: the bio is held.
    fn submit(self: &Arc<Self>, bio: *mut bio, sectors: SectorRange) -> bool {
        let state = self.state.load(Ordering::Acquire);
        if state & (DIVERT | TAKEN) != 0 && self.must_hold(state, sectors) {
            self.hold(bio);
            return true;
        }
        if !self.pass(bio, sectors, false) {
            self.hold(bio);
            return true;
        }
        false
    }

    #[cold]
    fn must_hold(&self, state: u32, sectors: SectorRange) -> bool {
        if state & DIVERT != 0 {
            return true;
        }
        // SAFETY: under RCU, see `set_cow` and `clear_cow`.
        match unsafe { self.cow.load(Ordering::Acquire).as_ref() } {
            Some(cow) => !cow.may_pass(sectors),
            None => false,
        }
    }

    /// Holds a bio back and wakes the worker.
    #[cold]
    fn hold(self: &Arc<Self>, bio: *mut bio) {
        // SAFETY: the bio is ours now.
        unsafe { ffi::blksnap_bio_deferred(bio) };
        if self.held.push(bio) {
            self.held_since_ns.store(now_ns(), Ordering::Relaxed);
            self.wake();
        }
    }

    /// Has the worker look at the held bios.
    pub fn wake(self: &Arc<Self>) {
        // Already queued is as good.
        let _ = work::writes().enqueue(self.clone());
    }

    /// Counts and marks a write that is about to pass. False: no memory to count it.
    fn pass(&self, bio: *mut bio, sectors: SectorRange, may_sleep: bool) -> bool {
        if !self.counter().begin(bio, may_sleep) {
            return false;
        }
        // The hook's caller has preemption off, which is a read side already.
        let _rcu = may_sleep.then(rcu::read_lock);
        // SAFETY: never null, and not freed before the grace period of this read side is over.
        let active = unsafe { &*self.active.load(Ordering::Acquire) };
        let newly = active.map.mark(active.blocks.touched(sectors));
        self.statistics.write(sectors.len(), newly);
        true
    }

    /// Marks sectors as changed without a write: image writes and CBTDIRTY. They count for the past too.
    pub fn mark_in_both(&self, maps: &mut Maps, sectors: SectorRange) {
        // Before the first TAKE there is no past interval; it then counts for the first one at once.
        let number = maps.number().max(1);
        maps.history.mark(maps.blocks.touched(sectors), number);
        let _rcu = rcu::read_lock();
        // SAFETY: as in `pass`.
        let active = unsafe { &*self.active.load(Ordering::Acquire) };
        active.map.mark(active.blocks.touched(sectors));
    }

    /// Lets a held bio go, to what is below this filter.
    pub fn release(&self, bio: *mut bio) {
        let sectors = self.sectors_of(bio);
        self.pass(bio, sectors, true);
        filter::resubmit(self.filter, bio);
    }

    /// The sectors of this device that a held bio touches.
    pub fn sectors_of(&self, bio: *mut bio) -> SectorRange {
        // SAFETY: held bios are ours and unchanged since the hook saw them; the devices are referenced.
        let (first, count, start, length) = unsafe {
            let iter = (*bio).bi_iter;
            let remapped = (*bio).bi_flags & (1 << bindings::BIO_REMAPPED) != 0;
            let shift = if remapped { 0 } else { (*(*bio).bi_bdev).bd_start_sect };
            let count = u64::from(iter.bi_size >> 9);
            (iter.bi_sector.saturating_add(shift), count, (*self.bdev).bd_start_sect, (*self.bdev).bd_nr_sectors)
        };
        let from = first.max(start);
        let end = first.saturating_add(count).min(start.saturating_add(length));
        SectorRange { first: from - start, end: end.max(from) - start }
    }

    /// Sets and clears bits of the state. A write path that is running may not have seen it yet.
    pub fn change_state(&self, set: u32, clear: u32) {
        let mut now = self.state.load(Ordering::Relaxed);
        while let Err(changed) =
            self.state.compare_exchange(now, (now | set) & !clear, Ordering::SeqCst, Ordering::Relaxed)
        {
            now = changed;
        }
    }

    /// The copy-on-write engine begins: seen by the write path from the next `change_state(TAKEN, …)` on.
    pub fn set_cow(&self, cow: Arc<Cow>) {
        self.cow.store(Arc::into_raw(cow).cast_mut(), Ordering::Release);
    }

    /// The engine of a taken snapshot.
    pub fn cow(&self) -> Option<&Cow> {
        // SAFETY: cleared under the filter's lock after the worker has ended; callers are the worker or hold the lock.
        unsafe { self.cow.load(Ordering::Acquire).as_ref() }
    }

    /// Ends copy on write. Sleeps until no write path and no worker uses it any more; held bios have gone on.
    pub fn clear_cow(self: &Arc<Self>) {
        self.change_state(0, TAKEN);
        filter::wait_for_write_paths();
        self.wake();
        self.settle();
        let cow = self.cow.swap(null_mut(), Ordering::AcqRel);
        filter::wait_for_write_paths();
        if !cow.is_null() {
            // SAFETY: from `set_cow`; nobody can find it any more.
            drop(unsafe { Arc::from_raw(cow) });
        }
    }

    /// Waits until the worker has ended what it was woken for.
    pub fn settle(&self) {
        // SAFETY: the work belongs to a live tracker.
        unsafe { bindings::flush_work(Work::raw_get(&self.work)) };
    }

    /// The current map, for memory statistics. Under the filter's lock.
    pub fn active(&self) -> &Active {
        // SAFETY: replaced only under the filter's lock.
        unsafe { &*self.active.load(Ordering::Acquire) }
    }

    /// Writes may have been missed: what is known up to now is not to be compared with anything.
    pub fn invalidate(&self) {
        let mut maps = self.maps.lock();
        maps.invalid = true;
        maps.generation = random_uuid();
        maps.window = Window::new(maps.generation);
    }

    /// A fresh map for the interval that follows; made before a TAKE, because it may fail.
    pub fn prepare_switch(&self) -> Result<Switch> {
        let maps = self.maps.lock();
        let capacity_sectors = self.capacity_sectors();
        let renew = maps.invalid || maps.capacity_sectors != capacity_sectors;
        let blocks = maps.blocks;
        drop(maps);
        let fresh = if renew { Some(Maps::new(capacity_sectors)?) } else { None };
        let blocks = fresh.as_ref().map_or(blocks, |maps| maps.blocks);
        Ok(Switch { active: Active::new(blocks)?, fresh })
    }

    /// Begins the next interval; the map of the one that ended comes back. All earlier writes are over and new ones
    /// are held.
    pub fn switch(&self, active: KBox<Active>) -> KBox<Active> {
        let ended = self.active.swap(KBox::into_raw(active), Ordering::AcqRel);
        // SAFETY: it was the tracker's own box.
        unsafe { KBox::from_raw(ended) }
    }

    /// Adds what changed in the interval that ended to the readable map.
    pub fn fold(&self, ended: KBox<Active>, fresh: Option<Maps>, interval: Uuid) {
        let mut guard = self.maps.lock();
        let maps = &mut *guard;
        match fresh {
            // A new generation: its first interval is the one that just ended, of which nothing is known.
            Some(fresh) => *maps = fresh,
            None => {
                let number = maps.number() + 1;
                maps.history.fold(&ended.map, number);
            }
        }
        let number = maps.intervals.push(interval);
        maps.window.advance(number, random_uuid);
    }
}

/// What a TAKE has made beforehand for one device.
pub struct Switch {
    pub active: KBox<Active>,
    pub fresh: Option<Maps>,
}

impl WorkItem for Tracker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _no_io = crate::kernel_memory::NoIo::begin();
        let state = this.state.load(Ordering::Acquire);
        if state & DIVERT != 0 && state & FLOW == 0 {
            // Whoever ends the TAKE wakes us.
            return;
        }
        let since = this.held_since_ns.swap(0, Ordering::Relaxed);
        let held = this.held.take_all();
        let mut count = 0;
        let held = held.inspect(|_| count += 1);
        match this.cow() {
            Some(cow) if state & TAKEN != 0 => cow.work(&this, held),
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
}

#[pinned_drop]
impl PinnedDrop for Tracker {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: the tracker's own box; nobody is left who could look.
        drop(unsafe { KBox::from_raw(self.active.load(Ordering::Relaxed)) });
        // SAFETY: the tracker's own box; nothing passes any more.
        Counter::retire(unsafe { KBox::from_raw(self.counter) });
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
unsafe fn of<'a>(filter: *mut Filter) -> &'a Arc<Tracker> {
    // SAFETY: `attach` put a box with the Arc there.
    unsafe { &*(*filter).private.cast::<Arc<Tracker>>() }
}

pub unsafe extern "C" fn attach(filter: *mut Filter, _opt: u64, _optlen: u32) -> c_int {
    let boxed = Tracker::new(filter).and_then(|tracker| Ok(KBox::new(tracker, GFP_KERNEL)?));
    match boxed {
        Ok(tracker) => {
            // SAFETY: being attached: the filter is ours.
            unsafe { (*filter).private = KBox::into_raw(tracker).cast() };
            0
        }
        Err(error) => error.to_errno(),
    }
}

pub unsafe extern "C" fn detach(filter: *mut Filter) {
    // SAFETY: from `attach`; the filter is out of the table.
    let tracker = unsafe { KBox::from_raw((*filter).private.cast::<Arc<Tracker>>()) };
    tracker.change_state(0, DIVERT | FLOW | TAKEN);
    tracker.wake();
    tracker.settle();
}

pub unsafe extern "C" fn may_detach(filter: *mut Filter) -> c_int {
    // SAFETY: by the contract of the filter's operations.
    let tracker = unsafe { of(filter) };
    if crate::snapshot::holds(tracker) {
        EBUSY.to_errno()
    } else {
        0
    }
}

pub unsafe extern "C" fn gone(filter: *mut Filter) {
    // SAFETY: by the contract of the filter's operations.
    unsafe { of(filter) }.set_gone();
}

pub unsafe extern "C" fn ctl(filter: *mut Filter, command: u32, opt: u64, optlen: *mut u32) -> c_int {
    // SAFETY: by the contract of the filter's operations.
    let (tracker, length) = unsafe { (of(filter), &mut *optlen) };
    match crate::tracker_call::handle(tracker, command, opt, length) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

pub unsafe extern "C" fn submit_bio(filter: *mut Filter, bio: *mut bio, first: u64, count: u64) -> bool {
    if count == 0 {
        // A flush changes nothing.
        return false;
    }
    // SAFETY: by the contract of the filter's operations.
    unsafe { of(filter) }.submit(bio, SectorRange::new(first, count))
}
