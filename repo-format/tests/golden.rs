//! Repositories of each format version, committed as bytes: today's program opens, proves, restores and writes the same.
//!
//! `golden/v1/repository` was made by [`make`]. It is never made anew for a version that was released: `ICECORE_GOLDEN_WRITE=DIR`
//! writes the repository of the next one.

use crate::support::{Bench, CHUNK, ROOT, open_store};
use repo_format::check::prove_point;
use repo_format::condemned::{self, PackRef};
use repo_format::entropy::{Entropy, SeededEntropy};
use repo_format::id::PackId;
use repo_format::pack::PackKind;
use repo_format::reader::Reader;
use repo_format::repository::{Access, Repository};
use repo_format::store::dir::DirStore;
use repo_format::store::fs::Fs;
use repo_format::suspects;
use repo_format::{forget, lease, writer_key};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn text(file: &str) -> String {
    fs::read_to_string(directory().join(file)).unwrap()
}

/// Lines of `points`: id, name and BLAKE3 of the disk.
pub fn live_points() -> Vec<(String, String, String)> {
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
    };
    text("points").lines().map(line).collect()
}

/// Small when stored: one random chunk, text, a repetition, a hole, a short end.
fn image(seed: u64) -> Vec<u8> {
    let mut image = vec![0; 6 * CHUNK - 777];
    SeededEntropy::new(seed).fill(&mut image[..CHUNK / 4]);
    for (position, chunk) in image.chunks_mut(CHUNK).enumerate().skip(1).filter(|(position, _)| *position != 3) {
        chunk.iter_mut().enumerate().for_each(|(at, byte)| {
            *byte = u8::try_from((at / 91 + position + usize::try_from(seed).unwrap()) % 251).unwrap();
        });
    }
    image
}

/// All that is in a golden repository: its objects and the files beside it.
struct Golden {
    objects: BTreeMap<String, Vec<u8>>,
    points: String,
    writer_key: String,
}

/// Full and incremental, two writers, a forgotten point, one that prune deleted, a condemned list, a rescue, a verification, a lease.
fn make() -> Golden {
    let bench = Bench::seeded(2026);
    let (first, mut second) = (image(1), image(1));
    second[2 * CHUNK + 8] ^= 0xFF;
    let deleted = bench.backup("gone", &image(5), None).unwrap();
    let mut points = vec![(bench.backup("vm", &first, None).unwrap(), "vm", first)];
    points.push((bench.backup("vm", &second, Some(&[2])).unwrap(), "vm", second));
    bench.forget(&deleted).unwrap();
    bench.pass_time(crate::support::DAY * 2);
    bench.prune(false).unwrap();
    let forgotten = bench.backup("vm", &image(6), None).unwrap();
    bench.forget(&forgotten).unwrap();
    let keys = bench.repo().create_writer("laptop", Some("home".into()), bench.now()).unwrap();
    let writer_key = writer_key::to_text(&keys).to_string();
    let laptop = bench.reopen(Access::Writer(Box::new(keys)));
    points.push((laptop.backup("laptop", &image(7), None).unwrap(), "laptop", image(7)));
    let packs = data_packs(&bench);
    condemned::record_verified(bench.repo(), &packs[..1], bench.now()).unwrap();
    condemned::rescue(laptop.repo(), packs[1..].to_vec(), bench.now()).unwrap();
    lease::Lease::take(laptop.repo(), lease::Purpose::Read, bench.now()).unwrap();
    suspects::record(laptop.repo(), &[points[1].0.manifest], bench.now()).unwrap();
    let line = |(at, name, image): &(repo_format::manifest::PointKey, &str, Vec<u8>)| {
        format!("{} {name} {}\n", at.manifest, blake3::hash(image).to_hex())
    };
    Golden { objects: objects(&bench), points: points.iter().map(line).collect(), writer_key }
}

fn data_packs(bench: &Bench) -> Vec<PackRef> {
    let keys = bench.store().keys("data/").unwrap();
    let pack = |key: &String| -> PackId { PackKind::Data.parse_key(key).unwrap() };
    keys.iter().map(|key| PackRef { kind: PackKind::Data, pack: pack(key) }).collect()
}

fn objects(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let read = |path: PathBuf| {
        let mut bytes = vec![0; usize::try_from(bench.fs.size(&path).unwrap().unwrap()).unwrap()];
        bench.fs.read_at(&path, 0, &mut bytes).unwrap();
        (path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned(), bytes)
    };
    bench.fs.files().into_iter().map(read).collect()
}

fn write(golden: &Golden, target: &Path) {
    for (key, bytes) in &golden.objects {
        let path = target.join("repository").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(target.join("points"), &golden.points).unwrap();
    fs::write(target.join("writer.key"), &golden.writer_key).unwrap();
    fs::write(target.join("zstd-version"), zstd::zstd_safe::version_string()).unwrap();
}

/// The committed objects on a simulated file system: what is done to them stays there.
fn opened(access: Access<'_>) -> repo_format::Result<Bench> {
    let bench = Bench::new();
    let fs = repo_format::store::sim::SimFs::new(Path::new(ROOT));
    let store = open_store(&fs, &bench.names());
    for (key, bytes) in committed() {
        store.put(&key, &bytes)?;
    }
    bench.try_on(&fs, access)
}

fn committed() -> BTreeMap<String, Vec<u8>> {
    fn visit(dir: &Path, key: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let key = format!("{key}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => visit(&entry.path(), &format!("{key}/"), found),
                false => drop(found.insert(key, fs::read(entry.path()).unwrap())),
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(&directory().join("repository"), "", &mut found);
    found
}

#[test]
fn todays_program_restores_version_1() {
    let bench = opened(Bench::new().passphrase()).unwrap();
    let points = bench.repo().points().unwrap();
    for (id, _, hash) in live_points() {
        let at = *points.iter().find(|at| at.manifest.to_string() == id).unwrap();
        assert!(!bench.repo().is_forgotten(&at.manifest).unwrap());
        prove_point(&Reader::new(bench.repo(), &bench.index), at).unwrap();
        assert_eq!(blake3::hash(&bench.restore(at).unwrap()).to_hex().as_str(), hash);
    }
}

#[test]
fn todays_program_reads_the_small_records_of_version_1() {
    let bench = opened(Bench::new().passphrase()).unwrap();
    let repo = bench.repo();
    let there: Vec<bool> = forget::tombstones(repo).unwrap().into_iter().map(|(there, _)| there).collect();
    assert_eq!((there.len(), there.iter().filter(|there| **there).count()), (2, 1));
    assert_eq!(condemned::list(repo).unwrap().len(), 1);
    assert_eq!(condemned::rescues(repo).unwrap().len(), 1);
    assert_eq!(condemned::verified(repo.records()).unwrap().len(), 1);
    assert_eq!(suspects::all(repo).unwrap().len(), 1);
    assert_eq!(lease::list(repo).unwrap().len(), 1);
    assert_eq!(repo.writers().unwrap().len(), 2);
}

#[test]
fn todays_program_goes_on_in_a_repository_of_version_1() {
    let bench = opened(Bench::new().passphrase()).unwrap();
    let (_, stone) = forget::tombstones(bench.repo()).unwrap().into_iter().find(|(there, _)| *there).unwrap();
    forget::undo(bench.repo(), &stone, bench.now()).unwrap();
    let at = bench.backup("vm", &image(6), Some(&[])).unwrap();
    bench.pass_time(crate::support::DAY * 30);
    bench.prune(false).unwrap();
    bench.pass_time(crate::support::DAY * 2);
    bench.prune(false).unwrap();
    assert!(bench.with_new_index().restore(at).unwrap() == image(6));
}

#[test]
fn a_writer_key_file_of_version_1_still_writes() {
    let keys = writer_key::from_text(&text("writer.key")).unwrap();
    let laptop = opened(Access::Writer(Box::new(keys))).unwrap();
    let at = laptop.backup("laptop", &image(8), None).unwrap();
    assert!(laptop.reopen(laptop.passphrase()).restore(at).unwrap() == image(8));
}

/// The real store reads the same files: nothing of the above depends on the simulated one.
#[test]
fn the_committed_directory_opens_where_it_lies() {
    let store = Arc::new(DirStore::open(directory().join("repository")));
    let entropy = Arc::new(SeededEntropy::new(1));
    let repo = Repository::open(store, Bench::new().passphrase(), entropy).unwrap();
    assert_eq!(repo.points().unwrap().len(), 4);
}

/// Data packs hold what zstd made, and manifests count it; with another version of zstd than then, the rest is compared.
#[test]
fn todays_program_writes_version_1_byte_for_byte() {
    let golden = make();
    if let Some(target) = std::env::var_os("ICECORE_GOLDEN_WRITE") {
        write(&golden, Path::new(&target));
    }
    let same_zstd = text("zstd-version") == zstd::zstd_safe::version_string();
    let depends_on_zstd = |key: &str| ["data/", "manifests/"].iter().any(|prefix| key.starts_with(prefix));
    let named_by_zstd = ["tombstones/", "condemned/", "rescues/", "verified/", "damaged/", "suspects/"];
    let compared = |objects: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, blake3::Hash> {
        let kept = objects.into_iter().filter(|(key, _)| {
            same_zstd || !(depends_on_zstd(key) || named_by_zstd.iter().any(|prefix| key.starts_with(prefix)))
        });
        kept.map(|(key, bytes)| (key, blake3::hash(&bytes))).collect()
    };
    assert_eq!(compared(golden.objects), compared(committed()));
    assert_eq!(golden.writer_key, text("writer.key"));
}
