//! Prune beside machines that commit: a point may come between any two of its looks at the store.

use crate::support::watched::Watched;
use crate::support::{Bench, DAY, disk};
use repo_format::Error;
use repo_format::manifest::PointKey;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A repository with a forgotten point whose packs were condemned and may go, and a point that stays.
fn due() -> (Bench, PointKey) {
    let bench = Bench::new();
    let old = bench.backup("vm", &disk(1, 60), None).unwrap();
    let kept = bench.backup("vm", &disk(2, 60), None).unwrap();
    bench.forget(&old).unwrap();
    bench.pass_time(DAY * 2);
    assert!(bench.prune(false).unwrap().packs_condemned > 0);
    bench.pass_time(DAY * 2);
    (bench, kept)
}

/// Prunes through a store in which `beside` commits a new point before each listing of the points for which `comes` says so. Returns what
/// came of it, and the points.
fn prune_beside(
    bench: &Bench,
    dry_run: bool,
    comes: impl Fn() -> bool + Send + Sync + 'static,
) -> (repo_format::Result<repo_format::prune::Outcome>, Vec<(PointKey, u64)>) {
    let beside = bench.with_new_index();
    let (is_on, points, seed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())), AtomicU64::new(100));
    let (is_asked, hand) = (is_on.clone(), points.clone());
    let store = Watched::listed(bench.store(), move |prefix| {
        if prefix == "manifests/" && is_asked.load(Ordering::SeqCst) && comes() {
            let seed = seed.fetch_add(1, Ordering::SeqCst);
            let at = beside.backup(&format!("other-{seed}"), &disk(seed, 20), None).unwrap();
            hand.lock().unwrap().push((at, seed));
        }
    });
    let through = bench.through(&bench.fs, store, bench.passphrase()).unwrap();
    is_on.store(true, Ordering::SeqCst);
    let outcome = through.prune(dry_run);
    let points = std::mem::take(&mut *points.lock().unwrap());
    (outcome, points)
}

fn first_only() -> impl Fn() -> bool {
    let was = AtomicBool::new(false);
    move || !was.swap(true, Ordering::SeqCst)
}

/// Prune brought its index up to date, a machine committed, prune listed the points and found one with a tree in no pack that it knew: it
/// ended with "tree node … is missing from the repository", and whoever read that thought that something was lost.
#[test]
fn a_point_that_comes_after_the_packs_were_listed_does_not_stop_prune_and_is_kept() {
    let (bench, kept) = due();
    let (outcome, came) = prune_beside(&bench, false, first_only());
    assert!(outcome.unwrap().packs_deleted > 0);
    let [(at, seed)] = came[..] else { panic!("{came:?}") };
    let after = bench.with_new_index();
    assert!(after.restore(at).unwrap() == disk(seed, 20));
    assert!(after.restore(kept).unwrap() == disk(2, 60));
}

#[test]
fn a_point_that_comes_while_a_run_only_counts_does_not_stop_it() {
    let (bench, _) = due();
    let (outcome, came) = prune_beside(&bench, true, first_only());
    assert!(outcome.unwrap().packs_deleted > 0);
    assert_eq!(came.len(), 1);
}

#[test]
fn points_that_never_stop_coming_end_prune_before_it_deletes_anything() {
    let (bench, kept) = due();
    let before = bench.store().keys("data/").unwrap();
    let (outcome, came) = prune_beside(&bench, false, || true);
    assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
    let after = bench.store().keys("data/").unwrap();
    assert!(before.iter().all(|key| after.contains(key)));
    let fresh = bench.with_new_index();
    assert!(came.into_iter().all(|(at, seed)| fresh.restore(at).unwrap() == disk(seed, 20)));
    assert!(fresh.restore(kept).unwrap() == disk(2, 60));
}
