//! What holds for every verb: options, help, output, the repository's place, `init`.

use super::bench::{Bench, Ran};
use std::fs::File;
use std::process::Stdio;

#[test]
fn unknown_verbs_and_options_are_usage_errors_that_help() {
    let bench = Bench::empty();
    bench.run(["lst"]).failed(2, &["unrecognized subcommand", "'list'"]);
    bench.run(["list", "--frobnicate"]).failed(2, &["--frobnicate"]);
    bench.run(["show", "xyz"]).failed(2, &["latest:NAME"]);
    bench.run(["backup", "disk", "--level", "99"]).failed(2, &["1 to 19"]);
    bench.run(["backup", "disk", "--limit", "0"]).failed(2, &["never end"]);
    bench.run(["backup", "disk", "--since", "latest"]).failed(2, &["--changed-extents"]);
    bench.run(["backup", "disk", "--name", ""]).failed(2, &["1 to 1024"]);
    bench.run(["list", "--key-file", "a", "--passphrase-file", "b"]).failed(2, &["cannot be used with"]);
    bench.run(["forget"]).failed(2, &["POINT"]);
}

#[test]
fn a_usage_error_with_json_is_an_object_too() {
    let ran = Bench::empty().run(["--json", "lst"]).failed(2, &[]);
    let value: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(value["error"]["code"], "usage");
    assert!(ran.stdout.is_empty());
}

#[test]
fn an_error_with_json_is_one_object_with_code_why_and_next() {
    let ran: Ran = Bench::empty().run(["--json", "list"]).failed(5, &[]);
    let value: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((value["error"]["exit_code"].as_i64(), value["error"]["code"].as_str()), (Some(5), Some("not_found")));
    assert!(value["error"]["why"][0].as_str().unwrap().contains("no Icecore repository"));
    assert!(value["error"]["next"].as_str().unwrap().contains("init"));
    assert!(ran.stdout.is_empty());
}

#[test]
fn help_version_and_exit_codes_need_no_repository() {
    let bench = Bench::empty();
    assert!(bench.run(["--help"]).ok().stdout.contains("icecore init"));
    assert!(bench.run(["help", "key", "writer-export"]).ok().stdout.contains("--trust-group"));
    assert!(bench.run(["help", "exit-codes"]).ok().stdout.contains("| 6 | `refused`"));
    bench.run(["help", "nonsense"]).failed(2, &["icecore help"]);
    assert!(bench.run(["--version"]).ok().stdout.contains("repository format 1"));
    assert_eq!(bench.json(["version"])["repository_format"], 1);
}

#[test]
fn completions_and_manual_pages_name_the_verbs() {
    let bench = Bench::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(bench.run(["completions", shell]).ok().stdout.contains("writer-export"), "{shell}");
    }
    let man = bench.text("man");
    bench.run(["man", &man]).failed(5, &["cannot write manual pages"]);
    std::fs::create_dir(&man).unwrap();
    bench.run(["man", &man]).ok();
    let page = std::fs::read_to_string(bench.path("man/icecore-backup.1")).unwrap();
    assert!(page.contains("changed\\-extents"));
}

#[test]
fn a_repository_must_be_named_and_exist() {
    let bench = Bench::empty();
    Ran::from(bench.keyless().env_remove("ICECORE_REPO").arg("list").output().unwrap())
        .failed(2, &["no repository was named", "next: give --repo"]);
    bench.run(["list", "--repo", "/nonexistent/place"]).failed(5, &["/nonexistent/place", "icecore init"]);
    std::fs::create_dir(bench.path("repo")).unwrap();
    bench.write("key", [7; 32]);
    bench.run(["backup", &bench.disk("disk", 1, 1)]).failed(5, &["no Icecore repository"]);
    assert!(bench.objects("").is_empty(), "nothing was written into a directory that is no repository");
}

#[test]
fn init_touches_nothing_that_is_there() {
    let bench = Bench::new();
    let before = bench.objects("");
    bench.run(["init"]).failed(6, &["already an Icecore repository", "nothing was changed"]);
    assert_eq!(bench.objects(""), before);
    let bench = Bench::empty();
    std::fs::create_dir(bench.path("repo")).unwrap();
    bench.write("repo/precious", "photos");
    bench.write("key", [7; 32]);
    bench.run(["init"]).failed(6, &["is not empty"]);
    assert_eq!(bench.objects("").len(), 1);
    bench.run(["init", "--repo", "/nonexistent/a/b"]).failed(1, &["cannot make the directory", "next:"]);
}

#[test]
fn init_takes_the_chunk_sizes_of_the_format() {
    let bench = Bench::empty();
    for wrong in ["32K", "100K", "2M", "x"] {
        bench.run(["init", "--chunk-size", wrong]).failed(2, &["--chunk-size"]);
    }
    assert!(!bench.path("key").exists() && !bench.path("repo").exists());
    let made = bench.json(["init", "--chunk-size", "1M"]);
    assert_eq!((made["chunk_bytes"].as_u64(), made["key_file_created"].as_bool()), (Some(1 << 20), Some(true)));
    assert_eq!(bench.json(["status"])["chunk_bytes"], 1 << 20);
}

#[test]
fn a_repository_may_have_an_odd_name() {
    let bench = Bench::empty();
    let odd = bench.text("odd \u{1b}[31m\n'name' é");
    let ran = bench.run(["init", "--repo", &odd]).ok();
    assert!(!ran.stdout.contains('\u{1b}') && ran.stdout.contains("\\u{1b}"));
    bench.run(["backup", &bench.disk("disk", 2, 1), "--repo", &odd]).ok();
    assert_eq!(bench.json(["list", "--repo", &odd]).as_array().unwrap().len(), 1);
}

#[test]
fn output_that_nobody_reads_ends_quietly() {
    let bench = Bench::empty();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = bench.keyless().args(["completions", "bash"]).stdout(Stdio::from(writer)).output().unwrap();
    let ran = Ran::from(output).ok();
    assert!(ran.stderr.is_empty());
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let bench = Bench::empty();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = bench.keyless().args(["completions", "bash"]).stdout(Stdio::from(full)).output().unwrap();
    Ran::from(output).failed(1, &["error:"]);
}

#[test]
fn an_index_never_serves_two_places() {
    let bench = Bench::new();
    let place = bench.json(["index", "path"])["path"].as_str().unwrap().to_owned();
    let elsewhere = bench.text("elsewhere");
    assert_ne!(bench.json(["index", "path", "--repo", &elsewhere])["path"].as_str().unwrap(), place);
    let other_name = format!("{}/../repo", bench.text("repo"));
    assert_eq!(bench.json(["index", "path", "--repo", &other_name])["path"].as_str().unwrap(), place);
    let given = bench.json(["index", "path", "--index-dir", &elsewhere]);
    assert!(given["path"].as_str().unwrap().starts_with(&elsewhere));
}

#[test]
fn without_a_place_for_it_the_index_is_in_memory() {
    let bench = Bench::new();
    bench.write("file", "");
    let nowhere = bench.text("file/below");
    let ran = bench.run(["--index-dir", &nowhere, "backup", &bench.disk("disk", 2, 1)]).ok();
    assert!(ran.stderr.contains("index in memory"), "{ran:?}");
    bench.run(["check", "--read-data"]).ok();
}
