//! `icecore tracker` on a machine whose kernel has no module, and its arguments. What it does with the module is tested in
//! guests that have it.

use super::bench::Bench;
use std::path::Path;

const ID: &str = "aa986b45-bf07-46f7-a52d-8d7829221f24";

/// Is there a module on this machine? Then what these tests expect is not so.
fn module_is_loaded() -> bool {
    Path::new("/dev/blksnap-control").exists()
}

#[test]
fn without_the_module_every_verb_says_so_and_how_to_get_it() {
    if module_is_loaded() {
        return;
    }
    let bench = Bench::empty();
    let verbs: [&[&str]; 11] = [
        &["attach", "/dev/sda"],
        &["detach", "/dev/sda"],
        &["info"],
        &["map", "/dev/sda"],
        &["dirty", "/dev/sda", "0", "4096"],
        &["snapshot", "create", "--storage", "/tmp", "--limit", "1G"],
        &["snapshot", "add", ID, "/dev/sda"],
        &["snapshot", "take", ID],
        &["snapshot", "destroy", ID],
        &["snapshot", "info", ID],
        &["snapshot", "watch", ID],
    ];
    for verb in verbs {
        let args = ["tracker"].iter().chain(verb);
        bench.run(args).failed(1, &["blksnap is not loaded", "next:"]);
    }
    let ran = bench.run(["--json", "tracker", "snapshot", "list"]).failed(1, &[]);
    let value: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(value["error"]["code"], "failed");
    let next = value["error"]["next"].as_str().unwrap();
    assert!(next.contains("modprobe blksnap") || next.contains("cargo xtask kmod"), "{next}");
    assert!(ran.stdout.is_empty());
}

#[test]
fn arguments_are_checked_before_the_module_is_asked() {
    let bench = Bench::empty();
    bench.run(["tracker", "attach"]).failed(2, &["DEVICE"]);
    bench.run(["tracker", "snapshot", "take", "latest"]).failed(2, &["32 hexadecimal digits"]);
    bench.run(["tracker", "snapshot", "create", "--storage", "/tmp"]).failed(2, &["--limit"]);
    bench.run(["tracker", "snapshot", "create", "--storage", "/tmp", "--limit", "1.5G"]).failed(2, &["not a size"]);
    bench
        .run(["tracker", "snapshot", "create", "--storage", "/tmp", "--limit", "1G", "--take"])
        .failed(2, &["--device"]);
    bench.run(["tracker", "dirty", "/dev/sda"]).failed(2, &["OFFSET"]);
    bench.run(["tracker", "dirty", "/dev/sda", "0"]).failed(2, &["LENGTH"]);
    bench.run(["tracker", "dirty", "/dev/sda", "0", "1", "--extents", "x"]).failed(2, &["cannot be used with"]);
    bench.run(["tracker", "map", "/dev/sda", "--since", "x"]).failed(2, &["--since"]);
    bench.run(["tracker", "map", "/dev/sda", "--interval", ID]).failed(2, &["--since"]);
}

#[test]
fn help_completions_and_manual_pages_know_the_tracker() {
    let bench = Bench::empty();
    assert!(bench.run(["help", "tracker", "map"]).ok().stdout.contains("--since"));
    assert!(bench.run(["completions", "bash"]).ok().stdout.contains("tracker"));
    std::fs::create_dir(bench.path("man")).unwrap();
    bench.run(["man", &bench.text("man")]).ok();
    assert!(bench.path("man/icecore-tracker-snapshot-create.1").exists());
}
