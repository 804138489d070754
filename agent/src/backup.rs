//! A backup, from disks to a committed recovery point. Reads like the data flow:
//!
//! sources → what to read ([`plan`]) → read, hash, "known?", compress ([`pipeline`]) → packs → tree → manifest.
//!
//! The manifest is the only commit point. Whatever fails before it leaves every earlier point as it was, and what was stored already
//! is not stored again by the next run.

mod commit;
mod limit;
mod pipeline;
mod plan;
mod request;

pub use plan::PlannedDisk;
pub use request::{Audit, BackupOutcome, BackupRequest, ChangedList, Guarded, Refusal};

use crate::hooks::{Hooks, Instant};
use crate::progress::Progress;
use crate::source::in_use::in_use;
use crate::source::sys::SysRoot;
use crate::source::{Source, disk_names, is_on};
use anyhow::{Context, Result, bail};
use commit::Work;
use jiff::Timestamp;
use plan::Parent;
use repo_format::index::Index;
use repo_format::manifest::{Consistency, Manifest, StoredManifest};
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use repo_format::session::SessionStart;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// What a job needs from outside besides its request.
pub struct Surroundings<'a> {
    /// The time; asked again and again.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// Takes reports.
    pub progress: &'a dyn Progress,
    /// Set from outside to stop cleanly.
    pub cancel: &'a AtomicBool,
}

/// Backs up the request's sources as one recovery point. The index must have been reconciled with the store.
pub fn run(
    repo: &Repository,
    index: &Index,
    request: &BackupRequest,
    around: &Surroundings<'_>,
) -> Result<BackupOutcome> {
    request.check()?;
    // Without a snapshot the instant lasts until everything is read.
    let hooks =
        Hooks::new(&request.hooks, request.hook_subject(), Instant::WholeRead, (around.progress, around.cancel));
    let held = hooks.before()?;
    let stored = store_point(repo, index, request, around);
    let report = held.after(stored.is_ok());
    Ok(BackupOutcome { hooks: report, ..stored? })
}

/// Everything but the hooks.
fn store_point(
    repo: &Repository,
    index: &Index,
    request: &BackupRequest,
    around: &Surroundings<'_>,
) -> Result<BackupOutcome> {
    let started_at = (around.clock)();
    let before = stamps(&request.sources)?;
    let sources = open_sources(request)?;
    let consistency = refuse_unsafe(request, &sources)?;
    let reader = Reader::new(repo, index);
    let mut start = SessionStart::begin(&reader, started_at).context("beginning the backup")?;
    let result = plan_and_store(&reader, &mut start, request, (&sources, consistency, started_at), (&before, around));
    // The first error is the one to tell; a lease that could not be given back lapses by itself.
    let released = start.abandon(repo);
    let outcome = result?;
    if let Err(error) = released {
        tracing::warn!(%error, "the lease could not be released; it lapses by itself");
    }
    Ok(outcome)
}

fn plan_and_store<'r>(
    reader: &'r Reader<'r>,
    start: &mut SessionStart<'r>,
    request: &BackupRequest,
    (sources, consistency, started_at): (&[(String, Source)], Consistency, Timestamp),
    (stamps, around): (&[Option<Stamp>], &Surroundings<'_>),
) -> Result<BackupOutcome> {
    let name = request.point_name();
    let parent = find_parent(reader, start, request, &name, around)?;
    let disks = plan::disks(request, sources, parent.as_ref(), reader.repository().config().chunk_bytes)?;
    let work = Work { reader, request, around, name, consistency, started_at, stamps, parent, disks };
    std::thread::scope(|scope| work.store(start.open(scope, reader)))
}

/// What shows that an image file was written to: length and times of change, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    size_bytes: u64,
    modified_at: (i64, i64),
    changed_at: (i64, i64),
}

/// Stamps of the image files; devices have none.
fn stamps(sources: &[PathBuf]) -> Result<Vec<Option<Stamp>>> {
    let stamp = |path: &PathBuf| match std::fs::metadata(path) {
        // What cannot be looked at is refused in better words when it is opened.
        Err(_) => Ok(None),
        Ok(meta) => Ok(meta.is_file().then(|| Stamp {
            size_bytes: meta.len(),
            modified_at: (meta.mtime(), meta.mtime_nsec()),
            changed_at: (meta.ctime(), meta.ctime_nsec()),
        })),
    };
    sources.iter().map(stamp).collect()
}

fn open_sources(request: &BackupRequest) -> Result<Vec<(String, Source)>> {
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

/// Refuses what would give a worthless or a dangerous backup; tells how consistent it will be.
fn refuse_unsafe(request: &BackupRequest, sources: &[(String, Source)]) -> Result<Consistency> {
    let sys = SysRoot::host();
    let mut consistency = Consistency::Offline;
    for (_, source) in sources {
        let path = source.path().display();
        for guarded in &request.guarded {
            if let Some(chain) =
                is_on(&sys, &guarded.path, source.location()).context("looking where the repository lies")?
            {
                return Err(request::Refusal::RepositoryOnSource {
                    what: guarded.what,
                    source: path.to_string(),
                    chain: chain.join(" → "),
                }
                .into());
            }
        }
        let Some(uses) = disturbing_uses(&sys, source)? else { continue };
        if !request.allow_live {
            return Err(request::Refusal::Live { source: path.to_string(), uses }.into());
        }
        consistency = Consistency::NotConsistent;
    }
    Ok(consistency)
}

/// What may change a source while it is read, in words. Asked before reading and again after it.
fn disturbing_uses(sys: &SysRoot, source: &Source) -> Result<Option<String>> {
    let context = || format!("looking whether {} is in use", source.path().display());
    let uses = in_use(sys, source.location()).with_context(context)?;
    let disturbing: Vec<String> = uses.iter().filter(|u| u.disturbs_reading()).map(ToString::to_string).collect();
    Ok((!disturbing.is_empty()).then(|| disturbing.join("; ")))
}

/// The latest point of the name that these keys can open.
///
/// A list of changes counts from the newest point there ever was: it is never applied to an older one.
fn latest(
    repo: &Repository,
    request: &BackupRequest,
    name: &str,
    around: &Surroundings<'_>,
) -> Result<Option<(StoredManifest, Manifest)>> {
    let found = match repo.latest_of(name) {
        // Without a list nothing of the parent is needed: everything is read anyway.
        Err(error) if error.is_damage() && request.changed.is_none() => {
            around
                .progress
                .message(&format!("the latest point of this name cannot be used ({error}); everything is read"));
            None
        }
        other => other.context("looking for the latest point of this name")?,
    };
    let newest = repo.newest_sequence(name).context("looking for the newest point of this name")?;
    if let Some((stored, _)) = found.as_ref().filter(|_| request.changed.is_some())
        && stored.at.sequence < newest
    {
        let why = format!(
            "the newest point of this name was number {newest}, which was forgotten or cannot be opened with this key, and the latest that can be used is number {}; a list since the newest does not fit it. Give a list since an existing point and name that with --since",
            stored.at.sequence
        );
        return Err(Refusal::ListWithoutPoint { why }.into());
    }
    Ok(found)
}

/// The point whose trees this backup begins with, pinned by the lease so that prune leaves them alone.
fn find_parent(
    reader: &Reader<'_>,
    start: &mut SessionStart<'_>,
    request: &BackupRequest,
    name: &str,
    around: &Surroundings<'_>,
) -> Result<Option<Parent>> {
    let repo = reader.repository();
    let since = request.changed.as_ref().and_then(|changed| changed.since);
    let found = match since {
        Some(at) => Some(repo.open_point(at).context("opening the point that --since names")?),
        None => latest(repo, request, name, around)?,
    };
    let Some((stored, manifest)) = found else { return Ok(None) };
    let live = start.pin_parent(reader, &stored, &manifest, (around.clock)())?;
    if !live && since.is_some() {
        bail!("the point that --since names was forgotten; take it back with `icecore undo`, or choose another");
    }
    Ok(live.then_some(Parent { at: stored.at, manifest }))
}
