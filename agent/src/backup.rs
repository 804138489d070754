//! A backup, from disks to a committed recovery point. Reads like the data flow:
//!
//! sources → snapshot ([`provider`]) → what to read ([`plan`]) → read, hash, "known?", compress ([`pipeline`]) → packs → tree → manifest.
//!
//! The manifest is the only commit point. Whatever fails before it leaves every earlier point as it was, and what was stored already
//! is not stored again by the next run.

mod audit;
mod commit;
mod limit;
mod parent;
mod pipeline;
mod plan;
mod request;
mod spread;
#[cfg(test)]
pub(crate) mod tests;

pub use audit::Audit;
pub use plan::PlannedDisk;
pub use request::{BackupOutcome, BackupRequest, ChangedList, DiskOutcome, Guarded, Refusal};

use crate::hooks::{Hooks, Instant};
use crate::progress::Progress;
use crate::source::provider::{self, Choice, NamedSource, Provider, ProviderKind, Snapshot, SnapshotError};
use crate::source::sys::SysRoot;
use crate::source::{Source, disk_names, is_on};
use anyhow::{Context, Result, bail};
use commit::Work;
use jiff::Timestamp;
use parent::{Losses, Parent, ParentLost, find_parent};
use repo_format::index::Index;
use repo_format::manifest::Consistency;
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use repo_format::session::SessionStart;
use std::sync::atomic::AtomicBool;

/// What a job needs from outside besides its request.
pub struct Surroundings<'a> {
    /// The time; asked again and again.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// Takes reports.
    pub progress: &'a dyn Progress,
    /// Set from outside to stop cleanly.
    pub cancel: &'a AtomicBool,
    /// Who could hold the disks still, in the order of preference.
    pub providers: &'a [&'a dyn Provider],
}

/// Backs up the request's sources as one recovery point. The index must have been reconciled with the store.
pub fn run(
    repo: &Repository,
    index: &Index,
    request: &BackupRequest,
    around: &Surroundings<'_>,
) -> Result<BackupOutcome> {
    request.check()?;
    // A snapshot is an instant of its own, and hooks run just round it. Without one the instant lasts until everything is read.
    let hooks = |instant| Hooks::new(&request.hooks, request.hook_subject(), instant, (around.progress, around.cancel));
    if would_take_snapshot(request, around) {
        return store_point(repo, index, request, (around, Some(&hooks(Instant::Snapshot))));
    }
    let hooks = hooks(Instant::WholeRead);
    let held = hooks.before()?;
    let stored = store_point(repo, index, request, (around, None));
    let report = held.after(stored.is_ok());
    Ok(BackupOutcome { hooks: report, ..stored? })
}

/// Whether hooks can wait until the instant. What fails here fails again where it is told.
fn would_take_snapshot(request: &BackupRequest, around: &Surroundings<'_>) -> bool {
    let chosen = open_sources(request)
        .and_then(|sources| Ok(choose(request, around, &sources)?.provider.kind() != ProviderKind::Direct));
    chosen.unwrap_or(false)
}

fn choose<'a>(request: &BackupRequest, around: &Surroundings<'a>, sources: &[NamedSource]) -> Result<Choice<'a>> {
    // A list from elsewhere was made for what is read now, not for a snapshot that is still to come.
    let wanted = request.provider.or(request.changed.is_some().then_some(ProviderKind::Direct));
    provider::choose(around.providers, wanted, sources)
}

/// Everything but hooks round a whole read.
fn store_point(
    repo: &Repository,
    index: &Index,
    request: &BackupRequest,
    (around, hooks): (&Surroundings<'_>, Option<&Hooks<'_>>),
) -> Result<BackupOutcome> {
    let started_at = (around.clock)();
    let sources = open_sources(request)?;
    refuse_repository_on(request, &sources)?;
    let choice = choose(request, around, &sources)?;
    if choice.promise.consistency == Consistency::NotConsistent {
        choice.passed_over.iter().for_each(|why| around.progress.message(why));
    }
    let reader = Reader::new(repo, index);
    let mut start = SessionStart::begin(&reader, started_at).context("beginning the backup")?;
    let job = (sources, choice, started_at);
    let result = snapshot_and_store(&reader, &mut start, request, job, (around, hooks));
    // The first error is the one to tell; a lease that could not be given back lapses by itself.
    let released = start.abandon(repo);
    let outcome = result?;
    if let Err(error) = released {
        tracing::warn!(%error, "the lease could not be released; it lapses by itself");
    }
    Ok(outcome)
}

/// Holds the disks still for as long as they are read: everything that can be done before the snapshot is.
fn snapshot_and_store<'r>(
    reader: &'r Reader<'r>,
    start: &mut SessionStart<'r>,
    request: &BackupRequest,
    (sources, choice, started_at): (Vec<NamedSource>, Choice<'_>, Timestamp),
    (around, hooks): (&Surroundings<'_>, Option<&Hooks<'_>>),
) -> Result<BackupOutcome> {
    let name = request.point_name();
    let parent = find_parent(reader, start, request, &name, around)?;
    let held = hooks.map(Hooks::before).transpose()?;
    let taken_at = (around.clock)();
    let provider = choice.provider;
    let taken = provider.take(sources, choice.promise);
    // Before anything is read: the applications waited for the snapshot, not for the backup.
    let report = held.map(|held| held.after(taken.is_ok())).unwrap_or_default();
    let mut snapshot = taken.context("taking a snapshot of the disks")?;
    tell(&*snapshot, provider.kind(), around);
    let instant = InstantOf { started_at, taken_at, told_applications: report.told_applications() };
    let result = store(reader, start, request, (&*snapshot, provider.kind(), instant), (name, parent), around);
    let (outcome, distrusted) = match result {
        Ok(stored) => stored,
        Err(error) => return Err(explained(error, &*snapshot)),
    };
    distrusted.into_iter().for_each(|disk| snapshot.distrust(disk));
    // The point is committed, whatever happens to what it was read from.
    if let Err(error) = snapshot.committed().and_then(|()| snapshot.release()) {
        around.progress.message(&format!("the point is committed, but the snapshot could not be released: {error:#}"));
    }
    Ok(BackupOutcome { hooks: report, ..outcome })
}

/// When a job's disks were what its point shows.
#[derive(Clone, Copy)]
struct InstantOf {
    /// When the job began.
    started_at: Timestamp,
    /// Just before the snapshot.
    taken_at: Timestamp,
    /// Hooks brought the applications' files into order for it.
    told_applications: bool,
}

fn store<'r>(
    reader: &'r Reader<'r>,
    start: &mut SessionStart<'r>,
    request: &BackupRequest,
    (snapshot, provider, instant): (&dyn Snapshot, ProviderKind, InstantOf),
    (name, parent): (String, Option<Parent>),
    around: &Surroundings<'_>,
) -> Result<(BackupOutcome, Vec<usize>)> {
    let mut losses = Losses::recorded(reader.repository())?;
    let attempt = |start: &mut SessionStart<'r>, losses: &Losses| {
        let disks = plan::disks(request, snapshot, parent.as_ref(), reader, (losses, instant.taken_at))?;
        let (parent, name) = (parent.as_ref(), name.clone());
        let work = Work { reader, request, around, name, provider, snapshot, instant, parent, disks };
        std::thread::scope(|scope| work.store(start.open(scope, reader)))
    };
    // At most once for each disk and once more: without a parent there is none to be lost.
    loop {
        let lost = match attempt(start, &losses) {
            Err(error) => error.downcast::<ParentLost>()?,
            stored => return stored,
        };
        around.progress.message(&format!(
            "disk {:?}: {lost}; all of it is read, what is stored already is not stored again",
            lost.disk
        ));
        start.claims().distrust_trees();
        losses.add(lost);
    }
}

/// Where the snapshot keeps what is overwritten is worth a line: somebody may have to make room there.
fn tell(snapshot: &dyn Snapshot, provider: ProviderKind, around: &Surroundings<'_>) {
    if let Some(storage) = snapshot.describe() {
        around
            .progress
            .message(&format!("provider {provider}: {}; overwritten data waits {storage}", snapshot.promise()));
    }
}

/// A failed read of a spoiled snapshot is told as what it is.
fn explained(error: anyhow::Error, snapshot: &dyn Snapshot) -> anyhow::Error {
    let interrupted = matches!(error.downcast_ref(), Some(repo_format::Error::Interrupted));
    match snapshot.check() {
        Err(spoiled) if !interrupted && spoiled.downcast_ref::<SnapshotError>().is_some() => spoiled,
        _ => error,
    }
}

fn open_sources(request: &BackupRequest) -> Result<Vec<NamedSource>> {
    let names = disk_names(&request.sources);
    let opened: Result<Vec<_>> =
        request.sources.iter().zip(names).map(|(path, name)| Ok((name, Source::open(path)?))).collect();
    let opened = opened?;
    for (at, (_, source)) in opened.iter().enumerate() {
        if let Some((_, twin)) = opened[..at].iter().find(|(_, other)| other.location() == source.location()) {
            bail!("{} and {} are the same disk; name it once", twin.path().display(), source.path().display());
        }
    }
    Ok(opened)
}

/// A repository or index on a disk that is backed up would be lost with it, and grow while it reads itself.
fn refuse_repository_on(request: &BackupRequest, sources: &[NamedSource]) -> Result<()> {
    let sys = SysRoot::host();
    for (_, source) in sources {
        for guarded in &request.guarded {
            let chain = is_on(&sys, &guarded.path, source.location()).context("looking where the repository lies")?;
            if let Some(chain) = chain {
                return Err(Refusal::RepositoryOnSource {
                    what: guarded.what,
                    source: source.path().display().to_string(),
                    chain: chain.join(" → "),
                }
                .into());
            }
        }
    }
    Ok(())
}
