//! What keepers are given to do, and what follows from what they report.
//!
//! Only jobs of an agent that an admin made a keeper come here, and only for its own repository: `handlers/agents.rs` and
//! `handlers/enrolments.rs` make keepers, [`make`] makes their jobs. What any other agent claims of points changes nothing.

use crate::alerts;
use crate::audit::Record;
use crate::db::job::NewKeeperJob;
use crate::db::lease::{Held, Work};
use crate::db::{self, Write, event};
use crate::handlers::retention;
use crate::http::{ApiError, ApiResult};
use crate::ingest::blocking;
use crate::jobs;
use crate::scheduler::care;
use crate::state::App;
use web_api::agent::Agent;
use web_api::alert::AlertKind;
use web_api::audit::Outcome;
use web_api::error::ErrorCode;
use web_api::id::{AgentId, JobId, RepositoryId};
use web_api::job::{JobCause, JobKind, JobResult};
use web_api::keeping::{
    Care, CheckResult, CheckWork, CopyWork, DamagedPack, GiveUp, KeeperWork, MAX_POINTS, PruneResult, PruneWork,
    RestoreWork, VerifyResult, VerifyWork,
};
use web_api::plan::Retries;
use web_api::unit::Time;

/// Most points that one prune gives up; the rest is the next one's.
const MAX_GIVEN_UP: usize = 1000;
/// A keeper's job is tried again so often: it disturbs nobody, and what was done stays done.
const RETRIES: Retries = Retries { count: 3, pause_s: 60 };

/// The work of a job that nobody asked for; nothing for kinds that are always asked for.
pub fn usual_work(kind: JobKind, care: &Care) -> Option<KeeperWork> {
    Some(match kind {
        JobKind::Verify => KeeperWork::Verify(VerifyWork::default()),
        JobKind::Check => {
            let sample_percent = Some(care.check_sample_percent).filter(|percent| *percent > 0.0);
            KeeperWork::Check(CheckWork { read_data: false, sample_percent })
        }
        JobKind::Prune => KeeperWork::Prune(PruneWork::default()),
        JobKind::Copy => KeeperWork::Copy(CopyWork::default()),
        JobKind::Backup | JobKind::Restore | JobKind::Forget => return None,
    })
}

/// Makes a job of a keeper; nothing when one of its kind is open that nobody asked for, and this one neither.
pub fn make(
    write: &Write<'_>,
    (repository, keeper): (RepositoryId, AgentId),
    (kind, cause, work): (JobKind, JobCause, &KeeperWork),
    now: Time,
) -> db::Result<Option<JobId>> {
    let id = JobId::generate();
    // Who asked for something looks at its error and asks again.
    let retries = if cause == JobCause::Person { Retries { count: 0, pause_s: 0 } } else { RETRIES };
    let new = NewKeeperJob { id, kind, cause, repository, keeper, work, retries };
    Ok(db::job::insert_keepers(write, &new, now)?.then_some(id))
}

/// The keeper of a repository, or what to do without one.
pub fn keeper(connection: &rusqlite::Connection, repository: RepositoryId, name: &str) -> ApiResult<Agent> {
    db::agent::keeper_of(connection, repository)?.ok_or_else(|| {
        ApiError::new(ErrorCode::Conflict, format!("nobody keeps the repository {name}"))
            .why("it takes the repository's own key, which the server does not have")
            .next("make a keeper: POST /api/v1/enrolments with \"keeper\": true, then `icecore agent enroll … --keeps DIR`")
    })
}

/// Fills in what a job is about at the moment at which it begins.
pub async fn prepare(app: &App, job: &Held) -> ApiResult<Option<KeeperWork>> {
    let (Work::Keeper(work), Some((repository, _))) = (&job.work, &job.repository) else { return Ok(None) };
    let repository = *repository;
    Ok(Some(match &**work {
        KeeperWork::Verify(work) if work.points.is_empty() => {
            let (old, limit) = (care::before(app.now()), u32::try_from(MAX_POINTS).unwrap_or(u32::MAX));
            let pending =
                move |connection: &rusqlite::Connection| db::receipt::pending(connection, repository, old, limit);
            KeeperWork::Verify(VerifyWork { points: app.database.read(pending).await?, ..work.clone() })
        }
        KeeperWork::Prune(work) => {
            KeeperWork::Prune(PruneWork { give_up: given_up(app, repository).await?, ..work.clone() })
        }
        // Agents of the version before refuse what they do not know; who is given the job knows who it is.
        KeeperWork::Restore(work) => KeeperWork::Restore(RestoreWork { agent_id: None, ..work.clone() }),
        KeeperWork::Copy(_) => KeeperWork::Copy(CopyWork { file: outgoing_copy(app).await? }),
        other => other.clone(),
    }))
}

/// A copy of the database as it is now.
async fn outgoing_copy(app: &App) -> ApiResult<String> {
    let copies = app.copies.clone();
    blocking(move || {
        let made = copies.make_outgoing().map_err(|error| ApiError::internal(&format!("{error:#}")))?;
        Ok(made.display().to_string())
    })
    .await
}

/// What no plan's rules keep, the oldest of each plan first.
async fn given_up(app: &App, repository: RepositoryId) -> ApiResult<Vec<GiveUp>> {
    let plans = app.database.read(move |connection| db::plan::of_repository(connection, repository)).await?;
    let mut found = Vec::new();
    for id in plans {
        // One that was removed meanwhile gives nothing up, and neither does one whose rules cannot be read.
        let (plan, decisions) = match retention::decisions_of(app, id, app.now()).await {
            Ok(decided) => decided,
            Err(error) => {
                tracing::warn!(plan = %id, %error, "a plan's rules could not be applied; nothing of it is given up");
                continue;
            }
        };
        let gone = decisions.iter().rev().filter(|decision| !decision.keep);
        found.extend(gone.map(|decision| GiveUp {
            point: decision.point.clone(),
            minimum: plan.keep.minimum.max(1),
            reason: format!("the rules of plan {} do not keep it", plan.name),
        }));
    }
    found.truncate(MAX_GIVEN_UP);
    Ok(found)
}

/// What alerts about a part of a repository are about.
fn subject(repository: &str, part: &str) -> String {
    format!("{repository}: {part}")
}

/// A keeper's job failed for good.
pub fn failed(write: &mut Write<'_>, job: &Held, (what, next): (&str, Option<&str>), now: Time) -> db::Result<()> {
    let Some((_, repository)) = &job.repository else { return Ok(()) };
    // Who asked for it sees its error.
    let is_alert = matches!(job.kind, JobKind::Verify | JobKind::Check | JobKind::Prune | JobKind::Copy);
    if is_alert {
        let what = format!("The {} job in repository {repository} failed at attempt {}: {what}", job.kind, job.attempt);
        alerts::raise(write, (AlertKind::Repository, &subject(repository, job.kind.name())), (&what, next), now)?;
    }
    Ok(())
}

/// A keeper's job succeeded: takes over what it found.
pub fn succeeded(write: &mut Write<'_>, job: &Held, result: &JobResult, now: Time) -> db::Result<()> {
    let Some((id, repository)) = &job.repository else { return Ok(()) };
    alerts::clear(write, AlertKind::Repository, &subject(repository, job.kind.name()), now)?;
    match result {
        JobResult::Verify(result) => verified(write, (*id, repository), result, now)?,
        JobResult::Check(result) => checked(write, (*id, repository), result, now)?,
        JobResult::Prune(result) if !result.dry_run => pruned(write, *id, result, now)?,
        JobResult::Forget(result) => {
            let forgotten = result.delete_after.map(|_| now);
            for point in &result.points {
                db::receipt::set_forgotten(write, *id, point, (forgotten, result.delete_after))?;
                let kind = if forgotten.is_some() { "recovery-point.forget" } else { "recovery-point.undo" };
                event::append(write, now, kind, point)?;
            }
        }
        JobResult::Prune(_) | JobResult::Restore(_) | JobResult::Backup(_) => {}
    }
    if matches!(job.kind, JobKind::Verify | JobKind::Check | JobKind::Prune | JobKind::Forget) {
        look_at_flaws(write, (*id, repository), now)?;
    }
    Ok(())
}

fn verified(
    write: &mut Write<'_>,
    (id, repository): (RepositoryId, &str),
    result: &VerifyResult,
    now: Time,
) -> db::Result<()> {
    for verdict in result.points.iter().take(MAX_POINTS) {
        match (&verdict.flaw, verdict.proved_since) {
            (Some(flaw), _) => flawed(write, id, &verdict.point, flaw, now)?,
            (None, Some(since)) => {
                db::receipt::verified(write, id, &verdict.point, (now, since))?;
                event::append(write, now, "recovery-point.verify", &verdict.point)?;
            }
            (None, None) => {}
        }
    }
    suspend_forgers(write, (id, repository), &result.damaged, now)
}

fn flawed(write: &mut Write<'_>, id: RepositoryId, point: &str, flaw: &str, now: Time) -> db::Result<()> {
    if db::receipt::flawed(write, id, point, &jobs::cut(flaw, 1000))? {
        event::append(write, now, "recovery-point.flaw", point)?;
    }
    Ok(())
}

fn checked(
    write: &mut Write<'_>,
    (id, repository): (RepositoryId, &str),
    result: &CheckResult,
    now: Time,
) -> db::Result<()> {
    for finding in result.findings.iter().filter(|finding| finding.is_error) {
        for point in &finding.points {
            flawed(write, id, point, &format!("{}: {}", finding.object, finding.what), now)?;
        }
    }
    let subject = subject(repository, "errors");
    if result.errors == 0 {
        alerts::clear(write, AlertKind::Repository, &subject, now)?;
    } else {
        let first = result.findings.first().map(|finding| format!(", the first: {}: {}", finding.object, finding.what));
        let what =
            format!("A check of repository {repository} found {} errors{}", result.errors, first.unwrap_or_default());
        let next = "look at the check's findings: GET /api/v1/jobs?kind=check";
        alerts::raise(write, (AlertKind::Repository, &subject), (&what, Some(next)), now)?;
    }
    suspend_forgers(write, (id, repository), &result.damaged, now)
}

fn pruned(write: &mut Write<'_>, id: RepositoryId, result: &PruneResult, now: Time) -> db::Result<()> {
    for point in &result.given_up {
        db::receipt::set_forgotten(write, id, point, (Some(now), result.delete_after))?;
        event::append(write, now, "recovery-point.forget", point)?;
    }
    for point in &result.points_deleted {
        db::receipt::set_gone(write, id, point, now)?;
        event::append(write, now, "recovery-point.gone", point)?;
    }
    Ok(())
}

/// One alert for all points of a repository that cannot be restored as a whole, for as long as there is one.
pub fn look_at_flaws(write: &mut Write<'_>, (id, repository): (RepositoryId, &str), now: Time) -> db::Result<()> {
    let subject = subject(repository, "damaged points");
    match db::receipt::flawed_count(write, id)? {
        0 => drop(alerts::clear(write, AlertKind::Repository, &subject, now)?),
        count => {
            let what = format!("{count} recovery points of repository {repository} cannot be restored as a whole");
            let next = "GET /api/v1/recovery-points says what of each; the next backup of a series whose newest point is damaged reads everything and stores what is missing";
            alerts::raise(write, (AlertKind::Repository, &subject), (&what, Some(next)), now)?;
        }
    }
    Ok(())
}

/// Suspends the agents that stored what it is not. A repack's packs are the keeper's own and suspend nobody.
fn suspend_forgers(
    write: &mut Write<'_>,
    (id, repository): (RepositoryId, &str),
    damaged: &[DamagedPack],
    now: Time,
) -> db::Result<()> {
    for pack in damaged {
        let Some(writer) = &pack.forged_by else { continue };
        for agent in db::agent::of_writer(write, id, writer)? {
            db::agent::set_suspended(write, agent.id, Some(now))?;
            jobs::end_of_excluded(write, agent.id, jobs::Excluded::Suspended, now)?;
            let what = format!(
                "Agent {} was suspended: pack {} in repository {repository}, which came from it, does not hold what it says",
                agent.name, pack.pack
            );
            let next = "find out whether its key was stolen (revoke it then) or its memory is bad; POST /api/v1/agents/{id}/reinstate lets it in again";
            alerts::raise(write, (AlertKind::AgentSuspended, &agent.name), (&what, Some(next)), now)?;
            event::append(write, now, "agent.suspend", &agent.id.to_string())?;
            let record = Record {
                at: now,
                actor: format!("keeper of {repository}"),
                address: String::new(),
                action: "agent.suspend".into(),
                subject: agent.id.to_string(),
                outcome: Outcome::Done,
                detail: format!("{}: pack {}", agent.name, pack.pack),
            };
            db::audit::append(write, record)?;
        }
    }
    Ok(())
}
