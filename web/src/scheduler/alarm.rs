//! Whether what was promised is kept: of a plan a good recovery point that is not too old, of a machine a sign of life. Pure: what is known
//! and the time are arguments.
//!
//! Nothing here asks for jobs, because the worst cases make none: a machine that is away, a plan that nobody resumed, an agent that was
//! revoked.

use std::time::Duration;
use web_api::plan::Alarm;
use web_api::unit::Time;

/// A run may take this much longer than the pause between two before it counts as missing, at least.
const LEAST_SLACK: Duration = Duration::from_secs(3600);
/// What is of the future by more than this is of a clock that was wrong, and proves nothing.
const CLOCK_WAS_WRONG: Duration = Duration::from_secs(3600);
/// After a start of the server machines have this long to come back, before one counts as silent: it was the server that was away.
const SETTLING: Duration = Duration::from_secs(900);

/// How old the last good recovery point of a plan may be. `longest_pause` is that between two runs of the calendar that it goes by.
pub fn promise(alarm: Alarm, longest_pause: Option<Duration>) -> Option<Duration> {
    match alarm {
        Alarm::Off => None,
        Alarm::AfterS(seconds) => Some(Duration::from_secs(seconds.into())),
        Alarm::Calendar => longest_pause.map(|pause| pause.saturating_add((pause / 2).max(LEAST_SLACK))),
    }
}

/// A plan as far as its promise goes.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    /// How old the last good recovery point may be.
    pub within: Duration,
    /// When the last success ended.
    pub last_good_at: Option<Time>,
    /// Before this time nothing was promised: it was made or resumed then.
    pub counts_from: Time,
    /// Whether it makes no runs because a person wanted that.
    pub paused: bool,
}

/// How a plan stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The promise is kept.
    Kept,
    /// No good recovery point came in time.
    Late,
    /// The same, because nobody resumed it.
    PausedTooLong,
}

/// How a plan stands at a time.
pub fn standing(plan: &Promised, now: Time) -> Standing {
    // A success of the future would keep the alarm silent for as long as the clock was ahead.
    let believed = plan.last_good_at.filter(|at| at.since(now) <= CLOCK_WAS_WRONG);
    let from = believed.map_or(plan.counts_from, |at| at.max(plan.counts_from));
    match now.since(from) > plan.within {
        false if from.since(now) <= CLOCK_WAS_WRONG => Standing::Kept,
        _ if plan.paused => Standing::PausedTooLong,
        _ => Standing::Late,
    }
}

/// Whether a machine of which something was heard at `heard_at` is silent for too long. `server_since` is when this server started.
pub fn is_silent(silent_after: Option<Duration>, heard_at: Time, server_since: Time, now: Time) -> bool {
    let Some(limit) = silent_after else { return false };
    let is_long_ago = now.since(heard_at) > limit || heard_at.since(now) > CLOCK_WAS_WRONG;
    is_long_ago && now.since(server_since) > SETTLING
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: i64) -> Time {
        Time::from_ms(1_790_000_000_000 + hours * 3_600_000)
    }

    fn daily(last_good: Option<i64>, paused: bool) -> Promised {
        let within = promise(Alarm::Calendar, Some(24 * HOUR)).unwrap();
        Promised { within, last_good_at: last_good.map(at), counts_from: at(0), paused }
    }

    #[test]
    fn a_calendar_promises_half_as_much_again_and_at_least_an_hour_more() {
        let hours = |pause| promise(Alarm::Calendar, Some(pause)).unwrap().as_secs_f64() / 3600.0;
        assert_eq!([hours(24 * HOUR), hours(HOUR), hours(168 * HOUR)], [36.0, 2.0, 252.0]);
        assert_eq!(promise(Alarm::Calendar, None), None, "who only runs when asked promises nothing");
        assert_eq!(promise(Alarm::AfterS(60), None), Some(Duration::from_secs(60)));
        assert_eq!(promise(Alarm::Off, Some(HOUR)), None);
    }

    #[test]
    fn a_plan_is_late_when_no_good_point_came_in_time_whether_it_ever_had_one_or_not() {
        let (fresh, used) = (daily(None, false), daily(Some(100), false));
        assert_eq!([standing(&fresh, at(36)), standing(&fresh, at(37))], [Standing::Kept, Standing::Late]);
        assert_eq!([standing(&used, at(136)), standing(&used, at(137))], [Standing::Kept, Standing::Late]);
        assert_eq!(standing(&daily(Some(137), false), at(137)), Standing::Kept, "over with the next success");
    }

    #[test]
    fn a_paused_plan_has_a_word_of_its_own_and_a_resumed_one_gets_its_time() {
        assert_eq!(standing(&daily(Some(0), true), at(37)), Standing::PausedTooLong);
        let resumed = Promised { counts_from: at(1000), ..daily(Some(0), false) };
        assert_eq!([standing(&resumed, at(1036)), standing(&resumed, at(1037))], [Standing::Kept, Standing::Late]);
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_silence_the_alarm() {
        let year = 365 * 24;
        assert_eq!(
            standing(&daily(Some(year), false), at(37)),
            Standing::Late,
            "a success of next year is not believed"
        );
        let made = Promised { counts_from: at(year), ..daily(None, false) };
        assert_eq!(standing(&made, at(37)), Standing::Late, "nor that it was made then");
        assert_eq!(standing(&daily(Some(1), false), at(0)), Standing::Kept, "a little ahead is no fault");
    }

    #[test]
    fn a_machine_is_silent_after_its_time_unless_the_server_itself_was_away() {
        let day = Some(24 * HOUR);
        assert!(!is_silent(day, at(0), at(-100), at(24)) && is_silent(day, at(0), at(-100), at(25)));
        assert!(!is_silent(None, at(0), at(-100), at(10_000)));
        let started = Time::from_ms(at(100).ms() - 60_000);
        assert!(!is_silent(day, at(0), started, at(100)), "it may be on its way");
        assert!(is_silent(day, at(0), started, at(101)));
        assert!(is_silent(day, at(9000), at(-100), at(1)), "what was heard next year is not believed");
    }

    proptest! {
        #[test]
        fn waiting_never_mends_what_is_late(good in 0i64..1000, within in 1u64..1000, first in 0i64..3000, more in 0i64..3000) {
            let plan = Promised {
                within: Duration::from_secs(within * 3600), last_good_at: Some(at(good)), counts_from: at(0), paused: false,
            };
            // Before the success nothing is known of it.
            let (first, later) = (at(good + first), at(good + first + more));
            prop_assert!(standing(&plan, first) == Standing::Kept || standing(&plan, later) == Standing::Late);
        }
    }
}
