//! Backups by the finished program: what is read, what is stored, what is refused.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{
    DiskImage, FileSystem, Icecore, LoopDevice, MIB, Mount, PartitionPlan, assert_same_bytes, loop_devices_usable,
};
use serde_json::Value;

/// A sparse file with some data that does not compress and some that does.
fn image(path: &Path, size_bytes: u64, pieces: &[(u64, u64, u8)]) -> Result<PathBuf> {
    let file = File::create(path)?;
    file.set_len(size_bytes)?;
    for (offset, length, seed) in pieces {
        file.write_all_at(&noise(*seed, usize::try_from(*length)?), *offset)?;
    }
    Ok(path.to_owned())
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

fn restore_and_compare(icecore: &Icecore, point: &str, image: &Path) -> Result<()> {
    let target = icecore.dir().join(format!("restored-{point}"));
    icecore.run(["restore", point, "--to", target.to_str().expect("ASCII path")])?;
    assert_same_bytes(image, &target)?;
    Ok(fs::remove_file(target)?)
}

fn points(icecore: &Icecore) -> Result<Vec<Value>> {
    Ok(icecore.json(["list"])?.as_array().expect("list is an array").clone())
}

#[test]
fn full_incremental_and_full_read_restore_and_count_what_they_did() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 64 * MIB + 4096, &[(0, 3 * MIB, 1), (40 * MIB, 2 * MIB, 2)])?;
    let path = disk.to_str().expect("ASCII path");
    let full = icecore.json(["backup", path, "--name", "vm"])?;
    assert_eq!((full["kind"].as_str(), number(&full, "bytes_changed")), (Some("full"), 64 * MIB + 4096));
    assert_eq!(number(&full, "bytes_read"), 5 * MIB, "holes are not read");
    restore_and_compare(&icecore, "latest", &disk)?;

    File::options().write(true).open(&disk)?.write_all_at(&noise(3, 5000), 41 * MIB - 100)?;
    File::options().write(true).open(&disk)?.write_all_at(b"end", 64 * MIB + 4000)?;
    let list = icecore.dir().join("changed");
    fs::write(&list, format!("{} 5000\n{} 96\n", 41 * MIB - 100, 64 * MIB + 4000))?;
    let incremental =
        icecore.json(["backup", path, "--name", "vm", "--changed-extents", list.to_str().expect("ASCII")])?;
    assert_eq!(incremental["kind"], "incremental");
    assert_eq!(number(&incremental, "bytes_changed"), 5096);
    assert_eq!(number(&incremental, "bytes_read"), 2 * 65536 + 4096, "whole chunks are read, the last one is short");
    let parts = incremental["disks"][0]["changed_percent"].as_array().expect("128 parts of the disk").iter();
    let changed: Vec<usize> = parts.enumerate().filter(|(_, share)| **share != 0).map(|(part, _)| part).collect();
    assert_eq!(changed, [81, 82, 127], "a write over the border of two parts, and one in the last");
    restore_and_compare(&icecore, "latest", &disk)?;

    let again = icecore.json(["backup", path, "--name", "vm"])?;
    assert_eq!((again["kind"].as_str(), number(&again, "bytes_changed")), (Some("full_read"), 0));
    assert_eq!(number(&again, "bytes_new"), 0);
    let listed = points(&icecore)?;
    assert_eq!(listed.len(), 3);
    let stored: u64 = listed.iter().map(|point| number(point, "bytes_stored")).sum();
    let in_store: u64 = walk_bytes(icecore.repository(), &["data", "tree", "manifests"])?;
    assert_eq!(stored, in_store, "bytes_stored is what was added to the store");
    Ok(())
}

fn walk_bytes(repository: &Path, below: &[&str]) -> Result<u64> {
    let mut total = 0;
    let mut open: Vec<PathBuf> = below.iter().map(|dir| repository.join(dir)).collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                total += entry.metadata()?.len();
            }
        }
    }
    Ok(total)
}

#[test]
fn a_changed_extent_that_became_a_hole_reads_as_zero() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 8 * MIB, &[(0, 8 * MIB, 1)])?;
    let path = disk.to_str().expect("ASCII path");
    icecore.run(["backup", path])?;
    let punched = image(&icecore.dir().join("new.img"), 8 * MIB, &[(0, 2 * MIB, 1)])?;
    File::options().write(true).open(&punched)?.write_all_at(&noise(1, 8 << 20)[6 << 20..], 6 * MIB)?;
    fs::rename(&punched, &disk)?;
    let list = icecore.dir().join("changed");
    fs::write(&list, format!("{} {}\n", 2 * MIB, 4 * MIB))?;
    let point = icecore.json(["backup", path, "--changed-extents", list.to_str().expect("ASCII")])?;
    assert_eq!(number(&point, "bytes_read"), 0);
    restore_and_compare(&icecore, "latest", &disk)
}

#[test]
fn an_audit_reports_what_the_list_did_not_name_and_stores_the_truth() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 8 * MIB, &[(0, 8 * MIB, 1)])?;
    let path = disk.to_str().expect("ASCII path");
    icecore.run(["backup", path])?;
    let file = File::options().write(true).open(&disk)?;
    file.write_all_at(b"named", MIB)?;
    file.write_all_at(b"unnamed", 5 * MIB)?;
    drop(file);
    let list = icecore.dir().join("changed");
    fs::write(&list, format!("{MIB} 5\n"))?;
    let mut command = icecore.command();
    command.args(["--json", "backup", path, "--full-read", "--changed-extents"]).arg(&list);
    let output = command.output()?;
    let audit: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(number(&audit["audit"], "bytes_differing"), 65536);
    assert_eq!(audit["audit"]["extents"][0][1], 5 * MIB);
    assert!(!output.status.success(), "a difference outside the list is a failure somebody must see");
    restore_and_compare(&icecore, "latest", &disk)
}

#[test]
fn lists_without_a_point_or_of_another_disk_are_refused() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 8 * MIB, &[(0, MIB, 1)])?;
    let path = disk.to_str().expect("ASCII path");
    let list = icecore.dir().join("changed");
    fs::write(&list, "0 65536\n")?;
    let list = list.to_str().expect("ASCII path");
    let failure = icecore.fail(["backup", path, "--changed-extents", list])?;
    assert!(failure.stderr.contains("without the list"), "{}", failure.stderr);
    icecore.run(["backup", path])?;
    File::options().write(true).open(&disk)?.set_len(9 * MIB)?;
    assert!(icecore.fail(["backup", path, "--changed-extents", list])?.stderr.contains("bytes"));
    File::options().write(true).open(&disk)?.set_len(8 * MIB)?;
    for bad in ["8388608 1", "0", "x y", "18446744073709551615 2"] {
        fs::write(list, format!("0 1\n{bad}\n"))?;
        let failure = icecore.fail(["backup", path, "--changed-extents", list])?;
        assert!(failure.stderr.contains("line 2"), "{bad}: {}", failure.stderr);
    }
    assert_eq!(points(&icecore)?.len(), 1, "nothing was committed");
    Ok(())
}

#[test]
fn several_disks_make_one_point_and_restore_by_name() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let first = image(&icecore.dir().join("a b.img"), 4 * MIB, &[(0, MIB, 1)])?;
    let second = image(&icecore.dir().join("ünï\"code.img"), 4 * MIB, &[(0, MIB, 2)])?;
    let mut command = icecore.command();
    command.args(["--json", "backup", "--name", "näme with\ttab"]).args([&first, &second]);
    assert!(command.status()?.success());
    let refused = icecore.fail(["restore", "latest", "--to", "/nonexistent/x"])?;
    assert!(refused.stderr.contains("several disks"), "{}", refused.stderr);
    for (name, image) in [("a b.img", &first), ("ünï\"code.img", &second)] {
        let target = icecore.dir().join("out");
        icecore.run(["restore", "latest", "--disk", name, "--to", target.to_str().expect("ASCII path")])?;
        assert_same_bytes(image, &target)?;
        fs::remove_file(&target)?;
    }
    assert_eq!(points(&icecore)?[0]["name"], "näme with\ttab");
    Ok(())
}

#[test]
fn a_killed_backup_is_gone_on_with_and_harms_nothing() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let pieces: Vec<_> = (0..8).map(|i| (u64::from(i) * 24 * MIB, 24 * MIB, i + 1)).collect();
    let disk = image(&icecore.dir().join("disk.img"), 192 * MIB, &pieces)?;
    let path = disk.to_str().expect("ASCII path");
    let mut child = icecore.command().args(["--quiet", "backup", path, "--limit", "120M"]).spawn()?;
    let data = icecore.repository().join("data");
    let deadline = Instant::now() + Duration::from_secs(60);
    let packs = || walk_bytes(icecore.repository(), &["data"]).unwrap_or(0);
    while !(data.exists() && packs() > 0) && Instant::now() < deadline && child.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    let killed = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    assert!(killed, "the backup ended before it could be killed");
    assert!(points(&icecore)?.is_empty());
    let before = packs();
    assert!(before > 0);
    let resumed = icecore.json(["backup", path])?;
    assert!(number(&resumed, "bytes_new") + before <= 192 * MIB + before / 50, "what was stored is not stored again");
    restore_and_compare(&icecore, "latest", &disk)?;
    icecore.run(["check", "--read-data"])?;
    Ok(())
}

#[test]
fn an_interrupt_stops_cleanly() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 64 * MIB, &[(0, 64 * MIB, 1)])?;
    let mut child = icecore.command().args(["backup", "--limit", "4M"]).arg(&disk).spawn()?;
    let leases = icecore.repository().join("leases");
    let deadline = Instant::now() + Duration::from_secs(60);
    let lease_count = || fs::read_dir(&leases).map_or(0, Iterator::count);
    while lease_count() == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let signal = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    assert!(signal.success());
    assert_eq!(child.wait()?.code(), Some(130));
    assert_eq!(lease_count(), 0, "the lease was given back");
    assert!(points(&icecore)?.is_empty());
    Ok(())
}

#[test]
fn two_writers_at_once_both_succeed() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disks: Vec<_> = (1..=2)
        .map(|seed| image(&icecore.dir().join(format!("{seed}.img")), 32 * MIB, &[(0, 24 * MIB, seed)]))
        .collect::<Result<_>>()?;
    let children: Vec<_> = disks
        .iter()
        .map(|disk| icecore.command().args(["--quiet", "backup", "--name", "same"]).arg(disk).spawn())
        .collect::<std::io::Result<_>>()?;
    for mut child in children {
        assert!(child.wait()?.success());
    }
    let listed = points(&icecore)?;
    assert_eq!(listed.len(), 2);
    for point in listed {
        let id = point["id"].as_str().expect("an id");
        let target = icecore.dir().join("out");
        icecore.run(["restore", id, "--to", target.to_str().expect("ASCII path")])?;
        let found = disks.iter().filter(|disk| assert_same_bytes(disk, &target).is_ok()).count();
        assert_eq!(found, 1);
        fs::remove_file(target)?;
    }
    icecore.run(["check"])?;
    Ok(())
}

#[test]
fn a_source_that_shrinks_fails_the_backup_and_keeps_the_earlier_point() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 64 * MIB, &[(0, 64 * MIB, 1)])?;
    let path = disk.to_str().expect("ASCII path");
    icecore.run(["backup", path])?;
    let before = points(&icecore)?;
    let mut child =
        icecore.command().args(["backup", path, "--limit", "16M"]).stderr(std::process::Stdio::piped()).spawn()?;
    let leases = icecore.repository().join("leases");
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read_dir(&leases).map_or(0, Iterator::count) == 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    File::options().write(true).open(&disk)?.set_len(MIB)?;
    let output = {
        let status = child.wait()?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut text)?;
        (status, text)
    };
    assert!(!output.0.success());
    assert!(output.1.contains("shrank") || output.1.contains("changed while it was read"), "{}", output.1);
    assert_eq!(points(&icecore)?, before);
    icecore.run(["check", "--read-data"])?;
    Ok(())
}

#[test]
fn mounted_sources_need_a_knowing_yes() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let icecore = Icecore::with_repository()?;
    let disk = DiskImage::create(&icecore.dir().join("disk.img"), 64 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let mountpoint = icecore.dir().join("mnt");
    fs::create_dir(&mountpoint)?;
    let mount = disk.mount(1, &mountpoint, "rw")?;
    let path = disk.path().to_str().expect("ASCII path");
    let failure = icecore.fail(["backup", path])?;
    assert!(failure.stderr.contains("mnt") && failure.stderr.contains("--allow-live"), "{}", failure.stderr);
    icecore.run(["backup", path, "--allow-live"])?;
    drop(mount);
    assert_eq!(points(&icecore)?[0]["consistency"], "not_consistent");
    icecore.run(["backup", path])?;
    Ok(())
}

#[test]
fn a_repository_on_the_disk_that_is_backed_up_is_refused() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let mut icecore = Icecore::without_repository()?;
    let disk = DiskImage::create(&icecore.dir().join("disk.img"), 96 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let (mountpoint, bound) = (icecore.dir().join("mnt"), icecore.dir().join("bound"));
    fs::create_dir(&mountpoint)?;
    fs::create_dir(&bound)?;
    let _mount = disk.mount(1, &mountpoint, "rw")?;
    let _bind = Mount::device(&mountpoint, &bound, "bind")?;
    icecore.set_repository(bound.join("repo"));
    icecore.run(["init"])?;
    let failure = icecore.fail(["backup", "--allow-live", disk.path().to_str().expect("ASCII path")])?;
    assert!(failure.stderr.contains("repository lies on"), "{}", failure.stderr);
    Ok(())
}

#[test]
fn a_full_file_system_fails_the_backup_and_loses_nothing() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let mut icecore = Icecore::without_repository()?;
    let store =
        DiskImage::create(&icecore.dir().join("store.img"), 64 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let mountpoint = icecore.dir().join("store");
    fs::create_dir(&mountpoint)?;
    let _mount = store.mount(1, &mountpoint, "rw")?;
    icecore.set_repository(mountpoint.join("repo"));
    icecore.run(["init"])?;
    let small = image(&icecore.dir().join("small.img"), 8 * MIB, &[(0, 8 * MIB, 1)])?;
    icecore.run(["backup", small.to_str().expect("ASCII path")])?;
    let large = image(&icecore.dir().join("large.img"), 128 * MIB, &[(0, 128 * MIB, 2)])?;
    let failure = icecore.fail(["backup", large.to_str().expect("ASCII path")])?;
    assert!(failure.stderr.to_lowercase().contains("no space"), "{}", failure.stderr);
    assert_eq!(points(&icecore)?.len(), 1);
    restore_and_compare(&icecore, "latest", &small)?;
    icecore.run(["check", "--read-data"])?;
    Ok(())
}

#[test]
fn swap_and_excluded_partitions_read_as_zero_and_say_so() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let plans = [
        PartitionPlan::sized(FileSystem::Swap, 8 * MIB),
        PartitionPlan::sized(FileSystem::None, 8 * MIB),
        PartitionPlan::rest(FileSystem::None),
    ];
    let disk = DiskImage::create(&icecore.dir().join("disk.img"), 32 * MIB, &plans)?;
    let file = File::options().write(true).open(disk.path())?;
    for partition in disk.partitions() {
        file.write_all_at(&noise(9, 1 << 20), partition.offset_bytes + 65536)?;
    }
    drop(file);
    let path = disk.path().to_str().expect("ASCII path");
    icecore.run(["backup", path, "--exclude", "2"])?;
    let target = icecore.dir().join("out");
    icecore.run(["restore", "latest", "--to", target.to_str().expect("ASCII path")])?;
    let restored = File::open(&target)?;
    let read = |offset: u64, length: usize| -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        restored.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    };
    let [swap, excluded, kept] = [0, 1, 2].map(|i| disk.partitions()[i].offset_bytes);
    assert!(read(swap, 4096)?.ends_with(b"SWAPSPACE2"), "the header of the swap space is kept");
    assert!(read(swap + 65536, 1 << 20)?.iter().all(|byte| *byte == 0));
    assert!(read(excluded + 65536, 1 << 20)?.iter().all(|byte| *byte == 0));
    assert_eq!(read(kept + 65536, 1 << 20)?, noise(9, 1 << 20));
    let failure = icecore.fail(["backup", path, "--exclude", "7"])?;
    assert!(failure.stderr.contains("partition 7"), "{}", failure.stderr);
    Ok(())
}

#[test]
fn used_blocks_only_leaves_out_what_was_deleted_and_restores_every_file() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let icecore = Icecore::with_repository()?;
    let disk = DiskImage::create(&icecore.dir().join("disk.img"), 96 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let mountpoint = icecore.dir().join("mnt");
    fs::create_dir(&mountpoint)?;
    let mount = disk.mount(1, &mountpoint, "rw")?;
    fs::write(mountpoint.join("deleted"), noise(1, 32 << 20))?;
    fs::write(mountpoint.join("kept"), noise(2, 8 << 20))?;
    drop(mount);
    let mount = disk.mount(1, &mountpoint, "rw")?;
    fs::remove_file(mountpoint.join("deleted"))?;
    drop(mount);
    let path = disk.path().to_str().expect("ASCII path");
    let point = icecore.json(["backup", path, "--used-blocks-only"])?;
    assert!(number(&point, "bytes_new") < 12 * MIB, "{point}");
    let target = icecore.dir().join("out.img");
    icecore.run(["restore", "latest", "--partition", "1", "--to", target.to_str().expect("ASCII path")])?;
    let restored = Mount::window(&target, 0, fs::metadata(&target)?.len(), &mountpoint, "ro")?;
    assert_eq!(fs::read(restored.directory().join("kept"))?, noise(2, 8 << 20));
    Ok(())
}

#[test]
fn a_loop_device_is_a_source_like_any_disk() -> Result<()> {
    if !loop_devices_usable() {
        println!("needs root and loop devices");
        return Ok(());
    }
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 16 * MIB, &[(0, 8 * MIB, 1)])?;
    let device = LoopDevice::attach(&disk, true)?;
    icecore.run(["backup", device.path().to_str().expect("ASCII path")])?;
    restore_and_compare(&icecore, "latest", &disk)
}

/// A pack was damaged, a full read found every chunk "the same as in the parent", and a point was committed that could not be restored.
#[test]
fn a_full_read_after_damage_stores_again_what_was_lost() -> Result<()> {
    for (damage, at_end) in [("a chunk", false), ("a footer", true)] {
        let icecore = Icecore::with_repository()?;
        let disk = image(&icecore.dir().join("disk.img"), 8 * MIB, &[(0, 4 * MIB, 1)])?;
        let path = disk.to_str().expect("ASCII path");
        icecore.run(["backup", path])?;
        let mut dirs = vec![icecore.repository().join("data")];
        while let Some(dir) = dirs.pop() {
            if dir.is_dir() {
                dirs.extend(
                    fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>()?,
                );
                continue;
            }
            let mut bytes = fs::read(&dir)?;
            let at = if at_end { bytes.len() - 200 } else { 300 };
            bytes[at] ^= 1;
            fs::write(&dir, bytes)?;
        }
        let failure = icecore.fail(["check", "--read-data"])?;
        assert_eq!(failure.exit_code, Some(3), "{damage}: {}", failure.stderr);
        icecore.run(["backup", path])?;
        restore_and_compare(&icecore, "latest", &disk)?;
    }
    Ok(())
}

/// The newest point was forgotten, the list counted from it, and the point before became the parent: the changes in between were lost.
#[test]
fn a_list_is_never_applied_to_an_older_point_than_the_newest() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 8 * MIB, &[(0, 4 * MIB, 1)])?;
    let path = disk.to_str().expect("ASCII path");
    icecore.run(["backup", path])?;
    File::options().write(true).open(&disk)?.write_all_at(b"between", MIB)?;
    let newest = icecore.json(["backup", path])?;
    icecore.run(["forget", newest["id"].as_str().expect("an id")])?;
    let list = icecore.dir().join("changed");
    fs::write(&list, "")?;
    let failure = icecore.fail(["backup", path, "--changed-extents", list.to_str().expect("ASCII")])?;
    assert!(failure.stderr.contains("--since"), "{}", failure.stderr);
    fs::write(&list, format!("{MIB} 7\n"))?;
    let first = points(&icecore)?[0]["id"].as_str().expect("an id").to_owned();
    icecore.run(["backup", path, "--changed-extents", list.to_str().expect("ASCII"), "--since", &first])?;
    restore_and_compare(&icecore, "latest", &disk)
}

#[test]
fn an_image_that_is_written_to_while_it_is_read_needs_a_knowing_yes() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let disk = image(&icecore.dir().join("disk.img"), 48 * MIB, &[(0, 48 * MIB, 1)])?;
    let path = disk.to_str().expect("ASCII path");
    for allowed in [false, true] {
        let mut command = icecore.command();
        command.args(["backup", path, "--limit", "24M"]).args(allowed.then_some("--allow-live"));
        let child = command.stderr(std::process::Stdio::piped()).spawn()?;
        let leases = icecore.repository().join("leases");
        let deadline = Instant::now() + Duration::from_secs(60);
        while fs::read_dir(&leases).map_or(0, Iterator::count) == 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        File::options().write(true).open(&disk)?.write_all_at(b"later", 40 * MIB)?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), allowed, "{text}");
        assert!(allowed || text.contains("--allow-live"), "{text}");
    }
    assert_eq!(points(&icecore)?[0]["consistency"], "not_consistent");
    Ok(())
}
