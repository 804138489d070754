//! A damaged configuration or writer's record costs what depends on it and nothing else, and is repaired.

use crate::support::{Bench, ROOT, disk, init_repository};
use repo_format::check::Depth;
use repo_format::condemned::{self, PackRef};
use repo_format::forget;
use repo_format::id::WriterId;
use repo_format::keys::{MasterSecret, WriterKeys};
use repo_format::kit;
use repo_format::manifest::PointKey;
use repo_format::pack::PackKind;
use repo_format::repair::{rebuild_config, repair};
use repo_format::repository::Access;
use repo_format::store::Store;
use repo_format::store::dir::DirStore;
use repo_format::writer_key;
use repo_format::{Error, Result};
use std::path::Path;
use std::sync::Arc;

fn flip(bench: &Bench, key: &str, at: usize) {
    bench.fs.corrupt(&Path::new(ROOT).join(key), |bytes| bytes[at] ^= 1);
}

fn open(bench: &Bench) -> Result<Bench> {
    bench.try_on(&bench.fs, bench.passphrase())
}

/// A repository with one point of the operator and one of a laptop that has its own key.
struct Two {
    bench: Bench,
    own: PointKey,
    laptop: WriterId,
    key_file: String,
    theirs: PointKey,
}

impl Two {
    fn new() -> Self {
        let bench = Bench::new();
        let own = bench.backup("vm", &disk(1, 6), None).unwrap();
        let keys = bench.repo().create_writer("laptop", None, bench.now()).unwrap();
        let (laptop, key_file) = (keys.writer, writer_key::to_text(&keys).to_string());
        let theirs = bench.reopen(Access::Writer(Box::new(keys))).backup("laptop", &disk(2, 6), None).unwrap();
        Self { bench, own, laptop, key_file, theirs }
    }

    fn keys(&self) -> WriterKeys {
        writer_key::from_text(&self.key_file).unwrap()
    }

    fn record(&self, revision: u32) -> String {
        format!("writers/{}-{revision:08x}", self.laptop)
    }
}

#[test]
fn a_damaged_writer_record_leaves_the_points_of_the_others_as_they_are() {
    let two = Two::new();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    let [unsound] = bench.repo().unsound() else { panic!("{:?}", bench.repo().unsound()) };
    assert_eq!((&unsound.object, unsound.writer, unsound.is_replaced), (&two.record(0), Some(two.laptop), false));
    assert!(bench.restore(two.own).unwrap() == disk(1, 6));
    let next = bench.backup("vm", &disk(3, 6), None).unwrap();
    assert!(bench.restore(next).unwrap() == disk(3, 6));
    // A third machine is not touched either.
    let keys = bench.repo().create_writer("third", None, bench.now()).unwrap();
    bench.reopen(Access::Writer(Box::new(keys))).backup("third", &disk(4, 6), None).unwrap();
}

#[test]
fn points_of_a_writer_without_a_record_are_read_only_by_who_says_so() {
    let two = Two::new();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    assert!(matches!(bench.repo().load(two.theirs), Err(Error::UnknownSigner { writer, .. }) if writer == two.laptop));
    assert!(bench.repo().latest_of("laptop").unwrap().is_none());
    let (stored, manifest) = bench.repo().open_point_unverified(two.theirs).unwrap();
    assert!(!stored.is_verified && manifest.name == "laptop");
    assert!(bench.restore_unverified(two.theirs).unwrap() == disk(2, 6));
    assert!(bench.repo().load_unverified(two.own).unwrap().is_verified);
    // The number of a name's next point goes on behind what cannot be verified.
    let next = bench.backup("laptop", &disk(5, 6), None).unwrap();
    assert_eq!(next.sequence, 2);
}

/// Whoever cannot derive the writer's map key cannot make a point that opens, signature or not.
#[test]
fn a_point_of_a_writer_without_a_record_cannot_be_forged_without_its_map_key() {
    let two = Two::new();
    let mut forger = two.keys();
    let mallory = two.bench.repo().create_writer("mallory", None, two.bench.now()).unwrap();
    forger.map = mallory.map;
    flip(&two.bench, &two.record(0), 70);
    let (_, manifest) = open(&two.bench).unwrap().repo().open_point_unverified(two.theirs).unwrap();
    let with = (&forger.signer(), &*two.bench.entropy());
    let (at, object) = repo_format::manifest::encode(&forger, &manifest, (None, 2), two.bench.now(), with).unwrap();
    two.bench.store().put(&at.key(), &object).unwrap();
    let bench = open(&two.bench).unwrap();
    assert!(!bench.repo().load_unverified(at).unwrap().is_verified);
    let error = bench.repo().open_point_unverified(at).unwrap_err();
    assert!(error.to_string().contains("does not decrypt"), "{error}");
}

#[test]
fn a_check_goes_on_and_names_the_points_of_a_writer_without_a_record() {
    let two = Two::new();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    let report = bench.check(Depth::ReadAll, true);
    let [finding] = report.errors().collect::<Vec<_>>()[..] else { panic!("{:#?}", report.findings) };
    assert_eq!(finding.object, two.record(0));
    let [point] = finding.affects.as_slice() else { panic!("{finding}") };
    assert_eq!((point.point, point.name.as_deref()), (two.theirs.manifest, Some("laptop")));
    assert!(finding.what.contains("1 packs") || finding.what.contains("2 packs"), "{finding}");
    assert_eq!((report.points, report.points_walked), (2, 2));
    // What cannot be verified is not damaged, and nobody may rely on it.
    assert!(report.damaged_packs.is_empty());
    let verified = condemned::verified(bench.repo().records()).unwrap();
    let theirs = bench.index.packs().unwrap().into_iter().filter(|pack| pack.writer == two.laptop);
    assert!(theirs.into_iter().all(|pack| !verified.contains(&pack.id)));
}

#[test]
fn nothing_is_pruned_while_a_writer_is_not_known() {
    let two = Two::new();
    two.bench.forget(&two.own).unwrap();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    let before = bench.store().keys("").unwrap();
    for dry_run in [true, false] {
        let refused = bench.prune(dry_run).unwrap_err().to_string();
        assert!(refused.contains(&two.record(0)) && refused.contains("key repair"), "{refused}");
    }
    assert_eq!(bench.store().keys("").unwrap(), before);
    // A record that is gone altogether is met at the first point of its writer.
    bench.store().delete(&two.record(0)).unwrap();
    assert!(matches!(open(&bench).unwrap().prune(false), Err(Error::UnknownSigner { .. })));
}

#[test]
fn a_writer_that_is_added_while_a_prune_looks_is_no_damage() {
    let two = Two::new();
    two.bench.forget(&two.own).unwrap();
    let opened_before = open(&two.bench).unwrap();
    let keys = two.bench.repo().create_writer("new", None, two.bench.now()).unwrap();
    let new = keys.writer;
    two.bench.reopen(Access::Writer(Box::new(keys))).backup("new", &disk(4, 6), None).unwrap();
    let before = two.bench.store().keys("data/").unwrap();
    for dry_run in [true, false] {
        let refused = opened_before.prune(dry_run).unwrap_err();
        let says = refused.to_string();
        assert!(matches!(refused, Error::Refused(_)) && says.contains(&new.to_string()), "{says}");
    }
    assert_eq!(two.bench.store().keys("data/").unwrap(), before);
    open(&two.bench).unwrap().prune(false).unwrap();
}

#[test]
fn what_a_writer_without_a_record_condemned_or_found_damaged_is_not_relied_upon() {
    let two = Two::new();
    let laptop = two.bench.reopen(Access::Writer(Box::new(two.keys())));
    let packs: Vec<PackRef> = two
        .bench
        .store()
        .keys("data/")
        .unwrap()
        .iter()
        .map(|key| PackRef { kind: PackKind::Data, pack: PackKind::Data.parse_key(key).unwrap() })
        .collect();
    condemned::record_damaged(laptop.repo(), &packs, laptop.now()).unwrap();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    let before = bench.data_bytes();
    bench.backup("vm", &disk(1, 6), None).unwrap();
    assert!(bench.data_bytes() > before, "the chunks were stored again");
}

/// The lost revision may be the one that revoked the writer.
#[test]
fn a_writer_whose_newest_record_is_damaged_is_verified_and_begins_no_session() {
    let two = Two::new();
    two.bench.repo().revoke_writer(&two.laptop, two.bench.now()).unwrap();
    flip(&two.bench, &two.record(1), 70);
    let bench = open(&two.bench).unwrap();
    assert!(bench.repo().load(two.theirs).unwrap().is_verified);
    assert!(matches!(bench.prune(false), Err(Error::Refused(_))));
    let laptop = bench.reopen(Access::Writer(Box::new(two.keys())));
    let refused = laptop.backup("laptop", &disk(2, 6), None).unwrap_err().to_string();
    assert!(refused.contains("revoked") && refused.contains("key repair"), "{refused}");
    // To revoke it again settles it.
    bench.repo().revoke_writer(&two.laptop, bench.now()).unwrap();
    let bench = open(&bench).unwrap();
    assert!(bench.repo().unsound().iter().all(|object| object.is_replaced));
    bench.prune(false).unwrap();
}

#[test]
fn a_writer_key_file_repairs_its_record() {
    let two = Two::new();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    let left = repair(bench.repo(), None, bench.now()).unwrap().left;
    assert_eq!(left.len(), 1, "without the key file there is nothing to write");
    let done = repair(bench.repo(), Some(&two.keys()), bench.now()).unwrap();
    assert_eq!((done.written, done.removed, done.left), (vec![two.record(1)], vec![two.record(0)], vec![]));
    let bench = open(&bench).unwrap();
    assert!(bench.check(Depth::ReadAll, true).is_sound());
    assert!(bench.restore(two.theirs).unwrap() == disk(2, 6));
    bench.reopen(Access::Writer(Box::new(two.keys()))).backup("laptop", &disk(6, 6), None).unwrap();
    bench.prune(false).unwrap();
    assert!(repair(bench.repo(), Some(&two.keys()), bench.now()).unwrap().written.is_empty());
}

#[test]
fn the_built_in_writer_needs_no_record_to_be_known_to_the_operator() {
    let two = Two::new();
    let builtin = two.bench.repo().config().builtin_writer;
    flip(&two.bench, &format!("writers/{builtin}-00000000"), 70);
    let bench = open(&two.bench).unwrap();
    assert!(bench.repo().load(two.own).unwrap().is_verified);
    let done = repair(bench.repo(), None, bench.now()).unwrap();
    assert_eq!(done.written, [format!("writers/{builtin}-00000001")]);
    let laptop = bench.reopen(Access::Writer(Box::new(two.keys())));
    assert!(laptop.repo().load(two.own).unwrap().is_verified);
    assert!(open(&bench).unwrap().check(Depth::ReadAll, true).is_sound());
}

#[test]
fn every_bit_of_the_configuration_may_flip() {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 3), None).unwrap();
    let bytes = bench.store().get("config").unwrap().len();
    for byte in 0..bytes {
        flip(&bench, "config", byte);
        let opened = open(&bench).unwrap_or_else(|error| panic!("byte {byte}: {error}"));
        assert_eq!(opened.repo().unsound()[0].object, "config");
        assert!(opened.repo().load(at).unwrap().is_verified);
        flip(&bench, "config", byte);
    }
}

#[test]
fn either_object_of_the_configuration_is_written_again_from_the_other() {
    for (lost, delete) in [("config", false), ("config", true), ("config-copy", false), ("config-copy", true)] {
        let bench = Bench::new();
        let sound = bench.store().get("config").unwrap();
        assert_eq!(bench.store().get("config-copy").unwrap(), sound);
        match delete {
            true => bench.store().delete(lost).unwrap(),
            false => flip(&bench, lost, 60),
        }
        let opened = open(&bench).unwrap();
        let report = opened.check(Depth::Structure, true);
        assert!(report.findings.iter().any(|finding| finding.object == lost), "{lost}: {:#?}", report.findings);
        assert_eq!(repair(opened.repo(), None, opened.now()).unwrap().written, [lost]);
        assert_eq!(bench.store().get(lost).unwrap(), sound);
        assert!(open(&bench).unwrap().check(Depth::Structure, true).findings.is_empty());
    }
}

#[test]
fn a_configuration_lost_twice_says_what_is_wrong_with_both() {
    let bench = Bench::new();
    flip(&bench, "config", 60);
    flip(&bench, "config-copy", 70);
    let error = open(&bench).err().unwrap().to_string();
    assert!(error.contains("config is damaged") && error.contains("config-copy is damaged"), "{error}");
}

/// With the kit in a drawer and the packs on a disk, a repository must never be lost for two objects of some hundred bytes.
#[test]
fn a_configuration_lost_twice_is_made_again_from_the_recovery_kit() {
    for delete in [false, true] {
        let bench = Two::new();
        let (own, bench) = (bench.own, bench.bench);
        let sound = bench.store().get("config").unwrap();
        let kit = || {
            kit::import(&kit::export(
                &bench.repo().config().repository,
                bench.repo().keys().master_for("a kit").unwrap(),
            ))
            .unwrap()
        };
        let rebuild = || rebuild_config(bench.store(), kit(), bench.entropy());
        assert!(rebuild().is_err(), "a configuration that is not lost was written");
        for object in ["config", "config-copy"] {
            match delete {
                true => bench.store().delete(object).unwrap(),
                false => flip(&bench, object, 60),
            }
        }
        let stranger = MasterSecret::generate(&*bench.entropy());
        let foreign = rebuild_config(bench.store(), (bench.repo().config().repository, stranger), bench.entropy());
        assert!(foreign.err().unwrap().to_string().contains("recovery kit"), "the kit of another repository");
        let repo = rebuild().unwrap();
        assert_eq!(repo.config(), bench.repo().config());
        assert_eq!(
            [bench.store().get("config").unwrap(), bench.store().get("config-copy").unwrap()],
            [sound.clone(), sound]
        );
        let opened = open(&bench).unwrap();
        assert!(opened.restore(own).unwrap() == disk(1, 6));
        assert!(opened.check(Depth::ReadAll, true).findings.is_empty());
    }
}

#[test]
fn a_configuration_is_not_made_up_where_nothing_says_what_was_in_it() {
    let bench = Bench::new();
    let kit = (bench.repo().config().repository, bench.repo().keys().master_for("a kit").unwrap().clone());
    for object in ["config", "config-copy"] {
        bench.store().delete(object).unwrap();
    }
    let without_points = rebuild_config(bench.store(), kit.clone(), bench.entropy()).err().unwrap().to_string();
    assert!(without_points.contains("no recovery point"), "{without_points}");
    bench.store().keys("writers/").unwrap().iter().for_each(|key| bench.store().delete(key).unwrap());
    let without_writers = rebuild_config(bench.store(), kit, bench.entropy()).err().unwrap().to_string();
    assert!(without_writers.contains("writers/"), "{without_writers}");
    assert!(!bench.store().exists("config").unwrap());
}

/// An upgrade that was cut between the two objects must not be read as what was before it.
#[test]
fn a_newer_configuration_is_refused_although_its_copy_is_old() {
    let bench = Bench::new();
    bench.fs.corrupt(&Path::new(ROOT).join("config"), |bytes| {
        bytes[8] = 2;
        let end = bytes.len() - 32;
        let checksum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(checksum.as_bytes());
    });
    assert!(matches!(open(&bench), Err(Error::NewerVersion { found: 2, .. })));
}

#[test]
fn init_touches_nothing_where_only_the_copy_of_a_configuration_is() {
    let bench = Bench::new();
    bench.store().delete("config").unwrap();
    let before = bench.store().keys("").unwrap();
    assert!(matches!(init_repository(bench.store(), bench.entropy()), Err(Error::RepositoryExists)));
    assert_eq!(bench.store().keys("").unwrap(), before);
}

/// A bucket is shared: what another program keeps under a name that a cut init also leaves was deleted.
#[test]
fn init_deletes_nothing_that_is_not_its_own() {
    let (bench, dir) = (Bench::new(), tempfile::tempdir().unwrap());
    let store: Arc<dyn Store> = Arc::new(DirStore::open(dir.path()));
    store.put("keys/prod", b"of another program").unwrap();
    let refused = init_repository(store.clone(), bench.entropy()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("keys/prod") && refused.contains("empty place"), "{refused}");
    assert_eq!(store.get("keys/prod").unwrap(), b"of another program");
}

#[test]
fn a_strange_name_among_the_writers_is_named_and_stops_only_prune() {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 3), None).unwrap();
    bench.store().put("writers/readme", b"?").unwrap();
    let bench = open(&bench).unwrap();
    assert!(bench.restore(at).unwrap() == disk(1, 3));
    assert!(bench.prune(false).unwrap_err().to_string().contains("writers/readme"));
    assert!(bench.check(Depth::Structure, true).errors().any(|finding| finding.object == "writers/readme"));
}

/// A repository of two writers, one of whom nobody knows, still lets points be forgotten.
#[test]
fn forgetting_needs_no_writer() {
    let two = Two::new();
    flip(&two.bench, &two.record(0), 70);
    let bench = open(&two.bench).unwrap();
    bench.forget(&two.theirs).unwrap();
    let (_, stone) = forget::tombstones(bench.repo()).unwrap().remove(0);
    forget::undo(bench.repo(), &stone, bench.now()).unwrap();
}
