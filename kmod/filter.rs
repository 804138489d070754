// SPDX-License-Identifier: GPL-2.0
//! Filters of block devices: which there are, to which devices they are attached, and who sees a bio.
//!
//! A whole disk and its partitions are one thing: a bio is compared with the filters of its disk by the sectors of the
//! disk that it touches, whatever device it was submitted to.
//!
//! # Locks
//!
//! [`STATE`] guards attaching and detaching; it is the outermost lock of the module and may be held while sleeping.
//! The table is read under RCU (with preemption off) and changed under `STATE`. A filter is freed after a grace period
//! that began when it left the table.

use core::ptr::{addr_of_mut, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use kernel::{
    bindings::{self, bio, block_device, gendisk, module},
    prelude::*,
    types::ScopeGuard,
};

use crate::uapi::FILTER_NAME_BYTES;
use crate::{ffi, passes};

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
    pub submit_bio: unsafe extern "C" fn(*mut Filter, *mut bio, u64, u64) -> bool,
}

// SAFETY: never changed after registration.
unsafe impl Sync for Ops {}

/// A filter attached to a block device: `struct blkfilter` and what only this file knows.
#[repr(C)]
pub struct Filter {
    pub bdev: *mut block_device,
    pub ops: *const Ops,
    pub private: *mut c_void,
    disk: *mut gendisk,
    /// The next one in its bucket.
    next: AtomicPtr<Filter>,
    /// Its device vanished.
    gone: AtomicBool,
}

const FILTER_TYPES: usize = 8;
const BUCKETS: usize = 256;

/// Guarded by [`STATE`].
pub struct State {
    types: [*const Ops; FILTER_TYPES],
    attached: usize,
    /// The hook of writes is in place. It stays a while after the last filter, because removing it takes long.
    is_hooked: bool,
}

// SAFETY: the pointers are to immutable statics of modules that unregister before they go.
unsafe impl Send for State {}

kernel::sync::global_lock! {
    // SAFETY: initialised in `Hooks::install`, before anything can be called.
    pub unsafe(uninit) static STATE: Mutex<State> = State { types: [core::ptr::null(); FILTER_TYPES], attached: 0, is_hooked: false };
}

static TABLE: [AtomicPtr<Filter>; BUCKETS] = [const { AtomicPtr::new(null_mut()) }; BUCKETS];
/// The bio that [`hook_sees`] asks with.
static CANARY: AtomicPtr<bio> = AtomicPtr::new(null_mut());

/// The hooks of the ioctls and of vanishing devices; those of writes exist while something is attached.
pub struct Hooks(());

impl Hooks {
    pub fn install() -> Result<Self> {
        // SAFETY: called once, before the hooks that are the only callers of this file.
        unsafe { STATE.init() };
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
        // SAFETY: nothing schedules it any more.
        unsafe { ffi::blkfilter_unhook_cancel() };
        unhook_writes(&mut STATE.lock());
        // SAFETY: nothing schedules the work any more.
        unsafe { ffi::blkfilter_reap_finish() };
    }
}

/// Whether `bdev` still belongs to a disk that exists.
pub fn is_live(bdev: *mut block_device) -> bool {
    // SAFETY: callers hold a reference.
    unsafe { ffi::blksnap_disk_live(bdev) }
}

fn bucket(disk: *mut gendisk) -> &'static AtomicPtr<Filter> {
    let hash = (disk as usize >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> (usize::BITS - 8);
    &TABLE[hash % BUCKETS]
}

/// Walks the filters of a disk. Under RCU or [`STATE`].
fn filters_of(disk: *mut gendisk) -> impl Iterator<Item = &'static Filter> {
    let mut next = bucket(disk).load(Ordering::Acquire);
    core::iter::from_fn(move || loop {
        // SAFETY: what is in the table stays for a grace period; the caller is inside one or keeps changes out.
        let filter = unsafe { next.as_ref() }?;
        next = filter.next.load(Ordering::Acquire);
        if filter.disk == disk {
            return Some(filter);
        }
    })
}

/// Shows a bio to the filters of its disk. True: one of them took it. With preemption off.
#[no_mangle]
extern "C" fn blkfilter_rust_submit(bio: *mut bio) -> bool {
    // SAFETY: the hook's caller submits a live bio, whose device is live.
    let (bdev, disk) = unsafe {
        let bdev = (*bio).bi_bdev;
        (bdev, (*bdev).bd_disk)
    };
    if bucket(disk).load(Ordering::Relaxed).is_null() {
        return false;
    }
    show_bio(bio, bdev, disk)
}

fn show_bio(bio: *mut bio, bdev: *mut block_device, disk: *mut gendisk) -> bool {
    const REMAPPED: u16 = 1 << bindings::BIO_REMAPPED;
    // SAFETY: as in `blkfilter_rust_submit`.
    let (is_write, mut first, count) = unsafe {
        let iter = (*bio).bi_iter;
        let start = if (*bio).bi_flags & REMAPPED == 0 { (*bdev).bd_start_sect } else { 0 };
        ((*bio).bi_opf & 1 != 0, iter.bi_sector.wrapping_add(start), u64::from(iter.bi_size >> 9))
    };
    if count == 0 && is_write {
        if CANARY.load(Ordering::Relaxed) == bio {
            CANARY.store(null_mut(), Ordering::Release);
            return true;
        }
        first = 0;
    }
    let mut above = passes::take(bio);
    for filter in filters_of(disk) {
        if !above.is_null() {
            if core::ptr::eq(above, filter) {
                above = null_mut();
            }
            continue;
        }
        // SAFETY: `ops` is immutable and lives as long as its filters.
        let ops = unsafe { &*filter.ops };
        if !(is_write || ops.reads) {
            continue;
        }
        // SAFETY: a filter holds a reference on its device.
        let (start, length) = unsafe { ((*filter.bdev).bd_start_sect, (*filter.bdev).bd_nr_sectors) };
        let from = first.max(start);
        let to = first.saturating_add(count).min(start.saturating_add(length));
        if from < to || count == 0 {
            let this = core::ptr::from_ref(filter).cast_mut();
            // SAFETY: the filter is attached; the contract of `submit_bio` is kept.
            if unsafe { (ops.submit_bio)(this, bio, from.saturating_sub(start), to.saturating_sub(from)) } {
                return true;
            }
        }
    }
    false
}

/// Whether the hook still sees what is submitted to `bdev`, to which a filter is attached. Only after a failure inside
/// ftrace it does not. Sleeps; one at a time, because the callers hold [`STATE`].
pub fn hook_sees(bdev: *mut block_device) -> Result<bool> {
    unsafe extern "C" fn free(bio: *mut bio) {
        // SAFETY: the box below, which nobody else has when the bio ends.
        drop(unsafe { KBox::from_raw(bio) });
    }
    let canary = KBox::into_raw(KBox::new(bindings::bio::default(), GFP_KERNEL)?);
    // SAFETY: memory for a bio that is ours.
    unsafe {
        ffi::blksnap_canary_init(canary, bdev);
        (*canary).bi_end_io = Some(free);
    }
    CANARY.store(canary, Ordering::Release);
    // SAFETY: an empty flush; when the hook does not consume it, it ends with `free`.
    unsafe { bindings::submit_bio_noacct(canary) };
    let seen = CANARY.swap(null_mut(), Ordering::AcqRel).is_null();
    if seen {
        // SAFETY: consumed, so it is ours again.
        unsafe { free(canary) };
    }
    Ok(seen)
}

/// Hands a bio on to what lies below `filter`.
pub fn resubmit(filter: *mut Filter, bio: *mut bio) {
    // SAFETY: the caller owns the bio and gives it away here.
    passes::with(bio, filter, || unsafe { bindings::submit_bio_noacct(bio) });
}

#[no_mangle]
extern "C" fn blkfilter_rust_resubmit(filter: *mut Filter, bio: *mut bio) {
    resubmit(filter, bio);
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
    // SAFETY: it is attached, under the lock.
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
    let filter = KBox::new(
        Filter {
            bdev,
            ops,
            private: null_mut(),
            disk,
            next: AtomicPtr::new(null_mut()),
            gone: AtomicBool::new(false),
        },
        GFP_KERNEL,
    )?;
    let filter = KBox::into_raw(filter);
    let undo_filter = ScopeGuard::new(|| {
        // SAFETY: from `into_raw`, and not in the table.
        drop(unsafe { KBox::from_raw(filter) });
    });
    if !state.is_hooked {
        // SAFETY: the callback is ready for an empty table.
        kernel::error::to_result(unsafe { ffi::blkfilter_hook_writes() })?;
        state.is_hooked = true;
    }
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
    let head = bucket(disk);
    // SAFETY: `filter` is ours until it is in the table.
    unsafe { (*filter).next.store(head.load(Ordering::Relaxed), Ordering::Relaxed) };
    head.store(filter, Ordering::Release);
    state.attached += 1;
    // SAFETY: a live device. Only decoration: a missing attribute is no reason to fail.
    let _ = unsafe { ffi::blkfilter_attribute_create(bdev) };
    Ok(())
}

/// `BLKFILTER_DETACH`.
pub fn detach(bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES]) -> Result {
    let mut state = STATE.lock();
    let filter = find(&state, bdev).ok_or(ENOENT)?;
    if !has_name(filter, name) {
        return Err(EINVAL);
    }
    may_detach(filter)?;
    remove(&mut state, filter);
    Ok(())
}

fn may_detach(filter: *mut Filter) -> Result {
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
        // SAFETY: hooked by `attach`.
        unsafe { ffi::blkfilter_unhook_writes() };
    }
}

/// Some seconds after the last filter was detached.
#[no_mangle]
extern "C" fn blkfilter_rust_unhook() {
    unhook_writes(&mut STATE.lock());
}

/// Takes a filter out of the table and ends it.
fn remove(state: &mut State, filter: *mut Filter) {
    // SAFETY: attached, and freed only at the end of this function.
    let (bdev, ops, disk) = unsafe { ((*filter).bdev, (*filter).ops, (*filter).disk) };
    // SAFETY: the filter holds a reference on the device.
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
    // SAFETY: taken in `attach`.
    unsafe { bindings::module_put((*ops).owner) };
}

/// `BLKFILTER_CTL`; returns the new `optlen`.
pub fn ctl(bdev: *mut block_device, name: &[u8; FILTER_NAME_BYTES], cmd: u32, opt: u64, optlen: u32) -> Result<u32> {
    let state = STATE.lock();
    let filter = find(&state, bdev).ok_or(ENOENT)?;
    if !has_name(filter, name) {
        return Err(EINVAL);
    }
    // SAFETY: attached, under the lock.
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

/// A device vanishes. With preemption off.
#[no_mangle]
extern "C" fn blkfilter_rust_gone(bdev: *mut block_device) {
    // SAFETY: the kernel is just marking it.
    let disk = unsafe { (*bdev).bd_disk };
    if let Some(filter) = filters_of(disk).find(|filter| filter.bdev == bdev) {
        filter.gone.store(true, Ordering::Release);
        // SAFETY: only schedules a work item.
        unsafe { ffi::blkfilter_reap_later() };
    }
}

#[no_mangle]
extern "C" fn blkfilter_rust_reap() {
    reap();
}

/// Detaches the filters of vanished devices that nobody holds any more.
pub fn reap() {
    let mut state = STATE.lock();
    for bucket in &TABLE {
        let mut next = bucket.load(Ordering::Acquire);
        // SAFETY: in the table, and changes are kept out by the lock.
        while let Some(filter) = unsafe { next.as_ref() } {
            let this = next;
            next = filter.next.load(Ordering::Acquire);
            if !filter.gone.load(Ordering::Acquire) {
                continue;
            }
            // SAFETY: immutable.
            if let Some(tell) = unsafe { (*filter.ops).gone } {
                // SAFETY: the contract of `gone`.
                unsafe { tell(this) };
            }
            if may_detach(this).is_ok() {
                remove(&mut state, this);
            }
        }
    }
}
