//! Stories that are the same on every kind of store. What a repository promises does not depend on where it lies.

use crate::support::dying::Dying;
use crate::support::{Bench, CHUNK, DAY, disk};
use repo_format::check::Depth;
use repo_format::manifest::PointKey;
use repo_format::store::Store;
use std::sync::Arc;

type Points = Vec<(PointKey, Vec<u8>)>;

/// A test for each story; `$place` makes a store, and what has to live as long as it.
macro_rules! stories {
    ($place:expr) => {
        crate::stories::stories!($place =>
            what_is_backed_up_comes_back,
            the_same_content_is_stored_once,
            a_forgotten_point_gives_back_its_space_and_the_others_stay,
            writers_at_the_same_time_each_get_their_points,
            an_index_is_made_again_from_the_store,
            a_backup_that_dies_anywhere_leaves_every_earlier_point,
            a_prune_that_dies_anywhere_leaves_what_was_not_forgotten,
            an_exchanged_byte_is_found,
        );
    };
    ($place:expr => $($story:ident),* $(,)?) => {
        $(#[test]
        fn $story() {
            let (store, _alive) = $place;
            crate::stories::$story(store);
        })*
    };
}
pub(crate) use stories;

fn restores(bench: &Bench, points: &Points) {
    for (at, content) in points {
        assert!(bench.restore(*at).unwrap() == *content, "{at:?}");
    }
}

fn is_sound(bench: &Bench) {
    let report = bench.check(Depth::ReadAll, false);
    assert!(report.is_sound(), "{:#?}", report.findings);
}

pub fn what_is_backed_up_comes_back(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store, 1);
    let first = disk(1, 300);
    let at = bench.backup("vm", &first, None).unwrap();
    let mut second = first.clone();
    second[5 * CHUNK + 7] ^= 1;
    second[200 * CHUNK..201 * CHUNK].fill(0);
    let again = bench.backup("vm", &second, Some(&[5, 200])).unwrap();
    restores(&bench, &vec![(at, first), (again, second)]);
    is_sound(&bench);
}

pub fn the_same_content_is_stored_once(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store, 2);
    let content = disk(3, 100);
    bench.backup("a", &content, None).unwrap();
    let before = bench.data_bytes();
    bench.backup("b", &content, None).unwrap();
    assert_eq!(bench.data_bytes(), before);
}

/// Two points that share a part: the rest of the first is dead once it is forgotten.
fn with_waste(bench: &Bench) -> (PointKey, Points) {
    let first = disk(1, 60);
    let mut second = first.clone();
    second[..40 * CHUNK].copy_from_slice(&disk(2, 41)[..40 * CHUNK]);
    let old = bench.backup("vm", &first, None).unwrap();
    let new = bench.backup("vm", &second, None).unwrap();
    (old, vec![(new, second)])
}

pub fn a_forgotten_point_gives_back_its_space_and_the_others_stay(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store, 3);
    let (old, kept) = with_waste(&bench);
    let full = bench.data_bytes();
    bench.forget(&old).unwrap();
    bench.pass_time(DAY * 2);
    let condemning = bench.prune(false).unwrap();
    assert_eq!(condemning.points_deleted, [old.manifest]);
    assert!(condemning.packs_repacked >= 1 && condemning.packs_deleted == 0, "{condemning:?}");
    bench.pass_time(DAY * 2);
    assert!(bench.prune(false).unwrap().packs_deleted >= 1);
    assert!(bench.data_bytes() < full);
    assert!(bench.restore(old).is_err());
    let bench = bench.with_new_index();
    restores(&bench, &kept);
    is_sound(&bench);
}

pub fn writers_at_the_same_time_each_get_their_points(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store, 4);
    let common = disk(9, 30);
    let writers: Vec<Bench> = (0..3).map(|_| bench.reopen(bench.passphrase())).collect();
    let mut points: Points = std::thread::scope(|scope| {
        let threads = writers.iter().enumerate().map(|(number, writer)| {
            let common = &common;
            scope.spawn(move || {
                let mut content = common.clone();
                let mut points = Points::new();
                for round in 0..2 {
                    content[(number * 7 + round) * CHUNK] ^= 0xFF;
                    let at = writer.backup(&format!("vm{number}"), &content, None).unwrap();
                    points.push((at, content.clone()));
                }
                points
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let bench = bench.with_new_index();
    points.push((bench.backup("vm0", &common, None).unwrap(), common));
    assert_eq!(bench.repo().points().unwrap().len(), 7);
    restores(&bench, &points);
    is_sound(&bench);
}

pub fn an_index_is_made_again_from_the_store(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store, 5);
    let content = disk(2, 100);
    let at = bench.backup("vm", &content, None).unwrap();
    let again = bench.with_new_index();
    restores(&again, &vec![(at, content.clone())]);
    let before = again.data_bytes();
    again.backup("vm", &content, None).unwrap();
    assert_eq!(again.data_bytes(), before, "a new index knows what is stored");
}

pub fn a_backup_that_dies_anywhere_leaves_every_earlier_point(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store.clone(), 6);
    let content = disk(1, 8);
    let mut points = vec![(bench.backup("vm", &content, None).unwrap(), content)];
    for changes in 0.. {
        let content = disk(100 + changes as u64, 8);
        let dying = bench.through(&bench.fs, Dying::after(changes, store.clone()), bench.passphrase()).unwrap();
        let died = dying.backup("vm", &content, None).is_err();
        let next = bench.with_new_index();
        restores(&next, &points);
        // What was committed before the process died is a whole point, whatever the process was told.
        let known: Vec<PointKey> = points.iter().map(|(at, _)| *at).collect();
        let more = next.repo().points().unwrap().into_iter().filter(|at| !known.contains(at));
        points.extend(more.map(|at| (at, content.clone())));
        restores(&next, &points);
        if !died {
            assert!(changes > 4, "a backup is more than {changes} changes");
            break;
        }
    }
    bench.pass_time(DAY * 2);
    let next = bench.with_new_index();
    next.prune(false).unwrap();
    next.pass_time(DAY * 2);
    next.prune(false).unwrap();
    restores(&next, &points);
    is_sound(&next);
}

pub fn a_prune_that_dies_anywhere_leaves_what_was_not_forgotten(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store.clone(), 7);
    let (old, kept) = with_waste(&bench);
    bench.forget(&old).unwrap();
    let mut runs_to_the_end = 0;
    for changes in 0.. {
        bench.pass_time(DAY * 2);
        let dying = bench.through(&bench.fs, Dying::after(changes, store.clone()), bench.passphrase()).unwrap();
        runs_to_the_end += usize::from(dying.prune(false).is_ok());
        restores(&bench.with_new_index(), &kept);
        if runs_to_the_end == 3 {
            break;
        }
    }
    let bench = bench.with_new_index();
    is_sound(&bench);
    assert!(bench.restore(old).is_err());
}

pub fn an_exchanged_byte_is_found(store: Arc<dyn Store>) {
    let bench = Bench::in_store(store.clone(), 8);
    bench.backup("vm", &disk(1, 20), None).unwrap();
    let pack = store.keys("data/").unwrap().remove(0);
    let mut bytes = store.get(&pack).unwrap();
    bytes[1000] ^= 4;
    store.put(&pack, &bytes).unwrap();
    let report = bench.with_new_index().check(Depth::ReadAll, false);
    assert!(report.errors().any(|finding| finding.object == pack), "{:#?}", report.findings);
}
