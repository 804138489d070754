//! Reports on a job while it runs and at its end. What the server answers reaches the job through its [`Stop`].

use super::link::{Asked, Link, Reported};
use super::stop::{Stop, Why};
use crate::progress::{Report, Spent, StageReport, Unit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use web_api::agent_work::{
    Ending, LeasedJob, MAX_LINE_BYTES, MAX_REPORTED_LINES, ReportEnd, ReportProgress, ReportedLine,
};
use web_api::job::{JobCounts, JobProgress, JobStage, ProgressUnit, TimeShares};

/// Between two reports, if the lease is not too short for it.
const EVERY: Duration = Duration::from_secs(2);
/// How often it is looked for signals and for the end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Reports on one job.
pub struct Reporter<'r> {
    link: &'r Link,
    job: &'r LeasedJob,
    report: &'r Report,
    stop: &'r Stop,
    done: AtomicBool,
}

impl<'r> Reporter<'r> {
    /// For a job that begins.
    pub fn new(link: &'r Link, job: &'r LeasedJob, report: &'r Report, stop: &'r Stop) -> Self {
        Self { link, job, report, stop, done: AtomicBool::new(false) }
    }

    /// The job is done; [`Reporter::run`] returns soon.
    pub fn is_done(&self) {
        self.done.store(true, Ordering::SeqCst);
    }

    /// Reports until the job is done.
    pub fn run(&self) {
        let every = EVERY.min(Duration::from_secs(self.job.lease_s.into()) / 4);
        let mut next = Instant::now();
        while !self.done.load(Ordering::SeqCst) {
            self.stop.look_for_signal();
            if Instant::now() >= next {
                self.tell();
                next = Instant::now() + every;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// One report. A server that is away hears the next one; the job goes on.
    fn tell(&self) {
        let log = self.lines();
        let last = log.last().map(|line| line.number);
        let report = ReportProgress { lease: self.job.lease, progress: self.progress(), log };
        match self.link.progress(self.job.id, &report) {
            Ok(Reported::Taken(answer)) => {
                last.into_iter().for_each(|number| self.report.fetched(number));
                if answer.cancel {
                    self.stop.set(Why::Cancelled);
                } else if answer.pause {
                    self.stop.set(Why::Paused);
                }
            }
            Ok(Reported::Lost) => self.stop.set(Why::Lost),
            // Nothing that it stores would be taken any more; the job finds that out by itself.
            Err(Asked::Refused(refused)) => tracing::warn!(%refused, "a report was refused"),
            Err(Asked::Away(why)) => tracing::debug!(why, "a report was not taken"),
        }
    }

    /// Reports the end, with the lines that are left.
    pub fn finish(&self, ending: Ending) -> Result<(), Asked> {
        let report = ReportEnd { lease: self.job.lease, ending, progress: self.progress(), log: self.lines() };
        if let Reported::Lost = self.link.finish(self.job.id, &report)? {
            tracing::warn!(job = %self.job.id, "the server had taken the job away before its end was told");
        }
        Ok(())
    }

    fn lines(&self) -> Vec<ReportedLine> {
        let lines = self.report.lines(MAX_REPORTED_LINES).into_iter();
        lines.map(|line| ReportedLine { number: line.number, text: cut(&line.text).to_owned() }).collect()
    }

    fn progress(&self) -> JobProgress {
        let (stages, counts) = self.report.look();
        let shares = shares(&counts.spent);
        let counts = JobCounts {
            read_bytes: counts.bytes_read,
            zero_bytes: counts.bytes_zero,
            known_bytes: counts.bytes_known,
            new_bytes: counts.bytes_new,
            stored_bytes: counts.bytes_stored,
        };
        JobProgress { stages: stages.into_iter().map(stage).collect(), counts, shares }
    }
}

/// In thousandths of the whole.
fn shares(spent: &Spent) -> TimeShares {
    let total = u128::from(spent.total_us()).max(1);
    let share = |part_us: u64| u16::try_from(u128::from(part_us) * 1000 / total).unwrap_or(1000);
    TimeShares {
        read: share(spent.read_us),
        limit: share(spent.limit_us),
        hash: share(spent.hash_us),
        known: share(spent.known_us),
        compress: share(spent.compress_us),
        store: share(spent.store_us),
    }
}

/// The beginning of a line that is too long.
fn cut(text: &str) -> &str {
    let end = (0..=MAX_LINE_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

fn stage(stage: StageReport) -> JobStage {
    let unit = match stage.unit {
        Unit::Bytes => ProgressUnit::Bytes,
        Unit::Packs => ProgressUnit::Packs,
        Unit::Points => ProgressUnit::Points,
        Unit::Objects => ProgressUnit::Objects,
    };
    JobStage {
        name: stage.name,
        unit,
        done: stage.done,
        total: stage.total,
        per_s: stage.per_s,
        took_ms: u64::try_from(stage.took.as_millis()).unwrap_or(u64::MAX),
        ended: stage.ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_thousandths_of_all_time_and_none_of_no_time() {
        assert_eq!(shares(&Spent::default()), TimeShares::default());
        let spent = Spent { read_us: 750_000, compress_us: 250_000, ..Spent::default() };
        assert_eq!(shares(&spent), TimeShares { read: 750, compress: 250, ..TimeShares::default() });
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("a{}", "ä".repeat(MAX_LINE_BYTES));
        assert_eq!(cut(&long).len(), MAX_LINE_BYTES - 1);
    }
}
