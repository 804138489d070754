//! Progress as plain lines, for logs and pipes.

use super::counter::{Counter, Throttle};
use super::{Counts, Progress, Unit};
use crate::output::{bytes, duration, ratio_text};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PERIOD_MS: u64 = 10_000;

/// What is being done.
struct Stage {
    name: String,
    unit: Unit,
    total: Option<u64>,
    began: Instant,
}

/// A line every ten seconds.
pub struct Lines {
    // Taken only when a stage changes and when a line is printed.
    stage: Mutex<Option<Stage>>,
    counter: Counter,
    throttle: Throttle,
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Lines {
    /// No stage yet.
    pub fn new() -> Self {
        Self { stage: Mutex::new(None), counter: Counter::default(), throttle: Throttle::new(PERIOD_MS) }
    }
}

impl Progress for Lines {
    fn begin_counted(&self, stage: &str, unit: Unit, total: Option<u64>) {
        self.counter.reset();
        let stage = Stage { name: stage.to_owned(), unit, total, began: Instant::now() };
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    fn advance(&self, counts: Counts) {
        self.counter.add(counts);
        if self.throttle.is_due()
            && let Some(stage) = &*self.stage.lock().unwrap_or_else(PoisonError::into_inner)
        {
            eprintln!("{}", line(stage, &self.counter.sum(), stage.began.elapsed()));
        }
    }

    fn message(&self, line: &str) {
        eprintln!("{line}");
    }

    fn end(&self) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn amount(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Bytes => bytes(value),
        Unit::Packs => format!("{value} packs"),
        Unit::Points => format!("{value} points"),
        Unit::Objects => format!("{value} objects"),
    }
}

fn line(stage: &Stage, counts: &Counts, elapsed: Duration) -> String {
    let mut line = format!("{}: {}", stage.name, amount(stage.unit, counts.done));
    let seconds = elapsed.as_secs().max(1);
    if let Some(total) = stage.total.filter(|total| *total > 0) {
        let percent = u128::from(counts.done.min(total)) * 100 / u128::from(total);
        let _ = write!(line, " of {} ({percent} %)", amount(stage.unit, total));
        let left = u128::from(total.saturating_sub(counts.done)) * u128::from(seconds);
        if let Some(left) = left.checked_div(counts.done.into()).and_then(|seconds| u64::try_from(seconds).ok()) {
            let _ = write!(line, ", {} left", duration(Duration::from_secs(left)));
        }
    }
    if stage.unit == Unit::Bytes {
        let _ = write!(line, ", {}/s", bytes(counts.done / seconds));
    }
    for (name, ratio) in [("dedup", counts.dedup_ratio()), ("compression", counts.compression_ratio())] {
        if ratio.is_some() {
            let _ = write!(line, ", {name} {}", ratio_text(ratio));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(unit: Unit, total: Option<u64>) -> Stage {
        Stage { name: "backup".into(), unit, total, began: Instant::now() }
    }

    #[test]
    fn a_line_tells_amount_rate_time_left_and_ratios() {
        let counts = Counts {
            done: 1 << 30,
            bytes_new: 100 << 20,
            bytes_known: 100 << 20,
            bytes_stored: 50 << 20,
            ..Counts::default()
        };
        let text = line(&stage(Unit::Bytes, Some(4 << 30)), &counts, Duration::from_secs(10));
        assert_eq!(text, "backup: 1.0 GiB of 4.0 GiB (25 %), 30 s left, 102.4 MiB/s, dedup 2.0x, compression 2.0x");
    }

    #[test]
    fn a_stage_without_total_and_without_work_has_a_line_too() {
        let text = line(&stage(Unit::Packs, None), &Counts::default(), Duration::ZERO);
        assert_eq!(text, "backup: 0 packs");
        let text = line(&stage(Unit::Bytes, Some(0)), &Counts::default(), Duration::ZERO);
        assert_eq!(text, "backup: 0 B, 0 B/s");
    }
}
