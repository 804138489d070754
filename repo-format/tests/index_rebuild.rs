//! A rebuild of the index that is cut, anywhere and in any way, is gone on with, and ends as one that was not.

use crate::support::watched::Watched;
use crate::support::{Bench, CHUNK, disk};
use repo_format::codec::Kind;
use repo_format::id::{EntryKey, PackId};
use repo_format::index::Index;
use repo_format::manifest::PointKey;
use repo_format::pack::{PackBuilder, PackKind};
use repo_format::reconcile::{Options, Progress, Reconciled, reconcile};
use repo_format::repository::Repository;
use repo_format::{Error, Result};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Some transactions' worth.
const PACKS: usize = 250;

/// A repository with many packs: a point, and small packs that only their footers tell of.
fn many_packs() -> (Bench, PointKey) {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 10), None).unwrap();
    let (repo, entropy) = (bench.repo(), bench.entropy());
    let (config, keys) = (repo.config(), repo.keys().writer());
    for _ in 0..PACKS {
        let by = (keys.writer, keys.writer);
        let mut pack = PackBuilder::data(config.repository, by, &keys.public, config.chunk_bytes, &*entropy).unwrap();
        for _ in 0..3 {
            let mut plain = vec![0; CHUNK / 16];
            entropy.fill(&mut plain);
            let id = keys.ids.chunk(&plain);
            pack.add(id.into(), Kind::Raw, u32::try_from(plain.len()).unwrap(), &plain).unwrap();
        }
        let pack = pack.finish(repo.signer());
        repo.store().put(&PackKind::Data.key(&pack.id), &pack.bytes).unwrap();
    }
    (bench, at)
}

fn run(
    repo: &Repository,
    index: &Index,
    cancel: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Reconciled> {
    reconcile(repo.records(), index, &Options { threads: 3, progress, cancel })
}

fn uncut(repo: &Repository, index: &Index) -> Reconciled {
    run(repo, index, &AtomicBool::new(false), &|_| {}).unwrap()
}

/// All that an index says, whatever its own numbers are.
fn content(index: &Index) -> (Vec<(PackId, u64, u32)>, Vec<EntryKey>) {
    let mut packs: Vec<_> =
        index.packs().unwrap().into_iter().map(|pack| (pack.id, pack.pack_bytes, pack.entry_count)).collect();
    packs.sort_unstable();
    let mut keys = Vec::new();
    index.each_key(&mut |key| keys.push(key)).unwrap();
    keys.sort_unstable();
    (packs, keys)
}

fn whole(bench: &Bench) -> (Vec<(PackId, u64, u32)>, Vec<EntryKey>) {
    let index = Index::in_memory().unwrap();
    uncut(bench.repo(), &index);
    let content = content(&index);
    assert!(content.0.len() > PACKS && content.1.len() > 3 * PACKS);
    content
}

#[test]
fn a_rebuild_that_is_cancelled_again_and_again_reads_nothing_twice() {
    let (bench, at) = many_packs();
    let (dir, expected) = (tempfile::tempdir().unwrap(), whole(&bench));
    let footers = AtomicU64::new(0);
    let mut runs = 0;
    loop {
        runs += 1;
        let cancel = AtomicBool::new(false);
        // After the first transaction of each run.
        let progress = |_: Progress| cancel.store(true, Ordering::Relaxed);
        let index = Index::open(dir.path(), &bench.repo().config().repository).unwrap();
        let before = index.packs().unwrap().len() as u64;
        let ended = run(bench.repo(), &index, &cancel, &progress);
        footers.fetch_add(index.packs().unwrap().len() as u64 - before, Ordering::Relaxed);
        match ended {
            Err(Error::Interrupted) if content(&index) != expected => {
                assert!(index.packs().unwrap().len() as u64 > before)
            }
            Err(Error::Interrupted) | Ok(_) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(runs >= 3, "{runs} runs");
    assert_eq!(footers.load(Ordering::Relaxed), expected.0.len() as u64);
    let index = Index::open(dir.path(), &bench.repo().config().repository).unwrap();
    let last = uncut(bench.repo(), &index);
    assert_eq!((last.added, last.removed), (0, 0));
    assert_eq!(content(&index), expected);
    assert!(bench.restore(at).unwrap() == disk(1, 10));
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What a killed process leaves: the files of the index as they are after each transaction, its log not written back.
#[test]
fn a_rebuild_that_was_killed_is_gone_on_with() {
    let (bench, _) = many_packs();
    let (dir, expected) = (tempfile::tempdir().unwrap(), whole(&bench));
    let left = Mutex::new(Vec::new());
    let index = Index::open(dir.path(), &bench.repo().config().repository).unwrap();
    let progress = |_: Progress| {
        let corpse = tempfile::tempdir().unwrap();
        copy(dir.path(), corpse.path());
        left.lock().unwrap().push(corpse);
    };
    run(bench.repo(), &index, &AtomicBool::new(false), &progress).unwrap();
    let left = left.into_inner().unwrap();
    assert!(left.len() >= 3);
    for (step, corpse) in left.iter().enumerate() {
        let index = Index::open(corpse.path(), &bench.repo().config().repository).unwrap();
        let known = index.packs().unwrap().len();
        assert!(known >= (step * 64).min(expected.0.len()), "step {step}: {known}");
        let done = uncut(bench.repo(), &index);
        assert_eq!(usize::try_from(done.added).unwrap() + known, expected.0.len(), "step {step}");
        assert_eq!(content(&index), expected, "step {step}");
    }
}

#[test]
fn a_rebuild_on_a_failing_disk_says_so_and_is_gone_on_with() {
    let (bench, _) = many_packs();
    let expected = whole(&bench);
    let reads_left = Arc::new(AtomicI64::new(i64::MAX));
    let left = reads_left.clone();
    let store = Watched::new(bench.store(), move |key, _, _| match left.fetch_sub(1, Ordering::SeqCst) {
        ..=0 => Err(Error::Store { key: key.into(), source: io::Error::from_raw_os_error(5) }),
        _ => Ok(()),
    });
    let failing = bench.through(&bench.fs, store, bench.passphrase()).unwrap();
    for reads in [0, 1, 50, 200, 290] {
        let index = Index::in_memory().unwrap();
        reads_left.store(reads, Ordering::SeqCst);
        let ended = run(failing.repo(), &index, &AtomicBool::new(false), &|_| {});
        assert!(matches!(ended, Err(Error::Store { .. })), "{reads} reads");
        assert!(index.packs().unwrap().len() < expected.0.len());
        reads_left.store(i64::MAX, Ordering::SeqCst);
        uncut(failing.repo(), &index);
        assert_eq!(content(&index), expected, "{reads} reads");
    }
}

/// Packs that prune deleted and sessions added while nothing was looking.
#[test]
fn a_rebuild_that_is_gone_on_with_follows_what_changed_meanwhile() {
    let (bench, _) = many_packs();
    let index = Index::in_memory().unwrap();
    let cancel = AtomicBool::new(false);
    let ended = run(bench.repo(), &index, &cancel, &|_| cancel.store(true, Ordering::Relaxed));
    assert!(matches!(ended, Err(Error::Interrupted)));
    let known = index.packs().unwrap().into_iter().find(|pack| pack.kind == PackKind::Data && pack.entry_count == 3);
    bench.store().delete(&PackKind::Data.key(&known.unwrap().id)).unwrap();
    bench.backup("other", &disk(9, 10), None).unwrap();
    let done = uncut(bench.repo(), &index);
    assert_eq!(done.removed, 1);
    assert_eq!(content(&index), whole(&bench));
}
