//! Files by name through all recovery points: what is found, what is shared between points, and what damage costs.

use super::bench::Bench;
use super::files::{disk, tool};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Three points of one disk: `hello` changes from the first to the second, and nothing from the second to the third.
fn three_points(bench: &Bench) -> String {
    let disk = disk(bench);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let device = format!("{disk}?offset={}", 1 << 20);
    bench.write("longer", "hello, world\n");
    tool("debugfs", &["-w", "-R", "rm hello", &device], "");
    tool("debugfs", &["-w", "-R", &format!("write {} hello", bench.text("longer")), &device], "");
    for _ in 0..2 {
        bench.run(["backup", &disk, "--name", "web"]).ok();
    }
    disk
}

fn paths(found: &Value) -> Vec<&str> {
    found["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

#[test]
fn names_are_found_through_all_points_with_their_versions() {
    let bench = Bench::new();
    three_points(&bench);
    let unlisted = bench.json(["search", "hello", "--listed-only"]);
    assert!(
        paths(&unlisted).is_empty() && unlisted["points_not_searched"].as_array().unwrap().len() == 3,
        "{unlisted}"
    );

    let found = bench.json(["search", "HELL"]);
    let hello = &found["files"][0];
    assert_eq!(paths(&found), ["/hello"]);
    assert_eq!((&hello["name"], &hello["partition"]), (&"web".into(), &1.into()), "{found}");
    assert_eq!((&hello["size_bytes"], &hello["versions"], &hello["points"]), (&13.into(), &2.into(), &3.into()));
    assert_eq!((&found["points_searched"], &found["more"]), (&3.into(), &false.into()));
    assert_eq!(paths(&bench.json(["search", "b?g"])), ["/dir/big"]);
    assert_eq!(paths(&bench.json(["search", "*", "--below", "/dir/", "--listed-only"])), ["/dir/big"]);
    assert_eq!(paths(&bench.json(["search", "dir/b"])), ["/dir/big"], "a pattern with a slash");
    let cut = bench.json(["search", "*", "--limit", "2"]);
    assert_eq!((paths(&cut), &cut["more"]), (vec!["/dir", "/dir/big"], &true.into()));
    assert!(paths(&bench.json(["search", "hello", "--name", "web"])).len() == 1);
    bench.run(["search", "hello", "--name", "other"]).failed(5, &["other"]);
    bench.run(["search", ""]).failed(2, &["which name"]);

    let versions = bench.json(["versions", "/hello"]);
    let versions = versions["files"][0]["versions"].as_array().unwrap();
    let points = bench.json(["list"]);
    let ids: Vec<&str> = points.as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap()).collect();
    assert_eq!((&versions[0]["size_bytes"], &versions[0]["points"]), (&13.into(), &ids[1..].to_vec().into()));
    assert_eq!((&versions[1]["size_bytes"], &versions[1]["points"]), (&6.into(), &ids[..1].to_vec().into()));
    bench.run(["versions", "/hello", "--partition", "2"]).failed(5, &["hello"]);
    bench.run(["versions", "/nothing"]).failed(5, &["/nothing"]);
    bench.run(["versions", "/hello"]).prints(&["13 B", "6 B", "regular"]);
    bench.run(["search", "hello"]).prints(&["/hello", "web disk:1"]);
}

/// What a day changes is what its catalog adds.
#[test]
fn a_point_in_which_nothing_changed_adds_no_leaf() {
    let bench = Bench::new();
    let disk = three_points(&bench);
    bench.json(["search", "hello"]);
    assert_eq!((bench.objects("catalogs").len(), bench.objects("leaves").len()), (3, 2));
    bench.run(["backup", &disk, "--name", "again"]).ok();
    assert_eq!(bench.json(["search", "hello"])["files"].as_array().unwrap().len(), 2, "of each name");
    assert_eq!((bench.objects("catalogs").len(), bench.objects("leaves").len()), (4, 2));
    bench.run(["check", "--read-data"]).ok();
    let dumped = bench.run(["dump", "object", &key(&bench, &bench.objects("leaves")[0])]).ok();
    assert!(!dumped.stdout.contains("hello"), "{}", dumped.stdout);
}

fn key(bench: &Bench, object: &std::path::Path) -> String {
    object.strip_prefix(bench.path("repo")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn what_is_damaged_cut_or_missing_is_made_again() {
    let bench = Bench::new();
    three_points(&bench);
    let whole = bench.json(["search", "*"]);
    let spoil = |path: &PathBuf| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    // A part that is there and wrong is met by the search, which says so and leaves nothing of it.
    spoil(&bench.objects("leaves")[0]);
    let ran = bench.run(["search", "*"]).ok();
    assert!(ran.stderr.contains("damaged"), "it is told: {ran:?}");
    assert_eq!(bench.json(["search", "*"]), whole);
    // One that is not there: who made the catalog was killed, or a prune went over it.
    fs::remove_file(&bench.objects("leaves")[1]).unwrap();
    assert_eq!(bench.json(["search", "*"]), whole);
    spoil(&bench.objects("catalogs")[0]);
    fs::remove_file(&bench.objects("catalogs")[1]).unwrap();
    assert_eq!(bench.json(["search", "*"]), whole);
    bench.run(["check"]).ok();
}
