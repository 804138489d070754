//! What opens a repository: passphrases, key files, recovery kits, over their whole life.

use super::bench::{Bench, Ran};
use std::os::unix::fs::PermissionsExt as _;

fn with_passphrase(bench: &Bench, passphrase: &str, args: &[&str]) -> Ran {
    bench.keyless().env("ICECORE_PASSPHRASE", passphrase).args(args).output().unwrap().into()
}

#[test]
fn without_a_key_or_a_terminal_the_error_names_the_ways() {
    let bench = Bench::new();
    Ran::from(bench.keyless().arg("list").output().unwrap())
        .failed(4, &["there is no terminal to ask on", "ICECORE_PASSPHRASE", "--recovery-kit"]);
}

#[test]
fn a_passphrase_lives_from_init_to_its_replacement() {
    let bench = Bench::empty();
    with_passphrase(&bench, "first", &["init", "--label", "door"]).ok();
    with_passphrase(&bench, "wrong", &["list"]).failed(4, &["opens none", "--recovery-kit"]);
    let file = bench.write("pass", "first\nsecond line\n");
    Ran::from(bench.keyless().args(["list", "--passphrase-file", &file]).output().unwrap()).ok();

    let new = bench.write("new", "third\n");
    with_passphrase(&bench, "first", &["key", "change-passphrase", "--new-passphrase-file", &new]).ok();
    with_passphrase(&bench, "first", &["list"]).failed(4, &[]);
    let keys = with_passphrase(&bench, "third", &["key", "list", "--json"]).ok().json();
    assert_eq!((keys.as_array().unwrap().len(), keys[0]["label"].as_str()), (1, Some("door")));
    assert_eq!(keys[0]["kind"], "passphrase");
}

#[test]
fn a_passphrase_can_be_added_beside_a_key_file() {
    let bench = Bench::new();
    let add = ["key", "add-passphrase", "--label", "spare"];
    Ran::from(bench.command().env("ICECORE_NEW_PASSPHRASE", "spare").args(add).output().unwrap()).ok();
    with_passphrase(&bench, "spare", &["list"]).ok();
    bench.run(["key", "change-passphrase"]).failed(2, &["not opened with a passphrase"]);
}

#[test]
fn an_empty_passphrase_is_refused() {
    let bench = Bench::empty();
    let file = bench.write("pass", "\nrest\n");
    Ran::from(bench.keyless().args(["init", "--passphrase-file", &file]).output().unwrap())
        .failed(2, &["first line", "is empty"]);
    assert!(!bench.path("repo").exists());
}

#[test]
fn key_files_are_made_private_and_never_written_over() {
    let bench = Bench::new();
    let mode = std::fs::metadata(bench.path("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = bench.text("second");
    bench.run(["key", "add-file", &second, "--label", "usb"]).ok();
    let before = std::fs::read(&second).unwrap();
    bench.run(["key", "add-file", &second]).ok();
    assert_eq!(std::fs::read(&second).unwrap(), before);
    Ran::from(bench.keyless().args(["list", "--key-file", &second]).output().unwrap()).ok();
    let short = bench.write("short", [1; 31]);
    bench.run(["key", "add-file", &short]).failed(4, &["31 bytes"]);
    bench.run(["list", "--key-file", &bench.text("absent")]).failed(5, &["absent"]);
}

#[test]
fn keys_are_removed_by_their_first_digits_but_never_the_last() {
    let bench = Bench::new();
    bench.run(["key", "remove", "zz"]).failed(5, &["key list"]);
    bench.run(["key", "remove", ""]).failed(5, &["key list"]);
    let first = bench.json(["key", "list"])[0]["slot"].as_str().unwrap().to_owned();
    bench.run(["key", "remove", &first[..12]]).failed(6, &["the last key"]);
    let second = bench.text("second");
    bench.run(["key", "add-file", &second]).ok();
    bench.run(["key", "remove", &first[..12]]).ok();
    bench.run(["list"]).failed(4, &["opens none"]);
    Ran::from(bench.keyless().args(["list", "--key-file", &second]).output().unwrap()).ok();
}

#[test]
fn a_recovery_kit_opens_everything_when_all_keys_are_gone() {
    let bench = Bench::new();
    bench.run(["backup", &bench.disk("disk", 3, 1)]).ok();
    let kit = bench.text("kit.txt");
    bench.run(["key", "recovery-export", "--out", &kit]).ok();
    assert_eq!(std::fs::metadata(&kit).unwrap().permissions().mode() & 0o777, 0o600);
    bench.run(["key", "recovery-export", "--out", &kit]).failed(6, &["never replaces"]);
    std::fs::remove_file(bench.path("key")).unwrap();

    let target = bench.text("restored");
    Ran::from(bench.keyless().args(["--recovery-kit", &kit, "restore", "latest", "--to", &target]).output().unwrap())
        .ok();
    assert!(std::fs::read(&target).unwrap() == std::fs::read(bench.path("disk")).unwrap());
    with_passphrase(&bench, "new life", &["key", "recovery-import", &kit]).ok();
    assert_eq!(with_passphrase(&bench, "new life", &["list", "--json"]).ok().json().as_array().unwrap().len(), 1);
}

#[test]
fn a_kit_of_another_repository_and_a_mistyped_one_are_told_apart() {
    let (bench, other) = (Bench::new(), Bench::new());
    let kit = other.text("kit.txt");
    other.run(["key", "recovery-export", "--out", &kit]).ok();
    let use_kit = |file: &str| Ran::from(bench.keyless().args(["list", "--recovery-kit", file]).output().unwrap());
    use_kit(&kit).failed(4, &["the recovery kit is for repository"]);
    let text = std::fs::read_to_string(&kit).unwrap();
    let at = text.find("secret:").unwrap() + 12;
    let digit = if text[at..].starts_with('0') { "1" } else { "0" };
    let mistyped = bench.write("mistyped", format!("{}{digit}{}", &text[..at], &text[at + 1..]));
    use_kit(&mistyped).failed(6, &["mistyped"]);
    use_kit(&bench.write("noise", "no kit at all")).failed(6, &["not a usable recovery kit"]);
}

#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let bench = Bench::new();
    std::fs::set_permissions(bench.path("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(bench.run(["list"]).ok().stderr.contains("chmod 600"));
}
