// SPDX-License-Identifier: GPL-2.0
//! A run of pages for I/O, as the vectors of a request.

use kernel::{bindings, page::PAGE_SIZE, prelude::*};

use crate::ffi;

/// The most pages of one request.
pub const PAGES: usize = 64;

/// Up to [`PAGES`] pages. Each is freed with the run, or given back to where it came from by [`Pages::truncate`].
pub struct Pages {
    vectors: [bindings::bio_vec; PAGES],
    count: usize,
}

// SAFETY: the pages belong to the run alone.
unsafe impl Send for Pages {}

impl Pages {
    pub const fn new() -> Self {
        let empty = bindings::bio_vec { bv_page: core::ptr::null_mut(), bv_len: 0, bv_offset: 0 };
        Self { vectors: [empty; PAGES], count: 0 }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// Makes the run `count` pages long. Without `must` it gives up as soon as memory is short; either way an error
    /// leaves the run as long as it got.
    pub fn grow(&mut self, count: usize, must: bool) -> Result {
        while self.count < count.min(PAGES) {
            // SAFETY: no preconditions; sleeps only with `must`.
            let page = unsafe { ffi::blksnap_page_alloc(must) };
            if page.is_null() {
                return Err(ENOMEM);
            }
            self.vectors[self.count] = bindings::bio_vec { bv_page: page, bv_len: PAGE_SIZE as c_uint, bv_offset: 0 };
            self.count += 1;
        }
        Ok(())
    }

    /// Frees what is behind the first `count` pages.
    pub fn truncate(&mut self, count: usize) {
        while self.count > count {
            self.count -= 1;
            // SAFETY: allocated by `grow`, and no request uses it any more.
            unsafe { ffi::blksnap_page_free(self.vectors[self.count].bv_page) };
        }
    }

    /// The vectors of the first `count` pages.
    pub fn vectors(&mut self, count: usize) -> &mut [bindings::bio_vec] {
        let count = count.min(self.count);
        &mut self.vectors[..count]
    }

    /// The memory of a page.
    pub fn memory(&mut self, page: usize) -> &mut [u8] {
        assert!(page < self.count);
        // SAFETY: such pages are always mapped.
        let at = unsafe { ffi::blksnap_page_address(self.vectors[page].bv_page) }.cast::<u8>();
        // SAFETY: the page is ours, and `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(at, PAGE_SIZE) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.truncate(0);
    }
}
