//! Power cuts: every prefix of what each operation does to the disk, with what was not synced dropped, kept or torn.
//!
//! After each cut the repository opens, every point that is there restores byte for byte, none that was committed is gone,
//! and the next backup succeeds. Cuts that leave the same bytes are counted and looked at once.

mod flawed;
mod killed;
mod scenarios;

use crate::support::{Bench, DAY};
use repo_format::check::prove_point;
use repo_format::id::ManifestId;
use repo_format::manifest::PointKey;
use repo_format::reader::Reader;
use repo_format::store::fs::Fs;
use repo_format::store::sim::{Cut, SimFs};
use repo_format::{condemned, forget, lease};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds of torn cuts at each prefix.
const TORN_SEEDS: u64 = 30;
const THREADS: usize = 2;

/// What a repository must and may hold after a cut.
#[derive(Default, Clone)]
pub struct Expected {
    /// Content of every point there may be.
    pub images: HashMap<ManifestId, Vec<u8>>,
    /// Points that must be there, and from which operation of the journal on.
    pub committed: Vec<(PointKey, usize)>,
}

impl Expected {
    pub fn add(&mut self, at: PointKey, image: &[u8], from_operation: usize) {
        self.images.insert(at.manifest, image.to_vec());
        self.committed.push((at, from_operation));
    }
}

/// What went wrong after a cut, if anything did.
pub type Verdict = Result<(), String>;

/// Counts of a replay.
#[derive(Debug, Clone, Copy)]
pub struct Cuts {
    pub all: usize,
    pub distinct: usize,
}

/// Cuts at every prefix of what `fs` did since `start`, and judges what is left.
pub fn replay(
    (fs, start): (&SimFs, &SimFs),
    judge: &(dyn Fn(&SimFs, usize) -> Verdict + Sync),
) -> Result<Cuts, String> {
    let prefixes = fs.journal_len() + 1;
    let kinds: Vec<Cut> = (0..TORN_SEEDS).map(Cut::Torn).chain([Cut::Dropped, Cut::Kept]).collect();
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
    let failure = Mutex::new(None);
    let work = || {
        while failure.lock().unwrap().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= prefixes * kinds.len() {
                return;
            }
            let (operations, cut) = (number / kinds.len(), kinds[number % kinds.len()]);
            let after = fs.crash(start, operations, mixed(cut, operations));
            if !seen.lock().unwrap().insert((operations == prefixes - 1, fingerprint(&after))) {
                continue;
            }
            if let Err(what) = judge(&after, operations) {
                let last = operations.checked_sub(1).map_or("nothing".into(), |last| fs.journal()[last].clone());
                *failure.lock().unwrap() = Some(format!("{cut:?} after operation {operations} ({last}): {what}"));
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let distinct = seen.into_inner().unwrap().len();
    failure.into_inner().unwrap().map_or(Ok(Cuts { all: prefixes * kinds.len(), distinct }), Err)
}

/// A seed of its own for each prefix, so that different things are torn at each.
fn mixed(cut: Cut, operations: usize) -> Cut {
    match cut {
        Cut::Torn(seed) => Cut::Torn(seed + TORN_SEEDS * operations as u64),
        other => other,
    }
}

/// Two file systems with the same one are the same to a store: what temporary files hold is never read.
fn fingerprint(fs: &SimFs) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for path in fs.files() {
        let size = fs.size(&path).unwrap().unwrap_or(0);
        hasher.update(path.as_os_str().as_encoded_bytes()).update(&[0]);
        if path.components().any(|part| part.as_os_str() == "tmp") {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        fs.read_at(&path, 0, &mut bytes).unwrap();
        hasher.update(blake3::hash(&bytes).as_bytes());
    }
    hasher.finalize()
}

/// Opens what a cut left and checks everything there is to check, then goes on working with it.
pub fn judge(bench: &Bench, after: &SimFs, operations: usize, expected: &Expected) -> Verdict {
    let crashed = bench.try_on(after, bench.passphrase()).map_err(|e| format!("it does not open: {e}"))?;
    small_records_are_sound(&crashed).map_err(|e| format!("a small record: {e}"))?;
    points_are_sound(&crashed, operations, expected)?;
    let mut expected = expected.clone();
    work_goes_on(&crashed, &mut expected)?;
    for _ in 0..2 {
        crashed.pass_time(DAY * 2);
        crashed.prune(false).map_err(|e| format!("prune fails: {e}"))?;
    }
    let again = crashed.reopen(crashed.passphrase());
    points_are_sound(&again, operations, &expected).map_err(|what| format!("after two prunes: {what}"))
}

fn small_records_are_sound(crashed: &Bench) -> repo_format::Result<()> {
    let repo = crashed.repo();
    lease::list(repo)?;
    forget::tombstones(repo)?;
    condemned::list(repo)?;
    condemned::rescues(repo)?;
    condemned::verified(repo.records())?;
    Ok(())
}

fn points_are_sound(crashed: &Bench, operations: usize, expected: &Expected) -> Verdict {
    let there = crashed.repo().points().map_err(|e| format!("the points cannot be listed: {e}"))?;
    let committed = expected.committed.iter().filter(|(_, from)| operations >= *from);
    for (at, _) in committed {
        if !there.contains(at) {
            return Err(format!("the committed point {} is gone", at.key()));
        }
    }
    for at in there {
        let image = expected.images.get(&at.manifest).ok_or_else(|| format!("{} was never made", at.key()))?;
        let reader = Reader::new(crashed.repo(), &crashed.index);
        prove_point(&reader, at).map_err(|e| format!("{} cannot be proven: {e}", at.key()))?;
        let restored = crashed.restore(at).map_err(|e| format!("{} cannot be restored: {e}", at.key()))?;
        if restored != *image {
            return Err(format!("{} restores other bytes", at.key()));
        }
    }
    Ok(())
}

/// The next backup finds what it needs and restores.
fn work_goes_on(crashed: &Bench, expected: &mut Expected) -> Verdict {
    let parent = crashed.repo().latest_of("vm").map_err(|e| format!("no parent can be found: {e}"))?;
    let mut image = match &parent {
        Some((stored, _)) => expected.images[&stored.at.manifest].clone(),
        None => crate::support::disk(77, 3),
    };
    image[100_000] ^= 0xFF;
    let at = crashed.backup("vm", &image, Some(&[1])).map_err(|e| format!("the next backup fails: {e}"))?;
    let restored = crashed.restore(at).map_err(|e| format!("the next backup cannot be restored: {e}"))?;
    if restored != image {
        return Err("the next backup restores other bytes".into());
    }
    expected.add(at, &image, 0);
    crashed.store().sweep().map_err(|e| format!("what was left in tmp cannot be swept: {e}"))?;
    Ok(())
}

/// Operations of the journal until the manifest of `at` is durable.
pub fn durable_at(fs: &SimFs, at: &PointKey) -> usize {
    let journal = fs.journal();
    let renamed = journal.iter().position(|line| line.starts_with("rename") && line.ends_with(&at.key()));
    let renamed = renamed.expect("the point was committed on this file system");
    let dir = format!("sync-dir {}/manifests/{}", crate::support::ROOT, at.name);
    renamed + journal[renamed..].iter().position(|line| *line == dir).expect("a manifest is made durable") + 1
}
