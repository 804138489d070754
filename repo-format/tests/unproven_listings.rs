//! Prune where listings are not beyond doubt: it runs only where they were tried, and not while a point may be hidden.

use crate::support::{Bench, DAY, ROOT, disk, open_store};
use jiff::Timestamp;
use repo_format::entropy::{Entropy, SeededEntropy};
use repo_format::forget;
use repo_format::manifest::PointKey;
use repo_format::probe::{self, Findings, ObjectLock};
use repo_format::store::Store;
use repo_format::store::sim::SimFs;
use repo_format::{Error, Result};
use std::path::Path;
use std::sync::{Arc, Mutex};

const SOUND: Findings = Findings {
    racing_creates_won: 8,
    racing_creates: 8,
    read_after_write: true,
    overwrite_visible: true,
    list_after_write: true,
    delete_then_list: true,
    object_lock: ObjectLock::NotOffered,
};

/// A store as object storage is one: its listings need proof, and may leave something out.
struct Doubtful {
    below: Arc<dyn Store>,
    place: Mutex<String>,
    findings: Mutex<Option<Findings>>,
    hidden: Mutex<Option<String>>,
}

impl Doubtful {
    fn new(findings: Findings) -> (Arc<Self>, Bench) {
        let store = Arc::new(Self {
            below: open_store(&SimFs::new(Path::new(ROOT)), &(Arc::new(SeededEntropy::new(7)) as Arc<dyn Entropy>)),
            place: Mutex::new("here".into()),
            findings: Mutex::new(Some(findings)),
            hidden: Mutex::default(),
        });
        let bench = Bench::in_store(store.clone(), 1);
        (store, bench)
    }

    fn hide(&self, at: &PointKey) {
        *self.hidden.lock().unwrap() = Some(at.key());
    }
}

impl Store for Doubtful {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.below.put(key, bytes)
    }
    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.below.read_at(key, offset_bytes, buf)
    }
    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.below.size(key)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let hidden = self.hidden.lock().unwrap().clone();
        self.below.list(prefix, &mut |key, size| {
            if hidden.as_deref() != Some(key) {
                each(key, size);
            }
        })
    }
    fn delete(&self, key: &str) -> Result<()> {
        self.below.delete(key)
    }
    fn persist(&self, keys: &[String]) -> Result<()> {
        self.below.persist(keys)
    }
    fn listings_need_proof(&self) -> bool {
        true
    }
    fn probe(&self, _: &dyn Entropy, _: Timestamp) -> Result<Option<Findings>> {
        Ok(self.findings.lock().unwrap().clone())
    }
    fn describe(&self) -> String {
        self.place.lock().unwrap().clone()
    }
}

fn refusal(bench: &Bench) -> String {
    let before = bench.store().keys("").unwrap();
    for dry_run in [true, false] {
        match bench.prune(dry_run) {
            Err(Error::Refused(_)) => {}
            other => panic!("prune ran: {other:?}"),
        }
    }
    assert_eq!(bench.store().keys("").unwrap(), before, "nothing was deleted and nothing left behind");
    bench.prune(false).unwrap_err().to_string()
}

/// Three points of which the first is forgotten: a prune has something to do.
fn three_points(bench: &Bench) -> [PointKey; 3] {
    let points = [1, 2, 3].map(|seed| bench.backup("vm", &disk(seed, 6), None).unwrap());
    bench.forget(&points[0]).unwrap();
    bench.pass_time(DAY * 2);
    points
}

#[test]
fn prune_runs_where_listings_were_tried_and_found_sound() {
    let (_, bench) = Doubtful::new(SOUND);
    let points = three_points(&bench);
    assert_eq!(bench.prune(false).unwrap().points_deleted, [points[0].manifest]);
    bench.pass_time(DAY * 2);
    assert!(bench.prune(false).unwrap().packs_deleted > 0);
    assert!(bench.restore(points[2]).unwrap() == disk(3, 6));
    assert!(bench.check(repo_format::check::Depth::ReadAll, false).is_sound());
}

#[test]
fn prune_refuses_where_something_was_seen_to_be_late_and_backups_go_on() {
    for (findings, says) in [
        (Findings { list_after_write: false, ..SOUND }, "did not show what had just been put"),
        (Findings { delete_then_list: false, ..SOUND }, "had just been deleted"),
        (Findings { read_after_write: false, ..SOUND }, "could not be read"),
        (Findings { overwrite_visible: false, ..SOUND }, "read as it had been"),
    ] {
        let (store, bench) = Doubtful::new(findings);
        three_points(&bench);
        let why = refusal(&bench);
        assert!(why.contains(says) && why.contains("icecore probe"), "{why}");
        bench.backup("vm", &disk(4, 6), None).unwrap();
        *store.findings.lock().unwrap() = Some(SOUND);
        probe::probe(bench.repo(), bench.now()).unwrap();
        assert_eq!(bench.store().keys("probes/").unwrap().len(), 1, "the new record stands alone");
        bench.prune(false).unwrap();
    }
}

#[test]
fn a_copy_at_another_place_is_tried_anew() {
    let (store, bench) = Doubtful::new(SOUND);
    three_points(&bench);
    *store.place.lock().unwrap() = "there".into();
    let why = refusal(&bench);
    assert!(why.contains("nobody has tried") && why.contains("there"), "{why}");
    probe::probe(bench.repo(), bench.now()).unwrap();
    bench.prune(false).unwrap();
}

#[test]
fn a_point_that_no_listing_shows_stops_prune() {
    let (store, bench) = Doubtful::new(SOUND);
    let points = three_points(&bench);
    store.hide(&points[1]);
    let why = refusal(&bench);
    assert!(why.contains(&points[1].key()) && why.contains("no listing shows it"), "{why}");
    *store.hidden.lock().unwrap() = None;
    bench.prune(false).unwrap();
    bench.pass_time(DAY * 2);
    bench.prune(false).unwrap();
    assert!(bench.restore(points[1]).unwrap() == disk(2, 6));
}

/// A session whose lease was lost takes its point back. Another one had been stored upon it meanwhile, and its number is a gap for ever.
#[test]
fn a_point_that_was_taken_back_does_not_stop_prune_for_ever() {
    let (store, bench) = Doubtful::new(SOUND);
    let points = three_points(&bench);
    store.delete(&points[1].key()).unwrap();
    assert_eq!(bench.prune(false).unwrap().points_deleted, [points[0].manifest]);
}

#[test]
fn a_tombstone_that_no_listing_shows_is_no_hidden_point() {
    let (store, bench) = Doubtful::new(SOUND);
    let points = three_points(&bench);
    bench.prune(false).unwrap();
    let stone = format!("tombstones/{}", points[0].manifest);
    *store.hidden.lock().unwrap() = Some(stone);
    assert_eq!(forget::tombstones(bench.repo()).unwrap().len(), 0);
    // The point itself is gone: the store says so by name, and the chain is explained.
    bench.prune(false).unwrap();
    let last = bench.backup("vm", &disk(5, 6), None).unwrap();
    store.hide(&points[2]);
    assert!(refusal(&bench).contains(&points[2].key()));
    assert!(bench.restore(last).unwrap() == disk(5, 6));
}
