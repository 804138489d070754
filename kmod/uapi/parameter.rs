// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! Module parameters: names, defaults and the range to which a value is cut. What they mean is in `docs/kernel/blksnap.md`.
//!
//! The variables themselves belong to the module (they can be written at run time through /sys/module/blksnap/parameters).

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As on the command line of modprobe.
    pub name: &'static str,
    /// When it is not given.
    pub default: u64,
    /// A smaller value counts as this one.
    pub minimum: u64,
    /// A greater value counts as this one.
    pub maximum: u64,
}

impl Parameter {
    /// The value that counts when `value` was given.
    pub const fn clamp(&self, value: u64) -> u64 {
        if value < self.minimum {
            self.minimum
        } else if value > self.maximum {
            self.maximum
        } else {
            value
        }
    }
}

const fn parameter(name: &'static str, default: u64, minimum: u64, maximum: u64) -> Parameter {
    assert!(minimum <= default && default <= maximum);
    Parameter { name, default, minimum, maximum }
}

/// Tracking blocks are at least 2 to this power bytes.
pub const TRACKING_BLOCK_MINIMUM_SHIFT: Parameter = parameter("tracking_block_minimum_shift", 16, 12, 26);
/// Blocks grow until a device has no more than this many; 0 sets no limit.
pub const TRACKING_BLOCK_MAXIMUM_COUNT: Parameter = parameter("tracking_block_maximum_count", 0, 0, u32::MAX as u64);
/// Tracking blocks grow no further than 2 to this power bytes.
pub const TRACKING_BLOCK_MAXIMUM_SHIFT: Parameter = parameter("tracking_block_maximum_shift", 26, 12, 30);
/// Chunks are at least 2 to this power bytes.
pub const CHUNK_MINIMUM_SHIFT: Parameter = parameter("chunk_minimum_shift", 18, 12, 26);
/// Chunks grow until a device has no more than 2 to this power of them.
pub const CHUNK_MAXIMUM_COUNT_SHIFT: Parameter = parameter("chunk_maximum_count_shift", 40, 10, 40);
/// Chunks grow no further than 2 to this power bytes.
pub const CHUNK_MAXIMUM_SHIFT: Parameter = parameter("chunk_maximum_shift", 26, 18, 28);
/// Pieces of 64 KiB in memory at once, for each device of a snapshot: the bound on buffers.
pub const CHUNK_MAXIMUM_IN_QUEUE: Parameter = parameter("chunk_maximum_in_queue", 256, 8, 65536);
/// The difference storage grows when less than half of this is free, by this, in sectors.
pub const DIFF_STORAGE_MINIMUM: Parameter = parameter("diff_storage_minimum", 2_097_152, 2048, 1 << 40);
/// How long a TAKE waits for earlier writes.
pub const TAKE_TIMEOUT_MS: Parameter = parameter("take_timeout_ms", 30_000, 100, 600_000);
/// 0: the interface of `uapi.rs`; 1: numbers and structures of older headers (`uapi/compat.rs`).
pub const ABI: Parameter = parameter("abi", 0, 0, 1);

/// All of them.
pub const ALL: [Parameter; 10] = [
    TRACKING_BLOCK_MINIMUM_SHIFT,
    TRACKING_BLOCK_MAXIMUM_COUNT,
    TRACKING_BLOCK_MAXIMUM_SHIFT,
    CHUNK_MINIMUM_SHIFT,
    CHUNK_MAXIMUM_COUNT_SHIFT,
    CHUNK_MAXIMUM_SHIFT,
    CHUNK_MAXIMUM_IN_QUEUE,
    DIFF_STORAGE_MINIMUM,
    TAKE_TIMEOUT_MS,
    ABI,
];
