// SPDX-License-Identifier: GPL-2.0
//! Who sees a bio. Everything here runs for every bio of the system, or is close to it.
//!
//! The usual cases come first and are short, because what they cost is paid by every write: no filter on the disk; one
//! filter, on the whole disk. [`show_all`] is every other case, and right for all.

use core::ptr::{addr_eq, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::{
    bindings::{self, bio, block_device, gendisk},
    prelude::*,
};

use crate::filter::{Filter, Ops, bucket, filters_of};
use crate::{bio as bios, passes};

/// `enum blkfilter_verdict` of `blkfilter.h`.
pub type Verdict = c_uint;
pub const PASS: Verdict = 0;
pub const HELD: Verdict = 1;
pub const HERE: Verdict = 2;

/// The bio that [`hook_sees`] asks with.
static CANARY: AtomicPtr<bio> = AtomicPtr::new(null_mut());

kernel::sync::global_lock! {
    // SAFETY: initialised by `prepare`, before anything can be called.
    unsafe(uninit) static ASKING: Mutex<()> = ();
}

/// Once, before anything else of this file.
pub fn prepare() {
    // SAFETY: called once.
    unsafe { ASKING.init() };
}

/// Shows a bio to the filters of its disk. With preemption off.
#[no_mangle]
extern "C" fn blkfilter_rust_submit(bio: *mut bio) -> Verdict {
    // SAFETY: the hook's caller submits a live bio, whose device is live.
    let disk = unsafe { (*(*bio).bi_bdev).bd_disk };
    // SAFETY: what is in the table stays for a grace period, and we are in a read side.
    match unsafe { bucket(disk).load(Ordering::Acquire).as_ref() } {
        None => PASS,
        Some(first) => show(bio, disk, first),
    }
}

/// Some filter is in the disk's bucket. (Not inlined: its registers would cost bios of other disks.)
#[inline(never)]
fn show(bio: *mut bio, disk: *mut gendisk, first: &Filter) -> Verdict {
    // SAFETY: as in `blkfilter_rust_submit`.
    let (is_write, count) = unsafe { (bios::is_write(bio), bios::sectors(bio)) };
    let is_alone = first.disk == disk && first.is_whole && first.next.load(Ordering::Relaxed).is_null();
    if !is_alone || !is_write || count == 0 || passes::any() {
        return show_all(bio, disk, |ops| Some(ops.submit_bio));
    }
    // What lies beyond the end of the disk is refused right after this.
    // SAFETY: the filter is attached; the contract of `submit_bio` is kept.
    unsafe { ((*first.ops).submit_bio)(core::ptr::from_ref(first).cast_mut(), bio, bios::first_on_disk(bio), count) }
}

type Submit = unsafe extern "C" fn(*mut Filter, *mut bio, u64, u64) -> Verdict;

/// Shows a bio to each filter that it concerns, until one of them takes it.
#[inline(never)]
fn show_all(bio: *mut bio, disk: *mut gendisk, function: impl Fn(&Ops) -> Option<Submit>) -> Verdict {
    // SAFETY: as in `blkfilter_rust_submit`.
    let (is_write, count, mut first) = unsafe { (bios::is_write(bio), bios::sectors(bio), bios::first_on_disk(bio)) };
    if count == 0 && is_write {
        if CANARY.load(Ordering::Relaxed) == bio {
            CANARY.store(null_mut(), Ordering::Release);
            return HELD;
        }
        first = 0;
    }
    let mut above = passes::take(bio);
    for filter in filters_of(disk) {
        if !above.is_null() {
            if addr_eq(above, filter) {
                above = null_mut();
            }
            continue;
        }
        // SAFETY: `ops` is immutable and lives as long as its filters.
        let ops = unsafe { &*filter.ops };
        let Some(submit) = function(ops).filter(|_| is_write || ops.reads) else { continue };
        // SAFETY: a filter holds a reference on its device.
        let (start, length) = unsafe { ((*filter.bdev).bd_start_sect, (*filter.bdev).bd_nr_sectors) };
        let from = first.max(start);
        let to = first.saturating_add(count).min(start.saturating_add(length));
        if from >= to && count != 0 {
            continue;
        }
        let this = core::ptr::from_ref(filter).cast_mut();
        // SAFETY: the filter is attached; the contract of `submit_bio` is kept.
        let verdict = unsafe { submit(this, bio, from.saturating_sub(start), to.saturating_sub(from)) };
        if verdict != PASS {
            return verdict;
        }
    }
    PASS
}

/// A bio that came out of throttling, or one that passed [`blkfilter_rust_submit`] just before. With preemption off.
#[no_mangle]
extern "C" fn blkfilter_rust_submit_throttled(bio: *mut bio) -> Verdict {
    // SAFETY: as in `blkfilter_rust_submit`.
    let (disk, is_for_us) = unsafe { ((*(*bio).bi_bdev).bd_disk, bios::is_write(bio) && bios::sectors(bio) != 0) };
    if !is_for_us || bucket(disk).load(Ordering::Relaxed).is_null() {
        return PASS;
    }
    show_all(bio, disk, |ops| ops.submit_throttled)
}

/// The verdict [`HERE`]: `filter` now owns the bio, keeps itself attached until it has handled it, and does that next.
pub fn here(filter: *mut Filter, bio: *mut bio) -> Verdict {
    // SAFETY: the bio is the filter's.
    unsafe { (*bio).bi_next = filter.cast() };
    HERE
}

/// Runs in place of `submit_bio_noacct` after that verdict.
#[no_mangle]
extern "C" fn blkfilter_rust_handle(bio: *mut bio) {
    // SAFETY: put there by `here`; the filter stays attached until it has handled the bio.
    unsafe {
        let filter: *mut Filter = core::mem::replace(&mut (*bio).bi_next, null_mut()).cast();
        if let Some(handle) = (*(*filter).ops).handle_bio {
            handle(filter, bio);
        }
    }
}

/// Whether the hook still sees what is submitted to `bdev`, to which a filter is attached. Only after a failure inside
/// the kernel's tracing it does not. Sleeps.
pub fn hook_sees(bdev: *mut block_device) -> Result<bool> {
    unsafe extern "C" fn free(bio: *mut bio) {
        // SAFETY: the box below, which nobody else has when the bio ends.
        drop(unsafe { KBox::from_raw(bio) });
    }
    let _one_at_a_time = ASKING.lock();
    let canary = KBox::into_raw(KBox::new(bindings::bio::default(), GFP_KERNEL)?);
    // SAFETY: memory for a bio that is ours.
    unsafe { bios::init_canary(canary, bdev, free) };
    CANARY.store(canary, Ordering::Release);
    // SAFETY: an empty flush; when the hook does not consume it, it ends with `free`.
    unsafe { bindings::submit_bio_noacct(canary) };
    let seen = CANARY.swap(null_mut(), Ordering::AcqRel).is_null();
    if seen {
        // SAFETY: consumed, so it is ours again.
        unsafe {
            bindings::bio_uninit(canary);
            free(canary);
        }
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
