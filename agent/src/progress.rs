//! How far a long job is: what jobs report, and the ways to show it. All of it goes to standard error.
//!
//! Jobs know only [`Progress`]. Which one they get is decided by [`for_stderr`]: a bar on a terminal, a plain line every few
//! seconds in a log, nothing when the person asked for quiet.

mod counter;
mod lines;
mod report;
mod spent;
mod terminal;

use repo_format::check::Phase;
use std::ops::AddAssign;

pub use lines::Lines;
pub use report::{Line, Report, StageReport};
pub use spent::{Spent, Watch};
pub use terminal::Terminal;

/// What happened since the last report. Fields that a job does not have stay zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How much of the stage's total is done, in the stage's unit.
    pub done: u64,
    /// Read from the source (a disk, or packs).
    pub bytes_read: u64,
    /// Holes and zeroes, which are never stored.
    pub bytes_zero: u64,
    /// Plaintext of chunks that the repository did not have.
    pub bytes_new: u64,
    /// Plaintext of chunks that it had already.
    pub bytes_known: u64,
    /// What the new chunks became in the store.
    pub bytes_stored: u64,
    /// Where the time of the threads went.
    pub spent: Spent,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.done += more.done;
        self.bytes_read += more.bytes_read;
        self.bytes_zero += more.bytes_zero;
        self.bytes_new += more.bytes_new;
        self.bytes_known += more.bytes_known;
        self.bytes_stored += more.bytes_stored;
        self.spent += more.spent;
    }
}

impl Counts {
    /// Chunks that were not zero, per chunk that had to be stored; `None` before the first one.
    pub fn dedup_ratio(&self) -> Option<f64> {
        ratio(self.bytes_new.saturating_add(self.bytes_known), self.bytes_new)
    }

    /// New plaintext per stored byte; `None` before the first one.
    pub fn compression_ratio(&self) -> Option<f64> {
        ratio(self.bytes_new, self.bytes_stored)
    }
}

/// `None` when there is nothing to divide by.
#[expect(clippy::cast_precision_loss, reason = "a ratio shown with one decimal")]
pub fn ratio(whole: u64, part: u64) -> Option<f64> {
    (part > 0 && whole > 0).then(|| whole as f64 / part as f64)
}

/// What a stage counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown with a rate.
    Bytes,
    /// Packs of the store.
    Packs,
    /// Recovery points.
    Points,
    /// Small objects of the store.
    Objects,
}

/// Name and unit of a check's stage, the same wherever a check runs.
pub fn stage_of_check(phase: Phase) -> (&'static str, Unit) {
    match phase {
        Phase::Records => ("records", Unit::Objects),
        Phase::Packs => ("packs", Unit::Packs),
        Phase::Trees => ("trees", Unit::Points),
        Phase::Damage => ("damage", Unit::Points),
        Phase::Proof => ("verify", Unit::Packs),
    }
}

/// Takes reports of a job, from several threads at once. Every call is cheap enough for each few MiB of data.
pub trait Progress: Sync {
    /// A stage begins; an earlier one ends. `total` is in the stage's unit.
    fn begin_counted(&self, stage: &str, unit: Unit, total: Option<u64>);

    /// A stage that counts bytes begins.
    fn begin(&self, stage: &str, total_bytes: Option<u64>) {
        self.begin_counted(stage, Unit::Bytes, total_bytes);
    }

    /// Something was done.
    fn advance(&self, counts: Counts);

    /// A line that a person should read now, above the bar.
    fn message(&self, line: &str);

    /// The stage is over.
    fn end(&self);
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin_counted(&self, _: &str, _: Unit, _: Option<u64>) {}
    fn advance(&self, _: Counts) {}
    fn message(&self, _: &str) {}
    fn end(&self) {}
}

/// The right kind of progress for this process's standard error.
pub fn for_stderr(quiet: bool) -> Box<dyn Progress + Send> {
    match (quiet, std::io::IsTerminal::is_terminal(&std::io::stderr())) {
        (true, _) => Box::new(Silent),
        (false, true) => Box::new(Terminal::new()),
        (false, false) => Box::new(Lines::new()),
    }
}
