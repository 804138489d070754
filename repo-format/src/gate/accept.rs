//! Records that a writer sends: what is looked at before they are stored. Packs are `staged`.

use super::{Denied, Gate, Object, Party, signer_of};
use crate::condemned::PacksBody;
use crate::error::Error;
use crate::forget;
use crate::id::{ManifestId, RescueId, RunId, WriterId};
use crate::lease::{self, LEASE_TTL, LeaseBody, Purpose};
use crate::manifest::{self, PointKey};
use crate::record::{self, MaySign};
use crate::store::Store;
use crate::suspects;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// How far the clock of a writer may be off.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_hours(1);
/// What becomes of leases that nobody gave back.
pub(super) const LEASES_LAST: &str = "those left behind end within an hour";
/// Leases that one writer may hold at a time.
const MAX_LEASES: usize = 64;
/// Trees that one lease may pin.
const MAX_PINNED: usize = 4096;

/// Whether writers store objects of this name at all.
fn check_writer_stores(key: &str) -> Result<(), Denied> {
    match Object::of(key) {
        Object::Lease(..) | Object::Manifest(_) => Ok(()),
        Object::Record if key.starts_with("rescues/") || key.starts_with("suspects/") => Ok(()),
        _ => Err(Denied::Forbidden(format!("store {key}"))),
    }
}

impl Gate {
    /// Takes a record and stores it. `lease` is the object of the session's lease; only a manifest needs it. The same object once more
    /// is no error, so that a request of which the answer was lost can be repeated.
    pub fn accept(
        &self,
        store: &dyn Store,
        party: Party,
        (key, bytes): (&str, &[u8]),
        lease: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Denied> {
        // Before anything of what is stored can be told by the answer.
        match party {
            Party::Writer(_) => check_writer_stores(key)?,
            Party::Person(grants) => Self::check_person_stores(key, grants)?,
        }
        if store.exists(key)? {
            return match store.get(key)? == bytes {
                true => match (party, Object::of(key)) {
                    (Party::Writer(writer), Object::Manifest(_)) => Self::accept_again(store, writer, key, lease),
                    _ => Ok(()),
                },
                false => self.check_instead(store, party, (key, bytes), now),
            };
        }
        match party {
            Party::Person(_) => self.check_from_person(store, (key, bytes), now)?,
            Party::Writer(writer) => match Object::of(key) {
                Object::Lease(..) => self.check_lease(store, writer, (key, bytes), now)?,
                Object::Manifest(at) => return self.accept_manifest(store, writer, (at, bytes), lease, now),
                _ if key.starts_with("rescues/") => self.check_rescue(store, writer, (key, bytes))?,
                _ => self.check_suspects(store, writer, (key, bytes))?,
            },
        }
        Ok(store.put(key, bytes)?)
    }

    /// Nothing is replaced. Of two pardons for one point either says the same: an undo that was cut off can be repeated.
    fn check_instead(
        &self,
        store: &dyn Store,
        party: Party,
        (key, bytes): (&str, &[u8]),
        now: Timestamp,
    ) -> Result<(), Denied> {
        match party {
            Party::Person(_) if key.starts_with("pardons/") => self.check_from_person(store, (key, bytes), now),
            _ => Err(Denied::Exists(key.into())),
        }
    }

    fn check_lease(
        &self,
        store: &dyn Store,
        writer: WriterId,
        (key, bytes): (&str, &[u8]),
        now: Timestamp,
    ) -> Result<(), Denied> {
        let body: LeaseBody = self.records(store).decode(key, record::LEASE, bytes, MaySign::Writers)?;
        self.must_be_of(writer, bytes, key)?;
        let Some((id, counter)) = lease::parse(key).filter(|(id, _)| *id == body.lease && body.writer == writer) else {
            return Err(Denied::Wrong(format!("{key} belongs to another lease")));
        };
        if body.purpose == Purpose::Prune {
            return Err(Denied::Forbidden("prune".into()));
        }
        self.check_term(key, &body, now)?;
        if body.pinned.iter().any(|root| root.writer != writer) {
            return Err(Denied::Forbidden("pin another's trees".into()));
        }
        match counter.checked_sub(1) {
            // What was revoked does not come back.
            Some(before) if !store.exists(&lease::key(&id, before))? => Err(Denied::LeaseLost),
            Some(_) => Ok(()),
            None => self.check_new_lease(store, writer),
        }
    }

    /// No lease lasts longer than leases do, or holds more than any session needs.
    pub(super) fn check_term(&self, key: &str, body: &LeaseBody, now: Timestamp) -> Result<(), Denied> {
        if body.expires_at > now + LEASE_TTL + MAX_SKEW {
            return Err(Denied::Wrong(format!(
                "{key} lasts longer than a lease may; is the clock of this machine right?"
            )));
        }
        if body.pinned.len() > MAX_PINNED {
            return Err(Denied::Wrong(format!("{key} pins {} trees; {MAX_PINNED} are the most", body.pinned.len())));
        }
        Ok(())
    }

    fn check_new_lease(&self, store: &dyn Store, writer: WriterId) -> Result<(), Denied> {
        self.may_begin(writer)?;
        let mut held = 0;
        for key in store.keys("leases/")? {
            held += usize::from(signer_of(store, &key)? == Some(writer));
        }
        match held < MAX_LEASES {
            true => Ok(()),
            false => Err(Denied::Busy(format!("this writer holds {held} leases already; {LEASES_LAST}"))),
        }
    }

    /// The commit. Under the caller's lock for this repository: what is looked at here must not change meanwhile.
    fn accept_manifest(
        &self,
        store: &dyn Store,
        writer: WriterId,
        (at, bytes): (PointKey, &[u8]),
        lease: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let key = at.key();
        let stored = manifest::decode(at, bytes, &self.repository, &self.signers)?;
        if !stored.is_verified || stored.writer != writer {
            return Err(Denied::Forbidden(format!("store {key}: it is of writer {}", stored.writer)));
        }
        let skew = stored.receipt.received_at.duration_since(now).abs();
        if skew > MAX_SKEW {
            return Err(Denied::Wrong(format!("the clock of this machine is {} minutes off", skew.as_mins())));
        }
        self.check_place(store, writer, &at)?;
        let lease = Self::lease_of(store, writer, lease)?;
        store.put(&key, bytes)?;
        // Prune revokes first and marks afterwards. While the lease is there now that the point is durable, prune will see the point.
        if !store.exists(lease)? {
            store.delete(&key)?;
            return Err(Denied::LeaseLost);
        }
        Ok(())
    }

    /// The lease of the session that commits; it must stand.
    fn lease_of<'l>(store: &dyn Store, writer: WriterId, lease: Option<&'l str>) -> Result<&'l str, Denied> {
        let lease = lease.filter(|key| matches!(Object::of(key), Object::Lease(..)));
        let lease = lease.ok_or_else(|| Denied::Wrong("a manifest comes with the lease of its session".into()))?;
        match signer_of(store, lease)? == Some(writer) {
            true => Ok(lease),
            false => Err(Denied::LeaseLost),
        }
    }

    /// A manifest that is there with the same bytes: the answer to its first put was lost, or whoever put it ended before it looked at the
    /// lease again. The lease is looked at now; without it the session must not take its point for good. The point itself stays: it may be
    /// an old one, and `check` says whether it is whole.
    fn accept_again(store: &dyn Store, writer: WriterId, key: &str, lease: Option<&str>) -> Result<(), Denied> {
        if signer_of(store, key)? != Some(writer) {
            return Err(Denied::Exists(key.into()));
        }
        Self::lease_of(store, writer, lease).map(drop)
    }

    /// The next place of a name that is this writer's, or nobody's yet.
    fn check_place(&self, store: &dyn Store, writer: WriterId, at: &PointKey) -> Result<(), Denied> {
        let mut highest = forget::highest_buried(self.records(store), &at.name)?;
        for key in store.keys(&PointKey::prefix(&at.name))? {
            let other = PointKey::parse(&key).ok_or_else(|| Error::damaged(&key, "it is no recovery point's name"))?;
            if signer_of(store, &key)?.is_some_and(|signer| signer != writer) {
                return Err(Denied::Forbidden(
                    "add to the recovery points of another writer; choose another name".into(),
                ));
            }
            highest = highest.max(other.sequence);
        }
        // Nobody may burn the numbers of a name: the next one, or one that another session of the same writer just took.
        match at.sequence == highest.saturating_add(1) {
            true => Ok(()),
            false => Err(Denied::Exists(format!("recovery point number {} of this name", at.sequence))),
        }
    }

    fn check_rescue(&self, store: &dyn Store, writer: WriterId, (key, bytes): (&str, &[u8])) -> Result<(), Denied> {
        let body: PacksBody = self.records(store).decode(key, record::RESCUE, bytes, MaySign::Writers)?;
        self.must_be_of(writer, bytes, key)?;
        key.strip_prefix("rescues/").unwrap_or_default().parse::<RescueId>()?;
        for pack in &body.packs {
            let object = pack.kind.key(&pack.pack);
            if !store.exists(&object)? {
                return Err(Denied::Wrong(format!("{key} names {object}, which is not there")));
            }
        }
        Ok(())
    }

    fn check_suspects(&self, store: &dyn Store, writer: WriterId, (key, bytes): (&str, &[u8])) -> Result<(), Denied> {
        let body: suspects::Body = self.records(store).decode(key, record::SUSPECTS, bytes, MaySign::Writers)?;
        self.must_be_of(writer, bytes, key)?;
        key.strip_prefix("suspects/").unwrap_or_default().parse::<RunId>()?;
        let mut named: HashSet<ManifestId> = body.points.into_iter().collect();
        for key in store.keys("manifests/")? {
            if let Some(at) = PointKey::parse(&key)
                && named.remove(&at.manifest)
                && signer_of(store, &key)? != Some(writer)
            {
                return Err(Denied::Forbidden("call the recovery points of another writer suspect".into()));
            }
        }
        match named.is_empty() {
            true => Ok(()),
            false => Err(Denied::Wrong(format!("{key} names recovery points that are not there"))),
        }
    }

    fn must_be_of(&self, writer: WriterId, bytes: &[u8], key: &str) -> Result<(), Denied> {
        match bytes.get(32..48) == Some(&writer.0[..]) {
            true => Ok(()),
            false => Err(Denied::Forbidden(format!("store {key}: another signed it"))),
        }
    }
}
