//! Sources as plain files and, as root, as real loop devices with mounts; machines of many shapes as fake trees.

use super::in_use::{InUse, Usage, in_use};
use super::sys::{DeviceNumber, SysRoot};
use super::{IdentityKind, Location, Source, SourceFacts, SourceKind, is_on};
use crate::extents::Extent;
use crate::facts::test_images::{Image, LoopDevice, is_root, run};
use crate::read_at::ReadAt;
use repo_format::aligned::AlignedBuffer;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const MIB: u64 = 1 << 20;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()
}

#[test]
fn any_range_of_an_image_reads_right_aligned_or_not() {
    let content = pattern(3 * 1024 * 1024 + 777);
    let image = Image::sparse(0);
    fs::write(&image.path, &content).unwrap();
    let source = Source::open(&image.path).unwrap();
    let end = content.len();
    for (offset, length) in [
        (0, 4096),
        (0, end),
        (1, 1),
        (511, 4099),
        (4096, 2 * 1024 * 1024),
        (end - 5, 5),
        (end, 0),
        (4095, 1 << 20),
        (8192, end - 8192),
    ] {
        let mut plain = vec![0; length];
        source.read_exact_at(&mut plain, offset as u64).unwrap();
        assert_eq!(plain, content[offset..offset + length], "{length} bytes at {offset}");
        let mut aligned = AlignedBuffer::new(length);
        source.read_exact_at(&mut aligned, offset as u64).unwrap();
        assert_eq!(aligned[..], content[offset..offset + length], "{length} aligned bytes at {offset}");
    }
    assert!(source.read_exact_at(&mut [0; 6], end as u64 - 5).is_err());
    assert!(source.read_exact_at(&mut [0; 6], u64::MAX - 2).is_err());
}

#[test]
fn an_image_that_shrinks_while_it_is_read_is_an_error_with_the_offset() {
    let image = Image::sparse(MIB);
    let source = Source::open(&image.path).unwrap();
    fs::File::options().write(true).open(&image.path).unwrap().set_len(300_000).unwrap();
    for mut buf in [AlignedBuffer::new(1 << 20), AlignedBuffer::new((1 << 20) - 3)] {
        let error = source.read_exact_at(&mut buf, 0).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        let text = error.to_string();
        assert!(text.contains("300000") && text.contains("shrank") && text.contains("disk.img"), "{text}");
    }
}

#[test]
fn what_is_no_disk_is_refused_with_the_reason() {
    let image = Image::sparse(0);
    let message = |path: &str| Source::open(path).err().map(|error| error.to_string()).unwrap();
    assert!(message(image.str()).contains("is empty"));
    assert!(message("/").contains("is a directory"));
    assert!(message("/dev/null").contains("character device"));
    assert!(message("/nowhere/at/all").contains("cannot open /nowhere/at/all: No such file"));
    let pipe = image.dir.path().join("pipe");
    run("mkfifo", &[pipe.to_str().unwrap()]);
    assert!(message(pipe.to_str().unwrap()).contains("is a pipe"));
}

#[test]
fn holes_of_a_sparse_image_are_not_data() {
    let image = Image::sparse(8 << 40);
    image.write(&[1; 4096], 1 << 20);
    image.write(&[1; 4096], 5 << 40);
    let source = Source::open(&image.path).unwrap();
    let data = source.data_extents().unwrap();
    for offset in [1 << 20, 5 << 40] {
        assert!(data.contains(Extent::new(offset, 4096).unwrap()));
    }
    assert!(data.total_bytes() < MIB, "{data:?}");
    assert_eq!(source.data_extents_iter().map(Result::unwrap).collect::<Vec<_>>(), data.iter().collect::<Vec<_>>());
}

#[test]
fn facts_of_an_image_identify_it_by_its_partition_table_or_at_least_by_its_path() {
    let image = Image::sparse(64 * MIB);
    let facts = || Source::open(&image.path).unwrap().facts().unwrap();
    let identity = facts().identity;
    assert_eq!((identity.kind, identity.value.as_str()), (IdentityKind::Path, image.str()));
    run("mkfs.ext4", &["-q", "-F", image.str()]);
    assert_eq!(facts().identity.kind, IdentityKind::FilesystemUuid);
    run("sgdisk", &["-U", "AABBCCDD-0102-4304-8506-0708090A0B0C", "-n", "1:2048:0", image.str()]);
    let facts = facts();
    assert_eq!(facts.identity.kind, IdentityKind::GptGuid);
    assert_eq!(facts.identity.value, "aabbccdd-0102-4304-8506-0708090a0b0c");
    assert_eq!((facts.kind, facts.size_bytes, facts.identity.size_bytes), (SourceKind::Image, 64 * MIB, 64 * MIB));
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<SourceFacts>(&json).unwrap(), facts);
}

/// A machine: disks sda (sda1 at /, sda2 a volume group's member), sdb, and whatever a test adds.
struct FakeMachine {
    dir: tempfile::TempDir,
}

impl FakeMachine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        for dir in ["proc/self", "sys/block", "sys/class/block", "sys/dev/block", "dev"] {
            fs::create_dir_all(machine.at(dir)).unwrap();
        }
        machine.disk("sda", "8:0");
        machine.partition("sda", "sda1", "8:1");
        machine.partition("sda", "sda2", "8:2");
        machine.disk("sdb", "8:16");
        machine.mounts("8:1 / /dev/sda1 ext4 rw");
        machine
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn sys(&self) -> SysRoot {
        SysRoot::at(self.dir.path())
    }

    fn device(&self, dir: &str, name: &str, number: &str) {
        fs::create_dir_all(self.at(dir)).unwrap();
        fs::write(self.at(&format!("{dir}/dev")), format!("{number}\n")).unwrap();
        for link in [format!("sys/class/block/{name}"), format!("sys/dev/block/{number}")] {
            symlink(self.at(dir), self.at(&link)).unwrap();
        }
    }

    fn disk(&self, name: &str, number: &str) {
        self.device(&format!("sys/block/{name}"), name, number);
    }

    fn partition(&self, disk: &str, name: &str, number: &str) {
        self.device(&format!("sys/block/{disk}/{name}"), name, number);
        fs::write(self.at(&format!("sys/block/{disk}/{name}/partition")), "1\n").unwrap();
    }

    /// `upper` is built on `lower` (both as paths below sys/block).
    fn built_on(&self, upper: &str, lower: &str) {
        for (of, kind, other) in [(upper, "slaves", lower), (lower, "holders", upper)] {
            let name = Path::new(other).file_name().unwrap().to_str().unwrap();
            fs::create_dir_all(self.at(&format!("sys/block/{of}/{kind}"))).unwrap();
            symlink(self.at(&format!("sys/block/{other}")), self.at(&format!("sys/block/{of}/{kind}/{name}"))).unwrap();
        }
    }

    fn looped(&self, name: &str, number: &str, backing: &str) {
        self.disk(name, number);
        fs::create_dir_all(self.at(&format!("sys/block/{name}/loop"))).unwrap();
        fs::write(self.at(&format!("sys/block/{name}/loop/backing_file")), format!("{backing}\n")).unwrap();
    }

    /// Lines of `NUMBER MOUNTPOINT SOURCE TYPE SUPER_OPTIONS`.
    fn mounts(&self, lines: &str) {
        let full = lines.lines().enumerate().map(|(i, line)| {
            let [number, at, source, kind, options] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            fs::create_dir_all(self.at(at.trim_start_matches('/'))).unwrap();
            format!("{i} 1 {number} / {at} rw,relatime shared:1 - {kind} {source} {options}\n")
        });
        fs::write(self.at("proc/self/mountinfo"), full.collect::<String>()).unwrap();
    }

    fn swaps(&self, names: &[&str]) {
        let lines: String = names.iter().map(|name| format!("{name}  partition 1000 0 -2\n")).collect();
        fs::write(self.at("proc/swaps"), format!("Filename Type Size Used Priority\n{lines}")).unwrap();
    }

    fn uses(&self, location: &Location) -> Vec<String> {
        in_use(&self.sys(), location).unwrap().iter().map(InUse::to_string).collect()
    }

    fn file(&self, path: &str) -> Location {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), "image").unwrap();
        Location::of(&self.at(path)).unwrap()
    }

    fn on(&self, path: &str, source: &Location) -> Option<String> {
        is_on(&self.sys(), Path::new(path), source).unwrap().map(|chain| chain.join("; "))
    }
}

fn device(number: &str) -> Location {
    Location::Device(DeviceNumber::parse(number).unwrap())
}

#[test]
fn a_disk_is_in_use_when_one_of_its_partitions_is_mounted() {
    let machine = FakeMachine::new();
    assert_eq!(machine.uses(&device("8:0")), ["/dev/sda1 is mounted at /"]);
    assert_eq!(machine.uses(&device("8:1")), ["/dev/sda1 is mounted at /"]);
    assert!(machine.uses(&device("8:2")).is_empty(), "a sister partition is free");
    assert!(machine.uses(&device("8:16")).is_empty());
}

#[test]
fn a_read_only_file_system_does_not_disturb_reading_but_a_read_only_mount_does() {
    let machine = FakeMachine::new();
    machine.mounts("8:1 / /dev/sda1 ext4 ro,errors=continue\n8:16 /mnt /dev/sdb ext4 rw");
    let disturbs = |number| in_use(&machine.sys(), &device(number)).unwrap().iter().any(InUse::disturbs_reading);
    assert!(!disturbs("8:1") && disturbs("8:16"));
}

#[test]
fn swap_volume_groups_and_arrays_are_found() {
    let machine = FakeMachine::new();
    machine.disk("dm-0", "253:0");
    fs::create_dir_all(machine.at("sys/block/dm-0/dm")).unwrap();
    fs::write(machine.at("sys/block/dm-0/dm/name"), "vg-swap\n").unwrap();
    machine.disk("md0", "9:0");
    machine.built_on("dm-0", "sda/sda2");
    machine.built_on("md0", "sdb");
    machine.swaps(&["/dev/mapper/vg-swap"]);
    assert_eq!(
        machine.uses(&device("8:2")),
        ["/dev/sda2 is part of the active device /dev/dm-0 (vg-swap)", "/dev/dm-0 (vg-swap) is active swap space"]
    );
    assert_eq!(machine.uses(&device("8:16")), ["/dev/sdb is part of the active device /dev/md0"]);
    assert_eq!(machine.uses(&device("253:0")), ["/dev/dm-0 (vg-swap) is active swap space"]);
}

#[test]
fn the_partition_of_an_array_member_is_in_use() {
    let machine = FakeMachine::new();
    machine.partition("sdb", "sdb1", "8:17");
    machine.disk("md0", "9:0");
    machine.built_on("md0", "sdb");
    assert_eq!(machine.uses(&device("8:17")), ["/dev/sdb is part of the active device /dev/md0"]);
}

#[test]
fn an_image_is_in_use_through_its_loop_device_and_that_ones_partitions() {
    let machine = FakeMachine::new();
    let image = machine.file("srv/disk.img");
    assert!(machine.uses(&image).is_empty());
    machine.looped("loop0", "7:0", "/srv/disk.img");
    let uses = in_use(&machine.sys(), &image).unwrap();
    assert!(matches!(&uses[..], [InUse { usage: Usage::Loop { .. }, .. }]) && !uses[0].disturbs_reading());
    machine.partition("loop0", "loop0p1", "259:0");
    machine.mounts("8:1 / /dev/sda1 ext4 rw\n259:0 /mnt/my\\040disk /dev/loop0p1 ext4 rw");
    assert_eq!(machine.uses(&image)[1], "/dev/loop0p1 is mounted at /mnt/my disk");
}

#[test]
fn all_devices_of_a_btrfs_are_mounted_with_it() {
    let machine = FakeMachine::new();
    machine.disk("sdc", "8:32");
    fs::create_dir_all(machine.at("sys/fs/btrfs/some-uuid/devices")).unwrap();
    for name in ["sdb", "sdc"] {
        symlink(
            machine.at(&format!("sys/block/{name}")),
            machine.at(&format!("sys/fs/btrfs/some-uuid/devices/{name}")),
        )
        .unwrap();
    }
    machine.mounts("0:40 /data /dev/sdb btrfs rw,subvol=/data");
    assert_eq!(machine.uses(&device("8:32")), ["/dev/sdc is mounted at /data"]);
    assert!(machine.on("/data/repo", &device("8:32")).is_some());
}

#[test]
fn a_repository_on_the_disk_itself_is_found_with_the_way_there() {
    let machine = FakeMachine::new();
    let chain = machine.on("/srv/new/repo", &device("8:0")).unwrap();
    assert_eq!(
        chain,
        "/srv/new/repo lies in the ext4 file system mounted at /; /dev/sda1 is a partition of /dev/sda; /dev/sda is the source"
    );
    assert!(machine.on("/srv/repo", &device("8:1")).is_some());
    assert_eq!(machine.on("/srv/repo", &device("8:2")), None, "a sister partition is another disk");
    assert_eq!(machine.on("/srv/repo", &device("8:16")), None);
}

#[test]
fn a_repository_is_found_through_loop_devices_volumes_and_arrays() {
    let machine = FakeMachine::new();
    machine.disk("dm-0", "253:0");
    machine.disk("md0", "9:0");
    machine.built_on("md0", "sdb");
    machine.built_on("dm-0", "md0");
    machine.looped("loop3", "7:3", "/data/fs.img");
    machine.mounts("8:1 / /dev/sda1 ext4 rw\n253:0 /data /dev/dm-0 xfs rw\n7:3 /backup /dev/loop3 ext4 rw");
    machine.file("data/fs.img");
    let chain = machine.on("/backup/repo", &device("8:16")).unwrap();
    for step in
        ["/dev/loop3 is a loop device over /data/fs.img", "/dev/dm-0 is built on /dev/md0", "/dev/sdb is the source"]
    {
        assert!(chain.contains(step), "{chain}");
    }
    assert_eq!(machine.on("/backup/repo", &device("8:0")), None);
    let direct = "/dev/sdb is the source";
    assert_eq!(machine.on("/dev/sdb", &device("8:16")).as_deref(), Some(direct));
}

#[test]
fn a_repository_inside_the_image_is_on_it_and_one_beside_it_is_not() {
    let machine = FakeMachine::new();
    let image = machine.file("srv/disk.img");
    machine.looped("loop0", "7:0", "/srv/disk.img");
    machine.mounts("8:1 / /dev/sda1 ext4 rw\n7:0 /mnt /dev/loop0 ext4 rw");
    assert!(machine.on("/mnt/repo", &image).unwrap().ends_with("/srv/disk.img is the source"));
    assert_eq!(machine.on("/srv/repo", &image), None);
}

#[test]
fn an_overlay_lies_where_its_layers_lie_and_loops_over_each_other_end() {
    let machine = FakeMachine::new();
    machine.looped("loop0", "7:0", "/b/file");
    machine.looped("loop1", "7:1", "/a/file");
    machine.mounts("7:0 /a /dev/loop0 ext4 rw\n7:1 /b /dev/loop1 ext4 rw\n0:50 /o overlay overlay rw,lowerdir=/a/x:/sdb/y,upperdir=/a/z\n8:16 /sdb /dev/sdb ext4 rw");
    assert!(machine.on("/o/repo", &device("8:16")).is_some());
    assert_eq!(machine.on("/o/repo", &device("8:0")), None);
}

/// As in a container, where the layers have names that only the host knows. This went through 2^64 ways.
#[test]
fn an_overlay_whose_layers_cannot_be_seen_ends() {
    let machine = FakeMachine::new();
    machine.mounts("0:50 / overlay overlay rw,lowerdir=/layers/1:/layers/2,upperdir=/layers/3");
    assert_eq!(machine.on("/srv/repo", &device("8:0")), None);
}

#[test]
fn a_device_is_read_directly_and_is_whole() {
    if !is_root() {
        return any_range_of_an_image_reads_right_aligned_or_not();
    }
    let image = Image::sparse(0);
    let content = pattern(1024 * 1024 + 512);
    fs::write(&image.path, &content).unwrap();
    let device = LoopDevice::new(&image.path);
    let source = Source::open(&device.path).unwrap();
    assert_eq!((source.kind(), source.size_bytes()), (SourceKind::Device, content.len() as u64));
    let mut all = AlignedBuffer::new(content.len());
    source.read_exact_at(&mut all, 0).unwrap();
    assert_eq!(all[..], content);
    assert!(source.is_direct());
    assert_eq!(source.data_extents().unwrap().total_bytes(), content.len() as u64);
    assert_eq!(source.facts().unwrap().sector_bytes, 512);
}

#[test]
fn a_mounted_loop_device_is_in_use_on_this_machine() {
    if !is_root() {
        return an_image_is_in_use_through_its_loop_device_and_that_ones_partitions();
    }
    let image = Image::sparse(64 * MIB);
    run("mkfs.ext4", &["-q", "-F", image.str()]);
    let source = Source::open(&image.path).unwrap();
    let host = SysRoot::host();
    assert!(in_use(&host, source.location()).unwrap().is_empty());
    let mounted = image.mount("rw");
    let repository = mounted.at.join("not/made/yet");
    let uses = in_use(&host, source.location()).unwrap();
    assert!(
        uses.iter()
            .any(|u| matches!(&u.usage, Usage::Mounted { mountpoint, read_only: false } if *mountpoint == mounted.at))
    );
    let chain = is_on(&host, &repository, source.location()).unwrap().unwrap().join("; ");
    assert!(chain.contains("is a loop device over"), "{chain}");
    assert_eq!(is_on(&host, image.dir.path(), source.location()).unwrap(), None);

    let bound = image.subdir("bound");
    run("mount", &["--bind", mounted.at.to_str().unwrap(), bound.to_str().unwrap()]);
    let through_bind = is_on(&host, &bound.join("repo"), source.location());
    run("umount", &[bound.to_str().unwrap()]);
    assert!(through_bind.unwrap().is_some());

    let node = run("findmnt", &["-n", "-o", "SOURCE", mounted.at.to_str().unwrap()]);
    let location = Location::of(Path::new(node.trim())).unwrap();
    assert!(in_use(&host, &location).unwrap().iter().any(InUse::disturbs_reading));
    drop(mounted);
    assert!(in_use(&host, source.location()).unwrap().is_empty());
}

/// A program that holds a file or device open until it is dropped.
struct Holder(std::process::Child);

impl Holder {
    fn of(path: &Path, redirection: &str) -> Self {
        let script = format!("exec 3{redirection}\"$1\"; echo ready; read _");
        let mut child = std::process::Command::new("sh")
            .args(["-c", &script, "holder"])
            .arg(path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A virtual machine that did not write during the backup was stored as "offline".
#[test]
fn an_image_that_another_program_has_open_is_in_use() {
    let image = Image::sparse(MIB);
    let location = Location::of(&image.path).unwrap();
    let uses = || in_use(&SysRoot::host(), &location).unwrap();
    assert_eq!(uses(), []);
    for (redirection, disturbs, shown) in [("<>", true, "for writing in sh"), ("<", false, "for reading in sh")] {
        let holder = Holder::of(&image.path, redirection);
        let [found] = uses().try_into().unwrap();
        assert_eq!(found.disturbs_reading(), disturbs, "{found}");
        assert!(found.to_string().contains(shown) && found.to_string().contains(&holder.0.id().to_string()), "{found}");
    }
    assert_eq!(uses(), []);
    // By another name it is the same file; our own reading does not count.
    let other = image.dir.path().join("other");
    fs::hard_link(&image.path, &other).unwrap();
    let _holder = Holder::of(&other, ">>");
    let _own = fs::File::options().write(true).open(&image.path).unwrap();
    assert!(matches!(&uses()[..], [InUse { usage: Usage::Open { for_writing: true, .. }, .. }]), "{:?}", uses());
}

/// What users other than root see of a virtual machine: qemu's locks. Byte 100 is held by one that reads, 101 by one that writes.
#[test]
fn an_image_that_is_locked_is_in_use() {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc::{self, c_short};
    let image = Image::sparse(MIB);
    let location = Location::of(&image.path).unwrap();
    // Other tests of this program fork, and for a moment their children have our files open too.
    let locks = || {
        let mut uses = in_use(&SysRoot::host(), &location).unwrap();
        uses.retain(|found| matches!(found.usage, Usage::Locked { .. }));
        uses
    };
    for (kind, at, for_writing) in [(libc::F_RDLCK, 100, false), (libc::F_RDLCK, 101, true), (libc::F_WRLCK, 9, true)] {
        let file = fs::File::options().read(true).write(true).open(&image.path).unwrap();
        let (l_type, l_whence) = (c_short::try_from(kind).unwrap(), c_short::try_from(libc::SEEK_SET).unwrap());
        let lock = libc::flock { l_type, l_whence, l_start: at, l_len: 1, l_pid: 0 };
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        let uses = locks();
        let [InUse { usage: Usage::Locked { for_writing: found }, .. }] = &uses[..] else { panic!("{uses:?}") };
        assert_eq!((*found, uses[0].disturbs_reading()), (for_writing, for_writing));
    }
    assert_eq!(locks(), []);
}

#[test]
fn a_device_that_another_program_writes_to_is_in_use() {
    if !is_root() {
        return an_image_that_another_program_has_open_is_in_use();
    }
    let image = Image::sparse(MIB);
    let device = LoopDevice::new(&image.path);
    let location = Location::of(Path::new(&device.path)).unwrap();
    // Other tests look for a free loop device meanwhile, and for a moment have this one open.
    let is_search = |found: &InUse| matches!(&found.usage, Usage::Open { program, .. } if program == "losetup");
    let uses = || {
        let mut uses = in_use(&SysRoot::host(), &location).unwrap();
        uses.retain(|found| !is_search(found));
        uses
    };
    let reader = Holder::of(Path::new(&device.path), "<");
    assert_eq!(uses(), [], "who reads a device disturbs nobody");
    drop(reader);
    let _writer = Holder::of(Path::new(&device.path), "<>");
    let [found] = uses().try_into().unwrap();
    assert!(found.disturbs_reading() && found.to_string().contains("is open for writing in sh"), "{found}");
}
