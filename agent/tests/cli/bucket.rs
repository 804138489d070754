//! A repository in object storage, by the command line alone: made, filled, checked, pruned, and restored on a machine that has nothing but the
//! bucket and the key.

use super::bench::{Bench, Ran};
use super::s3::{BUCKET, Engine, KEY_ID, REGION, SECRET};
use serde_json::Value;
use std::fs;

/// The bench's program with a repository in the engine's bucket.
fn run(bench: &Bench, engine: &Engine, more: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = bench.command();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("ICECORE_REPO", format!("s3://{BUCKET}/home/nas"))
        .env("AWS_ENDPOINT_URL", engine.endpoint())
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .envs(more.iter().copied());
    command.args(args).output().unwrap().into()
}

fn json(bench: &Bench, engine: &Engine, args: &[&str]) -> Value {
    run(bench, engine, &[], &[&["--json"], args].concat()).ok().json()
}

#[test]
fn a_repository_in_a_bucket_does_what_one_in_a_directory_does() {
    let (bench, engine) = (Bench::empty(), Engine::s3s_fs());
    let made = run(&bench, &engine, &[], &["init"]).prints(&["s3://backups/home/nas", "prune may run", "Object lock"]);
    assert!(made.stderr.contains("object storage: ") && made.stderr.contains("puts"), "{made:?}");
    run(&bench, &engine, &[], &["init"]).failed(6, &["already"]);
    let disk = bench.disk("disk", 40, 1);
    run(&bench, &engine, &[], &["backup", &disk, "--name", "web"]).ok();
    let first = fs::read(&disk).unwrap();
    bench.flip(disk.as_ref(), 100_000);
    run(&bench, &engine, &[], &["backup", &disk, "--name", "web"]).ok();
    assert_eq!(json(&bench, &engine, &["list"]).as_array().unwrap().len(), 2);
    run(&bench, &engine, &[], &["check", "--read-data"]).ok();

    let status = json(&bench, &engine, &["status"]);
    assert_eq!(status["points"], 2);
    assert_eq!(status["probe"]["findings"]["list_after_write"], true, "{status}");
    assert!(status["requests"]["gets"].as_u64().unwrap() > 0, "{status}");
    run(&bench, &engine, &[], &["status"]).prints(&["Requests", "Object lock"]);

    // Another machine, with the key file alone.
    let other = Bench::empty();
    fs::copy(bench.path("key"), other.path("key")).unwrap();
    let target = other.text("restored");
    run(&other, &engine, &[], &["restore", "web@1", "--to", &target]).ok();
    assert!(fs::read(&target).unwrap() == first);

    run(&bench, &engine, &[], &["forget", "web@1"]).ok();
    let later = ("ICECORE_NOW", "2099-01-01T00:00:00Z");
    run(&bench, &engine, &[later], &["prune"]).ok();
    run(&bench, &engine, &[], &["probe"]).prints(&["prune may run"]);
    let target = other.text("again");
    run(&other, &engine, &[], &["restore", "latest", "--to", &target]).ok();
    assert!(fs::read(&target).unwrap() == fs::read(&disk).unwrap());
}

#[test]
fn what_is_wrong_with_a_bucket_is_told_with_what_to_do() {
    let (bench, engine) = (Bench::empty(), Engine::s3s_fs());
    run(&bench, &engine, &[], &["list"]).failed(5, &["no Icecore repository", "icecore init"]);
    let wrong = [("AWS_SECRET_ACCESS_KEY", "wrong")];
    run(&bench, &engine, &wrong, &["init"]).failed(4, &["access key", "AWS_ACCESS_KEY_ID"]);
    assert!(!bench.path("key").exists(), "no key file is left of it");
    run(&bench, &engine, &[("AWS_SECRET_ACCESS_KEY", "")], &["list"]).failed(4, &["half", "AWS_SECRET_ACCESS_KEY"]);
    let nobody = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("ICECORE_PATIENCE", "0")];
    run(&bench, &engine, &nobody, &["list"]).failed(1, &["could not be reached"]);
    let open = [("AWS_ENDPOINT_URL", "http://storage.example")];
    run(&bench, &engine, &open, &["list"]).failed(5, &["https://", "ICECORE_S3_ALLOW_HTTP"]);
    run(&bench, &engine, &[("ICECORE_REPO", "s3://b")], &["list"]).failed(2, &["s3://BUCKET/PREFIX"]);
    run(&bench, &engine, &[("AWS_PROFILE", "nas")], &["list"]).failed(5, &["AWS_PROFILE"]);
    let dir = bench.text("repo");
    run(&bench, &engine, &[("ICECORE_REPO", &dir)], &["init"]).ok();
    run(&bench, &engine, &[("ICECORE_REPO", &dir)], &["probe"]).failed(2, &["no object storage"]);
}
