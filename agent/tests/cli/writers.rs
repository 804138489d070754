//! Writer keys: what a machine may do that can only add.

use super::bench::{Bench, Ran};
use std::os::unix::fs::PermissionsExt as _;

fn export(bench: &Bench, label: &str) -> String {
    let file = bench.text(&format!("{label}.key"));
    bench.run(["key", "writer-export", "--out", &file, "--label", label, "--trust-group", "lab"]).ok();
    file
}

fn as_writer(bench: &Bench, key: &str, args: &[&str]) -> Ran {
    bench.keyless().env("ICECORE_WRITER_KEY", key).args(args).output().unwrap().into()
}

#[test]
fn a_writer_adds_points_and_sees_its_own_only() {
    let bench = Bench::new();
    let key = export(&bench, "web");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let disk = bench.disk("disk", 6, 1);
    bench.run(["backup", &disk, "--name", "operator's"]).ok();
    as_writer(&bench, &key, &["backup", &disk, "--name", "web"]).ok();

    let seen = as_writer(&bench, &key, &["list", "--json"]).ok().json();
    let names: Vec<_> =
        seen.as_array().unwrap().iter().map(|point| (point["name"].as_str(), point["sealed"].as_bool())).collect();
    assert_eq!(names, [(None, Some(true)), (Some("web"), Some(false))]);
    assert!(as_writer(&bench, &key, &["list"]).ok().stdout.contains("sealed"));
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 2);
    bench.run(["restore", "latest:web", "--to", &bench.text("restored")]).ok();
}

#[test]
fn a_writer_reads_and_deletes_nothing() {
    let bench = Bench::new();
    let key = export(&bench, "web");
    as_writer(&bench, &key, &["backup", &bench.disk("disk", 3, 1), "--name", "web"]).ok();
    let target = bench.text("out");
    for args in [
        &["restore", "latest", "--to", &target][..],
        &["export", "latest", "--to", &target],
        &["ls", "latest", "/"],
        &["forget", "latest"],
        &["forget", "--keep-last", "1"],
        &["key", "add-file", &target],
        &["key", "recovery-export", "--out", &target],
        &["key", "writer-export", "--out", &target],
    ] {
        as_writer(&bench, &key, args).failed(4, &["writer key", "next:"]);
        assert!(!bench.path("out").exists(), "{args:?} left a file");
    }
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_revoked_writer_stores_nothing_more() {
    let bench = Bench::new();
    let key = export(&bench, "web");
    let disk = bench.disk("disk", 3, 1);
    as_writer(&bench, &key, &["backup", &disk]).ok();
    bench.run(["key", "writer-revoke", "zzzz"]).failed(5, &["key writers"]);
    let writers = bench.json(["key", "writers"]);
    let writer = writers.as_array().unwrap().iter().find(|writer| writer["label"] == "web").unwrap();
    assert_eq!((writer["trust_group"].as_str(), writer["revoked_at"].is_null()), (Some("lab"), true));
    bench.run(["key", "writer-revoke", &writer["writer"].as_str().unwrap()[..10]]).ok();
    let ran = as_writer(&bench, &key, &["backup", &disk]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 1);
    bench.run(["restore", "latest", "--to", &bench.text("restored")]).ok();
    let builtin = writers.as_array().unwrap().iter().find(|writer| writer["built_in"] == true).unwrap();
    bench.run(["key", "writer-revoke", builtin["writer"].as_str().unwrap()]).failed(6, &["built-in"]);
}

#[test]
fn a_writer_key_of_another_repository_or_a_changed_one_is_refused() {
    let (bench, other) = (Bench::new(), Bench::new());
    let key = export(&other, "web");
    as_writer(&bench, &key, &["list"]).failed(4, &["belongs to repository"]);
    let text = std::fs::read_to_string(&key).unwrap();
    let changed = bench.write("changed", text.replacen('a', "b", 1));
    as_writer(&bench, &changed, &["list"]).failed(6, &["not a usable writer key"]);
    other.run(["key", "writer-export", "--out", &key]).failed(6, &["never replaces"]);
    let known = other.json(["key", "writers"]).as_array().unwrap().len();
    assert_eq!(known, 2, "a refused export records no writer");
}
