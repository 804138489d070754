//! Stages of a job by their names: a name that was not heard before begins a stage.

use crate::progress::{Counts, Progress, Report, Unit};
use std::sync::{Mutex, PoisonError};

/// Turns "so much of so much is done" into stages and steps.
pub struct Stages<'s> {
    report: &'s Report,
    /// The stage under way, and how much of it was told.
    at: Mutex<(Option<&'static str>, u64)>,
}

impl<'s> Stages<'s> {
    /// None has begun.
    pub fn new(report: &'s Report) -> Self {
        Self { report, at: Mutex::default() }
    }

    /// So much of a stage is done. `counts` are told beside it.
    pub fn at(&self, (name, unit): (&'static str, Unit), (done, total): (u64, u64), counts: Counts) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.0 != Some(name) {
            *at = (Some(name), 0);
            self.report.begin_counted(name, unit, Some(total));
        }
        self.report.advance(Counts { done: done.saturating_sub(at.1), ..counts });
        at.1 = at.1.max(done);
    }

    /// The last one is over.
    pub fn end(&self) {
        self.report.end();
    }
}
