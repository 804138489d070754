// SPDX-License-Identifier: GPL-2.0
//! The disk that shows a device as it was at TAKE.
//!
//! Reads are done by a few work items, each with its own requests. Writes go to the worker of the device, which alone
//! changes what is preserved.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::{
    bindings::{self, bio, block_device_operations, gendisk},
    impl_has_work, new_work,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    types::Opaque,
    workqueue::{Work, WorkItem},
};

use crate::cow::Cow;
use crate::lists::BioList;
use crate::pages::Pages;
use crate::sizes::{self, SectorRange};
use crate::tracker::Tracker;
use crate::uapi::IMAGE_NAME_BYTES;
use crate::{ffi, work};

const READERS: usize = 4;
const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / 512;
/// Pages that are read from the storage at once.
const BOUNCE_PAGES: usize = 16;

/// One of the work items that read.
#[pin_data]
struct Reader {
    cow: Arc<Cow>,
    tracker: Arc<Tracker>,
    reads: BioList,
    #[pin]
    work: Work<Reader>,
}

impl_has_work! {
    impl HasWork<Self> for Reader { self.work }
}

/// An image disk. `disk.private_data` points here until it is removed.
pub struct Image {
    disk: *mut gendisk,
    added: bool,
    cow: Arc<Cow>,
    tracker: Arc<Tracker>,
    readers: KVec<Arc<Reader>>,
    next: AtomicUsize,
}

// SAFETY: the disk is only used through functions that any task may call.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

/// For clones of reads.
static CLONES: Clones = Clones(Opaque::uninit());

struct Clones(Opaque<bindings::bio_set>);
// SAFETY: a bio set has its own locks.
unsafe impl Sync for Clones {}

/// The memory for clones; dropped after all images.
pub struct CloneMemory(());

impl CloneMemory {
    pub fn new() -> Result<Self> {
        // SAFETY: once, before any image.
        kernel::error::to_result(unsafe { ffi::blksnap_bioset_init(CLONES.0.get(), 0) })?;
        Ok(Self(()))
    }
}

impl Drop for CloneMemory {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; no image is left.
        unsafe { bindings::bioset_exit(CLONES.0.get()) };
    }
}

struct Operations(block_device_operations);
// SAFETY: never changes.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(block_device_operations {
    submit_bio: Some(submit_bio),
    owner: ffi::this_module(),
    // SAFETY: all other fields are optional functions and pointers, for which zero is None and null.
    ..unsafe { core::mem::MaybeUninit::<block_device_operations>::zeroed().assume_init() }
});

impl Image {
    /// A disk that nobody sees yet.
    pub fn new(tracker: Arc<Tracker>, cow: Arc<Cow>) -> Result<Pin<KBox<Self>>> {
        let mut readers = KVec::with_capacity(READERS, GFP_KERNEL)?;
        for _ in 0..READERS {
            let (cow, tracker) = (cow.clone(), tracker.clone());
            let reader = Arc::pin_init(
                pin_init!(Reader {
                    cow,
                    tracker,
                    reads: BioList::new(),
                    work <- new_work!("blksnap::Reader"),
                }),
                GFP_KERNEL,
            )?;
            readers.push(reader, GFP_KERNEL)?;
        }
        // SAFETY: the tracker holds a reference on its device.
        let disk = kernel::error::from_err_ptr(unsafe { ffi::blksnap_disk_alloc(tracker.bdev()) })?;
        let (major, minor) = tracker.device_number();
        let capacity = cow.chunks.capacity_sectors;
        let image = Self { disk, added: false, cow, tracker, readers, next: AtomicUsize::new(0) };
        let image = KBox::pin(image, GFP_KERNEL)?;
        let name = kernel::str::CString::try_from_fmt(fmt!("blksnap-{}-{}", major, minor))?;
        // At most 26 bytes with the zero.
        let name = name.to_bytes_with_nul();
        // SAFETY: the disk is ours and not added yet; its name has room for 32 bytes.
        unsafe {
            core::ptr::copy_nonoverlapping(name.as_ptr(), (*disk).disk_name.as_mut_ptr().cast(), name.len());
            (*disk).fops = &OPERATIONS.0;
            (*disk).private_data = core::ptr::from_ref(&*image).cast_mut().cast();
            bindings::set_capacity(disk, capacity);
        }
        Ok(image)
    }

    /// Shows the disk to the world.
    pub fn add(self: Pin<&mut Self>) -> Result {
        // SAFETY: complete; no parent and no attributes of its own.
        kernel::error::to_result(unsafe {
            bindings::device_add_disk(core::ptr::null_mut(), self.disk, core::ptr::null_mut())
        })?;
        // SAFETY: nothing is moved.
        unsafe { self.get_unchecked_mut() }.added = true;
        Ok(())
    }

    pub fn cow(&self) -> &Cow {
        &self.cow
    }

    /// The disk's name, ended by zeroes; empty while nobody sees it.
    pub fn name(&self) -> [u8; IMAGE_NAME_BYTES] {
        let mut name = [0; IMAGE_NAME_BYTES];
        if self.added {
            // SAFETY: the name does not change after the disk is added.
            let shown = unsafe { &(*self.disk).disk_name };
            for (to, from) in name.iter_mut().zip(shown) {
                *to = *from as u8;
            }
        }
        name
    }

    /// Removes the disk. No new request comes afterwards, and reads are over; writes are the worker's.
    pub fn remove(self: Pin<&mut Self>) {
        // SAFETY: nothing is moved.
        let this = unsafe { self.get_unchecked_mut() };
        if this.added {
            // SAFETY: added by `add`. Waits for requests that are being submitted.
            unsafe { bindings::del_gendisk(this.disk) };
            this.added = false;
        }
        for reader in &this.readers {
            // SAFETY: the work belongs to a live reader.
            unsafe { bindings::flush_work(Work::raw_get(&reader.work)) };
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: ours; who still has it open sees a dead disk, to which nothing is submitted any more.
        unsafe { bindings::put_disk(self.disk) };
    }
}

unsafe extern "C" fn submit_bio(bio: *mut bio) {
    // SAFETY: called for our disks only, and none of them goes before this returns.
    let image = unsafe { &*(*(*(*bio).bi_bdev).bd_disk).private_data.cast::<Image>() };
    // SAFETY: the bio is ours now.
    match unsafe { ffi::blksnap_image_operation(bio) } {
        _ if image.cow.is_broken() => unsafe { ffi::blksnap_bio_end(bio, EIO.to_errno()) },
        0 => {
            let reader = &image.readers[image.next.fetch_add(1, Ordering::Relaxed) % READERS];
            if reader.reads.push(bio) {
                let _ = work::images().enqueue(reader.clone());
            }
        }
        1 => {
            if image.cow.add_image_write(bio) {
                image.tracker.wake();
            }
        }
        2 => unsafe { ffi::blksnap_bio_end(bio, 0) },
        error => unsafe { ffi::blksnap_bio_end(bio, error) },
    }
}

impl WorkItem for Reader {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let _no_io = crate::kernel_memory::NoIo::begin();
        for bio in this.reads.take_all() {
            // SAFETY: `submit_bio` gave us the bio.
            let bytes = u64::from(unsafe { (*bio).bi_iter.bi_size });
            let result = this.read(bio);
            this.tracker.statistics.image_read_bytes.fetch_add(bytes, Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { ffi::blksnap_bio_end(bio, result.map_or_else(|error| error.to_errno(), |()| 0)) };
        }
    }
}

impl Reader {
    /// Reads runs of the device and runs of the storage, in the order of the image.
    fn read(&self, bio: *mut bio) -> Result {
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
                self.read_device(bio, sectors.first, from_device)?;
                self.read_storage(bio, sectors.first, part.chunk, run)?;
                from_device = SectorRange { first: run.end, end: run.end };
            }
            from_device.end = part.sectors.end;
        }
        self.read_device(bio, sectors.first, from_device)?;
        if self.cow.is_broken() {
            return Err(EIO);
        }
        Ok(())
    }

    /// Reads a range from the device, then, from the storage, what was overtaken by a write meanwhile.
    fn read_device(&self, bio: *mut bio, bio_first: u64, sectors: SectorRange) -> Result {
        if sectors.is_empty() {
            return Ok(());
        }
        // SAFETY: the bio is ours and has its data; the device is referenced; memory of the set is always there.
        let error = unsafe {
            let clone = ffi::blksnap_bio_clone(self.cow.origin(), bio, CLONES.0.get());
            ffi::blksnap_bio_skip(clone, ((sectors.first - bio_first) << 9) as c_uint);
            (*clone).bi_iter.bi_size = (sectors.len() << 9) as c_uint;
            (*clone).bi_iter.bi_sector = sectors.first;
            let error = bindings::submit_bio_wait(clone);
            bindings::bio_put(clone);
            error
        };
        kernel::error::to_result(error)?;
        let chunks = self.cow.chunks;
        for part in chunks.parts(sectors) {
            let Some(chunk) = self.cow.chunk(part.chunk) else { continue };
            for run in sizes::runs(chunk.overtaken(part.touched)) {
                let run = intersection(chunks.sectors_of_run(part.chunk, run), part.sectors);
                self.read_storage(bio, bio_first, part.chunk, run)?;
            }
        }
        Ok(())
    }

    /// Reads sectors of one chunk from the storage.
    fn read_storage(&self, bio: *mut bio, bio_first: u64, number: u64, sectors: SectorRange) -> Result {
        let chunk_first = number * self.cow.chunks.chunk_sectors();
        let place = self.cow.chunk(number).and_then(|chunk| chunk.place()).ok_or(EIO)?;
        let mut pages = Pages::new();
        // SAFETY: a copy of the bio is good enough to walk through its data, which stays.
        let mut view = unsafe { core::ptr::read(bio) };
        // SAFETY: inside the bio's data.
        unsafe { ffi::blksnap_bio_skip(&mut view, ((sectors.first - bio_first) << 9) as c_uint) };
        let mut at = sectors.first;
        while at < sectors.end {
            let start = at - at % SECTORS_PER_PAGE;
            let end = sectors.end.min(start + BOUNCE_PAGES as u64 * SECTORS_PER_PAGE);
            let count = (end - start).div_ceil(SECTORS_PER_PAGE) as usize;
            pages.grow(count, true)?;
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

fn intersection(left: SectorRange, right: SectorRange) -> SectorRange {
    SectorRange { first: left.first.max(right.first), end: left.end.min(right.end) }
}
