// SPDX-License-Identifier: GPL-2.0
//! The difference storage: a file or block device that holds what was overwritten.
//!
//! Its I/O is synchronous and done by the workers of copy on write and of images. Room is given out under a lock; the
//! file grows in a work item of its own, so that nobody waits for that before there is no room at all.

use kernel::{
    bindings::{self, block_device, file},
    impl_has_work, new_condvar, new_mutex, new_work,
    prelude::*,
    sync::{Arc, CondVar, Mutex},
    workqueue::{Work, WorkItem},
};

use crate::event_queue::Event;
use crate::events::Events;
use crate::space::{Next, NoRoom, Space};
use crate::{ffi, parameters, work};

const MODE_KIND: u16 = 0o170000;
const MODE_DIRECTORY: u16 = 0o040000;
const MODE_FILE: u16 = 0o100000;
const MODE_BLOCK: u16 = 0o060000;

struct Room {
    space: Space,
    /// What growth is under way to, in sectors; 0 without.
    target_sectors: u64,
    /// Why the last growth failed.
    failure: Option<Error>,
}

/// An open difference storage.
#[pin_data(PinnedDrop)]
pub struct Store {
    file: *mut file,
    /// Set when it is a block device.
    bdev: *mut block_device,
    events: Arc<Events>,
    #[pin]
    room: Mutex<Room>,
    #[pin]
    grown: CondVar,
    #[pin]
    work: Work<Store>,
}

impl_has_work! {
    impl HasWork<Self> for Store { self.work }
}

// SAFETY: the file is only used through functions that any task may call at any time.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

/// A file that is closed unless it is taken.
struct Open(*mut file);

impl Open {
    fn take(self) -> *mut file {
        let file = self.0;
        core::mem::forget(self);
        file
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: opened by us.
        unsafe { bindings::fput(self.0) };
    }
}

impl Store {
    /// Opens what is at `path` and makes it ready. Sleeps, in the caller's file system context.
    pub fn open(path: &CStr, limit_sectors: u64, events: Arc<Events>) -> Result<Arc<Self>> {
        let mut mode = 0;
        // SAFETY: a string that ends with a zero, and a place for the mode.
        kernel::error::to_result(unsafe { ffi::blksnap_path_mode(path.as_char_ptr(), &mut mode) })?;
        let kind = mode & MODE_KIND;
        let file = Open(match kind {
            MODE_DIRECTORY => open_file(path, bindings::O_RDWR | bindings::O_TMPFILE)?,
            MODE_FILE => open_file(path, bindings::O_RDWR)?,
            MODE_BLOCK => open_device(path)?,
            _ => return Err(EINVAL),
        });
        // SAFETY: open.
        let bdev = if kind == MODE_BLOCK { unsafe { ffi::blksnap_file_bdev(file.0) } } else { core::ptr::null_mut() };
        // SAFETY: open.
        let capacity = unsafe { ffi::blksnap_file_sectors(file.0) };
        let mut space = Space::growing(capacity, limit_sectors).map_err(|_| ENOSPC)?;
        if !bdev.is_null() {
            space = Space::fixed(capacity, limit_sectors);
        } else if capacity == 0 {
            let first = parameters::storage_step_sectors().min(limit_sectors);
            grow(file.0, first)?;
            space.grown(first);
        } else {
            // It may have holes; filling one must not fail later.
            grow(file.0, capacity)?;
        }
        Arc::pin_init(
            pin_init!(Self {
                file: file.take(),
                bdev,
                events,
                room <- new_mutex!(Room { space, target_sectors: 0, failure: None }),
                grown <- new_condvar!(),
                work <- new_work!("blksnap::Store"),
            }),
            GFP_KERNEL,
        )
    }

    /// The block device on which it lives: itself, or that of its file system (null for one without).
    pub fn device(&self) -> *mut block_device {
        if self.bdev.is_null() {
            // SAFETY: open.
            unsafe { ffi::blksnap_super_bdev(self.file) }
        } else {
            self.bdev
        }
    }

    /// (limit, capacity, used) in sectors.
    pub fn usage(&self) -> (u64, u64, u64) {
        let room = self.room.lock();
        (room.space.limit_sectors(), room.space.capacity_sectors(), room.space.used_sectors())
    }

    pub fn said_no_space(&self) -> bool {
        self.room.lock().space.said_no_space()
    }

    /// Gives room away; waits for growth when there is none now. `ENOSPC` when there will be none.
    pub fn allocate(self: &Arc<Self>, sectors: u64) -> Result<u64> {
        let step = parameters::storage_step_sectors();
        let mut tries = 0;
        let mut room = self.room.lock();
        loop {
            match room.space.allocate(sectors, step) {
                Ok((first, next)) => {
                    let event = self.follow(&mut room, next);
                    drop(room);
                    if let Some(event) = event {
                        self.events.push(event);
                    }
                    return Ok(first);
                }
                Err(NoRoom::Full) => return Err(ENOSPC),
                Err(NoRoom::Growing(next)) => {
                    if let Some(failure) = room.failure.take() {
                        tries += 1;
                        if tries == 3 {
                            return Err(failure);
                        }
                    }
                    self.follow(&mut room, next);
                    while room.target_sectors != 0 {
                        self.grown.wait(&mut room);
                    }
                }
            }
        }
    }

    fn follow(self: &Arc<Self>, room: &mut Room, next: Next) -> Option<Event> {
        match next {
            Next::Nothing => None,
            Next::Grow { to_sectors } => {
                room.target_sectors = to_sectors;
                // Not queued yet: `growing` in the space sees to that.
                let _ = work::images().enqueue(self.clone());
                None
            }
            Next::NoSpace { requested_sectors } => Some(Event::NoSpace { requested_sectors }),
        }
    }

    /// Reads or writes whole pages at a sector. The pages hold `bytes` from the first one's beginning.
    pub fn transfer(&self, vectors: &mut [bindings::bio_vec], bytes: usize, sector: u64, write: bool) -> Result {
        let count = u32::try_from(vectors.len()).map_err(|_| EINVAL)?;
        let bytes = u32::try_from(bytes).map_err(|_| EINVAL)?;
        // SAFETY: the vectors and their pages are the caller's for the time of the call; file or device are open.
        kernel::error::to_result(unsafe {
            if self.bdev.is_null() {
                ffi::blksnap_file_transfer(self.file, vectors.as_mut_ptr(), count, bytes, sector, write)
            } else {
                ffi::blksnap_device_transfer(self.bdev, vectors.as_mut_ptr(), count, bytes, sector, write)
            }
        })
    }
}

impl WorkItem for Store {
    type Pointer = Arc<Self>;

    /// Grows the file.
    fn run(this: Arc<Self>) {
        // Reclaim could wait for writes that wait for this very growth.
        let _no_io = crate::kernel_memory::NoIo::begin();
        let target = this.room.lock().target_sectors;
        let result = grow(this.file, target);
        let mut room = this.room.lock();
        match result {
            Ok(()) => room.space.grown(target),
            Err(error) => {
                pr_warn!("the difference storage cannot grow to {} sectors: {:?}\n", target, error);
                room.failure = Some(error);
                room.space.growth_failed();
            }
        }
        room.target_sectors = 0;
        drop(room);
        this.grown.notify_all();
    }
}

#[pinned_drop]
impl PinnedDrop for Store {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: opened by `open`, and used by nobody any more.
        unsafe { bindings::fput(self.file) };
    }
}

/// Opens a file for direct I/O. A file system that cannot says `EOPNOTSUPP`.
fn open_file(path: &CStr, flags: u32) -> Result<*mut file> {
    let flags = (flags | bindings::O_LARGEFILE | bindings::O_DIRECT) as c_int;
    // SAFETY: a string that ends with a zero.
    let opened = kernel::error::from_err_ptr(unsafe { bindings::filp_open(path.as_char_ptr(), flags, 0o600) });
    opened.map_err(|error| if error == EINVAL || error == EISDIR { EOPNOTSUPP } else { error })
}

/// Opens a block device for us alone.
fn open_device(path: &CStr) -> Result<*mut file> {
    static HOLDER: u8 = 0;
    let holder = core::ptr::from_ref(&HOLDER).cast_mut().cast();
    // BLK_OPEN_READ | BLK_OPEN_WRITE of blkdev.h, whose casts no bindings are made of.
    let mode = 1 << 0 | 1 << 1;
    // SAFETY: a string that ends with a zero; the holder is only an address.
    kernel::error::from_err_ptr(unsafe {
        bindings::bdev_file_open_by_path(path.as_char_ptr(), mode, holder, core::ptr::null())
    })
}

fn grow(file: *mut file, sectors: u64) -> Result {
    let bytes = i64::try_from(sectors).ok().and_then(|sectors| sectors.checked_mul(512)).ok_or(EFBIG)?;
    // SAFETY: open for writing.
    kernel::error::to_result(unsafe { ffi::blksnap_file_allocate(file, bytes) })
}
