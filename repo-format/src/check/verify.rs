//! Verifying points: every chunk that a point needs is read, opened and compared with its id, without being written anywhere.
//!
//! A pack is read whole, so that what it proves counts for every point and every writer. What was proved within [`PROOF_LASTS`] is not read
//! again, neither packs nor what a point has in common with another one of its name that was proved: the tree's ids say that it is the
//! same. A proof carries the age of the oldest that it rests on, so nothing is ever taken for proved that was read longer ago than that.

use super::packs::{Seen, Task, each_pack};
use super::{ForgedPack, Phase, Progress};
use crate::condemned::{self, PackRef};
use crate::error::{Error, Result};
use crate::id::{ChunkId, EntryId, PackId};
use crate::index::Index;
use crate::manifest::{Disk, Manifest, PointKey};
use crate::pack::PackKind;
use crate::pack_cache::CachedPack;
use crate::proofs::{self, Proofs, ProvedPoint};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::tree::{TreeWalk, diff};
use jiff::{SignedDuration, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was read longer ago than this is read again.
pub const PROOF_LASTS: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Proofs of so many points are written at once; what is proved and not written is read again after a cut.
const RECORD_EVERY: usize = 8;
/// The same for packs: of a large point not all is read again either.
const RECORD_EVERY_PACKS: usize = 256;

/// How points are verified.
pub struct VerifyOptions<'a> {
    /// Threads that read packs; each holds at most one pack in memory.
    pub threads: usize,
    /// Read everything, whatever was proved before.
    pub read_all: bool,
    /// Called now and then.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Stops it between two packs or nodes; what was proved until then is recorded.
    pub cancel: &'a AtomicBool,
    /// Now.
    pub now: Timestamp,
}

/// What came out of one point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointVerdict {
    /// The point.
    pub point: PointKey,
    /// Since when all of it is proved; nothing when it is not.
    pub since: Option<Timestamp>,
    /// Why it is not.
    pub flaw: Option<String>,
    /// Whether the point is gone, which is no flaw.
    pub is_gone: bool,
}

/// What came out of all of them.
#[derive(Clone, Default, Debug)]
pub struct Verification {
    /// Each point, in the order asked for.
    pub points: Vec<PointVerdict>,
    /// Packs read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Chunks opened.
    pub entries_opened: u64,
    /// Packs found damaged; recorded, so that nobody relies on them any more.
    pub damaged_packs: Vec<PackRef>,
    /// Of those the ones that were stored so.
    pub forged_packs: Vec<ForgedPack>,
}

/// Verifies points and records what is proved. The index must have been reconciled, and the caller holds a read lease. Needs the private key.
/// An error of an object is the flaw of the points that need it; only a failing index or store and a cancellation end the work, and then
/// what was proved until then is recorded.
pub fn verify_points(
    repo: &Repository,
    index: &Index,
    points: &[PointKey],
    options: &VerifyOptions<'_>,
) -> Result<Verification> {
    repo.keys().private_for("verifying a recovery point")?;
    let began = options.now;
    let proofs = match options.read_all {
        true => Proofs::default(),
        false => Proofs::read(repo)?.fresh(PROOF_LASTS, began),
    };
    let known_damaged = condemned::damaged(repo.records())?;
    let mut work = Work {
        repo,
        reader: Reader::new(repo, index),
        options,
        began,
        proofs,
        known_damaged,
        bad: HashMap::new(),
        unconfirmed: RefCell::default(),
        new_packs: Vec::new(),
        new_points: Vec::new(),
        new_damaged: Vec::new(),
        done: Verification::default(),
    };
    let verified = points.iter().try_for_each(|at| work.point(*at));
    work.record()?;
    verified.map(|()| work.done)
}

struct Work<'w> {
    repo: &'w Repository,
    reader: Reader<'w>,
    options: &'w VerifyOptions<'w>,
    /// Dates what is read in this run: never later than it was.
    began: Timestamp,
    /// What need not be read: from records, and what was read since.
    proofs: Proofs,
    known_damaged: HashSet<PackId>,
    /// Entries that are bad, of packs that were read; all of them where the pack itself cannot be read.
    bad: HashMap<PackId, Option<HashSet<u32>>>,
    /// Packs that should hold something that was needed, and whose footers could not be read or say otherwise.
    unconfirmed: RefCell<BTreeSet<PackId>>,
    new_packs: Vec<PackRef>,
    new_points: Vec<ProvedPoint>,
    new_damaged: Vec<PackRef>,
    done: Verification,
}

/// What a walk over a point found.
struct Walked {
    /// Packs that have to be read.
    unread: BTreeSet<PackId>,
    /// The oldest proof it rests on.
    since: Timestamp,
}

/// Why a point is not proved.
enum Failed {
    /// Something of it is damaged.
    Flaw(String),
    /// It cannot go on.
    Stop(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Index { .. } | Error::Interrupted => Self::Stop(error),
            error if error.is_damage() || error.is_loss() => Self::Flaw(error.to_string()),
            error => Self::Stop(error),
        }
    }
}

impl Work<'_> {
    fn point(&mut self, at: PointKey) -> Result<()> {
        let verdict = |since, flaw, is_gone| PointVerdict { point: at, since, flaw, is_gone };
        let verdict = match self.prove(at) {
            Ok(since) => {
                self.new_points.push(ProvedPoint { manifest: at.manifest, since });
                self.proofs.points.insert(at.manifest, since);
                verdict(Some(since), None, false)
            }
            // Prune took it since it was asked for.
            Err(Failed::Flaw(_)) if !self.repo.store().exists(&at.key())? => verdict(None, None, true),
            Err(Failed::Flaw(flaw)) => verdict(None, Some(flaw), false),
            Err(Failed::Stop(error)) => return Err(error),
        };
        self.done.points.push(verdict);
        if self.new_points.len() >= RECORD_EVERY {
            self.record()?;
        }
        Ok(())
    }

    /// Since when all of the point is proved.
    fn prove(&mut self, at: PointKey) -> std::result::Result<Timestamp, Failed> {
        let (_, manifest) = self.repo.open_point(at)?;
        let mut base = self.base_of(at)?;
        // The first walk finds what to read, the next one looks what of it was sound and where else the rest is.
        loop {
            let walked = match self.walk(&manifest, base.as_ref()) {
                // What is damaged may be the other point's alone.
                Err(Failed::Flaw(_)) if base.take().is_some() => continue,
                Err(flaw) => {
                    self.read_unconfirmed()?;
                    return Err(flaw);
                }
                Ok(walked) => walked,
            };
            if walked.unread.is_empty() {
                return Ok(walked.since);
            }
            let bad_before = self.bad.len();
            self.read(&walked.unread)?;
            if self.bad.len() == bad_before {
                return Ok(walked.since);
            }
        }
    }

    /// Looks at packs that the index names and whose own footers do not say so, to record what is damaged.
    fn read_unconfirmed(&mut self) -> Result<()> {
        let packs: BTreeSet<PackId> =
            self.unconfirmed.take().into_iter().filter(|pack| !self.bad.contains_key(pack)).collect();
        self.read(&packs)
    }

    /// The nearest point of the same name that is proved, with the time since when. What both have in common is proved with it.
    fn base_of(&self, at: PointKey) -> Result<Option<(Manifest, Timestamp)>> {
        let mut near: Vec<(u64, PointKey, Timestamp)> = Vec::new();
        for other in self.repo.points_of(&at.name)? {
            if let Some(since) = self.proofs.points.get(&other.manifest) {
                near.push((other.sequence.abs_diff(at.sequence), other, *since));
            }
        }
        near.sort_unstable_by_key(|(distance, other, _)| (*distance, *other));
        for (_, other, since) in near {
            match self.repo.open_point(other) {
                Ok((_, manifest)) => return Ok(Some((manifest, since))),
                // Gone, or damaged since: another one serves.
                Err(error) if error.is_damage() || error.is_loss() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn walk(&self, manifest: &Manifest, base: Option<&(Manifest, Timestamp)>) -> std::result::Result<Walked, Failed> {
        let mut walk =
            Walk { work: self, walked: Walked { unread: BTreeSet::new(), since: self.began }, last: None, chunks: 0 };
        for disk in &manifest.disks {
            let tree = disk.tree(manifest.chunk_bytes);
            let chunk_bytes = manifest.chunk_bytes;
            match base.and_then(|(base, since)| same_disk(base, manifest, disk).map(|other| (other, *since))) {
                Some((other, since)) => {
                    walk.walked.since = walk.walked.since.min(since);
                    diff((other.tree(chunk_bytes), tree), (&self.reader, &self.reader), &mut |position, _, chunk| {
                        chunk.map_or(Ok(()), |chunk| walk.chunk(disk, chunk_bytes, position, chunk))
                    })?;
                }
                None => {
                    for entry in TreeWalk::new(tree, &self.reader, 0..tree.chunks) {
                        let (position, chunk) = entry?;
                        walk.chunk(disk, chunk_bytes, position, chunk)?;
                    }
                }
            }
        }
        Ok(walk.walked)
    }

    /// Reads packs whole.
    fn read(&mut self, packs: &BTreeSet<PackId>) -> Result<()> {
        let task = |id: &PackId| Task { kind: PackKind::Data, id: *id, whole: true };
        let tasks: Vec<Task> = packs.iter().map(task).collect();
        let total = tasks.len() as u64;
        let (repo, threads) = (self.repo, self.options.threads);
        let mut take = |task: &Task, seen: Seen, done: usize| {
            self.stop_if_cancelled()?;
            self.take(task, seen);
            if self.new_packs.len() >= RECORD_EVERY_PACKS {
                self.record()?;
            }
            let (done, bytes_read) = (done as u64 + 1, self.done.bytes_read);
            (self.options.progress)(Progress { phase: Phase::Proof, done, total, bytes_read });
            Ok(())
        };
        each_pack(repo, &tasks, threads, &mut take)
    }

    fn take(&mut self, task: &Task, seen: Seen) {
        self.done.packs_read += 1;
        self.done.bytes_read += seen.bytes_read;
        self.done.entries_opened += seen.opened;
        let pack = PackRef { kind: task.kind, pack: task.id };
        let is_whole = seen.info.as_ref().is_some_and(|info| info.rows.len() as u64 == seen.opened);
        if seen.errors.is_empty() && is_whole {
            self.proofs.packs.insert(task.id, self.began);
            if !self.known_damaged.contains(&task.id) {
                self.new_packs.push(pack);
            }
            return;
        }
        let only_entries = seen.info.is_some() && !seen.bad_entries.is_empty();
        self.bad.insert(task.id, only_entries.then(|| seen.bad_entries.iter().copied().collect()));
        // Deleted since it was looked up: another place serves, or the walk says what is missing.
        let key = task.kind.key(&task.id);
        if seen.errors.iter().all(|error| matches!(error, Error::Missing { key: gone } if *gone == key)) {
            return;
        }
        if let Some(info) = seen.info.as_ref().filter(|info| seen.is_forged && info.is_verified) {
            self.done.forged_packs.push(ForgedPack { pack: task.id, signer: info.header.signer });
        }
        self.done.damaged_packs.push(pack);
        if !self.known_damaged.contains(&task.id) {
            self.new_damaged.push(pack);
        }
    }

    fn stop_if_cancelled(&self) -> Result<()> {
        if self.options.cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Writes down what is proved and what is damaged.
    fn record(&mut self) -> Result<()> {
        condemned::record_damaged(self.repo, &self.new_damaged, self.began)?;
        self.new_damaged.clear();
        proofs::record(self.repo, &self.new_packs, &self.new_points, self.began)?;
        self.new_packs.clear();
        self.new_points.clear();
        Ok(())
    }
}

/// The same disk of a point that is proved, if what is the same in both trees is the same in every way.
fn same_disk<'m>(base: &'m Manifest, manifest: &Manifest, disk: &Disk) -> Option<&'m Disk> {
    let fits = |other: &&Disk| other.name == disk.name && other.size_bytes == disk.size_bytes;
    base.disks.iter().find(fits).filter(|_| base.chunk_bytes == manifest.chunk_bytes)
}

/// One walk over the chunks of a point.
struct Walk<'w> {
    work: &'w Work<'w>,
    walked: Walked,
    /// Where the chunk before lay: what follows it on the disk mostly follows it in the pack.
    last: Option<(PackId, Arc<CachedPack>, u32)>,
    chunks: u64,
}

impl Walk<'_> {
    fn chunk(&mut self, disk: &Disk, chunk_bytes: u32, position: u64, chunk: ChunkId) -> Result<()> {
        self.chunks += 1;
        if self.chunks.is_multiple_of(4096) {
            self.work.stop_if_cancelled()?;
        }
        let length = disk.chunk_length(chunk_bytes, position);
        let id: EntryId = chunk.into();
        if let Some((pack, cached, entry)) = self.last.take() {
            let next = entry + 1;
            let fits =
                cached.info().rows.get(next as usize).is_some_and(|row| row.id == id && row.plain_bytes == length);
            if fits && self.note(pack, next) {
                self.last = Some((pack, cached, next));
                return Ok(());
            }
        }
        let mut places = Vec::new();
        for place in self.work.reader.index().places(&id.key())? {
            match self.work.reader.confirm(&id, PackKind::Data, place)? {
                Some((pack, cached)) if cached.info().rows[place.entry as usize].plain_bytes == length => {
                    places.push((pack.id, cached, place.entry));
                }
                Some(_) => {}
                None => {
                    let pack = self.work.reader.pack(place.pack)?.filter(|pack| pack.kind == PackKind::Data);
                    self.work.unconfirmed.borrow_mut().extend(pack.map(|pack| pack.id));
                }
            }
        }
        // What is proved already needs no reading.
        places.sort_by_key(|(pack, ..)| !self.work.proofs.packs.contains_key(pack));
        for (pack, cached, entry) in places {
            if self.note(pack, entry) {
                self.last = Some((pack, cached, entry));
                return Ok(());
            }
        }
        let start = position.saturating_mul(chunk_bytes.into());
        let what = format!("chunk {chunk} at byte {start} of disk {:?} is in no sound pack", disk.name);
        Err(Error::damaged("recovery point", what))
    }

    /// Notes that the point relies on an entry. False when that is known to be bad.
    fn note(&mut self, pack: PackId, entry: u32) -> bool {
        match (self.work.bad.get(&pack), self.work.proofs.packs.get(&pack)) {
            (Some(Some(entries)), _) => {
                let is_sound = !entries.contains(&entry);
                // It was read in this run, however damaged the rest of it is.
                return is_sound;
            }
            (Some(None), _) => return false,
            (None, Some(at)) => self.walked.since = self.walked.since.min(*at),
            (None, None) => drop(self.walked.unread.insert(pack)),
        }
        true
    }
}
