// SPDX-License-Identifier: GPL-2.0
//! The module's parameters as they are now, cut to their range. They may change at any time; whoever computes with one
//! reads it once.

use crate::ffi;
use crate::sizes::{ChunkLimits, TrackingLimits};
use crate::uapi::parameter::{self, Parameter};

fn clamped(parameter: Parameter, read: unsafe extern "C" fn() -> u64) -> u64 {
    // SAFETY: the functions only load a variable.
    parameter.clamp(unsafe { read() })
}

fn shift(parameter: Parameter, read: unsafe extern "C" fn() -> u64) -> u32 {
    // Every shift's maximum fits.
    clamped(parameter, read) as u32
}

/// Sizes of tracking blocks.
pub fn tracking_limits() -> TrackingLimits {
    TrackingLimits {
        minimum_shift: shift(
            parameter::TRACKING_BLOCK_MINIMUM_SHIFT,
            ffi::blksnap_parameter_tracking_block_minimum_shift,
        ),
        maximum_count: clamped(
            parameter::TRACKING_BLOCK_MAXIMUM_COUNT,
            ffi::blksnap_parameter_tracking_block_maximum_count,
        ),
        maximum_shift: shift(
            parameter::TRACKING_BLOCK_MAXIMUM_SHIFT,
            ffi::blksnap_parameter_tracking_block_maximum_shift,
        ),
    }
}

/// Sizes of chunks.
pub fn chunk_limits() -> ChunkLimits {
    ChunkLimits {
        minimum_shift: shift(parameter::CHUNK_MINIMUM_SHIFT, ffi::blksnap_parameter_chunk_minimum_shift),
        maximum_count_shift: shift(
            parameter::CHUNK_MAXIMUM_COUNT_SHIFT,
            ffi::blksnap_parameter_chunk_maximum_count_shift,
        ),
        maximum_shift: shift(parameter::CHUNK_MAXIMUM_SHIFT, ffi::blksnap_parameter_chunk_maximum_shift),
    }
}

/// How many pages of buffers a device in a snapshot may use for preserving: the parameter counts pieces of 64 KiB, so
/// its default bounds them to 16 MiB.
pub fn buffer_pages() -> usize {
    let pieces = clamped(parameter::CHUNK_MAXIMUM_IN_QUEUE, ffi::blksnap_parameter_chunk_maximum_in_queue);
    usize::try_from(pieces.saturating_mul(65536) / kernel::page::PAGE_SIZE as u64).unwrap_or(16)
}

/// By how much the difference storage grows, in sectors.
pub fn storage_step_sectors() -> u64 {
    clamped(parameter::DIFF_STORAGE_MINIMUM, ffi::blksnap_parameter_diff_storage_minimum)
}

/// How long a TAKE waits for earlier writes.
pub fn take_timeout_ms() -> u64 {
    clamped(parameter::TAKE_TIMEOUT_MS, ffi::blksnap_parameter_take_timeout_ms)
}

/// Whether the numbers of older headers are spoken.
pub fn speaks_old_interface() -> bool {
    clamped(parameter::ABI, ffi::blksnap_parameter_abi) == 1
}
