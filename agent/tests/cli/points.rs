//! Recovery points: made, named, listed, compared, restored, forgotten and taken back.

use super::bench::{Bench, fill};
use serde_json::Value;

const CHUNK: usize = 1 << 16;

/// Changes one chunk of a disk and returns the list that says so.
fn change(bench: &Bench, disk: &str, chunk: usize) -> String {
    let mut bytes = std::fs::read(disk).unwrap();
    fill(&mut bytes[chunk * CHUNK..(chunk + 1) * CHUNK], 4242 + chunk as u64);
    std::fs::write(disk, bytes).unwrap();
    bench.write("changes", format!("{} {CHUNK}\n", chunk * CHUNK))
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_has_every_promised_field() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 9, 1);
    assert_eq!(bench.json(["list"]), serde_json::json!([]));
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let list = change(&bench, &disk, 4);
    let told = bench.json(["backup", &disk, "--name", "web", "--changed-extents", &list]);
    bench.run(["backup", &disk, "--name", "web"]).ok();

    let points = bench.json(["list"]);
    let kinds: Vec<_> = points.as_array().unwrap().iter().map(|point| point["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["full", "incremental", "full_read"]);
    let (full, incremental) = (&points[0], &points[1]);
    assert_eq!(full["bytes_source"], 9 * CHUNK);
    assert_eq!(full["bytes_changed"], 9 * CHUNK);
    assert_eq!(incremental["bytes_changed"], CHUNK);
    assert_eq!(incremental["bytes_read"], CHUNK);
    assert_eq!(incremental["parent"], full["id"]);
    assert_eq!((&told["id"], &told["bytes_stored"]), (&incremental["id"], &incremental["bytes_stored"]));
    assert_eq!((incremental["sequence"].as_u64(), incremental["name"].as_str()), (Some(2), Some("web")));
    assert_eq!(incremental["disks"][0]["size_bytes"], 9 * CHUNK);
    for field in ["created_at", "received_at", "host", "consistency", "writer", "duration_ms", "provider"] {
        assert!(!incremental[field].is_null(), "{field}");
    }
    let stored: u64 = points.as_array().unwrap().iter().map(|point| point["bytes_stored"].as_u64().unwrap()).sum();
    let in_store: u64 = ["data", "tree", "manifests"]
        .iter()
        .flat_map(|below| bench.objects(below))
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert_eq!(stored, in_store, "bytes_stored is what was added to the store");
}

#[test]
fn a_point_is_found_by_id_latest_and_sequence() {
    let bench = Bench::new();
    let (a, b) = (bench.disk("a", 2, 1), bench.disk("b", 2, 2));
    bench.run(["backup", &a, "--name", "web@vda"]).ok();
    bench.run(["backup", &b, "--name", "db"]).ok();
    let ids = ids(&bench.json(["list"]));
    let shown = |point: &str| bench.json(["show", point])["id"].as_str().unwrap().to_owned();
    assert_eq!(shown("latest"), ids[1]);
    assert_eq!(shown("latest:web@vda"), ids[0]);
    assert_eq!(shown("web@vda@1"), ids[0]);
    assert_eq!(shown(&ids[1][..8].to_uppercase()), ids[1]);
    bench.run(["show", "latest:nobody"]).failed(5, &["nobody", "icecore list"]);
    bench.run(["show", "db@9"]).failed(5, &["sequence number 9"]);
    bench.run(["show", &format!("{}0000", "f".repeat(60))]).failed(5, &["no recovery point"]);
    let text = bench.run(["show", "latest:db"]).ok().stdout;
    assert!(text.contains(&ids[1]) && text.contains("db@1") && text.contains("offline"));
}

#[test]
fn names_with_odd_characters_survive_and_cannot_control_the_terminal() {
    let bench = Bench::new();
    let name = "odd \u{1b}[2J\u{202e}\n é";
    bench.run(["backup", &bench.disk("disk", 2, 1), "--name", name]).ok();
    assert_eq!(bench.json(["list", "--name", name])[0]["name"], name);
    assert_eq!(bench.json(["show", &format!("latest:{name}")])["name"], name);
    for args in [&["list"][..], &["show", "latest"], &["status"]] {
        let text = bench.run(args).ok().stdout;
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.contains("\\u{1b}[2J"), "{text}");
    }
}

#[test]
fn a_restore_gives_back_every_byte_and_refuses_to_write_over_anything() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 20, 1);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let before = std::fs::read(&disk).unwrap();
    let target = bench.text("target");
    bench.run(["restore", "latest", "--to", &target]).ok();
    assert!(std::fs::read(&target).unwrap() == before);
    bench.run(["restore", "latest", "--to", &target]).failed(6, &["not empty", "--overwrite", "--delta"]);

    std::fs::write(&target, vec![0xFF; 20 * CHUNK]).unwrap();
    let looked = bench.json(["restore", "latest", "--to", &target, "--delta", "--dry-run"]);
    assert_eq!(looked["bytes_target"], 20 * CHUNK);
    assert!(std::fs::read(&target).unwrap().iter().all(|byte| *byte == 0xFF), "a dry run writes nothing");
    bench.run(["restore", "latest", "--to", &target, "--delta"]).ok();
    assert!(std::fs::read(&target).unwrap() == before);
    bench.run(["restore", "latest", "--to", &target, "--disk", "sdz"]).failed(5, &["no disk \"sdz\"", "disk"]);
}

#[test]
fn several_disks_become_one_point_and_are_restored_by_name() {
    let bench = Bench::new();
    let (a, b) = (bench.disk("a", 3, 1), bench.disk("b", 4, 2));
    bench.run(["backup", &a, &b, "--name", "both"]).ok();
    let target = bench.text("target");
    bench.run(["restore", "latest", "--to", &target]).failed(5, &["several disks"]);
    bench.run(["restore", "latest", "--disk", "b", "--to", &target]).ok();
    assert!(std::fs::read(&target).unwrap() == std::fs::read(&b).unwrap());
    let places = bench.json(["ls", "latest"]);
    assert_eq!(places.as_array().unwrap().len(), 2);
    bench.run(["ls", "latest", "--disk", "c"]).failed(5, &["no disk \"c\""]);
}

#[test]
fn diff_names_the_changed_extents_in_the_form_that_backup_reads() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 10, 1);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    change(&bench, &disk, 4);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let difference = bench.json(["diff", "web@1", "web@2"]);
    assert_eq!(difference[0]["bytes_differing"], CHUNK);
    assert_eq!(difference[0]["extents"][0]["offset_bytes"], 4 * CHUNK);
    let text = bench.run(["diff", "web@1", "web@2", "--extents"]).ok().stdout;
    assert_eq!(text, format!("{} {CHUNK}\n", 4 * CHUNK));
    assert_eq!(bench.json(["diff", "web@2", "web@2"])[0]["bytes_differing"], 0);
    bench.run(["diff", "web@1", "web@2", "--disk", "sdz"]).failed(5, &["sdz"]);
}

#[test]
fn a_changed_list_without_a_point_or_out_of_range_is_refused() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 4, 1);
    let list = bench.write("list", "0 4096\n");
    bench
        .run(["backup", &disk, "--name", "web", "--changed-extents", &list])
        .failed(6, &["Run one backup without the list"]);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    for (text, complaint) in [("99999999999 1\n", "list"), ("nonsense\n", "line 1"), ("-1 5\n", "line 1")] {
        let list = bench.write("list", text);
        let ran = bench.run(["backup", &disk, "--name", "web", "--changed-extents", &list]);
        assert!(ran.code != Some(0) && ran.stderr.contains(complaint), "{text:?}: {ran:?}");
    }
    bench.run(["backup", &disk, "--name", "web", "--changed-extents", &bench.text("absent")]).failed(5, &["absent"]);
    let other = bench.disk("other", 4, 2);
    let list = bench.write("list", "0 4096\n");
    let ran = bench.run(["backup", &other, "--name", "web", "--changed-extents", &list]);
    assert!(ran.code != Some(0), "a list against a point of another disk: {ran:?}");
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn an_audit_reports_what_the_list_did_not_name() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 10, 1);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    change(&bench, &disk, 7);
    let list = change(&bench, &disk, 4);
    let args = ["backup", &disk, "--name", "web", "--changed-extents", &list, "--full-read"];
    bench.run(args).failed(3, &["the audit found 64.0 KiB"]);
    bench.run(["restore", "latest", "--to", &bench.text("restored")]).ok();
    assert!(std::fs::read(bench.path("restored")).unwrap() == std::fs::read(&disk).unwrap());
}

#[test]
fn sources_that_are_absent_or_named_twice_are_refused() {
    let bench = Bench::new();
    bench.run(["backup", &bench.text("absent")]).failed(5, &["absent"]);
    let disk = bench.disk("disk", 2, 1);
    bench.run(["backup", &disk, &disk]).failed(1, &["the same disk"]);
    assert_eq!(bench.json(["list"]), serde_json::json!([]));
}

#[test]
fn forgotten_points_are_gone_until_undo() {
    let bench = Bench::new();
    bench.run(["backup", &bench.disk("disk", 3, 1), "--name", "web"]).ok();
    let id = ids(&bench.json(["list"])).remove(0);
    bench.run(["forget", &id[..8], "--dry-run"]).ok();
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 1);
    let ran = bench.run(["forget", &id[..8], "--reason", "a test"]).ok();
    assert!(ran.stderr.contains("icecore undo") && ran.stderr.contains("icecore prune"));
    assert_eq!(bench.json(["list"]), serde_json::json!([]));
    bench.run(["restore", &id, "--to", &bench.text("out")]).failed(5, &["is forgotten", "icecore undo"]);
    let forgotten = bench.json(["list", "--forgotten"]);
    assert_eq!((forgotten[0]["id"].as_str(), forgotten[0]["reason"].as_str()), (Some(id.as_str()), Some("a test")));
    bench.run(["undo", "latest"]).failed(2, &["list --forgotten"]);
    bench.run(["undo", "abcdef012345"]).failed(5, &["list --forgotten"]);
    bench.run(["undo", "web@1"]).ok();
    assert_eq!(ids(&bench.json(["list"])), [id]);
}

#[test]
fn forget_finds_all_points_before_it_forgets_one() {
    let bench = Bench::new();
    bench.run(["backup", &bench.disk("disk", 3, 1), "--name", "web"]).ok();
    bench.run(["forget", "web@1", "web@7"]).failed(5, &["sequence number 7"]);
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 1);
}
