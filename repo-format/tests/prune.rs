//! Prune gives back what nothing needs, in two runs with the grace between them, and nothing else.

use crate::support::watched::Watched;
use crate::support::{Bench, DAY, disk};
use jiff::SignedDuration;
use repo_format::forget::{tombstones, undo};
use repo_format::manifest::PointKey;
use repo_format::prune::{Outcome, Step};
use repo_format::repository::Access;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn run(bench: &Bench, dry_run: bool) -> Outcome {
    bench.prune(dry_run).unwrap()
}

fn forget_now(bench: &Bench, at: &PointKey) {
    bench.forget(at).unwrap();
}

fn prune_twice(bench: &Bench) -> (Outcome, Outcome) {
    bench.pass_time(DAY * 2);
    let first = run(bench, false);
    bench.pass_time(DAY * 2);
    (first, run(bench, false))
}

#[test]
fn a_repository_without_waste_stays_as_it_is() {
    let bench = Bench::new();
    let content = disk(1, 60);
    let at = bench.backup("vm", &content, None).unwrap();
    let before = bench.fs.files();
    let (first, second) = prune_twice(&bench);
    assert_eq!((first.packs_condemned, second.packs_deleted), (0, 0));
    assert_eq!(bench.fs.files(), before);
    assert_eq!(bench.restore(at).unwrap(), content);
}

#[test]
fn a_forgotten_point_gives_back_its_space_after_the_grace_and_leaves_the_others() {
    let bench = Bench::new();
    let (first, second) = (disk(1, 60), disk(2, 60));
    let old = bench.backup("vm", &first, None).unwrap();
    let new = bench.backup("vm", &second, None).unwrap();
    let full = bench.data_bytes();
    forget_now(&bench, &old);
    assert!(run(&bench, false).points_deleted.is_empty(), "the undo time is not over");
    bench.pass_time(DAY * 2);
    let planned = run(&bench, true);
    let condemning = run(&bench, false);
    assert_eq!(condemning.points_deleted, [old.manifest]);
    assert_eq!(planned.points_deleted, condemning.points_deleted);
    assert!(condemning.packs_condemned >= 1 && condemning.packs_deleted == 0);
    assert!(run(&bench, false).packs_deleted == 0, "the grace is not over");
    bench.pass_time(DAY * 2);
    assert!(run(&bench, false).bytes_freed > full / 3);
    assert!(bench.data_bytes() < full * 2 / 3);
    assert_eq!(bench.with_new_index().restore(new).unwrap(), second);
    assert!(bench.restore(old).is_err());
}

#[test]
fn partly_dead_packs_are_repacked_and_the_survivor_restores() {
    let bench = Bench::new();
    let first = disk(1, 60);
    let mut second = first.clone();
    second[..40 * 65536].copy_from_slice(&disk(2, 41)[..40 * 65536]);
    let old = bench.backup("vm", &first, None).unwrap();
    let new = bench.backup("vm", &second, None).unwrap();
    forget_now(&bench, &old);
    let (condemning, deleting) = prune_twice(&bench);
    assert!(condemning.packs_repacked >= 1 && condemning.bytes_rewritten > 0);
    assert!(deleting.packs_deleted >= 1);
    assert_eq!(bench.with_new_index().restore(new).unwrap(), second);
    let next = bench.backup("vm", &second, Some(&[])).unwrap();
    assert_eq!(bench.restore(next).unwrap(), second);
}

/// Chunks that compress, each different: neighbours share frames.
fn texts(seed: u32, chunks: u32) -> Vec<u8> {
    let chunk =
        |number: u32| (0..65536_u32).flat_map(move |i| (i * (i ^ number) % 977).to_string().into_bytes()).take(65536);
    (seed..seed + chunks).flat_map(chunk).collect()
}

#[test]
fn frames_with_dead_entries_anywhere_are_repacked_and_the_survivors_restore() {
    for (seed, is_dead) in
        [|at: u32| at % 3 != 1, |at: u32| at % 8 > 1, |at: u32| at % 8 < 6, |at: u32| at.count_ones() != 2]
            .into_iter()
            .enumerate()
    {
        let bench = Bench::seeded(seed as u64);
        let (first, other) = (texts(0, 40), texts(100, 40));
        let mut second = first.clone();
        for at in (0..40_u32).filter(|at| is_dead(*at)) {
            let chunk = at as usize * 65536..(at as usize + 1) * 65536;
            second[chunk.clone()].copy_from_slice(&other[chunk]);
        }
        let old = bench.backup("vm", &first, None).unwrap();
        let new = bench.backup("vm", &second, None).unwrap();
        forget_now(&bench, &old);
        let (condemning, deleting) = prune_twice(&bench);
        assert!(condemning.packs_repacked >= 1 && deleting.packs_deleted >= 1, "{seed}");
        assert_eq!(bench.with_new_index().restore(new).unwrap(), second, "{seed}");
    }
}

#[test]
fn what_is_repacked_is_compressed_at_the_level_asked_for() {
    let rewritten = [1, 12].map(|level| {
        let bench = Bench::new();
        let (first, other) = (texts(0, 40), texts(100, 40));
        let mut second = first.clone();
        for at in (0..40).step_by(3) {
            second[at * 65536..(at + 1) * 65536].copy_from_slice(&other[at * 65536..(at + 1) * 65536]);
        }
        let old = bench.backup("vm", &first, None).unwrap();
        let new = bench.backup("vm", &second, None).unwrap();
        forget_now(&bench, &old);
        bench.pass_time(DAY * 2);
        let outcome = bench.prune_at_level(level).unwrap();
        assert!(outcome.packs_repacked >= 1);
        assert_eq!(bench.with_new_index().restore(new).unwrap(), second);
        outcome.bytes_rewritten
    });
    assert!(rewritten[1] < rewritten[0], "{rewritten:?}");
}

#[test]
fn an_undo_in_time_brings_the_point_back() {
    let bench = Bench::new();
    let content = disk(1, 30);
    let at = bench.backup("vm", &content, None).unwrap();
    bench.backup("vm", &disk(2, 30), None).unwrap();
    forget_now(&bench, &at);
    run(&bench, false);
    let (_, stone) = tombstones(bench.repo()).unwrap().remove(0);
    undo(bench.repo(), &stone, bench.now()).unwrap();
    prune_twice(&bench);
    assert_eq!(bench.restore(at).unwrap(), content);
}

#[test]
fn an_undo_after_the_deletion_says_so() {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 30), None).unwrap();
    forget_now(&bench, &at);
    bench.pass_time(DAY * 2);
    run(&bench, false);
    let (exists, stone) = tombstones(bench.repo()).unwrap().remove(0);
    assert!(!exists);
    assert!(undo(bench.repo(), &stone, bench.now()).is_err());
}

#[test]
fn what_a_running_session_stored_and_relied_on_survives_two_prunes() {
    let bench = Bench::new();
    let content = disk(1, 40);
    let other = disk(7, 20);
    let old = bench.backup("old", &content, None).unwrap();
    // The session begins while the point lives, and finds its chunks known.
    let at = bench
        .backup_with("new", &[content.clone(), vec![0; 1000], other].concat(), None, &mut |bench| {
            forget_now(bench, &old);
            bench.pass_time(SignedDuration::from_mins(30));
            run(bench, false);
        })
        .unwrap();
    prune_twice(&bench);
    prune_twice(&bench);
    let restored = bench.with_new_index().restore(at).unwrap();
    assert_eq!(&restored[..content.len()], content);
}

#[test]
fn a_lapsed_session_is_refused_and_loses_nothing_of_others() {
    let bench = Bench::new();
    let content = disk(1, 40);
    let survivor = bench.backup("vm", &content, None).unwrap();
    let mut result = bench.backup_with("late", &disk(3, 40), None, &mut |bench| {
        bench.pass_time(DAY);
        run(bench, false);
    });
    assert!(matches!(result, Err(repo_format::Error::LeaseLost)), "{result:?}");
    prune_twice(&bench);
    assert_eq!(bench.with_new_index().restore(survivor).unwrap(), content);
    result = bench.backup("late", &disk(3, 40), None);
    assert_eq!(bench.restore(result.unwrap()).unwrap(), disk(3, 40));
}

#[test]
fn without_the_private_key_only_wholly_dead_packs_go() {
    let bench = Bench::new();
    let keys = bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let writer = bench.reopen(Access::Writer(Box::new(keys)));
    let first = disk(1, 60);
    let mut second = first.clone();
    second[..40 * 65536].copy_from_slice(&disk(2, 41)[..40 * 65536]);
    let old = writer.backup("vm", &first, None).unwrap();
    let new = writer.backup("vm", &second, None).unwrap();
    forget_now(&bench, &old);
    writer.pass_time(DAY * 2);
    let outcome = run(&writer, false);
    assert_eq!(outcome.packs_repacked, 0);
    assert!(!outcome.left.is_empty());
    prune_twice(&writer);
    assert_eq!(bench.with_new_index().restore(new).unwrap(), second);
    let at = bench.with_new_index().backup("foreign", &first, None).unwrap();
    assert!(writer.prune(false).is_err(), "another's trees cannot be marked");
    assert_eq!(bench.with_new_index().restore(at).unwrap(), first);
}

#[test]
fn a_missing_chunk_stops_prune_before_it_deletes() {
    let bench = Bench::new();
    let old = bench.backup("vm", &disk(1, 30), None).unwrap();
    let before = bench.store().keys("data/").unwrap();
    bench.backup("vm", &disk(2, 30), None).unwrap();
    forget_now(&bench, &old);
    bench.pass_time(DAY * 2);
    let lost = bench.store().keys("data/").unwrap().into_iter().find(|key| !before.contains(key)).unwrap();
    bench.store().delete(&lost).unwrap();
    assert!(matches!(bench.prune(false), Err(repo_format::Error::Missing { .. })));
    assert_eq!(bench.store().keys("data/").unwrap(), before);
}

/// A prune that stood still for longer than its lease went on deleting by an old mark, beside the run that had taken over.
#[test]
fn a_prune_whose_lease_was_revoked_deletes_nothing_more() {
    let bench = Bench::new();
    let old = bench.backup("vm", &disk(1, 30), None).unwrap();
    bench.backup("vm", &disk(2, 30), None).unwrap();
    forget_now(&bench, &old);
    bench.pass_time(DAY * 2);
    run(&bench, false);
    bench.pass_time(DAY * 2);
    let before = bench.store().keys("data/").unwrap();
    let revoke = |_: Step| {
        for lease in bench.store().keys("leases/").unwrap() {
            bench.store().delete(&lease).unwrap();
        }
    };
    let result = bench.prune_by(false, (&|| bench.now(), &revoke));
    assert!(matches!(result, Err(repo_format::Error::LeaseLost)), "{result:?}");
    assert_eq!(bench.store().keys("data/").unwrap(), before);
    assert!(run(&bench, false).packs_deleted > 0);
}

/// A point was taken back and forgotten anew while a prune worked through its list: the new tombstone promised its undo time, and the prune
/// deleted the manifest by the old one.
#[test]
fn a_point_that_was_forgotten_anew_has_its_undo_time() {
    let bench = Bench::new();
    let points = [1, 2].map(|seed| bench.backup("vm", &disk(seed, 10), None).unwrap());
    bench.backup("vm", &disk(3, 10), None).unwrap();
    points.iter().for_each(|at| forget_now(&bench, at));
    bench.pass_time(DAY * 2);
    let beside = bench.with_new_index();
    let (looks, taken) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
    let hand = taken.clone();
    let store = Watched::new(bench.store(), move |key, _, _| {
        // Two looks list the two tombstones; the third is at the first of them, just before its manifest goes.
        if let Some(first) = key.strip_prefix("tombstones/").filter(|_| looks.fetch_add(1, Ordering::SeqCst) >= 2) {
            let stones = tombstones(beside.repo()).unwrap();
            let mut taken = hand.lock().unwrap();
            if let Some((_, stone)) = stones.into_iter().find(|(_, stone)| stone.manifest.to_string() != first)
                && taken.is_none()
            {
                undo(beside.repo(), &stone, beside.now()).unwrap();
                let at = PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest };
                beside.forget(&at).unwrap();
                *taken = Some(at);
            }
        }
        Ok(())
    });
    bench.through(&bench.fs, store, bench.passphrase()).unwrap().prune(false).unwrap();
    let kept = taken.lock().unwrap().expect("it was taken back and forgotten anew");
    assert!(bench.store().exists(&kept.key()).unwrap());
    let other = points.into_iter().find(|at| *at != kept).unwrap();
    assert!(!bench.store().exists(&other.key()).unwrap());
}

/// Another process removed packs from the shared index and entered them again, under other numbers, while a prune worked. What was marked by
/// the old numbers counted as dead.
#[test]
fn packs_that_get_another_number_in_the_index_stay_alive() {
    let bench = Bench::new();
    let old = bench.backup("vm", &disk(1, 30), None).unwrap();
    let new = bench.backup("vm", &disk(2, 30), None).unwrap();
    forget_now(&bench, &old);
    bench.pass_time(DAY * 2);
    run(&bench, false);
    bench.pass_time(DAY * 2);
    let renumber = |step: Step| {
        if !matches!(step, Step::Deleting(0, _)) {
            return;
        }
        let (repo, packs) = (bench.repo(), bench.index.packs().unwrap());
        bench.index.remove(&packs.iter().map(|pack| pack.number).collect::<Vec<_>>()).unwrap();
        for pack in packs.into_iter().rev() {
            let config = &repo.config().repository;
            let info = repo_format::pack::load(repo.store(), pack.kind, &pack.id, config, repo.signers()).unwrap();
            bench.index.insert(&[(pack.id, &info)]).unwrap();
        }
    };
    let outcome = bench.prune_by(false, (&|| bench.now(), &renumber)).unwrap();
    assert_eq!((outcome.packs_condemned, outcome.packs_repacked), (0, 0), "{outcome:?}");
    prune_twice(&bench);
    assert!(bench.with_new_index().restore(new).unwrap() == disk(2, 30));
}
