//! Interrupted work.

use super::bench::{Bench, Ran, fill};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Stdio};

/// A backup so slow that a signal always meets it at work; returns when it has begun.
fn slow_backup(bench: &Bench) -> Child {
    let mut bytes = vec![0; 64 << 20];
    fill(&mut bytes, 1);
    let disk = bench.write("disk", bytes);
    let mut command = bench.command();
    command.args(["backup", &disk, "--name", "web", "--limit", "1M"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while bench.objects("leases").is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::yield_now();
    }
    child
}

fn interrupted_by(signal: Signal, code: i32) {
    let bench = Bench::new();
    let child = slow_backup(&bench);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    Ran::from(child.wait_with_output().unwrap()).failed(code, &["interrupted"]);
    assert_eq!(bench.json(["list"]), serde_json::json!([]));
    assert!(bench.objects("leases").is_empty(), "the lease was given back");
    bench.run(["check", "--read-data"]).ok();
}

#[test]
fn sigint_stops_a_backup_cleanly() {
    interrupted_by(Signal::SIGINT, 130);
}

#[test]
fn sigterm_stops_a_backup_cleanly() {
    interrupted_by(Signal::SIGTERM, 143);
}
