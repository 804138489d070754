// SPDX-License-Identifier: GPL-2.0
//! The disk that shows a device as it was at TAKE.
//!
//! # Reads
//!
//! A read of which nothing is preserved becomes a read of the device, and one that is wholly preserved in one place of a
//! storage that is a block device becomes a read of that; nothing is copied and nobody has to wake up. When a read of
//! the device has ended it is looked again, as `chunk.rs` demands: if something of it was preserved meanwhile, what came
//! may be newer data, and the read goes to a [`Reader`], like all others.
//!
//! # Writes
//!
//! They go to the worker of the device.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::{
    bindings::{self, bio, block_device, block_device_operations, gendisk},
    prelude::*,
    sync::Arc,
    time::{Delta, delay::fsleep},
    types::Opaque,
};

use crate::cow::Cow;
use crate::image_read::Reader;
use crate::kernel_memory::NoIo;
use crate::sizes::SectorRange;
use crate::tracker::Tracker;
use crate::uapi::IMAGE_NAME_BYTES;
use crate::{bio as bios, ffi};

const READERS: usize = 4;

/// An image disk. `disk.private_data` points here until it is removed.
pub struct Image {
    disk: *mut gendisk,
    added: bool,
    cow: Arc<Cow>,
    tracker: Arc<Tracker>,
    readers: KVec<Arc<Reader>>,
    next: AtomicUsize,
    /// Reads that were passed on and are not over.
    under_way: AtomicUsize,
}

// SAFETY: the disk is only used through functions that any task may call.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

/// For clones of reads.
pub static CLONES: Clones = Clones(Opaque::uninit());

pub struct Clones(Opaque<bindings::bio_set>);
// SAFETY: a bio set has its own locks.
unsafe impl Sync for Clones {}

impl Clones {
    pub fn get(&self) -> *mut bindings::bio_set {
        self.0.get()
    }
}

/// The memory for clones; dropped after all images.
pub struct CloneMemory(());

impl CloneMemory {
    pub fn new() -> Result<Self> {
        // SAFETY: once, before any image.
        kernel::error::to_result(unsafe {
            let flags = bindings::BIOSET_NEED_BVECS | bindings::BIOSET_NEED_RESCUER;
            bindings::bioset_init(CLONES.0.get(), 64, 0, flags as c_int)
        })?;
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
            let reader = Reader::new(cow.clone(), tracker.clone())?;
            readers.push(reader, GFP_KERNEL)?;
        }
        // SAFETY: the tracker holds a reference on its device.
        let disk = kernel::error::from_err_ptr(unsafe { ffi::blksnap_disk_alloc(tracker.bdev()) })?;
        let (major, minor) = tracker.device_number();
        let capacity = cow.chunks.capacity_sectors;
        let (next, under_way) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let image = Self { disk, added: false, cow, tracker, readers, next, under_way };
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

    /// The disk, to see what lies on it.
    pub fn disk(&self) -> *mut gendisk {
        self.disk
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
        while this.under_way.load(Ordering::Acquire) != 0 {
            fsleep(Delta::from_millis(1));
        }
        this.readers.iter().for_each(|reader| reader.settle());
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: ours; who still has it open sees a dead disk, to which nothing is submitted any more.
        unsafe { bindings::put_disk(self.disk) };
    }
}

/// The image of a bio that was submitted to it.
///
/// # Safety
///
/// No image goes before its bios have ended.
unsafe fn of<'a>(bio: *mut bio) -> &'a Image {
    // SAFETY: by the caller's promise; `new` put a pointer there.
    unsafe { &*(*(*(*bio).bi_bdev).bd_disk).private_data.cast::<Image>() }
}

unsafe extern "C" fn submit_bio(bio: *mut bio) {
    // SAFETY: called for our disks only, and none of them goes before this returns; the bio is ours now.
    let (image, operation, sectors) = unsafe { (of(bio), bios::operation(bio), bios::sectors(bio)) };
    let error = match operation {
        _ if image.cow.is_broken() => EIO.to_errno(),
        bios::READ => return image.read(bio),
        // A flush. What was written is in the storage already.
        bios::WRITE if sectors == 0 => 0,
        bios::WRITE => {
            if image.cow.add_image_write(bio) {
                image.tracker.wake();
            }
            return;
        }
        _ => EOPNOTSUPP.to_errno(),
    };
    // SAFETY: ours.
    unsafe { bios::end(bio, error) };
}

fn range_of(bio: *mut bio) -> SectorRange {
    // SAFETY: callers own a live bio, which was submitted to a whole image.
    unsafe { SectorRange::new((*bio).bi_iter.bi_sector, bios::sectors(bio)) }
}

type EndIo = unsafe extern "C" fn(*mut bio);

impl Image {
    fn read(&self, bio: *mut bio) {
        match self.only_source(range_of(bio)) {
            Some((bdev, sector, ended)) => self.pass_on(bio, bdev, sector, ended),
            None => self.queue(bio),
        }
    }

    /// The one place from which all of a read comes, and what has to be done afterwards. `None`: there is no such place.
    fn only_source(&self, sectors: SectorRange) -> Option<(*mut block_device, u64, EndIo)> {
        if sectors.end > self.cow.chunks.capacity_sectors {
            return None;
        }
        let stored = |number, touched| self.cow.chunk(number).map_or(0, |chunk| chunk.plan_read(touched).storage);
        if self.cow.chunks.parts(sectors).all(|part| stored(part.chunk, part.touched) == 0) {
            return Some((self.cow.origin(), sectors.first, device_read_ended));
        }
        let part = self.cow.chunks.only_part(sectors)?;
        if stored(part.chunk, part.touched) != part.touched {
            return None;
        }
        let place = self.cow.chunk(part.chunk)?.place()?;
        let sector = place + (sectors.first - part.chunk * self.cow.chunks.chunk_sectors());
        let device = self.cow.store.device_for(sector, sectors.len(), self.cow.origin())?;
        Some((device, sector, storage_read_ended))
    }

    /// Reads from elsewhere straight into the memory of the bio.
    fn pass_on(&self, bio: *mut bio, bdev: *mut block_device, sector: u64, ended: EndIo) {
        let _no_io = NoIo::begin();
        // SAFETY: the bio is ours; memory of the set comes back when other clones end, and its rescuer submits those
        // that this task itself still has to submit.
        let clone = unsafe { bindings::bio_alloc_clone(bdev, bio, bindings::GFP_KERNEL, CLONES.get()) };
        if clone.is_null() {
            return self.queue(bio);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the clone is ours until it is submitted; devices are referenced or open as long as the image.
        unsafe {
            (*clone).bi_iter.bi_sector = sector;
            (*clone).bi_end_io = Some(ended);
            (*clone).bi_private = bio.cast();
            bindings::submit_bio_noacct(clone);
        }
    }

    /// Gives a read to one of the readers. Any context.
    fn queue(&self, bio: *mut bio) {
        self.readers[self.next.fetch_add(1, Ordering::Relaxed) % READERS].add(bio);
    }

    /// Whether something of a range was preserved. Any context.
    fn is_overtaken(&self, sectors: SectorRange) -> bool {
        let overtaken = |number, touched| self.cow.chunk(number).is_some_and(|chunk| chunk.overtaken(touched) != 0);
        self.cow.chunks.parts(sectors).any(|part| overtaken(part.chunk, part.touched))
    }

    /// Ends a read that was passed on, unless only memory was missing: the readers have more patience. Any context.
    fn end_or_repeat(&self, bio: *mut bio, error: c_int) {
        if error == ENOMEM.to_errno() {
            self.queue(bio);
        } else {
            self.end_read(bio, error);
        }
    }

    fn end_read(&self, bio: *mut bio, error: c_int) {
        self.tracker.statistics.image_read_bytes.fetch_add(range_of(bio).len() << 9, Ordering::Relaxed);
        // Broken: writes pass without being preserved, and this may have met one.
        let error = if self.cow.is_broken() { EIO.to_errno() } else { error };
        // SAFETY: ours.
        unsafe { bios::end(bio, error) };
    }
}

unsafe extern "C" fn device_read_ended(clone: *mut bio) {
    // SAFETY: made by `pass_on`.
    unsafe {
        read_ended(clone, |image, bio, error| {
            if error == 0 && image.is_overtaken(range_of(bio)) {
                image.queue(bio);
            } else {
                image.end_or_repeat(bio, error);
            }
        })
    }
}

unsafe extern "C" fn storage_read_ended(clone: *mut bio) {
    // SAFETY: made by `pass_on`. What is preserved stays as it is.
    unsafe { read_ended(clone, Image::end_or_repeat) }
}

/// # Safety
///
/// The clone was made by `pass_on` and has just ended.
unsafe fn read_ended(clone: *mut bio, follow: impl Fn(&Image, *mut bio, c_int)) {
    // SAFETY: by the caller's promise; the image stays until `under_way` says that we are done.
    unsafe {
        let bio: *mut bio = (*clone).bi_private.cast();
        let error = bios::error(clone);
        bindings::bio_put(clone);
        let image = of(bio);
        follow(image, bio, error);
        image.under_way.fetch_sub(1, Ordering::Release);
    }
}

pub fn intersection(left: SectorRange, right: SectorRange) -> SectorRange {
    SectorRange { first: left.first.max(right.first), end: left.end.min(right.end) }
}
