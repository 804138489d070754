//! Progress as a bar on a terminal.

use super::counter::{Counter, Throttle};
use super::{Counts, Progress, Unit};
use crate::output::ratio_text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// Between two updates of the ratios; the bar itself is drawn by its own thread.
const PERIOD_MS: u64 = 200;
const TICK: Duration = Duration::from_millis(100);

/// A bar with rate, time left and ratios.
pub struct Terminal {
    // Written only when a stage begins or ends.
    bar: RwLock<Option<ProgressBar>>,
    counter: Counter,
    throttle: Throttle,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let template = match (unit, has_total) {
        (Unit::Bytes, true) => {
            "{prefix} {bar:24} {percent:>3} %  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {wide_msg}"
        }
        (Unit::Bytes, false) => "{prefix} {spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}  {wide_msg}",
        (_, true) => "{prefix} {bar:24} {percent:>3} %  {human_pos}/{human_len}  {eta} left  {wide_msg}",
        (_, false) => "{prefix} {spinner} {human_pos}  {elapsed}  {wide_msg}",
    };
    // The templates are constants; a broken one would only cost the bar its looks.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

impl Terminal {
    /// No stage yet.
    pub fn new() -> Self {
        Self { bar: RwLock::new(None), counter: Counter::default(), throttle: Throttle::new(PERIOD_MS) }
    }

    fn replace(&self, next: Option<ProgressBar>) {
        let previous = std::mem::replace(&mut *self.bar.write().unwrap_or_else(PoisonError::into_inner), next);
        if let Some(bar) = previous {
            bar.finish_and_clear();
        }
    }

    fn with_bar(&self, act: impl FnOnce(&ProgressBar)) -> bool {
        let bar = self.bar.read().unwrap_or_else(PoisonError::into_inner);
        bar.as_ref().map(act).is_some()
    }
}

impl Progress for Terminal {
    fn begin_counted(&self, stage: &str, unit: Unit, total: Option<u64>) {
        self.replace(None);
        self.counter.reset();
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
            .with_style(style(unit, total.is_some()))
            .with_prefix(stage.to_owned());
        bar.enable_steady_tick(TICK);
        self.replace(Some(bar));
    }

    fn advance(&self, counts: Counts) {
        self.counter.add(counts);
        self.with_bar(|bar| bar.inc(counts.done));
        if self.throttle.is_due() {
            let sum = self.counter.sum();
            let parts = [("dedup", sum.dedup_ratio()), ("compression", sum.compression_ratio())];
            let known = parts.iter().filter(|(_, ratio)| ratio.is_some());
            let text: Vec<String> = known.map(|(name, ratio)| format!("{name} {}", ratio_text(*ratio))).collect();
            self.with_bar(|bar| bar.set_message(text.join("  ")));
        }
    }

    fn message(&self, line: &str) {
        if !self.with_bar(|bar| bar.println(line)) {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        self.replace(None);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.end();
    }
}
