//! Pauses between attempts to reach the server: they grow, and no two agents pause alike, so that a server which comes back is not met by all
//! of them at once.

use repo_format::entropy::{SystemEntropy, random};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// How often a pause looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Growing pauses.
#[derive(Default)]
pub struct Pauses {
    number: u32,
}

impl Pauses {
    /// It worked: the next pause is short again.
    pub fn reset(&mut self) {
        self.number = 0;
    }

    /// The next pause.
    pub fn another(&mut self) -> Duration {
        let pause = length(self.number, u16::from_le_bytes(random(&SystemEntropy)));
        self.number = self.number.saturating_add(1);
        pause
    }
}

/// Between half and the whole of twice the pause before.
fn length(number: u32, chance: u16) -> Duration {
    let whole = FIRST.saturating_mul(1 << number.min(16)).min(LONGEST);
    whole / 2 + whole / 2 * u32::from(chance) / u32::from(u16::MAX)
}

/// Waits; ends early when `stop` becomes true.
pub fn wait(time: Duration, stop: &AtomicBool) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(left.min(LOOK_EVERY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_keep_half_of_it_to_chance() {
        assert_eq!((length(0, 0), length(0, u16::MAX)), (FIRST / 2, FIRST));
        assert_eq!(length(3, u16::MAX), FIRST * 8);
        for number in [7, 40, u32::MAX] {
            assert_eq!((length(number, 0), length(number, u16::MAX)), (LONGEST / 2, LONGEST));
        }
    }

    #[test]
    fn a_pause_that_nobody_wants_any_more_ends() {
        let began = Instant::now();
        wait(Duration::from_secs(60), &AtomicBool::new(true));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
