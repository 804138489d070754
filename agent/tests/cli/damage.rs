//! Damaged and newer repositories.

use super::bench::{Bench, Ran};
use std::path::Path;

#[test]
fn a_damaged_configuration_is_read_from_its_copy_and_repaired() {
    let bench = Bench::new();
    bench.flip(&bench.path("repo/config"), 60);
    let listed = bench.run(["list"]).ok();
    assert!(listed.stderr.contains("config is damaged") && listed.stderr.contains("key repair"), "{listed:?}");
    bench.run(["check"]).failed(3, &["found 1 errors"]);
    bench.run(["init"]).failed(6, &["already"]);
    assert_eq!(bench.json(["key", "repair"])["written"], serde_json::json!(["config"]));
    assert_eq!(bench.run(["list"]).ok().stderr, "");
    bench.run(["check"]).ok();
    assert!(bench.run(["key", "repair"]).ok().stdout.contains("Nothing of it is damaged"));
}

#[test]
fn a_configuration_without_any_sound_copy_is_made_again_from_the_recovery_kit() {
    let bench = Bench::new();
    let (kit, disk, back) = (bench.text("kit.txt"), bench.disk("disk.img", 8, 1), bench.text("back.img"));
    bench.run(["backup", &disk, "--name", "vm"]).ok();
    bench.run(["key", "recovery-export", "--out", &kit]).ok();
    bench.flip(&bench.path("repo/config"), 60);
    bench.flip(&bench.path("repo/config-copy"), 60);
    bench.run(["list"]).failed(3, &["config is damaged", "config-copy is damaged", "recovery-kit"]);
    bench.run(["check"]).failed(3, &["config is damaged", "from a replica"]);
    bench.run(["init"]).failed(6, &["already"]);
    bench.run(["key", "repair"]).failed(3, &["recovery-kit"]);
    let with_kit = ["--json", "--recovery-kit", &kit, "key", "repair"];
    let repaired = Ran::from(bench.keyless().args(with_kit).output().unwrap()).ok().json();
    assert_eq!(repaired["written"], serde_json::json!(["config", "config-copy"]));
    bench.run(["check", "--read-data"]).ok();
    bench.run(["restore", "latest", "--to", &back]).ok();
    assert!(std::fs::read(back).unwrap() == std::fs::read(disk).unwrap());
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

/// The points of a machine whose writer record is damaged are shown, can be restored with a warning, and are left alone by rules.
#[test]
fn a_damaged_writer_record_costs_a_warning_until_it_is_repaired() {
    let bench = Bench::new();
    let (ours, theirs) = (bench.disk("ours", 3, 1), bench.disk("theirs", 4, 2));
    bench.run(["backup", &ours, "--name", "ours"]).ok();
    let key = bench.text("laptop.key");
    let writer = bench.json(["key", "writer-export", "--out", &key])["writer"].as_str().unwrap().to_owned();
    let laptop = |args: &[&str]| Ran::from(bench.keyless().args(["--writer-key", &key]).args(args).output().unwrap());
    laptop(&["backup", &theirs, "--name", "theirs"]).ok();
    bench.flip(&bench.path(&format!("repo/writers/{writer}-00000000")), 70);

    let points = bench.json(["list"]);
    let of = |name: &str| points.as_array().unwrap().iter().find(|point| point["name"] == name).unwrap().clone();
    assert_eq!((of("ours")["verified"].as_bool(), of("theirs")["verified"].as_bool()), (Some(true), Some(false)));
    let out = bench.text("out");
    let silent = bench.run(["restore", "latest", "--to", &out]).ok();
    assert!(!silent.stderr.contains("cannot be verified by its signature"), "{silent:?}");
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&ours).unwrap());
    bench.run(["restore", "latest:theirs", "--to", &bench.text("x")]).failed(5, &["unverified", "by its id"]);
    let out = bench.text("out2");
    let loud = bench.run(["restore", of("theirs")["id"].as_str().unwrap(), "--to", &out]).ok();
    assert!(loud.stderr.contains("cannot be verified by its signature"), "{loud:?}");
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&theirs).unwrap());

    bench.run(["check", "--read-data"]).failed(3, &["found 1 errors"]);
    bench.run(["prune"]).failed(6, &["key repair"]);
    let kept = bench.run(["forget", "--keep-last", "1"]).ok();
    assert!(kept.stderr.contains("stays: it cannot be verified"), "{kept:?}");
    bench.run(["status"]).ok();
    laptop(&["backup", &theirs, "--name", "theirs"]).failed(6, &["is damaged", "key repair"]);

    bench.run(["key", "repair"]).failed(3, &["still damaged", &writer]);
    bench.run(["key", "repair", &key]).ok();
    bench.run(["check", "--read-data"]).ok();
    bench.run(["prune"]).ok();
    laptop(&["backup", &theirs, "--name", "theirs"]).ok();
}
