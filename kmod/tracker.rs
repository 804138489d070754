// SPDX-License-Identifier: GPL-2.0
//! The filter that records what changes on a block device, and that holds writes back while a snapshot needs it.
//!
//! This file has its state and how that changes; `tracker_write.rs` has the write path, `tracker_call.rs` the commands.
//!
//! # Locks
//!
//! Attaching, detaching and what concerns snapshots: under the filter's lock (`filter::STATE`). `Tracker::maps` comes
//! inside it, and is taken alone by commands and, for image writes, by the worker. Nothing waits for user space or for
//! I/O while it is held. `active` and `cow` are read under RCU, `active` also under `maps`.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use kernel::{
    bindings::{self, block_device},
    impl_has_work, new_mutex, new_work,
    prelude::*,
    sync::{Arc, ArcBorrow, Mutex, UniqueArc, rcu},
    time::{Delta, delay::fsleep, msecs_to_jiffies},
    workqueue::Work,
};

use crate::cow::Cow;
use crate::filter::{self, Filter};
use crate::in_flight::Counter;
use crate::intervals::Intervals;
use crate::kernel_memory::KernelMemory;
use crate::lists::BioList;
use crate::map::{active::ActiveMap, history::History, view::Window};
use crate::sizes::{SECTOR_SHIFT, SectorRange, TrackingBlocks};
use crate::statistics::Statistics;
use crate::uapi::Uuid;
use crate::{ffi, parameters};

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
    /// A block has 2 to this power sectors.
    pub sector_shift: u32,
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
    pub(crate) filter: *mut Filter,
    bdev: *mut block_device,
    pub(crate) state: AtomicU32,
    /// Never null. Replaced at TAKE, under `maps` and RCU.
    pub(crate) active: AtomicPtr<Active>,
    /// From `Arc::into_raw`, or null. Under RCU.
    pub(crate) cow: AtomicPtr<Cow>,
    pub(crate) held: BioList,
    counter: *mut Counter,
    pub statistics: Statistics,
    /// When the held bio that came first since the worker last looked was held.
    pub(crate) held_since_ns: AtomicU64,
    /// The worker is letting held writes go; it has looked at the state after it set this.
    pub(crate) releasing: AtomicBool,
    /// Writes that their submitters handle themselves.
    pub(crate) here: AtomicU32,
    /// No write is under way that began before the tracker was attached (see `earlier_writes_are_over`).
    earlier_are_over: AtomicBool,
    #[pin]
    pub maps: Mutex<Maps>,
    #[pin]
    pub(crate) work: Work<Tracker>,
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
        Ok(KBox::new(Self { map, blocks, sector_shift: blocks.shift - SECTOR_SHIFT }, GFP_KERNEL)?)
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
        // What can fail comes first: afterwards nobody would give back what became a raw pointer.
        let room = UniqueArc::<Self>::new_uninit(GFP_KERNEL)?;
        let maps = Maps::new(capacity_sectors)?;
        let active = Active::new(maps.blocks)?;
        let counter = KBox::into_raw(Counter::new()?);
        let active = KBox::into_raw(active);
        let Ok(tracker) = room.pin_init_with(pin_init!(Self {
            filter,
            bdev,
            state: AtomicU32::new(0),
            active: AtomicPtr::new(active),
            cow: AtomicPtr::new(null_mut()),
            held: BioList::new(),
            counter,
            statistics: Statistics::new(),
            held_since_ns: AtomicU64::new(0),
            releasing: AtomicBool::new(false),
            here: AtomicU32::new(0),
            earlier_are_over: AtomicBool::new(false),
            maps <- new_mutex!(maps),
            work <- new_work!("blksnap::Tracker"),
        }));
        Ok(tracker.into())
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

    #[inline]
    pub(crate) fn counter(&self) -> &Counter {
        // SAFETY: retired only when the tracker is dropped.
        unsafe { &*self.counter }
    }

    /// Writes that passed and are not over.
    pub fn pending(&self) -> u64 {
        self.counter().pending()
    }

    /// While new writes are held: whether all earlier ones are over.
    pub fn is_quiet(&self) -> bool {
        // First: what the worker lets go it counts before it says that it has done.
        !self.releasing.load(Ordering::SeqCst) && self.pending() == 0 && self.earlier_writes_are_over()
    }

    /// Writes that came before the tracker was attached are not counted, so the kernel's own accounts have to show, once,
    /// that none is under way. Drivers that take bios themselves (dm, md) account for writes; new ones are held meanwhile. For
    /// those that queue requests see [`Self::wait_for_earlier_requests`]. Throttled writes are in neither account; they
    /// are seen when they come out.
    fn earlier_writes_are_over(&self) -> bool {
        if !self.earlier_are_over.load(Ordering::Relaxed) && self.takes_bios() {
            // SAFETY: the filter holds a reference on its device.
            let over = unsafe { ffi::blksnap_accounted_writes(self.bdev) } == 0;
            self.earlier_are_over.store(over, Ordering::Relaxed);
        }
        self.earlier_are_over.load(Ordering::Relaxed)
    }

    fn takes_bios(&self) -> bool {
        // SAFETY: the filter holds a reference on its device, and a disk has its functions as long as it exists.
        unsafe { (*(*(*self.bdev).bd_disk).fops).submit_bio.is_some() }
    }

    /// Waits, once, until the disk's queue was empty for a moment: what it got later we have counted.
    pub fn wait_for_earlier_requests(&self) -> Result {
        if self.earlier_are_over.load(Ordering::Relaxed) || self.takes_bios() {
            return Ok(());
        }
        let patience_ms = u32::try_from(parameters::take_timeout_ms()).unwrap_or(u32::MAX);
        // SAFETY: the filter holds a reference on its device; frozen and unfrozen by this task.
        let left = unsafe {
            let queue = (*(*self.bdev).bd_disk).queue;
            bindings::blk_freeze_queue_start(queue);
            let left = bindings::blk_mq_freeze_queue_wait_timeout(queue, msecs_to_jiffies(patience_ms));
            bindings::blk_mq_unfreeze_queue_nomemrestore(queue);
            left
        };
        if left <= 0 {
            let (major, minor) = self.device_number();
            pr_warn!("TAKE gives up: requests of {}:{} do not end\n", major, minor);
            return Err(ETIMEDOUT);
        }
        self.earlier_are_over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Marks sectors as changed without a write: image writes and CBTDIRTY. They count for the past too.
    pub fn mark_in_both(&self, maps: &mut Maps, sectors: SectorRange) {
        // Before the first TAKE there is no past interval; it then counts for the first one at once.
        let number = maps.number().max(1);
        maps.history.mark(maps.blocks.touched(sectors), number);
        let active = self.active(maps);
        active.map.mark(active.blocks.touched(sectors));
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

    /// The engine of a taken snapshot. For the worker and for writes that are handled by their submitters: it is cleared
    /// after those.
    pub(crate) fn cow(&self) -> Option<&Cow> {
        // SAFETY: by the callers' promise.
        unsafe { self.cow.load(Ordering::Acquire).as_ref() }
    }

    /// Looks at the engine of a taken snapshot, without sleeping.
    pub fn with_cow<T>(&self, look: impl FnOnce(&Cow) -> T) -> Option<T> {
        let _rcu = rcu::read_lock();
        // SAFETY: freed only after a grace period.
        unsafe { self.cow.load(Ordering::Acquire).as_ref() }.map(look)
    }

    /// Ends copy on write. Sleeps until no write path and no worker uses it any more; held bios have gone on.
    pub fn clear_cow(self: &Arc<Self>) {
        self.change_state(0, TAKEN);
        filter::wait_for_write_paths();
        self.wait_for_handlers();
        self.wake();
        self.settle();
        let cow = self.cow.swap(null_mut(), Ordering::AcqRel);
        filter::wait_for_write_paths();
        // A write that found no memory may have woken the worker in between; it may have found the engine.
        self.settle();
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

    /// Waits until no submitter handles a write here any more. No new one may begin.
    pub(crate) fn wait_for_handlers(&self) {
        while self.here.load(Ordering::Acquire) != 0 {
            fsleep(Delta::from_millis(1));
        }
    }

    /// The current map. It is replaced under the lock whose proof this is.
    pub fn active<'a>(&'a self, _maps: &'a Maps) -> &'a Active {
        // SAFETY: replaced only under the lock.
        unsafe { &*self.active.load(Ordering::Acquire) }
    }

    /// Writes may have been missed: what is known up to now is not to be compared with anything, and an image is lost.
    pub fn missed(&self) {
        let mut maps = self.maps.lock();
        if !maps.invalid {
            pr_err!("ftrace no longer calls the module (see earlier messages of the kernel); tracking begins anew\n");
            maps.invalid = true;
            maps.generation = random_uuid();
            maps.window = Window::new(maps.generation);
        }
        drop(maps);
        if let Some(cow) = self.shared_cow() {
            cow.fail(ENXIO);
        }
    }

    /// The engine of a taken snapshot, to keep.
    fn shared_cow(&self) -> Option<Arc<Cow>> {
        let _rcu = rcu::read_lock();
        let cow = self.cow.load(Ordering::Acquire);
        // SAFETY: from `Arc::into_raw`, and the tracker gives its reference up only after a grace period.
        (!cow.is_null()).then(|| unsafe { ArcBorrow::from_raw(cow) }.into())
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
        let _maps = self.maps.lock();
        let ended = self.active.swap(KBox::into_raw(active), Ordering::AcqRel);
        // SAFETY: it was the tracker's own box.
        unsafe { KBox::from_raw(ended) }
    }

    /// Adds what changed in the interval that ended to the readable map.
    pub fn fold(&self, ended: KBox<Active>, fresh: Option<Maps>, interval: Uuid) {
        self.statistics.marked_before.fetch_add(ended.map.marked(), Ordering::Relaxed);
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

#[pinned_drop]
impl PinnedDrop for Tracker {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: the tracker's own box; nobody is left who could look.
        drop(unsafe { KBox::from_raw(self.active.load(Ordering::Relaxed)) });
        // SAFETY: the tracker's own box; nothing passes any more.
        Counter::retire(unsafe { KBox::from_raw(self.counter) });
    }
}
