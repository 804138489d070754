// SPDX-License-Identifier: GPL-2.0
//! The right of one bio to pass one filter: a filter that held a bio back resubmits it, the hook sees it again, and
//! must not show it to that filter a second time.
//!
//! A pass is for one bio, not for a task or a caller: what a driver below submits in the same task is shown like
//! everything else. It lives from just before `submit_bio_noacct` until the hook that this call enters.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use kernel::bindings::bio;

use crate::filter::Filter;

/// More resubmissions than this at the same moment wait for each other; a moment is some hundred instructions.
const PLACES: usize = 64;

struct Place {
    bio: AtomicPtr<bio>,
    below: AtomicPtr<Filter>,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
static PLACES_TAKEN: [Place; PLACES] =
    [const { Place { bio: AtomicPtr::new(null_mut()), below: AtomicPtr::new(null_mut()) } }; PLACES];

/// Lets `bio` pass `filter` while `submit` runs, which submits it.
pub fn with(bio: *mut bio, filter: *mut Filter, submit: impl FnOnce()) {
    COUNT.fetch_add(1, Ordering::SeqCst);
    let place = loop {
        // The filter is written first: who finds the bio must find its filter.
        let free = PLACES_TAKEN.iter().find(|place| {
            place.below.compare_exchange(null_mut(), filter, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        match free {
            Some(place) => break place,
            None => core::hint::spin_loop(),
        }
    };
    place.bio.store(bio, Ordering::Release);
    submit();
    // The hook took it; if not (it was just removed), nobody may find it any more.
    place.bio.store(null_mut(), Ordering::Release);
    place.below.store(null_mut(), Ordering::Release);
    COUNT.fetch_sub(1, Ordering::SeqCst);
}

/// Whether anybody has a pass. A bio that has one finds it so: whoever resubmits it raised the count before, in this
/// very task.
#[inline]
pub fn any() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

/// The filter that `bio` may pass now, or null. Takes the pass.
pub fn take(bio: *mut bio) -> *mut Filter {
    if !any() {
        return null_mut();
    }
    for place in &PLACES_TAKEN {
        if place.bio.load(Ordering::Relaxed) == bio {
            let below = place.below.load(Ordering::Acquire);
            place.bio.store(null_mut(), Ordering::Release);
            return below;
        }
    }
    null_mut()
}
