// SPDX-License-Identifier: GPL-2.0
//! What the C files offer: `hook.c`, `glue.c`, `stack.c`, and `shim.c` with inline functions and macros of the kernel as
//! plain functions.
//!
//! All of these are as safe as the kernel functions that they name: pointers must be live and of the stated kind.

#![allow(improper_ctypes, reason = "structures of the kernel hold empty lock classes")]

use kernel::{
    bindings::{bio, blk_plug, block_device, file, gendisk, module, page},
    prelude::*,
};

use crate::in_flight::Counts;

extern "C" {
    static __this_module: module;
}

/// This module, for reference counts.
pub const fn this_module() -> *mut module {
    // The kernel made it and keeps it as long as any of this code.
    core::ptr::addr_of!(__this_module).cast_mut()
}

extern "C" {
    pub fn blkfilter_hook_writes() -> c_int;
    pub fn blkfilter_unhook_writes();
    pub fn blkfilter_hook_throttled() -> c_int;
    pub fn blkfilter_unhook_throttled();
    pub fn blkfilter_hook_devices() -> c_int;
    pub fn blkfilter_unhook_devices();

    pub fn blkfilter_attribute_create(bdev: *mut block_device) -> c_int;
    pub fn blkfilter_attribute_remove(bdev: *mut block_device);
    pub fn blkfilter_reap_later();
    pub fn blkfilter_unhook_later();
    pub fn blkfilter_beat();
    pub fn blkfilter_finish_works();

    pub fn blksnap_lies_on(upper: *mut gendisk, lower: *mut gendisk, depth: c_uint) -> c_int;

    pub fn blksnap_file_bdev(file: *mut file) -> *mut block_device;
    pub fn blksnap_disk_live(bdev: *mut block_device) -> bool;
    pub fn blksnap_unfit_for_snapshots(bdev: *mut block_device) -> c_int;
    pub fn blksnap_unfit_for_tracking(bdev: *mut block_device) -> bool;
    pub fn blksnap_is_throttled(bdev: *mut block_device) -> bool;
    pub fn blksnap_accounted_writes(bdev: *mut block_device) -> u64;
    pub fn blksnap_sizes(bdev: *mut block_device, minimum_io: *mut u64, logical_block: *mut u64);
    pub fn blksnap_takes_alike(bdev: *mut block_device, like: *mut block_device, sectors: u64) -> bool;
    pub fn blksnap_disk_alloc(original: *mut block_device) -> *mut gendisk;
    pub fn blksnap_partitions(bdev: *mut block_device, parts: *mut *mut block_device, most: c_uint) -> c_uint;
    pub fn blksnap_bio_copy(bio: *mut bio, memory: *mut c_void, bytes: c_uint, to_bio: bool);
    pub fn blksnap_page_alloc(must: bool) -> *mut page;
    pub fn blksnap_page_free(page: *mut page);
    pub fn blksnap_page_address(page: *mut page) -> *mut c_void;
    pub fn blksnap_io_begin() -> c_uint;
    pub fn blksnap_io_end(flags: c_uint);
    pub fn blksnap_may_wait_here() -> bool;
    pub fn blksnap_unplug() -> *mut blk_plug;
    pub fn blksnap_plug_again(plug: *mut blk_plug);
    pub fn blksnap_counts_alloc() -> *mut Counts;
    pub fn blksnap_count_begin(counts: *mut Counts, sectors: u64);
    pub fn blksnap_count_end(counts: *mut Counts);
    pub fn blksnap_counts_sum(counts: *mut Counts, sum: *mut Counts);

    pub fn blksnap_parameter_tracking_block_minimum_shift() -> u64;
    pub fn blksnap_parameter_tracking_block_maximum_count() -> u64;
    pub fn blksnap_parameter_tracking_block_maximum_shift() -> u64;
    pub fn blksnap_parameter_chunk_minimum_shift() -> u64;
    pub fn blksnap_parameter_chunk_maximum_count_shift() -> u64;
    pub fn blksnap_parameter_chunk_maximum_shift() -> u64;
    pub fn blksnap_parameter_chunk_maximum_in_queue() -> u64;
    pub fn blksnap_parameter_diff_storage_minimum() -> u64;
    pub fn blksnap_parameter_take_timeout_ms() -> u64;
    pub fn blksnap_parameter_abi() -> u64;

    // The kernel's own, of headers that its bindings leave out.
    pub fn kern_path(name: *const c_char, flags: c_uint, path: *mut kernel::bindings::path) -> c_int;
}
