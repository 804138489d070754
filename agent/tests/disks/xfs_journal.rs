//! A copy of XFS that was not unmounted reads as the kernel reads it after replaying the log.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use agent::files;

use crate::facts::{self, Tree};
use crate::images::{Workshop, disk, require_root, run};
use crate::population::pattern;

/// mkfs.xfs makes small file systems only for tests of XFS itself, which it knows by these.
pub const MKFS_SMALL: [&str; 7] = ["env", "TEST_DIR=x", "TEST_DEV=x", "QA_CHECK_FS=x", "mkfs.xfs", "-q", "-f"];
pub const MEBIBYTES: u64 = 128;

/// One round of many small transactions; each undoes part of what the one before the last did.
fn round(dir: &Path, number: u64) {
    let sub = dir.join(format!("round {number}"));
    fs::create_dir(&sub).unwrap();
    growing_directories(&sub, number);
    growing_files(&sub, number);
    attributes(&sub, number);
    for length in [40, 300, 900, 1023] {
        symlink("s".repeat(length), sub.join(format!("link of {length}"))).unwrap();
    }
    fs::hard_link(sub.join("comb"), sub.join("comb too")).unwrap();
    fs::rename(sub.join("grown"), sub.join("renamed")).unwrap();
    if number >= 2 {
        // Blocks of directories, extent trees and attributes become free, and hold something else soon.
        fs::remove_dir_all(dir.join(format!("round {}", number - 2))).unwrap();
    }
}

/// From inside the inode over one block and leaves to nodes, and part of the way back.
fn growing_directories(sub: &Path, number: u64) {
    for (name, count) in [("tiny", 3), ("block", 40), ("leaf", 200), ("node", 900)] {
        let dir = sub.join(name);
        fs::create_dir(&dir).unwrap();
        for entry in 0..count {
            let path = dir.join(format!("entry {entry} with quite a long name to fill the blocks of this directory"));
            fs::write(&path, pattern(entry % 50, number)).unwrap();
        }
    }
    for entry in (0..900).filter(|entry| entry % 4 != 0) {
        let name = format!("node/entry {entry} with quite a long name to fill the blocks of this directory");
        fs::remove_file(sub.join(name)).unwrap();
    }
}

/// Extents that become a tree, and a tree that becomes extents again.
pub fn growing_files(sub: &Path, number: u64) {
    for (name, teeth) in [("comb", 300_u64), ("cut", 200), ("grown", 10)] {
        let file = File::create(sub.join(name)).unwrap();
        for tooth in (0..teeth).rev() {
            file.write_all_at(&pattern(4096, tooth + number), tooth * 8192).unwrap();
        }
        file.sync_all().unwrap();
        if name == "cut" {
            file.set_len(20_000).unwrap();
        }
        if name == "grown" {
            nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 1 << 20, 1 << 20).unwrap();
            file.write_all_at(&pattern(5000, number), (1 << 20) + 77_777).unwrap();
        }
    }
}

/// From inside the inode to leaves, with values of their own blocks.
fn attributes(sub: &Path, number: u64) {
    for (name, count, bytes) in [("few", 2, 20), ("leaf", 30, 100), ("nodes", 120, 150), ("remote", 3, 9000)] {
        let path = sub.join(format!("with attributes {name}"));
        fs::write(&path, name).unwrap();
        for index in 0..count {
            xattr::set(&path, format!("user.{index}"), &pattern(bytes, number + index)).unwrap();
        }
        xattr::remove(&path, "user.1").unwrap();
        xattr::set(&path, "user.0", b"replaced").unwrap();
    }
    run("setfacl", &["-m", "u:1234:rwx,g:99:r--", sub.join("with attributes few").to_str().unwrap()]);
}

/// What is not yet in the log and the places of files goes there, as a power cut right after it would have it.
pub fn sync_log(dir: &Path) {
    let file = File::create(dir.join("synced last")).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.sync_all().unwrap();
}

/// Stops the file system with all of its transactions in the log and hardly any in their places.
pub fn stop(dir: &Path) {
    run("xfs_io", &["-x", "-c", "shutdown -f", dir.to_str().unwrap()]);
}

/// The trees of the reader and of the kernel that replayed the same log, and the reader's notes.
pub fn both_views(workshop: &Workshop, torn: &Path) -> (Tree, Tree, Vec<String>) {
    let fs = files::open(disk(torn)).unwrap();
    let ours = facts::of_file_system(&*fs);
    let replayed = workshop.copy(torn, "replayed.img");
    let mounted = workshop.mount(&replayed, "rw,nouuid");
    (facts::of_directory(&mounted.dir), ours, fs.notes().to_vec())
}

fn assert_replayed(workshop: &Workshop, torn: &Path, has: &[u8]) {
    let (kernels, ours, notes) = both_views(workshop, torn);
    assert!(ours.keys().any(|name| name.starts_with(has)));
    facts::assert_same(&kernels, &ours);
    assert!(notes.len() == 1 && notes[0].contains("log was replayed"), "{notes:?}");
}

pub fn stopped(workshop: &Workshop, mkfs: &[&str], work: impl FnOnce(&Path)) -> PathBuf {
    require_root();
    let image = workshop.format("disk.img", MEBIBYTES, &[&MKFS_SMALL, mkfs].concat());
    let mounted = workshop.mount(&image, "rw");
    work(&mounted.dir);
    stop(&mounted.dir);
    drop(mounted);
    image
}

/// Stops after many rounds.
fn compare_stopped(mkfs: &[&str], rounds: u64) {
    let workshop = Workshop::new();
    let image = stopped(&workshop, mkfs, |dir| (0..rounds).for_each(|number| round(dir, number)));
    assert_replayed(&workshop, &image, format!("/round {}/", rounds - 1).as_bytes());
}

#[test]
fn a_stopped_file_system_reads_as_the_kernel_replays_it() {
    compare_stopped(&["-l", "size=24m"], 3);
}

#[test]
fn one_with_small_blocks_and_reverse_maps_too() {
    compare_stopped(&["-b", "size=1024", "-m", "rmapbt=1", "-n", "size=4096", "-l", "size=24m"], 3);
}

#[test]
fn one_with_large_inodes_and_old_times_too() {
    compare_stopped(
        &["-i", "size=2048,nrext64=1,sparse=0", "-m", "bigtime=0", "-s", "size=4096", "-l", "size=24m,su=64k"],
        3,
    );
}

#[test]
fn one_with_another_uuid_than_it_was_made_with_too() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &[&MKFS_SMALL[..], &["-l", "size=16m"]].concat());
    for number in 0..2 {
        let mounted = workshop.mount(&image, "rw");
        round(&mounted.dir, number);
        stop(&mounted.dir);
        drop(mounted);
        assert_replayed(&workshop, &image, format!("/round {number}/").as_bytes());
        // The kernel's own replay makes the log clean, which the new UUID needs.
        drop(workshop.mount(&image, "rw"));
        run("xfs_admin", &["-U", "generate", image.to_str().unwrap()]);
    }
}

fn first_cycle(image: &Path) -> u32 {
    let file = File::open(image).unwrap();
    let mut superblock = [0; 512];
    file.read_exact_at(&mut superblock, 0).unwrap();
    let word = |at: usize| u32::from_be_bytes(superblock[at..at + 4].try_into().unwrap());
    let (ag, block) = (word(52) >> superblock[124], word(52) & ((1 << superblock[124]) - 1));
    let mut sector = [0; 8];
    let place = u64::from(ag * word(84) + block) * u64::from(word(4));
    file.read_exact_at(&mut sector, place).unwrap();
    let start = if sector.starts_with(&[0xFE, 0xED, 0xBA, 0xBE]) { 4 } else { 0 };
    u32::from_be_bytes(sector[start..start + 4].try_into().unwrap())
}

#[test]
fn a_log_that_went_around_several_times_is_replayed() {
    let workshop = Workshop::new();
    let mut number = 0;
    let image = stopped(&workshop, &["-m", "reflink=0", "-l", "size=5m"], |dir| {
        let image = dir.parent().unwrap().join("disk.img");
        while first_cycle(&image) < 4 {
            round(dir, number);
            sync_log(dir);
            number += 1;
        }
        round(dir, number);
    });
    assert_replayed(&workshop, &image, format!("/round {number}/").as_bytes());
}

#[test]
fn copies_of_a_mounted_file_system_are_replayed() {
    require_root();
    let workshop = Workshop::new();
    let image =
        workshop.format("disk.img", MEBIBYTES, &[&MKFS_SMALL[..], &["-l", "size=5m", "-m", "reflink=0"]].concat());
    let mounted = workshop.mount(&image, "rw");
    for number in 0..3 {
        round(&mounted.dir, number);
        sync_log(&mounted.dir);
        let torn = workshop.copy(&image, "torn.img");
        let (kernels, ours, _) = both_views(&workshop, &torn);
        facts::assert_same(&kernels, &ours);
        assert!(ours.contains_key(format!("/round {number}/with attributes few").as_bytes()));
    }
}

#[test]
fn a_frozen_file_system_needs_no_note() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &[&MKFS_SMALL[..], &["-l", "size=16m"]].concat());
    let mounted = workshop.mount(&image, "rw");
    round(&mounted.dir, 0);
    let dir = mounted.dir.to_str().unwrap();
    run("fsfreeze", &["-f", dir]);
    let frozen = workshop.copy(&image, "frozen.img");
    run("fsfreeze", &["-u", dir]);
    let fs = files::open(disk(&frozen)).unwrap();
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
    assert_eq!(fs.notes(), [""; 0]);
}

#[test]
fn shared_blocks_that_are_written_to_are_replayed() {
    let workshop = Workshop::new();
    let image = stopped(&workshop, &["-l", "size=16m"], |dir| {
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fs::write(dir.join("original"), pattern(4 << 20, 1)).unwrap();
        for number in 0..6_u64 {
            run("cp", &["--reflink=always", &path("original"), &path(&format!("copy {number}"))]);
            let copy = File::options().write(true).open(dir.join(format!("copy {number}"))).unwrap();
            for piece in 0..60 {
                copy.write_all_at(&pattern(3000, piece), piece * 65_000 + number * 1000).unwrap();
            }
            copy.sync_all().unwrap();
        }
    });
    assert_replayed(&workshop, &image, b"/copy 5");
}

#[test]
fn files_that_were_defragmented_are_replayed() {
    let workshop = Workshop::new();
    let mut before = Tree::new();
    let image = stopped(&workshop, &["-l", "size=16m", "-m", "rmapbt=0,reflink=0"], |dir| {
        let path = dir.join("fragmented");
        let file = File::create(&path).unwrap();
        // The second blocks find no room behind the first ones: twice as many extents as there need to be.
        for pass in 0..2 {
            for tooth in 0..1200_u64 {
                file.write_all_at(&pattern(4096, tooth + pass), tooth * 12_288 + pass * 4096).unwrap();
            }
            file.sync_all().unwrap();
        }
        drop(file);
        // Copies the file into one with fewer extents and exchanges the two.
        run("xfs_fsr", &[path.to_str().unwrap()]);
        sync_log(dir);
        before = facts::of_directory(dir);
    });
    // Linux 6.18 itself fails to replay this log, so the files as they were are the judge.
    let fs = files::open(disk(&image)).unwrap();
    facts::assert_same(&before, &facts::of_file_system(&*fs));
}
