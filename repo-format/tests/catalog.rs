//! Catalogs of files: who reads them, what prune takes, and what damage costs.

use crate::support::full::{catalogued, keys};
use crate::support::guarded::Guarded;
use crate::support::{Bench, DAY, disk};
use repo_format::catalog::leaf::MAX_LEAF_BYTES;
use repo_format::catalog::{self, Catalog};
use repo_format::check::Depth;
use repo_format::gate::{Grants, Party};
use repo_format::id::LeafId;
use repo_format::manifest::PointKey;
use repo_format::repository::Access;
use repo_format::store::Store;
use repo_format::{Error, Result};
use std::sync::Arc;

fn leaves(catalog: &Catalog) -> Vec<LeafId> {
    catalog::leaves_of(catalog).map(|place| place.leaf).collect()
}

fn paths(bench: &Bench, catalog: &Catalog) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for leaf in leaves(catalog) {
        catalog::read_leaf(bench.repo(), &leaf, &mut |path, _| paths.push(String::from_utf8(path.to_vec()).unwrap()))?;
    }
    Ok(paths)
}

fn two_points() -> (Bench, PointKey, PointKey) {
    let bench = Bench::new();
    let first = bench.backup("vm", &disk(1, 8), None).unwrap();
    let second = bench.backup("vm", &disk(1, 8), Some(&[])).unwrap();
    (bench, first, second)
}

fn is_there(bench: &Bench, at: &PointKey) -> bool {
    catalog::all(bench.repo()).unwrap().contains(&at.manifest)
}

#[test]
fn a_catalog_is_read_by_who_has_the_master_secret_and_by_nobody_else() {
    let (bench, first, second) = two_points();
    let stored = catalogued(&bench, &first, &["etc", "etc/hostname", "etc.old"]);
    assert_eq!(catalog::read(bench.repo(), &first.manifest).unwrap().unwrap(), stored);
    assert_eq!(paths(&bench, &stored).unwrap(), ["etc", "etc/hostname", "etc.old"]);
    assert_eq!(catalog::read(bench.repo(), &second.manifest).unwrap(), None);

    let keys = bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let writer = bench.reopen(Access::Writer(Box::new(keys.clone())));
    assert!(matches!(catalog::read(writer.repo(), &first.manifest), Err(Error::KeyNeeded(_))));
    assert!(matches!(paths(&writer, &stored), Err(Error::KeyNeeded(_))));
    assert!(writer.check(Depth::Structure, false).is_sound(), "without the key it is checked as far as that goes");
    // Behind a server a machine does not even see that there is one, and a person reads it with the passphrase.
    let machine = Guarded::new(&bench, Party::Writer(keys.writer));
    assert!(machine.keys("catalogs/").unwrap().is_empty() && machine.keys("leaves/").unwrap().is_empty());
    assert!(machine.keys("manifests/").is_ok() && !bench.store().keys("leaves/").unwrap().is_empty());
    let person = Guarded::new(&bench, Party::Person(Grants::default()));
    let person = bench.through(&bench.fs, Arc::new(person), bench.passphrase()).unwrap();
    assert_eq!(paths(&person, &stored).unwrap().len(), 3);
    assert!(catalog::put(person.repo(), &stored).is_err() && catalog::discard(person.repo(), &first.manifest).is_err());
}

#[test]
fn equal_leaves_are_stored_once_and_prune_leaves_those_that_a_point_still_needs() {
    let (bench, first, second) = two_points();
    let shared = catalogued(&bench, &first, &["etc/hostname"]);
    assert_eq!(leaves(&catalogued(&bench, &second, &["etc/hostname"])), leaves(&shared));
    assert_eq!(keys(&bench, "leaves/").len(), 1);
    let own = catalogued(&bench, &first, &["etc/hosts"]);
    bench.prune(false).unwrap();
    assert!(is_there(&bench, &first) && is_there(&bench, &second));
    assert_eq!(paths(&bench, &own).unwrap(), ["etc/hosts"]);

    bench.forget(&first).unwrap();
    bench.prune(false).unwrap();
    assert!(is_there(&bench, &first), "it can still be taken back");
    bench.pass_time(DAY * 30);
    bench.prune(false).unwrap();
    assert!(!is_there(&bench, &first) && is_there(&bench, &second));
    assert!(paths(&bench, &own).is_err(), "nothing names that leaf any more");
    assert_eq!(paths(&bench, &shared).unwrap(), ["etc/hostname"]);
    assert!(bench.check(Depth::ReadAll, false).is_sound());
}

#[test]
fn prune_takes_what_a_maker_left_that_was_killed_and_what_is_damaged() {
    let (bench, first, _) = two_points();
    let stored = catalogued(&bench, &first, &["etc/hostname"]);
    let left = catalog::put_leaf(bench.repo(), &[0, 1, b'x', 1, 0, 0, 0, 0]).unwrap();
    assert!(catalog::has_leaf(bench.repo(), &left).unwrap());
    bench.prune(false).unwrap();
    assert!(!catalog::has_leaf(bench.repo(), &left).unwrap());
    assert_eq!(paths(&bench, &stored).unwrap(), ["etc/hostname"]);

    let key = &keys(&bench, "catalogs/")[0];
    let mut bytes = bench.store().get(key).unwrap();
    bytes[100] ^= 1;
    bench.store().delete(key).unwrap();
    bench.store().put(key, &bytes).unwrap();
    let report = bench.check(Depth::Structure, false);
    let finding = report.errors().find(|finding| finding.object == *key).unwrap();
    assert!(finding.next_step.contains("nothing is lost"), "{finding:?}");
    assert!(catalog::read(bench.repo(), &first.manifest).unwrap_err().is_damage());
    bench.prune(false).unwrap();
    assert!(!is_there(&bench, &first) && keys(&bench, "leaves/").is_empty());
    assert!(bench.check(Depth::Structure, false).is_sound(), "a point without a catalog lacks nothing");
}

/// What comes from an untrusted file system is bytes; what does not belong there stays out of the repository.
#[test]
fn a_leaf_that_is_none_is_named_and_not_listed() {
    let (bench, ..) = two_points();
    for plain in [&[][..], &[0, 1, b'/', 1, 0, 0, 0, 0], &[9], &vec![0; MAX_LEAF_BYTES + 1]] {
        let Ok(leaf) = catalog::put_leaf(bench.repo(), plain) else { continue };
        let error = catalog::read_leaf(bench.repo(), &leaf, &mut |_, _| {}).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }
}

#[test]
fn a_catalog_under_another_points_name_is_damage() {
    let (bench, first, second) = two_points();
    catalogued(&bench, &first, &["etc/hostname"]);
    let bytes = bench.store().get(&keys(&bench, "catalogs/")[0]).unwrap();
    bench.store().put(&format!("catalogs/{}", second.manifest), &bytes).unwrap();
    assert!(catalog::read(bench.repo(), &second.manifest).unwrap_err().is_damage());
}
