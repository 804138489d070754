//! Progress as data, for whoever asks now and then: stages with their times, counts, and the lines that a person should read.

use super::counter::Counter;
use super::{Counts, Progress, Unit};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait to be fetched. When nobody fetches them the oldest go.
const MAX_LINES: usize = 1000;
/// Stages that are remembered; a job has a handful.
const MAX_STAGES: usize = 32;

/// One stage so far.
#[derive(Clone, Debug)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub unit: Unit,
    /// How much is done.
    pub done: u64,
    /// Of how much, where that is known.
    pub total: Option<u64>,
    /// How much was done a second since the look before this one.
    pub per_s: u64,
    /// How long it takes or took.
    pub took: Duration,
    /// Whether it is over.
    pub ended: bool,
}

/// A line with its number: 1, 2, 3 …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Grows by one with each line.
    pub number: u64,
    /// The line.
    pub text: String,
}

struct Stage {
    report: StageReport,
    began: Instant,
}

#[derive(Default)]
struct State {
    stages: Vec<Stage>,
    /// Counts of the stages that are over.
    earlier: Counts,
    /// Time of the last look, and how much of the stage was done then.
    looked: Option<(Instant, u64)>,
    lines: VecDeque<Line>,
    lines_so_far: u64,
}

/// Gathers a job's reports.
#[derive(Default)]
pub struct Report {
    // Taken when a stage begins or ends, for a line, and for a look: never for each piece of data.
    state: Mutex<State>,
    counter: Counter,
}

impl Report {
    /// How far the job is: its stages, and the counts of all of them.
    pub fn look(&self) -> (Vec<StageReport>, Counts) {
        let mut state = self.state();
        let now_counts = self.counter.sum();
        let (looked, now) = (state.looked, Instant::now());
        let mut counts = state.earlier;
        if let Some(stage) = state.stages.last_mut().filter(|stage| !stage.report.ended) {
            counts += now_counts;
            stage.report.done = now_counts.done;
            stage.report.took = stage.began.elapsed();
            let (since, done_then) = looked.unwrap_or((stage.began, 0));
            stage.report.per_s = per_second(now_counts.done.saturating_sub(done_then), now - since);
            state.looked = Some((now, now_counts.done));
        }
        (state.stages.iter().map(|stage| stage.report.clone()).collect(), counts)
    }

    /// Lines that were not fetched yet, the oldest first; they stay until [`Report::fetched`].
    pub fn lines(&self, most: usize) -> Vec<Line> {
        self.state().lines.iter().take(most).cloned().collect()
    }

    /// Lines up to this number are in good hands.
    pub fn fetched(&self, number: u64) {
        self.state().lines.retain(|line| line.number > number);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the stage under way.
    fn settle(&self, state: &mut State) {
        state.looked = None;
        let counts = self.counter.sum();
        self.counter.reset();
        if let Some(stage) = state.stages.last_mut().filter(|stage| !stage.report.ended) {
            stage.report.took = stage.began.elapsed();
            stage.report.done = counts.done;
            stage.report.per_s = per_second(counts.done, stage.report.took);
            stage.report.ended = true;
            state.earlier += counts;
        }
    }
}

fn per_second(amount: u64, time: Duration) -> u64 {
    let ms = time.as_millis().max(1);
    u64::try_from(u128::from(amount) * 1000 / ms).unwrap_or(u64::MAX)
}

impl Progress for Report {
    fn begin_counted(&self, stage: &str, unit: Unit, total: Option<u64>) {
        let mut state = self.state();
        self.settle(&mut state);
        if state.stages.len() < MAX_STAGES {
            let report = StageReport {
                name: stage.to_owned(),
                unit,
                done: 0,
                total,
                per_s: 0,
                took: Duration::ZERO,
                ended: false,
            };
            state.stages.push(Stage { report, began: Instant::now() });
        }
    }

    fn advance(&self, counts: Counts) {
        self.counter.add(counts);
    }

    fn message(&self, line: &str) {
        tracing::info!("{line}");
        let mut state = self.state();
        state.lines_so_far += 1;
        let number = state.lines_so_far;
        state.lines.push_back(Line { number, text: line.to_owned() });
        if state.lines.len() > MAX_LINES {
            state.lines.pop_front();
        }
    }

    fn end(&self) {
        let mut state = self.state();
        self.settle(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: u64) -> Counts {
        Counts { done: bytes, bytes_read: bytes, ..Counts::default() }
    }

    #[test]
    fn stages_keep_what_they_did_and_counts_add_up() {
        let report = Report::default();
        assert!(report.look().0.is_empty());
        report.begin("index", None);
        report.advance(read(5));
        report.begin("backup", Some(100));
        report.advance(read(7));
        let (stages, counts) = report.look();
        assert_eq!((stages[0].done, stages[0].ended, stages[1].done, stages[1].total), (5, true, 7, Some(100)));
        assert_eq!(counts.bytes_read, 12);
        report.end();
        report.end();
        let (stages, counts) = report.look();
        assert_eq!((stages.len(), stages[1].ended, counts.bytes_read), (2, true, 12));
    }

    #[test]
    fn lines_stay_until_they_are_fetched_and_are_bounded() {
        let report = Report::default();
        for number in 0..1500 {
            report.message(&number.to_string());
        }
        let lines = report.lines(2);
        assert_eq!((lines[0].number, lines[0].text.as_str(), lines.len()), (501, "500", 2));
        report.fetched(lines[1].number);
        assert_eq!(report.lines(1)[0].number, 503);
    }
}
