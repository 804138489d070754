// SPDX-License-Identifier: GPL-2.0
//! Snapshots: which there are, which devices belong to them, and their end. `take.rs` has the moment itself.
//!
//! ```text
//!            add*            take
//! CREATED ─────────▶ CREATED ─────▶ TAKEN ──(an image is lost)──▶ CORRUPTED
//!    │                  │             │                               │
//!    └──────────────────┴── destroy ──┴───────────────────────────────┘
//! ```
//!
//! # Locks
//!
//! `filter::STATE`, then [`SNAPSHOTS`], then `Snapshot::inner`, then `Tracker::maps`. Whoever changes the devices of a
//! snapshot holds `STATE`, which TAKE holds while it waits; who only reads does with `inner`, which nobody holds for long.

use kernel::{
    bindings, new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

use crate::events::Events;
use crate::image::Image;
use crate::store::Store;
use crate::tracker::{self, Tracker};
use crate::uapi::extension::{self, SnapshotDevice, SnapshotStatistics};
use crate::uapi::{IMAGE_NAME_BYTES, SnapshotInfo, Uuid};
use crate::{ffi, filter, filter_watch, stack};

/// A device of a snapshot.
pub struct Device {
    pub tracker: Arc<Tracker>,
    pub image: Option<Pin<KBox<Image>>>,
}

pub struct Inner {
    pub devices: KVec<Device>,
    pub is_taken: bool,
    pub taken_ns: i64,
    is_destroyed: bool,
}

/// A snapshot.
#[pin_data]
pub struct Snapshot {
    pub id: Uuid,
    pub is_tied: bool,
    pub events: Arc<Events>,
    pub store: Arc<Store>,
    #[pin]
    pub inner: Mutex<Inner>,
}

kernel::sync::global_lock! {
    // SAFETY: initialised by `prepare`, before anything can be called.
    unsafe(uninit) static SNAPSHOTS: Mutex<KVec<Arc<Snapshot>>> = KVec::new();
}

/// The list of snapshots; the module has it from before anything of this file is called until nothing can be any more.
pub struct List(());

impl List {
    pub fn new() -> Self {
        // SAFETY: called once.
        unsafe { SNAPSHOTS.init() };
        Self(())
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // Empty, since every snapshot keeps the module, but its memory is not: nothing drops a static.
        *SNAPSHOTS.lock() = KVec::new();
    }
}

fn find(id: Uuid) -> Option<Arc<Snapshot>> {
    SNAPSHOTS.lock().iter().find(|snapshot| snapshot.id == id).cloned()
}

/// A snapshot by its id.
pub fn by_id(id: Uuid) -> Result<Arc<Snapshot>> {
    find(id).ok_or(ESRCH)
}

/// The snapshot of a tracker. It stays so only under `STATE`.
fn of(tracker: &Arc<Tracker>) -> Option<Arc<Snapshot>> {
    SNAPSHOTS.lock().iter().find(|snapshot| snapshot.inner.lock().has(tracker)).cloned()
}

/// Whether a snapshot holds the tracker. It stays so only under `STATE`.
pub fn holds(tracker: &Arc<Tracker>) -> bool {
    of(tracker).is_some()
}

impl Inner {
    fn has(&self, tracker: &Arc<Tracker>) -> bool {
        self.devices.iter().any(|device| Arc::ptr_eq(&device.tracker, tracker))
    }
}

/// Creates an empty snapshot that stores into what is at `path`.
pub fn create(path: &CStr, limit_sectors: u64, is_tied: bool) -> Result<Uuid> {
    let events = Events::new()?;
    let store = Store::open(path, limit_sectors, events.clone())?;
    let id = tracker::random_uuid();
    let snapshot = Arc::pin_init(
        pin_init!(Snapshot {
            id,
            is_tied,
            events,
            store,
            inner <- new_mutex!(Inner { devices: KVec::new(), is_taken: false, taken_ns: 0, is_destroyed: false }),
        }),
        GFP_KERNEL,
    )?;
    // A snapshot keeps the module.
    // SAFETY: the module runs this very code.
    if !unsafe { bindings::try_module_get(ffi::this_module()) } {
        return Err(ENODEV);
    }
    let pushed = SNAPSHOTS.lock().push(snapshot, GFP_KERNEL);
    if pushed.is_err() {
        // SAFETY: taken just above.
        unsafe { bindings::module_put(ffi::this_module()) };
    }
    pushed?;
    Ok(id)
}

/// `SNAPSHOTADD`. The tracker stays attached meanwhile, because this is a command.
pub fn add(tracker: &Arc<Tracker>, id: Uuid) -> Result {
    let _state = filter::STATE.lock();
    let snapshot = by_id(id)?;
    if let Some(other) = of(tracker) {
        return Err(if other.id == id { EALREADY } else { EBUSY });
    }
    if tracker.is_gone() || !filter::is_live(tracker.bdev()) {
        return Err(ENODEV);
    }
    // SAFETY: the tracker holds a reference on its device.
    let unfit = unsafe { ffi::blksnap_unfit_for_snapshots(tracker.bdev()) };
    if unfit != 0 {
        let (major, minor) = tracker.device_number();
        pr_warn!(
            "device {}:{} has integrity data or inline encryption, which no image could show; take the volume on top of it\n",
            major,
            minor
        );
        return Err(Error::from_errno(-unfit));
    }
    if would_loop(&snapshot, tracker)? {
        let (major, minor) = tracker.device_number();
        pr_warn!("the difference storage lies on device {}:{}, which is to be in the snapshot; name another one\n", major, minor);
        return Err(EBUSY);
    }
    let mut inner = snapshot.inner.lock();
    if inner.is_taken || inner.is_destroyed {
        return Err(EBUSY);
    }
    inner.devices.push(Device { tracker: tracker.clone(), image: None }, GFP_KERNEL)?;
    Ok(())
}

/// Whether preserving data of `tracker` in `snapshot` could wait for itself: what the storage writes would end up, through
/// stacked devices and other snapshots, on a device whose writes wait for that storage.
fn would_loop(snapshot: &Arc<Snapshot>, tracker: &Arc<Tracker>) -> Result<bool> {
    const DEPTH: usize = 16;
    let snapshots = SNAPSHOTS.lock();
    // SAFETY: the tracker holds a reference on its device.
    let added = unsafe { (*tracker.bdev()).bd_disk };
    let mut reached: [*const Snapshot; DEPTH] = [core::ptr::null(); DEPTH];
    reached[0] = &**snapshot;
    let mut known = 1;
    let mut at = 0;
    while at < known {
        // SAFETY: in the list, which is locked, or `snapshot` itself.
        let store = unsafe { &(*reached[at]).store };
        at += 1;
        if stack::lies_on(store.device(), added)? {
            return Ok(true);
        }
        for other in snapshots.iter() {
            let waits = lies_on_any(store, &other.inner.lock().devices)?;
            let other: *const Snapshot = &**other;
            if !waits || reached[..known].contains(&other) {
                if waits && core::ptr::eq(other, &**snapshot) {
                    return Ok(true);
                }
                continue;
            }
            if known == DEPTH {
                return Ok(true);
            }
            reached[known] = other;
            known += 1;
        }
    }
    Ok(false)
}

/// Whether writes to the storage end up on one of the devices, or on an image: both then need the storage of that snapshot.
fn lies_on_any(store: &Store, devices: &[Device]) -> Result<bool> {
    for device in devices {
        // SAFETY: a tracker holds a reference on its device.
        let original = unsafe { (*device.tracker.bdev()).bd_disk };
        let image = device.image.as_ref().map(|image| image.disk());
        for disk in [Some(original), image].into_iter().flatten() {
            if stack::lies_on(store.device(), disk)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// `SNAPSHOTINFO`.
pub fn device_info(tracker: &Arc<Tracker>) -> SnapshotInfo {
    let mut info = SnapshotInfo { error_code: 0, image: [0; IMAGE_NAME_BYTES] };
    if let Some(snapshot) = of(tracker) {
        let inner = snapshot.inner.lock();
        if let Some(device) = inner.devices.iter().find(|device| Arc::ptr_eq(&device.tracker, tracker)) {
            info.image = device.image_name();
            info.error_code = device.error_code();
        }
    }
    info
}

impl Device {
    fn image_name(&self) -> [u8; IMAGE_NAME_BYTES] {
        self.image.as_ref().map_or([0; IMAGE_NAME_BYTES], |image| image.name())
    }

    fn error_code(&self) -> i32 {
        self.image.as_ref().map_or(0, |image| image.cow().error_code())
    }
}

/// Destroys a snapshot. Sleeps until nothing uses it any more.
pub fn destroy(id: Uuid) -> Result {
    let state = filter::STATE.lock();
    let snapshot = {
        let mut snapshots = SNAPSHOTS.lock();
        let at = snapshots.iter().position(|snapshot| snapshot.id == id).ok_or(ENODEV)?;
        snapshots.remove(at).map_err(|_| ENODEV)?
    };
    snapshot.events.close();
    let devices = {
        let mut inner = snapshot.inner.lock();
        inner.is_destroyed = true;
        core::mem::replace(&mut inner.devices, KVec::new())
    };
    for device in devices {
        end_device(device);
    }
    // The engines are gone and its growth is over: the storage is closed here, and its room is free when we return.
    snapshot.store.settle();
    drop(snapshot);
    drop(state);
    // A device that vanished meanwhile can be let go now.
    filter_watch::reap();
    // SAFETY: taken by `create`.
    unsafe { bindings::module_put(ffi::this_module()) };
    Ok(())
}

/// Removes an image and lets all held writes go.
pub fn end_device(mut device: Device) {
    if let Some(image) = &mut device.image {
        image.as_mut().remove();
    }
    device.tracker.clear_cow();
}

/// The ids of all snapshots: calls `each` with as many as it wants, and returns how many there are.
pub fn collect(mut each: impl FnMut(usize, Uuid) -> Result) -> Result<usize> {
    let mut ids = KVec::new();
    {
        let snapshots = SNAPSHOTS.lock();
        for snapshot in snapshots.iter() {
            ids.push(snapshot.id, GFP_KERNEL)?;
        }
    }
    for (at, id) in ids.iter().enumerate() {
        each(at, *id)?;
    }
    Ok(ids.len())
}

impl Snapshot {
    /// State and counters.
    pub fn statistics(&self) -> SnapshotStatistics {
        let inner = self.inner.lock();
        let (limit_sectors, capacity_sectors, used_sectors) = self.store.usage();
        let (pending_events, dropped_events) = self.events.counts();
        let error_code = inner.devices.iter().map(Device::error_code).find(|code| *code != 0).unwrap_or(0);
        let mut flags = 0;
        if self.is_tied {
            flags |= extension::SNAPSHOT_TIED;
        }
        if self.store.said_no_space() {
            flags |= extension::SNAPSHOT_NO_SPACE;
        }
        let state = match (inner.is_taken, error_code) {
            (false, _) => extension::STATE_CREATED,
            (true, 0) => extension::STATE_TAKEN,
            (true, _) => extension::STATE_CORRUPTED,
        };
        SnapshotStatistics {
            id: self.id,
            state,
            error_code,
            devices: inner.devices.len() as u32,
            flags,
            taken_ns: inner.taken_ns,
            limit_sectors,
            capacity_sectors,
            used_sectors,
            preserved_chunks: inner
                .devices
                .iter()
                .filter_map(|device| device.image.as_ref())
                .map(|image| image.cow().preserved_chunks())
                .sum(),
            pending_events,
            dropped_events,
        }
    }

    /// The devices, in the order in which they were added.
    pub fn devices(&self) -> Result<KVec<SnapshotDevice>> {
        let inner = self.inner.lock();
        let mut devices = KVec::with_capacity(inner.devices.len(), GFP_KERNEL)?;
        for device in &inner.devices {
            let (major, minor) = device.tracker.device_number();
            let shown = SnapshotDevice {
                major,
                minor,
                error_code: device.error_code(),
                reserved: 0,
                chunk_bytes: device.image.as_ref().map_or(0, |image| image.cow().chunks.chunk_sectors() << 9),
                image: device.image_name(),
            };
            devices.push(shown, GFP_KERNEL)?;
        }
        Ok(devices)
    }
}
