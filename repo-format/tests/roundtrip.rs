//! A point that is stored comes back, whoever asks and however the index came to be.

use crate::support::{Bench, disk};
use repo_format::manifest::PointKind;
use repo_format::repository::{Access, Repository};

#[test]
fn what_is_backed_up_comes_back() {
    let bench = Bench::new();
    let first = disk(1, 300);
    let at = bench.backup("vm", &first, None).unwrap();
    assert_eq!(bench.restore(at).unwrap(), first);
    let mut second = first.clone();
    second[5 * 65536 + 7] ^= 1;
    second[200 * 65536..201 * 65536].fill(0);
    let changed = [5, 200];
    let again = bench.backup("vm", &second, Some(&changed)).unwrap();
    assert_eq!(bench.restore(again).unwrap(), second);
    assert_eq!(bench.restore(at).unwrap(), first);
    let (_, manifest) = bench.repo().open_point(again).unwrap();
    assert_eq!((manifest.kind, manifest.parent), (PointKind::Incremental, Some(at.manifest)));
}

#[test]
fn a_restore_needs_no_old_index() {
    let bench = Bench::new();
    let content = disk(2, 100);
    let at = bench.backup("vm", &content, None).unwrap();
    assert_eq!(bench.with_new_index().restore(at).unwrap(), content);
}

#[test]
fn the_same_content_is_stored_once() {
    let bench = Bench::new();
    let content = disk(3, 100);
    bench.backup("a", &content, None).unwrap();
    let before = bench.data_bytes();
    bench.backup("b", &content, None).unwrap();
    assert_eq!(bench.data_bytes(), before);
}

#[test]
fn a_writer_key_writes_and_reads_its_own_trees_and_no_chunk() {
    let bench = Bench::new();
    let now = bench.now();
    let keys = bench.repo().create_writer("laptop", None, now).unwrap();
    let writer = bench.reopen(Access::Writer(Box::new(keys)));
    let content = disk(4, 50);
    let at = writer.backup("laptop", &content, None).unwrap();
    let changed = writer.backup("laptop", &content, Some(&[])).unwrap();
    assert!(writer.restore(at).is_err());
    assert_eq!(bench.reopen(bench.passphrase()).restore(changed).unwrap(), content);
    let foreign = bench.reopen(bench.passphrase()).backup("secret", &disk(5, 10), None).unwrap();
    assert!(writer.repo().open_point(foreign).is_err());
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    let bench = Bench::new();
    let wrong = Access::Unlock(repo_format::key_slot::Unlock::Passphrase("wrong"));
    assert!(Repository::open(bench.store(), wrong, bench.entropy()).is_err());
}
