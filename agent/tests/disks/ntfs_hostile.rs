//! A damaged or hostile NTFS volume gives errors: never a panic, an endless loop or unbounded memory.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use agent::files::{self, FileKind, FileSystem, walk};
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::test_runner::Config;

use crate::images::{Workshop, require_root};
use crate::ntfs_image::{self, change_protected, places, set_raw, write_pieces};
use crate::ntfs_wof;
use crate::population::pattern;

const RECORDS: usize = 200;

fn fill(workshop: &Workshop, dir: &Path) {
    let compressed = dir.join("compressed");
    fs::create_dir(&compressed).unwrap();
    set_raw(&compressed, "attrib", &0x800_u32.to_le_bytes());
    fs::write(compressed.join("text"), "some words ".repeat(12_000)).unwrap();
    fs::create_dir(dir.join("many")).unwrap();
    for number in 0..90 {
        File::create(dir.join(format!("many/{number} {}", "long ".repeat(20)))).unwrap();
    }
    // With a list of attributes, in several records.
    write_pieces(&dir.join("comb"), 8 << 20, (0..250).map(|tooth| (tooth * 20_000, pattern(100, tooth))));
    fs::write(dir.join("plain"), pattern(30_000, 1)).unwrap();
    xattr::set(dir.join("plain"), "user.stream", b"value").unwrap();
    xattr::set(dir.join("plain"), "user.long", &pattern(9000, 3)).unwrap();
    let packed = ntfs_wof::pack(workshop, &b"some words ".repeat(2000), "LZX", 32768);
    let stream = |path: &Path| xattr::set(path, "user.WofCompressedData", &packed).unwrap();
    ntfs_wof::put(&dir.join("packed"), 22_000, 1, stream);
    std::os::unix::fs::symlink("y".repeat(200), dir.join("link")).unwrap();
    fs::write(dir.join("point"), "").unwrap();
    let point = [&0xA000_001D_u32.to_le_bytes()[..], &[6, 0, 0, 0, 2, 0, 0, 0], b"xy"].concat();
    set_raw(&dir.join("point"), "reparse_data", &point);
}

static IMAGES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    require_root();
    let workshop = Workshop::new();
    ["512", "4096"].map(|cluster| {
        let image = ntfs_image::format(&workshop, &format!("{cluster}.img"), 4, &["-c", cluster]);
        fill(&workshop, &ntfs_image::mount(&workshop, &image, "").dir);
        fs::read(image).unwrap()
    })
});

/// Reads all there is, but of each file only some bytes: sizes are attacker-chosen.
fn read_everything(fs: &dyn FileSystem) {
    let mut visits = 0;
    let walked = walk(fs, fs.root(), |entry| {
        visits += 1;
        let _ = fs.extended_attributes(entry.id);
        let _ = fs.left_out(entry.id);
        match entry.metadata.map(|metadata| metadata.kind) {
            Ok(FileKind::Symlink) => drop(fs.read_link(entry.id)),
            Ok(FileKind::Regular) => read_start_and_end(fs, entry.id),
            _ => {}
        }
        Ok(())
    });
    drop(walked);
    assert!(visits < 10_000, "a small image led to {visits} visits");
}

fn read_start_and_end(fs: &dyn FileSystem, id: files::FileId) {
    let Ok(content) = fs.open_file(id) else { return };
    let size = content.size_bytes();
    let mut end_before = 0;
    for extent in content.data_extents().take(1000) {
        assert!(extent.length_bytes > 0 && extent.offset_bytes >= end_before);
        end_before = extent.offset_bytes + extent.length_bytes;
        assert!(end_before <= size);
    }
    let mut piece = vec![0; size.min(70_000) as usize];
    let _ = content.read_exact_at(&mut piece, 0);
    let last = size - piece.len() as u64;
    let _ = content.read_exact_at(&mut piece, last);
}

fn open_and_read(bytes: Vec<u8>) {
    if let Ok(fs) = files::open(Arc::new(bytes)) {
        read_everything(&*fs);
    }
}

/// Where to change and to what; few values are as mean as the extremes.
fn changes(limit: usize, most: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    let value = proptest::prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7F), Just(0x80), Just(0xFF)];
    prop::collection::vec((0..limit, value), 1..most)
}

/// Changes bytes of the record without tearing it.
fn change_records(image: &mut [u8], changes: Vec<(usize, u8)>) {
    let table = places(image).1;
    for (at, value) in changes {
        let record = &mut image[table + at / 1024 * 1024..][..1024];
        if record.starts_with(b"FILE") && at % 1024 >= 0x10 {
            change_protected(record, |record| record[at % 1024] = value);
        }
    }
}

#[test]
fn a_volume_that_is_cut_off_gives_errors_and_no_panic() {
    for image in &*IMAGES {
        for length in [100, 512, 4096, 10_000, 40 << 10, 300_000, 1 << 20, 2 << 20, 3 << 20] {
            open_and_read(image[..length].to_vec());
        }
    }
}

proptest::proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    #[test]
    fn changed_records_give_errors_and_no_panic(which in 0..2_usize, changes in changes(RECORDS * 1024, 400)) {
        let mut bytes = IMAGES[which].clone();
        change_records(&mut bytes, changes);
        open_and_read(bytes);
    }

    #[test]
    fn a_changed_record_of_the_table_itself_gives_errors_and_no_panic(
        which in 0..2_usize, number in 0..6_usize, changes in changes(600, 4)
    ) {
        let mut bytes = IMAGES[which].clone();
        change_records(&mut bytes, changes.into_iter().map(|(at, value)| (number * 1024 + at, value)).collect());
        open_and_read(bytes);
    }

    #[test]
    fn a_changed_record_of_a_file_gives_errors_and_no_panic(
        which in 0..2_usize, number in 64..RECORDS, changes in changes(1024, 8)
    ) {
        let mut bytes = IMAGES[which].clone();
        change_records(&mut bytes, changes.into_iter().map(|(at, value)| (number * 1024 + at, value)).collect());
        open_and_read(bytes);
    }

    #[test]
    fn changed_index_blocks_give_errors_and_no_panic(which in 0..2_usize, changes in changes(4096, 30)) {
        let mut bytes = IMAGES[which].clone();
        let blocks: Vec<usize> = (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"INDX")).collect();
        for (index, (at, value)) in changes.into_iter().enumerate() {
            let block = &mut bytes[blocks[index % blocks.len()]..][..4096];
            change_protected(block, |block| block[at.max(8)] = value);
        }
        open_and_read(bytes);
    }

    #[test]
    fn a_changed_boot_sector_gives_errors_and_no_panic(which in 0..2_usize, changes in changes(0x50, 4)) {
        let mut bytes = IMAGES[which].clone();
        for (at, value) in changes {
            // Keeps the name, without which nothing is read at all.
            bytes[at.max(0x0B)] = value;
        }
        open_and_read(bytes);
    }

    #[test]
    fn changes_anywhere_give_errors_and_no_panic(which in 0..2_usize, changes in changes(4 << 20, 500)) {
        let mut bytes = IMAGES[which].clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        open_and_read(bytes);
    }
}
