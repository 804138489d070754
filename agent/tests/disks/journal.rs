//! A file system copied while it is mounted reads as the kernel reads it after replaying the journal.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use agent::files;

use crate::facts;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::pattern;

/// Many small transactions: files made, changed, removed; blocks freed and used again.
fn work(dir: &Path) {
    for round in 0..12_u64 {
        let sub = dir.join(format!("round {round}"));
        fs::create_dir(&sub).unwrap();
        for number in 0..40_u64 {
            fs::write(sub.join(format!("file {number}")), pattern(3000 + 500 * number as usize, round + number))
                .unwrap();
        }
        // Starts like a journal block, which the journal has to disguise when it logs data.
        fs::write(sub.join("magic"), [&[0xC0, 0x3B, 0x39, 0x98][..], &pattern(9000, round)].concat()).unwrap();
        if round >= 2 {
            // Freed directory blocks are revoked, so that they are not replayed over new content.
            fs::remove_dir_all(dir.join(format!("round {}", round - 2))).unwrap();
        }
        for number in 0..40 {
            File::open(sub.join(format!("file {number}"))).unwrap().sync_all().unwrap();
        }
        File::open(sub.join("magic")).unwrap().sync_all().unwrap();
        File::open(&sub).unwrap().sync_all().unwrap();
    }
}

fn torn_copy(workshop: &Workshop, mkfs: &[&str], options: &str) -> PathBuf {
    require_root();
    let image = workshop.format("disk.img", 64, mkfs);
    let mounted = workshop.mount(&image, options);
    work(&mounted.dir);
    workshop.copy(&image, "torn.img")
}

fn compare(mkfs: &[&str], options: &str) {
    let workshop = Workshop::new();
    let torn = torn_copy(&workshop, mkfs, options);
    let superblock = fs::read(&torn).unwrap()[1024..2048].to_vec();
    assert_eq!(superblock[0x60] & 4, 4, "the copy needs no recovery, so this test would prove nothing");
    let fs = files::open(disk(&torn)).unwrap();
    let ours = facts::of_file_system(&*fs);
    assert_eq!(fs.notes(), [""; 0]);
    let replayed = workshop.copy(&torn, "replayed.img");
    let mounted = workshop.mount(&replayed, "rw");
    assert!(ours.keys().any(|name| name.starts_with(b"/round 11/")));
    facts::assert_same(&facts::of_directory(&mounted.dir), &ours);
}

#[test]
fn an_ext4_journal_with_checksums_is_replayed_like_the_kernel_does() {
    compare(&["mkfs.ext4", "-q", "-F"], "rw");
}

#[test]
fn an_ext4_journal_that_logs_data_is_replayed_like_the_kernel_does() {
    compare(&["mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=8"], "data=journal");
}

#[test]
fn an_ext3_journal_without_checksums_is_replayed_like_the_kernel_does() {
    compare(&["mkfs.ext3", "-q", "-F", "-J", "size=4"], "rw");
}

#[test]
fn a_damaged_transaction_ends_the_replay_with_a_note() {
    let workshop = Workshop::new();
    let torn = torn_copy(&workshop, &["mkfs.ext4", "-q", "-F", "-b", "4096"], "rw");
    let mut bytes = fs::read(&torn).unwrap();
    // Descriptor blocks start with the magic number and the block type 1.
    let descriptors: Vec<usize> = (0..bytes.len())
        .step_by(4096)
        .filter(|at| bytes[*at..*at + 8] == [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1])
        .collect();
    for at in descriptors {
        bytes[at + 20] ^= 1;
    }
    fs::write(&torn, bytes).unwrap();
    let fs = files::open(disk(&torn)).unwrap();
    assert!(fs.notes().iter().any(|note| note.contains("journal is damaged")), "{:?}", fs.notes());
}

/// Copies a file system with fast commits while it is mounted, after `change` was made durable by them alone.
fn with_fast_commits(workshop: &Workshop, change: impl FnOnce(&Path)) -> PathBuf {
    require_root();
    let image = workshop.format("disk.img", 64, &["mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "fast_commit"]);
    let mounted = workshop.mount(&image, "rw");
    fs::write(mounted.dir.join("old"), pattern(5000, 1)).unwrap();
    fs::write(mounted.dir.join("removed"), "x").unwrap();
    // A full transaction, without which there are no fast commits.
    run("sync", &["-f", mounted.dir.to_str().unwrap()]);
    change(&mounted.dir);
    workshop.copy(&image, "torn.img")
}

#[test]
fn fast_commits_are_named_with_what_is_stale() {
    let workshop = Workshop::new();
    let torn = with_fast_commits(&workshop, |dir| {
        fs::write(dir.join("new"), pattern(9000, 2)).unwrap();
        File::open(dir.join("new")).unwrap().sync_all().unwrap();
        fs::remove_file(dir.join("removed")).unwrap();
        fs::write(dir.join("old"), pattern(8000, 3)).unwrap();
        File::open(dir.join("old")).unwrap().sync_all().unwrap();
    });
    let fs = files::open(disk(&torn)).unwrap();
    let shown = facts::of_file_system(&*fs);
    let notes = fs.notes().join("\n");
    // The kernel may have made a full transaction of it all the same; then nothing is stale.
    let replayed = workshop.copy(&torn, "replayed.img");
    let mounted = workshop.mount(&replayed, "rw");
    let truth = facts::of_directory(&mounted.dir);
    let is_stale = truth.keys().ne(shown.keys());
    assert_eq!(notes.contains("does not show new in the directory of inode 2"), is_stale, "{notes}");
    assert!(is_stale, "the kernel made no fast commit: {notes}");
    assert!(notes.contains("still shows removed") && notes.contains("as it was before"), "{notes}");
}

#[test]
fn without_fast_commits_nothing_is_called_stale() {
    let workshop = Workshop::new();
    let torn = with_fast_commits(&workshop, |dir| {
        fs::write(dir.join("new"), pattern(9000, 2)).unwrap();
        run("sync", &["-f", dir.to_str().unwrap()]);
    });
    let fs = files::open(disk(&torn)).unwrap();
    assert_eq!(fs.notes(), [""; 0]);
    assert!(facts::of_file_system(&*fs).contains_key(&b"/new"[..]));
}
