// SPDX-License-Identifier: GPL-2.0
//! What a tracker counts. The write path counts per processor; the rest is rare and shares its counters.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::prelude::*;

use crate::ffi;
use crate::uapi::extension::{TrackerStatistics, DELAY_BUCKETS};

/// A number that every processor adds to on its own.
struct PerCpu(*mut u64);

impl PerCpu {
    fn new() -> Result<Self> {
        // SAFETY: no preconditions.
        let counter = unsafe { ffi::blksnap_counter_alloc() };
        if counter.is_null() {
            Err(ENOMEM)
        } else {
            Ok(Self(counter))
        }
    }

    fn sum(&self) -> u64 {
        // SAFETY: as above.
        unsafe { ffi::blksnap_counter_sum(self.0) }
    }
}

impl Drop for PerCpu {
    fn drop(&mut self) {
        // SAFETY: from `new`.
        unsafe { ffi::blksnap_counter_free(self.0) };
    }
}

/// The counters of one tracker.
pub struct Statistics {
    writes: PerCpu,
    write_sectors: PerCpu,
    marked_blocks: AtomicU64,
    delayed_writes: AtomicU64,
    delayed_ns: AtomicU64,
    pub read_for_preservation_bytes: AtomicU64,
    pub preserved_bytes: AtomicU64,
    pub image_read_bytes: AtomicU64,
    pub image_write_bytes: AtomicU64,
    histogram: [AtomicU64; DELAY_BUCKETS],
}

impl Statistics {
    pub fn new() -> Result<Self> {
        Ok(Self {
            writes: PerCpu::new()?,
            write_sectors: PerCpu::new()?,
            marked_blocks: AtomicU64::new(0),
            delayed_writes: AtomicU64::new(0),
            delayed_ns: AtomicU64::new(0),
            read_for_preservation_bytes: AtomicU64::new(0),
            preserved_bytes: AtomicU64::new(0),
            image_read_bytes: AtomicU64::new(0),
            image_write_bytes: AtomicU64::new(0),
            histogram: [const { AtomicU64::new(0) }; DELAY_BUCKETS],
        })
    }

    /// A write passed.
    pub fn write(&self, sectors: u64, newly_marked_blocks: u64) {
        // SAFETY: allocated as long as `self`; any context. One call, because this is the write path.
        unsafe { ffi::blksnap_counters_add(self.writes.0, self.write_sectors.0, sectors) };
        if newly_marked_blocks != 0 {
            self.marked_blocks.fetch_add(newly_marked_blocks, Ordering::Relaxed);
        }
    }

    /// So many writes were held, the first of them this long: it counts for those that came while it waited, too.
    pub fn delayed(&self, writes: u64, ns: u64) {
        self.delayed_writes.fetch_add(writes, Ordering::Relaxed);
        self.delayed_ns.fetch_add(writes.saturating_mul(ns), Ordering::Relaxed);
        let bucket = (64 - (ns / 1000).leading_zeros()) as usize;
        self.histogram[bucket.min(DELAY_BUCKETS - 1)].fetch_add(writes, Ordering::Relaxed);
    }

    /// Everything, in the interface's form; memory is filled in by the caller.
    pub fn read(&self) -> TrackerStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut statistics = TrackerStatistics {
            writes: self.writes.sum(),
            write_bytes: self.write_sectors.sum() << 9,
            marked_blocks: read(&self.marked_blocks),
            delayed_writes: read(&self.delayed_writes),
            delayed_ns: read(&self.delayed_ns),
            read_for_preservation_bytes: read(&self.read_for_preservation_bytes),
            preserved_bytes: read(&self.preserved_bytes),
            image_read_bytes: read(&self.image_read_bytes),
            image_write_bytes: read(&self.image_write_bytes),
            ..TrackerStatistics::default()
        };
        for (to, from) in statistics.delay_histogram.iter_mut().zip(&self.histogram) {
            *to = read(from);
        }
        statistics
    }
}
