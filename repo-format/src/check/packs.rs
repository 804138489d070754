//! Packs: every footer verified; some or all packs read whole, every entry opened where the key is there. By several threads, each
//! with one pack in memory.

use super::objects::{Listing, NO_RECORD};
use super::report::{Findings, ForgedPack};
use super::{Depth, Options, Phase, Report, as_finding, is_about_an_object, unknown_writer};
use crate::condemned::{self, PackRef};
use crate::config::CONFIG_KEY;
use crate::error::{Error, Result};
use crate::id::{EntryId, PackId, WriterId};
use crate::index::{Index, IndexedPack, PackNumber};
use crate::pack::{self, EntryDecoder, OpenPack, PackInfo, PackKind, sealed_hash};
use crate::repository::Repository;
use crate::tree::node::Node;
use crossbeam_channel::bounded;
use std::collections::{HashMap, HashSet};

/// What the check knows of the packs when it walks the trees.
#[derive(Default)]
pub(super) struct Packs {
    /// Entries that are known to be bad in packs whose footer is sound.
    bad_entries: HashMap<PackId, HashSet<u32>>,
    /// Packs of the index that the store does not have; removed from the index at the end.
    gone: Vec<IndexedPack>,
    sound: Vec<PackRef>,
    /// Packs that a medium would not give back. Looked at once more before that is called damage.
    unreadable: Vec<PackRef>,
    /// Packs whose signature cannot be checked, by signer.
    unverified: HashMap<WriterId, u64>,
}

pub(super) struct Task {
    pub(super) kind: PackKind,
    pub(super) id: PackId,
    pub(super) whole: bool,
}

/// What came out of one pack.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) info: Option<PackInfo>,
    /// Broken rules, each as text.
    pub(super) errors: Vec<Error>,
    pub(super) bad_entries: Vec<u32>,
    pub(super) opened: u64,
    pub(super) bytes_read: u64,
    /// The bytes are those that were stored, and do not hold what the footer says: whoever signed it made it so.
    pub(super) is_forged: bool,
}

const NEXT: &str = "restore this object from a replica, then check again. Without one: move it out of the store, run `icecore index rebuild` and a backup with --full-read of what it touches; what is still on the sources is stored again";

/// Verifies packs and brings the index up to date with what is sound.
pub(super) fn check_packs(
    repo: &Repository,
    index: &Index,
    listing: &Listing,
    options: &Options<'_>,
    (findings, report): (&mut Findings, &mut Report),
) -> Result<Packs> {
    let mut known: HashMap<PackId, IndexedPack> = index.packs()?.into_iter().map(|pack| (pack.id, pack)).collect();
    let mut packs = Packs::default();
    let tasks: Vec<Task> = listing
        .packs
        .iter()
        .map(|(kind, id, _)| Task { kind: *kind, id: *id, whole: is_chosen(options.depth, id) })
        .collect();
    let mut take = |task: &Task, seen: Seen, done: usize| -> Result<()> {
        options.at(Phase::Packs, done, tasks.len(), report)?;
        packs.take(task, seen, (index, known.remove(&task.id)), (findings, report))
    };
    each_pack(repo, &tasks, options.threads, &mut take)?;
    packs.gone = known.into_values().collect();
    if options.depth != Depth::Structure && repo.keys().private().is_none() {
        let what = "without the private key the sealed bytes of chunks were compared with their hashes, not opened";
        findings.note("data/", what, "check with the passphrase, key file or recovery kit to open every chunk");
    }
    Ok(packs)
}

/// Whether a pack is read whole. The same seed chooses the same packs.
fn is_chosen(depth: Depth, id: &PackId) -> bool {
    match depth {
        Depth::Structure => false,
        Depth::ReadAll => true,
        Depth::Sample { percent, seed } => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&seed.to_le_bytes()).update(&id.0);
            let draw = u32::from_le_bytes(std::array::from_fn(|i| hasher.finalize().as_bytes()[i]));
            f64::from(draw) < percent / 100.0 * f64::from(u32::MAX)
        }
    }
}

/// Looks at packs in threads and gives what came out to `take` in this one.
pub(super) fn each_pack(
    repo: &Repository,
    tasks: &[Task],
    threads: usize,
    take: &mut dyn FnMut(&Task, Seen, usize) -> Result<()>,
) -> Result<()> {
    let threads = threads.clamp(1, 64);
    let (work_tx, work_rx) = bounded::<&Task>(threads);
    let (seen_tx, seen_rx) = bounded::<(&Task, Result<Seen>)>(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (work_rx, seen_tx) = (work_rx.clone(), seen_tx.clone());
            scope.spawn(move || {
                for task in work_rx {
                    if seen_tx.send((task, look(repo, task))).is_err() {
                        return;
                    }
                }
            });
        }
        drop((work_rx, seen_tx));
        scope.spawn(move || tasks.iter().try_for_each(|task| work_tx.send(task)));
        seen_rx.into_iter().enumerate().try_for_each(|(done, (task, seen))| take(task, seen?, done))
    })
}

fn look(repo: &Repository, task: &Task) -> Result<Seen> {
    let mut seen = Seen::default();
    let result = if task.whole { read_whole(repo, task, &mut seen) } else { read_footer(repo, task, &mut seen) };
    match result {
        Err(error) if is_about_an_object(&error) => seen.errors.push(error),
        other => other?,
    }
    if let Some(info) = &seen.info {
        seen.errors.extend(check_footer(repo, &task.kind.key(&task.id), info));
    }
    Ok(seen)
}

fn read_footer(repo: &Repository, task: &Task, seen: &mut Seen) -> Result<()> {
    let info = pack::load(repo.store(), task.kind, &task.id, &repo.config().repository, repo.signers())?;
    seen.info = Some(info);
    Ok(())
}

/// Rules of a footer that a reader does not need.
fn check_footer(repo: &Repository, key: &str, info: &PackInfo) -> Option<Error> {
    let mut ids: Vec<EntryId> = info.rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    let chunk_bytes = repo.config().chunk_bytes;
    let (largest, sealed_to) = match info.header.kind {
        PackKind::Data => (chunk_bytes, chunk_bytes),
        PackKind::Tree => (pack::MAX_PLAIN_BYTES, 0),
    };
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Some(Error::damaged(key, format!("the id {} stands in it twice", pair[0])));
    }
    let fits = info.header.chunk_bytes == sealed_to && info.rows.iter().all(|row| row.plain_bytes <= largest);
    (!fits).then(|| Error::damaged(key, "its chunk size is not the repository's"))
}

fn read_whole(repo: &Repository, task: &Task, seen: &mut Seen) -> Result<()> {
    let key = task.kind.key(&task.id);
    let mut bytes = repo.store().get(&key)?;
    seen.bytes_read = bytes.len() as u64;
    let hash = PackId(*blake3::hash(&bytes).as_bytes());
    let info = PackInfo::footer_of(&key, task.kind, &bytes, &repo.config().repository, repo.signers())?;
    for (number, row) in (0..).zip(&info.rows) {
        if sealed_hash(&bytes[row.extent()]) != row.sealed_hash {
            seen.bad_entries.push(number);
        }
    }
    if hash != task.id && seen.bad_entries.is_empty() {
        let belongs = task.kind.key(&hash);
        let what = format!("its bytes are those of another pack: it was exchanged or copied and belongs at {belongs}");
        seen.errors.push(Error::damaged(&key, what));
    }
    if let [first, ..] = seen.bad_entries.as_slice() {
        let (count, id) = (seen.bad_entries.len(), info.rows[*first as usize].id);
        let what = format!(
            "the sealed bytes of {count} of its {} entries do not have their hash, the first is {id}",
            info.rows.len()
        );
        seen.errors.push(Error::damaged(&key, what));
    }
    let is_as_stored = seen.errors.is_empty();
    let opened = open_entries(repo, (task, &key), info, &mut bytes, seen);
    seen.is_forged = is_as_stored && !seen.bad_entries.is_empty();
    opened
}

/// Opens every entry whose sealed bytes are right and computes its id again.
fn open_entries(
    repo: &Repository,
    (task, key): (&Task, &str),
    info: PackInfo,
    bytes: &mut [u8],
    seen: &mut Seen,
) -> Result<()> {
    let can_open = match task.kind {
        PackKind::Data => repo.keys().private().is_some(),
        PackKind::Tree => repo.keys().map_key(info.header.writer).is_some(),
    };
    if !can_open {
        seen.info = Some(info);
        return Ok(());
    }
    let all = 0..u32::try_from(info.rows.len()).expect("bounded by MAX_ENTRIES");
    let extents: Vec<_> = info.rows.iter().map(|row| (row.id, row.extent())).collect();
    let open = match OpenPack::new(task.id, info, repo.keys()) {
        Ok(open) => open,
        Err(error) => {
            seen.bad_entries = all.collect();
            return Err(error);
        }
    };
    let (mut decoder, mut plain) = (EntryDecoder::new()?, Vec::new());
    for (number, (id, extent)) in all.zip(extents) {
        if seen.bad_entries.contains(&number) {
            continue;
        }
        let opened = open.open(number, &mut bytes[extent], &mut decoder, &mut plain);
        if let Err(error) = opened.and_then(|_| check_entry(repo, key, task.kind, &id, &plain)) {
            seen.bad_entries.push(number);
            seen.errors.push(error);
        }
        seen.opened += 1;
    }
    seen.info = Some(open.info);
    Ok(())
}

fn check_entry(repo: &Repository, key: &str, kind: PackKind, id: &EntryId, plain: &[u8]) -> Result<()> {
    let ids = repo.keys().ids();
    let found: EntryId = match kind {
        PackKind::Data => ids.chunk(plain).into(),
        PackKind::Tree => ids.node(plain).into(),
    };
    if found != *id {
        return Err(Error::damaged(key, format!("what opens as {id} has another id")));
    }
    match kind {
        PackKind::Data if crate::codec::is_zero(plain) => {
            Err(Error::damaged(key, format!("chunk {id} is all zero, which is never stored")))
        }
        PackKind::Data => Ok(()),
        // Its level stands in it; the walk compares it with where the node is used.
        PackKind::Tree => Node::decode(key, plain.get(5).copied().unwrap_or(0), plain).map(|_| ()),
    }
}

impl Packs {
    fn take(
        &mut self,
        task: &Task,
        seen: Seen,
        (index, known): (&Index, Option<IndexedPack>),
        (findings, report): (&mut Findings, &mut Report),
    ) -> Result<()> {
        let key = task.kind.key(&task.id);
        report.packs += 1;
        report.packs_read += u64::from(task.whole);
        report.bytes_read += seen.bytes_read;
        report.entries_opened += seen.opened;
        let is_sound = seen.errors.is_empty();
        // Whoever cannot be reached today says nothing about the bytes it keeps.
        let is_damaged = seen.errors.iter().any(Error::is_damage);
        let is_unreadable = !is_damaged && seen.errors.iter().any(Error::is_loss);
        for error in seen.errors {
            // Deleted since the listing: the walk says whether anything needs it.
            if matches!(&error, Error::Missing { key: gone } if *gone == key) {
                self.gone.extend(known);
                return Ok(());
            }
            findings.error(&key, &as_finding(&key, error)?, NEXT);
        }
        let pack = PackRef { kind: task.kind, pack: task.id };
        if is_damaged {
            report.damaged_packs.push(pack);
        } else if is_unreadable {
            self.unreadable.push(pack);
        }
        if let Some(info) = seen.info.as_ref().filter(|info| seen.is_forged && info.is_verified) {
            report.forged_packs.push(ForgedPack { pack: task.id, signer: info.header.signer });
        }
        if !seen.bad_entries.is_empty() {
            self.bad_entries.insert(task.id, seen.bad_entries.into_iter().collect());
        }
        if let Some(info) = seen.info {
            enter(index, task, known, &info)?;
            let has_others_chunks = task.kind == PackKind::Data && info.header.signer != WriterId::OPERATOR;
            if !info.is_verified {
                *self.unverified.entry(info.header.signer).or_default() += 1;
            }
            if is_sound && info.is_verified && has_others_chunks && seen.opened == info.rows.len() as u64 {
                self.sound.push(pack);
            }
        }
        Ok(())
    }

    /// Whether an entry that its footer confirms was found to be bad.
    pub(super) fn is_bad(&self, pack: &PackId, entry: u32) -> bool {
        self.bad_entries.get(pack).is_some_and(|entries| entries.contains(&entry))
    }

    /// Says which writers' packs could not be verified.
    pub(super) fn name_unverified(&self, repo: &Repository, findings: &mut Findings) {
        for (writer, count) in &self.unverified {
            let what = format!("{NO_RECORD}: {count} packs, whose contents are proved by their ids alone");
            unknown_writer(repo, *writer, &what, findings);
        }
    }

    /// After the walk: what is gone leaves the index, what is verified is recorded.
    pub(super) fn finish(
        self,
        repo: &Repository,
        index: &Index,
        options: &Options<'_>,
        is_lossy: bool,
        (findings, report): (&mut Findings, &mut Report),
    ) -> Result<()> {
        index.remove(&self.gone.iter().map(|pack| pack.number).collect::<Vec<PackNumber>>())?;
        if options.record_verified && repo.config().check_writable().is_ok() {
            report.damaged_packs.extend(self.unreadable.iter().filter(|pack| is_still_unreadable(repo, pack)));
            record_damaged(repo, options, is_lossy, (findings, report))?;
        }
        // With one writer there is nobody who would rely on another's chunks.
        let wanted = options.record_verified && repo.keys().private().is_some() && repo.signers().writers.len() > 1;
        if !wanted || repo.config().check_writable().is_err() {
            return Ok(());
        }
        let recorded = condemned::verified(repo.records()).and_then(|known| {
            let new: Vec<PackRef> = self.sound.into_iter().filter(|pack| !known.contains(&pack.pack)).collect();
            condemned::record_verified(repo, &new, options.now).map(|()| new.len())
        });
        match recorded {
            Ok(count) => report.packs_verified = count as u64,
            Err(error) => {
                let what = format!("the verified packs could not be recorded: {}", as_finding("verified/", error)?);
                findings.note("verified/", &what, "nothing is lost; check again when the store can be written to");
            }
        }
        Ok(())
    }
}

/// Whether a pack opens whole: every entry has its hash and, where the keys allow it, its id.
pub(crate) fn is_sound(repo: &Repository, pack: &PackRef) -> Result<bool> {
    let seen = look(repo, &Task { kind: pack.kind, id: pack.pack, whole: true })?;
    Ok(seen.errors.is_empty()
        && seen.info.is_some_and(|info| info.is_verified && seen.opened == info.rows.len() as u64))
}

/// Whether the medium still loses this pack while it gives back others.
fn is_still_unreadable(repo: &Repository, pack: &PackRef) -> bool {
    let task = Task { kind: pack.kind, id: pack.pack, whole: true };
    let is_lost = look(repo, &task).is_ok_and(|seen| seen.errors.iter().any(Error::is_loss));
    is_lost && repo.store().get(CONFIG_KEY).is_ok()
}

/// Keeps later sessions from relying on packs that were found damaged, and tells them of what is missing.
fn record_damaged(
    repo: &Repository,
    options: &Options<'_>,
    is_lossy: bool,
    (findings, report): (&mut Findings, &Report),
) -> Result<()> {
    let recorded = condemned::damaged(repo.records()).and_then(|known| {
        let new: Vec<PackRef> =
            report.damaged_packs.iter().filter(|pack| !known.contains(&pack.pack)).copied().collect();
        if is_lossy && new.is_empty() {
            return condemned::record_loss(repo, options.now);
        }
        condemned::record_damaged(repo, &new, options.now)
    });
    match recorded {
        Ok(()) => Ok(()),
        Err(error) => {
            let what = format!("the damaged packs could not be recorded: {}", as_finding("damaged/", error)?);
            findings.note("damaged/", &what, "check again when the store can be written to");
            Ok(())
        }
    }
}

/// Enters a pack that the index does not know, or knows otherwise.
fn enter(index: &Index, task: &Task, known: Option<IndexedPack>, info: &PackInfo) -> Result<()> {
    if let Some(known) = known {
        let header = &info.header;
        let same = (known.kind, known.pack_bytes, known.entry_count as usize, known.writer, known.signer)
            == (header.kind, info.pack_bytes, info.rows.len(), header.writer, header.signer);
        if same {
            return Ok(());
        }
        index.remove(&[known.number])?;
    }
    index.insert(&[(task.id, info)])
}
