// SPDX-License-Identifier: GPL-2.0
//! Copy on write for one device of a taken snapshot.
//!
//! Who holds [`Cow::batch`] changes what is preserved, nobody else: the device's worker, which handles held writes and
//! writes to the image, one group after the other, or a writer in its own context (`tracker_write.rs`). The write path and
//! readers of the image only look. `chunk.rs` says why no read ever sees newer data.
//!
//! When something fails, the image is lost and says so; the writes go on as if there were no snapshot.

use core::sync::atomic::{AtomicI32, Ordering};

use kernel::{
    bindings::{bio, block_device},
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex},
};

use crate::batch::Batch;
use crate::chunk::Chunk;
use crate::chunk_table::ChunkTable;
use crate::event_queue::Event;
use crate::events::Events;
use crate::kernel_memory::patiently;
use crate::lists::BioList;
use crate::pages::{PAGES, Pages};
use crate::sizes::{self, ChunkPart, Chunks, SectorRange, SubRun};
use crate::store::Store;
use crate::tracker::Tracker;
use crate::{bio as bios, ffi, parameters};

/// Held writes whose data is preserved together.
const GROUP: usize = 64;
const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / 512;

/// The engine of one device in one snapshot.
#[pin_data]
pub struct Cow {
    pub chunks: Chunks,
    origin: *mut block_device,
    /// (major, minor) of the original, for events.
    device_number: (u32, u32),
    #[pin]
    table: ChunkTable,
    pub store: Arc<Store>,
    events: Arc<Events>,
    /// A positive errno: the image is no longer true.
    failure: AtomicI32,
    image_writes: BioList,
    #[pin]
    batch: Mutex<Batch>,
}

// SAFETY: the tracker, which outlives the engine, holds a reference on `origin`.
unsafe impl Send for Cow {}
// SAFETY: as above; everything that changes is atomic or behind a lock.
unsafe impl Sync for Cow {}

impl Cow {
    pub fn new(tracker: &Tracker, chunks: Chunks, store: Arc<Store>, events: Arc<Events>) -> Result<Arc<Self>> {
        let batch = Batch::new(parameters::buffer_pages())?;
        Arc::pin_init(
            pin_init!(Self {
                chunks,
                origin: tracker.bdev(),
                device_number: tracker.device_number(),
                table <- ChunkTable::new(),
                store,
                events,
                failure: AtomicI32::new(0),
                image_writes: BioList::new(),
                batch <- new_mutex!(batch),
            }),
            GFP_KERNEL,
        )
    }

    pub fn origin(&self) -> *mut block_device {
        self.origin
    }

    /// A negative errno, or 0.
    pub fn error_code(&self) -> i32 {
        -self.failure.load(Ordering::Acquire)
    }

    pub fn is_broken(&self) -> bool {
        self.failure.load(Ordering::Acquire) != 0
    }

    pub fn preserved_chunks(&self) -> u64 {
        self.table.len()
    }

    pub fn map_bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// May a write to these sectors pass? Never sleeps.
    pub fn may_pass(&self, sectors: SectorRange) -> bool {
        let may_pass = |part: ChunkPart| match self.table.get(part.chunk) {
            Some(chunk) => chunk.may_pass(part.touched),
            None => false,
        };
        let passes = match self.chunks.only_part(sectors) {
            Some(part) => may_pass(part),
            None => self.chunks.parts(sectors).all(may_pass),
        };
        passes || self.is_broken()
    }

    /// The chunk, if something of it may be preserved.
    pub fn chunk(&self, number: u64) -> Option<&Chunk> {
        self.table.get(number)
    }

    /// The image is lost. Says so once.
    pub fn fail(&self, error: Error) {
        let errno = -error.to_errno();
        if self.failure.compare_exchange(0, errno, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let (major, minor) = self.device_number;
            pr_err!("the snapshot of device {}:{} is lost: {:?}\n", major, minor, error);
            self.events.push(Event::Corrupted { major, minor, errno });
        }
    }

    /// Takes a write to the image. True: the worker has to be woken.
    pub fn add_image_write(&self, bio: *mut bio) -> bool {
        self.image_writes.push(bio)
    }

    /// A writer in its own context: preserves what its write overwrites and lets it go. False: somebody else is at work or
    /// memory is missing, and nothing was done.
    pub fn handle(&self, tracker: &Tracker, bio: *mut bio) -> bool {
        let Some(mut batch) = self.batch.try_lock() else { return false };
        // What is plugged would be started by another task as soon as we wait, and that takes longer than all else.
        // SAFETY: no preconditions; undone below.
        let plug = unsafe { ffi::blksnap_unplug() };
        let preserved = self.plan(tracker, &mut batch, tracker.sectors_of(bio), None);
        let preserved = preserved.and_then(|()| self.run(tracker, &mut batch));
        batch.abandon();
        // SAFETY: the submitter's plug, which it still has; it is empty.
        unsafe { ffi::blksnap_plug_again(plug) };
        drop(batch);
        match preserved {
            // A task that is being killed gets no memory; the worker may.
            Err(error) if error == ENOMEM => return false,
            Err(error) => self.fail(error),
            Ok(()) => {}
        }
        self.release(tracker, bio);
        true
    }

    /// Lets a write go. Should it meet something that is not preserved in spite of all, the image is lost, not wrong.
    fn release(&self, tracker: &Tracker, bio: *mut bio) {
        if !self.may_pass(tracker.sectors_of(bio)) {
            pr_err!("a write passes before what it overwrites is preserved; please report this\n");
            self.fail(EIO);
        }
        tracker.release(bio);
    }

    /// The worker: preserves what held writes overwrite and lets them go; then writes to the image.
    pub fn work(&self, tracker: &Arc<Tracker>, mut held: impl Iterator<Item = *mut bio>) {
        let mut batch = self.batch.lock();
        let mut group = [core::ptr::null_mut(); GROUP];
        loop {
            let mut count = 0;
            for bio in held.by_ref().take(GROUP) {
                group[count] = bio;
                count += 1;
                if let Err(error) = self.plan(tracker, &mut batch, tracker.sectors_of(bio), None) {
                    self.fail(error);
                }
            }
            if count == 0 {
                break;
            }
            if let Err(error) = self.run(tracker, &mut batch) {
                self.fail(error);
            }
            for bio in &group[..count] {
                self.release(tracker, *bio);
            }
        }
        for bio in self.image_writes.take_all() {
            let result = self.write_image(tracker, &mut batch, bio);
            // SAFETY: the image gave us the bio.
            unsafe { bios::end(bio, result.map_or_else(|error| error.to_errno(), |()| 0)) };
        }
    }

    /// Ends writes to an image that is being removed.
    pub fn end_image_writes(&self) {
        for bio in self.image_writes.take_all() {
            // SAFETY: the image gave us the bio.
            unsafe { bios::end(bio, EIO.to_errno()) };
        }
    }

    fn run(&self, tracker: &Tracker, batch: &mut Batch) -> Result {
        if batch.is_empty() {
            return Ok(());
        }
        if self.is_broken() {
            batch.abandon();
            return Ok(());
        }
        let bytes = batch.run(self.origin, &self.store)?;
        tracker.statistics.read_for_preservation_bytes.fetch_add(bytes, Ordering::Relaxed);
        tracker.statistics.preserved_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The chunk with its place in the storage.
    fn placed(&self, number: u64) -> Result<(&Chunk, u64)> {
        let chunk = patiently(|| self.table.get_or_insert(number))?;
        if let Some(place) = chunk.place() {
            return Ok((chunk, place));
        }
        let place = self.store.allocate(self.chunks.chunk_sectors())?;
        Ok((chunk, chunk.set_place(place).map_or_else(|other| other, |()| place)))
    }

    /// Plans to preserve what is not yet preserved of a range (or, with `only`, of some sub-blocks of one chunk).
    /// Runs the batch whenever it is full.
    fn plan(&self, tracker: &Tracker, batch: &mut Batch, sectors: SectorRange, only: Option<u64>) -> Result {
        if let Some(part) = self.chunks.only_part(sectors) {
            return self.plan_part(tracker, batch, part, only);
        }
        self.chunks.parts(sectors).try_for_each(|part| self.plan_part(tracker, batch, part, only))
    }

    fn plan_part(&self, tracker: &Tracker, batch: &mut Batch, part: ChunkPart, only: Option<u64>) -> Result {
        if self.is_broken() {
            return Ok(());
        }
        let (chunk, place) = self.placed(part.chunk)?;
        let claim = chunk.claim(only.unwrap_or(part.touched));
        let mut runs = sizes::runs(claim.mine);
        let planned = runs.try_for_each(|run| self.plan_run(tracker, batch, (part.chunk, chunk, place), run));
        if planned.is_err() {
            // Nothing of it is planned any more: whoever comes next must find it as it was.
            chunk.abort(claim.mine);
        }
        planned
    }

    /// Plans sub-blocks that lie one behind the other, in pieces that fit a request. A sub-block that needs several
    /// pieces has them in one batch.
    fn plan_run(
        &self,
        tracker: &Tracker,
        batch: &mut Batch,
        (number, chunk, place): (u64, &Chunk, u64),
        run: SubRun,
    ) -> Result {
        let request_sectors = PAGES as u64 * SECTORS_PER_PAGE;
        let step = u32::try_from((request_sectors / self.chunks.sub_sectors()).max(1)).unwrap_or(1);
        let chunk_first = number * self.chunks.chunk_sectors();
        let mut first = run.first;
        while first < run.first + run.count {
            let count = step.min(run.first + run.count - first);
            let bits = (u64::MAX >> (64 - count)) << first;
            let whole = self.chunks.sectors_of_run(number, SubRun { first, count });
            if whole.len() > request_sectors && !batch.is_empty() {
                self.run(tracker, batch)?;
            }
            let mut at = whole.first;
            while at < whole.end {
                let piece = SectorRange { first: at, end: whole.end.min(at + request_sectors) };
                let store_sector = place + (at - chunk_first);
                if batch.plan(chunk, bits, piece, store_sector).is_err() {
                    if whole.len() > request_sectors && at != whole.first {
                        // The pieces so far must not count as the whole sub-block.
                        batch.abandon();
                        return Err(ENOMEM);
                    }
                    self.run(tracker, batch)?;
                    continue;
                }
                at = piece.end;
            }
            first += count;
        }
        Ok(())
    }

    /// A write to the image goes to the storage and stays there.
    fn write_image(&self, tracker: &Arc<Tracker>, batch: &mut Batch, bio: *mut bio) -> Result {
        // SAFETY: the image gave us the bio.
        let (first, bytes) = unsafe { ((*bio).bi_iter.bi_sector, (*bio).bi_iter.bi_size) };
        let sectors = SectorRange::new(first, u64::from(bytes >> 9));
        if sectors.end > self.chunks.capacity_sectors {
            return Err(EIO);
        }
        // First, because a write that fails may have changed a part.
        tracker.mark_in_both(&mut tracker.maps.lock(), sectors);
        for part in self.chunks.parts(sectors) {
            if self.is_broken() {
                return Err(EIO);
            }
            match self.write_part(tracker, batch, part, bio) {
                Ok(()) => {}
                // The image is as true as before.
                Err(error) if error == ENOMEM => return Err(error),
                Err(error) => {
                    self.fail(error);
                    return Err(EIO);
                }
            }
        }
        tracker.statistics.image_write_bytes.fetch_add(u64::from(bytes), Ordering::Relaxed);
        Ok(())
    }

    fn write_part(&self, tracker: &Tracker, batch: &mut Batch, part: ChunkPart, bio: *mut bio) -> Result {
        // What is only partly overwritten must be there first.
        self.plan(tracker, batch, part.sectors, Some(part.touched & !part.covered))?;
        self.run(tracker, batch)?;
        let (chunk, place) = self.placed(part.chunk)?;
        let claim = chunk.claim(part.covered);
        let chunk_first = part.chunk * self.chunks.chunk_sectors();
        let mut pages = Pages::new();
        let mut at = part.sectors.first;
        let mut result = Ok(());
        while at < part.sectors.end && result.is_ok() {
            let start = at - at % SECTORS_PER_PAGE;
            let end = part.sectors.end.min(start + PAGES as u64 * SECTORS_PER_PAGE);
            let store_sector = place + (start - chunk_first);
            result = self.write_piece(&mut pages, SectorRange { first: at, end }, store_sector, bio);
            at = end;
        }
        match result {
            Ok(()) => chunk.finish(claim.mine),
            Err(_) => chunk.abort(claim.mine),
        }
        result
    }

    /// Moves the next bytes of a bio to the storage; what else is in their pages stays as it is there.
    fn write_piece(&self, pages: &mut Pages, sectors: SectorRange, store_sector: u64, bio: *mut bio) -> Result {
        let before = ((sectors.first % SECTORS_PER_PAGE) << 9) as usize;
        let length = (sectors.len() << 9) as usize;
        let count = (before + length).div_ceil(PAGE_SIZE);
        patiently(|| pages.grow(count, true))?;
        if before != 0 || (before + length) % PAGE_SIZE != 0 {
            self.store.transfer(pages.vectors(count), count * PAGE_SIZE, store_sector, false)?;
        }
        let mut at = before;
        while at < before + length {
            let now = (PAGE_SIZE - at % PAGE_SIZE).min(before + length - at);
            let memory = &mut pages.memory(at / PAGE_SIZE)[at % PAGE_SIZE..][..now];
            // SAFETY: the memory has `now` bytes; the bio is ours and has as many left.
            unsafe { ffi::blksnap_bio_copy(bio, memory.as_mut_ptr().cast(), now as c_uint, false) };
            at += now;
        }
        self.store.transfer(pages.vectors(count), count * PAGE_SIZE, store_sector, true)
    }
}
