//! Memory for tests: counts what is in use and fails when told to. One account a thread, so tests do not disturb each other.

use core::alloc::Layout;
use core::ptr::NonNull;
use kmod_logic::memory::{Array, Memory, OutOfMemory, Wait};
use std::cell::Cell;

thread_local! {
    static USED: Cell<usize> = const { Cell::new(0) };
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Memory from the host's allocator, counted for the thread.
#[derive(Clone, Copy, Debug)]
pub struct Counted;

impl Counted {
    /// Bytes in use by this thread's structures.
    pub fn used() -> usize {
        USED.get()
    }

    /// From now on only `left` allocations of this thread succeed; `None` lifts it.
    pub fn limit(left: Option<usize>) {
        LEFT.set(left);
    }
}

// SAFETY: the host's allocator keeps the promises of the trait.
unsafe impl Memory for Counted {
    fn allocate(&self, layout: Layout, _: Wait) -> Option<NonNull<u8>> {
        match LEFT.get() {
            Some(0) => return None,
            left => LEFT.set(left.map(|left| left - 1)),
        }
        USED.set(USED.get() + layout.size());
        // SAFETY: the size is not zero, says the trait.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }

    unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        // Wraps where one thread frees what another one allocated.
        USED.set(USED.get().wrapping_sub(layout.size()));
        // SAFETY: it came from `allocate` with this layout, says the caller.
        unsafe { std::alloc::dealloc(at.as_ptr(), layout) };
    }
}

#[test]
fn an_array_drops_its_elements_and_gives_all_memory_back() {
    let witness = std::rc::Rc::new(());
    let array = Array::new(Counted, Wait::Allowed, 5, |_| witness.clone()).unwrap();
    assert_eq!((array.len(), std::rc::Rc::strong_count(&witness)), (5, 6));
    assert_eq!(Counted::used(), array.bytes());
    drop(array);
    assert_eq!((Counted::used(), std::rc::Rc::strong_count(&witness)), (0, 1));
}

#[test]
fn an_array_without_elements_needs_no_memory() {
    Counted::limit(Some(0));
    let array = Array::new(Counted, Wait::Never, 0, |_| 1_u64).unwrap();
    assert!(array.is_empty());
}

#[test]
fn an_array_that_gets_no_memory_says_so() {
    Counted::limit(Some(0));
    assert_eq!(Array::new(Counted, Wait::Never, 1, |_| 1_u64).err(), Some(OutOfMemory));
    assert_eq!(Array::new(Counted, Wait::Never, usize::MAX, |_| 1_u64).err(), Some(OutOfMemory));
}
