// SPDX-License-Identifier: GPL-2.0
//! Preserving several pieces of the original at once: all are read together, then stored, then declared preserved.
//!
//! Only one task at a time uses a batch: the worker of its device.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::{
    bindings::{self, bio, block_device},
    page::PAGE_SIZE,
    prelude::*,
    types::Opaque,
};

use crate::bio::{self as bios, Data};
use crate::chunk::Chunk;
use crate::pages::{PAGES, Pages};
use crate::sizes::SectorRange;
use crate::store::Store;

/// Pieces of a batch.
const JOBS: usize = 32;

/// One piece: up to [`PAGES`] pages.
struct Job {
    bio: bindings::bio,
    pages: Pages,
    sectors: SectorRange,
    store_sector: u64,
    chunk: *const Chunk,
    sub_blocks: u64,
}

/// Pieces that are planned, with their memory.
pub struct Batch {
    jobs: KVec<KBox<Job>>,
    used: usize,
    buffer_pages: usize,
    waiting: KBox<Waiting>,
}

// SAFETY: the raw pointers are to chunks of the table that the batch's owner also owns.
unsafe impl Send for Batch {}

/// How many reads are not over, and who waits.
struct Waiting {
    left: AtomicUsize,
    done: Opaque<bindings::completion>,
}

/// The batch is full: run it and plan again.
pub struct Full;

impl Batch {
    /// A batch that uses at most so many pages. The first job's pages are always there, so progress never depends on
    /// free memory.
    pub fn new(buffer_pages: usize) -> Result<Self> {
        let mut jobs = KVec::with_capacity(JOBS, GFP_KERNEL)?;
        for number in 0..JOBS {
            let mut job = KBox::new(
                Job {
                    bio: bindings::bio::default(),
                    pages: Pages::new(),
                    sectors: SectorRange { first: 0, end: 0 },
                    store_sector: 0,
                    chunk: core::ptr::null(),
                    sub_blocks: 0,
                },
                GFP_KERNEL,
            )?;
            if number == 0 {
                job.pages.grow(PAGES, true)?;
            }
            jobs.push(job, GFP_KERNEL)?;
        }
        let waiting = KBox::new(Waiting { left: AtomicUsize::new(0), done: Opaque::uninit() }, GFP_KERNEL)?;
        Ok(Self { jobs, used: 0, buffer_pages: buffer_pages.max(PAGES), waiting })
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Plans a piece. `sub_blocks` become preserved when the batch has run; a piece that is only part of a sub-block
    /// must be in one batch with the others.
    pub fn plan(
        &mut self,
        chunk: &Chunk,
        sub_blocks: u64,
        sectors: SectorRange,
        store_sector: u64,
    ) -> Result<(), Full> {
        let pages = usize::try_from(sectors.len().div_ceil(PAGE_SIZE as u64 / 512)).unwrap_or(PAGES);
        let planned: usize = self.jobs[..self.used].iter().map(|job| job.pages.len()).sum();
        if self.used == JOBS || (self.used != 0 && planned + pages > self.buffer_pages) {
            return Err(Full);
        }
        let must = self.used == 0;
        let job = &mut self.jobs[self.used];
        if job.pages.grow(pages, must).is_err() {
            job.pages.truncate(if must { PAGES } else { 0 });
            return Err(Full);
        }
        job.sectors = sectors;
        job.store_sector = store_sector;
        job.chunk = chunk;
        job.sub_blocks = sub_blocks;
        self.used += 1;
        Ok(())
    }

    /// Reads, stores, and declares preserved. The number of bytes, or why it failed; then nothing is preserved of what
    /// failed.
    pub fn run(&mut self, origin: *mut block_device, store: &Store) -> Result<u64> {
        self.read(origin);
        let mut result = Ok(0);
        for job in &mut self.jobs[..self.used] {
            // SAFETY: the read is over.
            let error = unsafe { bios::error(&mut job.bio) };
            if error != 0 {
                result = Err(Error::from_errno(error));
                continue;
            }
            let stored = job.store(store);
            result = match (result, stored) {
                (Ok(sum), Ok(bytes)) => Ok(sum + bytes),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        for (number, job) in self.jobs[..self.used].iter_mut().enumerate() {
            // SAFETY: planned with a chunk of the table, which lives as long as the engine.
            let chunk = unsafe { &*job.chunk };
            match result {
                Ok(_) => chunk.finish(job.sub_blocks),
                Err(_) => chunk.abort(job.sub_blocks),
            }
            job.pages.truncate(if number == 0 { PAGES } else { 0 });
        }
        self.used = 0;
        result
    }

    /// Forgets what is planned.
    pub fn abandon(&mut self) {
        for (number, job) in self.jobs[..self.used].iter_mut().enumerate() {
            // SAFETY: as in `run`.
            unsafe { &*job.chunk }.abort(job.sub_blocks);
            job.pages.truncate(if number == 0 { PAGES } else { 0 });
        }
        self.used = 0;
    }

    fn read(&mut self, origin: *mut block_device) {
        let waiting = core::ptr::from_ref(&*self.waiting).cast_mut();
        // One more than there are, so that it cannot end while requests are still being started.
        self.waiting.left.store(self.used + 1, Ordering::Relaxed);
        // SAFETY: nobody waits for it now.
        unsafe { bindings::init_completion(self.waiting.done.get()) };
        for job in &mut self.jobs[..self.used] {
            let sectors = job.sectors;
            let count = job.pages.len().min(sectors.len().div_ceil(PAGE_SIZE as u64 / 512) as usize);
            let bytes = (sectors.len() << 9) as c_uint;
            let tail = bytes as usize % PAGE_SIZE;
            if tail != 0 {
                job.pages.memory(count - 1)[tail..].fill(0);
            }
            let Job { bio, pages, .. } = &mut **job;
            let data = Data { vectors: pages.vectors(count), bytes };
            // SAFETY: bio, vectors and pages stay until the read is over, which is waited for below.
            unsafe { bios::read_start(bio, origin, data, sectors.first, (read_ended, waiting.cast())) };
        }
        if self.waiting.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            // SAFETY: initialised above; the last read completes it.
            unsafe { bindings::wait_for_completion(self.waiting.done.get()) };
        }
        for job in &mut self.jobs[..self.used] {
            // SAFETY: initialised by `read_start`, and over; its status stays readable.
            unsafe { bindings::bio_uninit(&mut job.bio) };
        }
    }
}

impl Job {
    fn store(&mut self, store: &Store) -> Result<u64> {
        let count = usize::try_from(self.sectors.len().div_ceil(PAGE_SIZE as u64 / 512)).map_err(|_| EINVAL)?;
        // Whole pages, because direct I/O wants that; the chunk's place has room for them.
        let bytes = count * PAGE_SIZE;
        store.transfer(self.pages.vectors(count), bytes, self.store_sector, true)?;
        Ok(self.sectors.len() << 9)
    }
}

unsafe extern "C" fn read_ended(bio: *mut bio) {
    // SAFETY: put there by `read`, which waits until all are over.
    let waiting = unsafe { &*(*bio).bi_private.cast::<Waiting>() };
    if waiting.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        // SAFETY: initialised by `read`; `complete` is the last to touch it.
        unsafe { bindings::complete(waiting.done.get()) };
    }
}
