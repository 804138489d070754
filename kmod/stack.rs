// SPDX-License-Identifier: GPL-2.0
//! Which block devices lie below which: through dm and md by what the kernel notes of holders, through loop by the file
//! behind it.

use kernel::{
    bindings::{block_device, gendisk},
    error::{Result, to_result},
};

use crate::ffi;

/// Stacks are not deeper than this; what is deeper counts as lying on everything.
const DEPTH: u32 = 12;

/// Whether what is written to `device` (perhaps null) may end up on `disk`. `ENOMEM` when there is no memory to find out.
pub fn lies_on(device: *mut block_device, disk: *mut gendisk) -> Result<bool> {
    if device.is_null() {
        // tmpfs and the like.
        return Ok(false);
    }
    // SAFETY: the caller has a file open on `device` and a reference on `disk`.
    let answer = unsafe { ffi::blksnap_lies_on((*device).bd_disk, disk, DEPTH) };
    to_result(answer.min(0))?;
    Ok(answer != 0)
}
