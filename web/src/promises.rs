//! The dead-man alarm: raises an alert for every promise that is not kept, and ends it when it is again.
//!
//! `scheduler::alarm` says what that means. Here everything is looked at anew each minute, whatever led to it, so nothing that happens
//! elsewhere has to be remembered: a plan that is renamed, removed or given another time, a machine that comes back, a clock that is put right.

use crate::alerts;
use crate::db::plan::Watched;
use crate::db::{self, Write, alert};
use crate::scheduler::alarm::{Promised, Standing, is_silent, promise, standing};
use crate::scheduler::queue::Timing;
use crate::state::App;
use jiff::Timestamp;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use web_api::alert::AlertKind;
use web_api::id::PlanId;
use web_api::plan::{Alarm, Plan, When};
use web_api::unit::Time;

const EVERY: Duration = Duration::from_secs(60);
/// Kinds that only this file raises.
const KINDS: [AlertKind; 3] = [AlertKind::PlanLate, AlertKind::PlanPaused, AlertKind::AgentSilent];
/// Plans that follow each other in a row, as `handlers::plans` allows.
const MAX_CHAIN: usize = 100;

/// Runs until the server ends.
pub async fn run(app: App) {
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = watch.look(&app).await {
            tracing::error!(%error, "whether plans keep their promises could not be looked at; it is tried again");
        }
    }
}

/// What is remembered between two looks: only what can be worked out again.
#[derive(Default)]
pub struct Watch {
    /// The longest pause of each plan's calendar, as of a revision.
    pauses: HashMap<PlanId, (u64, Option<Duration>)>,
}

/// What is to be told of a cause.
struct Told {
    what: String,
    next: String,
}

/// What does not keep its promise.
type Broken = BTreeMap<(AlertKind, String), Told>;

impl Watch {
    /// One look at everything.
    pub async fn look(&mut self, app: &App) -> db::Result<()> {
        let now = app.now();
        let (plans, machines, lasting) = app
            .database
            .read(|connection| {
                let (plans, machines) = (db::plan::watched(connection)?, db::machine::watched(connection)?);
                Ok::<_, db::Error>((plans, machines, alert::lasting(connection, &KINDS)?))
            })
            .await?;
        let mut broken = Broken::new();
        for machine in machines
            .into_iter()
            .filter(|machine| is_silent(Some(machine.silent_after), machine.heard_at, app.started_at, now))
        {
            broken.insert((AlertKind::AgentSilent, machine.agent.clone()), of_machine(&machine));
        }
        self.look_at_plans(&plans, &lasting, now, &mut broken);
        let is_same = broken.len() == lasting.len() && lasting.iter().all(|cause| broken.contains_key(cause));
        if is_same {
            return Ok(());
        }
        app.database.write(move |write| settle(write, broken, now)).await
    }

    fn look_at_plans(&mut self, plans: &[Watched], lasting: &[(AlertKind, String)], now: Time, broken: &mut Broken) {
        self.pauses.retain(|id, _| plans.iter().any(|plan| plan.id == *id));
        let by_id: HashMap<PlanId, &Watched> = plans.iter().map(|plan| (plan.id, plan)).collect();
        for plan in plans {
            let Some(within) = self.promise(plan, &by_id, now) else { continue };
            let (last_good_at, counts_from, paused) = (plan.last_good_at, plan.counts_from, plan.paused);
            let kind = match standing(&Promised { within, last_good_at, counts_from, paused }, now) {
                Standing::Kept => continue,
                // Whoever was late before the pause is still late.
                Standing::PausedTooLong if !lasting.contains(&(AlertKind::PlanLate, plan.name.clone())) => {
                    AlertKind::PlanPaused
                }
                Standing::PausedTooLong | Standing::Late => AlertKind::PlanLate,
            };
            let is_silent = broken.contains_key(&(AlertKind::AgentSilent, plan.agent.clone()));
            broken.insert((kind, plan.name.clone()), of_plan(plan, kind, within, is_silent));
        }
    }

    fn promise(&mut self, plan: &Watched, plans: &HashMap<PlanId, &Watched>, now: Time) -> Option<Duration> {
        let pause = (plan.alarm == Alarm::Calendar).then(|| {
            let root = root(plan, plans)?;
            let known = self.pauses.get(&root.id).filter(|(revision, _)| *revision == root.revision);
            match known {
                Some((_, pause)) => *pause,
                None => {
                    let pause = longest_pause(&root.when, now);
                    self.pauses.insert(root.id, (root.revision, pause));
                    pause
                }
            }
        });
        promise(plan.alarm, pause.flatten())
    }
}

/// The plan that all in a row follow in the end.
fn root<'p>(plan: &'p Watched, plans: &HashMap<PlanId, &'p Watched>) -> Option<&'p Watched> {
    let mut at = plan;
    for _ in 0..MAX_CHAIN {
        match at.when.after {
            None => return Some(at),
            Some(id) => at = plans.get(&id)?,
        }
    }
    None
}

/// The longest time between two runs; nothing for a plan without a calendar, or with one that cannot be read.
fn longest_pause(when: &When, now: Time) -> Option<Duration> {
    let now = Timestamp::from_millisecond(now.ms()).ok()?;
    Timing::parse(when, now).ok()?.longest_pause(now)
}

/// What a plan promises, for people who look at it.
pub fn promised_s(connection: &Connection, plan: &Plan, now: Time) -> db::Result<Option<u64>> {
    let mut when = plan.when.clone();
    for _ in 0..MAX_CHAIN {
        let Some(followed) = when.after.filter(|_| plan.alarm == Alarm::Calendar) else { break };
        match db::plan::get(connection, followed)? {
            Some(followed) => when = followed.when,
            None => break,
        }
    }
    let pause = if plan.alarm == Alarm::Calendar { longest_pause(&when, now) } else { None };
    Ok(promise(plan.alarm, pause).map(|within| within.as_secs()))
}

/// Raises what is new and ends what is over.
fn settle(write: &mut Write<'_>, broken: Broken, now: Time) -> db::Result<()> {
    for (kind, subject) in alert::lasting(write, &KINDS)? {
        if !broken.contains_key(&(kind, subject.clone())) {
            alerts::clear(write, kind, &subject, now)?;
        }
    }
    for ((kind, subject), Told { what, next }) in broken {
        alerts::raise(write, (kind, &subject), (&what, Some(&next)), now)?;
    }
    Ok(())
}

fn of_machine(machine: &db::machine::Watched) -> Told {
    Told {
        what: format!(
            "The last that was heard of {} was at {}; that is more than {} ago.",
            machine.agent,
            machine.heard_at,
            words(machine.silent_after)
        ),
        next: "look whether the machine runs and reaches the server; `systemctl status icecore-agent` there says more"
            .into(),
    }
}

fn of_plan(plan: &Watched, kind: AlertKind, within: Duration, is_silent: bool) -> Told {
    let (name, within) = (&plan.name, words(within));
    let last = match plan.last_good_at {
        Some(at) => format!("The last good recovery point of plan {name} is of {at}"),
        None => format!("Plan {name} never had a good recovery point"),
    };
    let what = match kind {
        AlertKind::PlanPaused => format!("{last}, and it is paused; it promises one every {within}."),
        _ => format!("{last}; it promises one every {within}."),
    };
    let next = match kind {
        AlertKind::PlanPaused => "resume the plan, or remove it, or set its alarm to \"off\"".into(),
        _ if plan.is_revoked => format!("its agent {} was revoked: give the plan to another one", plan.agent),
        _ if is_silent => format!("nothing is heard of its machine {}: look whether it runs", plan.agent),
        _ => "look at the plan's jobs and their logs; running it now shows what is wrong".into(),
    };
    Told { what, next }
}

/// A time as people say it.
fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 72 * 3600 => format!("{} days", rounded(seconds, 86_400)),
        seconds if seconds >= 2 * 3600 => format!("{} hours", rounded(seconds, 3600)),
        seconds if seconds >= 120 => format!("{} minutes", rounded(seconds, 60)),
        seconds => format!("{seconds} seconds"),
    }
}

/// In halves, so that nothing is said that is not so.
fn rounded(seconds: u64, unit: u64) -> String {
    let halves = (seconds * 2 + unit / 2) / unit;
    if halves.is_multiple_of(2) { (halves / 2).to_string() } else { format!("{}.5", halves / 2) }
}

#[cfg(test)]
mod tests;
