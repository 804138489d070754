//! Looking after repositories: which jobs their keepers should have without anybody asking. [`due`] is pure; the loop round it asks and stores.

use crate::db::{self, Write, event};
use crate::keeping;
use crate::state::App;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use web_api::id::RepositoryId;
use web_api::job::{JobCause, JobKind};
use web_api::keeping::Care;
use web_api::unit::Time;

const EVERY: Duration = Duration::from_secs(1);
/// Between two looks for points whose proof is old: that question is not cheap and its answer changes slowly.
const LOOK_FOR_OLD: Duration = Duration::from_secs(600);
/// After a failure, or when a person ended it, nothing of that kind begins by itself for this long.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);
/// Between two copies of the server's database.
const COPY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// The newest points are read again after this time.
pub const VERIFY_AGAIN_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// A repository that has a keeper, as it is now.
#[derive(Clone, Debug)]
pub struct CareState {
    /// How it is to be looked after.
    pub care: Care,
    /// Since when it has a keeper.
    pub kept_since: Time,
    /// Kinds that are queued or running.
    pub open: Vec<JobKind>,
    /// Whether a point waits to be verified.
    pub is_unverified: bool,
    /// When each kind succeeded last.
    pub succeeded: HashMap<JobKind, Time>,
    /// When each kind failed or was cancelled last.
    pub failed: HashMap<JobKind, Time>,
}

/// What is due.
pub fn due(now: Time, state: &CareState) -> Vec<(JobKind, JobCause)> {
    let care = &state.care;
    let every = |seconds: u32| Some(Duration::from_secs(seconds.into())).filter(|every| !every.is_zero());
    // A repository that was just taken over is not gone through at once; the copy of the database cannot come too early.
    let since = |kind: JobKind| Some(state.succeeded.get(&kind).copied().unwrap_or(state.kept_since));
    let wanted = [
        (JobKind::Verify, JobCause::Received, (care.verify && state.is_unverified).then_some(Duration::ZERO), None),
        (JobKind::Check, JobCause::Calendar, every(care.check_every_s), since(JobKind::Check)),
        (JobKind::Prune, JobCause::Calendar, every(care.prune_every_s), since(JobKind::Prune)),
        (
            JobKind::Copy,
            JobCause::Calendar,
            care.copy_database.then_some(COPY_EVERY),
            state.succeeded.get(&JobKind::Copy).copied(),
        ),
    ];
    let is_due = |kind: JobKind, every: Duration, since: Option<Time>| {
        // A time that lies ahead is of a clock that was wrong.
        let over = |at: Time, wait: Duration| now >= at.after(wait) || now < at;
        !state.open.contains(&kind)
            && since.is_none_or(|since| over(since, every))
            && state.failed.get(&kind).is_none_or(|failed| {
                over(*failed, AFTER_FAILURE) || state.succeeded.get(&kind).is_some_and(|good| good > failed)
            })
    };
    wanted
        .into_iter()
        .filter(|(kind, _, every, since)| every.is_some_and(|every| is_due(*kind, every, *since)))
        .map(|(kind, cause, ..)| (kind, cause))
        .collect()
}

/// Runs until the server ends.
pub async fn run(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut stopping, mut look_for_old_at) = (app.stopping.clone(), Instant::now());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let look_for_old = Instant::now() >= look_for_old_at;
        if look_for_old {
            look_for_old_at = Instant::now() + LOOK_FOR_OLD;
        }
        if let Err(error) = look(&app, look_for_old).await {
            tracing::warn!(%error, "it could not be looked what repositories need; it is tried again");
        }
    }
}

/// One look at all repositories.
pub async fn look(app: &App, look_for_old: bool) -> db::Result<()> {
    let now = app.now();
    let wanted = app.database.read(move |connection| wanted(connection, look_for_old, now)).await?;
    if wanted.is_empty() {
        return Ok(());
    }
    let made = app.database.write(move |write| make(write, &wanted, now)).await?;
    if made > 0 {
        app.bell.ring();
    }
    Ok(())
}

type Wanted = (RepositoryId, JobKind, JobCause, Care);

fn wanted(connection: &rusqlite::Connection, look_for_old: bool, now: Time) -> db::Result<Vec<Wanted>> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = db::repository::page(connection, after, 100)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.id);
        for repository in page {
            let Some(keeper) = db::agent::keeper_of(connection, repository.id)? else { continue };
            let state = state(connection, repository.id, (repository.care, keeper.created_at), look_for_old, now)?;
            let due = due(now, &state);
            found.extend(due.into_iter().map(|(kind, cause)| (repository.id, kind, cause, repository.care)));
        }
    }
}

fn state(
    connection: &rusqlite::Connection,
    repository: RepositoryId,
    (care, kept_since): (Care, Time),
    look_for_old: bool,
    now: Time,
) -> db::Result<CareState> {
    let mut is_unverified = care.verify && db::receipt::is_unverified(connection, repository)?;
    if care.verify && look_for_old && !is_unverified {
        is_unverified = !db::receipt::pending(connection, repository, before(now), 1)?.is_empty();
    }
    let (mut succeeded, mut failed) = (HashMap::new(), HashMap::new());
    for (kind, is_success, at) in db::point::last_ends(connection, repository)? {
        let Some(kind) = JobKind::named(&kind) else { continue };
        if is_success {
            succeeded.insert(kind, at)
        } else {
            failed.insert(kind, at)
        };
    }
    let open = db::point::open_kinds(connection, repository)?;
    let open = open.iter().filter_map(|kind| JobKind::named(kind)).collect();
    Ok(CareState { care, kept_since, open, is_unverified, succeeded, failed })
}

/// Proofs of before this time are old.
pub fn before(now: Time) -> Time {
    Time::from_ms(now.ms().saturating_sub(i64::try_from(VERIFY_AGAIN_AFTER.as_millis()).unwrap_or(i64::MAX)))
}

fn make(write: &mut Write<'_>, wanted: &[Wanted], now: Time) -> db::Result<usize> {
    let mut made = 0;
    for (repository, kind, cause, care) in wanted {
        // It may have been revoked since the look.
        let Some(keeper) = db::agent::keeper_of(write, *repository)? else { continue };
        let Some(work) = keeping::usual_work(*kind, care) else { continue };
        if let Some(id) = keeping::make(write, (*repository, keeper.id), (*kind, *cause, &work), now)? {
            event::append(write, now, "job.queued", &id.to_string())?;
            made += 1;
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> Time {
        Time::from_ms(1_790_000_000_000 + hours * HOUR)
    }

    /// A repository that is kept since hour 0 and has had its copy.
    fn state() -> CareState {
        CareState {
            care: Care::default(),
            kept_since: at(0),
            open: Vec::new(),
            is_unverified: false,
            succeeded: HashMap::from([(JobKind::Copy, at(0))]),
            failed: HashMap::new(),
        }
    }

    fn kinds(now: Time, state: &CareState) -> Vec<JobKind> {
        due(now, state).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn each_kind_has_its_time_counted_from_the_last_success() {
        let mut state = state();
        assert!(kinds(at(23), &state).is_empty());
        assert_eq!(kinds(at(24), &state), [JobKind::Prune, JobKind::Copy]);
        assert_eq!(kinds(at(24 * 7), &state), [JobKind::Check, JobKind::Prune, JobKind::Copy]);
        for kind in [JobKind::Check, JobKind::Prune, JobKind::Copy] {
            state.succeeded.insert(kind, at(24 * 7));
        }
        assert!(kinds(at(24 * 7 + 23), &state).is_empty());
        assert_eq!(kinds(at(24 * 8), &state), [JobKind::Prune, JobKind::Copy]);
        state.succeeded.remove(&JobKind::Copy);
        assert_eq!(kinds(at(24 * 7), &state), [JobKind::Copy], "a first copy is never too early");
    }

    #[test]
    fn what_came_in_is_verified_at_once_by_one_job_at_a_time() {
        let mut state = state();
        state.is_unverified = true;
        assert_eq!(due(at(1), &state), [(JobKind::Verify, JobCause::Received)]);
        state.open.push(JobKind::Verify);
        assert!(kinds(at(1), &state).is_empty());
        state.open.clear();
        state.succeeded.insert(JobKind::Verify, at(1));
        assert_eq!(kinds(at(1), &state), [JobKind::Verify], "what came in meanwhile is next");
    }

    #[test]
    fn what_failed_waits_an_hour_and_what_is_switched_off_never_comes() {
        let mut state = state();
        state.is_unverified = true;
        state.failed.insert(JobKind::Verify, at(1));
        assert!(kinds(at(1), &state).is_empty());
        assert_eq!(kinds(at(2), &state), [JobKind::Verify]);
        state.succeeded.insert(JobKind::Verify, at(2));
        state.failed.insert(JobKind::Verify, at(1));
        assert_eq!(kinds(at(2), &state), [JobKind::Verify], "a success makes up for it");
        state.care = Care { verify: false, check_every_s: 0, prune_every_s: 0, copy_database: false, ..state.care };
        assert!(kinds(at(9999), &state).is_empty());
    }

    #[test]
    fn a_clock_that_was_ahead_stops_nothing() {
        let mut state = state();
        state.failed.insert(JobKind::Copy, at(9000));
        state.succeeded =
            HashMap::from([(JobKind::Copy, at(9000)), (JobKind::Prune, at(9000)), (JobKind::Check, at(9000))]);
        state.failed.clear();
        assert_eq!(kinds(at(1), &state), [JobKind::Check, JobKind::Prune, JobKind::Copy]);
    }
}
