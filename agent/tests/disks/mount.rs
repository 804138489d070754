//! Disks shown through FUSE are byte for byte the same, and the kernel can mount them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use agent::mount::{MountError, MountHandle, MountOptions, MountedDisk, MountedPartition, mount};

use crate::facts;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::{Extent, fill, pattern};

const SMALL: Extent = Extent { many: 50, attribute_bytes: 200 };
const MEBIBYTE: u64 = 1 << 20;

/// A FUSE mount that ends with the test.
struct Shown {
    handle: Option<MountHandle>,
    dir: PathBuf,
}

impl Shown {
    fn new(workshop: &Workshop, disks: Vec<MountedDisk>, overlay: bool) -> Self {
        require_root();
        assert!(Path::new("/dev/fuse").exists(), "this test needs /dev/fuse: modprobe fuse");
        let dir = workshop.path("fuse");
        fs::create_dir(&dir).unwrap();
        let options = MountOptions { overlay, ..MountOptions::default() };
        Self { handle: Some(mount(disks, &dir, &options).unwrap()), dir }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        let unmounted = handle.unmount();
        if let (Err(error), false) = (unmounted, std::thread::panicking()) {
            panic!("{error}");
        }
    }
}

fn whole(name: &str, image: &Path) -> MountedDisk {
    MountedDisk { name: name.to_owned(), partitions: Vec::new(), disk: disk(image) }
}

fn partitioned(name: &str, image: &Path, offset_bytes: u64, length_bytes: u64) -> MountedDisk {
    let partitions = vec![MountedPartition { number: 1, offset_bytes, length_bytes }];
    MountedDisk { partitions, ..whole(name, image) }
}

fn file_of_pattern(workshop: &Workshop, length: usize) -> (PathBuf, Vec<u8>) {
    let image = workshop.path("pattern.img");
    let bytes = pattern(length, 7);
    fs::write(&image, &bytes).unwrap();
    (image, bytes)
}

#[test]
fn disks_and_partitions_read_back_with_safe_names_and_exact_sizes() {
    let workshop = Workshop::new();
    let (image, bytes) = file_of_pattern(&workshop, 5_000_123);
    let disks = vec![partitioned("/dev/sda", &image, 1000, 2_000_001), whole("..", &image), whole("/dev/sda", &image)];
    let shown = Shown::new(&workshop, disks, false);
    let names = ["_dev_sda.img", "_dev_sda.p1.img", "disk...img", "_dev_sda-2.img"];
    assert_eq!(shown.handle.as_ref().unwrap().file_names(), names);
    let mut listed: Vec<_> = fs::read_dir(&shown.dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    listed.sort();
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    assert!(fs::read(shown.dir.join("_dev_sda.img")).unwrap() == bytes);
    assert!(fs::read(shown.dir.join("_dev_sda.p1.img")).unwrap() == bytes[1000..2_001_001]);
    assert_eq!(fs::metadata(shown.dir.join("disk...img")).unwrap().len(), 5_000_123);
    let refused = OpenOptions::new().write(true).open(shown.dir.join("disk...img")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(nix::libc::EROFS));
}

#[test]
fn ext4_is_loop_mounted_from_it_read_only() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 96, &["mkfs.ext4", "-q", "-F"]);
    fill(&workshop.mount(&image, "rw").dir, SMALL);
    let shown = Shown::new(&workshop, vec![whole("disk", &image)], false);
    let through = workshop.mount(&shown.dir.join("disk.img"), "ro");
    let direct = workshop.mount(&image, "ro");
    facts::assert_same(&facts::of_directory(&direct.dir), &facts::of_directory(&through.dir));
}

#[test]
fn a_torn_xfs_partition_is_loop_mounted_after_its_log_replays_into_the_overlay() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("xfs.img", 300, &["mkfs.xfs", "-q", "-f"]);
    let torn = {
        let mounted = workshop.mount(&image, "rw");
        fs::write(mounted.dir.join("file"), pattern(3_000_000, 1)).unwrap();
        File::open(mounted.dir.join("file")).unwrap().sync_all().unwrap();
        workshop.copy(&image, "torn.img")
    };
    let whole_disk = workshop.path("whole.img");
    let arguments = [format!("if={}", torn.display()), format!("of={}", whole_disk.display())];
    run("dd", &[&arguments[0], &arguments[1], "bs=1M", "seek=1", "conv=sparse", "status=none"]);
    File::options().write(true).open(&whole_disk).unwrap().set_len(302 * MEBIBYTE).unwrap();
    let before = fs::read(&whole_disk).unwrap();
    {
        let disks = vec![partitioned("disk", &whole_disk, MEBIBYTE, 300 * MEBIBYTE)];
        let shown = Shown::new(&workshop, disks, true);
        let mounted = workshop.mount(&shown.dir.join("disk.p1.img"), "nouuid");
        assert!(fs::read(mounted.dir.join("file")).unwrap() == pattern(3_000_000, 1));
        fs::write(mounted.dir.join("new"), "thrown away").unwrap();
    }
    assert!(fs::read(&whole_disk).unwrap() == before);
}

#[test]
fn a_disk_and_its_partition_are_the_same_bytes_when_written_to() {
    let workshop = Workshop::new();
    let (image, bytes) = file_of_pattern(&workshop, 1_000_003);
    let shown = Shown::new(&workshop, vec![partitioned("disk", &image, 5000, 900_000)], true);
    let open = |name| OpenOptions::new().read(true).write(true).open(shown.dir.join(name)).unwrap();
    let (whole, part) = (open("disk.img"), open("disk.p1.img"));
    let mut expected = bytes.clone();
    for (at, length) in [(0_usize, 3), (4095, 2), (70_000, 200_000), (899_990, 10)] {
        let written = pattern(length, at as u64);
        part.write_all_at(&written, at as u64).unwrap();
        expected[5000 + at..5000 + at + length].copy_from_slice(&written);
        let mut read = vec![0; bytes.len()];
        whole.read_exact_at(&mut read, 0).unwrap();
        assert!(read == expected, "after a write of {length} at {at}");
    }
    whole.write_all_at(b"end", 1_000_000).unwrap();
    assert_eq!(part.write_at(b"x", 900_000).unwrap_err().raw_os_error(), Some(nix::libc::ENOSPC));
    assert_eq!(whole.set_len(5).unwrap_err().raw_os_error(), Some(nix::libc::EPERM));
    assert!(fs::read(&image).unwrap() == bytes);
}

#[test]
fn a_mount_in_use_says_so_and_ends_later() {
    let workshop = Workshop::new();
    let (image, _) = file_of_pattern(&workshop, 10_000);
    let mut shown = Shown::new(&workshop, vec![whole("disk", &image)], false);
    let in_use = File::open(shown.dir.join("disk.img")).unwrap();
    let handle = shown.handle.take().unwrap();
    let error = handle.unmount().unwrap_err();
    assert!(matches!(error, MountError::Busy { .. }), "{error}");
    drop(in_use);
    let unmounter = handle.unmounter();
    unmounter.unmount().unwrap();
    handle.wait().unwrap();
    assert_eq!(fs::read_dir(&shown.dir).unwrap().count(), 0);
}

#[test]
fn a_partition_outside_its_disk_is_refused() {
    let workshop = Workshop::new();
    let (image, _) = file_of_pattern(&workshop, 10_000);
    let disks = vec![partitioned("disk", &image, 5000, u64::MAX - 10)];
    let result = mount(disks, &workshop.path(""), &MountOptions::default());
    assert!(matches!(result, Err(MountError::BadPartition { partition: 1, .. })));
}
