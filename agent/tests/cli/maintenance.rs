//! Retention, prune, check, index, status and dump.

use super::bench::{Bench, Ran};
use serde_json::Value;

fn at(bench: &Bench, now: &str, args: &[&str]) -> Ran {
    bench.command().env("ICECORE_NOW", now).args(args).output().unwrap().into()
}

#[test]
fn rules_keep_the_last_point_of_each_day_and_say_why() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 2, 1);
    for now in ["2026-01-01T08:00:00Z", "2026-01-01T20:00:00Z", "2026-01-02T08:00:00Z", "2026-01-03T08:00:00Z"] {
        at(&bench, now, &["backup", &disk, "--name", "web"]).ok();
    }
    let rules = ["forget", "--keep-daily", "2", "--name", "web"];
    let now = "2026-01-04T00:00:00Z";
    let table = at(&bench, now, &[&rules[..], &["--dry-run"]].concat()).ok().stdout;
    assert!(table.contains("Would forget 2 recovery points"), "{table}");
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 4);

    let decided = at(&bench, now, &[&rules[..], &["--json"]].concat()).ok().json();
    let kept: Vec<u64> = decided
        .as_array()
        .unwrap()
        .iter()
        .filter(|decision| decision["keep"] == true)
        .map(|decision| decision["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(kept, [4, 3]);
    assert!(decided.as_array().unwrap().iter().all(|decision| !decision["reasons"].as_array().unwrap().is_empty()));
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 2);
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    let bench = Bench::new();
    bench.run(["backup", &bench.disk("disk", 2, 1), "--name", "web"]).ok();
    bench.run(["forget", "--keep-within", "soon"]).failed(2, &["36h"]);
    bench.run(["forget", "web@1", "--keep-last", "1"]).failed(2, &["cannot be used with"]);
    bench.run(["forget", "--keep-last", "1", "--name", "nobody"]).failed(5, &["nobody"]);
    let ran = bench.run(["forget", "--keep-last", "0"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn prune_frees_what_was_forgotten_after_the_undo_time_and_the_grace() {
    let bench = Bench::new();
    at(&bench, "2026-01-01T08:00:00Z", &["backup", &bench.disk("a", 40, 1), "--name", "a"]).ok();
    at(&bench, "2026-01-01T09:00:00Z", &["backup", &bench.disk("b", 2, 2), "--name", "b"]).ok();
    at(&bench, "2026-01-01T10:00:00Z", &["forget", "latest:a"]).ok();
    let before = bench.json(["status"])["bytes_total"].as_u64().unwrap();
    at(&bench, "2026-01-02T00:00:00Z", &["prune"]).ok();
    at(&bench, "2026-01-02T01:00:00Z", &["undo", "a@1"]).ok();
    at(&bench, "2026-01-02T02:00:00Z", &["forget", "a@1"]).ok();
    let dry = at(&bench, "2026-02-01T00:00:00Z", &["prune", "--dry-run", "--json"]).ok().json();
    assert_eq!(dry["points_deleted"].as_array().unwrap().len(), 1);
    assert_eq!(bench.json(["list", "--forgotten"]).as_array().unwrap().len(), 1);
    for now in ["2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z"] {
        at(&bench, now, &["prune"]).ok();
    }
    let after = bench.json(["status"])["bytes_total"].as_u64().unwrap();
    assert!(after < before / 4, "{before} bytes became {after}");
    at(&bench, "2026-02-03T00:00:00Z", &["undo", "a@1"]).failed(5, &["prune has deleted it"]);
    bench.run(["check", "--read-data"]).ok();
    bench.run(["restore", "latest:b", "--to", &bench.text("restored")]).ok();
    assert!(std::fs::read(bench.path("restored")).unwrap() == std::fs::read(bench.path("b")).unwrap());
}

#[test]
fn check_names_a_damaged_pack_and_the_point_it_touches() {
    let bench = Bench::new();
    bench.run(["backup", &bench.disk("disk", 6, 1), "--name", "web"]).ok();
    let sound = bench.json(["check", "--sample", "100"]);
    assert_eq!(sound["findings"].as_array().map(Vec::len), Some(0), "{sound}");
    bench.run(["check", "--sample", "0"]).failed(2, &["percent"]);
    let pack = bench.objects("data").remove(0);
    bench.flip(&pack, 5000);
    let ran = bench.run(["--json", "check", "--read-data"]).failed(3, &["errors"]);
    let report = ran.json();
    let name = pack.file_name().unwrap().to_str().unwrap();
    let finding = &report["findings"][0];
    assert!(finding["object"].as_str().unwrap().contains(name), "{finding}");
    assert_eq!(finding["affects"][0]["name"], "web");
    bench.run(["restore", "latest", "--to", &bench.text("restored")]).failed(3, &["damaged", "check --read-data"]);
}

#[test]
fn the_index_is_rebuilt_and_its_loss_matters_to_nothing() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 6, 1);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let rebuilt = bench.json(["index", "rebuild", "--from-nothing"]);
    assert_eq!(rebuilt["packs"], rebuilt["packs_added"]);
    let file = rebuilt["path"].as_str().unwrap().to_owned();
    std::fs::write(&file, "this is no database").unwrap();
    bench.run(["restore", "latest", "--to", &bench.text("restored")]).ok();
    std::fs::remove_dir_all(bench.path("cache")).unwrap();
    let again = bench.json(["backup", &disk, "--name", "web"]);
    assert_eq!(again["bytes_new"], 0, "what is stored is known again");
}

#[test]
fn status_adds_up() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 9, 1);
    for _ in 0..2 {
        bench.run(["backup", &disk, "--name", "web"]).ok();
    }
    let status = bench.json(["status"]);
    assert_eq!((status["points"].as_u64(), status["points_sealed"].as_u64()), (Some(2), Some(0)));
    assert_eq!(status["bytes_source"], 2 * (9 << 16));
    assert_eq!(status["bytes_unique"], 6 << 16);
    assert_eq!(status["names"][0]["points"], 2);
    assert_eq!(status["sessions"], Value::Array(Vec::new()));
    let number = |field: &str| status[field].as_u64().unwrap();
    assert_eq!(number("bytes_total"), number("bytes_data_packs") + number("bytes_tree_packs") + number("bytes_other"));
    assert!(bench.run(["status"]).ok().stdout.contains("dedup 3.0x"));
}

#[test]
fn status_counts_what_prune_would_free() {
    let bench = Bench::new();
    at(&bench, "2026-01-01T00:00:00Z", &["backup", &bench.disk("a", 30, 1), "--name", "a"]).ok();
    at(&bench, "2026-01-01T00:00:00Z", &["backup", &bench.disk("b", 9, 2), "--name", "b"]).ok();
    let dead = |now: &str| at(&bench, now, &["--json", "status", "--unreferenced"]).ok().json()["unreferenced"].clone();
    assert_eq!(dead("2026-01-02T00:00:00Z")["bytes"], 0);
    assert_eq!(bench.json(["status"])["unreferenced"], Value::Null);
    at(&bench, "2026-01-02T00:00:00Z", &["forget", "latest:a"]).ok();
    assert_eq!(dead("2026-01-02T00:00:00Z")["bytes"], 0, "it can still be taken back");

    let due = dead("2026-01-20T00:00:00Z");
    let number = |value: &Value, field: &str| value[field].as_u64().unwrap();
    assert!(number(&due, "bytes_freed_later") > 20 << 16, "{due}");
    at(&bench, "2026-01-20T00:00:00Z", &["prune"]).ok();
    let condemned = dead("2026-01-22T00:00:00Z");
    assert_eq!(condemned["bytes_freed_at_once"], due["bytes_freed_later"]);
    let shown = at(&bench, "2026-01-22T00:00:00Z", &["status", "--unreferenced"]).ok();
    assert!(shown.stdout.contains("Unreferenced") && shown.stdout.contains("`icecore prune` frees"), "{shown:?}");
    at(&bench, "2026-01-22T00:00:00Z", &["prune"]).ok();
    assert_eq!(dead("2026-01-22T00:00:00Z")["bytes"], 0);
}

#[test]
fn dump_shows_structures_without_keys_and_without_secrets() {
    let bench = Bench::new();
    bench.run(["backup", &bench.disk("disk", 3, 1), "--name", "secret-name"]).ok();
    let keyless: Ran = bench.keyless().args(["dump", "object", "config", "--json"]).output().unwrap().into();
    assert_eq!(keyless.ok().json()["kind"], "configuration");
    let pack = bench.objects("data").remove(0);
    let shown: Ran = bench.keyless().args(["dump", "file"]).arg(&pack).output().unwrap().into();
    assert!(shown.ok().stdout.contains("entries"));
    assert!(bench.run(["dump", "point", "latest"]).ok().stdout.contains("secret-name"));
    let manifest = bench.objects("manifests").remove(0);
    let sealed: Ran = bench.keyless().args(["dump", "file"]).arg(&manifest).output().unwrap().into();
    assert!(!sealed.ok().stdout.contains("secret-name"));
    assert_eq!(bench.json(["dump", "index"])["kind"], "index");
    bench.run(["dump", "object", "keys/none"]).failed(3, &["keys/none"]);
    bench.run(["dump", "chunk", "abc"]).failed(2, &["ID"]);
}
