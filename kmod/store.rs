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

use crate::bio::{self as bios, Data};
use crate::event_queue::Event;
use crate::events::Events;
use crate::kernel_memory::patiently;
use crate::space::{Next, NoRoom, Space};
use crate::{ffi, parameters, work};

/// Of `namei.h`, of which there are no bindings.
const LOOKUP_FOLLOW: u32 = 1;
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
#[pin_data]
pub struct Store {
    open: Open,
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

/// An open file or device.
struct Open {
    file: *mut file,
    /// Null when it is not a block device.
    bdev: *mut block_device,
}

impl Drop for Open {
    /// In the context of a task that returns to user space, the file is closed before it does; a device can be opened
    /// by others at once.
    fn drop(&mut self) {
        // SAFETY: opened by us, and used by nobody any more.
        unsafe {
            if self.bdev.is_null() {
                bindings::fput(self.file);
            } else {
                bindings::bdev_fput(self.file);
            }
        }
    }
}

impl Store {
    /// Opens what is at `path` and makes it ready. Sleeps, in the caller's file system context.
    pub fn open(path: &CStr, limit_sectors: u64, events: Arc<Events>) -> Result<Arc<Self>> {
        let kind = kind_of(path)?;
        let open = match kind {
            MODE_DIRECTORY => open_file(path, bindings::O_RDWR | bindings::O_TMPFILE)?,
            MODE_FILE => open_file(path, bindings::O_RDWR)?,
            MODE_BLOCK => open_device(path)?,
            _ => return Err(EINVAL),
        };
        let capacity = open.sectors();
        let mut space = Space::growing(capacity, limit_sectors).map_err(|_| ENOSPC)?;
        if kind == MODE_BLOCK {
            space = Space::fixed(capacity, limit_sectors);
        } else if capacity == 0 {
            let first = parameters::storage_step_sectors().min(limit_sectors);
            open.grow(first)?;
            space.grown(first);
        } else {
            // It may have holes; filling one must not fail later.
            open.grow(capacity)?;
        }
        Arc::pin_init(
            pin_init!(Self {
                open,
                events,
                room <- new_mutex!(Room { space, target_sectors: 0, failure: None }),
                grown <- new_condvar!(),
                work <- new_work!("blksnap::Store"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether it is a block device, so that no file system is entered to use it.
    pub fn is_device(&self) -> bool {
        !self.open.bdev.is_null()
    }

    /// The block device on which it lives: itself, or that of its file system (null for one without).
    pub fn device(&self) -> *mut block_device {
        if self.is_device() {
            return self.open.bdev;
        }
        // SAFETY: an open file has an inode, and that a file system.
        unsafe { (*(*(*self.open.file).f_inode).i_sb).s_bdev }
    }

    /// The device, if requests that `like` takes can go to these sectors of it as they are.
    pub fn device_for(&self, sector: u64, sectors: u64, like: *mut block_device) -> Option<*mut block_device> {
        let device = self.open.bdev;
        if device.is_null() {
            return None;
        }
        // SAFETY: both are open or referenced.
        let fits = unsafe { ffi::blksnap_takes_alike(device, like, sector | sectors) };
        fits.then_some(device)
    }

    /// Waits until it does not grow any more, so that whoever drops it last is not a work item, which would close it
    /// some time later.
    pub fn settle(&self) {
        // SAFETY: the work belongs to a live storage.
        unsafe { bindings::flush_work(Work::raw_get(&self.work)) };
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
        let bytes = u32::try_from(bytes).map_err(|_| EINVAL)?;
        patiently(|| {
            let data = Data { vectors, bytes };
            if self.is_device() {
                bios::storage_transfer(self.open.bdev, data, sector, write)
            } else {
                self.open.transfer(data, sector, write)
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
        let result = patiently(|| this.open.grow(target));
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

/// Directory, file or device.
fn kind_of(path: &CStr) -> Result<u16> {
    let mut found = bindings::path::default();
    // SAFETY: a string that ends with a zero; what is found is given back below, after its inode was looked at.
    unsafe {
        kernel::error::to_result(ffi::kern_path(path.as_char_ptr(), LOOKUP_FOLLOW, &mut found))?;
        let mode = (*(*found.dentry).d_inode).i_mode;
        bindings::path_put(&found);
        Ok(mode & MODE_KIND)
    }
}

/// Opens a file for direct I/O. A file system that cannot says `EOPNOTSUPP`.
fn open_file(path: &CStr, flags: u32) -> Result<Open> {
    let flags = (flags | bindings::O_LARGEFILE | bindings::O_DIRECT) as c_int;
    // SAFETY: a string that ends with a zero.
    let opened = kernel::error::from_err_ptr(unsafe { bindings::filp_open(path.as_char_ptr(), flags, 0o600) });
    let file = opened.map_err(|error| {
        if error != EINVAL && error != EISDIR && error != EOPNOTSUPP {
            return error;
        }
        pr_warn!("the file system for difference storage knows no O_DIRECT or no O_TMPFILE; name a file or another place\n");
        EOPNOTSUPP
    })?;
    Ok(Open { file, bdev: core::ptr::null_mut() })
}

/// Opens a block device for us alone.
fn open_device(path: &CStr) -> Result<Open> {
    static HOLDER: u8 = 0;
    let holder = core::ptr::from_ref(&HOLDER).cast_mut().cast();
    // BLK_OPEN_READ | BLK_OPEN_WRITE of blkdev.h, whose casts no bindings are made of.
    let mode = 1 << 0 | 1 << 1;
    // SAFETY: a string that ends with a zero; the holder is only an address.
    let opened = kernel::error::from_err_ptr(unsafe {
        bindings::bdev_file_open_by_path(path.as_char_ptr(), mode, holder, core::ptr::null())
    });
    let file = opened.inspect_err(|error| {
        if *error == EBUSY {
            pr_warn!("the device for difference storage is in use (mounted, or a part of another one); name another one\n");
        }
    })?;
    // SAFETY: open.
    Ok(Open { file, bdev: unsafe { ffi::blksnap_file_bdev(file) } })
}

impl Open {
    fn sectors(&self) -> u64 {
        // SAFETY: open. A device's size is that of the inode that maps it.
        let bytes = unsafe { core::ptr::addr_of!((*(*(*self.file).f_mapping).host).i_size).read_volatile() };
        bytes as u64 >> 9
    }

    fn grow(&self, sectors: u64) -> Result {
        let bytes = i64::try_from(sectors).ok().and_then(|sectors| sectors.checked_mul(512)).ok_or(EFBIG)?;
        // It takes write access to the file system itself: taking it here too would deadlock with a freeze.
        // SAFETY: open for writing.
        kernel::error::to_result(unsafe { bindings::vfs_fallocate(self.file, 0, 0, bytes) })
    }

    /// Reads or writes the file at a sector.
    fn transfer(&self, data: Data<'_>, sector: u64, write: bool) -> Result {
        let mut position = (sector << 9) as i64;
        let mut left = data.bytes as isize;
        let mut iter = bindings::iov_iter::default();
        let direction = if write { bindings::ITER_SOURCE } else { bindings::ITER_DEST };
        let (vectors, count) = (data.vectors.as_ptr(), data.vectors.len());
        // SAFETY: the vectors and their pages are the caller's until we return.
        unsafe { bindings::iov_iter_bvec(&mut iter, direction, vectors, count, left as usize) };
        while left > 0 {
            // SAFETY: open; the iterator covers what is left.
            let done = unsafe {
                if write {
                    bindings::vfs_iter_write(self.file, &mut iter, &mut position, 0)
                } else {
                    bindings::vfs_iter_read(self.file, &mut iter, &mut position, 0)
                }
            };
            if done <= 0 {
                return Err(if done == 0 { EIO } else { Error::from_errno(done as c_int) });
            }
            left -= done;
        }
        Ok(())
    }
}
