//! Sums of counts that many threads add to without a lock.

use super::Counts;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sum of a stage. Readers may see some fields of a report earlier than others; that is good enough for a display.
#[derive(Default)]
pub(super) struct Counter {
    done: AtomicU64,
    bytes_read: AtomicU64,
    bytes_zero: AtomicU64,
    bytes_new: AtomicU64,
    bytes_known: AtomicU64,
    bytes_stored: AtomicU64,
    read_us: AtomicU64,
    limit_us: AtomicU64,
    hash_us: AtomicU64,
    known_us: AtomicU64,
    compress_us: AtomicU64,
    store_us: AtomicU64,
}

impl Counter {
    fn pairs<'c>(&'c self, counts: &mut Counts, mut each: impl FnMut(&'c AtomicU64, &mut u64)) {
        each(&self.done, &mut counts.done);
        each(&self.bytes_read, &mut counts.bytes_read);
        each(&self.bytes_zero, &mut counts.bytes_zero);
        each(&self.bytes_new, &mut counts.bytes_new);
        each(&self.bytes_known, &mut counts.bytes_known);
        each(&self.bytes_stored, &mut counts.bytes_stored);
        each(&self.read_us, &mut counts.spent.read_us);
        each(&self.limit_us, &mut counts.spent.limit_us);
        each(&self.hash_us, &mut counts.spent.hash_us);
        each(&self.known_us, &mut counts.spent.known_us);
        each(&self.compress_us, &mut counts.spent.compress_us);
        each(&self.store_us, &mut counts.spent.store_us);
    }

    pub(super) fn add(&self, mut counts: Counts) {
        self.pairs(&mut counts, |sum, more| {
            if *more > 0 {
                sum.fetch_add(*more, Ordering::Relaxed);
            }
        });
    }

    pub(super) fn sum(&self) -> Counts {
        let mut counts = Counts::default();
        self.pairs(&mut counts, |sum, field| *field = sum.load(Ordering::Relaxed));
        counts
    }

    pub(super) fn reset(&self) {
        self.pairs(&mut Counts::default(), |sum, _| sum.store(0, Ordering::Relaxed));
    }
}

/// Lets one of many callers through in each period.
pub(super) struct Throttle {
    began: std::time::Instant,
    period_ms: u64,
    last_ms: AtomicU64,
}

impl Throttle {
    pub(super) fn new(period_ms: u64) -> Self {
        Self { began: std::time::Instant::now(), period_ms, last_ms: AtomicU64::new(0) }
    }

    /// Whether this caller is the one.
    pub(super) fn is_due(&self) -> bool {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(last_ms) >= self.period_ms
            && self.last_ms.compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
