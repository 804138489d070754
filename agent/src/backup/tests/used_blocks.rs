//! Audits of points that hold only what file systems use.

use super::{Bench, CHUNK, CHUNKS, list};
use crate::backup::BackupRequest;
use crate::facts::test_images::run as tool;
use repo_format::suspects;

/// Between two backups of used blocks a large file was deleted. Its chunks were in the point before and not in the new one, no list named
/// them because nobody wrote there, and the full read called that a hidden change: every incremental became suspect for ever.
#[test]
fn a_file_that_was_deleted_is_no_hidden_change_of_a_full_read_of_used_blocks() {
    let bench = Bench::with_disks(1);
    let path = bench.images[0].path.clone();
    let dir = bench.images[0].subdir("content");
    std::fs::write(dir.join("deleted"), vec![7; 3 << 20]).unwrap();
    tool("mkfs.ext4", &["-F", "-q", "-d", dir.to_str().unwrap(), path.to_str().unwrap()]);
    let request = BackupRequest { used_blocks_only: true, ..bench.request("it") };
    bench.run(&request).unwrap();
    let before = std::fs::read(&path).unwrap();
    tool("debugfs", &["-w", "-R", "rm /deleted", path.to_str().unwrap()]);
    let after = std::fs::read(&path).unwrap();
    let chunk = usize::try_from(CHUNK).unwrap();
    let changed: Vec<u64> = (0..CHUNKS)
        .filter(|number| {
            let at = usize::try_from(*number).unwrap() * chunk;
            before[at..at + chunk] != after[at..at + chunk]
        })
        .collect();
    bench.says(&[list(&changed)]);
    bench.run(&request).unwrap();
    let audited = bench.run(&BackupRequest { full_read: true, ..request }).unwrap();
    assert_eq!(audited.audit.unwrap().bytes_differing, 0, "the list named every byte that changed");
    assert!(suspects::all(&bench.repo).unwrap().is_empty());
}

/// What stays in use and differs is a hidden change as before.
#[test]
fn a_hidden_change_of_a_used_block_is_found_by_a_full_read_of_used_blocks() {
    let bench = Bench::with_disks(1);
    let path = bench.images[0].path.clone();
    let dir = bench.images[0].subdir("content");
    let marked = b"marked".repeat(100_000);
    std::fs::write(dir.join("kept"), &marked).unwrap();
    tool("mkfs.ext4", &["-F", "-q", "-d", dir.to_str().unwrap(), path.to_str().unwrap()]);
    let request = BackupRequest { used_blocks_only: true, ..bench.request("it") };
    bench.run(&request).unwrap();
    let content = std::fs::read(&path).unwrap();
    let at = content.windows(600).position(|window| window == &marked[..600]).unwrap();
    bench.images[0].write(b"hidden", at as u64 + 8192);
    bench.says(&[list(&[])]);
    let audited = bench.run(&BackupRequest { full_read: true, ..request }).unwrap();
    assert_eq!(audited.audit.unwrap().bytes_differing, CHUNK);
}
