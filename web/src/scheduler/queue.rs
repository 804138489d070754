//! Which plans are due, and what becomes of a job whose attempt ended. Pure: plans, jobs and the time are arguments.
//!
//! A plan remembers up to which time its runs were *considered*: made or left out. Of the runs that came since, only the last one that may
//! begin is made; those before it are made up for by it. While a job of a plan is open nothing is considered, so there are never two.

use super::calendar::{Calendar, Unusable, zone};
use super::window::Windows;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use web_api::id::{JobId, PlanId};
use web_api::plan::{Retries, When};
use web_api::unit::Time;

/// A run that could have begun longer ago than this was slept through; whether it is made up for is the plan's to say.
pub const LATE_AFTER: Duration = Duration::from_secs(600);
/// A plan that was considered further into the future than this was so by a clock that was wrong.
const CLOCK_WAS_WRONG: Duration = Duration::from_secs(3600);
/// Longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
const LONGEST_JITTER_S: u32 = 86_400;
/// So many of the coming runs tell how far apart they are: more than a month of daily ones, years of monthly ones.
const RUNS_LOOKED_AT: usize = 40;

/// When a plan runs, ready to be asked.
#[derive(Clone, Debug)]
pub struct Timing {
    calendar: Option<Calendar>,
    windows: Windows,
    jitter_s: u32,
    catch_up: bool,
}

impl Timing {
    /// Reads what a plan says. Takes a while for expressions that seldom come true.
    pub fn parse(when: &When, now: Timestamp) -> Result<Self, Unusable> {
        if when.cron.is_some() && when.after.is_some() {
            return Err(Unusable("a plan runs by a calendar or after another plan, not both".into()));
        }
        if when.jitter_s > LONGEST_JITTER_S {
            return Err(Unusable(format!("jitter_s is {}; allowed is 0 to {LONGEST_JITTER_S}", when.jitter_s)));
        }
        let zone = zone(&when.zone)?;
        let windows = Windows::parse(&when.blackouts, zone.clone())?;
        if windows.open_from(now).is_none() {
            return Err(Unusable("the windows without runs fill all time; no run could ever begin".into()));
        }
        let calendar = when.cron.as_deref().map(|cron| Calendar::parse(cron, zone, now)).transpose()?;
        Ok(Self { calendar, windows, jitter_s: when.jitter_s, catch_up: when.catch_up })
    }

    /// When the next run begins, for people: also one whose time has come and that waits for its jitter or for the end of a window.
    pub fn upcoming(&self, plan: PlanId, now: Timestamp) -> Option<Timestamp> {
        let calendar = self.calendar.as_ref()?;
        let waiting = calendar.last(now).and_then(|at| self.begin(plan, calendar, at)).filter(|begin| *begin > now);
        waiting.or_else(|| self.next(plan, now))
    }

    /// When the first run after a time begins.
    pub fn next(&self, plan: PlanId, after: Timestamp) -> Option<Timestamp> {
        let calendar = self.calendar.as_ref()?;
        self.begin(plan, calendar, calendar.next(after)?)
    }

    /// The longest time between the beginnings of two runs, as far as the coming ones and the windows of a week tell; `None` without a
    /// calendar, or when nothing comes any more.
    pub fn longest_pause(&self, now: Timestamp) -> Option<Duration> {
        let calendar = self.calendar.as_ref()?;
        let mut at = calendar.next(now)?;
        let mut longest = SignedDuration::ZERO;
        for _ in 0..RUNS_LOOKED_AT {
            let Some(next) = calendar.next(at) else { break };
            longest = longest.max(next.duration_since(at));
            at = next;
        }
        let jitter = SignedDuration::from_secs(self.jitter_s.into()).min(longest);
        Duration::try_from(longest + jitter + self.windows.longest(now)).ok().filter(|pause| !pause.is_zero())
    }

    /// When the run of a time begins: later by the jitter, which ends before the next run, and not in a window. Runs keep their order.
    fn begin(&self, plan: PlanId, calendar: &Calendar, at: Timestamp) -> Option<Timestamp> {
        let until_next = calendar.next(at).map_or(i64::MAX, |next| next.as_second() - at.as_second());
        self.windows.open_from(at.checked_add(jitter(plan, at, self.jitter_s, until_next)).ok()?)
    }

    /// The last run after `considered` that may have begun by `now`, with the time at which it may.
    fn last_begun(&self, plan: PlanId, considered: Timestamp, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let calendar = self.calendar.as_ref()?;
        let mut at = calendar.last(now)?;
        while at > considered {
            match self.begin(plan, calendar, at) {
                Some(begin) if begin <= now => return Some((at, begin)),
                // All runs of the window that is closed now wait for its end; the one to ask for next lies before it.
                _ => {
                    let closed_since = self.windows.closed_since(now);
                    let until = if at >= closed_since { closed_since } else { at };
                    at = calendar.last(until.checked_sub(SignedDuration::from_nanos(1)).ok()?)?;
                }
            }
        }
        None
    }
}

/// By how much a run begins later: the same for the same run of the same plan, less than the plan's jitter and less than the time to
/// the next run.
fn jitter(plan: PlanId, at: Timestamp, jitter_s: u32, until_next_s: i64) -> SignedDuration {
    let span_ms = i64::from(jitter_s).min(until_next_s).saturating_mul(1000);
    if span_ms <= 0 {
        return SignedDuration::ZERO;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(plan.0.as_bytes()).update(&at.as_millisecond().to_le_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    let late_ms = u64::from_le_bytes(number) % span_ms.unsigned_abs();
    SignedDuration::from_millis(i64::try_from(late_ms).unwrap_or(0))
}

/// A plan as the scheduler sees it.
#[derive(Clone, Debug)]
pub struct PlanState {
    /// The plan.
    pub plan: PlanId,
    /// When it runs.
    pub timing: Timing,
    /// Up to which time its runs were considered.
    pub considered_until: Time,
    /// Whether one of its jobs is queued or running.
    pub has_open_job: bool,
    /// The last success of the plan that it follows, and when that ended.
    pub followed: Option<(JobId, Time)>,
}

/// What is to be done about a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The plan.
    pub plan: PlanId,
    /// Up to which time its runs are considered from now on.
    pub considered_until: Time,
    /// The run that is to be made; none when it was slept through and is not made up for, or when only the clock is put right.
    pub run: Option<Run>,
}

/// A run of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Names it; the same run has the same key, whenever and however often it is found due.
    pub key: String,
    /// When it had to begin.
    pub due_at: Time,
    /// The success that it follows.
    pub follows: Option<JobId>,
}

/// What is due at `now`. Plans that are paused, or whose agent was revoked, are left out by the caller.
pub fn due(now: Time, plans: &[PlanState]) -> Vec<Decision> {
    let Ok(at) = Timestamp::from_millisecond(now.ms()) else { return Vec::new() };
    plans.iter().filter(|plan| !plan.has_open_job).filter_map(|plan| decide(plan, now, at)).collect()
}

fn decide(plan: &PlanState, now: Time, at: Timestamp) -> Option<Decision> {
    if plan.considered_until.since(now) > CLOCK_WAS_WRONG {
        return Some(Decision { plan: plan.plan, considered_until: now, run: None });
    }
    let (considered_until, run) = match plan.followed {
        Some(followed) => followed_run(plan, followed, at)?,
        None => calendar_run(plan, at)?,
    };
    let slept_through = now.since(run.due_at) > LATE_AFTER && !plan.timing.catch_up;
    Some(Decision { plan: plan.plan, considered_until, run: (!slept_through).then_some(run) })
}

fn calendar_run(plan: &PlanState, now: Timestamp) -> Option<(Time, Run)> {
    let considered = Timestamp::from_millisecond(plan.considered_until.ms()).ok()?;
    let (at, begin) = plan.timing.last_begun(plan.plan, considered, now)?;
    Some((at.into(), Run { key: format!("at {}", Time::from(at)), due_at: begin.into(), follows: None }))
}

fn followed_run(plan: &PlanState, (job, ended_at): (JobId, Time), now: Timestamp) -> Option<(Time, Run)> {
    if ended_at <= plan.considered_until {
        return None;
    }
    let ended = Timestamp::from_millisecond(ended_at.ms()).ok()?;
    let late = jitter(plan.plan, ended, plan.timing.jitter_s, i64::MAX);
    let begin = plan.timing.windows.open_from(ended.checked_add(late).ok()?)?;
    let run = Run { key: format!("after {job}"), due_at: begin.into(), follows: Some(job) };
    (begin <= now).then_some((ended_at, run))
}

/// What becomes of a job after an attempt that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits until then and is tried again.
    TryAgain {
        /// Not before this time.
        not_before: Time,
    },
    /// It has failed.
    GiveUp,
}

/// Decides after the failure of attempt number `attempt` (1, 2 …). `may_help` is whether another one makes sense at all.
pub fn after_failure(retries: Retries, attempt: u32, may_help: bool, now: Time) -> Next {
    if !may_help || attempt > retries.count {
        return Next::GiveUp;
    }
    let doublings = attempt.saturating_sub(1).min(31);
    let pause = Duration::from_secs(u64::from(retries.pause_s) << doublings).min(LONGEST_PAUSE);
    Next::TryAgain { not_before: now.after(pause) }
}

#[cfg(test)]
mod tests;
