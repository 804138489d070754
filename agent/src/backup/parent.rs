//! The point that a backup builds upon: finding it, and finding out that it cannot be built upon because its trees or chunks are lost.
//!
//! Losing the parent costs a full read of the disks that are touched by it, never the backup.

use super::plan::PlannedDisk;
use super::{BackupRequest, Refusal, Surroundings};
use anyhow::{Context, Result, bail};
use repo_format::condemned;
use repo_format::id::PackId;
use repo_format::manifest::{Manifest, PointKey, StoredManifest};
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use repo_format::session::SessionStart;
use repo_format::tree::TreeWalk;
use repo_format::{Error, check};
use std::collections::{BTreeMap, HashSet};

/// The point before.
pub struct Parent {
    /// Where it stands.
    pub at: PointKey,
    /// What it is.
    pub manifest: Manifest,
}

/// The parent's tree of a disk cannot be read. The disk must be read whole, without it.
#[derive(Debug, thiserror::Error)]
#[error("the tree of the point before cannot be read: {error}")]
pub struct ParentLost {
    /// Name of the disk.
    pub disk: String,
    /// What is wrong with it.
    pub error: Error,
}

impl ParentLost {
    /// Of an error while the parent's tree of this disk was read; any other error stays what it is.
    pub fn or_else(disk: &PlannedDisk<'_>, error: Error) -> anyhow::Error {
        match error.is_damage() && disk.parent.is_some() {
            true => Self { disk: disk.name.clone(), error }.into(),
            false => error.into(),
        }
    }
}

/// What is known to be wrong with the parent.
#[derive(Default)]
pub struct Losses {
    /// Packs that somebody found damaged; none when no damage was ever recorded.
    damaged: Option<HashSet<PackId>>,
    /// Disks whose tree cannot be read, and why.
    trees: BTreeMap<String, String>,
}

impl Losses {
    /// What checks have recorded.
    pub fn recorded(repo: &Repository) -> Result<Self> {
        let damaged = condemned::known_damage(repo.records()).context("reading which packs were found damaged")?;
        Ok(Self { damaged, trees: BTreeMap::new() })
    }

    /// Remembers a tree that turned out to be lost.
    pub fn add(&mut self, lost: ParentLost) {
        self.trees.insert(lost.disk.clone(), lost.to_string());
    }

    /// Why the parent's tree of a disk cannot be used at all.
    pub fn of_tree(&self, disk: &str) -> Option<&String> {
        self.trees.get(disk)
    }

    /// Why a disk that could be read incrementally must be read whole: where damage is known, it is looked for in all that the parent
    /// needs. Without a record of damage this costs nothing.
    pub fn touch(&self, disk: &PlannedDisk<'_>, reader: &Reader<'_>) -> Result<Option<String>> {
        let (Some(damaged), Some(tree)) = (&self.damaged, disk.parent) else { return Ok(None) };
        match check::prove_tree(reader, tree, damaged) {
            Err(error) if error.is_damage() => {
                // Said now and not after everything was read for a comparison that cannot be.
                let nodes = TreeWalk::new(tree, reader, 0..tree.chunks).find_map(Result::err);
                nodes.map_or(Ok(()), |error| Err(ParentLost::or_else(disk, error)))?;
                Ok(Some(format!("what the point before needs is damaged: {error}")))
            }
            other => Ok(other.map(|()| None)?),
        }
    }
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
pub fn find_parent(
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
