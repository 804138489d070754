//! Leases: a session says that it lives and which trees it relies on, so that prune leaves them alone.
//!
//! A lease is renewed by a new object and the removal of the old one. Whoever finds its old one gone was revoked:
//! safety never rests on comparing clocks of two machines.

use crate::entropy::random;
use crate::error::{Error, Result};
use crate::id::{LeaseId, ManifestId, NodeId, WriterId};
use crate::record::{self, MaySign};
use crate::records::Records;
use crate::repository::Repository;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a lease lasts without renewal.
pub const LEASE_TTL: SignedDuration = SignedDuration::from_hours(1);
/// After this time it is renewed.
pub const RENEW_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// What a session does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Stores a new point.
    Backup,
    /// Restores, mounts, checks.
    Read,
    /// Prunes.
    Prune,
}

/// A tree that a session relies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PinnedRoot {
    /// Root node.
    pub root: NodeId,
    /// Level of the root.
    pub level: u8,
    /// Whose map key opens it.
    pub writer: WriterId,
}

/// Body of a lease record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseBody {
    /// Its name.
    pub lease: LeaseId,
    /// What for.
    pub purpose: Purpose,
    /// Who holds it.
    pub writer: WriterId,
    /// When the session began.
    pub started_at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
    /// The point whose trees are pinned.
    pub parent: Option<ManifestId>,
    /// Trees that must stay.
    pub pinned: Vec<PinnedRoot>,
}

/// A lease that lapses this much later than any renewed now would was taken by a clock that ran ahead. Waiting for it is no use, and whoever
/// still holds it finds it revoked and stores nothing false.
pub const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(24);

impl LeaseBody {
    /// Whether it counts no more.
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        self.expires_at < now || self.expires_at.duration_since(now) > LEASE_TTL + MAX_AHEAD
    }
}

/// A lease that this process holds.
pub struct Lease {
    body: LeaseBody,
    counter: u32,
}

pub(crate) fn key(lease: &LeaseId, counter: u32) -> String {
    format!("leases/{lease}-{counter:08x}")
}

pub(crate) fn parse(key: &str) -> Option<(LeaseId, u32)> {
    let (lease, counter) = key.strip_prefix("leases/")?.split_once('-')?;
    Some((lease.parse().ok()?, u32::from_be_bytes(crate::id::unhex(counter)?)))
}

impl Lease {
    /// Takes a lease; durable when this returns.
    pub fn take(repo: &Repository, purpose: Purpose, now: Timestamp) -> Result<Self> {
        let body = LeaseBody {
            lease: LeaseId(random(repo.entropy())),
            purpose,
            writer: repo.keys().writer().writer,
            started_at: now,
            expires_at: now + LEASE_TTL,
            parent: None,
            pinned: Vec::new(),
        };
        let lease = Self { body, counter: 0 };
        lease.put(repo)?;
        Ok(lease)
    }

    /// Its name.
    pub fn id(&self) -> LeaseId {
        self.body.lease
    }

    fn put(&self, repo: &Repository) -> Result<()> {
        let bytes = record::encode_json(record::LEASE, &repo.config().repository, repo.signer(), &self.body)?;
        repo.store().put(&key(&self.body.lease, self.counter), &bytes)
    }

    /// Adds trees to what is pinned. They are safe once this returned and they are seen to be live *afterwards*.
    pub fn pin(&mut self, repo: &Repository, parent: ManifestId, roots: Vec<PinnedRoot>, now: Timestamp) -> Result<()> {
        self.body.parent = Some(parent);
        self.body.pinned.extend(roots);
        self.renew(repo, now)
    }

    /// Renews when it is time to.
    pub fn renew_if_due(&mut self, repo: &Repository, now: Timestamp) -> Result<()> {
        let renewed_at = self.body.expires_at - LEASE_TTL;
        if now.duration_since(renewed_at) >= RENEW_AFTER { self.renew(repo, now) } else { Ok(()) }
    }

    fn renew(&mut self, repo: &Repository, now: Timestamp) -> Result<()> {
        let previous = key(&self.body.lease, self.counter);
        let renewed =
            Self { body: LeaseBody { expires_at: now + LEASE_TTL, ..self.body.clone() }, counter: self.counter + 1 };
        // Nothing is remembered of a renewal that failed: the old object still counts and the next try begins from it.
        renewed.put(repo)?;
        *self = renewed;
        // Only prune deletes another's lease. Gone before this look: revoked, whatever was just written.
        if !repo.store().exists(&previous)? {
            repo.store().delete(&key(&self.body.lease, self.counter))?;
            return Err(Error::LeaseLost);
        }
        repo.store().delete(&previous)
    }

    /// Fails when the lease was revoked.
    pub fn check(&self, repo: &Repository) -> Result<()> {
        if repo.store().exists(&key(&self.body.lease, self.counter))? { Ok(()) } else { Err(Error::LeaseLost) }
    }

    /// Gives the lease back.
    pub fn release(self, repo: &Repository) -> Result<()> {
        repo.store().delete(&key(&self.body.lease, self.counter))
    }
}

/// All leases in the store, the newest object of each. A damaged lease is an error: its pins are unknown.
///
/// A listing of a directory that changes may miss a lease that is being renewed, so two listings must agree.
pub fn list(repo: &Repository) -> Result<Vec<LeaseBody>> {
    list_of(repo.records())
}

/// The same without keys.
pub(crate) fn list_of(records: Records<'_>) -> Result<Vec<LeaseBody>> {
    let mut before = None;
    for _ in 0..MAX_LISTINGS {
        let objects = records.store.keys("leases/")?;
        if before.as_ref() == Some(&objects)
            && let Some(leases) = load(records, &objects)?
        {
            return Ok(leases);
        }
        before = Some(objects);
    }
    Err(Error::Refused("the repository's leases change faster than they can be listed; try again".into()))
}

const MAX_LISTINGS: usize = 64;

/// Loads the leases of a listing; `None` when one of them is gone already.
fn load(records: Records<'_>, objects: &[String]) -> Result<Option<Vec<LeaseBody>>> {
    let mut leases: Vec<LeaseBody> = Vec::new();
    for object in objects {
        if parse(object).is_none() {
            return Err(Error::damaged(object, "it is no lease's name"));
        }
        let bytes = match records.store.get(object) {
            Err(Error::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let body: LeaseBody = records.decode(object, record::LEASE, &bytes, MaySign::Writers)?;
        // Keys are sorted: a later object of the same lease replaces the earlier one.
        leases.retain(|known| known.lease != body.lease);
        leases.push(body);
    }
    Ok(Some(leases))
}

/// Checks one object of a lease.
pub(crate) fn check_object(repo: &Repository, key: &str, bytes: &[u8]) -> Result<()> {
    let (lease, _) = parse(key).ok_or_else(|| Error::damaged(key, "it is no lease's name"))?;
    let body: LeaseBody = repo.decode_record(key, record::LEASE, bytes, MaySign::Writers)?;
    if body.lease == lease { Ok(()) } else { Err(Error::damaged(key, "it belongs to another lease")) }
}

/// Deletes the objects of every lease that has expired by `now`. Returns how many leases that were.
pub fn revoke_expired(repo: &Repository, now: Timestamp) -> Result<usize> {
    let expired: Vec<LeaseId> = list(repo)?.iter().filter(|lease| lease.has_lapsed(now)).map(|l| l.lease).collect();
    for object in repo.store().keys("leases/")? {
        if parse(&object).is_some_and(|(lease, _)| expired.contains(&lease)) {
            repo.store().delete(&object)?;
        }
    }
    Ok(expired.len())
}
