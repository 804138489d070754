//! Facts about the harness itself: what it makes is what it says, and nothing stays behind.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::Result;
use e2e::{DiskImage, Extent, FileSystem, MIB, PartitionPlan, assert_same_bytes, changed_extents, same_bytes};

#[test]
fn changed_extents_finds_single_bytes_across_holes_and_merges_neighbours() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    for path in [&before, &after] {
        File::create(path)?.set_len(5 * MIB + 4096)?;
    }
    let file = File::options().write(true).open(&after)?;
    for offset in [4095, 4096, 3 * MIB + 5, 5 * MIB + 4095] {
        file.write_all_at(&[1], offset)?;
    }
    let extent = |offset_bytes, length_bytes| Extent { offset_bytes, length_bytes };
    let expected = [extent(0, 8192), extent(3 * MIB, 4096), extent(5 * MIB, 4096)];
    assert_eq!(changed_extents(&before, &after, 4096)?, expected);
    assert!(!same_bytes(&before, &after)?);
    assert!(assert_same_bytes(&before, &after).is_err());
    assert!(same_bytes(&before, &before)?);
    Ok(())
}

#[test]
fn image_holds_the_planned_partitions_and_file_systems() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let content = dir.path().join("content");
    std::fs::create_dir(&content)?;
    std::fs::write(content.join("hello.txt"), "hello")?;
    let plans =
        [PartitionPlan::sized(FileSystem::Swap, 8 * MIB), PartitionPlan::rest(FileSystem::Ext4).filled_from(&content)];
    let image = DiskImage::create(&dir.path().join("disk.img"), 64 * MIB, &plans)?;
    assert_eq!(image.partitions().len(), 2);
    let second = image.partitions()[1];
    assert_eq!((second.number, second.offset_bytes, second.length_bytes), (2, 9 * MIB, 54 * MIB));

    let mut table = [0; 8];
    let file = File::open(image.path())?;
    file.read_exact_at(&mut table, 512)?;
    assert_eq!(&table, b"EFI PART");
    let mut magic = [0; 2];
    file.read_exact_at(&mut magic, second.offset_bytes + 1024 + 56)?;
    assert_eq!(magic, [0x53, 0xEF], "an ext4 superblock lies at the start of the second partition");
    Ok(())
}

#[test]
fn a_partition_that_does_not_fit_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let plans = [PartitionPlan::sized(FileSystem::None, 64 * MIB)];
    let error = DiskImage::create(&dir.path().join("disk.img"), 32 * MIB, &plans).expect_err("64 MiB on 32 MiB");
    assert!(error.to_string().contains("does not fit"), "{error:#}");
    Ok(())
}

#[test]
fn a_file_written_through_a_mount_lies_in_the_image() -> Result<()> {
    if !e2e::loop_devices_usable() {
        eprintln!("skipped: loop devices need root and the loop driver");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let mount_point = dir.path().join("mnt");
    std::fs::create_dir(&mount_point)?;
    let image = DiskImage::create(&dir.path().join("disk.img"), 64 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let before = dir.path().join("before.img");
    std::fs::copy(image.path(), &before)?;
    let mount = image.mount(1, &mount_point, "")?;
    std::fs::write(mount_point.join("note"), "kept")?;
    drop(mount);
    assert!(!mount_point.join("note").exists(), "the mount ends with its guard");
    assert!(!changed_extents(&before, image.path(), 4096)?.is_empty());
    let _again = image.mount(1, &mount_point, "ro")?;
    assert_eq!(std::fs::read_to_string(mount_point.join("note"))?, "kept");
    Ok(())
}
