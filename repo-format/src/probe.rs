//! What a store was seen to do: tried when a repository is made, recorded, and asked for before anything is deleted by what a listing shows.
//!
//! Object storage calls itself S3 and promises different things. Writers need none of them; prune needs listings that show what was put.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{RepositoryId, RunId};
use crate::record::{self, MaySign};
use crate::records::Records;
use crate::repository::Repository;
use crate::sign::Signer;
use crate::store::Store;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) const PREFIX: &str = "probes/";

/// What came of trying. For each: seen in every trial, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// How many of several puts of one key at once were told that they made it, though each asked to be the first. One: the store knows who
    /// was first. None: it does not offer the question.
    pub racing_creates_won: u32,
    /// How many there were.
    pub racing_creates: u32,
    /// An object can be read once it was put.
    pub read_after_write: bool,
    /// An object that is put once more is read as it is now.
    pub overwrite_visible: bool,
    /// A listing shows an object once it was put.
    pub list_after_write: bool,
    /// A listing does not show an object once it was deleted.
    pub delete_then_list: bool,
    /// What came of the try to delete an object that is locked.
    pub object_lock: ObjectLock,
}

/// Whether the store keeps what is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectLock {
    /// It refuses to lock: it cannot, or the bucket was not made for it.
    NotOffered,
    /// It said that the object was locked, and deleted it all the same.
    NotHonoured,
    /// It refused to delete any object with its version: the key may not, and nothing is proved.
    Unclear,
    /// It said that the object was locked, and refused to delete it, while it deleted one that was not locked.
    Proven,
}

/// Body of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Where it was tried: another place says nothing about this one.
    pub place: String,
    /// When.
    pub probed_at: Timestamp,
    /// What came of it.
    pub findings: Findings,
}

/// Tries a store whose ways are not known beforehand, and puts the record; nothing for any other.
pub(crate) fn record(
    store: &dyn Store,
    (repository, operator): (&RepositoryId, &Signer),
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Option<Probe>> {
    let Some(findings) = store.probe(entropy, now)? else { return Ok(None) };
    let probe = Probe { place: store.describe(), probed_at: now, findings };
    let bytes = record::encode_json(record::PROBE, repository, operator, &probe)?;
    store.put(&format!("{PREFIX}{}", RunId(random(entropy))), &bytes)?;
    Ok(Some(probe))
}

/// Tries the store of a repository anew. The records of before go once the new one is there.
pub fn probe(repo: &Repository, now: Timestamp) -> Result<Option<Probe>> {
    let operator = repo.keys().master_for("recording what the store can do")?.operator_signer();
    let before = repo.store().keys(PREFIX)?;
    let made = record(repo.store(), (&repo.config().repository, &operator), repo.entropy(), now)?;
    if made.is_some() {
        before.iter().try_for_each(|key| repo.store().delete(key))?;
    }
    Ok(made)
}

/// The newest record of this place.
pub fn newest(records: Records<'_>) -> Result<Option<Probe>> {
    let mut newest: Option<Probe> = None;
    for key in records.store.keys(PREFIX)? {
        let Some(probe) = records.read::<Probe>(&key, record::PROBE, MaySign::Operator)? else { continue };
        let is_newer = newest.as_ref().is_none_or(|known| known.probed_at < probe.probed_at);
        if probe.place == records.store.describe() && is_newer {
            newest = Some(probe);
        }
    }
    Ok(newest)
}

/// Refuses what deletes by listings where nobody has seen that they show what is there.
pub(crate) fn require_listings(repo: &Repository, work: &str) -> Result<()> {
    if !repo.store().listings_need_proof() {
        return Ok(());
    }
    let place = repo.store().describe();
    let why = match newest(repo.records())? {
        None => format!("nobody has tried whether listings of {place} show what was put there; run `icecore probe`"),
        Some(Probe { findings, probed_at, .. }) => {
            let needed = [
                (findings.read_after_write, "an object could not be read just after it was put"),
                (findings.overwrite_visible, "an object that was put again was read as it had been"),
                (findings.list_after_write, "a listing did not show what had just been put"),
                (findings.delete_then_list, "a listing showed what had just been deleted"),
            ];
            let Some((_, what)) = needed.into_iter().find(|(seen, _)| !seen) else { return Ok(()) };
            format!(
                "{what} when {place} was tried at {probed_at}. Backups and restores are safe there; if the store was mended, run `icecore probe`"
            )
        }
    };
    Err(Error::Refused(format!("{work} does not run, and nothing was deleted: {why}")))
}

/// Checks one object below `probes/`.
pub(crate) fn check_object(repo: &Repository, key: &str, bytes: &[u8]) -> Result<()> {
    let _: Probe = repo.decode_record(key, record::PROBE, bytes, MaySign::Operator)?;
    let name = key.strip_prefix(PREFIX).and_then(|name| name.parse::<RunId>().ok());
    name.map(drop).ok_or_else(|| Error::damaged(key, "its name is no run's"))
}
