//! Trying again: until it works, until patience has run out, or until somebody says stop.

use super::problem::{Kind, Problem};
use super::wire::Counters;
use crate::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// First pause; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause, whatever the endpoint asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Patience with an endpoint that never answered: more likely its name is wrong than that it is down.
const FIRST_PATIENCE: Duration = Duration::from_secs(20);
/// How soon a stop is seen.
const LOOK: Duration = Duration::from_millis(50);
/// How long a request may still take after a stop: a lease that is given back spares others the wait for its end.
const AFTER_STOP: Duration = Duration::from_secs(3);
/// Requests at the same time, over all operations of a store.
const AT_ONCE: usize = 16;

/// Why an operation ended without what it was for.
#[derive(Debug)]
pub(super) enum Halt {
    /// The last problem.
    Problem(Problem),
    /// Somebody said stop.
    Cancelled,
}

impl Halt {
    pub(super) fn about(self, key: &str) -> Error {
        match self {
            Self::Problem(problem) => problem.about(key),
            Self::Cancelled => Error::Interrupted,
        }
    }

    pub(super) fn kind(&self) -> Option<&Kind> {
        match self {
            Self::Problem(problem) => Some(&problem.kind),
            Self::Cancelled => None,
        }
    }
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Patience of one store.
pub(super) struct Patience {
    total: Duration,
    cancel: Arc<AtomicBool>,
    counters: Arc<Counters>,
    /// The endpoint has answered before.
    has_answered: AtomicBool,
    slots: Semaphore,
    jitter: RandomState,
}

impl Patience {
    pub(super) fn new(total: Duration, cancel: Arc<AtomicBool>, counters: Arc<Counters>) -> Self {
        let (has_answered, slots) = (AtomicBool::new(false), Semaphore::new(AT_ONCE));
        Self { total, cancel, counters, has_answered, slots, jitter: RandomState::new() }
    }

    /// Runs `once` until it succeeds or fails for good. Each run is a request of its own, signed anew. After a stop nothing is tried again.
    pub(super) async fn with<T>(&self, mut once: impl AsyncFnMut() -> Result<T, Problem>) -> Result<T, Halt> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let tried = tokio::select! {
                tried = self.in_a_slot(&mut once) => tried,
                () = self.long_cancelled() => return Err(Halt::Cancelled),
            };
            let problem = match tried {
                Ok(done) => {
                    self.has_answered.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(problem) => problem,
            };
            if problem.status.is_some() {
                self.has_answered.store(true, Ordering::Relaxed);
            }
            let patience =
                if self.has_answered.load(Ordering::Relaxed) { self.total } else { self.total.min(FIRST_PATIENCE) };
            let asked = if let Kind::Throttled(Some(asked)) = problem.kind { asked } else { Duration::ZERO };
            let wait = self.spread(pause).max(asked).min(LONGEST_PAUSE);
            if problem.may_pass() && self.cancel.load(Ordering::Relaxed) {
                return Err(Halt::Cancelled);
            }
            if !problem.may_pass() || begun.elapsed() + wait > patience {
                return Err(problem.into());
            }
            self.counters.retried();
            tokio::select! {
                () = self.cancelled() => return Err(Halt::Cancelled),
                () = tokio::time::sleep(wait) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn in_a_slot<T>(&self, once: &mut impl AsyncFnMut() -> Result<T, Problem>) -> Result<T, Problem> {
        let _slot = self.slots.acquire().await.expect("never closed");
        once().await
    }

    async fn long_cancelled(&self) {
        self.cancelled().await;
        tokio::time::sleep(AFTER_STOP).await;
    }

    async fn cancelled(&self) {
        while !self.cancel.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Between half of a pause and all of it, so that many who were refused at once do not come back at once.
    fn spread(&self, pause: Duration) -> Duration {
        let drawn = self.jitter.hash_one(Instant::now()) % 1000;
        pause / 2 + pause * u32::try_from(drawn).expect("below 1000") / 2000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(total: Duration, cancel: &Arc<AtomicBool>) -> (Patience, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Patience::new(total, cancel.clone(), counters.clone()), counters)
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    fn throttled() -> Problem {
        Problem { kind: Kind::Throttled(None), status: Some(503), said: "SlowDown".into() }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_counted() {
        let (patience, counters) = patience(Duration::from_secs(300), &Arc::default());
        let mut left = 3;
        let done = run(patience.with(async || {
            left -= 1;
            if left > 0 { Err(throttled()) } else { Ok(7) }
        }));
        assert!(matches!(done, Ok(7)));
        assert_eq!(counters.so_far().retries, 2);
    }

    #[test]
    fn what_does_not_pass_is_tried_once() {
        let (patience, counters) = patience(Duration::from_secs(300), &Arc::default());
        let ended = run(patience.with(async || Err::<(), _>(Problem::new(Kind::WrongKey, ""))));
        assert_eq!(ended.unwrap_err().kind(), Some(&Kind::WrongKey));
        assert_eq!(counters.so_far().retries, 0);
    }

    #[test]
    fn patience_runs_out() {
        let (patience, _) = patience(Duration::ZERO, &Arc::default());
        let ended = run(patience.with(async || Err::<(), _>(throttled())));
        assert_eq!(ended.unwrap_err().kind(), Some(&Kind::Throttled(None)));
    }

    #[test]
    fn after_a_stop_a_request_is_tried_once() {
        let (patience, counters) = patience(Duration::from_secs(300), &Arc::new(AtomicBool::new(true)));
        assert!(matches!(run(patience.with(async || Ok(7))), Ok(7)));
        assert!(matches!(run(patience.with(async || Err::<(), _>(throttled()))), Err(Halt::Cancelled)));
        assert_eq!(counters.so_far().retries, 0);
    }

    #[test]
    fn a_stop_ends_a_request_that_hangs() {
        let cancel = Arc::new(AtomicBool::new(true));
        let (patience, _) = patience(Duration::from_secs(300), &cancel);
        let ended = run(patience.with(async || {
            std::future::pending::<()>().await;
            Ok(())
        }));
        assert!(matches!(ended, Err(Halt::Cancelled)));
    }
}
