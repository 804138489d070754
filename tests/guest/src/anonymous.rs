//! Memory of this process that is in no file, so that the kernel can only move it out to swap.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use anyhow::{Context, Result, ensure};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags};

use crate::random::Random;

/// The smallest part that is moved out.
pub const PAGE_BYTES: usize = 4096;

/// Pages, each with content of its own.
pub struct Anonymous {
    address: NonNull<std::ffi::c_void>,
    length: usize,
    seed: u64,
}

impl Anonymous {
    /// Fills so many pages.
    pub fn filled(pages: usize, seed: u64) -> Result<Self> {
        let length = NonZeroUsize::new(pages * PAGE_BYTES).context("memory without a page")?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping disturbs no other memory.
        let address = unsafe { nix::sys::mman::mmap_anonymous(None, length, rights, MapFlags::MAP_PRIVATE) }?;
        let mut memory = Self { address, length: length.get(), seed };
        memory.refill(seed);
        Ok(memory)
    }

    /// Gives every page other content, so that what is in swap is out of date.
    pub fn refill(&mut self, seed: u64) {
        self.seed = seed;
        let mut random = self.contents();
        for page in self.bytes_mut().chunks_exact_mut(PAGE_BYTES) {
            page[..8].copy_from_slice(&random.next().to_ne_bytes());
            page[PAGE_BYTES - 8..].copy_from_slice(&random.next().to_ne_bytes());
        }
    }

    /// Asks the kernel to move all of it out, now.
    pub fn page_out(&self) -> Result<()> {
        // SAFETY: the range is the mapping's; paging out changes no content.
        unsafe { nix::sys::mman::madvise(self.address, self.length, MmapAdvise::MADV_PAGEOUT) }?;
        Ok(())
    }

    /// Every page has its content; reading brings it back.
    pub fn ensure_intact(&self) -> Result<()> {
        let mut random = self.contents();
        for (number, page) in self.bytes().chunks_exact(PAGE_BYTES).enumerate() {
            let intact =
                page[..8] == random.next().to_ne_bytes() && page[PAGE_BYTES - 8..] == random.next().to_ne_bytes();
            ensure!(intact, "page {number} came back from swap with other content");
        }
        Ok(())
    }

    fn contents(&self) -> Random {
        Random::new(self.seed)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable, of this length, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr().cast(), self.length) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable too, and borrowed through `self` only.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr().cast(), self.length) }
    }
}

impl Drop for Anonymous {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing borrows it any more.
        let _ = unsafe { nix::sys::mman::munmap(self.address, self.length) };
    }
}
