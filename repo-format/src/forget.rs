//! Forgetting points and undoing it: tombstones, pardons, executions (FORMAT.md, "Delete order").

use crate::error::{Error, Result};
use crate::id::{ManifestId, NameId};
use crate::lease::{self, Purpose};
use crate::manifest::PointKey;
use crate::record::{self, Magic, MaySign};
use crate::records::Records;
use crate::repository::Repository;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A forgotten point stays in the store, and can be had back, for at least this long.
pub const UNDO_TIME: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Body of a tombstone. It outlives the manifest, so that the chain of points stays checkable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The forgotten point.
    pub manifest: ManifestId,
    /// Its name.
    pub name: NameId,
    /// Its place.
    pub sequence: u64,
    /// When it was forgotten.
    pub forgotten_at: Timestamp,
    /// From when on prune may delete it.
    pub delete_after: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// Body of a pardon or an execution.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) manifest: ManifestId,
    pub(crate) at: Timestamp,
}

pub(crate) fn tombstone_key(manifest: &ManifestId) -> String {
    format!("tombstones/{manifest}")
}

pub(crate) fn pardon_key(manifest: &ManifestId) -> String {
    format!("pardons/{manifest}")
}

pub(crate) fn execution_key(manifest: &ManifestId) -> String {
    format!("executions/{manifest}")
}

fn put_mark(repo: &Repository, key: &str, magic: Magic, manifest: ManifestId, now: Timestamp) -> Result<()> {
    let signer = repo.keys().highest_signer();
    repo.store().put(key, &record::encode_json(magic, &repo.config().repository, &signer, &Mark { manifest, at: now })?)
}

/// Forgets a point: it disappears from lists at once and from the store when prune runs after `undo_time`.
pub fn forget(repo: &Repository, at: &PointKey, reason: &str, now: Timestamp, undo_time: SignedDuration) -> Result<()> {
    let master = repo.keys().master_for("forgetting a recovery point")?;
    if repo.is_forgotten(&at.manifest)? {
        return Ok(());
    }
    if !repo.store().exists(&at.key())? {
        return Err(Error::NoSuch(format!("there is no recovery point {}", at.manifest)));
    }
    let delete_after =
        now.checked_add(undo_time).map_err(|_| Error::Refused("the undo time is out of range".into()))?;
    let stone = Tombstone {
        manifest: at.manifest,
        name: at.name,
        sequence: at.sequence,
        forgotten_at: now,
        delete_after,
        reason: reason.into(),
    };
    let bytes = record::encode_json(record::TOMBSTONE, &repo.config().repository, &master.operator_signer(), &stone)?;
    repo.store().put(&tombstone_key(&at.manifest), &bytes)
}

/// Checks one tombstone.
pub(crate) fn check_tombstone(repo: &Repository, key: &str, bytes: &[u8]) -> Result<Tombstone> {
    let stone: Tombstone = repo.decode_record(key, record::TOMBSTONE, bytes, MaySign::Operator)?;
    if tombstone_key(&stone.manifest) == key {
        Ok(stone)
    } else {
        Err(Error::damaged(key, "it belongs to another point"))
    }
}

/// Checks one pardon or execution.
pub(crate) fn check_mark(repo: &Repository, key: &str, bytes: &[u8]) -> Result<()> {
    let is_pardon = key.starts_with("pardons/");
    let magic = if is_pardon { record::PARDON } else { record::EXECUTION };
    let mark: Mark = repo.decode_record(key, magic, bytes, MaySign::Writers)?;
    let belongs_at = if is_pardon { pardon_key(&mark.manifest) } else { execution_key(&mark.manifest) };
    if belongs_at == key { Ok(()) } else { Err(Error::damaged(key, "it belongs to another point")) }
}

/// All tombstones, with whether the manifest is still there to be had back.
pub fn tombstones(repo: &Repository) -> Result<Vec<(bool, Tombstone)>> {
    let mut found = Vec::new();
    for key in repo.store().keys("tombstones/")? {
        let Some(stone) = repo.read_record::<Tombstone>(&key, record::TOMBSTONE, MaySign::Operator)? else { continue };
        if tombstone_key(&stone.manifest) != key {
            return Err(Error::damaged(key, "it belongs to another point"));
        }
        let at = PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest };
        found.push((repo.store().exists(&at.key())?, stone));
    }
    Ok(found)
}

/// Highest sequence number among the forgotten points of a name: numbers are not used again when the manifests are gone.
///
/// A damaged tombstone is passed over; it must not keep anybody from backing up.
pub(crate) fn highest_buried(records: Records<'_>, name: &NameId) -> Result<u64> {
    let mut highest = 0;
    for key in records.store.keys("tombstones/")? {
        match records.read::<Tombstone>(&key, record::TOMBSTONE, MaySign::Operator) {
            Ok(Some(stone)) if stone.name == *name => highest = highest.max(stone.sequence),
            Ok(_) => {}
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(highest)
}

/// Takes a point back. Pardon first, then look for an execution: of an undo and a prune at the same time at most one goes through.
pub fn undo(repo: &Repository, stone: &Tombstone, now: Timestamp) -> Result<()> {
    repo.keys().master_for("taking back a recovery point")?;
    let at = PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest };
    put_mark(repo, &pardon_key(&stone.manifest), record::PARDON, stone.manifest, now)?;
    if repo.store().exists(&execution_key(&stone.manifest))? {
        // Lapsed or not: only a lease that is gone says that the prune is.
        let prune_runs = lease::list(repo)?.iter().any(|lease| lease.purpose == Purpose::Prune);
        if prune_runs {
            // The pardon stays: a prune that has not deleted the manifest yet will see it.
            let why = "a prune is at work on it, or was cut off at it; let it end or run prune once more (it will leave the point alone), then try again";
            return Err(Error::Refused(format!("recovery point {} cannot be had back now: {why}", stone.manifest)));
        }
        repo.store().delete(&execution_key(&stone.manifest))?;
    }
    if !repo.store().exists(&at.key())? {
        repo.store().delete(&pardon_key(&stone.manifest))?;
        return Err(Error::NoSuch(format!(
            "recovery point {} cannot be had back: prune has deleted it",
            stone.manifest
        )));
    }
    repo.store().delete(&tombstone_key(&stone.manifest))?;
    repo.store().delete(&pardon_key(&stone.manifest))
}

/// Deletes the manifests of points whose undo time is over; the caller holds a prune lease. Returns the points that are gone now.
pub(crate) fn execute(repo: &Repository, now: Timestamp, go_on: &dyn Fn() -> Result<()>) -> Result<Vec<PointKey>> {
    let mut gone = Vec::new();
    for (exists, stone) in tombstones(repo)? {
        if !exists || stone.delete_after > now {
            continue;
        }
        let at = PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest };
        put_mark(repo, &execution_key(&stone.manifest), record::EXECUTION, stone.manifest, now)?;
        let pardoned = repo.store().exists(&pardon_key(&stone.manifest))?;
        if !pardoned && is_due(repo, &stone.manifest, now)? {
            go_on()?;
            repo.store().delete(&at.key())?;
            gone.push(at);
        }
        repo.store().delete(&execution_key(&stone.manifest))?;
    }
    Ok(gone)
}

/// Whether the undo time of a point is over, as its tombstone says now: it may have been taken back and forgotten anew since it was listed.
fn is_due(repo: &Repository, manifest: &ManifestId, now: Timestamp) -> Result<bool> {
    let stone: Option<Tombstone> = repo.read_record(&tombstone_key(manifest), record::TOMBSTONE, MaySign::Operator)?;
    Ok(stone.is_some_and(|stone| stone.delete_after <= now))
}
