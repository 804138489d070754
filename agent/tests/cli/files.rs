//! Files inside recovery points, images of them, and mounts. The disk is made by e2fsprogs without a mount.

use super::bench::{Bench, Ran, fill};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// A GPT disk of 12 MiB with ext4 in partition 1 that holds `hello` and `dir/big`, and an empty partition 2.
pub fn disk(bench: &Bench) -> String {
    let (disk, part) = (bench.text("disk"), bench.text("part"));
    fs::create_dir_all(bench.path("tree/dir")).unwrap();
    bench.write("tree/hello", "hello\n");
    let mut big = vec![0; 300_000];
    fill(&mut big, 9);
    bench.write("tree/dir/big", big);
    File::create(&part).unwrap().set_len(8 << 20).unwrap();
    tool("mke2fs", &["-q", "-t", "ext4", "-d", &bench.text("tree"), &part], "");
    File::create(&disk).unwrap().set_len(12 << 20).unwrap();
    tool("sfdisk", &["-q", &disk], "label: gpt\nstart=2048,size=16384\nstart=18432,size=4096\n");
    tool("dd", &[&format!("if={part}"), &format!("of={disk}"), "bs=1M", "seek=1", "conv=notrunc", "status=none"], "");
    disk
}

pub fn tool(program: &str, args: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}; install e2fsprogs and fdisk"));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} {args:?}");
}

#[test]
fn files_are_listed_and_restored_without_a_mount() {
    let bench = Bench::new();
    bench.run(["backup", &disk(&bench), "--name", "web"]).ok();
    let partitions = bench.json(["ls", "latest"]);
    assert_eq!(partitions[0]["facts"]["partitions"][0]["content"]["kind"], "ext4");
    let listed = bench.json(["ls", "latest:1", "/"]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"hello") && names.contains(&"dir"), "{names:?}");
    assert!(bench.run(["ls", "latest", "/dir"]).ok().stdout.contains("big"), "the only file system is found");

    let target = bench.text("out");
    bench.run(["restore", "latest", "--files", "/dir", "/hello", "--to", &target]).ok();
    assert!(fs::read(bench.path("out/dir/big")).unwrap() == fs::read(bench.path("tree/dir/big")).unwrap());
    assert_eq!(fs::read_to_string(bench.path("out/hello")).unwrap(), "hello\n");
    bench.run(["restore", "latest", "--files", "/hello", "--to", &target]).failed(1, &["--overwrite"]);
    bench.run(["restore", "latest", "--files", "/hello", "--to", &target, "--overwrite"]).ok();
    fs::write(bench.path("out/hello"), "mine\n").unwrap();
    let look = ["restore", "latest", "--files", "/hello", "--to", &target, "--beside", "--dry-run"];
    assert!(bench.run(look).ok().stdout.contains("1 beside others"));
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 2, "a dry run wrote");
    bench.run(&look[..look.len() - 1]).ok();
    assert_eq!(fs::read_to_string(bench.path("out/hello")).unwrap(), "mine\n");
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 3);
    let in_place = ["restore", "latest", "--files", "/hello", "--in-place"];
    bench.run(in_place).failed(6, &["not mounted on this machine"]);
}

#[test]
fn places_without_files_are_told_apart() {
    let bench = Bench::new();
    bench.run(["backup", &disk(&bench), "--name", "web"]).ok();
    bench.run(["ls", "latest:1", "/nothing"]).failed(5, &["nothing"]);
    bench.run(["ls", "latest:7", "/"]).failed(5, &["no partition 7", "1 (ext4, 8.0 MiB); 2 ("]);
    bench.run(["ls", "latest:2", "/"]).failed(1, &["no known file system"]);
    bench.run(["restore", "latest", "--files", "/nothing", "--to", &bench.text("out")]).failed(5, &["nothing"]);
    bench.run(["restore", "latest", "--partition", "7", "--to", &bench.text("out")]).failed(5, &["no partition 7"]);
}

#[test]
fn several_file_systems_are_a_question_that_says_what_each_holds() {
    let bench = Bench::new();
    let disk = disk(&bench);
    tool("sfdisk", &["-q", &disk], "label: gpt\nstart=2048,size=16384,name=root\nstart=18432,size=4096,name=data\n");
    let small = bench.text("small");
    File::create(&small).unwrap().set_len(2 << 20).unwrap();
    tool("mke2fs", &["-q", "-t", "ext2", &small], "");
    tool("dd", &[&format!("if={small}"), &format!("of={disk}"), "bs=1M", "seek=9", "conv=notrunc", "status=none"], "");
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let question = ["several partitions", "1 (ext4, root, 8.0 MiB); 2 (ext2, data, 2.0 MiB)"];
    bench.run(["ls", "latest", "/"]).failed(2, &question);
    bench.run(["restore", "latest", "--files", "/hello", "--to", &bench.text("out")]).failed(2, &question);
    bench.run(["ls", "latest:2", "/"]).prints(&["lost+found"]);
}

#[test]
fn a_partition_is_restored_alone() {
    let bench = Bench::new();
    bench.run(["backup", &disk(&bench), "--name", "web"]).ok();
    bench.run(["restore", "latest", "--partition", "1", "--to", &bench.text("out")]).ok();
    assert!(fs::read(bench.path("out")).unwrap() == fs::read(bench.path("part")).unwrap());
}

#[test]
fn an_export_is_a_true_image() {
    let bench = Bench::new();
    let disk = disk(&bench);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    let raw = bench.text("image.raw");
    bench.run(["export", "latest", "--format", "raw", "--to", &raw]).ok();
    assert!(fs::read(&raw).unwrap() == fs::read(&disk).unwrap());
    bench.run(["export", "latest", "--to", &raw]).failed(6, &["exists"]);
    bench.run(["export", "latest", "--to", &raw, "--format", "iso"]).failed(2, &["qcow2"]);
    bench.run(["export", "latest", "--to", &raw, "--overwrite"]).ok();
    assert_eq!(fs::read(&raw).unwrap()[..4], *b"QFI\xfb");
}

#[test]
fn a_mount_shows_the_disks_until_a_signal() {
    assert!(std::path::Path::new("/dev/fuse").exists(), "this test needs FUSE: modprobe fuse");
    let bench = Bench::new();
    let disk = disk(&bench);
    bench.run(["backup", &disk, "--name", "web"]).ok();
    fs::create_dir(bench.path("mnt")).unwrap();
    let mut mount = bench.command();
    mount.args(["--json", "mount", "latest", &bench.text("mnt")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = mount.spawn().unwrap();
    // The result is printed when the mount stands.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let printed: Vec<String> = lines.by_ref().map(Result::unwrap).take_while(|line| line != "}").collect();
    let seen = fs::read(bench.path("mnt/disk.img")).map(|bytes| bytes == fs::read(&disk).unwrap());
    let sessions = bench.json(["status"])["sessions"].clone();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).ok();
    assert!(seen.unwrap(), "{printed:?} {ran:?}");
    assert_eq!(sessions[0]["purpose"], "read");
    assert_eq!(bench.json(["status"])["sessions"].as_array().unwrap().len(), 0, "the lease was given back");
    assert!(fs::read_dir(bench.path("mnt")).unwrap().next().is_none());
}
