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

use crate::progress::Progress;
use crate::source::in_use::in_use;
use crate::source::sys::SysRoot;
use crate::source::{Source, disk_names, is_on};
use anyhow::{Context, Result, bail};
use commit::Work;
use jiff::Timestamp;
use plan::Parent;
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
}

/// Backs up the request's sources as one recovery point. The index must have been reconciled with the store.
pub fn run(
    repo: &Repository,
    index: &Index,
    request: &BackupRequest,
    around: &Surroundings<'_>,
) -> Result<BackupOutcome> {
    let started_at = (around.clock)();
    request.check()?;
    let sources = open_sources(request)?;
    let consistency = refuse_unsafe(request, &sources)?;
    let reader = Reader::new(repo, index);
    let mut start = SessionStart::begin(&reader, started_at).context("beginning the backup")?;
    let result = plan_and_store(&reader, &mut start, request, (&sources, consistency, started_at), around);
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
    around: &Surroundings<'_>,
) -> Result<BackupOutcome> {
    let name = request.point_name(sources);
    let parent = find_parent(reader, start, request, &name, around)?;
    let disks = plan::disks(request, sources, parent.as_ref(), reader.repository().config().chunk_bytes)?;
    let work = Work { reader, request, around, name, consistency, started_at, parent, disks };
    std::thread::scope(|scope| work.store(start.open(scope, reader)))
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
        let uses = in_use(&sys, source.location()).with_context(|| format!("looking whether {path} is in use"))?;
        let disturbing: Vec<String> = uses.iter().filter(|u| u.disturbs_reading()).map(ToString::to_string).collect();
        if disturbing.is_empty() {
            continue;
        }
        if !request.allow_live {
            return Err(request::Refusal::Live { source: path.to_string(), uses: disturbing.join("; ") }.into());
        }
        consistency = Consistency::NotConsistent;
    }
    Ok(consistency)
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
        None => repo.latest_of(name).context("looking for the latest point of this name")?,
    };
    let Some((stored, manifest)) = found else { return Ok(None) };
    let live = start.pin_parent(reader, &stored, &manifest, (around.clock)())?;
    if !live && since.is_some() {
        bail!("the point that --since names was forgotten; take it back with `icecore undo`, or choose another");
    }
    Ok(live.then_some(Parent { at: stored.at, manifest }))
}
