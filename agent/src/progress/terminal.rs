//! Progress as a bar on a terminal.

use super::counter::{Counter, Throttle};
use super::{Counts, Progress, Unit};
use crate::output::ratio_text;
use dialoguer::console::Term;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
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

/// From this many columns on the ratios fit behind everything else.
const WIDE_COLUMNS: u16 = 116;
/// From this many on all numbers fit.
const USUAL_COLUMNS: u16 = 80;
/// Below this there is no room for a bar.
const NARROW_COLUMNS: u16 = 50;

/// What a line shows: as much as the terminal has room for, so that it is never folded.
fn template(unit: Unit, has_total: bool, columns: u16) -> &'static str {
    match (unit, has_total, columns) {
        (_, true, ..NARROW_COLUMNS) => "{prefix} {percent:>3} %  {left}",
        (Unit::Bytes, true, ..USUAL_COLUMNS) => "{prefix} {wide_bar} {percent:>3} %  {binary_bytes_per_sec}  {left}",
        (Unit::Bytes, true, ..WIDE_COLUMNS) => {
            "{prefix} {bar:10} {percent:>3} %  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {left}"
        }
        (Unit::Bytes, true, _) => {
            "{prefix} {bar:24} {percent:>3} %  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {left}  {wide_msg}"
        }
        (_, true, ..USUAL_COLUMNS) => "{prefix} {wide_bar} {percent:>3} %  {human_pos}/{human_len}  {left}",
        (_, true, _) => "{prefix} {bar:24} {percent:>3} %  {human_pos}/{human_len}  {left}  {wide_msg}",
        (_, false, ..NARROW_COLUMNS) => "{prefix} {spinner}  {elapsed}",
        (Unit::Bytes, false, _) => "{prefix} {spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}  {wide_msg}",
        (_, false, _) => "{prefix} {spinner} {human_pos}  {elapsed}  {wide_msg}",
    }
}

fn style(unit: Unit, has_total: bool, columns: u16) -> ProgressStyle {
    // Before anything is done nobody can tell how long it takes.
    let left = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A string takes everything.
        let _ = match state.pos() {
            0 => Ok(()),
            _ => write!(out, "{:#} left", HumanDuration(state.eta())),
        };
    };
    // The templates are constants; a broken one would only cost the bar its looks.
    ProgressStyle::with_template(template(unit, has_total, columns))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("left", left)
        .progress_chars("━╸ ")
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
        let columns = Term::stderr().size_checked().map_or(USUAL_COLUMNS, |(_, columns)| columns);
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
            .with_style(style(unit, total.is_some(), columns))
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

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// A terminal that remembers what is written to it.
    #[derive(Clone, Debug)]
    struct Screen {
        columns: u16,
        text: Arc<Mutex<String>>,
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.columns
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(&format!("{line}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.text.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A line that is folded is drawn anew below itself again and again.
    #[test]
    fn no_line_is_wider_than_its_terminal() {
        for columns in [30_u16, 40, 49, 50, 60, 79, 80, 100, 115, 116, 200] {
            for (unit, total) in [(Unit::Bytes, Some(1 << 40)), (Unit::Packs, Some(16_384)), (Unit::Bytes, None)] {
                let screen = Screen { columns, text: Arc::default() };
                let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
                let bar = ProgressBar::with_draw_target(total, target)
                    .with_style(style(unit, total.is_some(), columns))
                    .with_prefix("repacking");
                bar.set_message("dedup 123.4x  compression 123.4x");
                bar.inc(total.map_or(1 << 30, |total| total / 2));
                bar.tick();
                let text = screen.text.lock().unwrap().clone();
                assert!(text.contains("repacking"), "{text:?}");
                let widest = text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
                assert!(widest <= usize::from(columns), "{columns} columns: {text:?}");
            }
        }
    }
}
