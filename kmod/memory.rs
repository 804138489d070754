// SPDX-License-Identifier: GPL-2.0
//! Memory for the pure logic: a trait that the kernel or a test implements, and the one container that uses it.
//!
//! Allocation may fail and says so; nothing here retries, sleeps on its own account or panics. Files that need memory
//! take a [`Memory`] and know nothing of allocator flags.

use core::alloc::Layout;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// May an allocation wait for memory?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Never: the caller is on the write path and must not sleep or start reclaim (in the kernel `GFP_NOWAIT`).
    Never,
    /// It may sleep, but not start I/O that could come back to us (in the kernel `GFP_NOIO`).
    Allowed,
}

/// There was no memory; nothing was changed unless the function says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Where memory comes from. A handle: copying it is cheap, all copies mean the same source.
///
/// # Safety
///
/// `allocate` returns memory that is valid for reads and writes of the layout, belongs to the caller alone and stays
/// until `free`.
pub unsafe trait Memory: Copy {
    /// Uninitialised memory; the size is never zero. `None` when there is none.
    fn allocate(&self, layout: Layout, wait: Wait) -> Option<NonNull<u8>>;

    /// Gives memory back. Never sleeps.
    ///
    /// # Safety
    ///
    /// `at` came from `allocate` of the same source with the same layout and is used by nobody any more.
    unsafe fn free(&self, at: NonNull<u8>, layout: Layout);
}

/// An owned array of fixed length.
///
/// INVARIANT: `at` points to `len` initialised `T`, from `memory` (or dangles, when they take no room).
pub struct Array<T, M: Memory> {
    at: NonNull<T>,
    len: usize,
    memory: M,
}

// SAFETY: an `Array` owns its elements like a `Box<[T]>`; there is no other way to them.
unsafe impl<T: Send, M: Memory + Send> Send for Array<T, M> {}
// SAFETY: sharing an `Array` shares only `&[T]`.
unsafe impl<T: Sync, M: Memory + Sync> Sync for Array<T, M> {}

impl<T, M: Memory> Array<T, M> {
    /// `len` elements, made one after the other by `make(position)`.
    pub fn new(memory: M, wait: Wait, len: usize, mut make: impl FnMut(usize) -> T) -> Result<Self, OutOfMemory> {
        let at = Self::room(memory, wait, len)?;
        for position in 0..len {
            // SAFETY: `position < len` lies inside the memory that was just allocated for `len` elements.
            let element = unsafe { at.add(position) };
            // SAFETY: `element` is valid for writes and aligned by the layout.
            unsafe { element.write(make(position)) };
        }
        // INVARIANT: all `len` elements were written.
        Ok(Self { at, len, memory })
    }

    /// An array of just this element, where a small handle to something big is wanted.
    pub fn one(memory: M, wait: Wait, element: T) -> Result<Self, OutOfMemory> {
        let at = Self::room(memory, wait, 1)?;
        // SAFETY: there is room for one element, aligned by the layout.
        unsafe { at.write(element) };
        // INVARIANT: the one element was written.
        Ok(Self { at, len: 1, memory })
    }

    /// Uninitialised room for `len` elements.
    fn room(memory: M, wait: Wait, len: usize) -> Result<NonNull<T>, OutOfMemory> {
        let layout = Layout::array::<T>(len).map_err(|_| OutOfMemory)?;
        match layout.size() {
            0 => Ok(NonNull::dangling()),
            _ => Ok(memory.allocate(layout, wait).ok_or(OutOfMemory)?.cast()),
        }
    }

    /// Bytes that it takes from its memory.
    pub fn bytes(&self) -> usize {
        self.len.saturating_mul(size_of::<T>())
    }

    /// Gives up ownership, for a pointer in an atomic slot.
    pub fn into_raw(self) -> NonNull<T> {
        let at = self.at;
        core::mem::forget(self);
        at
    }

    /// Takes ownership back.
    ///
    /// # Safety
    ///
    /// `at` came from [`Self::into_raw`] of an array with this `len` and `memory`, and nothing else refers to it.
    pub unsafe fn from_raw(at: NonNull<T>, len: usize, memory: M) -> Self {
        // INVARIANT: by the caller's promise.
        Self { at, len, memory }
    }
}

impl<T, M: Memory> Deref for Array<T, M> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: by the invariant of `Array`.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T, M: Memory> DerefMut for Array<T, M> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: by the invariant of `Array`; `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl<T, M: Memory> Drop for Array<T, M> {
    fn drop(&mut self) {
        let all: *mut [T] = &mut **self;
        // SAFETY: the elements are initialised (invariant) and nobody sees them after this.
        unsafe { core::ptr::drop_in_place(all) };
        // The same computation as in `new`, which succeeded.
        if let Ok(layout) = Layout::array::<T>(self.len) {
            if layout.size() != 0 {
                // SAFETY: `at` came from `allocate` with this layout (invariant), the elements are dropped.
                unsafe { self.memory.free(self.at.cast(), layout) };
            }
        }
    }
}
