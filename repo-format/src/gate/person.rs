//! What a person may do behind a server: read everything, and store the few records of which the repository's own signatures say that a
//! holder of the master secret made them.
//!
//! The server's right and the operator's signature are two proofs, and both are needed: whoever has only a right (a stolen token) can
//! read sealed bytes and hold leases for reading, whoever has only the passphrase gets no way in. What a person deletes follows from
//! what was signed: an undo deletes only behind its pardon.

use super::accept::{LEASES_LAST, MAX_SKEW};
use super::{Denied, Gate, Object, signer_of};
use crate::condemned::{self, PacksBody};
use crate::forget::{self, Mark, Tombstone, UNDO_TIME};
use crate::id::{ManifestId, RunId};
use crate::lease::{self, LeaseBody, Purpose};
use crate::manifest::PointKey;
use crate::record::{self, MaySign};
use crate::store::Store;
use crate::writers;
use jiff::Timestamp;

/// What a person was granted beside reading.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Grants {
    /// Forget recovery points and take them back.
    pub forget: bool,
    /// Make writers and revoke them.
    pub writers: bool,
}

/// One of [`Grants`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// [`Grants::forget`].
    Forget,
    /// [`Grants::writers`].
    Writers,
}

impl Grants {
    fn need(self, grant: Grant, what: &str) -> Result<(), Denied> {
        let has = match grant {
            Grant::Forget => self.forget,
            Grant::Writers => self.writers,
        };
        if has { Ok(()) } else { Err(Denied::NotGranted { what: what.into(), grant }) }
    }
}

/// Leases for reading that all persons together may hold at a time.
const MAX_READING: usize = 256;

impl Gate {
    /// Whether persons store objects of this name at all; asked before anything of the store is told.
    pub(super) fn check_person_stores(key: &str, grants: Grants) -> Result<(), Denied> {
        match Object::of(key) {
            Object::Lease(..) => Ok(()),
            Object::Record if key.starts_with("tombstones/") => grants.need(Grant::Forget, "forget recovery points"),
            Object::Record if key.starts_with("pardons/") => grants.need(Grant::Forget, "take back recovery points"),
            Object::Record if key.starts_with("writers/") => grants.need(Grant::Writers, "change writers"),
            Object::Record if key.starts_with("verified/") || key.starts_with("damaged/") => Ok(()),
            _ => Err(Denied::NotHere(format!("storing {key}"))),
        }
    }

    /// Looks at a record of a person; the caller stores it.
    pub(super) fn check_from_person(
        &self,
        store: &dyn Store,
        (key, bytes): (&str, &[u8]),
        now: Timestamp,
    ) -> Result<(), Denied> {
        match key.split_once('/').map(|(prefix, _)| prefix) {
            Some("leases") => self.check_reading(store, (key, bytes), now),
            Some("tombstones") => self.check_tombstone(store, (key, bytes), now),
            Some("pardons") => self.check_pardon(store, (key, bytes), now),
            Some("writers") => self.check_writer(store, (key, bytes)),
            Some("verified" | "damaged") => self.check_found(store, (key, bytes), now),
            _ => Err(Denied::NotHere(format!("storing {key}"))),
        }
    }

    /// A lease for reading, of the writer that holders of the master secret are.
    fn check_reading(&self, store: &dyn Store, (key, bytes): (&str, &[u8]), now: Timestamp) -> Result<(), Denied> {
        let body: LeaseBody = self.records(store).decode(key, record::LEASE, bytes, MaySign::Writers)?;
        let Some((id, counter)) = lease::parse(key).filter(|(id, _)| *id == body.lease) else {
            return Err(Denied::Wrong(format!("{key} belongs to another lease")));
        };
        if body.writer != self.builtin_writer || bytes.get(32..48) != Some(&self.builtin_writer.0[..]) {
            return Err(Denied::NotHere(
                "holding a lease with a writer key, which the machine's own secret allows".into(),
            ));
        }
        if body.purpose != Purpose::Read {
            return Err(Denied::NotHere(format!("{} with a person's token", work_of(body.purpose))));
        }
        self.check_term(key, &body, now)?;
        match counter.checked_sub(1) {
            Some(before) if !store.exists(&lease::key(&id, before))? => Err(Denied::LeaseLost),
            Some(_) => Ok(()),
            None => {
                let mut held = 0;
                for key in store.keys("leases/")? {
                    held += usize::from(signer_of(store, &key)? == Some(self.builtin_writer));
                }
                match held < MAX_READING {
                    true => Ok(()),
                    false => Err(Denied::Busy(format!("{held} sessions read here already; {LEASES_LAST}"))),
                }
            }
        }
    }

    /// A tombstone must be new: one that was seen earlier and taken back does not bury its point again, and the time for an undo is whole.
    fn check_tombstone(&self, store: &dyn Store, (key, bytes): (&str, &[u8]), now: Timestamp) -> Result<(), Denied> {
        let stone: Tombstone = self.records(store).decode(key, record::TOMBSTONE, bytes, MaySign::Operator)?;
        if forget::tombstone_key(&stone.manifest) != key {
            return Err(Denied::Wrong(format!("{key} belongs to another point")));
        }
        must_be_new(key, stone.forgotten_at, now)?;
        if stone.delete_after < now + UNDO_TIME - MAX_SKEW {
            return Err(Denied::Wrong(format!("{key} leaves less time to take the point back than there must be")));
        }
        match store.exists(&point_of(&stone).key())? {
            true => Ok(()),
            false => Err(Denied::Wrong(format!("there is no recovery point {}", stone.manifest))),
        }
    }

    fn check_pardon(&self, store: &dyn Store, (key, bytes): (&str, &[u8]), now: Timestamp) -> Result<(), Denied> {
        let mark: Mark = self.records(store).decode(key, record::PARDON, bytes, MaySign::Operator)?;
        if forget::pardon_key(&mark.manifest) != key {
            return Err(Denied::Wrong(format!("{key} belongs to another point")));
        }
        must_be_new(key, mark.at, now)?;
        match store.exists(&forget::tombstone_key(&mark.manifest))? {
            true => Ok(()),
            false => Err(Denied::Wrong(format!("recovery point {} is not forgotten", mark.manifest))),
        }
    }

    /// A new writer, or the next revision of one that keeps its key.
    fn check_writer(&self, store: &dyn Store, (key, bytes): (&str, &[u8])) -> Result<(), Denied> {
        let (writer, revision, next) = writers::check_next(self.records(store), (key, bytes))?;
        match revision == next {
            true => Ok(()),
            false => Err(Denied::Wrong(format!("revision {next} of writer {writer} comes next, not {revision}"))),
        }
    }

    /// What a check found: packs that are proved, or damaged.
    fn check_found(&self, store: &dyn Store, (key, bytes): (&str, &[u8]), now: Timestamp) -> Result<(), Denied> {
        let (prefix, run) = key.split_once('/').unwrap_or_default();
        let magic = if prefix == "verified" { record::VERIFIED } else { record::DAMAGED };
        let body: PacksBody = self.records(store).decode(key, magic, bytes, MaySign::Operator)?;
        run.parse::<RunId>()?;
        must_be_new(key, body.created_at, now)?;
        match body.packs.len() <= condemned::MAX_LISTED {
            true => Ok(()),
            false => Err(Denied::Wrong(format!("{key} names too many packs"))),
        }
    }

    /// What a person may delete: leases for reading, and what stands in the way of a point that is taken back.
    pub(super) fn may_person_delete(
        &self,
        store: &dyn Store,
        grants: Grants,
        (key, object): (&str, &Object),
    ) -> Result<(), Denied> {
        if let Object::Lease(..) = object {
            return self.may_end_reading(store, key);
        }
        let (prefix, name) = key.split_once('/').unwrap_or_default();
        if !["tombstones", "pardons", "executions"].contains(&prefix) {
            return Err(Denied::NotHere(format!("deleting {key}")));
        }
        grants.need(Grant::Forget, "take back recovery points")?;
        let manifest: ManifestId = name.parse()?;
        let is_there = self.manifest_is_there(store, &manifest)?;
        let allowed = match prefix {
            "tombstones" => {
                let executed = store.exists(&forget::execution_key(&manifest))?;
                is_there && !executed && self.is_pardoned(store, &manifest)?
            }
            "pardons" => !is_there || !store.exists(&forget::tombstone_key(&manifest))?,
            _ => self.is_pardoned(store, &manifest)? && !self.prune_runs(store)?,
        };
        match allowed {
            true => Ok(()),
            false => Err(Denied::Wrong(format!("{key} stays: no undo has come so far that it may go"))),
        }
    }

    fn may_end_reading(&self, store: &dyn Store, key: &str) -> Result<(), Denied> {
        match self.records(store).read::<LeaseBody>(key, record::LEASE, MaySign::Writers)? {
            Some(body) if body.writer != self.builtin_writer || body.purpose != Purpose::Read => {
                Err(Denied::NotHere(format!("ending a lease for {}", work_of(body.purpose))))
            }
            _ => Ok(()),
        }
    }

    /// Whether the manifest of a tombstone still is where it says; without a tombstone nobody knows, and then it is not.
    fn manifest_is_there(&self, store: &dyn Store, manifest: &ManifestId) -> Result<bool, Denied> {
        let key = forget::tombstone_key(manifest);
        match self.records(store).read::<Tombstone>(&key, record::TOMBSTONE, MaySign::Operator)? {
            Some(stone) => Ok(store.exists(&point_of(&stone).key())?),
            None => Ok(false),
        }
    }

    fn is_pardoned(&self, store: &dyn Store, manifest: &ManifestId) -> Result<bool, Denied> {
        let key = forget::pardon_key(manifest);
        let mark = self.records(store).read::<Mark>(&key, record::PARDON, MaySign::Operator)?;
        Ok(mark.is_some_and(|mark| mark.manifest == *manifest))
    }

    fn prune_runs(&self, store: &dyn Store) -> Result<bool, Denied> {
        Ok(lease::list_of(self.records(store))?.iter().any(|lease| lease.purpose == Purpose::Prune))
    }
}

fn point_of(stone: &Tombstone) -> PointKey {
    PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest }
}

fn work_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Backup => "backing up",
        Purpose::Read => "reading",
        Purpose::Prune => "pruning",
    }
}

/// What was signed long ago may be somebody else's copy of it.
fn must_be_new(key: &str, at: Timestamp, now: Timestamp) -> Result<(), Denied> {
    match at.duration_since(now).abs() <= MAX_SKEW {
        true => Ok(()),
        false => Err(Denied::Wrong(format!("{key} was not made just now; is the clock of this machine right?"))),
    }
}
