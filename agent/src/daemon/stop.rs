//! Why a job is to end early: a signal, a person, or because it is not ours any more. The job itself looks at one flag only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// This program is to end; the job goes back.
    Signal,
    /// A person wanted so.
    Cancelled,
    /// A person wants it to wait; the job goes back.
    Paused,
    /// The server gave it to somebody else or ended it.
    Lost,
}

/// Stops one job. Shared by the threads that work on it and report on it.
pub struct Stop {
    flag: Arc<AtomicBool>,
    /// 0: nothing yet; the first reason counts, but for `Lost`, which makes all others pointless.
    why: AtomicU8,
    signal: Arc<AtomicBool>,
}

impl Stop {
    /// Nothing stops it yet but a signal.
    pub fn new(signal: Arc<AtomicBool>) -> Self {
        Self { flag: Arc::default(), why: AtomicU8::new(0), signal }
    }

    /// What the job looks at.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// Asks the job to end.
    pub fn set(&self, why: Why) {
        match why {
            Why::Lost => self.why.store(3, Ordering::SeqCst),
            Why::Cancelled => drop(self.why.compare_exchange(0, 2, Ordering::SeqCst, Ordering::SeqCst)),
            Why::Signal => drop(self.why.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)),
            Why::Paused => drop(self.why.compare_exchange(0, 4, Ordering::SeqCst, Ordering::SeqCst)),
        }
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Passes a signal on to the job, if one came.
    pub fn look_for_signal(&self) {
        if self.signal.load(Ordering::SeqCst) {
            self.set(Why::Signal);
        }
    }

    /// Why it was asked to end.
    pub fn why(&self) -> Option<Why> {
        match self.why.load(Ordering::SeqCst) {
            1 => Some(Why::Signal),
            2 => Some(Why::Cancelled),
            3 => Some(Why::Lost),
            4 => Some(Why::Paused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_unless_the_job_is_lost() {
        let signal = Arc::new(AtomicBool::new(false));
        let stop = Stop::new(signal.clone());
        stop.look_for_signal();
        assert!(stop.why().is_none() && !stop.flag().load(Ordering::SeqCst));
        stop.set(Why::Cancelled);
        signal.store(true, Ordering::SeqCst);
        stop.look_for_signal();
        assert_eq!(stop.why(), Some(Why::Cancelled));
        stop.set(Why::Lost);
        stop.set(Why::Cancelled);
        assert_eq!(stop.why(), Some(Why::Lost));
    }
}
