//! A btrfs copied while it is mounted reads as its last committed transaction, which the kernel shows without replay.

use std::fs::{self, File};
use std::path::Path;

use agent::files;

use crate::btrfs_image::{Patched, SUPERBLOCK};
use crate::facts;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::pattern;

/// Nothing is committed by time while a test runs.
const OPTIONS: &str = "rw,commit=300";

/// Files made, changed and removed; blocks freed and used again.
fn work(dir: &Path, rounds: std::ops::Range<u64>) {
    for round in rounds {
        let sub = dir.join(format!("round {round}"));
        fs::create_dir(&sub).unwrap();
        for number in 0..40_u64 {
            let content = pattern(1000 + 700 * number as usize, round + number);
            fs::write(sub.join(format!("file {number}")), content).unwrap();
        }
        if round >= 2 {
            fs::remove_dir_all(dir.join(format!("round {}", round - 2))).unwrap();
        }
        fs::write(dir.join("changed"), pattern(50_000, round)).unwrap();
    }
}

fn sync(dir: &Path) {
    run("sync", &["-f", dir.to_str().unwrap()]);
}

/// Compares a copy with what the kernel shows of another one.
fn compare(workshop: &Workshop, torn: &Path, options: &str) -> Vec<String> {
    let fs = files::open(disk(torn)).unwrap();
    let again = workshop.copy(torn, "again.img");
    let mounted = workshop.mount(&again, options);
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
    fs.notes().to_vec()
}

#[test]
fn what_was_fsynced_after_the_last_commit_is_not_mixed_in_but_noted() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 256, &["mkfs.btrfs", "-q"]);
    let mounted = workshop.mount(&image, OPTIONS);
    work(&mounted.dir, 0..4);
    sync(&mounted.dir);
    work(&mounted.dir, 4..6);
    for name in ["round 5/file 1", "round 5/file 30", "changed"] {
        File::open(mounted.dir.join(name)).unwrap().sync_all().unwrap();
    }
    let torn = workshop.copy(&image, "torn.img");
    drop(mounted);
    let is_logged = Patched::of(&torn).le(SUPERBLOCK + 0x60, 8) != 0;
    assert!(is_logged, "the copy has no log, so this test would prove nothing");
    let notes = compare(&workshop, &torn, "ro,rescue=nologreplay");
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("fsync"), "{notes:?}");
    let shown = facts::of_file_system(&*files::open(disk(&torn)).unwrap());
    assert!(shown.contains_key(&b"/round 3/file 1"[..]) && !shown.contains_key(&b"/round 5"[..]));
}

#[test]
fn a_copy_after_a_commit_reads_the_same_without_a_note() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 256, &["mkfs.btrfs", "-q", "-m", "single", "-n", "4096"]);
    let mounted = workshop.mount(&image, OPTIONS);
    work(&mounted.dir, 0..3);
    File::open(mounted.dir.join("changed")).unwrap().sync_all().unwrap();
    work(&mounted.dir, 3..5);
    sync(&mounted.dir);
    // Lives in memory only when the copy is made.
    fs::write(mounted.dir.join("round 4/lost"), pattern(2000, 1)).unwrap();
    fs::remove_file(mounted.dir.join("round 4/file 7")).unwrap();
    let torn = workshop.copy(&image, "torn.img");
    drop(mounted);
    assert_eq!(compare(&workshop, &torn, "ro"), [""; 0]);
    let shown = facts::of_file_system(&*files::open(disk(&torn)).unwrap());
    assert!(shown.contains_key(&b"/round 4/file 7"[..]) && !shown.contains_key(&b"/round 4/lost"[..]));
}

#[test]
fn a_balanced_file_system_with_a_snapshot_being_deleted_reads_the_same() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 256, &["mkfs.btrfs", "-q"]);
    let mounted = workshop.mount(&image, OPTIONS);
    let path = |name: &str| mounted.dir.join(name).to_str().unwrap().to_owned();
    work(&mounted.dir, 0..3);
    for name in ["kept", "deleted"] {
        run("btrfs", &["-q", "subvolume", "snapshot", &path("."), &path(name)]);
    }
    run("btrfs", &["-q", "balance", "start", "--full-balance", &path(".")]);
    run("btrfs", &["-q", "subvolume", "delete", &path("deleted")]);
    sync(&mounted.dir);
    let torn = workshop.copy(&image, "torn.img");
    drop(mounted);
    compare(&workshop, &torn, "ro");
}

/// Nothing is written to a file system while this lives.
struct Frozen<'d> {
    dir: &'d Path,
}

impl<'d> Frozen<'d> {
    fn of(dir: &'d Path) -> Self {
        run("fsfreeze", &["-f", dir.to_str().unwrap()]);
        Self { dir }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["-u", self.dir.to_str().unwrap()]);
    }
}

/// The image lies in another file system, which is frozen while it is copied: the copy has all writes up to a moment.
#[test]
fn copies_from_the_middle_of_a_balance_read_as_their_last_commit() {
    require_root();
    let workshop = Workshop::new();
    let host = workshop.mount(&workshop.format("host.img", 512, &["mkfs.ext4", "-q", "-F"]), "rw");
    let image = host.dir.join("disk.img");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    run("mkfs.btrfs", &["-q", image.to_str().unwrap()]);
    let mounted = workshop.mount(&image, OPTIONS);
    let path = |name: &str| mounted.dir.join(name).to_str().unwrap().to_owned();
    run("btrfs", &["-q", "subvolume", "create", &path("busy")]);
    let busy = mounted.dir.join("busy");
    work(&busy, 0..6);
    let mut copies = Vec::new();
    std::thread::scope(|scope| {
        let top = path(".");
        scope.spawn(move || run("btrfs", &["-q", "balance", "start", "--full-balance", &top]));
        for round in 6..10 {
            run("btrfs", &["-q", "subvolume", "snapshot", &path("busy"), &path(&format!("snapshot {round}"))]);
            work(&busy, round..round + 1);
            File::open(busy.join("changed")).unwrap().sync_all().unwrap();
            let frozen = Frozen::of(&host.dir);
            copies.push(workshop.copy(&image, &format!("torn-{round}.img")));
            drop(frozen);
        }
    });
    drop((mounted, host));
    for torn in copies {
        compare(&workshop, &torn, "ro,rescue=nologreplay");
    }
}
