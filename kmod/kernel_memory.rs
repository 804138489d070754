// SPDX-License-Identifier: GPL-2.0
//! The kernel's memory for the pure logic.

use core::{alloc::Layout, ptr::NonNull};

use kernel::{
    alloc::{
        Allocator, NumaNode,
        allocator::{KVmalloc, Kmalloc},
        flags::{__GFP_NOWARN, GFP_KERNEL, GFP_NOWAIT},
    },
    error::{Result, code::ENOMEM},
    ffi::c_uint,
    time::{Delta, delay::fsleep},
};

use crate::ffi;
use crate::memory::{Memory, Wait};

/// `kvmalloc` where waiting is allowed, else `kmalloc` without reclaim; `kvfree` takes both.
#[derive(Clone, Copy, Debug)]
pub struct KernelMemory;

// SAFETY: the kernel's allocators keep the contract of `Allocator`, which is that of `Memory`.
unsafe impl Memory for KernelMemory {
    fn allocate(&self, layout: Layout, wait: Wait) -> Option<NonNull<u8>> {
        let at = match wait {
            Wait::Never => Kmalloc::alloc(layout, GFP_NOWAIT | __GFP_NOWARN, NumaNode::NO_NODE),
            Wait::Allowed => {
                let _no_io = NoIo::begin();
                KVmalloc::alloc(layout, GFP_KERNEL | __GFP_NOWARN, NumaNode::NO_NODE)
            }
        };
        Some(at.ok()?.cast())
    }

    unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: by the caller's promise it came from `allocate` and is used by nobody any more; `kvfree` frees what
        // `kmalloc` gave, too.
        unsafe { KVmalloc::free(at, layout) };
    }
}

/// Does something again that lacked memory, for half a second: one allocation that fails must not cost an image. Sleeps.
pub fn patiently<T>(mut act: impl FnMut() -> Result<T>) -> Result<T> {
    for pause_ms in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        match act() {
            Err(error) if error == ENOMEM => fsleep(Delta::from_millis(pause_ms)),
            other => return other,
        }
    }
    act()
}

/// While it lives, no allocation of this task starts I/O, which could wait for the very task that allocates.
pub struct NoIo(c_uint);

impl NoIo {
    pub fn begin() -> Self {
        // SAFETY: undone by `drop`, in the same task: `Self` stays on the stack of its maker.
        Self(unsafe { ffi::blksnap_io_begin() })
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: from `begin`.
        unsafe { ffi::blksnap_io_end(self.0) };
    }
}
