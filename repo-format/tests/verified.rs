//! Verifications by the operator: what lets one writer rely on another's chunks, and for how long.

use crate::support::{Bench, DAY, ROOT, disk};
use repo_format::check::{Depth, prove_point};
use repo_format::condemned::{self, PackRef};
use repo_format::manifest::PointKey;
use repo_format::pack::PackKind;
use repo_format::reader::Reader;
use repo_format::record;
use repo_format::repository::Access;
use serde_json::json;
use std::path::Path;

/// Two machines with keys of their own; the first has stored `image`, and the operator has verified that.
struct Two {
    operator: Bench,
    first: Bench,
    second: Bench,
    image: Vec<u8>,
    stored: PointKey,
}

impl Two {
    fn new() -> Self {
        let operator = Bench::new();
        let [first, second] = ["first", "second"].map(|label| {
            let keys = operator.repo().create_writer(label, None, operator.now()).unwrap();
            Access::Writer(Box::new(keys))
        });
        let [first, second] = [operator.reopen(first), operator.reopen(second)];
        let image = disk(1, 20);
        let stored = first.backup("first", &image, None).unwrap();
        let operator = operator.with_new_index();
        assert_eq!(operator.check(Depth::ReadAll, true).packs_verified, 1);
        second.reconcile();
        Self { operator, first, second, image, stored }
    }

    /// Backs up the same image on the second machine. Returns the point and how many bytes of data that added.
    fn again(&self) -> (PointKey, u64) {
        let before = self.operator.data_bytes();
        let at = self.second.backup("second", &self.image, None).unwrap();
        (at, self.operator.data_bytes() - before)
    }

    fn data_pack(&self) -> String {
        self.operator.store().keys("data/").unwrap().remove(0)
    }

    fn restores(&self, at: PointKey) {
        let fresh = self.operator.with_new_index();
        prove_point(&Reader::new(fresh.repo(), &fresh.index), at).unwrap();
        assert!(fresh.restore(at).unwrap() == self.image);
    }

    fn prune_away(&self) {
        for _ in 0..3 {
            self.operator.pass_time(DAY * 2);
            self.operator.with_new_index().prune(false).unwrap();
        }
    }
}

/// The second machine's point lives on in packs that only it needs any more.
#[test]
fn what_another_writer_relies_on_survives_the_points_of_the_one_that_stored_it() {
    let two = Two::new();
    let (at, added) = two.again();
    assert_eq!(added, 0, "nothing was stored twice");
    two.operator.forget(&two.stored).unwrap();
    two.prune_away();
    two.restores(at);
    assert!(two.operator.with_new_index().restore(two.stored).is_err());
}

/// Whoever owns the pack could put other bytes under its name after it was verified.
#[test]
fn a_pack_that_is_not_the_verified_one_any_more_is_not_relied_on() {
    let two = Two::new();
    let key = two.data_pack();
    // Behind the header, before the footer: only who hashes the whole pack sees it.
    two.operator.fs.corrupt(&Path::new(ROOT).join(&key), |bytes| bytes[5000] ^= 1);
    let (at, added) = two.again();
    assert!(added > 0, "it was stored again");
    two.restores(at);
}

#[test]
fn a_verified_pack_that_was_found_damaged_or_condemned_is_not_relied_on() {
    for condemn in [false, true] {
        let two = Two::new();
        let pack = PackRef { kind: PackKind::Data, pack: PackKind::Data.parse_key(&two.data_pack()).unwrap() };
        match condemn {
            true => drop(condemned::condemn(two.operator.repo(), vec![pack], two.operator.now()).unwrap()),
            false => condemned::record_damaged(two.first.repo(), &[pack], two.first.now()).unwrap(),
        }
        let (at, added) = two.again();
        assert!(added > 0);
        two.restores(at);
    }
}

/// A verification that is signed by a writer, or that was lost, counts for nobody; the points that relied on a sound one stay whole.
#[test]
fn a_verification_counts_only_by_the_operator_and_only_while_it_is_there() {
    let two = Two::new();
    let (at, added) = two.again();
    assert_eq!(added, 0);
    let key = two.operator.store().keys("verified/").unwrap().remove(0);
    two.operator.store().delete(&key).unwrap();
    two.prune_away();
    two.restores(at);
    let third = two.operator.repo().create_writer("third", None, two.operator.now()).unwrap();
    let third = two.operator.reopen(Access::Writer(Box::new(third)));
    forge_verification(&two);
    let before = two.operator.data_bytes();
    let third_point = third.backup("third", &two.image, None).unwrap();
    assert!(two.operator.data_bytes() > before);
    two.restores(third_point);
    let report = two.operator.with_new_index().check(Depth::Structure, false);
    assert!(report.errors().any(|finding| finding.what.contains("not signed by the operator")), "{report:?}");
}

/// The first machine says of its own pack that it was verified.
fn forge_verification(two: &Two) {
    let repo = two.first.repo();
    let pack = two.data_pack();
    let body = json!({
        "created_at": two.first.now(), "packs": [{ "kind": "data", "pack": pack.rsplit('/').next().unwrap() }],
    });
    let bytes = record::encode_json(record::VERIFIED, &repo.config().repository, repo.signer(), &body).unwrap();
    repo.store().put(&format!("verified/{}", "ab".repeat(16)), &bytes).unwrap();
}

/// Within the same session: chunks that are in a verified pack and chunks that are new make one whole point.
#[test]
fn a_point_of_verified_and_of_own_chunks_is_whole_without_the_first_machine() {
    let two = Two::new();
    let mut image = two.image.clone();
    image.extend_from_slice(&disk(7, 10));
    let before = two.operator.data_bytes();
    let at = two.second.backup("second", &image, None).unwrap();
    let added = two.operator.data_bytes() - before;
    assert!(added > 0 && added < before, "{added} bytes beside {before}");
    two.operator.repo().revoke_writer(&two.first.repo().keys().writer().writer, two.operator.now()).unwrap();
    two.operator.forget(&two.stored).unwrap();
    two.prune_away();
    assert!(two.operator.with_new_index().restore(at).unwrap() == image);
}

/// A machine lost the pack of its trees; another had stored the same trees for itself. What was marked for the other was taken for marked, so
/// the first machine's own chunks were condemned, and its points hung on chunks that it has no reason to trust.
#[test]
fn chunks_below_a_node_that_only_another_has_are_kept_for_their_writer() {
    let operator = Bench::new();
    let machine = |label| {
        let keys = operator.repo().create_writer(label, None, operator.now()).unwrap();
        operator.reopen(Access::Writer(Box::new(keys)))
    };
    let (first, second) = (machine("first"), machine("second"));
    // Several names, so that some of the first's points are marked after the second's.
    for number in 0..6 {
        first.backup(&format!("first {number}"), &disk(number, 10), None).unwrap();
    }
    let trees = operator.store().keys("tree/").unwrap();
    for number in 0..6 {
        second.backup(&format!("second {number}"), &disk(number, 10), None).unwrap();
    }
    trees.iter().for_each(|tree| operator.store().delete(tree).unwrap());
    let outcome = operator.with_new_index().prune(false).unwrap();
    assert_eq!(outcome.packs_condemned, 0, "{outcome:?}");
}
