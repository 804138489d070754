// SPDX-License-Identifier: GPL-2.0
//! What `helpers.c` and `hook.c` offer: inline functions and macros of the kernel as plain functions.
//!
//! All of these are as safe as the kernel functions that they name: pointers must be live and of the stated kind.

#![allow(improper_ctypes, reason = "structures of the kernel hold empty lock classes")]

use kernel::{
    bindings::{bio, bio_set, bio_vec, block_device, file, gendisk, module, page, xarray},
    prelude::*,
};


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
    pub fn blkfilter_unhook_later();
    pub fn blkfilter_unhook_cancel();
    pub fn blkfilter_hook_devices() -> c_int;
    pub fn blkfilter_unhook_devices();
    pub fn blkfilter_attribute_create(bdev: *mut block_device) -> c_int;
    pub fn blkfilter_attribute_remove(bdev: *mut block_device);
    pub fn blkfilter_reap_later();
    pub fn blkfilter_reap_finish();

    pub fn blksnap_file_bdev(file: *mut file) -> *mut block_device;
    pub fn blksnap_super_bdev(file: *mut file) -> *mut block_device;
    pub fn blksnap_file_sectors(file: *mut file) -> u64;
    pub fn blksnap_disk_live(bdev: *mut block_device) -> bool;
    pub fn blksnap_unfit(bdev: *mut block_device) -> c_int;

    pub fn blksnap_bio_clone(bdev: *mut block_device, bio: *mut bio, set: *mut bio_set) -> *mut bio;
    pub fn blksnap_bioset_init(set: *mut bio_set, front_pad: c_uint) -> c_int;
    pub fn blksnap_bio_deferred(bio: *mut bio);
    pub fn blksnap_image_operation(bio: *mut bio) -> c_int;
    pub fn blksnap_bio_end(bio: *mut bio, error: c_int);
    pub fn blksnap_bio_error(bio: *mut bio) -> c_int;
    pub fn blksnap_bio_skip(bio: *mut bio, bytes: c_uint);
    pub fn blksnap_bio_copy(bio: *mut bio, memory: *mut c_void, bytes: c_uint, to_bio: bool);
    pub fn blksnap_page_address(page: *mut page) -> *mut c_void;
    pub fn blksnap_page_alloc(must: bool) -> *mut page;
    pub fn blksnap_page_free(page: *mut page);
    pub fn blksnap_io_begin() -> c_uint;
    pub fn blksnap_io_end(flags: c_uint);
    pub fn blksnap_disk_alloc(original: *mut block_device) -> *mut gendisk;
    pub fn blksnap_counter_alloc() -> *mut u64;
    pub fn blksnap_counter_free(counter: *mut u64);
    pub fn blksnap_counter_add(counter: *mut u64, value: u64);
    pub fn blksnap_counters_add(ones: *mut u64, sums: *mut u64, value: u64);
    pub fn blksnap_counter_sum(counter: *mut u64) -> u64;
    pub fn blksnap_chain_end_io() -> Option<unsafe extern "C" fn(*mut bio)>;
    pub fn blksnap_canary_init(bio: *mut bio, bdev: *mut block_device);

    pub fn blksnap_table_store(array: *mut xarray, index: usize, entry: *mut c_void) -> c_int;
    pub fn blksnap_sizes(bdev: *mut block_device, minimum_io: *mut u64, logical_block: *mut u64);
    pub fn blksnap_partitions(bdev: *mut block_device, parts: *mut *mut block_device, most: c_uint) -> c_uint;
    pub fn blksnap_lies_on(upper: *mut gendisk, lower: *mut gendisk, depth: c_uint) -> bool;
    pub fn blksnap_path_mode(name: *const c_char, mode: *mut u16) -> c_int;
    pub fn blksnap_file_allocate(file: *mut file, bytes: i64) -> c_int;
    pub fn blksnap_file_transfer(
        file: *mut file,
        vectors: *mut bio_vec,
        count: c_uint,
        bytes: c_uint,
        sector: u64,
        write: bool,
    ) -> c_int;
    pub fn blksnap_device_transfer(
        bdev: *mut block_device,
        vectors: *mut bio_vec,
        count: c_uint,
        bytes: c_uint,
        sector: u64,
        write: bool,
    ) -> c_int;
    pub fn blksnap_read_start(
        bio: *mut bio,
        bdev: *mut block_device,
        vectors: *mut bio_vec,
        count: c_uint,
        bytes: c_uint,
        sector: u64,
        end_io: unsafe extern "C" fn(*mut bio),
        private: *mut c_void,
    );

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
}
