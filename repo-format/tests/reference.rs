//! `reference/restore.py`, written from FORMAT.md alone, restores what this crate stored, and sees what is damaged.
//!
//! It needs Python 3.11 or newer with the packages of `reference/requirements.txt`: those of `ICECORE_REFERENCE_PYTHON`, or a
//! virtual environment in Icecore's cache directory, which the first run makes.

use crate::golden;
use crate::support::{Bench, CHUNK, PASSPHRASE, disk};
use repo_format::key_slot::{SlotKind, Unlock};
use repo_format::kit;
use repo_format::store::dir::DirStore;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reference");

fn run(program: impl AsRef<OsStr>, arguments: &[&OsStr]) {
    let output = Command::new(program.as_ref()).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{:?} cannot be started: {e}", program.as_ref()));
    assert!(
        output.status.success(),
        "making the Python environment failed (Debian: apt install python3-venv): {arguments:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn cache() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    from("ICECORE_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("icecore")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/icecore")))
        .expect("one of ICECORE_CACHE, XDG_CACHE_HOME and HOME is set")
}

/// A Python with the packages that the reference reader needs.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("ICECORE_REFERENCE_PYTHON") {
        return python.into();
    }
    let requirements = Path::new(REFERENCE).join("requirements.txt");
    let hash = blake3::hash(&fs::read(&requirements).unwrap()).to_hex();
    let venv = cache().join(format!("reference-venv-{}", &hash[..16]));
    if !venv.join("complete").exists() {
        // Made under another name and moved: of two tests that make it at once, one wins and both have it.
        let new = venv.with_extension(std::process::id().to_string());
        fs::create_dir_all(venv.parent().unwrap()).unwrap();
        run("python3", &["-m".as_ref(), "venv".as_ref(), new.as_ref()]);
        let install = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r"];
        let mut arguments: Vec<&OsStr> = install.iter().map(OsStr::new).collect();
        arguments.push(requirements.as_ref());
        run(new.join("bin/python"), &arguments);
        fs::write(new.join("complete"), "").unwrap();
        if fs::rename(&new, &venv).is_err() {
            fs::remove_dir_all(&new).unwrap();
        }
    }
    venv.join("bin/python")
}

/// Calls the reader; `secret` is an option and the content of its file.
fn call(repository: &Path, (option, secret): (&str, &[u8]), arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, secret).unwrap();
    let mut command = Command::new(python());
    command.arg("-B").arg(Path::new(REFERENCE).join("restore.py")).arg(repository).arg(option).arg(file);
    command.args(arguments).output().unwrap()
}

const BY_PASSPHRASE: (&str, &[u8]) = ("--passphrase-file", b"correct horse\n");

fn restore(repository: &Path, secret: (&str, &[u8]), point: &str, disk: &str) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("disk.img");
    let output = call(repository, secret, &["restore", point, "--disk", disk, "--to", target.to_str().unwrap()]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!complaint.contains("Traceback"), "{complaint}");
    if output.status.success() { Ok(fs::read(target).unwrap()) } else { Err(complaint) }
}

struct Sample {
    dir: tempfile::TempDir,
    bench: Bench,
    first: Vec<u8>,
    second: Vec<u8>,
    /// Ids of the first and the second point, and of the one with two disks.
    points: [String; 3],
    tall: Vec<u8>,
}

/// A repository in a real directory: full, incremental, holes, a short last chunk, two disks, a tree of two levels.
fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::in_store(Arc::new(DirStore::open(dir.path())), 3);
    let first = disk(1, 20);
    let mut second = first.clone();
    second[3 * CHUNK + 5] ^= 1;
    second[6 * CHUNK..7 * CHUNK].fill(0);
    let mut tall = vec![0; 300 * CHUNK + 1];
    tall[200 * CHUNK..201 * CHUNK].copy_from_slice(&first[..CHUNK]);
    *tall.last_mut().unwrap() = 7;
    let points = [
        bench.backup("vm", &first, None).unwrap(),
        bench.backup("vm", &second, Some(&[3, 6])).unwrap(),
        bench.backup_disks("two disks", &[("tall", &tall), ("empty", &[0; 100])]).unwrap(),
    ];
    let points = points.map(|at| at.manifest.to_string());
    Sample { dir, bench, first, second, points, tall }
}

#[test]
fn the_reference_reader_restores_what_was_stored() {
    assert_eq!(BY_PASSPHRASE.1.strip_suffix(b"\n"), Some(PASSPHRASE.as_bytes()));
    let sample = sample();
    let repository = sample.dir.path();
    let [first, second, two] = &sample.points;
    assert!(restore(repository, BY_PASSPHRASE, first, "disk").unwrap() == sample.first);
    assert!(restore(repository, BY_PASSPHRASE, second, "disk").unwrap() == sample.second);
    assert!(restore(repository, BY_PASSPHRASE, two, "tall").unwrap() == sample.tall);
    assert_eq!(restore(repository, BY_PASSPHRASE, &two[..12], "empty").unwrap(), [0; 100]);
    let listed = String::from_utf8(call(repository, BY_PASSPHRASE, &["list"]).stdout).unwrap();
    assert_eq!(listed.lines().count(), 3);
    assert!(sample.points.iter().all(|point| listed.contains(point)), "{listed}");
}

#[test]
fn the_reference_reader_opens_with_a_key_file_and_with_the_kit() {
    let sample = sample();
    let (repository, repo) = (sample.dir.path(), sample.bench.repo());
    let key = [0x42; 32];
    repo.add_slot((SlotKind::KeyFile, &Unlock::KeyFile(&key)), "key", sample.bench.now()).unwrap();
    let kit = kit::export(&repo.config().repository, repo.keys().master_for("the kit").unwrap());
    for secret in [("--key-file", &key[..]), ("--kit", kit.as_bytes())] {
        assert!(restore(repository, secret, &sample.points[1], "disk").unwrap() == sample.second);
    }
    for wrong in [("--key-file", &[0x43; 32][..]), ("--passphrase-file", b"wrong"), ("--kit", b"repository: 00")] {
        assert!(restore(repository, wrong, &sample.points[1], "disk").is_err());
    }
}

#[test]
fn the_reference_reader_sees_a_changed_byte_in_every_kind_of_object() {
    let sample = sample();
    for kind in ["keys", "manifests", "tree", "data"] {
        let mut file = sample.dir.path().join(kind);
        while file.is_dir() {
            file = fs::read_dir(&file).unwrap().next().unwrap().unwrap().path();
        }
        let sound = fs::read(&file).unwrap();
        let mut changed = sound.clone();
        changed[sound.len() / 2] ^= 0x10;
        fs::write(&file, &changed).unwrap();
        let complaint = restore(sample.dir.path(), BY_PASSPHRASE, &sample.points[1], "disk").unwrap_err();
        assert!(complaint.starts_with("error: "), "{kind}: {complaint}");
        fs::write(&file, sound).unwrap();
    }
}

/// One damaged object of the configuration, one of a writer: said, and no obstacle.
#[test]
fn the_reference_reader_goes_on_without_config_and_without_a_writers_record() {
    let sample = sample();
    for kind in ["config", "writers"] {
        let mut file = sample.dir.path().join(kind);
        if file.is_dir() {
            file = fs::read_dir(&file).unwrap().next().unwrap().unwrap().path();
        }
        let sound = fs::read(&file).unwrap();
        let mut changed = sound.clone();
        changed[sound.len() / 2] ^= 0x10;
        fs::write(&file, &changed).unwrap();
        let listed = call(sample.dir.path(), BY_PASSPHRASE, &["list"]);
        assert!(String::from_utf8_lossy(&listed.stderr).starts_with("warning: "), "{kind}: {listed:?}");
        assert!(restore(sample.dir.path(), BY_PASSPHRASE, &sample.points[1], "disk").unwrap() == sample.second);
        fs::write(&file, sound).unwrap();
    }
}

#[test]
fn the_reference_reader_restores_the_golden_repository() {
    let repository = golden::directory().join("repository");
    for (point, _, hash) in golden::live_points() {
        let restored = restore(&repository, BY_PASSPHRASE, &point, "disk").unwrap();
        assert_eq!(blake3::hash(&restored).to_hex().as_str(), hash, "{point}");
    }
}
