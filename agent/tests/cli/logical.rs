//! Files on logical volumes whose groups lie on several disks of a point. LVM's own tools make them, without a device mapper.

use super::bench::{Bench, fill};
use super::files::tool;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

const MIB: u64 = 1 << 20;
/// One extent of metadata, and what the volume has of each.
const EACH: u64 = 23;

/// Two disks, and a volume `vg/root` with ext4 that lies on the one and goes on on the other.
fn disks(bench: &Bench) -> [String; 2] {
    let disks = ["disk0", "disk1"].map(|name| bench.text(name));
    let loops = disks.each_ref().map(|disk| {
        File::create(disk).unwrap().set_len((EACH + 1) * MIB).unwrap();
        let device = Command::new("losetup").args(["--find", "--show", disk]).output().unwrap();
        assert!(device.status.success(), "losetup needs root: {}", String::from_utf8_lossy(&device.stderr));
        String::from_utf8(device.stdout).unwrap().trim().to_owned()
    });
    let lvm = |arguments: &str| {
        let mut words = arguments.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.env("LVM_SYSTEM_DIR", bench.path("lvm")).env("LVM_SUPPRESS_FD_WARNINGS", "1");
        command.args(["--driverloaded", "n", "--devices", &loops.join(",")]).args(words);
        let output = command.output().unwrap_or_else(|error| panic!("{arguments}: {error}; install lvm2"));
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    lvm(&format!("vgcreate -s 1m vg {}", loops.join(" ")));
    lvm(&format!("lvcreate -y -an -Zn -Wn -n root -l {} vg", 2 * EACH));
    loops.iter().for_each(|device| tool("losetup", &["--detach", device], ""));

    fs::create_dir_all(bench.path("tree/dir")).unwrap();
    let mut big = vec![0; 30 << 20];
    fill(&mut big, 9);
    bench.write("tree/dir/big", big);
    bench.write("tree/hello", "hello\n");
    let volume = bench.text("volume");
    File::create(&volume).unwrap().set_len(2 * EACH * MIB).unwrap();
    tool("mke2fs", &["-q", "-t", "ext4", "-d", &bench.text("tree"), &volume], "");
    let mut volume = File::open(volume).unwrap();
    for disk in &disks {
        let mut part = vec![0; usize::try_from(EACH * MIB).unwrap()];
        volume.read_exact(&mut part).unwrap();
        File::options().write(true).open(disk).unwrap().write_all_at(&part, MIB).unwrap();
    }
    disks
}

#[test]
fn files_of_a_volume_on_two_disks_are_listed_restored_and_found() {
    let bench = Bench::new();
    let [first, second] = disks(&bench);
    bench.run(["backup", &first, &second, "--name", "web"]).ok();
    let listed = bench.json(["ls", "latest"]);
    let volume = listed.as_array().unwrap().iter().find(|disk| disk["disk"] == "vg/root").expect("a volume");
    assert_eq!((&volume["holds"], &volume["size_bytes"]), (&"ext4".into(), &(2 * EACH * MIB).into()));
    bench.run(["ls", "latest", "/dir", "--disk", "vg/root"]).prints(&["big"]);
    bench.run(["ls", "latest", "/"]).prints(&["hello"]);
    bench.run(["ls", "latest", "/", "--disk", "vg/home"]).failed(1, &["vg/home", "vg/root"]);
    bench.run(["restore", "latest", "--files", "/dir", "--to", &bench.text("out")]).ok();
    assert!(fs::read(bench.path("out/dir/big")).unwrap() == fs::read(bench.path("tree/dir/big")).unwrap());

    let disks_with = |found: &Value| {
        let files = found["files"].as_array().unwrap().iter();
        files.map(|file| (file["disk"].as_str().unwrap().to_owned(), file["points"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(disks_with(&bench.json(["search", "hello"])), [("vg/root".into(), 1.into())]);
    // A second point in which nothing changed takes the list of the first, and one in which only the second disk did reads it anew.
    bench.run(["backup", &first, &second, "--name", "web"]).ok();
    assert_eq!(disks_with(&bench.json(["search", "hello"])), [("vg/root".into(), 2.into())]);
    let mut byte = [0];
    let file = File::options().read(true).write(true).open(&second).unwrap();
    file.read_exact_at(&mut byte, 20 * MIB).unwrap();
    file.write_all_at(&[!byte[0]], 20 * MIB).unwrap();
    // Who has a disk open for writing keeps it from being backed up.
    drop(file);
    bench.run(["backup", &first, &second, "--name", "web"]).ok();
    assert_eq!(disks_with(&bench.json(["search", "hello"])), [("vg/root".into(), 3.into())]);
    bench.run(["versions", "/hello"]).prints(&["6 B", "regular"]);
}

#[test]
fn a_volume_that_lies_on_a_disk_which_is_not_in_the_point_says_so() {
    let bench = Bench::new();
    let [first, _] = disks(&bench);
    bench.run(["backup", &first, "--name", "half"]).ok();
    bench.run(["ls", "latest"]).prints(&["vg/root", "is not in this recovery point"]);
    bench.run(["ls", "latest", "/", "--disk", "vg/root"]).failed(1, &["vg/root", "is not in this recovery point"]);
    bench.run(["search", "hello"]).ok();
}
