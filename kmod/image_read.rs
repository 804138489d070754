// SPDX-License-Identifier: GPL-2.0
//! Reads of an image that are put together from the device and the storage, by work items that may sleep.
//!
//! What comes from one place only does not come here, see `image.rs`.

use core::sync::atomic::Ordering;

use kernel::{
    bindings::{self, bio},
    impl_has_work, new_mutex, new_work,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex},
    workqueue::{Work, WorkItem},
};

use crate::cow::Cow;
use crate::image::{CLONES, intersection};
use crate::kernel_memory::{NoIo, patiently};
use crate::lists::BioList;
use crate::pages::Pages;
use crate::sizes::{self, SectorRange};
use crate::tracker::Tracker;
use crate::{bio as bios, ffi, work};

const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / 512;
/// Pages that are read from the storage at once.
const BOUNCE_PAGES: usize = 16;

/// One of the work items that read.
#[pin_data]
pub struct Reader {
    cow: Arc<Cow>,
    tracker: Arc<Tracker>,
    reads: BioList,
    /// Only the work item uses them; they stay, because getting new ones takes longer than a read. The first one is
    /// always there, so that a read needs no free memory.
    #[pin]
    pages: Mutex<Pages>,
    #[pin]
    work: Work<Reader>,
}

impl_has_work! {
    impl HasWork<Self> for Reader { self.work }
}

impl WorkItem for Reader {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _no_io = NoIo::begin();
        let mut pages = this.pages.lock();
        for bio in this.reads.take_all() {
            // SAFETY: `submit_bio` gave us the bio.
            let bytes = u64::from(unsafe { (*bio).bi_iter.bi_size });
            let result = this.read(&mut pages, bio);
            this.tracker.statistics.image_read_bytes.fetch_add(bytes, Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { bios::end(bio, result.map_or_else(|error| error.to_errno(), |()| 0)) };
        }
    }
}

impl Reader {
    pub fn new(cow: Arc<Cow>, tracker: Arc<Tracker>) -> Result<Arc<Self>> {
        let mut pages = Pages::new();
        pages.grow(1, true)?;
        Arc::pin_init(
            pin_init!(Self {
                cow,
                tracker,
                reads: BioList::new(),
                pages <- new_mutex!(pages),
                work <- new_work!("blksnap::Reader"),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a read. Any context.
    pub fn add(self: &Arc<Self>, bio: *mut bio) {
        if self.reads.push(bio) {
            let _ = work::images().enqueue(self.clone());
        }
    }

    /// Waits until it has done what it was given.
    pub fn settle(&self) {
        // SAFETY: the work belongs to a live reader.
        unsafe { bindings::flush_work(Work::raw_get(&self.work)) };
    }

    /// Reads runs of the device and runs of the storage, in the order of the image.
    fn read(&self, pages: &mut Pages, bio: *mut bio) -> Result {
        // SAFETY: ours.
        let iter = unsafe { (*bio).bi_iter };
        let sectors = SectorRange::new(iter.bi_sector, u64::from(iter.bi_size >> 9));
        let chunks = self.cow.chunks;
        if sectors.end > chunks.capacity_sectors {
            return Err(EIO);
        }
        let mut from_device = SectorRange { first: sectors.first, end: sectors.first };
        for part in chunks.parts(sectors) {
            let stored = self.cow.chunk(part.chunk).map_or(0, |chunk| chunk.plan_read(part.touched).storage);
            for run in sizes::runs(stored) {
                let run = intersection(chunks.sectors_of_run(part.chunk, run), part.sectors);
                from_device.end = run.first;
                self.read_device(pages, bio, sectors.first, from_device)?;
                self.read_storage(pages, bio, sectors.first, part.chunk, run)?;
                from_device = SectorRange { first: run.end, end: run.end };
            }
            from_device.end = part.sectors.end;
        }
        self.read_device(pages, bio, sectors.first, from_device)?;
        if self.cow.is_broken() {
            return Err(EIO);
        }
        Ok(())
    }

    /// Reads a range from the device, then, from the storage, what was overtaken by a write meanwhile.
    fn read_device(&self, pages: &mut Pages, bio: *mut bio, bio_first: u64, sectors: SectorRange) -> Result {
        if sectors.is_empty() {
            return Ok(());
        }
        // SAFETY: the bio is ours and has its data; the device is referenced.
        patiently(|| unsafe {
            let clone = bindings::bio_alloc_clone(self.cow.origin(), bio, bindings::GFP_KERNEL, CLONES.get());
            if clone.is_null() {
                return Err(ENOMEM);
            }
            bios::skip(clone, ((sectors.first - bio_first) << 9) as c_uint);
            (*clone).bi_iter.bi_size = (sectors.len() << 9) as c_uint;
            (*clone).bi_iter.bi_sector = sectors.first;
            let error = bindings::submit_bio_wait(clone);
            bindings::bio_put(clone);
            kernel::error::to_result(error)
        })?;
        let chunks = self.cow.chunks;
        for part in chunks.parts(sectors) {
            let Some(chunk) = self.cow.chunk(part.chunk) else { continue };
            for run in sizes::runs(chunk.overtaken(part.touched)) {
                let run = intersection(chunks.sectors_of_run(part.chunk, run), part.sectors);
                self.read_storage(pages, bio, bio_first, part.chunk, run)?;
            }
        }
        Ok(())
    }

    /// Reads sectors of one chunk from the storage.
    fn read_storage(
        &self,
        pages: &mut Pages,
        bio: *mut bio,
        bio_first: u64,
        number: u64,
        sectors: SectorRange,
    ) -> Result {
        let chunk_first = number * self.cow.chunks.chunk_sectors();
        let place = self.cow.chunk(number).and_then(|chunk| chunk.place()).ok_or(EIO)?;
        // SAFETY: a copy of the bio is good enough to walk through its data, which stays.
        let mut view = unsafe { core::ptr::read(bio) };
        // SAFETY: inside the bio's data.
        unsafe { bios::skip(&mut view, ((sectors.first - bio_first) << 9) as c_uint) };
        let mut at = sectors.first;
        while at < sectors.end {
            let start = at - at % SECTORS_PER_PAGE;
            let wanted = (sectors.end - start).div_ceil(SECTORS_PER_PAGE).min(BOUNCE_PAGES as u64) as usize;
            // With fewer it only takes longer.
            let _ = pages.grow(wanted, true);
            let count = wanted.min(pages.len());
            let end = sectors.end.min(start + count as u64 * SECTORS_PER_PAGE);
            let store_sector = place + (start - chunk_first);
            self.cow.store.transfer(pages.vectors(count), count * PAGE_SIZE, store_sector, false)?;
            let mut byte = ((at - start) << 9) as usize;
            let last = ((end - start) << 9) as usize;
            while byte < last {
                let now = (PAGE_SIZE - byte % PAGE_SIZE).min(last - byte);
                let memory = &mut pages.memory(byte / PAGE_SIZE)[byte % PAGE_SIZE..][..now];
                // SAFETY: the memory has `now` bytes; the view has as many left.
                unsafe { ffi::blksnap_bio_copy(&mut view, memory.as_mut_ptr().cast(), now as c_uint, true) };
                byte += now;
            }
            at = end;
        }
        Ok(())
    }
}
