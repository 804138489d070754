//! Checks: whatever is changed, cut, lost or exchanged in a store is found, named, and its meaning for the points is said.

use crate::support::full::{Full, full, keys};
use crate::support::{Bench, ROOT, disk};
use jiff::SignedDuration;
use repo_format::check::{Depth, Options, Report, Severity, check};
use repo_format::forget;
use repo_format::reconcile;
use repo_format::repository::Access;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn run(bench: &Bench, depth: Depth) -> Report {
    bench.check(depth, false)
}

/// What is wrong, for assertions.
fn errors(report: &Report) -> Vec<String> {
    report.errors().map(ToString::to_string).collect()
}

fn path(key: &str) -> PathBuf {
    Path::new(ROOT).join(key)
}

#[test]
fn a_sound_repository_has_no_errors_at_any_depth() {
    let Full { bench, .. } = full();
    for depth in [Depth::Structure, Depth::ReadAll, Depth::Sample { percent: 50.0, seed: 3 }] {
        let report = run(&bench, depth);
        assert!(report.is_sound() && report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!((report.points, report.points_walked), (3, 3));
        assert!(report.nodes > 0 && report.chunks > 0 && report.packs > 0);
    }
    let all = run(&bench, Depth::ReadAll);
    assert_eq!((all.packs_read, all.bytes_read > 0, all.entries_opened > 10), (all.packs, true, true));
    assert_eq!(run(&bench, Depth::Sample { percent: 0.0, seed: 1 }).packs_read, 0);
    assert_eq!(run(&bench, Depth::Sample { percent: 100.0, seed: 1 }).packs_read, all.packs);
}

/// Positions worth a flip: every one of a small object, the edges and a spread of a large one.
fn positions(key: &str, length: usize) -> Vec<usize> {
    let is_pack = key.starts_with("data/") || key.starts_with("tree/");
    let all: Vec<usize> = match is_pack {
        true => (0..256).step_by(5).chain([8, 10, 12, 255, 256, 257]).collect(),
        false => (0..length).step_by(9).chain((0..48).step_by(2)).collect(),
    };
    let from_end = (1..=200).step_by(if is_pack { 3 } else { 6 }).chain([31, 32, 33, 96, 97, 128, 129, 192, 193]);
    let spread = (0..length).step_by((length / 40).max(1));
    let mut all: Vec<usize> =
        all.into_iter().chain(from_end.filter_map(|back| length.checked_sub(back))).chain(spread).collect();
    all.retain(|at| *at < length);
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether a position lies in the sealed entries of a pack, which only reading finds.
fn is_sealed_data(bench: &Bench, key: &str, at: usize) -> bool {
    let size = bench.store().size(key).unwrap().unwrap();
    let mut trailer = [0; 128];
    bench.store().read_at(key, size - 128, &mut trailer).unwrap();
    let table = u32::from_le_bytes(trailer[12..16].try_into().unwrap());
    let is_pack = key.starts_with("data/") || key.starts_with("tree/");
    is_pack && at >= 256 && (at as u64) < size - 128 - u64::from(table)
}

#[test]
fn a_bit_flipped_anywhere_is_found_and_named() {
    let Full { bench, .. } = full();
    let objects: Vec<String> =
        bench.fs.files().iter().map(|p| p.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned()).collect();
    for prefix in [
        "config",
        "config-copy",
        "keys/",
        "writers/",
        "data/",
        "tree/",
        "manifests/",
        "tombstones/",
        "leases/",
        "condemned/",
        "rescues/",
        "verified/",
        "damaged/",
        "suspects/",
        "probes/",
        "catalogs/",
        "leaves/",
        "pardons/",
        "executions/",
    ] {
        assert!(objects.iter().any(|key| key.starts_with(prefix)), "{prefix} has an object");
    }
    for key in &objects {
        let length = usize::try_from(bench.store().size(key).unwrap().unwrap()).unwrap();
        for at in positions(key, length) {
            let depth = if is_sealed_data(&bench, key, at) { Depth::ReadAll } else { Depth::Structure };
            let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (at % 8);
            bench.fs.corrupt(&path(key), flip);
            let report = run(&bench, depth);
            assert!(
                report.errors().any(|finding| finding.object == *key),
                "byte {at} of {key}: {:#?}",
                report.findings
            );
            bench.fs.corrupt(&path(key), flip);
        }
    }
    assert!(run(&bench, Depth::ReadAll).is_sound());
}

#[test]
fn cut_emptied_and_extended_objects_are_found_and_named() {
    let Full { bench, .. } = full();
    let objects: Vec<String> =
        bench.fs.files().iter().map(|p| p.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned()).collect();
    let ways: [fn(&mut Vec<u8>); 6] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(1),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        |bytes| bytes.fill(0),
    ];
    for key in &objects {
        for (number, way) in ways.iter().enumerate() {
            let before = bench.store().get(key).unwrap();
            bench.fs.corrupt(&path(key), way);
            let report = run(&bench, Depth::Structure);
            assert!(
                report.errors().any(|finding| finding.object == *key),
                "way {number}, {key}: {:#?}",
                report.findings
            );
            bench.fs.corrupt(&path(key), |bytes| *bytes = before);
        }
    }
}

#[test]
fn a_missing_data_pack_is_named_with_points_and_extents() {
    let Full { bench, first, second, .. } = full();
    // The pack of the incremental holds one chunk: position 3 of the second point.
    let smallest = keys(&bench, "data/").into_iter().min_by_key(|key| bench.store().size(key).unwrap()).unwrap();
    bench.store().delete(&smallest).unwrap();
    let report = run(&bench, Depth::Structure);
    let found: Vec<_> = report.errors().collect();
    assert_eq!((found.len(), &found[0].object), (1, &smallest), "{:#?}", errors(&report));
    let [point] = found[0].affects.as_slice() else { panic!("{:#?}", found[0]) };
    assert_eq!((point.point, point.name.as_deref()), (second.manifest, Some("vm")));
    let extent = point.disks[0].extents[0];
    assert_eq!((extent.offset_bytes, extent.length_bytes, point.disks[0].bytes), (3 * 65536, 65536, 65536));
    assert_ne!(first.manifest, second.manifest);
    // The index no longer knows the pack; the chunk is named instead.
    let again = run(&bench, Depth::Structure);
    assert!(errors(&again)[0].contains("chunks: 1 are in no pack"), "{:#?}", errors(&again));
    assert_eq!(again.errors().next().unwrap().affects[0].point, second.manifest);
}

#[test]
fn a_missing_tree_pack_is_named_and_touches_the_whole_disk() {
    let Full { bench, forgotten, .. } = full();
    for key in keys(&bench, "tree/") {
        bench.store().delete(&key).unwrap();
    }
    let report = run(&bench, Depth::Structure);
    assert_eq!(report.errors().count(), 3, "{:#?}", errors(&report));
    let touched = report.errors().flat_map(|finding| &finding.affects).find(|point| point.point == forgotten.manifest);
    assert_eq!(touched.unwrap().disks[0].bytes, disk(2, 6).len() as u64);
}

#[test]
fn damage_that_no_point_needs_says_so() {
    let bench = Bench::new();
    let at = bench.backup("vm", &disk(1, 6), None).unwrap();
    bench.store().delete(&at.key()).unwrap();
    let key = &keys(&bench, "data/")[0];
    bench.fs.corrupt(&path(key), |bytes| bytes[300] ^= 1);
    let report = run(&bench, Depth::ReadAll);
    let finding = report.errors().find(|finding| finding.object == *key).unwrap();
    assert!(finding.affects.is_empty());
}

#[test]
fn a_bad_chunk_with_a_sound_copy_touches_no_point() {
    let bench = Bench::new();
    bench.backup("vm", &disk(1, 6), None).unwrap();
    let keys = bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let laptop = bench.reopen(Access::Writer(Box::new(keys)));
    // Not verified: the laptop stores everything again.
    laptop.backup("laptop", &disk(1, 6), None).unwrap();
    let bench = bench.with_new_index();
    let key = &bench.store().keys("data/").unwrap()[0];
    bench.fs.corrupt(&path(key), |bytes| bytes[300] ^= 1);
    let report = run(&bench, Depth::ReadAll);
    let [finding] = report.errors().collect::<Vec<_>>()[..] else { panic!("{:#?}", errors(&report)) };
    assert_eq!((&finding.object, finding.affects.len()), (key, 0), "{finding}");
}

#[test]
fn two_exchanged_packs_are_both_named() {
    let Full { bench, .. } = full();
    let packs = keys(&bench, "data/");
    let [a, b] = [&packs[0], &packs[1]].map(|key| bench.store().get(key).unwrap());
    bench.fs.corrupt(&path(&packs[0]), |bytes| *bytes = b);
    bench.fs.corrupt(&path(&packs[1]), |bytes| *bytes = a);
    let report = run(&bench.with_new_index(), Depth::ReadAll);
    for key in &packs[..2] {
        let finding = report.errors().find(|finding| finding.object == *key).unwrap();
        assert!(finding.what.contains("those of another pack") && finding.affects.is_empty(), "{finding}");
    }
}

#[test]
fn an_object_under_another_objects_name_is_found() {
    let other = "ab".repeat(32);
    for prefix in ["keys/", "leases/", "tombstones/", "pardons/", "executions/", "condemned/", "manifests/", "data/"] {
        let Full { bench, .. } = full();
        let key = keys(&bench, prefix).pop().unwrap();
        let bytes = bench.store().get(&key).unwrap();
        let copy = match prefix {
            "data/" => format!("data/ab/{other}"),
            "manifests/" => key.replace("/000000000000000", "/000000000000001"),
            "keys/" => format!("keys/{}", &other[..32]),
            "leases/" => format!("leases/{}-00000000", &other[..32]),
            "condemned/" => format!("condemned/{}-list", &other[..32]),
            _ => format!("{prefix}{other}"),
        };
        bench.store().put(&copy, &bytes).unwrap();
        let report = run(&bench, Depth::ReadAll);
        assert!(report.errors().any(|finding| finding.object == copy), "{copy}: {:#?}", errors(&report));
    }
}

#[test]
fn a_missing_manifest_is_found_by_the_one_that_follows_it() {
    let Full { bench, first, second, .. } = full();
    bench.store().delete(&first.key()).unwrap();
    let report = run(&bench, Depth::Structure);
    let [finding] = report.errors().collect::<Vec<_>>()[..] else { panic!("{:#?}", errors(&report)) };
    assert!(
        finding.object.contains(&first.manifest.to_string()) && finding.what.contains(&second.manifest.to_string())
    );
    assert_eq!((finding.affects[0].point, finding.affects[0].name.as_deref()), (first.manifest, Some("vm")));
}

#[test]
fn a_forgotten_point_that_is_gone_leaves_a_sound_chain() {
    let Full { bench, first, .. } = full();
    forget::forget(bench.repo(), &first, "policy", bench.now(), SignedDuration::ZERO).unwrap();
    bench.store().delete(&first.key()).unwrap();
    assert!(run(&bench, Depth::Structure).is_sound());
}

#[test]
fn a_damaged_manifest_is_named_with_its_point() {
    let Full { bench, first, .. } = full();
    bench.fs.corrupt(&path(&first.key()), |bytes| bytes[200] ^= 1);
    let report = run(&bench, Depth::Structure);
    let [finding] = report.errors().collect::<Vec<_>>()[..] else { panic!("{:#?}", errors(&report)) };
    let point = &finding.affects[0];
    assert_eq!((&finding.object, point.point, point.name.as_deref()), (&first.key(), first.manifest, Some("vm")));
}

#[test]
fn a_revocation_that_was_taken_back_by_a_copy_is_found() {
    let Full { bench, .. } = full();
    let builtin = bench.repo().config().builtin_writer;
    let laptop = bench.repo().writers().unwrap().into_iter().find(|writer| writer.writer != builtin).unwrap().writer;
    bench.repo().revoke_writer(&laptop, bench.now()).unwrap();
    assert!(run(&bench, Depth::Structure).is_sound());
    let old = bench.store().get(&format!("writers/{laptop}-00000000")).unwrap();
    let copy = format!("writers/{laptop}-00000002");
    bench.store().put(&copy, &old).unwrap();
    let report = run(&bench, Depth::Structure);
    assert!(report.errors().any(|finding| finding.object == copy), "{:#?}", errors(&report));
}

#[test]
fn strangers_are_notes_and_strange_manifests_are_errors() {
    let Full { bench, .. } = full();
    for key in ["readme", "data/ab/note", "tmp/abc", "lost/found"] {
        bench.store().put(key, b"?").unwrap();
    }
    let report = run(&bench, Depth::Structure);
    let notes: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.object.as_str())).collect();
    for key in ["readme", "data/ab/note", "tmp/abc", "lost/found"] {
        assert!(notes.contains(&(Severity::Note, key)), "{key}: {notes:?}");
    }
    assert!(report.is_sound());
    bench.store().put("manifests/readme", b"?").unwrap();
    assert!(!run(&bench, Depth::Structure).is_sound());
}

#[test]
fn without_the_private_key_the_sealed_bytes_are_checked_and_that_is_said() {
    let Full { bench, .. } = full();
    let keys = bench.repo().create_writer("server", None, bench.now()).unwrap();
    let server = bench.reopen(Access::Writer(Box::new(keys)));
    let report = run(&server, Depth::ReadAll);
    assert!(report.is_sound() && report.entries_opened == 0 && report.points_walked == 0);
    assert!(report.findings.iter().any(|finding| finding.what.contains("without the private key")));
    assert!(report.findings.iter().any(|finding| finding.what.contains("3 points of other writers")));
    let key = &server.store().keys("data/").unwrap()[0];
    server.fs.corrupt(&path(key), |bytes| bytes[300] ^= 1);
    assert!(run(&server, Depth::ReadAll).errors().any(|finding| finding.object == *key));
}

#[test]
fn what_a_check_verified_another_writer_need_not_store_again() {
    let bench = Bench::new();
    let content = disk(1, 20);
    bench.backup("vm", &content, None).unwrap();
    let keys = bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let bench = bench.with_new_index();
    let report = bench.check(Depth::ReadAll, true);
    assert!(report.is_sound() && report.packs_verified == 1, "{:#?}", errors(&report));
    assert_eq!(bench.check(Depth::ReadAll, true).packs_verified, 0);
    let before = bench.data_bytes();
    bench.reopen(Access::Writer(Box::new(keys))).backup("laptop", &content, None).unwrap();
    assert_eq!(bench.data_bytes(), before);
}

#[test]
fn a_bad_pack_is_never_recorded_as_verified() {
    let bench = Bench::new();
    bench.backup("vm", &disk(1, 20), None).unwrap();
    bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let bench = bench.with_new_index();
    let key = &keys(&bench, "data/")[0];
    bench.fs.corrupt(&path(key), |bytes| bytes[300] ^= 1);
    let report = bench.check(Depth::ReadAll, true);
    assert_eq!((report.packs_verified, report.damaged_packs.len()), (0, 1));
    assert!(keys(&bench, "verified/").is_empty());
}

/// A flipped version number read as "made by a newer program" and made the whole index impossible to build.
#[test]
fn one_flipped_version_does_not_bar_the_other_packs() {
    let Full { bench, first, .. } = full();
    let smallest = keys(&bench, "data/").into_iter().min_by_key(|key| bench.store().size(key).unwrap()).unwrap();
    bench.fs.corrupt(&path(&smallest), |bytes| bytes[8] ^= 0x40);
    let index = repo_format::index::Index::in_memory().unwrap();
    let options = reconcile::Options { threads: 2, progress: &|_| {}, cancel: &AtomicBool::new(false) };
    let done = reconcile::reconcile(bench.repo().records(), &index, &options).unwrap();
    assert_eq!((done.damaged.len(), &done.damaged[0].0), (1, &smallest));
    assert_eq!(bench.restore(first).unwrap(), disk(1, 12));
}

#[test]
fn a_cancelled_check_stops() {
    let Full { bench, .. } = full();
    let options = Options {
        depth: Depth::ReadAll,
        threads: 1,
        record_verified: false,
        progress: &|_| {},
        cancel: &AtomicBool::new(true),
        now: bench.now(),
    };
    assert!(matches!(check(bench.repo(), &bench.index, &options), Err(repo_format::Error::Interrupted)));
}
