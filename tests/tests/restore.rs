//! Restores by the finished program: every shape of target, and what is refused.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use e2e::{DiskImage, FileSystem, Icecore, LoopDevice, MIB, PartitionPlan, assert_same_bytes, loop_devices_usable};

/// A point of a 16 MiB disk with data, a hole in the middle and data at the end.
fn backed_up() -> Result<(Icecore, PathBuf)> {
    let icecore = Icecore::with_repository()?;
    let disk = icecore.dir().join("disk.img");
    let file = File::create(&disk)?;
    file.set_len(16 * MIB)?;
    file.write_all_at(&vec![7; 3 << 20], 0)?;
    file.write_all_at(b"the end", 16 * MIB - 7)?;
    drop(file);
    icecore.run(["backup", text(&disk)])?;
    Ok((icecore, disk))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("ASCII path")
}

fn full_of_ff(path: &Path, size_bytes: u64) -> Result<()> {
    Ok(fs::write(path, vec![0xFF; usize::try_from(size_bytes)?])?)
}

#[test]
fn a_new_file_is_sparse_and_has_its_name_only_when_complete() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    let target = icecore.dir().join("out.img");
    icecore.run(["restore", "latest", "--to", text(&target)])?;
    assert_same_bytes(&disk, &target)?;
    assert!(fs::metadata(&target)?.blocks() * 512 < 6 * MIB, "holes stay holes");
    assert!(!icecore.dir().join("out.img.partial").exists());
    Ok(())
}

#[test]
fn a_partial_file_is_gone_on_with_and_all_of_it_is_checked() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    full_of_ff(&icecore.dir().join("out.img.partial"), 5 * MIB)?;
    let target = icecore.dir().join("out.img");
    icecore.run(["restore", "latest", "--to", text(&target)])?;
    assert_same_bytes(&disk, &target)
}

#[test]
fn an_existing_file_is_replaced_only_on_demand() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    let target = icecore.dir().join("out.img");
    full_of_ff(&target, 20 * MIB)?;
    let failure = icecore.fail(["restore", "latest", "--to", text(&target)])?;
    assert!(failure.stderr.contains("not empty") && failure.stderr.contains("--overwrite"), "{}", failure.stderr);
    assert_eq!(fs::read(&target)?, vec![0xFF; 20 << 20], "nothing was written");
    icecore.run(["restore", "latest", "--to", text(&target), "--overwrite"])?;
    assert_same_bytes(&disk, &target)
}

#[test]
fn a_delta_restore_writes_only_what_differs_and_zeroes_what_is_a_hole() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    let target = icecore.dir().join("out.img");
    fs::copy(&disk, &target)?;
    let file = File::options().write(true).open(&target)?;
    file.write_all_at(b"damage", MIB)?;
    file.write_all_at(b"not zero", 9 * MIB)?;
    drop(file);
    let planned = icecore.json(["restore", "latest", "--to", text(&target), "--delta", "--dry-run"])?;
    assert!(assert_same_bytes(&disk, &target).is_err(), "a dry run writes nothing");
    let done = icecore.json(["restore", "latest", "--to", text(&target), "--delta"])?;
    assert_eq!(done["bytes_written"], 65536);
    assert_eq!(planned["bytes_written"], done["bytes_written"]);
    assert_same_bytes(&disk, &target)
}

#[test]
fn a_delta_restore_cuts_no_longer_file_unasked() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    let target = icecore.dir().join("out.img");
    full_of_ff(&target, 20 * MIB)?;
    for dry in [&["--dry-run"][..], &[]] {
        let arguments = [&["restore", "latest", "--to", text(&target), "--delta"], dry].concat();
        let failure = icecore.fail(arguments)?;
        assert!(failure.stderr.contains("cut off"), "{}", failure.stderr);
    }
    assert_eq!(fs::read(&target)?, vec![0xFF; 20 << 20]);
    icecore.run(["restore", "latest", "--to", text(&target), "--delta", "--overwrite"])?;
    assert_same_bytes(&disk, &target)
}

#[test]
fn what_a_restore_of_a_larger_disk_left_is_not_behind_a_smaller_one() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    let target = icecore.dir().join("out.img");
    full_of_ff(&icecore.dir().join("out.img.partial"), 24 * MIB)?;
    icecore.run(["restore", "latest", "--to", text(&target), "--size", "32M"])?;
    let (disk, restored) = (fs::read(&disk)?, fs::read(&target)?);
    assert_eq!(restored.len(), 32 << 20);
    let (content, rest) = restored.split_at(disk.len());
    assert!(content == disk && rest.iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn a_device_full_of_ones_gets_its_zeroes() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let (icecore, disk) = backed_up()?;
    let backing = icecore.dir().join("device.img");
    full_of_ff(&backing, 16 * MIB)?;
    let device = LoopDevice::attach(&backing, false)?;
    let failure = icecore.fail(["restore", "latest", "--to", text(device.path())])?;
    assert!(failure.stderr.contains("not empty"), "{}", failure.stderr);
    icecore.run(["restore", "latest", "--to", text(device.path()), "--overwrite"])?;
    drop(device);
    assert_same_bytes(&disk, &backing)
}

#[test]
fn targets_that_are_too_small_or_in_use_are_refused() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let (icecore, _) = backed_up()?;
    let small = icecore.dir().join("small.img");
    File::create(&small)?.set_len(8 * MIB)?;
    let device = LoopDevice::attach(&small, false)?;
    let failure = icecore.fail(["restore", "latest", "--to", text(device.path()), "--overwrite"])?;
    assert!(failure.stderr.contains("16777216"), "{}", failure.stderr);
    drop(device);
    let mounted =
        DiskImage::create(&icecore.dir().join("mounted.img"), 64 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let mountpoint = icecore.dir().join("mnt");
    fs::create_dir(&mountpoint)?;
    let _mount = mounted.mount(1, &mountpoint, "rw")?;
    let failure = icecore.fail(["restore", "latest", "--to", text(mounted.path()), "--overwrite"])?;
    assert!(failure.stderr.contains("in use"), "{}", failure.stderr);
    Ok(())
}

#[test]
fn a_partition_is_restored_alone() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let content = icecore.dir().join("content");
    fs::create_dir(&content)?;
    fs::write(content.join("hello"), "hello")?;
    let plans =
        [PartitionPlan::sized(FileSystem::None, 3 * MIB), PartitionPlan::rest(FileSystem::Ext4).filled_from(&content)];
    let disk = DiskImage::create(&icecore.dir().join("disk.img"), 48 * MIB, &plans)?;
    icecore.run(["backup", text(disk.path())])?;
    let target = icecore.dir().join("partition.img");
    icecore.run(["restore", "latest", "--partition", "2", "--to", text(&target)])?;
    let partition = disk.partitions()[1];
    let mut expected = vec![0; usize::try_from(partition.length_bytes)?];
    File::open(disk.path())?.read_exact_at(&mut expected, partition.offset_bytes)?;
    assert!(fs::read(&target)? == expected);
    let failure = icecore.fail(["restore", "latest", "--partition", "9", "--to", text(&icecore.dir().join("x"))])?;
    assert!(failure.stderr.contains("no partition 9"), "{}", failure.stderr);
    Ok(())
}

#[test]
fn a_restore_needs_no_index_and_survives_a_broken_one() -> Result<()> {
    let (icecore, disk) = backed_up()?;
    for (round, break_it) in [(0, false), (1, true)] {
        for file in sqlite_files(icecore.dir())? {
            if break_it {
                fs::write(&file, b"this is no database, whatever it may have been before")?;
            } else {
                fs::remove_file(&file)?;
            }
        }
        let target = icecore.dir().join(format!("out{round}.img"));
        icecore.run(["restore", "latest", "--to", text(&target)])?;
        assert_same_bytes(&disk, &target)?;
    }
    Ok(())
}

fn sqlite_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension.to_string_lossy().starts_with("sqlite")) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no index was found");
    Ok(found)
}

#[test]
fn a_damaged_pack_fails_the_restore_by_name_and_leaves_no_complete_file() -> Result<()> {
    let (icecore, _) = backed_up()?;
    let mut data = vec![icecore.repository().join("data")];
    while let Some(path) = data.pop() {
        if path.is_dir() {
            data.extend(fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?);
            continue;
        }
        let mut bytes = fs::read(&path)?;
        bytes[300] ^= 1;
        fs::write(&path, bytes)?;
    }
    let target = icecore.dir().join("out.img");
    let failure = icecore.fail(["restore", "latest", "--to", text(&target)])?;
    assert!(failure.stderr.contains("data/"), "{}", failure.stderr);
    assert!(!target.exists());
    let failure = icecore.fail(["check", "--read-data"])?;
    assert!(format!("{}{}", failure.stdout, failure.stderr).contains("data/"));
    Ok(())
}
