//! The operations whose every cut is replayed, and how many cuts that makes.

use super::{Cuts, Expected, Verdict, durable_at, judge, replay};
use crate::support::{Bench, DAY, ROOT, disk, init_repository, open_store};
use repo_format::error::Error;
use repo_format::forget;
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use repo_format::store::sim::SimFs;
use std::path::Path;

/// Least cuts, and least different outcomes of them, of each scenario.
#[derive(Debug, Clone, Copy)]
struct Least {
    all: usize,
    distinct: usize,
}

const INIT: Least = Least { all: 400, distinct: 10 };
const FULL: Least = Least { all: 1_200, distinct: 50 };
const INCREMENTAL: Least = Least { all: 1_300, distinct: 90 };
const FORGET: Least = Least { all: 200, distinct: 2 };
const UNDO: Least = Least { all: 300, distinct: 5 };
const TWO_SESSIONS: Least = Least { all: 2_000, distinct: 150 };
const RESUMED: Least = Least { all: 900, distinct: 30 };
const PRUNE: Least = Least { all: 1_000, distinct: 50 };
const DELETE: Least = Least { all: 500, distinct: 20 };
const _: () = assert!(
    INIT.all + FULL.all + INCREMENTAL.all + FORGET.all + UNDO.all + TWO_SESSIONS.all + RESUMED.all > 5_000
        && PRUNE.all + DELETE.all >= 1_500
);

fn enough(cuts: Cuts, least: Least) {
    assert!(cuts.all >= least.all && cuts.distinct >= least.distinct, "{cuts:?} of {least:?}");
}

/// Points of the live run, as they came to be.
struct Made(Vec<(PointKey, Vec<u8>)>);

/// Prepares a repository, records an operation on it, replays every cut of it.
fn survives(
    least: Least,
    prepare: impl Fn(&Bench) -> Vec<(PointKey, Vec<u8>)>,
    operation: impl Fn(&Bench, &[(PointKey, Vec<u8>)]) -> Made,
) {
    let bench = Bench::new();
    let before = prepare(&bench);
    let start = bench.fs.fork();
    let live = bench.try_on(&start.fork(), bench.passphrase()).unwrap();
    let made = operation(&live, &before);
    let mut expected = Expected::default();
    for (at, image) in &before {
        expected.images.insert(at.manifest, image.clone());
        if live.repo().points().unwrap().contains(at) {
            expected.committed.push((*at, 0));
        }
    }
    made.0.iter().for_each(|(at, image)| expected.add(*at, image, durable_at(&live.fs, at)));
    let cuts = replay((&live.fs, &start), &|after, operations| judge(&bench, after, operations, &expected)).unwrap();
    enough(cuts, least);
}

fn one_point(bench: &Bench) -> Vec<(PointKey, Vec<u8>)> {
    let image = disk(1, 8);
    vec![(bench.backup("vm", &image, None).unwrap(), image)]
}

/// The image of a day later: one chunk differs, one became a hole.
fn next_day(image: &[u8]) -> Vec<u8> {
    let mut next = image.to_vec();
    next[2 * 65536 + 9] ^= 1;
    next[5 * 65536..6 * 65536].fill(0);
    next
}

#[test]
fn a_cut_init_leaves_no_repository_or_a_whole_one() {
    let bench = Bench::new();
    let fs = SimFs::new(Path::new(ROOT));
    let start = fs.fork();
    init_repository(open_store(&fs, &bench.names()), bench.entropy()).unwrap();
    let done = fs.journal_len();
    let judge = |after: &SimFs, operations: usize| -> Verdict {
        let store = open_store(after, &bench.names());
        match Repository::open(store.clone(), bench.passphrase(), bench.entropy()) {
            Err(Error::NoRepository) if operations < done => {
                init_repository(store, bench.entropy()).map_err(|e| format!("init cannot be run again: {e}"))?;
            }
            Err(error) => return Err(format!("neither none nor whole: {error}")),
            Ok(_) => {}
        }
        super::judge(&bench, after, operations, &Expected::default())
    };
    let cuts = replay((&fs, &start), &judge).unwrap();
    enough(cuts, INIT);
}

#[test]
fn a_full_backup_survives_every_cut() {
    survives(
        FULL,
        |bench| {
            let other = disk(9, 4);
            vec![(bench.backup("other", &other, None).unwrap(), other)]
        },
        |live, _| Made(one_point(live)),
    );
}

#[test]
fn an_incremental_backup_survives_every_cut() {
    survives(INCREMENTAL, one_point, |live, before| {
        let next = next_day(&before[0].1);
        Made(vec![(live.backup("vm", &next, Some(&[2, 5])).unwrap(), next)])
    });
}

#[test]
fn forgetting_survives_every_cut() {
    survives(FORGET, one_point, |live, before| {
        forget::forget(live.repo(), &before[0].0, "test", live.now(), forget::UNDO_TIME).unwrap();
        Made(Vec::new())
    });
}

#[test]
fn taking_back_survives_every_cut() {
    let prepare = |bench: &Bench| {
        let points = one_point(bench);
        forget::forget(bench.repo(), &points[0].0, "test", bench.now(), forget::UNDO_TIME).unwrap();
        points
    };
    survives(UNDO, prepare, |live, _| {
        let (_, stone) = forget::tombstones(live.repo()).unwrap().remove(0);
        forget::undo(live.repo(), &stone, live.now()).unwrap();
        Made(Vec::new())
    });
}

#[test]
fn two_sessions_at_once_survive_every_cut() {
    survives(TWO_SESSIONS, one_point, |live, before| {
        let (next, other) = (next_day(&before[0].1), disk(5, 6));
        let mut made = Vec::new();
        let at = live
            .backup_with("vm", &next, Some(&[2, 5]), &mut |live| {
                let meanwhile = live.reopen(live.passphrase());
                made.push((meanwhile.backup("other", &other, None).unwrap(), other.clone()));
            })
            .unwrap();
        made.push((at, next));
        Made(made)
    });
}

#[test]
fn a_backup_over_what_a_cut_backup_left_survives_every_cut() {
    let prepare = |bench: &Bench| {
        let points = one_point(bench);
        let left = bench.backup_with("vm", &disk(3, 8), None, &mut |bench| {
            let full = repo_format::store::sim::Faults { fail_from: Some(0), errno: 28, ..Default::default() };
            bench.fs.set_faults(full);
        });
        assert!(left.is_err());
        bench.fs.set_faults(Default::default());
        points
    };
    survives(RESUMED, prepare, |live, _| {
        let image = disk(3, 8);
        Made(vec![(live.backup("vm", &image, None).unwrap(), image)])
    });
}

/// A point that prune may have, one that shares half of its chunks with it, and one that shares none.
fn waste(bench: &Bench) -> Vec<(PointKey, Vec<u8>)> {
    let old = disk(1, 12);
    let mut next = old.clone();
    next[..6 * 65536].copy_from_slice(&disk(2, 7)[..6 * 65536]);
    let points: Vec<_> = [("vm", old), ("vm", next), ("gone", disk(3, 5)), ("vm", disk(4, 6))]
        .into_iter()
        .map(|(name, image)| (bench.backup(name, &image, None).unwrap(), image))
        .collect();
    bench.forget(&points[0].0).unwrap();
    bench.forget(&points[2].0).unwrap();
    bench.pass_time(DAY * 2);
    points
}

#[test]
fn a_prune_that_condemns_and_repacks_survives_every_cut() {
    survives(PRUNE, waste, |live, _| {
        let outcome = live.prune(false).unwrap();
        assert!(outcome.packs_repacked > 0 && outcome.packs_condemned > 2 && outcome.points_deleted.len() == 2);
        Made(Vec::new())
    });
}

#[test]
fn a_prune_that_deletes_survives_every_cut() {
    let prepare = |bench: &Bench| {
        let points = waste(bench);
        bench.prune(false).unwrap();
        bench.pass_time(DAY * 2);
        points
    };
    survives(DELETE, prepare, |live, _| {
        assert!(live.prune(false).unwrap().packs_deleted > 2);
        Made(Vec::new())
    });
}
