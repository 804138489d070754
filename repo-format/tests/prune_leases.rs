//! Prune and leases: what others pin, whether it can be read or not, and its own lease in a long mark.

use crate::support::watched::Watched;
use crate::support::{Bench, CHUNK, DAY, disk};
use jiff::{SignedDuration, Timestamp};
use repo_format::id::NodeId;
use repo_format::lease::{self, Lease, PinnedRoot, Purpose};
use repo_format::manifest::PointKey;
use repo_format::pack::PackKind;
use repo_format::repository::{Access, Repository};
use repo_format::store::Store;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// A lease on a tree, as a session that began just now holds it.
fn pin(bench: &Bench, root: NodeId, level: u8) -> Lease {
    let (repo, now) = (bench.repo(), bench.now());
    let mut lease = Lease::take(repo, Purpose::Read, now).unwrap();
    let parent = repo_format::id::ManifestId([9; 32]);
    lease.pin(repo, parent, vec![PinnedRoot { root, level, writer: repo.config().builtin_writer }], now).unwrap();
    lease
}

/// A forgotten point whose undo time is over, and one that lives; the root of the first.
fn one_dead_one_alive(bench: &Bench) -> (NodeId, PointKey) {
    let old = bench.backup("vm", &disk(1, 30), None).unwrap();
    let root = bench.repo().open_point(old).unwrap().1.disks[0].root.unwrap();
    let new = bench.backup("vm", &disk(2, 30), None).unwrap();
    bench.forget(&old).unwrap();
    bench.pass_time(DAY * 2);
    (root, new)
}

/// A lease that pins what is not there stopped every prune for as long as somebody renewed it.
#[test]
fn a_pinned_root_that_is_nowhere_does_not_stop_prune() {
    let bench = Bench::new();
    let (_, new) = one_dead_one_alive(&bench);
    let held = pin(&bench, NodeId([0xBA; 32]), 0);
    let condemning = bench.prune(false).unwrap();
    assert!(condemning.packs_condemned > 0);
    let told = condemning.left.join("\n");
    assert!(told.contains(&held.id().to_string()) && told.contains("in no pack") && told.contains("leases/"), "{told}");
    held.release(bench.repo()).unwrap();
    bench.pass_time(DAY * 2);
    let held = pin(&bench, NodeId([0xBA; 32]), 3);
    assert!(bench.prune(false).unwrap().packs_deleted > 0);
    assert!(bench.restore(new).unwrap() == disk(2, 30));
    drop(held);
}

#[test]
fn what_a_pinned_tree_still_has_is_kept_when_a_part_of_it_is_lost() {
    let bench = Bench::new();
    // The disk's halves lie in packs of their own: its parent stored the first one.
    let old = bench.backup("a", &disk(1, 30), None).unwrap();
    let first = bench.store().keys("data/").unwrap();
    let longer = [disk(1, 31)[..30 * CHUNK].to_vec(), disk(7, 30)].concat();
    let longer = bench.backup("b", &longer, None).unwrap();
    let second = bench.store().keys("data/").unwrap().into_iter().find(|key| !first.contains(key)).unwrap();
    let root = bench.repo().open_point(longer).unwrap().1.disks[0].root.unwrap();
    for at in [old, longer] {
        bench.forget(&at).unwrap();
    }
    bench.pass_time(DAY * 2);
    let _held = pin(&bench, root, 0);
    assert_eq!(bench.prune(false).unwrap().packs_condemned, 1, "the first point's tree");
    bench.store().delete(&first[0]).unwrap();
    let outcome = bench.prune(false).unwrap();
    assert!(outcome.left.join("").contains("in no pack"), "{outcome:?}");
    assert!(outcome.bytes_live >= bench.store().size(&second).unwrap().unwrap(), "{outcome:?}");
}

#[test]
fn a_pinned_root_that_cannot_be_read_keeps_everything_until_it_lapses() {
    let bench = Bench::new();
    let (root, new) = one_dead_one_alive(&bench);
    let held = pin(&bench, root, 0);
    let pack = pack_with(&bench, root);
    bench.fs.corrupt(&Path::new(crate::support::ROOT).join(PackKind::Tree.key(&pack)), |bytes| bytes[260] ^= 1);
    let before = bench.store().keys("data/").unwrap();
    for _ in 0..3 {
        let outcome = bench.with_new_index().prune(false).unwrap();
        assert_eq!((outcome.packs_condemned, outcome.packs_deleted, outcome.packs_repacked), (0, 0, 0));
        let told = outcome.left.join("\n");
        assert!(told.contains(&held.id().to_string()) && told.contains("cannot be read"), "{told}");
        assert!(told.contains("lapses at") && told.contains("leases/") && told.contains("writer-revoke"), "{told}");
    }
    assert_eq!(bench.store().keys("data/").unwrap(), before);
    // Its session has ended without giving it back.
    bench.pass_time(SignedDuration::from_hours(2));
    let outcome = bench.with_new_index().prune(false).unwrap();
    assert!(outcome.packs_condemned > 0 && outcome.left.is_empty(), "{outcome:?}");
    assert!(bench.restore(new).unwrap() == disk(2, 30));
}

/// A level that is not the root's own is as good as damage: what it needs is not known.
#[test]
fn a_pinned_root_of_a_wrong_level_keeps_everything() {
    let bench = Bench::new();
    let (root, _) = one_dead_one_alive(&bench);
    let _held = pin(&bench, root, 4);
    let outcome = bench.prune(false).unwrap();
    assert_eq!(outcome.packs_condemned, 0);
    assert!(outcome.left.join("").contains("cannot be read"), "{outcome:?}");
}

fn pack_with(bench: &Bench, root: NodeId) -> repo_format::id::PackId {
    let id: repo_format::id::EntryId = root.into();
    let place = bench.index.places(&id.key()).unwrap().remove(0);
    bench.index.pack(place.pack).unwrap().unwrap().id
}

/// A store in which every node costs minutes, and how many were read, how many of them while a lease had lapsed.
fn slow(bench: &Bench, seconds: Arc<AtomicI64>) -> (Arc<dyn Store>, Arc<[AtomicU32; 2]>) {
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let (below, entropy, counted) = (bench.store(), bench.entropy(), counts.clone());
    let store = Watched::new(bench.store(), move |key, offset_bytes, length| {
        // Entries, not footers.
        if key.starts_with("tree/") && offset_bytes >= 256 && length < 4200 {
            let now = seconds.fetch_add(7 * 60, Ordering::SeqCst);
            counted[0].fetch_add(1, Ordering::SeqCst);
            let access = Access::Unlock(repo_format::key_slot::Unlock::Passphrase(crate::support::PASSPHRASE));
            let other = Repository::open(below.clone(), access, entropy.clone())?;
            let now = Timestamp::from_second(now).unwrap();
            if lease::list(&other)?.iter().any(|lease| lease.expires_at < now) {
                counted[1].fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(())
    });
    (store, counts)
}

/// The lease was renewed between points only: marking one huge point took longer than a lease lasts, and another run could take over.
#[test]
fn prune_renews_its_lease_inside_the_mark_of_one_point() {
    let bench = Bench::new();
    let chunks_of_a_subtree = 128 * 128;
    let positions: Vec<u64> = (0..20).map(|number| number * chunks_of_a_subtree).collect();
    bench.backup_sparse("huge", 20 * chunks_of_a_subtree, &positions).unwrap();
    let seconds = Arc::new(AtomicI64::new(bench.now().as_second()));
    let (store, counts) = slow(&bench, seconds.clone());
    let slowed = bench.through(&bench.fs, store, bench.passphrase()).unwrap();
    let clock = || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap();
    slowed.prune_by(false, (&clock, &|_| {})).unwrap();
    let [nodes, lapsed] = &*counts;
    assert!(nodes.load(Ordering::SeqCst) > 30, "the mark took hours");
    assert_eq!(lapsed.load(Ordering::SeqCst), 0);
}

/// A machine whose clock ran years ahead was switched off in the middle of a prune. Until then every prune was refused because "another prune
/// is at work", and what the writers of such leases had stored was never condemned.
#[test]
fn leases_of_a_clock_that_ran_ahead_are_not_waited_for() {
    let bench = Bench::new();
    let (_, new) = one_dead_one_alive(&bench);
    let later = bench.now() + DAY * 1000;
    let _prune = Lease::take(bench.repo(), Purpose::Prune, later).unwrap();
    let _backup = Lease::take(bench.repo(), Purpose::Backup, later).unwrap();
    let outcome = bench.prune(false).unwrap();
    assert_eq!(outcome.leases_revoked, 2);
    assert!(outcome.packs_condemned > 0);
    assert!(bench.restore(new).unwrap() == disk(2, 30));
    let _a_little = Lease::take(bench.repo(), Purpose::Prune, bench.now() + SignedDuration::from_hours(5)).unwrap();
    assert!(bench.prune(false).is_err(), "clocks may differ by hours");
}
