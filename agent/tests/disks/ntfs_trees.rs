//! Directories and file tables of NTFS in states that ntfs-3g does not make, changed byte by byte.

use std::fs;
use std::sync::Arc;

use agent::files::{self, lookup_path};

use crate::images::Workshop;
use crate::ntfs_edited::{assert_neighbour_is_whole, image, names, open, two_files};
use crate::ntfs_image::{self, attribute_at, change_protected, change_record, places, record_number};

/// A directory whose index has several blocks, and where those are on the image.
fn large_directory(workshop: &Workshop) -> (Vec<u8>, Vec<usize>, Vec<String>) {
    let path = image(workshop, &[], |dir| {
        fs::create_dir(dir.join("large")).unwrap();
        for number in 0..100 {
            fs::write(dir.join(format!("large/file number {number} {}", "n".repeat(40))), "").unwrap();
        }
        two_files(dir);
    });
    let bytes = fs::read(path).unwrap();
    let expected = names(&*open(&bytes), "large");
    assert_eq!(expected.len(), 100);
    // The root's own block holds names too, among them this one.
    let of_large = |at: &usize| {
        let needle: Vec<u8> = "file number 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        bytes[*at..].starts_with(b"INDX")
            && bytes[*at..*at + 4096].windows(needle.len() - 2).any(|w| w == &needle[..needle.len() - 2])
    };
    let blocks: Vec<usize> = (0..bytes.len() - 4096).step_by(4096).filter(of_large).collect();
    assert!(blocks.len() >= 3, "the index has {} blocks", blocks.len());
    (bytes, blocks, expected)
}

#[test]
fn a_torn_index_block_is_an_error_of_its_directory_only() {
    let workshop = Workshop::new();
    let (mut bytes, blocks, _) = large_directory(&workshop);
    bytes[blocks[1] + 1022] ^= 1;
    let fs = open(&bytes);
    let error = fs.read_dir(lookup_path(&*fs, b"large").unwrap()).unwrap_err().to_string();
    assert!(error.contains("torn"), "{error}");
    assert_eq!(names(&*fs, "/"), ["file", "large", "neighbour"]);
    assert_neighbour_is_whole(&*fs);
}

#[test]
fn where_tree_and_bitmap_disagree_files_that_confirm_their_names_are_shown() {
    let workshop = Workshop::new();
    let (whole, blocks, expected) = large_directory(&workshop);
    let directory = record_number(&*open(&whole), "large");
    // A tree that leads to blocks that are not marked as used.
    let mut unmarked = whole.clone();
    change_record(&mut unmarked, directory, |record| {
        let bitmap = attribute_at(record, 0xB0);
        let value = bitmap + usize::from(record[bitmap + 0x14]);
        record[value] = 0;
    });
    assert_eq!(names(&*open(&unmarked), "large"), expected);
    // Blocks that are marked and that the tree does not lead to: all names but those in the root of the tree.
    let mut cut = whole.clone();
    change_record(&mut cut, directory, |record| {
        let root = attribute_at(record, 0x90);
        let node = root + usize::from(record[root + 0x14]) + 0x10;
        let mut entry = node + usize::from(record[node]);
        while record[entry + 0xC] & 2 == 0 {
            record[entry + 0xC] &= !1;
            entry += usize::from(record[entry + 8]);
        }
        record[entry + 0xC] &= !1;
    });
    assert_eq!(names(&*open(&cut), "large"), expected);
    // What another directory left in a block that was taken and not yet written is none of this one's.
    let mut foreign = cut.clone();
    change_protected(&mut foreign[blocks[1]..blocks[1] + 4096], |block| block[0x10] += 1);
    let shown = names(&*open(&foreign), "large").len();
    assert!(shown > 0 && shown < expected.len(), "{shown} names");
    // Of such blocks, a name that its file does not confirm is old.
    let victim = blocks[0];
    let mut old = cut.clone();
    let mut renamed = 0;
    change_protected(&mut old[victim..victim + 4096], |block| {
        let mut entry = 0x18 + usize::from(block[0x18]);
        while block[entry + 0xC] & 2 == 0 && renamed < 2 {
            // The first letter of the name; the second time, how often the record was used.
            block[entry + if renamed == 0 { 0x52 } else { 6 }] += 1;
            renamed += 1;
            entry += usize::from(u16::from_le_bytes([block[entry + 8], block[entry + 9]]));
        }
    });
    assert_eq!((renamed, names(&*open(&old), "large").len()), (2, expected.len() - 2));
}

#[test]
fn a_tree_that_leads_to_a_block_twice_is_damage() {
    let workshop = Workshop::new();
    let (mut bytes, blocks, _) = large_directory(&workshop);
    let inner = blocks.into_iter().find(|at| bytes[at + 0x18 + 0xC] & 1 != 0).expect("the tree is flat");
    change_protected(&mut bytes[inner..inner + 4096], |block| {
        let first = 0x18 + usize::from(block[0x18]);
        let second = first + usize::from(block[first + 8]);
        let second_end = second + usize::from(block[second + 8]);
        block.copy_within(second - 8..second, second_end - 8);
    });
    let fs = open(&bytes);
    let error = fs.read_dir(lookup_path(&*fs, b"large").unwrap()).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}

/// Splits the run list of the file table: its second half moves into another record, which a list then names.
#[test]
fn a_file_table_with_a_list_of_attributes_is_read_whole() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |dir| {
        two_files(dir);
        for number in 0..100 {
            fs::write(dir.join(number.to_string()), "").unwrap();
        }
    });
    let mut bytes = fs::read(&path).unwrap();
    let expected = names(&*open(&bytes), "/");
    const PART: u64 = 40;
    split_table(&mut bytes, PART);
    let (_, table, mirror) = places(&bytes);
    bytes.copy_within(table..table + 1024, mirror);
    assert_eq!(open(&bytes).notes(), [""; 0]);
    assert_eq!(names(&*open(&bytes), "/"), expected);
    assert_neighbour_is_whole(&*open(&bytes));
    fs::write(&path, &bytes).unwrap();
    let mounted = ntfs_image::mount(&workshop, &path, ",ro");
    assert_eq!(fs::read_dir(&mounted.dir).unwrap().count(), expected.len());
    // Without the second half, no one can know what is missing.
    let at = ntfs_image::record_at(&bytes, PART);
    bytes[at + 510] ^= 1;
    assert!(files::open(Arc::new(bytes)).is_err());
}

fn split_table(image: &mut [u8], part: u64) {
    let table = places(image).1;
    let cluster_bytes = places(image).0;
    let mut data = Vec::new();
    change_record(image, 0, |record| {
        let at = attribute_at(record, 0x80);
        data = record[at..at + usize::from(record[at + 4])].to_vec();
    });
    let last = u64::from_le_bytes(data[0x18..0x20].try_into().unwrap());
    let cut = (64 * 1024 / cluster_bytes) as u64;
    assert!(last > cut, "the table has {last} clusters");
    let place = (table / cluster_bytes) as u64;
    let with_runs = |first: u64, end: u64| {
        let mut half = data.clone();
        half[0x10..0x18].copy_from_slice(&first.to_le_bytes());
        half[0x18..0x20].copy_from_slice(&(end - 1).to_le_bytes());
        let pairs = usize::from(half[0x20]);
        half.truncate(pairs);
        half.push(0x44);
        half.extend(((end - first) as u32).to_le_bytes());
        half.extend(((place + first) as u32).to_le_bytes());
        half.resize((half.len() + 1).next_multiple_of(8), 0);
        half[4] = half.len() as u8;
        half
    };
    let (first_half, second_half) = (with_runs(0, cut), with_runs(cut, last + 1));
    let mut attributes: Vec<Vec<u8>> = Vec::new();
    change_record(image, 0, |record| {
        let mut at = usize::from(record[0x14]);
        while record[at] != 0xFF {
            let attribute = record[at..at + usize::from(record[at + 4])].to_vec();
            at += attribute.len();
            attributes.push(if attribute[0] == 0x80 { first_half.clone() } else { attribute });
        }
        let list = attribute_list(&attributes, part, cut, second_half[0x0E]);
        attributes.insert(1, list);
        put_attributes(record, &attributes);
    });
    let at = table + part as usize * 1024;
    assert_eq!(&image[at..at + 4], b"FILE");
    change_protected(&mut image[at..at + 1024], |record| {
        record[0x10..0x14].copy_from_slice(&[1, 0, 0, 0]);
        record[0x16] = 1;
        // Continues record 0, which was used once.
        record[0x20..0x28].copy_from_slice(&[0, 0, 0, 0, 0, 0, 1, 0]);
        put_attributes(record, &[second_half]);
    });
}

/// The list of `attributes` and of the second part of the data, in record `part`.
fn attribute_list(attributes: &[Vec<u8>], part: u64, first_cluster: u64, id: u8) -> Vec<u8> {
    let entry = |kind: u8, first_cluster: u64, record: u64, id: u8| {
        let mut entry = vec![kind, 0, 0, 0, 0x20, 0, 0, 0x1A];
        entry.extend(first_cluster.to_le_bytes());
        entry.extend((record | 1 << 48).to_le_bytes());
        entry.extend([id, 0]);
        entry.resize(0x20, 0);
        entry
    };
    let mut value = Vec::new();
    for attribute in attributes {
        value.extend(entry(attribute[0], 0, 0, attribute[0x0E]));
        if attribute[0] == 0x80 {
            value.extend(entry(0x80, first_cluster, part, id));
        }
    }
    let mut list = vec![0; 0x18];
    (list[0], list[0x0E], list[0x14]) = (0x20, 0x30, 0x18);
    list[0x10..0x14].copy_from_slice(&(value.len() as u32).to_le_bytes());
    list.extend(value);
    let length = list.len() as u32;
    list[4..8].copy_from_slice(&length.to_le_bytes());
    list
}

fn put_attributes(record: &mut [u8], attributes: &[Vec<u8>]) {
    let start = usize::from(record[0x14]);
    let all = [&attributes.concat()[..], &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]].concat();
    record[start..start + all.len()].copy_from_slice(&all);
    record[0x18..0x1C].copy_from_slice(&((start + all.len()) as u32).to_le_bytes());
}
