// SPDX-License-Identifier: GPL-2.0
//! Bios: thin names for what the kernel's functions and fields do. No decisions are made here.
//!
//! Every function needs a live bio that the caller owns.

use kernel::{
    bindings::{self, bio, bio_vec, block_device},
    prelude::*,
};

type EndIo = unsafe extern "C" fn(*mut bio);

pub const READ: u32 = bindings::req_op_REQ_OP_READ;
pub const WRITE: u32 = bindings::req_op_REQ_OP_WRITE;
const OPERATION_MASK: u32 = 0xff;
const PREFLUSH: u32 = 1 << bindings::req_flag_bits___REQ_PREFLUSH;
const NOWAIT: u32 = 1 << bindings::req_flag_bits___REQ_NOWAIT;
const POLLED: u32 = 1 << bindings::req_flag_bits___REQ_POLLED;
const SYNC: u32 = 1 << bindings::req_flag_bits___REQ_SYNC;
/// For whoever submits a bio to mark it; ours are writes to the difference storage.
const OWN: u32 = 1 << bindings::req_flag_bits___REQ_FS_PRIVATE;
const REMAPPED: u16 = 1 << bindings::BIO_REMAPPED;

/// Data of a request for [`init`].
pub struct Data<'a> {
    pub vectors: &'a mut [bio_vec],
    pub bytes: u32,
}

/// One of `REQ_OP_…`.
///
/// # Safety
///
/// See the head of this file; the same for all functions here.
pub unsafe fn operation(bio: *mut bio) -> u32 {
    // SAFETY: by the caller's promise.
    unsafe { (*bio).bi_opf & OPERATION_MASK }
}

/// Whether it changes the device.
#[inline]
pub unsafe fn is_write(bio: *mut bio) -> bool {
    // SAFETY: by the caller's promise.
    unsafe { (*bio).bi_opf & 1 != 0 }
}

/// How many sectors it covers.
#[inline]
pub unsafe fn sectors(bio: *mut bio) -> u64 {
    // SAFETY: by the caller's promise.
    u64::from(unsafe { (*bio).bi_iter.bi_size } >> 9)
}

/// The first sector of the whole disk that it covers.
#[inline]
pub unsafe fn first_on_disk(bio: *mut bio) -> u64 {
    // SAFETY: by the caller's promise; a live bio's device is live.
    unsafe {
        let first = (*bio).bi_iter.bi_sector;
        match (*bio).bi_flags & REMAPPED {
            0 => first.wrapping_add((*(*bio).bi_bdev).bd_start_sect),
            _ => first,
        }
    }
}

/// Whether its submitter wants to hear rather than to wait.
pub unsafe fn must_not_wait(bio: *mut bio) -> bool {
    // SAFETY: by the caller's promise.
    unsafe { (*bio).bi_opf & NOWAIT != 0 }
}

/// Whether it may be one of [`storage_transfer`].
pub unsafe fn may_be_own(bio: *mut bio) -> bool {
    // SAFETY: by the caller's promise.
    unsafe { (*bio).bi_opf & OWN != 0 }
}

/// It may wait from now on, and nobody polls for it.
pub unsafe fn defer(bio: *mut bio) {
    // SAFETY: by the caller's promise.
    unsafe { (*bio).bi_opf &= !(NOWAIT | POLLED) };
}

/// Ends it; 0 or a negative errno.
///
/// A submitter may note in one bio that another one failed (direct I/O of several bios does, and whoever chains bios): what
/// stands there already is an error, and success must not take it back.
pub unsafe fn end(bio: *mut bio, error: c_int) {
    // SAFETY: by the caller's promise.
    unsafe {
        if error != 0 {
            (*bio).bi_status = bindings::errno_to_blk_status(error);
        }
        bindings::bio_endio(bio);
    }
}

/// How it ended: 0 or a negative errno.
pub unsafe fn error(bio: *mut bio) -> c_int {
    // SAFETY: by the caller's promise.
    unsafe { bindings::blk_status_to_errno((*bio).bi_status) }
}

/// Moves its beginning; not beyond its end.
pub unsafe fn skip(bio: *mut bio, bytes: u32) {
    // SAFETY: by the caller's promise.
    unsafe {
        if bytes == (*bio).bi_iter.bi_size {
            (*bio).bi_iter.bi_size = 0;
        } else {
            bindings::__bio_advance(bio, bytes);
        }
    }
}

/// Makes a bio of memory that belongs to the caller and stays until it has ended and [`bindings::bio_uninit`] was
/// called; the data stays as long.
unsafe fn init(bio: *mut bio, bdev: *mut block_device, data: Data<'_>, sector: u64, flags: u32) {
    let count = data.vectors.len() as u16;
    // SAFETY: by the caller's promise.
    unsafe {
        bindings::bio_init(bio, bdev, data.vectors.as_mut_ptr(), count, flags);
        (*bio).bi_vcnt = count;
        (*bio).bi_iter.bi_size = data.bytes;
        (*bio).bi_iter.bi_sector = sector;
    }
}

/// Begins to read; `end_io` comes when it is over.
pub unsafe fn read_start(
    bio: *mut bio,
    bdev: *mut block_device,
    data: Data<'_>,
    sector: u64,
    (end_io, private): (EndIo, *mut c_void),
) {
    // SAFETY: by the caller's promise.
    unsafe {
        init(bio, bdev, data, sector, READ);
        (*bio).bi_end_io = Some(end_io);
        (*bio).bi_private = private;
        bindings::submit_bio(bio);
    }
}

/// Reads from or writes to a device that holds difference storage, and waits.
pub fn storage_transfer(bdev: *mut block_device, data: Data<'_>, sector: u64, write: bool) -> Result {
    let flags = if write { WRITE | SYNC | OWN } else { READ };
    let mut bio = core::mem::MaybeUninit::<bio>::uninit();
    // SAFETY: the memory stays until the end, and `bio_init` fills all of it.
    kernel::error::to_result(unsafe {
        init(bio.as_mut_ptr(), bdev, data, sector, flags);
        let error = bindings::submit_bio_wait(bio.as_mut_ptr());
        bindings::bio_uninit(bio.as_mut_ptr());
        error
    })
}

/// An empty flush that only asks whether the hook sees it.
pub unsafe fn init_canary(bio: *mut bio, bdev: *mut block_device, end_io: EndIo) {
    // SAFETY: by the caller's promise.
    unsafe {
        bindings::bio_init(bio, bdev, core::ptr::null_mut(), 0, WRITE | PREFLUSH);
        (*bio).bi_end_io = Some(end_io);
    }
}

/// The end function of a chained bio, which is not exported.
pub fn end_of_chains() -> Option<EndIo> {
    let mut parent = bio::default();
    let mut child = bio::default();
    // SAFETY: two bios that are never submitted.
    unsafe {
        bindings::bio_init(&mut parent, core::ptr::null_mut(), core::ptr::null_mut(), 0, READ);
        bindings::bio_init(&mut child, core::ptr::null_mut(), core::ptr::null_mut(), 0, READ);
        bindings::bio_chain(&mut child, &mut parent);
    }
    child.bi_end_io
}
