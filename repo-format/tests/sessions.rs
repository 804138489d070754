//! Sessions beside garbage collection and beside each other: whatever order things happen in, a point that was committed
//! restores, and a session that lost what it relied on is refused.

use crate::support::{Bench, CHUNK, DAY, disk};
use jiff::SignedDuration;
use repo_format::check::prove_point;
use repo_format::codec::Kind;
use repo_format::condemned::{self, PackRef};
use repo_format::error::Error;
use repo_format::index::Index;
use repo_format::manifest::PointKey;
use repo_format::pack::{PackBuilder, PackKind};
use repo_format::reader::Reader;
use repo_format::reconcile::{self, reconcile};
use repo_format::repository::Access;
use std::sync::atomic::AtomicBool;

fn assert_restores(bench: &Bench, at: PointKey, image: &[u8]) {
    let fresh = bench.with_new_index();
    prove_point(&Reader::new(fresh.repo(), &fresh.index), at).unwrap();
    assert!(fresh.restore(at).unwrap() == image);
}

fn prune_until_nothing_is_left_to_do(bench: &Bench) {
    for _ in 0..3 {
        bench.pass_time(DAY * 2);
        bench.prune(false).unwrap();
    }
}

#[test]
fn a_session_whose_lease_was_revoked_commits_nothing() {
    let bench = Bench::new();
    let image = disk(1, 6);
    let result = bench.backup_with("vm", &image, None, &mut |bench| {
        bench.pass_time(SignedDuration::from_hours(2));
        assert_eq!(bench.prune(false).unwrap().leases_revoked, 1);
    });
    assert!(matches!(result, Err(Error::LeaseLost)), "{result:?}");
    assert!(bench.repo().points().unwrap().is_empty());
    let at = bench.backup("vm", &image, None).unwrap();
    assert_restores(&bench, at, &image);
}

#[test]
fn a_lapsed_lease_that_nobody_revoked_still_commits() {
    let bench = Bench::new();
    let image = disk(1, 6);
    let late = &mut |bench: &Bench| bench.pass_time(DAY * 3);
    let at = bench.backup_with("vm", &image, None, late).unwrap();
    assert_restores(&bench, at, &image);
}

/// The session found chunks of a point that was forgotten, deleted and condemned while it ran.
#[test]
fn a_hit_that_is_condemned_later_is_rescued() {
    let bench = Bench::new();
    let image = disk(1, 6);
    let old = bench.backup("old", &image, None).unwrap();
    bench.forget(&old).unwrap();
    bench.pass_time(DAY * 2);
    let at = bench
        .backup_with("new", &image, None, &mut |bench| {
            // Another machine's index and eyes; condemned by hand, since prune leaves a busy writer's packs alone.
            let other = bench.reopen(bench.passphrase());
            let packs = other.store().keys("data/").unwrap();
            let packs = packs.iter().filter_map(|key| PackKind::Data.parse_key(key));
            let packs = packs.map(|pack| PackRef { kind: PackKind::Data, pack }).collect();
            let run = condemned::condemn(other.repo(), packs, other.now()).unwrap();
            condemned::record_leases(other.repo(), run, Vec::new()).unwrap();
        })
        .unwrap();
    assert_eq!(condemned::rescues(bench.repo()).unwrap().len(), 1);
    prune_until_nothing_is_left_to_do(&bench);
    assert_restores(&bench, at, &image);
}

/// Nothing that was condemned before a session began counts as known to it.
#[test]
fn what_is_condemned_is_stored_again() {
    let bench = Bench::new();
    let image = disk(1, 6);
    let old = bench.backup("old", &image, None).unwrap();
    bench.forget(&old).unwrap();
    bench.pass_time(DAY * 2);
    assert!(bench.prune(false).unwrap().packs_condemned > 0);
    let at = bench.backup("new", &image, None).unwrap();
    prune_until_nothing_is_left_to_do(&bench);
    assert_restores(&bench, at, &image);
}

/// Path copying uses subtrees of the parent without asking whether they are known; the lease pins them.
#[test]
fn a_parent_that_is_forgotten_and_pruned_meanwhile_keeps_its_subtrees() {
    let bench = Bench::new();
    let image = disk(1, 300);
    let parent = bench.backup("vm", &image, None).unwrap();
    let mut next = image.clone();
    next[5 * CHUNK] ^= 1;
    let at = bench
        .backup_with("vm", &next, Some(&[5]), &mut |bench| {
            let other = bench.reopen(bench.passphrase());
            repo_format::forget::forget(other.repo(), &parent, "test", other.now(), SignedDuration::ZERO).unwrap();
            other.pass_time(SignedDuration::from_mins(30));
            assert_eq!(other.prune(false).unwrap().points_deleted, [parent.manifest]);
        })
        .unwrap();
    prune_until_nothing_is_left_to_do(&bench);
    assert_restores(&bench, at, &next);
}

#[test]
fn a_parent_that_was_forgotten_is_not_begun_with() {
    let bench = Bench::new();
    let image = disk(1, 6);
    let parent = bench.backup("vm", &image, None).unwrap();
    bench.forget(&parent).unwrap();
    let at = bench.backup("vm", &image, Some(&[])).unwrap();
    assert_eq!(bench.repo().open_point(at).unwrap().1.parent, None);
    assert_restores(&bench, at, &image);
}

#[test]
fn an_index_that_is_emptied_in_the_middle_of_a_session_loses_nothing() {
    let bench = Bench::new();
    let (first, second) = (disk(1, 8), disk(2, 8));
    let old = bench.backup("vm", &first, None).unwrap();
    let both = [&first[..4 * CHUNK], &second].concat();
    let empty = |bench: &Bench| {
        let packs = bench.index.packs().unwrap();
        bench.index.remove(&packs.iter().map(|pack| pack.number).collect::<Vec<_>>()).unwrap();
    };
    let at = bench.backup_with("vm", &both, None, &mut |bench| empty(bench)).unwrap();
    assert_restores(&bench, old, &first);
    assert_restores(&bench, at, &both);
    empty(&bench);
    let again = bench.backup("vm", &both, None).unwrap();
    assert_restores(&bench, again, &both);
}

/// An index file in a real directory, deleted between two sessions and cut off while it is built again.
#[test]
fn an_index_build_that_was_stopped_goes_on_and_finds_the_same() {
    let bench = Bench::new();
    for seed in 0..4 {
        bench.backup("vm", &disk(seed, 3), None).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let id = bench.repo().config().repository;
    let build = |cancel: bool| {
        let index = Index::open(dir.path(), &id).unwrap();
        let options = reconcile::Options { threads: 1, progress: &|_| {}, cancel: &AtomicBool::new(cancel) };
        (reconcile(bench.repo().records(), &index, &options), index)
    };
    assert!(matches!(build(true).0, Err(Error::Interrupted)));
    let (found, index) = build(false);
    found.unwrap();
    assert_eq!(index.entry_count().unwrap(), bench.index.entry_count().unwrap());
    drop(index);
    Index::delete(dir.path(), &id).unwrap();
    assert_eq!(build(false).1.entry_count().unwrap(), bench.index.entry_count().unwrap());
    std::fs::write(dir.path().join(format!("{id}.sqlite")), b"this is no database, and long enough to be read as one")
        .unwrap();
    assert_eq!(build(false).1.entry_count().unwrap(), bench.index.entry_count().unwrap());
}

#[test]
fn two_sessions_of_one_name_both_commit_and_have_an_order() {
    let bench = Bench::new();
    let (first, second) = (disk(1, 6), disk(2, 6));
    let mut inner = None;
    let outer = bench
        .backup_with("vm", &first, None, &mut |bench| {
            let other = bench.reopen(bench.passphrase());
            inner = Some(other.backup("vm", &second, None).unwrap());
        })
        .unwrap();
    let inner = inner.unwrap();
    assert_eq!((inner.sequence, outer.sequence), (1, 2));
    assert_eq!(bench.repo().load(outer).unwrap().previous, Some(inner.manifest));
    assert_eq!(bench.repo().latest_of("vm").unwrap().unwrap().0.at, outer);
    assert_restores(&bench, inner, &second);
    assert_restores(&bench, outer, &first);
}

#[test]
fn many_threads_that_back_up_the_same_name_all_commit() {
    let bench = Bench::new();
    let made: Vec<_> = std::thread::scope(|scope| {
        let run = |seed| {
            let own = bench.reopen(bench.passphrase());
            move || (own.backup("vm", &disk(seed, 4), None).unwrap(), disk(seed, 4))
        };
        let threads: Vec<_> = (0..6).map(|seed| scope.spawn(run(seed / 2))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut points = bench.repo().points().unwrap();
    points.dedup();
    assert_eq!(points.len(), 6);
    made.iter().for_each(|(at, image)| assert_restores(&bench, *at, image));
}

/// A pack of `writer` that says it holds `image`'s first chunk and holds something else.
fn poison(writer: &Bench, image: &[u8]) {
    let repo = writer.repo();
    let (config, keys) = (repo.config(), repo.keys().writer());
    let by = (keys.writer, keys.writer);
    let entropy = repo.entropy();
    let mut pack = PackBuilder::data(config.repository, by, &keys.public, config.chunk_bytes, entropy).unwrap();
    let id = keys.ids.chunk(&image[..CHUNK]);
    pack.add(id.into(), Kind::Raw, u32::try_from(CHUNK).unwrap(), &[0xEE; CHUNK]).unwrap();
    let pack = pack.finish(repo.signer());
    repo.store().put(&PackKind::Data.key(&pack.id), &pack.bytes).unwrap();
}

#[test]
fn garbage_of_another_writer_under_a_true_id_is_not_used() {
    let bench = Bench::new();
    let evil = bench.repo().create_writer("evil", None, bench.now()).unwrap();
    let image = disk(1, 4);
    poison(&bench.reopen(Access::Writer(Box::new(evil))), &image);
    let victim = bench.with_new_index();
    let at = victim.backup("vm", &image, None).unwrap();
    assert_restores(&bench, at, &image);
    prune_until_nothing_is_left_to_do(&bench.with_new_index());
    assert_restores(&bench, at, &image);
}

/// Within a trust group it is used; that is what a trust group means, and the restore says what is damaged.
#[test]
fn garbage_within_a_trust_group_is_found_by_the_restore() {
    let bench = Bench::new();
    let group = || Some("group".into());
    let evil = bench.repo().create_writer("evil", group(), bench.now()).unwrap();
    let good = bench.repo().create_writer("good", group(), bench.now()).unwrap();
    let image = disk(1, 4);
    let evil = bench.reopen(Access::Writer(Box::new(evil)));
    poison(&evil, &image);
    let victim = bench.reopen(Access::Writer(Box::new(good)));
    let at = victim.backup("vm", &image, None).unwrap();
    let error = bench.with_new_index().restore(at).unwrap_err();
    assert!(error.is_damage(), "{error}");
    // Another copy heals it.
    let healthy = bench.with_new_index().backup("other", &image, None).unwrap();
    assert_restores(&bench, healthy, &image);
    assert!(bench.with_new_index().restore(at).unwrap() == image);
}

#[test]
fn a_revoked_writer_begins_no_session_and_its_points_stay() {
    let bench = Bench::new();
    let keys = bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let writer = keys.writer;
    let laptop = bench.reopen(Access::Writer(Box::new(keys.clone())));
    let image = disk(1, 4);
    let at = laptop.backup("laptop", &image, None).unwrap();
    bench.repo().revoke_writer(&writer, bench.now()).unwrap();
    let laptop = bench.reopen(Access::Writer(Box::new(keys)));
    assert!(matches!(laptop.backup("laptop", &image, None), Err(Error::KeyNeeded(_))));
    assert_restores(&bench, at, &image);
}
