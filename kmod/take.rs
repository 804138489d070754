// SPDX-License-Identifier: GPL-2.0
//! TAKE: one instant for all devices of a snapshot.
//!
//! ```text
//! prepare    all memory, images without a disk in the system
//! freeze     file systems; that alone completes what goes through them
//! divert     new writes are held
//! drain      until every earlier write is over
//! switch     every device begins its next interval and its copy on write      ◀── the instant
//! release    held writes go on, through copy on write
//! thaw
//! fold       what changed becomes readable; images appear
//! ```
//!
//! Whatever fails before the switch is undone completely. Draining stacked devices: a write to a logical volume that is
//! not over may wait for a write to the disk below, and that one is held. So when draining comes to a stop, the devices
//! that are drained let their held writes go for a while; what is above them drains, and stays drained because it is
//! diverted; then they are drained again. Each such round drains at least the topmost level that was left.

use kernel::{
    bindings::{self, block_device},
    prelude::*,
    sync::Arc,
    time::{Delta, delay::fsleep},
};

use crate::cow::Cow;
use crate::image::Image;
use crate::sizes::{Chunks, DeviceSizes};
use crate::snapshot::{self, Device, Snapshot};
use crate::tracker::{self, DIVERT, FLOW, Switch, TAKEN, Tracker};
use crate::tracker_write::{is_seen, now_ns};
use crate::uapi::Uuid;
use crate::{ffi, filter, parameters};

/// How long one round of draining waits before it looks for writes that wait for held ones.
const ROUND_NS: u64 = 50_000_000;

/// What is made beforehand for one device.
struct Prepared {
    tracker: Arc<Tracker>,
    switch: Option<Switch>,
    cow: Arc<Cow>,
    image: Option<Pin<KBox<Image>>>,
}

/// `SNAPSHOT_TAKE`.
pub fn take(id: Uuid) -> Result {
    let _state = filter::STATE.lock();
    let snapshot = snapshot::by_id(id)?;
    let trackers = members(&snapshot)?;
    let mut prepared = KVec::with_capacity(trackers.len(), GFP_KERNEL)?;
    for tracker in &trackers {
        prepared.push(prepare(&snapshot, tracker)?, GFP_KERNEL)?;
    }
    let mut ended = KVec::with_capacity(trackers.len(), GFP_KERNEL)?;
    let taken_ns;
    {
        // A frozen file system must not be waited for by reclaim.
        let _no_io = crate::kernel_memory::NoIo::begin();
        let mut frozen = Frozen::new();
        for tracker in &trackers {
            frozen.freeze(tracker)?;
        }
        let diverted = Diverted::begin(&trackers);
        drain(&trackers)?;
        // Whatever passed was seen.
        if !is_seen(&trackers[0])? {
            return Err(ENXIO);
        }
        // The instant. Room for all was made above, so nothing can fail from here to the release.
        for device in prepared.iter_mut() {
            let Some(switch) = device.switch.take() else { continue };
            let old = device.tracker.switch(switch.active);
            device.tracker.set_cow(device.cow.clone());
            let _ = ended.push_within_capacity((old, switch.fresh));
        }
        for tracker in &trackers {
            tracker.change_state(TAKEN, 0);
        }
        // SAFETY: no preconditions.
        taken_ns = unsafe { bindings::ktime_get_real() };
        drop(diverted);
    }
    let interval_ids = trackers.iter().map(|_| tracker::random_uuid());
    for ((tracker, (old, fresh)), interval) in trackers.iter().zip(ended).zip(interval_ids) {
        tracker.fold(old, fresh, interval);
    }
    show(&snapshot, prepared, taken_ns)
}

/// The devices of a snapshot that may be taken now.
fn members(snapshot: &Snapshot) -> Result<KVec<Arc<Tracker>>> {
    let inner = snapshot.inner.lock();
    if inner.is_taken {
        return Err(EALREADY);
    }
    if inner.devices.is_empty() {
        return Err(ENODEV);
    }
    let mut trackers = KVec::with_capacity(inner.devices.len(), GFP_KERNEL)?;
    for device in &inner.devices {
        if device.tracker.is_gone() || !filter::is_live(device.tracker.bdev()) {
            return Err(ENODEV);
        }
        trackers.push(device.tracker.clone(), GFP_KERNEL)?;
    }
    Ok(trackers)
}

fn prepare(snapshot: &Snapshot, tracker: &Arc<Tracker>) -> Result<Prepared> {
    if !is_seen(tracker)? {
        return Err(ENXIO);
    }
    tracker.wait_for_earlier_requests()?;
    let switch = tracker.prepare_switch()?;
    let mut sizes = DeviceSizes {
        capacity_sectors: tracker.capacity_sectors(),
        minimum_io_bytes: 0,
        logical_block_bytes: 0,
        page_shift: kernel::page::PAGE_SHIFT as u32,
    };
    // SAFETY: the tracker holds a reference on its device.
    unsafe { ffi::blksnap_sizes(tracker.bdev(), &mut sizes.minimum_io_bytes, &mut sizes.logical_block_bytes) };
    let chunks = Chunks::new(sizes, parameters::chunk_limits()).ok_or(EINVAL)?;
    let cow = Cow::new(tracker, chunks, snapshot.store.clone(), snapshot.events.clone())?;
    let image = Image::new(tracker.clone(), cow.clone())?;
    Ok(Prepared { tracker: tracker.clone(), switch: Some(switch), cow, image: Some(image) })
}

/// Adds the images. If one cannot be added, the snapshot is as before TAKE, except that an interval has ended.
fn show(snapshot: &Snapshot, prepared: KVec<Prepared>, taken_ns: i64) -> Result {
    let mut result = Ok(());
    let mut images = KVec::with_capacity(prepared.len(), GFP_KERNEL).unwrap_or(KVec::new());
    for mut device in prepared {
        let Some(mut image) = device.image.take() else { continue };
        if result.is_ok() {
            result = image.as_mut().add();
        }
        if images.push_within_capacity(Device { tracker: device.tracker, image: Some(image) }).is_err() {
            result = Err(ENOMEM);
        }
    }
    if let Err(error) = result {
        for mut device in images {
            if let Some(image) = &mut device.image {
                image.as_mut().remove();
            }
        }
        let inner = snapshot.inner.lock();
        let mut trackers = KVec::new();
        for device in &inner.devices {
            trackers.push(device.tracker.clone(), GFP_KERNEL)?;
        }
        drop(inner);
        for tracker in trackers {
            tracker.clear_cow();
        }
        return Err(error);
    }
    let mut inner = snapshot.inner.lock();
    inner.devices = images;
    inner.is_taken = true;
    inner.taken_ns = taken_ns;
    Ok(())
}

/// Devices whose file systems are frozen; thawed in reverse order.
struct Frozen(KVec<*mut block_device>);

impl Frozen {
    fn new() -> Self {
        Self(KVec::new())
    }

    /// Freezes what is mounted from a device, from its partitions too.
    fn freeze(&mut self, tracker: &Tracker) -> Result {
        const MOST: usize = 256;
        let mut parts = KVec::from_elem(core::ptr::null_mut(), MOST, GFP_KERNEL)?;
        // SAFETY: the tracker holds a reference on its device; there is room for `MOST`.
        let count = unsafe { ffi::blksnap_partitions(tracker.bdev(), parts.as_mut_ptr(), MOST as c_uint) };
        let mut result = Ok(());
        for bdev in &parts[..count as usize] {
            if result.is_ok() {
                result = self.freeze_one(*bdev);
            }
            // SAFETY: `blksnap_partitions` took a reference; a frozen device keeps its own.
            unsafe { bindings::put_device(core::ptr::addr_of_mut!((**bdev).bd_device)) };
        }
        result
    }

    fn freeze_one(&mut self, bdev: *mut block_device) -> Result {
        self.0.reserve(1, GFP_KERNEL)?;
        // SAFETY: referenced.
        kernel::error::to_result(unsafe { bindings::bdev_freeze(bdev) })?;
        // SAFETY: referenced; given back by `drop`.
        unsafe { bindings::get_device(core::ptr::addr_of_mut!((*bdev).bd_device)) };
        let _ = self.0.push_within_capacity(bdev);
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        while let Some(bdev) = self.0.pop() {
            // SAFETY: frozen by `freeze_one`, which also took a reference.
            unsafe {
                bindings::bdev_thaw(bdev);
                bindings::put_device(core::ptr::addr_of_mut!((*bdev).bd_device));
            }
        }
    }
}

/// While it lives, new writes are held.
struct Diverted<'a>(&'a [Arc<Tracker>]);

impl<'a> Diverted<'a> {
    fn begin(trackers: &'a [Arc<Tracker>]) -> Self {
        for tracker in trackers {
            tracker.change_state(DIVERT, 0);
        }
        // From here on every write path has either seen it, or has counted its write.
        filter::wait_for_write_paths();
        Self(trackers)
    }
}

impl Drop for Diverted<'_> {
    fn drop(&mut self) {
        for tracker in self.0 {
            tracker.change_state(0, DIVERT | FLOW);
        }
        for tracker in self.0 {
            tracker.wake();
        }
    }
}

/// Waits until every write that passed before is over.
fn drain(trackers: &[Arc<Tracker>]) -> Result {
    let end = now_ns().saturating_add(parameters::take_timeout_ms().saturating_mul(1_000_000));
    loop {
        if wait_for(trackers, |tracker| tracker.is_quiet(), ROUND_NS) {
            return Ok(());
        }
        if now_ns() > end {
            for tracker in trackers.iter().filter(|tracker| !tracker.is_quiet()) {
                let (major, minor) = tracker.device_number();
                pr_warn!("TAKE gives up: writes to {}:{} are not over ({} of ours)\n", major, minor, tracker.pending());
            }
            return Err(ETIMEDOUT);
        }
        if kernel::current!().signal_pending() {
            return Err(EINTR);
        }
        // Those that are drained let go what others may wait for.
        let mut upper = KVec::new();
        for tracker in trackers {
            if tracker.is_quiet() {
                tracker.change_state(FLOW, 0);
                tracker.wake();
            } else {
                upper.push(tracker.clone(), GFP_KERNEL)?;
            }
        }
        wait_for(&upper, |tracker| tracker.is_quiet(), ROUND_NS);
        for tracker in trackers {
            tracker.change_state(0, FLOW);
        }
    }
}

/// Waits until all trackers fulfil a condition; false after the time.
fn wait_for(trackers: &[Arc<Tracker>], fulfilled: impl Fn(&Arc<Tracker>) -> bool, ns: u64) -> bool {
    let end = now_ns().saturating_add(ns);
    loop {
        if trackers.iter().all(&fulfilled) {
            return true;
        }
        if now_ns() > end {
            return false;
        }
        fsleep(Delta::from_micros(500));
    }
}
