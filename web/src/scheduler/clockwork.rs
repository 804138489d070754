//! The loop that asks [`super::queue`] what is due, makes the jobs, and takes back those whose agent is gone.

use super::queue::{Decision, LONGEST_PAUSE, PlanState, Run, Timing, due};
use crate::db::job::NewJob;
use crate::db::plan::Scheduled;
use crate::db::{self, Write, event};
use crate::jobs;
use crate::state::App;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::Duration;
use web_api::id::{JobId, PlanId};
use web_api::job::JobCause;
use web_api::plan::When;
use web_api::unit::Time;

const EVERY: Duration = Duration::from_secs(1);

/// Runs until the server ends.
pub async fn run(app: App) {
    let mut clockwork = Clockwork::default();
    if let Err(error) = put_right(&app, app.now()).await {
        tracing::error!(%error, "running jobs could not be given time to report; some may be begun again");
    }
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopping = app.stopping.clone();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if let Err(error) = clockwork.tick(&app).await {
            tracing::warn!(%error, "plans could not be looked at; it is tried again at once");
        }
    }
}

/// What is remembered between two looks: only what can be worked out again.
#[derive(Default)]
pub struct Clockwork {
    known: HashMap<PlanId, Known>,
    /// When everything was looked at last.
    looked_at: Option<Time>,
}

/// What was to happen by a clock that has jumped, or while this server slept, is put right: nobody could report meanwhile.
async fn put_right(app: &App, now: Time) -> db::Result<()> {
    let (expires_at, latest) = (now.after(app.job_lease), now.after(LONGEST_PAUSE));
    app.database.write(move |write| db::lease::put_right(write, expires_at, latest)).await
}

/// A plan's timing, and since when nothing can be due.
struct Known {
    revision: u64,
    considered_until: Time,
    timing: Timing,
    /// Before this time the calendar has nothing for it.
    quiet_until: Option<Time>,
}

impl Clockwork {
    /// One look: makes the jobs that are due and takes back those whose lease ran out.
    pub async fn tick(&mut self, app: &App) -> db::Result<()> {
        let now = app.now();
        let last = self.looked_at.replace(now);
        // Looks come every second. Between two of them so much time passes only where nothing ran, or where the clock was set.
        if last.is_some_and(|last| now.since(last) >= app.job_lease || last.since(now) >= app.job_lease) {
            tracing::warn!("the clock has jumped, or this server slept; running jobs get time to report");
            put_right(app, now).await?;
        }
        let (plans, any_expired) = app
            .database
            .read(move |connection| {
                let expired = !db::lease::expired(connection, now)?.is_empty();
                Ok::<_, db::Error>((db::plan::scheduled(connection)?, expired))
            })
            .await?;
        let decisions = self.decide(&plans, now);
        if decisions.is_empty() && !any_expired {
            return Ok(());
        }
        let made = app.database.write(move |write| carry_out(write, decisions, now)).await?;
        if made > 0 {
            app.bell.ring();
        }
        Ok(())
    }

    fn decide(&mut self, plans: &[Scheduled], now: Time) -> Vec<Decision> {
        self.known.retain(|id, _| plans.iter().any(|plan| plan.id == *id));
        let states: Vec<PlanState> = plans.iter().filter_map(|plan| self.state(plan, now)).collect();
        let decisions = due(now, &states);
        for state in states.iter().filter(|state| !decisions.iter().any(|decision| decision.plan == state.plan)) {
            self.note_quiet(state);
        }
        decisions
    }

    /// What the scheduler is to look at; nothing for a plan that cannot be due.
    fn state(&mut self, plan: &Scheduled, now: Time) -> Option<PlanState> {
        let known = self.known.get(&plan.id).filter(|known| known.revision == plan.revision);
        if known.is_none() {
            let timing = timing(plan, now)?;
            let (revision, considered_until) = (plan.revision, plan.considered_until);
            self.known.insert(plan.id, Known { revision, considered_until, timing, quiet_until: None });
        }
        let known = self.known.get_mut(&plan.id)?;
        if known.considered_until != plan.considered_until {
            known.considered_until = plan.considered_until;
            known.quiet_until = None;
        }
        let is_quiet = known.quiet_until.is_some_and(|until| now < until) && plan.considered_until <= now;
        (!is_quiet).then(|| PlanState {
            plan: plan.id,
            timing: known.timing.clone(),
            considered_until: plan.considered_until,
            has_open_job: plan.has_open_job,
            followed: plan.followed.filter(|_| plan.follows),
        })
    }

    /// Nothing was due: the calendar says how long that lasts.
    fn note_quiet(&mut self, state: &PlanState) {
        let considered = Timestamp::from_millisecond(state.considered_until.ms()).ok();
        let next = considered.and_then(|considered| state.timing.next(state.plan, considered));
        if let (Some(next), Some(known)) = (next, self.known.get_mut(&state.plan)) {
            known.quiet_until = Some(next.into());
        }
    }
}

/// A stored plan that cannot be read makes no runs and is said once a look; it was checked when it was stored.
fn timing(plan: &Scheduled, now: Time) -> Option<Timing> {
    let now = Timestamp::from_millisecond(now.ms()).ok()?;
    let parsed = serde_json::from_str::<When>(&plan.time_rule).map_err(|error| error.to_string());
    match parsed.and_then(|when| Timing::parse(&when, now).map_err(|error| error.to_string())) {
        Ok(timing) => Some(timing),
        Err(error) => {
            tracing::error!(plan = %plan.id, error, "a plan's times cannot be read; it makes no runs until it is edited");
            None
        }
    }
}

/// Makes what was decided, as far as it still holds, and takes back what nobody has in hand. Returns how many jobs wait now.
fn carry_out(write: &mut Write<'_>, decisions: Vec<Decision>, now: Time) -> db::Result<usize> {
    let mut waiting = jobs::expire(write, now)?;
    for Decision { plan, considered_until, run } in decisions {
        // Somebody may have paused it since it was looked at.
        if !db::plan::makes_runs(write, plan)? {
            continue;
        }
        db::plan::considered(write, plan, considered_until)?;
        match run {
            Some(run) => waiting += usize::from(make(write, plan, &run, now)?),
            None => event::append(write, now, "plan.run_left_out", &plan.to_string())?,
        }
    }
    Ok(waiting)
}

/// False when the run was made before: the key tells.
fn make(write: &mut Write<'_>, plan: PlanId, run: &Run, now: Time) -> db::Result<bool> {
    let cause = if run.follows.is_some() { JobCause::After } else { JobCause::Calendar };
    let id = JobId::generate();
    let new = NewJob { id, cause, plan_id: plan, run_key: &run.key, due_at: run.due_at };
    let made = db::job::insert(write, &new, now)?;
    if made {
        event::append(write, now, "job.queued", &id.to_string())?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
