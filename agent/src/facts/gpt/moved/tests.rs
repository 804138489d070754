//! Tables made by sgdisk, moved to larger disks, and judged by sgdisk again; and tables that lie.

use super::{Moved, to_larger};
use crate::facts::test_images::{Image, run};
use crate::facts::{DiskFacts, Growth};
use crate::read_at::ReadAt;
use proptest::prelude::{any, proptest};
use std::fs::OpenOptions;

const MIB: u64 = 1 << 20;

/// Partition 2 lies before partition 1; 16 MiB are free between them and some behind.
fn image() -> Image {
    let image = Image::sparse(64 * MIB);
    let args = ["-n", "2:2048:+8M", "-n", "1:51200:+16M", "-c", "1:data", "-t", "1:8e00", "-A", "1:set:2"];
    run("sgdisk", &[&args[..], &["-U", "AABBCCDD-0102-4304-8506-0708090A0B0C", image.str()]].concat());
    image.write(b"boot code", 0);
    image
}

fn apply(image: &Image, moved: &Moved, target_bytes: u64) {
    OpenOptions::new().write(true).open(&image.path).unwrap().set_len(target_bytes).unwrap();
    for (offset, bytes) in moved.backup.iter().chain(&moved.first_copy) {
        image.write(bytes, *offset);
    }
    for stale in moved.stale.iter() {
        image.write(&vec![0; usize::try_from(stale.length_bytes()).unwrap()], stale.offset_bytes());
    }
}

fn assert_sound(image: &Image) {
    let said = run("sgdisk", &["--verify", image.str()]);
    assert!(said.contains("No problems found"), "{said}");
}

#[test]
fn the_backup_moves_to_the_new_end_and_everything_else_stays() {
    let image = image();
    let before = DiskFacts::read(&image.disk(), 512).unwrap();
    let moved = to_larger(&image.disk(), 512, 200 * MIB, None).unwrap();
    assert_eq!(moved.grown, None);
    apply(&image, &moved, 200 * MIB);
    assert_sound(&image);
    let after = DiskFacts::read(&image.disk(), 512).unwrap();
    assert_eq!(before, after);
    let mut old_end = vec![0; 33 * 512];
    image.disk().read_exact_at(&mut old_end, 64 * MIB - 33 * 512).unwrap();
    assert!(old_end.iter().all(|byte| *byte == 0), "no second table is left inside");
    let mut first = vec![0; 9];
    image.disk().read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, b"boot code");
    // The backup alone is enough.
    image.write(&[0xFF; 8], 512 + 20);
    assert_eq!(DiskFacts::read(&image.disk(), 512).unwrap().partitions, before.partitions);
}

#[test]
fn a_partition_grows_to_the_end_and_keeps_its_ids() {
    let image = image();
    let before = DiskFacts::read(&image.disk(), 512).unwrap();
    let moved = to_larger(&image.disk(), 512, 200 * MIB, Some(1)).unwrap();
    let to_bytes = 199 * MIB - 25 * MIB;
    let growth = Growth { number: Some(1), offset_bytes: 25 * MIB, from_bytes: 16 * MIB, to_bytes };
    assert_eq!(moved.grown, Some(growth));
    apply(&image, &moved, 200 * MIB);
    assert_sound(&image);
    let after = DiskFacts::read(&image.disk(), 512).unwrap();
    let (was, is) = (before.partition(1).unwrap(), after.partition(1).unwrap());
    assert_eq!((is.offset_bytes, is.length_bytes), (was.offset_bytes, to_bytes));
    assert_eq!((&is.guid, &is.name, &is.type_id, is.bootable), (&was.guid, &was.name, &was.type_id, was.bootable));
    assert_eq!(after.partition(2), before.partition(2));
}

#[test]
fn a_partition_with_another_behind_it_grows_up_to_that() {
    let image = image();
    let moved = to_larger(&image.disk(), 512, 200 * MIB, Some(2)).unwrap();
    assert_eq!(moved.grown.unwrap().to_bytes, 24 * MIB);
    apply(&image, &moved, 200 * MIB);
    assert_sound(&image);
    let error = to_larger(&image.disk(), 512, 300 * MIB, Some(2)).unwrap_err();
    assert!(error.to_string().contains("partition 1 follows it"), "{error}");
}

#[test]
fn a_target_that_is_larger_by_a_little_gets_a_sound_table_too() {
    for extra_sectors in [1, 7, 32, 33, 34, 2048] {
        let image = image();
        let target_bytes = 64 * MIB + extra_sectors * 512;
        let moved = to_larger(&image.disk(), 512, target_bytes, None).unwrap();
        apply(&image, &moved, target_bytes);
        assert_sound(&image);
    }
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let image = image();
    let refused = |target_bytes, grow| to_larger(&image.disk(), 512, target_bytes, grow).unwrap_err().to_string();
    assert!(refused(64 * MIB, None).contains("no room"));
    assert!(refused(0, None).contains("too small"));
    assert!(refused(200 * MIB, Some(3)).contains("no partition 3"));
    assert!(refused(200 * MIB, Some(0)).contains("no partition 0"));
    assert!(refused(200 * MIB, Some(u32::MAX)).contains("no partition"));
    image.write(&[0xFF; 8], 512 + 20);
    assert!(to_larger(&image.disk(), 512, 200 * MIB, None).unwrap_err().to_string().contains("damaged"));
}

proptest! {
    /// Every field of header and entries may lie, with right checksums; nothing panics and no partition is written over.
    #[test]
    fn tables_that_lie_do_no_harm(at in 0_usize..(92 + 256), value in any::<u64>(), grow in 0_u32..4, target in 0_u64..(1 << 60)) {
        let mut disk = std::fs::read(&lying_base().path).unwrap();
        let place = if at < 92 { 512 + at } else { 1024 + at - 92 };
        disk[place..place + 8].copy_from_slice(&value.to_le_bytes());
        let crc = |bytes: &[u8]| crate::facts::checksum::crc32(bytes).to_le_bytes();
        let entries = crc(&disk[1024..1024 + 128 * 128]);
        if !(80..92).contains(&at) {
            disk[512 + 88..512 + 92].copy_from_slice(&entries);
        }
        disk[512 + 16..512 + 20].fill(0);
        let header = crc(&disk[512..512 + 92]);
        disk[512 + 16..512 + 20].copy_from_slice(&header);
        if let Ok(moved) = to_larger(&disk, 512, target, Some(grow).filter(|number| *number > 0)) {
            let end = moved.backup.iter().chain(&moved.first_copy).map(|(offset, bytes)| offset + bytes.len() as u64).max();
            assert!(end.unwrap() <= target);
        }
    }
}

/// Made once: a property runs often.
fn lying_base() -> &'static Image {
    static BASE: std::sync::OnceLock<Image> = std::sync::OnceLock::new();
    BASE.get_or_init(|| {
        let image = Image::sparse(4 * MIB);
        run("sgdisk", &["-n", "1:2048:+512K", "-n", "2:4096:+512K", image.str()]);
        image
    })
}
