// SPDX-License-Identifier: GPL-2.0
//! Filters of block devices: which there are, and to which devices they are attached. `filter_submit.rs` has who sees a
//! bio.
//!
//! A whole disk and its partitions are one thing: a bio is compared with the filters of its disk by the sectors of the
//! disk that it touches, whatever device it was submitted to.
//!
//! # Locks
//!
//! [`STATE`] guards attaching and detaching; it is the outermost lock of the module and may be held while sleeping.
//! The table is read under RCU (with preemption off) and changed under `STATE`. A filter is freed after a grace period
//! that began when it left the table.
//!
//! A command runs without any lock, because it may wait for the memory of its caller, and that for anything. It finds
//! its filter under RCU and counts itself in `Filter::commands`; whoever detaches sets `Filter::closing`. Each looks at the
//! other's after it has set its own, so either the command tries again later or the other one does.

use core::ptr::{addr_of_mut, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use kernel::{
    bindings::{self, bio, block_device, gendisk, module},
    prelude::*,
    time::{Delta, delay::fsleep},
    types::ScopeGuard,
};

use crate::ffi;
use crate::filter_submit::{self, Verdict};
use crate::uapi::FILTER_NAME_BYTES;

/// `struct blkfilter_ops` of `blkfilter.h`, where the functions are explained.
#[repr(C)]
pub struct Ops {
    pub owner: *mut module,
    pub name: [u8; FILTER_NAME_BYTES],
    pub reads: bool,
    pub attach: unsafe extern "C" fn(*mut Filter, u64, u32) -> c_int,
    pub detach: unsafe extern "C" fn(*mut Filter),
    pub may_detach: Option<unsafe extern "C" fn(*mut Filter) -> c_int>,
    pub gone: Option<unsafe extern "C" fn(*mut Filter)>,
    pub ctl: Option<unsafe extern "C" fn(*mut Filter, u32, u64, *mut u32) -> c_int>,
    pub submit_bio: unsafe extern "C" fn(*mut Filter, *mut bio, u64, u64) -> Verdict,
    pub handle_bio: Option<unsafe extern "C" fn(*mut Filter, *mut bio)>,
    pub submit_throttled: Option<unsafe extern "C" fn(*mut Filter, *mut bio, u64, u64) -> Verdict>,
    pub missed: Option<unsafe extern "C" fn(*mut Filter)>,
}

// SAFETY: never changed after registration.
unsafe impl Sync for Ops {}

/// A filter attached to a block device: `struct blkfilter` and what only this file knows.
#[repr(C)]
pub struct Filter {
    pub bdev: *mut block_device,
    pub ops: *const Ops,
    pub private: *mut c_void,
    pub disk: *mut gendisk,
    /// The device is the disk, not a partition of it.
    pub is_whole: bool,
    /// The next one in its bucket.
    pub next: AtomicPtr<Filter>,
    /// Its device vanished.
    pub gone: AtomicBool,
    /// Commands that are running.
    commands: AtomicUsize,
    /// It is about to be detached.
    closing: AtomicBool,
}

const FILTER_TYPES: usize = 8;
const BUCKETS: usize = 256;

/// Guarded by [`STATE`].
pub struct State {
    types: [*const Ops; FILTER_TYPES],
    pub attached: usize,
    /// The hook of writes is in place. It stays a while after the last filter, because removing it takes long.
    is_hooked: bool,
    /// The same for what comes out of throttling.
    is_throttled_hooked: bool,
}

// SAFETY: the pointers are to immutable statics of modules that unregister before they go.
unsafe impl Send for State {}

kernel::sync::global_lock! {
    // SAFETY: initialised in `Hooks::install`, before anything can be called.
    pub unsafe(uninit) static STATE: Mutex<State> = State { types: [core::ptr::null(); FILTER_TYPES], attached: 0, is_hooked: false, is_throttled_hooked: false };
}

pub static TABLE: [AtomicPtr<Filter>; BUCKETS] = [const { AtomicPtr::new(null_mut()) }; BUCKETS];

/// The hooks of the ioctls and of vanishing devices; those of writes exist while something is attached.
pub struct Hooks(());

impl Hooks {
    pub fn install() -> Result<Self> {
        // SAFETY: called once, before the hooks that are the only callers of this file.
        unsafe { STATE.init() };
        filter_submit::prepare();
        // SAFETY: the callbacks are ready.
        kernel::error::to_result(unsafe { ffi::blkfilter_hook_devices() })?;
        Ok(Self(()))
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // The module's reference count is zero: nothing is attached and no handler runs.
        // SAFETY: installed by `install`.
        unsafe { ffi::blkfilter_unhook_devices() };
        // SAFETY: nothing schedules them any more.
        unsafe { ffi::blkfilter_finish_works() };
        unhook_writes(&mut STATE.lock());
    }
}

/// Whether `bdev` still belongs to a disk that exists.
pub fn is_live(bdev: *mut block_device) -> bool {
    // SAFETY: callers hold a reference.
    unsafe { ffi::blksnap_disk_live(bdev) }
}

#[inline]
pub fn bucket(disk: *mut gendisk) -> &'static AtomicPtr<Filter> {
    let hash = (disk as usize >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> (usize::BITS - 8);
    &TABLE[hash % BUCKETS]
}

/// Walks the filters of a disk. Under RCU or [`STATE`].
pub fn filters_of(disk: *mut gendisk) -> impl Iterator<Item = &'static Filter> {
    let mut next = bucket(disk).load(Ordering::Acquire);
    core::iter::from_fn(move || {
        loop {
            // SAFETY: what is in the table stays for a grace period; the caller is inside one or keeps changes out.
            let filter = unsafe { next.as_ref() }?;
            next = filter.next.load(Ordering::Acquire);
            if filter.disk == disk {
                return Some(filter);
            }
        }
    })
}

#[no_mangle]
extern "C" fn blkfilter_rust_register(ops: *const Ops) -> c_int {
    register(ops).map_or_else(|error| error.to_errno(), |()| 0)
}

#[no_mangle]
extern "C" fn blkfilter_rust_unregister(ops: *const Ops) {
    unregister(ops);
}

/// Makes a type of filter known.
pub fn register(ops: *const Ops) -> Result {
    // SAFETY: by the contract of `blkfilter_register` the structure stays until it is unregistered.
    let wanted = unsafe { &(*ops).name };
    let mut state = STATE.lock();
    if find_type(&state, wanted).is_some() {
        return Err(EEXIST);
    }
    let free = state.types.iter_mut().find(|known| known.is_null()).ok_or(ENOSPC)?;
    *free = ops;
    Ok(())
}

/// Forgets a type of filter of which none is attached.
pub fn unregister(ops: *const Ops) {
    let mut state = STATE.lock();
    for known in state.types.iter_mut().filter(|known| **known == ops) {
        *known = core::ptr::null();
    }
}

fn find_type(state: &State, name: &[u8; FILTER_NAME_BYTES]) -> Option<*const Ops> {
    let wanted = until_zero(name);
    // SAFETY: registered types are valid until they are unregistered, under the lock that `state` proves.
    state.types.iter().copied().find(|ops| !ops.is_null() && until_zero(unsafe { &(**ops).name }) == wanted)
}

fn until_zero(name: &[u8; FILTER_NAME_BYTES]) -> &[u8] {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    &name[..end]
}

/// The filter of a device, if there is one.
fn find(_state: &State, bdev: *mut block_device) -> Option<*mut Filter> {
    // SAFETY: the caller holds a reference on `bdev`.
    let disk = unsafe { (*bdev).bd_disk };
    filters_of(disk).find(|filter| filter.bdev == bdev).map(|filter| core::ptr::from_ref(filter).cast_mut())
}

fn has_name(filter: *mut Filter, name: &[u8; FILTER_NAME_BYTES]) -> bool {
    // SAFETY: it is attached, under the lock or RCU.
    until_zero(unsafe { &(*(*filter).ops).name }) == until_zero(name)
}

/// `BLKFILTER_ATTACH`.
pub fn attach(bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES], opt: u64, optlen: u32) -> Result {
    let mut state = STATE.lock();
    let ops = find_type(&state, name).ok_or(ENOENT)?;
    if !is_live(bdev) {
        return Err(ENODEV);
    }
    if let Some(attached) = find(&state, bdev) {
        return Err(if has_name(attached, name) { EALREADY } else { EBUSY });
    }
    // SAFETY: a registered type; its owner is loaded.
    if !unsafe { bindings::try_module_get((*ops).owner) } {
        return Err(ENOENT);
    }
    let undo_module = ScopeGuard::new(|| {
        // SAFETY: taken above.
        unsafe { bindings::module_put((*ops).owner) }
    });
    // SAFETY: the caller has the device open.
    let disk = unsafe { (*bdev).bd_disk };
    // SAFETY: as above; the driver is loaded as long as its device is open.
    let driver = unsafe { (*(*disk).fops).owner };
    // The last reference on a device ends in its driver's code.
    // SAFETY: null, or a module that is loaded.
    if !unsafe { bindings::try_module_get(driver) } {
        return Err(ENODEV);
    }
    let undo_driver = ScopeGuard::new(|| {
        // SAFETY: taken above.
        unsafe { bindings::module_put(driver) }
    });
    let filter = KBox::new(
        Filter {
            bdev,
            ops,
            private: null_mut(),
            disk,
            // SAFETY: the caller has the device open.
            is_whole: unsafe { core::ptr::eq((*disk).part0, bdev) },
            next: AtomicPtr::new(null_mut()),
            gone: AtomicBool::new(false),
            commands: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        },
        GFP_KERNEL,
    )?;
    let filter = KBox::into_raw(filter);
    let undo_filter = ScopeGuard::new(|| {
        // SAFETY: from `into_raw`, and not in the table.
        drop(unsafe { KBox::from_raw(filter) });
    });
    hook_writes(&mut state, bdev, ops)?;
    // SAFETY: the contract of `attach`.
    let attached = kernel::error::to_result(unsafe { ((*ops).attach)(filter, opt, optlen) });
    if attached.is_err() && state.attached == 0 {
        // SAFETY: only schedules a work item.
        unsafe { ffi::blkfilter_unhook_later() };
    }
    attached?;
    // SAFETY: the device is open and so has its own reference.
    unsafe { bindings::get_device(addr_of_mut!((*bdev).bd_device)) };
    undo_filter.dismiss();
    undo_module.dismiss();
    undo_driver.dismiss();
    let head = bucket(disk);
    // SAFETY: `filter` is ours until it is in the table.
    unsafe { (*filter).next.store(head.load(Ordering::Relaxed), Ordering::Relaxed) };
    head.store(filter, Ordering::Release);
    state.attached += 1;
    // SAFETY: only schedules a work item.
    unsafe { ffi::blkfilter_beat() };
    // SAFETY: a live device. Only decoration: a missing attribute is no reason to fail.
    let _ = unsafe { ffi::blkfilter_attribute_create(bdev) };
    Ok(())
}

/// Sees to it that the write path is hooked, before a filter of this kind comes to `bdev`.
fn hook_writes(state: &mut State, bdev: *mut block_device, ops: *const Ops) -> Result {
    // SAFETY: a registered type.
    let wants_throttled = unsafe { (*ops).submit_throttled.is_some() };
    // SAFETY: the caller has the device open.
    if wants_throttled && !state.is_throttled_hooked && unsafe { ffi::blksnap_is_throttled(bdev) } {
        // SAFETY: the callback is ready for an empty table.
        kernel::error::to_result(unsafe { ffi::blkfilter_hook_throttled() })?;
        state.is_throttled_hooked = true;
    }
    if !state.is_hooked {
        // SAFETY: the callback is ready for an empty table.
        kernel::error::to_result(unsafe { ffi::blkfilter_hook_writes() })?;
        state.is_hooked = true;
    }
    Ok(())
}

/// `BLKFILTER_DETACH`. Waits for commands that are running.
pub fn detach(bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES]) -> Result {
    loop {
        let mut state = STATE.lock();
        let filter = find_named(&state, bdev, name)?;
        may_detach(filter)?;
        if close(filter) {
            remove(&mut state, filter);
            return Ok(());
        }
        drop(state);
        if kernel::current!().signal_pending() {
            return Err(EINTR);
        }
        fsleep(Delta::from_millis(1));
    }
}

/// Keeps new commands out, unless one is running.
pub fn close(filter: *mut Filter) -> bool {
    // SAFETY: attached, under the lock.
    let filter = unsafe { &*filter };
    filter.closing.store(true, Ordering::SeqCst);
    let is_unused = filter.commands.load(Ordering::SeqCst) == 0;
    if !is_unused {
        filter.closing.store(false, Ordering::SeqCst);
    }
    is_unused
}

/// The filter of a device, which must have this name.
fn find_named(state: &State, bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES]) -> Result<*mut Filter> {
    let filter = find(state, bdev).ok_or(ENOENT)?;
    if has_name(filter, name) { Ok(filter) } else { Err(EINVAL) }
}

pub fn may_detach(filter: *mut Filter) -> Result {
    // SAFETY: it is attached, under the lock.
    match unsafe { (*(*filter).ops).may_detach } {
        // SAFETY: the contract of `may_detach`.
        Some(ask) => kernel::error::to_result(unsafe { ask(filter) }),
        None => Ok(()),
    }
}

/// Returns when every write path that was running has ended. Writes are held meanwhile, so it had better be soon.
pub fn wait_for_write_paths() {
    // SAFETY: no preconditions; may sleep.
    unsafe { bindings::synchronize_rcu_expedited() };
}

/// Removes the hook of writes when nothing is attached.
fn unhook_writes(state: &mut State) {
    if state.attached == 0 && core::mem::replace(&mut state.is_hooked, false) {
        // SAFETY: hooked by `hook_writes`.
        unsafe { ffi::blkfilter_unhook_writes() };
    }
    if state.attached == 0 && core::mem::replace(&mut state.is_throttled_hooked, false) {
        // SAFETY: hooked by `hook_writes`.
        unsafe { ffi::blkfilter_unhook_throttled() };
    }
}

/// Some seconds after the last filter was detached.
#[no_mangle]
extern "C" fn blkfilter_rust_unhook() {
    match STATE.try_lock() {
        Some(mut state) => unhook_writes(&mut state),
        // SAFETY: only schedules a work item.
        None => unsafe { ffi::blkfilter_unhook_later() },
    }
}

/// Takes a filter out of the table and ends it.
pub fn remove(state: &mut State, filter: *mut Filter) {
    // SAFETY: attached, and freed only at the end of this function.
    let (bdev, ops, disk) = unsafe { ((*filter).bdev, (*filter).ops, (*filter).disk) };
    // SAFETY: as above; the filter holds a reference on the device.
    let driver = unsafe { (*(*disk).fops).owner };
    // SAFETY: as above.
    unsafe { ffi::blkfilter_attribute_remove(bdev) };
    let mut link = bucket(disk);
    loop {
        let at = link.load(Ordering::Relaxed);
        if at == filter {
            break;
        }
        // SAFETY: `filter` is in this bucket, so the list does not end before it.
        link = unsafe { &(*at).next };
    }
    // SAFETY: as above.
    link.store(unsafe { (*filter).next.load(Ordering::Relaxed) }, Ordering::Release);
    wait_for_write_paths();
    // SAFETY: nobody sees the filter any more; the contract of `detach`.
    unsafe { ((*ops).detach)(filter) };
    state.attached -= 1;
    if state.attached == 0 {
        // SAFETY: only schedules a work item.
        unsafe { ffi::blkfilter_unhook_later() };
    }
    // SAFETY: from `into_raw` in `attach`.
    drop(unsafe { KBox::from_raw(filter) });
    // SAFETY: taken in `attach`.
    unsafe { bindings::put_device(addr_of_mut!((*bdev).bd_device)) };
    // SAFETY: taken in `attach`; the device is not touched any more.
    unsafe { bindings::module_put(driver) };
    // SAFETY: taken in `attach`.
    unsafe { bindings::module_put((*ops).owner) };
}

/// A command that is running on a filter, which therefore stays attached.
struct Running(&'static Filter);

impl Running {
    /// `None`: somebody is just looking whether it may be detached.
    fn of(bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES]) -> Result<Option<Self>> {
        let _rcu = kernel::sync::rcu::read_lock();
        // SAFETY: the caller has the device open.
        let disk = unsafe { (*bdev).bd_disk };
        let filter = filters_of(disk).find(|filter| filter.bdev == bdev).ok_or(ENOENT)?;
        if !has_name(core::ptr::from_ref(filter).cast_mut(), name) {
            return Err(EINVAL);
        }
        filter.commands.fetch_add(1, Ordering::SeqCst);
        let running = Self(filter);
        Ok((!filter.closing.load(Ordering::SeqCst)).then_some(running))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The last that is done with the filter.
        self.0.commands.fetch_sub(1, Ordering::Release);
    }
}

/// `BLKFILTER_CTL`; returns the new `optlen`.
pub fn ctl(bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES], cmd: u32, opt: u64, optlen: u32) -> Result<u32> {
    let running = loop {
        match Running::of(bdev, name)? {
            Some(running) => break running,
            None => fsleep(Delta::from_millis(1)),
        }
    };
    let filter = core::ptr::from_ref(running.0).cast_mut();
    // SAFETY: attached.
    let handle = unsafe { (*(*filter).ops).ctl }.ok_or(ENOTTY)?;
    let mut length = optlen;
    // SAFETY: the contract of `ctl`.
    kernel::error::to_result(unsafe { handle(filter, cmd, opt, &mut length) })?;
    Ok(length)
}

/// `/sys/block/<disk>/filter`.
#[no_mangle]
extern "C" fn blkfilter_rust_show(bdev: *mut block_device, buffer: *mut c_char) -> isize {
    let _rcu = kernel::sync::rcu::read_lock();
    // SAFETY: sysfs keeps the device while it shows an attribute.
    let disk = unsafe { (*bdev).bd_disk };
    let Some(filter) = filters_of(disk).find(|filter| filter.bdev == bdev) else { return 0 };
    // SAFETY: immutable.
    let name = until_zero(unsafe { &(*filter.ops).name });
    // SAFETY: sysfs gives a page, a name has less than 32 bytes.
    unsafe {
        core::ptr::copy_nonoverlapping(name.as_ptr(), buffer.cast(), name.len());
        buffer.add(name.len()).cast::<u8>().write(b'\n');
    }
    name.len() as isize + 1
}
