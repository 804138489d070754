//! A damaged or hostile file system gives errors: never a panic, an endless loop or unbounded memory.

use std::fs;
use std::sync::{Arc, LazyLock};

use agent::files::{self, FileKind, FileSystem, walk};
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::test_runner::Config;

use crate::images::{Workshop, run};

const IMAGE_BYTES: u64 = 4 << 20;
/// Superblock, descriptors, bitmaps, inode tables and directories lie below this in the images made here.
const METADATA_BYTES: usize = 512 << 10;

fn image(mkfs: &[&str]) -> Vec<u8> {
    let workshop = Workshop::new();
    let source = workshop.path("source");
    fs::create_dir_all(source.join("some/where")).unwrap();
    for number in 0..150 {
        fs::write(source.join(format!("some/file {number}")), vec![b'x'; number * 100]).unwrap();
    }
    std::os::unix::fs::symlink("y".repeat(200), source.join("link")).unwrap();
    let setfattr =
        ["-n", "user.a", "-v", "some value", source.join("some/file 1").to_str().unwrap()].map(str::to_owned);
    run("setfattr", &setfattr.each_ref().map(String::as_str));
    let path = workshop.path("disk.img");
    let mut arguments = vec!["-q", "-F", "-b", "1024", "-N", "256", "-d", source.to_str().unwrap()];
    arguments.extend(&mkfs[1..]);
    arguments.extend([path.to_str().unwrap(), "4M"]);
    run(mkfs[0], &arguments);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, IMAGE_BYTES);
    bytes
}

static IMAGES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    [
        image(&["mkfs.ext4", "-O", "inline_data", "-I", "256"]),
        image(&["mkfs.ext2"]),
        image(&["mkfs.ext4", "-O", "^metadata_csum", "-J", "size=1"]),
    ]
});

/// Reads all there is, but of each file only the first megabytes: sizes are attacker-chosen.
pub fn read_everything(fs: &dyn FileSystem) {
    let mut visits = 0;
    let walked = walk(fs, fs.root(), |entry| {
        visits += 1;
        let _ = fs.extended_attributes(entry.id);
        match entry.metadata.map(|metadata| metadata.kind) {
            Ok(FileKind::Symlink) => drop(fs.read_link(entry.id)),
            Ok(FileKind::Regular) => read_start(fs, entry.id),
            _ => {}
        }
        Ok(())
    });
    drop(walked);
    assert!(visits < 100_000, "a small image led to {visits} visits");
}

fn read_start(fs: &dyn FileSystem, id: files::FileId) {
    let Ok(content) = fs.open_file(id) else { return };
    let mut end_before = 0;
    for extent in content.data_extents().take(1000) {
        assert!(extent.length_bytes > 0 && extent.offset_bytes >= end_before);
        end_before = extent.offset_bytes + extent.length_bytes;
        assert!(end_before <= content.size_bytes());
    }
    let mut start = vec![0; content.size_bytes().min(1 << 20) as usize];
    let _ = content.read_exact_at(&mut start, 0);
}

fn open_and_read(bytes: Vec<u8>) {
    if let Ok(fs) = files::open(Arc::new(bytes)) {
        read_everything(&*fs);
    }
}

/// Where to change and to what; few values are as mean as the extremes.
fn changes(limit: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    let value = proptest::prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7F), Just(0xFF)];
    prop::collection::vec((0..limit, value), 1..200)
}

proptest::proptest! {
    #![proptest_config(Config { cases: 500, failure_persistence: None, ..Config::default() })]

    #[test]
    fn changed_metadata_gives_errors_and_no_panic(which in 0..3_usize, changes in changes(METADATA_BYTES)) {
        let mut bytes = IMAGES[which].clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        open_and_read(bytes);
    }

    #[test]
    fn a_changed_superblock_gives_errors_and_no_panic(which in 0..3_usize, changes in changes(1024)) {
        let mut bytes = IMAGES[which].clone();
        for (at, value) in changes.into_iter().take(6) {
            bytes[1024 + at] = value;
        }
        // Keeps the magic number, without which nothing is read at all.
        bytes[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        open_and_read(bytes);
    }

    #[test]
    fn a_changed_journal_gives_errors_and_no_panic(changes in changes(64 << 10)) {
        let mut bytes = IMAGES[2].clone();
        let magic = [0xC0, 0x3B, 0x39, 0x98];
        let journal = (0..bytes.len()).step_by(1024).find(|at| bytes[*at..*at + 4] == magic).unwrap();
        // Needs recovery, and the log starts at its block 1 with a descriptor of sequence 1.
        bytes[1024 + 0x60] |= 4;
        bytes[journal + 0x1C..journal + 0x20].copy_from_slice(&1_u32.to_be_bytes());
        bytes[journal + 0x18..journal + 0x1C].copy_from_slice(&1_u32.to_be_bytes());
        for (index, kind) in [(1, 1_u32), (60, 5), (61, 2)] {
            let block = journal + index * 1024;
            bytes[block..block + 4].copy_from_slice(&magic);
            bytes[block + 4..block + 8].copy_from_slice(&kind.to_be_bytes());
            bytes[block + 8..block + 12].copy_from_slice(&1_u32.to_be_bytes());
        }
        for (at, value) in changes {
            bytes[(journal + 1024 + 12 + at).min(IMAGE_BYTES as usize - 1)] = value;
        }
        open_and_read(bytes);
    }
}
