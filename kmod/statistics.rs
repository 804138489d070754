// SPDX-License-Identifier: GPL-2.0
//! What a tracker counts besides its writes (`in_flight.rs` has those): rare things, so the counters are shared.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::in_flight::Counts;
use crate::uapi::extension::{DELAY_BUCKETS, TrackerStatistics};

/// The counters of one tracker.
pub struct Statistics {
    /// Blocks that were marked in the intervals that have ended.
    pub marked_before: AtomicU64,
    delayed_writes: AtomicU64,
    delayed_ns: AtomicU64,
    pub read_for_preservation_bytes: AtomicU64,
    pub preserved_bytes: AtomicU64,
    pub image_read_bytes: AtomicU64,
    pub image_write_bytes: AtomicU64,
    histogram: [AtomicU64; DELAY_BUCKETS],
}

impl Statistics {
    pub fn new() -> Self {
        Self {
            marked_before: AtomicU64::new(0),
            delayed_writes: AtomicU64::new(0),
            delayed_ns: AtomicU64::new(0),
            read_for_preservation_bytes: AtomicU64::new(0),
            preserved_bytes: AtomicU64::new(0),
            image_read_bytes: AtomicU64::new(0),
            image_write_bytes: AtomicU64::new(0),
            histogram: [const { AtomicU64::new(0) }; DELAY_BUCKETS],
        }
    }

    /// So many writes were held, the first of them this long: it counts for those that came while it waited, too.
    pub fn delayed(&self, writes: u64, ns: u64) {
        self.delayed_writes.fetch_add(writes, Ordering::Relaxed);
        self.delayed_ns.fetch_add(writes.saturating_mul(ns), Ordering::Relaxed);
        let bucket = (64 - (ns / 1000).leading_zeros()) as usize;
        self.histogram[bucket.min(DELAY_BUCKETS - 1)].fetch_add(writes, Ordering::Relaxed);
    }

    /// Everything, in the interface's form; the caller gives the writes and the blocks that are marked in this interval,
    /// and fills in memory.
    pub fn read(&self, counts: Counts, marked_now: u64) -> TrackerStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut statistics = TrackerStatistics {
            writes: counts.begun,
            write_bytes: counts.sectors << 9,
            marked_blocks: read(&self.marked_before) + marked_now,
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
