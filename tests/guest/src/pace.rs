//! How fast this host is now, and time limits that follow it. An emulated machine on a busy host may get a fifth of what it gets on an
//! idle one; a limit that takes no notice fails what works, one that is always five times as long finds a hang late.
//!
//! A wait in a scenario that was too short says nothing about what is tested. It fails by an error of its own ([`TooSlow`]), which the host
//! tells from a verdict: such a scenario is repeated once, alone.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::random::Random;

/// Variable by which process 1 hands on how many times as long everything may take.
pub const VARIABLE: &str = "GUEST_PATIENCE";
/// What a scenario's process ends with when it failed by nothing but [`TooSlow`].
pub const TOO_SLOW: u8 = 75;
/// Beyond this a host is not busy but broken.
const MOST: u32 = 6;
/// Rounds of the piece of work by which the pace is taken, and how long it takes on an idle host.
const ROUNDS: u32 = 300_000;
const USUAL: Duration = Duration::from_millis(6);

/// By how much everything takes longer just now than on an idle host, at most [`MOST`].
pub fn slowness() -> f64 {
    let mut random = Random::new(1);
    let began = Instant::now();
    let sum = (0..ROUNDS).fold(0_u64, |sum, _| sum.wrapping_add(random.next()));
    std::hint::black_box(sum);
    (began.elapsed().as_secs_f64() / USUAL.as_secs_f64()).clamp(0.1, f64::from(MOST))
}

/// How many times as long everything may take, in a scenario.
pub fn patience() -> u32 {
    std::env::var(VARIABLE).ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// The same for the scenarios of a boot: what the kernel needs, and what the host is like.
pub fn patience_now(of_kernel: u32) -> u32 {
    let worst = (0..8).map(|_| slowness()).fold(0.0, f64::max);
    println!("guest: this host takes {worst:.2} times as long as an idle one");
    (1..MOST).find(|step| f64::from(*step) >= worst).unwrap_or(MOST) * of_kernel
}

/// The end of a wait.
pub struct Deadline {
    end: Instant,
    within: Duration,
}

impl Deadline {
    /// So long from now, as many times as this host needs.
    pub fn after_s(limit_s: u64) -> Self {
        let within = Duration::from_secs(limit_s) * patience();
        Self { end: Instant::now() + within, within }
    }

    /// Whether it has come.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Fails when it has come; `what` says what did not.
    pub fn ensure(&self, what: &str) -> Result<()> {
        match self.is_over() {
            true => Err(TooSlow(format!("{what} (waited {} s)", self.within.as_secs())).into()),
            false => Ok(()),
        }
    }
}

/// A wait ended before what it waited for had come; nothing that was seen is wrong.
#[derive(Debug)]
pub struct TooSlow(String);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TooSlow {}

/// Time that counts only as far as the host lets this machine work.
pub struct FairTime {
    left: Duration,
    looked: Instant,
}

impl FairTime {
    /// How often the pace is taken.
    const STEP: Duration = Duration::from_secs(2);

    /// So much from now.
    pub fn of(limit: Duration) -> Self {
        Self { left: limit, looked: Instant::now() }
    }

    /// Whether it is used up.
    pub fn is_over(&mut self) -> bool {
        let since = self.looked.elapsed();
        if since >= Self::STEP {
            self.looked = Instant::now();
            self.left = self.left.saturating_sub(since.div_f64(slowness().max(1.0)));
        }
        self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{Deadline, TooSlow};

    #[test]
    fn a_wait_that_was_too_short_is_recognised_through_its_contexts() {
        let error = Deadline::after_s(0).ensure("the disk does not appear").context("a").context("b");
        let error = error.expect_err("no time at all is over");
        assert!(error.is::<TooSlow>(), "{error:?}");
        assert!(!anyhow::anyhow!("newer data").context("a").is::<TooSlow>());
    }
}
