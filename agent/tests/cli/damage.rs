//! Damaged and newer repositories.

use super::bench::Bench;
use std::path::Path;

#[test]
fn a_damaged_configuration_is_named() {
    let bench = Bench::new();
    bench.flip(&bench.path("repo/config"), 60);
    bench.run(["list"]).failed(3, &["config is damaged"]);
    bench.run(["init"]).failed(6, &["already"]);
}

#[test]
fn a_repository_of_a_newer_program_is_refused() {
    let bench = Bench::new();
    let config = bench.path("repo/config");
    let mut bytes = std::fs::read(&config).unwrap();
    bytes[8] = 2;
    renew_checksum(&mut bytes);
    std::fs::write(&config, bytes).unwrap();
    bench.run(["list"]).failed(7, &["version 2", "newer icecore"]);
}

fn renew_checksum(record: &mut [u8]) {
    let end = record.len() - 32;
    let checksum = blake3::hash(&record[..end]);
    record[end..].copy_from_slice(checksum.as_bytes());
}

#[test]
fn a_damaged_key_does_not_keep_the_others_from_opening() {
    let bench = Bench::new();
    let only = bench.objects("keys").remove(0);
    bench.run(["key", "add-file", &bench.text("second")]).ok();
    bench.flip(&only, 100);
    bench.run(["list"]).failed(3, &["is damaged"]);
    let second = bench.keyless().args(["list", "--key-file", &bench.text("second")]).output().unwrap();
    assert!(second.status.success(), "{second:?}");
}

#[test]
fn a_damaged_manifest_hides_no_other_point() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 3, 1);
    bench.run(["backup", &disk, "--name", "a"]).ok();
    bench.run(["backup", &disk, "--name", "b"]).ok();
    let id = bench.json(["list"])[0]["id"].as_str().unwrap().to_owned();
    let manifest = bench.objects("manifests").into_iter().find(|path| names(path, &id)).unwrap();
    bench.flip(&manifest, 300);
    let ran = bench.run(["--json", "list"]).failed(3, &["cannot be read"]);
    let points = ran.json();
    let damaged: Vec<bool> = points.as_array().unwrap().iter().map(|point| !point["damaged"].is_null()).collect();
    assert_eq!(damaged, [true, false]);
    bench.run(["restore", "latest:b", "--to", &bench.text("restored")]).ok();
    bench.run(["show", &id]).failed(3, &["is damaged"]);
}

fn names(path: &Path, id: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(id))
}

#[test]
fn a_damaged_footer_is_warned_of_and_its_chunks_are_stored_again() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 3, 1);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let pack = bench.objects("data").remove(0);
    let length = usize::try_from(pack.metadata().unwrap().len()).unwrap();
    bench.flip(&pack, length - 40);
    std::fs::remove_dir_all(bench.path("cache")).unwrap();
    let ran = bench.run(["backup", &disk, "--name", "again"]).ok();
    assert!(ran.stderr.contains("cannot be used"), "{ran:?}");
    bench.run(["restore", "latest:again", "--to", &bench.text("restored")]).ok();
    assert!(std::fs::read(bench.path("restored")).unwrap() == std::fs::read(&disk).unwrap());
}
