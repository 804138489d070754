//! The bodies of the fuzz targets over thousands of mutated valid inputs, the same ones each time: no panic, no input that
//! takes long, no large allocation. `fuzz/` searches further with the same bodies.

use crate::fuzz_bodies::{self as bodies, repository};
use crate::fuzz_repair as repair;
use crate::support::{Bench, CHUNK, disk, open_store};
use repo_format::catalog::leaf::{Builder, Entry, Facts, Kind};
use repo_format::entropy::{Entropy, SeededEntropy};
use repo_format::repository::Access;
use repo_format::{forget, kit, writer_key};
use std::process::Command;
use std::time::{Duration, Instant};

/// Far above what any input takes, far below what a quadratic loop or a wait would.
const LONGEST: Duration = Duration::from_secs(10);
/// Address space of a run: enough for its threads and SQLite, too little for an allocation by a length nobody checked.
const ADDRESS_SPACE_KIB: u32 = 1_500_000;

/// Runs `work` in a process of its own with little memory: the test `name` of this program calls itself.
fn with_little_memory(name: &str, work: impl FnOnce()) {
    if std::env::var_os("ICECORE_FUZZ_BODY").is_some() {
        return work();
    }
    let limited = format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" --exact --nocapture fuzz_corpus::{name}");
    let program = std::env::current_exe().unwrap();
    let output = Command::new("sh").arg("-c").arg(limited).arg(program).env("ICECORE_FUZZ_BODY", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "no test is named {name}: {said}");
}

/// A stream of choices that repeats.
struct Choices(SeededEntropy);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % limit.max(1) as u64).unwrap()
    }

    /// A place in `bytes`: often in the first or last few hundred, where lengths stand.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let edge = bytes.len().min(300);
        match self.below(3) {
            0 => self.below(edge),
            1 => bytes.len() - 1 - self.below(edge),
            _ => self.below(bytes.len()),
        }
    }
}

const ODD_NUMBERS: [u64; 12] =
    [0, 1, 15, 16, 127, 0x7FFF, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0xFFFF_FFFF, i64::MAX.unsigned_abs(), u64::MAX];

/// One to three changes: flips, cuts, growth, odd lengths, pieces of another input.
fn mutate(choices: &mut Choices, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=choices.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = choices.place(&bytes);
        match choices.below(7) {
            // A digit stays one, so that texts reach behind their parser.
            0 | 1 if bytes[at].is_ascii_digit() => bytes[at] = b"0123456789"[choices.below(10)],
            0 | 1 => bytes[at] ^= 1 << choices.below(8),
            2 => bytes.truncate(at),
            3 => {
                let width = [1, 2, 4, 8][choices.below(4)].min(bytes.len() - at);
                let number = ODD_NUMBERS[choices.below(ODD_NUMBERS.len())].to_le_bytes();
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            4 => {
                let from = choices.place(other);
                let length = choices.below(other.len() - from).min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&other[from..from + length]);
            }
            5 => drop(bytes.splice(at..at, vec![0x30; choices.below(100)])),
            _ => {
                let end = (at + choices.below(64)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
        }
    }
    bytes
}

/// Gives each of `count` mutations of each input, as it is and repaired, to the body. Returns how many repaired ones were sound:
/// of those the fields behind the checksums were read.
fn run(inputs: &[Vec<u8>], count: usize, repair: &dyn Fn(&mut Vec<u8>), body: fn(&[u8]) -> bool) -> usize {
    let mut choices = Choices(SeededEntropy::new(17));
    let give = |bytes: &[u8]| {
        let started = Instant::now();
        let sound = body(bytes);
        assert!(started.elapsed() < LONGEST, "{} bytes took {:?}", bytes.len(), started.elapsed());
        sound
    };
    let mut sound = 0;
    for input in inputs {
        give(input);
        for _ in 0..count {
            let other = &inputs[choices.below(inputs.len())];
            let mut mutated = mutate(&mut choices, input, other);
            give(&mutated);
            repair(&mut mutated);
            sound += usize::from(give(&mutated));
        }
    }
    sound
}

/// Objects of the fuzzed repository below a prefix.
fn objects(prefix: &str) -> Vec<Vec<u8>> {
    let fs = bodies::file_system();
    let elsewhere = Bench::new();
    let master = repository().keys().master_for("the corpus").unwrap().clone();
    let bench = elsewhere.through(&fs, open_store(&fs, &elsewhere.names()), Access::Master(master)).unwrap();
    let mut image = disk(1, 3);
    image.truncate(2 * CHUNK + 100);
    let at = bench.backup("vm", &image, None).unwrap();
    bench.backup_disks("more", &[("a", &image), ("b", &image[..CHUNK])]).unwrap();
    bench.forget(&at).unwrap();
    repo_format::lease::Lease::take(bench.repo(), repo_format::lease::Purpose::Read, bench.now()).unwrap();
    assert_eq!(forget::tombstones(bench.repo()).unwrap().len(), 1);
    let store = bench.store();
    let read = |key: &String| store.get(key).unwrap();
    if prefix == "config" { vec![read(&prefix.into())] } else { store.keys(prefix).unwrap().iter().map(read).collect() }
}

fn packs() -> Vec<Vec<u8>> {
    [objects("data/"), objects("tree/")].concat()
}

#[test]
fn mutated_packs_are_refused_or_read() {
    with_little_memory("mutated_packs_are_refused_or_read", || {
        let inputs = packs();
        assert!(inputs.len() > 2 && inputs.iter().all(|pack| bodies::pack(pack)));
        assert!(run(&inputs, 1_000, &|bytes| repair::pack(bytes), bodies::pack) > 500);
    });
}

#[test]
fn mutated_records_are_refused_or_read() {
    with_little_memory("mutated_records_are_refused_or_read", || {
        let inputs: Vec<_> =
            ["config", "keys/", "writers/", "tombstones/", "leases/"].into_iter().flat_map(objects).collect();
        let operator = repair::operator();
        assert!(inputs.len() > 4 && inputs.iter().all(|record| bodies::record(record)));
        assert!(run(&inputs, 1_500, &|bytes| repair::record(bytes, &operator), bodies::record) > 2_000);
    });
}

/// Manifests whose own record, receipt, or sealed JSON is changed, with signatures and seals that fit.
#[test]
fn mutated_manifests_are_refused_or_read() {
    with_little_memory("mutated_manifests_are_refused_or_read", || {
        let inputs = objects("manifests/");
        assert!(inputs.iter().all(|manifest| bodies::manifest(manifest)));
        run(&inputs, 2_000, &|_| {}, bodies::manifest);
        assert!(run(&manifest_texts(), 3_000, &|_| {}, |json| bodies::manifest(&repair::manifest(json))) > 100);
    });
}

/// The JSON of a manifest, as a writer would seal it.
fn manifest_texts() -> Vec<Vec<u8>> {
    let root = "ab".repeat(32);
    let disk = |name: &str, size: u64| {
        format!(
            r#"{{"name":"{name}","path":"/d","identity":{{"kind":"path","value":"/d"}},"size_bytes":{size},"root":"{root}"}}"#
        )
    };
    let stats = r#"{"bytes_source":1,"bytes_changed":1,"bytes_read":1,"bytes_stored":1,"bytes_new":1,"bytes_zero":1,"chunks_new":1,"chunks_read":1,"duration_ms":1}"#;
    let text = |disks: &[String]| {
        format!(
            r#"{{"name":"vm","host":"h","created_at":"2026-01-01T00:00:00Z","kind":"full","consistency":"offline","provider":"direct","parent":null,"chunk_bytes":65536,"disks":[{}],"stats":{stats},"program":"p"}}"#,
            disks.join(",")
        )
        .into_bytes()
    };
    vec![text(&[disk("a", 1 << 60)]), text(&[disk("a", 1), disk("b", 65_537)])]
}

#[test]
fn the_sealed_sample_is_a_manifest_that_opens() {
    let object = repair::manifest(&manifest_texts()[1]);
    let id = repo_format::record::decode("sample", repo_format::record::MANIFEST, &object).unwrap();
    let at = repo_format::manifest::PointKey {
        name: repository().keys().ids().name("vm"),
        sequence: 1,
        manifest: repo_format::id::ManifestId(*blake3::hash(&object[..id.record_bytes]).as_bytes()),
    };
    let config = repository().config();
    let stored = repo_format::manifest::decode(at, &object, &config.repository, repository().signers()).unwrap();
    assert_eq!(stored.open(repository().keys()).unwrap().disks.len(), 2);
}

#[test]
fn mutated_nodes_are_refused_or_read() {
    with_little_memory("mutated_nodes_are_refused_or_read", || {
        let node = |positions: &[usize]| {
            let mut node = repo_format::tree::node::Node::empty(1);
            positions.iter().for_each(|at| node.children[*at] = Some([7; 32]));
            node.encode()
        };
        let all: Vec<usize> = (0..128).collect();
        assert!(run(&[node(&[0]), node(&[3, 64, 127]), node(&all)], 3_000, &|_| {}, bodies::node) > 500);
    });
}

/// Leaves of a few files and of many whose paths share much.
fn leaves() -> Vec<Vec<u8>> {
    let entry = |path: &str, kind, number: u32| Entry {
        path: path.as_bytes().to_vec(),
        facts: Facts {
            kind,
            size_bytes: u64::from(number) << 20,
            modified: (i64::from(number) - 5, number),
            inode: number.into(),
        },
    };
    let few = vec![entry("a", Kind::Directory, 1), entry("a/b", Kind::Symlink, 9), entry("c", Kind::Damaged, 3)];
    let many =
        (0..40).map(|at| entry(&format!("usr/share/doc/package-{at:03}/changelog"), Kind::Regular, at)).collect();
    let leaf = |entries: Vec<Entry>| {
        let mut builder = Builder::default();
        assert!(entries.iter().all(|entry| builder.add(entry, &mut Vec::new())));
        builder.finish().unwrap().bytes
    };
    vec![leaf(few), leaf(many)]
}

#[test]
fn mutated_leaves_of_catalogs_are_refused_or_read() {
    with_little_memory("mutated_leaves_of_catalogs_are_refused_or_read", || {
        assert!(run(&leaves(), 5_000, &|_| {}, bodies::leaf) > 500);
    });
}

#[test]
fn mutated_key_texts_are_refused_or_read() {
    with_little_memory("mutated_key_texts_are_refused_or_read", || {
        let keys = writer_key::to_text(repository().keys().writer()).to_string().into_bytes();
        assert!(bodies::writer_key_file(&keys));
        run(&[keys], 5_000, &|_| {}, bodies::writer_key_file);
        let master = repository().keys().master_for("the corpus").unwrap();
        let kit = kit::export(&repository().config().repository, master).into_bytes();
        assert!(bodies::recovery_kit(&kit));
        run(&[kit], 5_000, &|_| {}, bodies::recovery_kit);
    });
}

#[test]
fn an_index_is_built_from_whatever_lies_in_the_store() {
    with_little_memory("an_index_is_built_from_whatever_lies_in_the_store", || {
        let mut inputs = packs();
        inputs.extend(objects("tombstones/"));
        assert!(run(&inputs, 60, &|bytes| repair::pack(bytes), bodies::index_rebuild) > 30);
    });
}

/// What the fuzz targets begin with: one directory for each, files named by their content.
fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let records = ["config", "keys/", "writers/", "tombstones/", "leases/"].into_iter().flat_map(objects).collect();
    let node = |positions: &[usize]| {
        let mut node = repo_format::tree::node::Node::empty(1);
        positions.iter().for_each(|at| node.children[*at] = Some([7; 32]));
        node.encode()
    };
    let keys = writer_key::to_text(repository().keys().writer()).to_string().into_bytes();
    let master = repository().keys().master_for("the corpus").unwrap();
    let kit = kit::export(&repository().config().repository, master).into_bytes();
    vec![
        ("pack", packs()),
        ("leaf", leaves()),
        ("node", vec![node(&[0]), node(&[3, 64, 127])]),
        ("manifest", [objects("manifests/"), manifest_texts()].concat()),
        ("record", records),
        ("writer_key", vec![keys]),
        ("kit", vec![kit]),
        ("index_rebuild", [packs(), objects("tombstones/")].concat()),
    ]
}

/// `ICECORE_FUZZ_SEEDS=DIR` writes them; `cargo xtask fuzz` does that.
#[test]
fn every_fuzz_target_has_seeds() {
    let manifest = include_str!("../fuzz/Cargo.toml");
    let seeds = seeds();
    assert_eq!(manifest.matches("[[bin]]").count(), seeds.len());
    for (target, inputs) in seeds {
        assert!(manifest.contains(&format!("name = \"{target}\"")) && !inputs.is_empty(), "{target}");
        let Some(dir) = std::env::var_os("ICECORE_FUZZ_SEEDS") else { continue };
        let dir = std::path::Path::new(&dir).join(target);
        std::fs::create_dir_all(&dir).unwrap();
        for input in inputs {
            std::fs::write(dir.join(blake3::hash(&input).to_hex().as_str()), input).unwrap();
        }
    }
}
