//! What happens to jobs: made, given out, reported on, ended, taken back. Each function is one step inside a transaction and tells its event.
//!
//! ```text
//!            make                 give                     report: Succeeded
//!   (plan) ───────▶ queued ────────────────▶ running ──────────────────────────▶ succeeded
//!                     ▲  │ cancel                │ report: Failed, lease ran out
//!                     │  └──────▶ cancelled ◀────┤ (a person wanted the end)
//!                     │    another attempt       │    no other attempt
//!                     └──────────────────────────┴─────────────────────────────▶ failed
//! ```
//!
//! A report counts only with the lease of the attempt under way. Whoever comes with another one is told that the job is lost to it.

use crate::alerts;
use crate::db::job::NewJob;
use crate::db::lease::{Held, Work};
use crate::db::{self, Write, event};
use crate::http::{ApiError, ApiResult};
use crate::keeping;
use crate::scheduler::queue::{Next, after_failure};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;
use web_api::agent_work::{
    AskWork, Ending, LeasedJob, MAX_LINE_BYTES, MAX_REPORTED_LINES, ReportAnswer, ReportEnd, ReportProgress,
    ReportedLine,
};
use web_api::alert::AlertKind;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, JobId, LeaseId};
use web_api::job::{ChangedDisk, JobCause, JobError, JobKind, JobResult, JobState, MAX_CHANGED_DISKS};
use web_api::keeping::KeeperWork;
use web_api::plan::{BackupWork, Plan};
use web_api::unit::Time;

/// Most stages in a report of progress.
const MAX_STAGES: usize = 32;
/// Most warnings of a result, and reasons of an error.
const MAX_LINES: usize = 50;

/// Wakes requests for work that wait.
pub struct Bell(watch::Sender<u64>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Bell {
    /// Something came into the queue.
    pub fn ring(&self) {
        self.0.send_modify(|rings| *rings = rings.wrapping_add(1));
    }

    /// Hears every ring from now on.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Makes a run of a plan because a person wants one.
pub fn make_now(write: &mut Write<'_>, plan: &Plan, now: Time) -> ApiResult<JobId> {
    let id = JobId::generate();
    let run_key = format!("asked {id}");
    let new = NewJob { id, cause: JobCause::Person, plan_id: plan.id, run_key: &run_key, due_at: now };
    if db::job::insert(write, &new, now)? {
        event::append(write, now, "job.queued", &id.to_string())?;
        return Ok(id);
    }
    let open = plan.last_job.as_ref().map(|job| job.id.to_string()).unwrap_or_default();
    Err(ApiError::new(ErrorCode::Conflict, format!("a job of plan {} is not over yet", plan.name))
        .why(format!("job {open} is queued or running, and a plan has one open job at most"))
        .next("wait for its end, or cancel it"))
}

/// The job that an agent's process would be given: one that it was given already and does not know of, or the next in the queue.
pub fn next(
    connection: &rusqlite::Connection,
    (agent, asked): (AgentId, &AskWork),
    now: Time,
) -> db::Result<Option<Held>> {
    let given = db::lease::of_instance(connection, agent, asked.instance)?;
    match given.into_iter().find(|job| !asked.in_hand.contains(&job.id)) {
        // The answer of then did not arrive.
        Some(lost) => Ok(Some(lost)),
        None => db::lease::next_queued(connection, agent, &asked.only, now),
    }
}

/// Gives an agent's process the job that [`next`] found and that was prepared for it. Nothing when it is another one by now.
pub fn give(
    write: &mut Write<'_>,
    (agent, asked): (AgentId, &AskWork),
    (prepared, work): (JobId, Option<KeeperWork>),
    (now, lease): (Time, Duration),
) -> db::Result<Option<LeasedJob>> {
    let Some(mut job) = next(write, (agent, asked), now)?.filter(|job| job.id == prepared) else { return Ok(None) };
    let id = match (job.state, job.lease) {
        (JobState::Running, Some(given)) => given,
        _ => {
            let id = LeaseId::generate();
            db::lease::begin(write, job.id, (id, asked.instance), now, now.after(lease))?;
            job.attempt += 1;
            event::append(write, now, "job.started", &job.id.to_string())?;
            id
        }
    };
    let full_read = match job.plan_id.filter(|_| job.kind == JobKind::Backup) {
        Some(plan) => db::receipt::newest_is_flawed(write, plan)?,
        None => false,
    };
    let backup = match job.work {
        Work::Backup(work) => Some(*work),
        Work::Keeper(_) => None,
    };
    Ok(Some(LeasedJob {
        id: job.id,
        lease: id,
        kind: job.kind,
        attempt: job.attempt,
        full_read_every_days: backup.as_ref().and_then(|work| work.full_read_every_days),
        // What an agent of the version before does not know must not stand in there.
        backup: backup.map(|work| BackupWork { full_read_every_days: None, ..work }),
        plan: job.plan,
        full_read,
        keeper: work,
        lease_s: u32::try_from(lease.as_secs()).unwrap_or(u32::MAX),
    }))
}

/// The job of a report or a question, in the hands of whoever comes with it.
pub fn in_hand(connection: &rusqlite::Connection, agent: AgentId, id: JobId, lease: LeaseId) -> ApiResult<Held> {
    let job = db::lease::get(connection, id)?.filter(|job| job.agent_id == agent);
    let job = job.ok_or_else(|| ApiError::not_found("job"))?;
    if job.lease != Some(lease) {
        return Err(lost("another attempt of it began, or a person retried it"));
    }
    Ok(job)
}

fn lost(why: &str) -> ApiError {
    ApiError::new(ErrorCode::JobLost, "this job is not yours any more").why(why).next("stop working on it")
}

/// Takes a report of progress. Says whether somebody wants the job to end or to wait.
pub fn progress(
    write: &mut Write<'_>,
    (agent, id): (AgentId, JobId),
    report: &ReportProgress,
    (now, lease): (Time, Duration),
) -> ApiResult<ReportAnswer> {
    let job = in_hand(write, agent, id, report.lease)?;
    // It was away for too long, and nobody else began it since: it goes on where it is.
    let alive = job.state == JobState::Running || db::lease::revive(write, id, report.lease)?;
    if !alive {
        return Err(lost(&format!("it is {}", job.state)));
    }
    let mut progress = report.progress.clone();
    progress.stages.truncate(MAX_STAGES);
    db::lease::renew(write, id, &progress, now.after(lease))?;
    db::job::add_log(write, id, job.attempt, &bounded(&report.log), now)?;
    if job.stage != progress.stages.last().map(|stage| stage.name.clone()) {
        event::append(write, now, "job.stage", &id.to_string())?;
    }
    Ok(ReportAnswer { cancel: job.cancelling, pause: job.paused && !job.cancelling })
}

fn bounded(lines: &[ReportedLine]) -> Vec<ReportedLine> {
    let cut = |line: &ReportedLine| ReportedLine { number: line.number, text: cut(&line.text, MAX_LINE_BYTES) };
    lines.iter().take(MAX_REPORTED_LINES).map(cut).collect()
}

/// The beginning of a text, at most so many bytes.
pub fn cut(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

/// Takes the end of an attempt. The same end once more is no error: the answer may have been lost.
pub fn finish(write: &mut Write<'_>, (agent, id): (AgentId, JobId), report: &ReportEnd, now: Time) -> ApiResult<()> {
    let job = in_hand(write, agent, id, report.lease)?;
    if job.state.is_over() {
        return Ok(());
    }
    let alive = job.state == JobState::Running || db::lease::revive(write, id, report.lease)?;
    if !alive {
        return Err(lost(&format!("it is {}", job.state)));
    }
    let mut progress = report.progress.clone();
    progress.stages.truncate(MAX_STAGES);
    db::lease::renew(write, id, &progress, now)?;
    db::job::add_log(write, id, job.attempt, &bounded(&report.log), now)?;
    match &report.ending {
        Ending::Succeeded(result) => {
            if !result.fits(job.kind) {
                return Err(ApiError::new(ErrorCode::Invalid, format!("this is no result of a {} job", job.kind)));
            }
            let mut result = result.clone();
            if let JobResult::Backup(backup) = &mut result {
                backup.warnings.truncate(MAX_LINES);
                backup.disks.retain(ChangedDisk::is_sound);
                backup.disks.truncate(MAX_CHANGED_DISKS);
            }
            db::job::store_error(write, id, None)?;
            db::lease::end(write, id, JobState::Succeeded, Some(&result), now)?;
            keeping::succeeded(write, &job, &result, now)?;
            if let Some(plan) = job.plan_id.filter(|_| job.kind == JobKind::Backup) {
                db::plan::good(write, plan, now)?;
                alerts::clear(write, AlertKind::JobFailed, &job.plan, now)?;
            }
            event::append(write, now, "job.succeeded", &id.to_string())?;
        }
        Ending::Failed { error, retry } => failed(write, &job, error.clone(), *retry, now)?,
        Ending::Cancelled => cancelled(write, id, now)?,
        Ending::Returned if job.cancelling => cancelled(write, id, now)?,
        Ending::Returned => {
            db::lease::requeue(write, id, now, false)?;
            event::append(write, now, "job.queued", &id.to_string())?;
        }
    }
    Ok(())
}

fn cancelled(write: &mut Write<'_>, id: JobId, now: Time) -> db::Result<()> {
    db::lease::end(write, id, JobState::Cancelled, None, now)?;
    event::append(write, now, "job.cancelled", &id.to_string())
}

/// An attempt failed: the plan's rule says whether there is another one.
fn failed(write: &mut Write<'_>, job: &Held, error: JobError, may_help: bool, now: Time) -> db::Result<()> {
    if job.cancelling {
        return cancelled(write, job.id, now);
    }
    let mut error = JobError { attempt: job.attempt, what: cut(&error.what, MAX_LINE_BYTES), ..error };
    error.why.truncate(MAX_LINES);
    db::job::store_error(write, job.id, Some(&error))?;
    let told = match after_failure(job.retries, job.attempt, may_help, now) {
        Next::TryAgain { not_before } => {
            db::lease::requeue(write, job.id, not_before, true)?;
            "job.retried"
        }
        Next::GiveUp => {
            db::lease::end(write, job.id, JobState::Failed, None, now)?;
            if job.repository.is_some() {
                keeping::failed(write, job, (&error.what, error.next.as_deref()), now)?;
            } else {
                let what =
                    format!("The {} of plan {} failed at attempt {}: {}", job.kind, job.plan, job.attempt, error.what);
                alerts::raise(write, (AlertKind::JobFailed, &job.plan), (&what, error.next.as_deref()), now)?;
            }
            "job.failed"
        }
    };
    event::append(write, now, told, &job.id.to_string())
}

/// Takes jobs back whose agent was not heard of in time. Returns how many.
pub fn expire(write: &mut Write<'_>, now: Time) -> db::Result<usize> {
    let expired = db::lease::expired(write, now)?;
    for job in &expired {
        agent_lost(write, job, "its agent was not heard of in time", now)?;
    }
    Ok(expired.len())
}

/// Frees the jobs of earlier processes of an agent, which has just begun anew. Returns how many.
pub fn free_of_earlier(write: &mut Write<'_>, agent: AgentId, instance: Uuid, now: Time) -> db::Result<usize> {
    let orphans = db::lease::of_other_instances(write, agent, instance)?;
    for job in &orphans {
        agent_lost(write, job, "its agent was started anew", now)?;
    }
    Ok(orphans.len())
}

fn agent_lost(write: &mut Write<'_>, job: &Held, what: &str, now: Time) -> db::Result<()> {
    let stage = job.stage.as_deref().map(|stage| format!("it was at the stage {stage:?}"));
    let error = JobError {
        code: "agent_lost".into(),
        what: format!("{what} while the job was running"),
        why: stage.into_iter().collect(),
        next: Some("look whether the machine runs and reaches the server; what was stored is not sent again".into()),
        attempt: job.attempt,
    };
    failed(write, job, error, true, now)
}

/// Why an agent may do nothing any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excluded {
    /// A person revoked it.
    Revoked,
    /// What it stored was not what it said.
    Suspended,
}

/// Ends all open jobs of an agent that may do nothing any more.
pub fn end_of_excluded(write: &mut Write<'_>, agent: AgentId, why: Excluded, now: Time) -> db::Result<()> {
    let (code, what, next) = match why {
        Excluded::Revoked => ("agent_revoked", "its agent was revoked", "give the plan to another agent"),
        Excluded::Suspended => ("agent_suspended", "its agent was suspended", "look at the alert about the agent"),
    };
    for job in db::lease::open_of_agent(write, agent)? {
        let error = JobError {
            code: code.into(),
            what: what.into(),
            why: Vec::new(),
            next: Some(next.into()),
            attempt: job.attempt,
        };
        db::job::store_error(write, job.id, Some(&error))?;
        db::lease::end(write, job.id, JobState::Failed, None, now)?;
        event::append(write, now, "job.failed", &job.id.to_string())?;
    }
    Ok(())
}

/// A person wants a job to end: at once while it is queued, else when its agent hears of it.
pub fn cancel(write: &mut Write<'_>, id: JobId, now: Time) -> ApiResult<()> {
    let job = db::lease::get(write, id)?.ok_or_else(|| ApiError::not_found("job"))?;
    match job.state {
        JobState::Queued => Ok(cancelled(write, id, now)?),
        JobState::Running => Ok(db::job::cancel_running(write, id)?),
        over => Err(ApiError::new(ErrorCode::Conflict, format!("the job is {over} already"))),
    }
}

/// A person wants a job to wait, or to go on. One that is running waits as soon as its agent hears of it.
pub fn set_paused(write: &mut Write<'_>, id: JobId, paused: bool, now: Time) -> ApiResult<bool> {
    let job = db::lease::get(write, id)?.ok_or_else(|| ApiError::not_found("job"))?;
    if job.state.is_over() {
        return Err(ApiError::new(ErrorCode::Conflict, format!("the job is {} already", job.state)));
    }
    if job.paused == paused {
        return Ok(false);
    }
    db::job::set_paused(write, id, paused)?;
    let kind = if paused { "job.paused" } else { "job.resumed" };
    event::append(write, now, kind, &id.to_string())?;
    Ok(true)
}

/// A person wants a job that failed or was cancelled to be tried again.
pub fn retry(write: &mut Write<'_>, id: JobId, now: Time) -> ApiResult<()> {
    let job = db::lease::get(write, id)?.ok_or_else(|| ApiError::not_found("job"))?;
    if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
        return Err(ApiError::new(ErrorCode::Conflict, format!("the job is {}", job.state))
            .why("only what failed or was cancelled is tried again"));
    }
    let agent = db::agent::get(write, job.agent_id)?;
    if agent.is_none_or(|agent| agent.revoked_at.is_some() || agent.suspended_at.is_some()) {
        return Err(ApiError::new(ErrorCode::Conflict, "the job's agent was revoked or suspended")
            .next("give the plan to another one"));
    }
    if !db::job::requeue_ended(write, id, now)? {
        return Err(ApiError::new(ErrorCode::Conflict, "another job of its plan is not over yet")
            .next("wait for its end, or cancel it"));
    }
    Ok(event::append(write, now, "job.queued", &id.to_string())?)
}
