//! Restores to larger disks by the finished program, judged by the tools that partition disks and check file systems.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{
    DiskImage, FileSystem, Icecore, LoopDevice, MIB, Mount, PartitionPlan, assert_same_bytes, capture,
    loop_devices_usable,
};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().expect("ASCII path")
}

/// A disk with a small first partition and a file system in the second, which holds a file, and its recovery point.
fn backed_up(kind: FileSystem, size_bytes: u64) -> Result<(Icecore, DiskImage)> {
    let icecore = Icecore::with_repository()?;
    let plans = [PartitionPlan::sized(FileSystem::None, 3 * MIB), PartitionPlan::rest(kind)];
    let disk = DiskImage::create(&icecore.dir().join("disk.img"), size_bytes, &plans)?;
    File::options().write(true).open(disk.path())?.write_all_at(b"boot code", 0)?;
    let mountpoint = directory(&icecore, "source")?;
    let mount = disk.mount(2, &mountpoint, "rw")?;
    fs::write(mountpoint.join("hello"), "hello")?;
    drop(mount);
    icecore.run(["backup", text(disk.path())])?;
    Ok((icecore, disk))
}

fn directory(icecore: &Icecore, name: &str) -> Result<PathBuf> {
    let path = icecore.dir().join(name);
    fs::create_dir(&path)?;
    Ok(path)
}

/// A file full of ones.
fn backing(icecore: &Icecore, name: &str, size_bytes: u64) -> Result<PathBuf> {
    let path = icecore.dir().join(name);
    fs::write(&path, vec![0xFF; usize::try_from(size_bytes)?])?;
    Ok(path)
}

fn usable() -> bool {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
    }
    loop_devices_usable()
}

/// Looks at the grown partition as the next person would: mounts it, reads the file, measures it.
fn assert_grown(icecore: &Icecore, image: &Path, grow: &Value, least_bytes: u64) -> Result<()> {
    let number = |field: &str| grow[field].as_u64().with_context(|| format!("{field} is no number in {grow}"));
    ensure!(grow["content_grown"] == true && grow["remark"].is_null(), "{grow}");
    let mountpoint = directory(icecore, "restored")?;
    let mount = Mount::window(image, number("offset_bytes")?, number("to_bytes")?, &mountpoint, "ro")?;
    assert_eq!(fs::read_to_string(mountpoint.join("hello"))?, "hello");
    let size = nix::sys::statvfs::statvfs(&mountpoint)?;
    let bytes = size.blocks() * size.fragment_size();
    ensure!(bytes >= least_bytes, "the file system has only {bytes} bytes");
    drop(mount);
    Ok(())
}

fn assert_sound_table(image: &Path) -> Result<()> {
    let said = capture(Command::new("sgdisk").arg("--verify").arg(image))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("No problems found"), "{said}");
    Ok(())
}

fn identifiers(image: &Path) -> Result<String> {
    let said = capture(Command::new("sfdisk").arg("--json").arg(image))?;
    let table: Value = serde_json::from_slice(&said.stdout)?;
    let table = &table["partitiontable"];
    let partitions = table["partitions"].as_array().context("no partitions")?;
    let ids: Vec<_> =
        partitions.iter().map(|part| format!("{} {} {}", part["start"], part["uuid"], part["type"])).collect();
    Ok(format!("{} {}", table["id"], ids.join(", ")))
}

#[test]
fn an_ext4_partition_fills_a_larger_device_and_keeps_its_ids() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let (icecore, disk) = backed_up(FileSystem::Ext4, 64 * MIB)?;
    let image = backing(&icecore, "large.img", 200 * MIB)?;
    let device = LoopDevice::attach(&image, false)?;
    let arguments = ["restore", "latest", "--to", text(device.path()), "--overwrite", "--grow"];
    let planned = icecore.json(arguments.iter().chain(&["--dry-run"]))?;
    let mut start = vec![0; 4096];
    File::open(&image)?.read_exact_at(&mut start, 0)?;
    assert!(start.iter().all(|byte| *byte == 0xFF), "a dry run writes nothing");
    let done = icecore.json(arguments)?;
    assert_eq!(planned["grow"], done["grow"]);
    assert_eq!((&done["grow"]["table"], &done["grow"]["partition"]), (&"gpt".into(), &2.into()));
    drop(device);
    assert_sound_table(&image)?;
    assert_eq!(identifiers(disk.path())?, identifiers(&image)?);
    let (mut was, mut is) = ([0; 446], [0; 446]);
    File::open(disk.path())?.read_exact_at(&mut was, 0)?;
    File::open(&image)?.read_exact_at(&mut is, 0)?;
    assert_eq!(was, is, "the boot code is as it was");
    assert_grown(&icecore, &image, &done["grow"], 150 * MIB)?;
    let uuid = |image: &Path, length: u64| -> Result<Vec<u8>> {
        let window = LoopDevice::attach_window(image, 4 * MIB, length, true)?;
        Ok(capture(Command::new("blkid").args(["-p", "-s", "UUID", "-o", "value"]).arg(window.path()))?.stdout)
    };
    assert_eq!(uuid(disk.path(), 59 * MIB)?, uuid(&image, 195 * MIB)?);
    Ok(())
}

#[test]
fn an_xfs_partition_grows_in_an_image_file() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let (icecore, _) = backed_up(FileSystem::Xfs, 330 * MIB)?;
    let image = icecore.dir().join("large.img");
    let done = icecore.json(["restore", "latest", "--to", text(&image), "--size", "640M", "--grow", "2"])?;
    assert_eq!(fs::metadata(&image)?.len(), 640 * MIB);
    assert_sound_table(&image)?;
    assert_grown(&icecore, &image, &done["grow"], 540 * MIB)
}

#[test]
fn a_partition_alone_grows_into_a_larger_one() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let (icecore, _) = backed_up(FileSystem::Ext4, 64 * MIB)?;
    let image = backing(&icecore, "partition.img", 150 * MIB)?;
    let device = LoopDevice::attach(&image, false)?;
    let arguments = ["restore", "latest", "--partition", "2", "--to", text(device.path()), "--overwrite"];
    let done = icecore.json(arguments.iter().chain(&["--grow"]))?;
    assert!(done["grow"]["table"].is_null() && done["grow"]["partition"].is_null(), "{done}");
    drop(device);
    assert_grown(&icecore, &image, &done["grow"], 120 * MIB)
}

#[test]
fn a_primary_partition_of_an_mbr_grows() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let icecore = Icecore::with_repository()?;
    let disk = icecore.dir().join("disk.img");
    File::create(&disk)?.set_len(64 * MIB)?;
    sfdisk(
        &disk,
        "label: dos\nlabel-id: 0xdeadbeef\nstart=2048, size=8192, type=83, bootable\nstart=10240, type=83\n",
    )?;
    let window = LoopDevice::attach_window(&disk, 10240 * 512, 59 * MIB, false)?;
    capture(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(window.path()))?;
    let mountpoint = directory(&icecore, "source")?;
    let mount = Mount::device(window.path(), &mountpoint, "")?;
    fs::write(mountpoint.join("hello"), "hello")?;
    drop((mount, window));
    icecore.run(["backup", text(&disk)])?;
    let image = icecore.dir().join("large.img");
    let failure = icecore.fail(["restore", "latest", "--to", text(&image), "--size", "200M", "--grow", "1"])?;
    assert!(failure.stderr.contains("partition 2 follows it"), "{}", failure.stderr);
    assert!(!image.exists(), "what cannot be done is refused before anything is written");
    let done = icecore.json(["restore", "latest", "--to", text(&image), "--size", "200M", "--grow"])?;
    assert_eq!(done["grow"]["table"], "mbr");
    assert_eq!(identifiers(&disk)?, identifiers(&image)?);
    assert_grown(&icecore, &image, &done["grow"], 150 * MIB)
}

fn sfdisk(disk: &Path, script: &str) -> Result<()> {
    let mut child = Command::new("sfdisk").arg("--quiet").arg(disk).stdin(Stdio::piped()).spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().context("no input")?, script.as_bytes())?;
    ensure!(child.wait()?.success(), "sfdisk failed");
    Ok(())
}

#[test]
fn without_grow_a_larger_target_is_restored_as_it_was_and_that_is_said() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let (icecore, disk) = backed_up(FileSystem::Ext4, 64 * MIB)?;
    let image = backing(&icecore, "large.img", 100 * MIB)?;
    let device = LoopDevice::attach(&image, false)?;
    let done = icecore.json(["restore", "latest", "--to", text(device.path()), "--overwrite"])?;
    assert!(done["notes"][0].as_str().is_some_and(|note| note.contains("--grow")), "{done}");
    drop(device);
    File::options().write(true).open(&image)?.set_len(64 * MIB)?;
    assert_same_bytes(disk.path(), &image)
}

#[test]
fn a_damaged_original_is_healed_by_its_differences() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let (icecore, disk) = backed_up(FileSystem::Ext4, 64 * MIB)?;
    let truth = icecore.dir().join("truth.img");
    fs::copy(disk.path(), &truth)?;
    // Partition table, boot code and the start of the file system are gone.
    File::options().write(true).open(disk.path())?.write_all_at(&vec![0xA5; 6 << 20], 0)?;
    let device = LoopDevice::attach(disk.path(), false)?;
    let done = icecore.json(["restore", "latest", "--to", text(device.path()), "--delta"])?;
    let written = done["bytes_written"].as_u64().unwrap_or(0) + done["bytes_zeroed"].as_u64().unwrap_or(0);
    assert!((6 * MIB..=6 * MIB + 65536).contains(&written), "{done}");
    drop(device);
    assert_same_bytes(&truth, disk.path())
}

#[test]
fn a_disk_with_other_sectors_is_refused_before_it_is_written() -> Result<()> {
    if !usable() {
        return Ok(());
    }
    let (icecore, _) = backed_up(FileSystem::Ext4, 64 * MIB)?;
    let image = backing(&icecore, "native.img", 100 * MIB)?;
    let attached = capture(Command::new("losetup").args(["--find", "--show", "--sector-size", "4096"]).arg(&image))?;
    let device = Detached(String::from_utf8(attached.stdout)?.trim().to_owned());
    let failure = icecore.fail(["restore", "latest", "--to", &device.0, "--overwrite"])?;
    assert_eq!(failure.exit_code, Some(6), "{}", failure.stderr);
    assert!(failure.stderr.contains("512") && failure.stderr.contains("4096"), "{}", failure.stderr);
    let done = icecore.json(["restore", "latest", "--partition", "2", "--to", &device.0, "--overwrite"])?;
    assert!(done["notes"][0].as_str().is_some_and(|note| note.contains("sectors of 4096")), "{done}");
    drop(device);
    Ok(())
}

struct Detached(String);

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = capture(Command::new("losetup").args(["--detach", &self.0]));
    }
}

#[test]
fn what_cannot_grow_is_refused_with_the_reason() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = DiskImage::create(
        &icecore.dir().join("disk.img"),
        16 * MIB,
        &[PartitionPlan::sized(FileSystem::None, 3 * MIB), PartitionPlan::rest(FileSystem::None)],
    )?;
    icecore.run(["backup", text(disk.path())])?;
    let image = icecore.dir().join("out.img");
    for (arguments, says) in [
        (&["--grow"][..], "larger than what is restored"),
        (&["--size", "8M"][..], "16777216 are needed"),
        (&["--size", "64M", "--grow", "1"][..], "partition 2 follows it"),
        (&["--size", "64M", "--grow", "7"][..], "no such partition"),
        (&["--partition", "1", "--size", "64M", "--grow", "1"][..], "has no partition table"),
    ] {
        let failure = icecore.fail(["restore", "latest", "--to", text(&image)].iter().chain(arguments))?;
        assert!(failure.stderr.contains(says), "{arguments:?}: {}", failure.stderr);
        assert!(!image.exists() && !icecore.dir().join("out.img.partial").exists(), "{arguments:?} wrote something");
    }
    let done = icecore.json(["restore", "latest", "--to", text(&image), "--size", "64M", "--grow"])?;
    assert_eq!((&done["grow"]["content_grown"], &done["grow"]["failed"]), (&false.into(), &false.into()));
    assert_sound_table(&image)
}
