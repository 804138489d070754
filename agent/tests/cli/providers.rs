//! Who holds the disks still, as the command line offers, shows and refuses it; without the kernel module.

use super::bench::{Bench, fill};

const CHUNK: usize = 1 << 16;

/// Changes chunks of a disk and returns a list that names only some of them.
fn change(bench: &Bench, disk: &str, chunks: &[usize], named: &[usize]) -> String {
    let mut bytes = std::fs::read(disk).unwrap();
    chunks.iter().for_each(|chunk| fill(&mut bytes[chunk * CHUNK..(chunk + 1) * CHUNK], 77 + *chunk as u64));
    std::fs::write(disk, bytes).unwrap();
    let lines: String = named.iter().map(|chunk| format!("{} {CHUNK}\n", chunk * CHUNK)).collect();
    bench.write("changes", lines)
}

#[test]
fn the_result_and_the_point_name_provider_and_consistency() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 4, 1);
    let told = bench.json(["backup", &disk, "--name", "web"]);
    assert_eq!((told["provider"].as_str(), told["consistency"].as_str()), (Some("direct"), Some("offline")));
    assert_eq!(told["disks"][0]["bytes_read"], 4 * CHUNK);
    bench.run(["show", "latest"]).prints(&["provider direct", "offline"]);
}

#[test]
fn a_provider_that_cannot_serve_is_refused_with_what_lifts_it() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 4, 1);
    let wanted = ["backup", &disk, "--provider", "module"];
    bench.run(wanted).failed(6, &["--provider module cannot be used", "is an image file", "Next:"]);
    bench.run(["backup", &disk, "--provider", "other"]).failed(2, &["auto, module, lvm or direct"]);
    bench.run(["backup", &disk, "--snapshot-storage", "ram:much"]).failed(2, &["not a size"]);
    assert_eq!(bench.json(["list"]).as_array().unwrap().len(), 0);
}

#[test]
fn points_that_relied_on_an_incomplete_list_are_suspect_until_they_are_gone() {
    let bench = Bench::new();
    let disk = bench.disk("disk", 10, 1);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let list = change(&bench, &disk, &[2, 3], &[2]);
    bench.run(["backup", &disk, "--name", "web", "--changed-extents", &list]).ok();
    let list = change(&bench, &disk, &[5], &[5]);
    let audit = ["backup", &disk, "--name", "web", "--changed-extents", &list, "--full-read"];
    bench.run(audit).failed(3, &["the audit found 64.0 KiB", "marked as suspect"]);
    let points = bench.json(["list"]);
    let suspect: Vec<bool> = points.as_array().unwrap().iter().map(|point| point["suspect"] == true).collect();
    assert_eq!(suspect, [false, true, false]);
    bench.run(["list"]).prints(&["incremental (SUSPECT)"]);
    bench.run(["show", "web@2"]).prints(&["SUSPECT", "may lack changes"]);
    bench.run(["check"]).prints(&["may lack changes", "made by a full read"]);
}
