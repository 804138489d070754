//! Prune: gives back the space of what no recovery point needs. Runs beside any number of sessions and never locks them out.
//!
//! What is dead is first *condemned*; a later run deletes it, after the grace, when every session that lived at the condemnation has
//! ended and a second mark still finds it dead. FORMAT.md, "Delete order", is the rule this file follows step by step.

mod chain;
mod look;
mod mark;
mod pins;
mod repack;

use crate::catalog;
use crate::check::PROOF_LASTS;
use crate::condemned::{self, Condemned, PackRef};
use crate::error::{Error, Result};
use crate::forget;
use crate::id::{LeaseId, ManifestId, PackId, WriterId};
use crate::index::{Index, IndexedPack};
use crate::lease::{self, Lease, LeaseBody, Purpose};
use crate::manifest::PointKey;
use crate::probe;
use crate::proofs;
use crate::reader::Reader;
use crate::reconcile::{self, Reconciled, reconcile};
use crate::repository::Repository;
use crate::suspects;
use chain::refuse_gaps;
use jiff::{SignedDuration, Timestamp};
use look::Marked;
use mark::Mark;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// A condemned pack stays at least this long.
pub const GRACE: SignedDuration = SignedDuration::from_hours(24);
/// A pack of which at least this part (in percent) is dead is worth repacking.
pub const REPACK_DEAD_PERCENT: u64 = 25;

/// How a run works.
pub struct Options<'a> {
    /// Time between condemning and deleting.
    pub grace: SignedDuration,
    /// Dead part from which a pack is repacked, in percent; over 100 repacks nothing.
    pub repack_dead_percent: u64,
    /// Most bytes that one run repacks; the rest waits for the next.
    pub max_repack_bytes: u64,
    /// zstd level for what must be compressed anew: what shared a frame with something dead.
    pub level: i32,
    /// Only count.
    pub dry_run: bool,
    /// Threads that read footers.
    pub threads: usize,
    /// Called with what is being done and how far that is.
    pub progress: &'a (dyn Fn(Step) + Sync),
    /// The time; asked as the run goes on, to renew its lease.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// Stops the run between two steps that are each safe to stop after.
    pub cancel: &'a AtomicBool,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Marking: points done and in all.
    Marking(u64, u64),
    /// Deleting: packs done and in all.
    Deleting(u64, u64),
    /// Repacking: bytes done and in all.
    Repacking(u64, u64),
}

/// What a run did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Forgotten points whose undo time was over and whose manifests were deleted.
    pub points_deleted: Vec<ManifestId>,
    /// Packs that an earlier run condemned and this one deleted.
    pub packs_deleted: u64,
    /// Their bytes.
    pub bytes_freed: u64,
    /// Packs found dead, to be deleted by a run after the grace.
    pub packs_condemned: u64,
    /// Their bytes.
    pub bytes_condemned: u64,
    /// Packs whose live entries were written to new packs.
    pub packs_repacked: u64,
    /// Bytes of the new packs.
    pub bytes_rewritten: u64,
    /// Dead bytes in packs that stay.
    pub bytes_dead_left: u64,
    /// Bytes of entries that points need.
    pub bytes_live: u64,
    /// Leases that had lapsed.
    pub leases_revoked: u64,
    /// What was left alone, and why.
    pub left: Vec<String>,
}

/// Runs prune.
pub fn prune(repo: &Repository, index: &Index, options: &Options<'_>, now: Timestamp) -> Result<Outcome> {
    repo.refuse_unsound_writers("prune")?;
    probe::require_listings(repo, "prune")?;
    if options.dry_run {
        let run = Run { repo, index, options, now, own: None, lease: RefCell::new(None) };
        return run.count();
    }
    repo.config().check_writable()?;
    let lease = Lease::take(repo, Purpose::Prune, now)?;
    let run = Run { repo, index, options, now, own: Some(lease.id()), lease: RefCell::new(Some(lease)) };
    let result = run.work();
    let released = run.lease.take().map_or(Ok(()), |lease| lease.release(repo));
    result.and_then(|outcome| released.map(|()| outcome))
}

struct Run<'a> {
    repo: &'a Repository,
    index: &'a Index,
    options: &'a Options<'a>,
    now: Timestamp,
    /// Our lease; none in a dry run.
    own: Option<LeaseId>,
    lease: RefCell<Option<Lease>>,
}

impl Run<'_> {
    fn work(&self) -> Result<Outcome> {
        self.refuse_company()?;
        let mut outcome =
            Outcome { leases_revoked: lease::revoke_expired(self.repo, self.now)? as u64, ..Outcome::default() };
        self.reconcile()?;
        refuse_gaps(self.repo, &self.repo.points()?)?;
        let eligible = self.eligible_lists()?;
        outcome.points_deleted =
            forget::execute(self.repo, self.now, &|| self.go_on())?.iter().map(|at| at.manifest).collect();
        self.persist_absences()?;
        let Marked { reader, mark, pins, leases } = self.mark(&HashSet::new())?;
        outcome.left.extend(pins.left);
        if pins.is_unsure {
            return Ok(outcome);
        }
        self.delete_condemned(&reader, &mark, (&eligible, &leases), &mut outcome)?;
        let dead = self.condemn_and_repack(&reader, &mark, &leases, &mut outcome)?;
        self.condemn(dead)?;
        self.tidy(&leases)?;
        Ok(outcome)
    }

    /// What a run would do, without changing anything.
    fn count(&self) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        self.reconcile()?;
        let due: HashSet<ManifestId> = forget::tombstones(self.repo)?
            .into_iter()
            .filter(|(exists, stone)| *exists && stone.delete_after <= self.now)
            .map(|(_, stone)| stone.manifest)
            .collect();
        let Marked { reader, mark, pins, .. } = self.mark(&due)?;
        outcome.left.extend(pins.left);
        outcome.points_deleted = due.into_iter().collect();
        outcome.points_deleted.sort_unstable();
        let eligible: HashSet<PackId> =
            self.eligible_lists()?.into_iter().flat_map(|list| list.packs).map(|p| p.pack).collect();
        for pack in self.index.packs()? {
            let live = mark.live_bytes(&reader, &pack)?;
            outcome.bytes_live += live;
            match live {
                0 if pins.is_unsure => outcome.bytes_dead_left += pack.pack_bytes,
                0 if eligible.contains(&pack.id) => {
                    outcome.packs_deleted += 1;
                    outcome.bytes_freed += pack.pack_bytes;
                }
                0 => {
                    outcome.packs_condemned += 1;
                    outcome.bytes_condemned += pack.pack_bytes;
                }
                live => outcome.bytes_dead_left += pack.pack_bytes.saturating_sub(live),
            }
        }
        Ok(outcome)
    }

    /// Called before each step that deletes or takes long: stops when asked to, and when another run has revoked this one's lease.
    fn go_on(&self) -> Result<()> {
        if self.options.cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match self.lease.borrow_mut().as_mut() {
            Some(lease) => lease.renew_if_due(self.repo, (self.options.clock)()).and_then(|()| lease.check(self.repo)),
            None => Ok(()),
        }
    }

    fn other_leases(&self) -> Result<Vec<LeaseBody>> {
        Ok(lease::list(self.repo)?.into_iter().filter(|lease| Some(lease.lease) != self.own).collect())
    }

    /// Two runs at once could each rely on what the other deletes. Both took a lease before they look, so at most one goes on.
    fn refuse_company(&self) -> Result<()> {
        let other = self.other_leases()?.into_iter().find(|l| l.purpose == Purpose::Prune && !l.has_lapsed(self.now));
        other.map_or(Ok(()), |lease| {
            let since = lease.started_at;
            Err(Error::Refused(format!(
                "another prune is at work since {since}; wait for it, or until its lease lapses at {}",
                lease.expires_at
            )))
        })
    }

    /// A manifest whose remover was killed at once may come back with a power cut; it must not after what it needs is deleted.
    fn persist_absences(&self) -> Result<()> {
        let gone = forget::tombstones(self.repo)?.into_iter().filter(|(exists, _)| !exists);
        let gone = gone.map(|(_, s)| PointKey { name: s.name, sequence: s.sequence, manifest: s.manifest });
        let keys: Vec<_> = gone.chain(self.repo.points()?).map(|at| at.key()).collect();
        self.repo.store().persist(&keys)
    }

    /// The index must say what the store holds: a point whose chunk cannot be found stops the run before anything is deleted.
    fn reconcile(&self) -> Result<Reconciled> {
        let options =
            reconcile::Options { threads: self.options.threads, progress: &|_| {}, cancel: self.options.cancel };
        reconcile(self.repo.records(), self.index, &options)
    }

    /// Lists whose grace is over and whose sessions have all ended. A list that was cut before its leases gets them now and waits.
    fn eligible_lists(&self) -> Result<Vec<Condemned>> {
        let lists = condemned::list(self.repo)?;
        let alive: HashSet<LeaseId> = self.other_leases()?.iter().map(|lease| lease.lease).collect();
        let mut eligible = Vec::new();
        for list in lists {
            match &list.leases {
                None if self.own.is_some() => {
                    condemned::record_leases(self.repo, list.run, alive.iter().copied().collect())?;
                }
                Some(recorded)
                    if recorded.iter().all(|lease| !alive.contains(lease))
                        && self.now.duration_since(list.created_at) >= self.options.grace =>
                {
                    eligible.push(list);
                }
                _ => {}
            }
        }
        Ok(eligible)
    }

    /// Deletes what earlier runs condemned and this mark confirms to be dead.
    fn delete_condemned(
        &self,
        reader: &Reader<'_>,
        mark: &Mark,
        (lists, leases): (&[Condemned], &[LeaseBody]),
        outcome: &mut Outcome,
    ) -> Result<()> {
        let busy = busy_writers(leases);
        let rescued: HashSet<PackId> =
            condemned::rescues(self.repo)?.into_iter().flat_map(|(_, _, packs)| packs).map(|pack| pack.pack).collect();
        let total = lists.iter().map(|list| list.packs.len() as u64).sum();
        let mut done = 0;
        let packs = self.index.packs()?;
        for list in lists {
            let named: HashSet<PackId> = list.packs.iter().map(|pack| pack.pack).collect();
            let may_go = |pack: &&IndexedPack| named.contains(&pack.id) && !rescued.contains(&pack.id);
            // What a running backup has stored is in no tree yet, whoever condemned it.
            for pack in packs.iter().filter(may_go).filter(|pack| !busy.contains(&pack.writer)) {
                self.go_on()?;
                (self.options.progress)(Step::Deleting(done, total));
                done += 1;
                if mark.live_bytes(reader, pack)? == 0 {
                    self.index.remove(&[pack.number])?;
                    self.repo.store().delete(&pack.kind.key(&pack.id))?;
                    outcome.packs_deleted += 1;
                    outcome.bytes_freed += pack.pack_bytes;
                }
            }
            self.go_on()?;
            condemned::clear(self.repo, list.run)?;
        }
        Ok(())
    }

    /// Finds dead packs and empties those that are mostly dead. Returns what is to be condemned.
    fn condemn_and_repack(
        &self,
        reader: &Reader<'_>,
        mark: &Mark,
        leases: &[LeaseBody],
        outcome: &mut Outcome,
    ) -> Result<Vec<PackRef>> {
        let listed: HashSet<PackId> =
            condemned::list(self.repo)?.into_iter().flat_map(|list| list.packs).map(|pack| pack.pack).collect();
        let busy = busy_writers(leases);
        let mut dead = Vec::new();
        let mut mostly_dead = Vec::new();
        for pack in self.index.packs()?.into_iter().filter(|pack| !listed.contains(&pack.id)) {
            let live = mark.live_bytes(reader, &pack)?;
            outcome.bytes_live += live;
            let dead_bytes = pack.pack_bytes - live;
            match live {
                0 if busy.contains(&pack.writer) => {
                    outcome.left.push(format!("{} may belong to a backup that is running", pack.kind.key(&pack.id)));
                }
                0 => dead.push(pack),
                _ if dead_bytes * 100 >= pack.pack_bytes * self.options.repack_dead_percent => mostly_dead.push(pack),
                _ => outcome.bytes_dead_left += dead_bytes,
            }
        }
        dead.extend(self.repack(reader, mark, mostly_dead, outcome)?);
        outcome.packs_condemned += dead.len() as u64;
        outcome.bytes_condemned += dead.iter().map(|pack| pack.pack_bytes).sum::<u64>();
        Ok(dead.into_iter().map(|pack| PackRef { kind: pack.kind, pack: pack.id }).collect())
    }

    /// Writes the live entries of packs into new ones. Returns the packs that are no longer needed.
    fn repack(
        &self,
        reader: &Reader<'_>,
        mark: &Mark,
        packs: Vec<IndexedPack>,
        outcome: &mut Outcome,
    ) -> Result<Vec<IndexedPack>> {
        if packs.is_empty() {
            return Ok(packs);
        }
        if self.repo.keys().private().is_none() {
            let bytes: u64 = packs.iter().map(|pack| pack.pack_bytes).sum();
            outcome.left.push(format!(
                "{} packs of {bytes} bytes are partly dead; repacking them needs the passphrase or key file",
                packs.len()
            ));
            return Ok(Vec::new());
        }
        let total: u64 = packs.iter().map(|pack| pack.pack_bytes).sum();
        let mut repacker = repack::Repacker::new(self.repo, self.index, reader, self.options.level)?;
        let mut emptied = Vec::new();
        let mut read_bytes = 0;
        for pack in packs {
            self.go_on()?;
            if read_bytes + pack.pack_bytes > self.options.max_repack_bytes {
                outcome.left.push(format!("{} is partly dead and waits for the next run", pack.kind.key(&pack.id)));
                continue;
            }
            (self.options.progress)(Step::Repacking(read_bytes, total));
            read_bytes += pack.pack_bytes;
            match repacker.take(&pack, mark) {
                Ok(()) => emptied.push(pack),
                Err(error) if error.is_damage() => {
                    outcome.left.push(format!("{} stays as it is: {error}", pack.kind.key(&pack.id)));
                }
                Err(error) => return Err(error),
            }
        }
        outcome.bytes_rewritten = repacker.finish()?;
        outcome.packs_repacked = emptied.len() as u64;
        Ok(emptied)
    }

    fn condemn(&self, dead: Vec<PackRef>) -> Result<()> {
        for packs in dead.chunks(condemned::MAX_LISTED) {
            let run = condemned::condemn(self.repo, packs.to_vec(), self.now)?;
            // Listed after the list is durable: who is not among them began later and has seen the list.
            let leases = self.other_leases()?.iter().map(|lease| lease.lease).collect();
            condemned::record_leases(self.repo, run, leases)?;
        }
        Ok(())
    }

    /// Removes what has served: records of what is gone or whole again, old rescues, and temporary files when nobody else is at work.
    fn tidy(&self, leases: &[LeaseBody]) -> Result<()> {
        suspects::tidy(self.repo)?;
        condemned::tidy(self.repo, &|pack| {
            self.go_on()?;
            crate::check::is_sound(self.repo, pack)
        })?;
        let packs: HashSet<PackId> = self.index.packs()?.into_iter().map(|pack| pack.id).collect();
        proofs::tidy(self.repo, PROOF_LASTS, &packs, self.now)?;
        catalog::tidy(self.repo, &|| self.go_on())?;
        for (key, created_at, _) in condemned::rescues(self.repo)? {
            if self.now.duration_since(created_at) > self.options.grace + self.options.grace {
                self.repo.store().delete(&key)?;
            }
        }
        if leases.is_empty() && self.other_leases()?.is_empty() {
            self.repo.store().sweep()?;
        }
        Ok(())
    }
}

/// Writers that are storing something at this moment.
fn busy_writers(leases: &[LeaseBody]) -> HashSet<WriterId> {
    leases.iter().filter(|lease| lease.purpose == Purpose::Backup).map(|lease| lease.writer).collect()
}
