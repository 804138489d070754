//! A speed limit that several threads share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Lets through a number of bytes each second, on average since it was made.
pub struct Limit {
    bytes_per_s: Option<u64>,
    /// When the bytes that were let through so far are due.
    due: Mutex<Instant>,
}

/// Longest sleep before the cancel flag is looked at again.
const NAP: Duration = Duration::from_millis(100);

impl Limit {
    /// No limit when `None`.
    pub fn new(bytes_per_s: Option<u64>) -> Self {
        Self { bytes_per_s, due: Mutex::new(Instant::now()) }
    }

    /// Waits until these bytes may be read; returns early when cancelled.
    pub fn wait(&self, bytes: u64, cancel: &AtomicBool) {
        let Some(rate) = self.bytes_per_s else { return };
        #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let due = {
            let mut due = self.due.lock().expect("no panic while held");
            let start = (*due).max(Instant::now());
            *due = start + cost;
            start
        };
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if cancel.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
