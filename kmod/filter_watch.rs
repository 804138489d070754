// SPDX-License-Identifier: GPL-2.0
//! Looks after filters: those of vanished devices are detached, and if the hook of writes stops working all are told.

use core::ptr::null_mut;
use core::sync::atomic::Ordering;

use kernel::bindings::block_device;

use crate::filter::{Filter, STATE, State, TABLE, close, filters_of, may_detach, remove};
use crate::{ffi, filter_submit};

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
    // Whoever holds it may take long; the next beat looks again.
    if let Some(mut state) = STATE.try_lock() {
        reap_locked(&mut state);
    }
}

/// All filters. Under [`STATE`], which keeps changes out; the one that was given last may be removed.
fn all(_state: &State) -> impl Iterator<Item = *mut Filter> {
    let mut buckets = TABLE.iter();
    let mut next: *mut Filter = null_mut();
    core::iter::from_fn(move || {
        while next.is_null() {
            next = buckets.next()?.load(Ordering::Acquire);
        }
        let filter = next;
        // SAFETY: in the table.
        next = unsafe { (*filter).next.load(Ordering::Acquire) };
        Some(filter)
    })
}

/// Detaches the filters of vanished devices that nobody holds any more.
pub fn reap() {
    reap_locked(&mut STATE.lock());
}

fn reap_locked(state: &mut State) {
    for filter in all(state) {
        // SAFETY: in the table.
        let this = unsafe { &*filter };
        if !this.gone.load(Ordering::Acquire) {
            continue;
        }
        // SAFETY: immutable.
        if let Some(tell) = unsafe { (*this.ops).gone } {
            // SAFETY: the contract of `gone`.
            unsafe { tell(filter) };
        }
        // One that a command still uses is looked at again by the next beat.
        if may_detach(filter).is_ok() && close(filter) {
            remove(state, filter);
        }
    }
}

/// Every second while something is attached: does the hook see bios? False: nothing is attached.
#[no_mangle]
extern "C" fn blkfilter_rust_beat() -> bool {
    // Whoever holds it for long is TAKE, which looks itself.
    let Some(mut state) = STATE.try_lock() else { return true };
    reap_locked(&mut state);
    check_hook(&state);
    state.attached != 0
}

/// Looks whether the hook sees bios, and tells all filters if not.
fn check_hook(state: &State) {
    let Some(any) = all(state).next() else { return };
    // SAFETY: attached, so it holds a reference on its device.
    if filter_submit::hook_sees(unsafe { (*any).bdev }).unwrap_or(true) {
        return;
    }
    for filter in all(state) {
        // SAFETY: attached.
        if let Some(tell) = unsafe { (*(*filter).ops).missed } {
            // SAFETY: the contract of `missed`.
            unsafe { tell(filter) };
        }
    }
}
