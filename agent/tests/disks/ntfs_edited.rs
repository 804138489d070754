//! NTFS volumes changed byte by byte into states that ntfs-3g does not make: each refusal, and damage that must not
//! spread.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::files::{self, FileId, FileKind, FileSystem, FilesError, lookup_path};

use crate::images::{Workshop, disk, require_root};
use crate::ntfs_image::{self, attribute_at, change_protected, change_record, places, record_number, set_raw};
use crate::population::pattern;

/// A small volume that `fill` made.
pub fn image(workshop: &Workshop, options: &[&str], fill: impl FnOnce(&Path)) -> PathBuf {
    require_root();
    let image = ntfs_image::format(workshop, "disk.img", 4, options);
    fill(&ntfs_image::mount(workshop, &image, "").dir);
    image
}

pub fn open(image: &[u8]) -> Box<dyn FileSystem> {
    files::open(Arc::new(image.to_vec())).unwrap()
}

fn content(fs: &dyn FileSystem, path: &str) -> files::Result<Vec<u8>> {
    let content = fs.open_file(lookup_path(fs, path.as_bytes())?)?;
    let mut bytes = vec![1; content.size_bytes() as usize];
    content.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

pub fn names(fs: &dyn FileSystem, path: &str) -> Vec<String> {
    let entries = fs.read_dir(lookup_path(fs, path.as_bytes()).unwrap()).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect();
    names.sort();
    names
}

/// What an error has to say, and the change to a record that leads to it.
type Damage<'a> = (&'static str, &'a dyn Fn(&mut [u8]));

/// Two files whose content is on clusters.
pub fn two_files(dir: &Path) {
    fs::write(dir.join("file"), pattern(60_000, 1)).unwrap();
    fs::write(dir.join("neighbour"), pattern(60_000, 2)).unwrap();
}

pub fn assert_neighbour_is_whole(fs: &dyn FileSystem) {
    assert!(content(fs, "neighbour").unwrap() == pattern(60_000, 2));
}

#[test]
fn space_that_was_never_written_reads_as_zeros_and_is_a_hole() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], two_files);
    let mut bytes = fs::read(&path).unwrap();
    let number = record_number(&*open(&bytes), "file");
    change_record(&mut bytes, number, |record| {
        let data = attribute_at(record, 0x80);
        record[data + 0x38..data + 0x40].copy_from_slice(&20_001_u64.to_le_bytes());
    });
    let fs = open(&bytes);
    let mut expected = pattern(60_000, 1);
    expected[20_001..].fill(0);
    assert!(content(&*fs, "file").unwrap() == expected, "old bytes of the disk are shown");
    let file = fs.open_file(lookup_path(&*fs, b"file").unwrap()).unwrap();
    let extents: Vec<_> = file.data_extents().collect();
    assert_eq!(extents, [files::DataExtent { offset_bytes: 0, length_bytes: 20_001 }]);
    let mut tail = [1; 100];
    file.read_exact_at(&mut tail, 59_900).unwrap();
    assert_eq!(tail, [0; 100]);
    // So does the other reader.
    fs::write(&path, &bytes).unwrap();
    let mounted = ntfs_image::mount(&workshop, &path, ",ro");
    assert!(fs::read(mounted.dir.join("file")).unwrap() == expected);
}

#[test]
fn a_torn_or_foreign_record_hides_no_other_file() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], two_files);
    let whole = fs::read(&path).unwrap();
    let number = record_number(&*open(&whole), "file");
    let at = ntfs_image::record_at(&whole, number);
    let damage: [Damage<'_>; 6] = [
        ("torn", &|record| record[1022] ^= 1),
        ("found torn", &|record| record[..4].copy_from_slice(b"BAAD")),
        ("not in use", &|record| change_protected(record, |record| record[0x16] &= !1)),
        ("given to another file", &|record| change_protected(record, |record| record[0x10] += 1)),
        ("says that it is record", &|record| change_protected(record, |record| record[0x2C] += 1)),
        ("only the continuation", &|record| change_protected(record, |record| record[0x20] = 30)),
    ];
    for (why, damage) in damage {
        let mut bytes = whole.clone();
        damage(&mut bytes[at..at + 1024]);
        let fs = open(&bytes);
        assert_eq!(names(&*fs, "/"), ["file", "neighbour"]);
        let error = fs.metadata(lookup_path(&*fs, b"file").unwrap()).unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
        assert_neighbour_is_whole(&*fs);
    }
}

#[test]
fn lengths_that_contradict_each_other_are_damage() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], two_files);
    let whole = fs::read(&path).unwrap();
    let number = record_number(&*open(&whole), "file");
    let set = |at: usize, value: u64| {
        move |record: &mut [u8]| {
            let data = attribute_at(record, 0x80);
            record[data + at..data + at + 8].copy_from_slice(&value.to_le_bytes());
        }
    };
    let damage: [Damage<'_>; 6] = [
        ("longer than its run list", &set(0x30, 80_000)),
        ("impossible length", &set(0x38, 70_000)),
        ("impossible length", &set(0x30, u64::MAX)),
        ("longer than its attribute", &set(0x18, 3)),
        ("shorter than its attribute", &set(0x18, 100)),
        ("first part", &set(0x10, 1)),
    ];
    for (why, damage) in damage {
        let mut bytes = whole.clone();
        change_record(&mut bytes, number, damage);
        let fs = open(&bytes);
        let error = content(&*fs, "file").unwrap_err();
        assert!(matches!(error, FilesError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_neighbour_is_whole(&*fs);
    }
}

#[test]
fn encrypted_files_and_unknown_compression_are_refused_by_name() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], two_files);
    let whole = fs::read(&path).unwrap();
    let number = record_number(&*open(&whole), "file");
    for flag_in in [0x80, 0x10] {
        let mut bytes = whole.clone();
        change_record(&mut bytes, number, |record| {
            let attribute = attribute_at(record, flag_in);
            // The flags of the attribute itself, or those of the file in its standard information.
            let flags = if flag_in == 0x80 { attribute + 0x0C } else { attribute + 0x18 + 0x20 };
            record[flags + 1] |= 0x40;
        });
        let fs = open(&bytes);
        assert!(matches!(content(&*fs, "file"), Err(FilesError::Encrypted { .. })));
        assert_neighbour_is_whole(&*fs);
    }
    let mut bytes = whole;
    change_record(&mut bytes, number, |record| {
        let attribute = attribute_at(record, 0x80);
        record[attribute + 0x0C] = 2;
        record[attribute + 0x22] = 4;
    });
    let error = content(&*open(&bytes), "file").unwrap_err();
    assert!(matches!(&error, FilesError::Unsupported { feature, .. } if feature.contains("method 2")), "{error}");
}

fn reparse_point(tag: u32, data: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), &[0, 0], data].concat()
}

fn link_data(flags: Option<u32>, followed: &str) -> Vec<u8> {
    let utf16: Vec<u8> = followed.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let lengths = [0, utf16.len() as u16, utf16.len() as u16, 0].map(u16::to_le_bytes).concat();
    [&lengths[..], &flags.map(|flags| flags.to_le_bytes().to_vec()).unwrap_or_default(), &utf16].concat()
}

#[test]
fn reparse_points_are_links_special_files_or_refused_by_name() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |dir| {
        let set = |name: &str, tag, data: &[u8]| {
            let path = dir.join(name);
            if name.ends_with("directory") {
                fs::create_dir(&path).unwrap()
            } else {
                fs::write(&path, "").unwrap()
            }
            set_raw(&path, "reparse_data", &reparse_point(tag, data));
        };
        set("link", 0xA000_000C, &link_data(Some(1), r"..\some where\file"));
        set("absolute link", 0xA000_000C, &link_data(Some(0), r"\??\C:\Users\é"));
        set("junction directory", 0xA000_0003, &link_data(None, r"\??\C:\Program Files"));
        set("linux link", 0xA000_001D, &[&2_u32.to_le_bytes()[..], b"/usr/bin"].concat());
        set("system compression", 0x8000_0017, &[1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
        set("deduplication", 0x8000_0013, &[0; 32]);
        set("placeholders for files of a cloud", 0x9000_601A, &[0; 32]);
        set("the unknown reparse point 0x80001234", 0x8000_1234, &[0; 8]);
    });
    let fs = files::open(disk(&path)).unwrap();
    let id = |name: &str| lookup_path(&*fs, name.as_bytes()).unwrap();
    for (name, target) in [
        ("link", "../some where/file"),
        ("absolute link", r"C:\Users\é"),
        ("junction directory", r"C:\Program Files"),
        ("linux link", "/usr/bin"),
    ] {
        let metadata = fs.metadata(id(name)).unwrap();
        assert_eq!((metadata.kind, metadata.size_bytes), (FileKind::Symlink, target.len() as u64), "{name}");
        assert_eq!(String::from_utf8(fs.read_link(id(name)).unwrap()).unwrap(), target);
        assert!(matches!(fs.read_dir(id(name)), Err(FilesError::WrongKind { .. })));
        assert!(matches!(fs.open_file(id(name)), Err(FilesError::WrongKind { .. })));
    }
    for name in [
        "system compression",
        "deduplication",
        "placeholders for files of a cloud",
        "the unknown reparse point 0x80001234",
    ] {
        assert_eq!(fs.metadata(id(name)).unwrap().kind, FileKind::Regular);
        let error = fs.open_file(id(name)).err().unwrap();
        assert!(matches!(&error, FilesError::Unsupported { feature, .. } if feature.contains(name)), "{error}");
    }
}

/// Attributes as ntfs-3g takes them: each says where the next one is.
fn extended(attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, value) in attributes {
        let length = (9 + name.len() + value.len()).next_multiple_of(4);
        let mut entry = (length as u32).to_le_bytes().to_vec();
        entry.extend([0, name.len() as u8]);
        entry.extend((value.len() as u16).to_le_bytes());
        entry.extend(name.as_bytes());
        entry.push(0);
        entry.extend(*value);
        entry.resize(length, 0);
        list.extend(entry);
    }
    list
}

#[test]
fn owners_modes_and_attributes_of_linux_are_shown() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |dir| {
        fs::write(dir.join("file"), "x").unwrap();
        let attributes: [(&str, &[u8]); 5] = [
            ("$LXUID", &1000_u32.to_le_bytes()),
            ("$LXGID", &100_000_u32.to_le_bytes()),
            ("$LXMOD", &0o104_711_u32.to_le_bytes()),
            ("user.mime", b"text/plain"),
            ("OS2", b"old"),
        ];
        set_raw(&dir.join("file"), "ea", &extended(&attributes));
        fs::write(dir.join("read-only"), "x").unwrap();
        set_raw(&dir.join("read-only"), "attrib", &1_u32.to_le_bytes());
        fs::create_dir(dir.join("directory")).unwrap();
        set_raw(&dir.join("directory"), "attrib", &1_u32.to_le_bytes());
    });
    let fs = files::open(disk(&path)).unwrap();
    let metadata = |path: &str| fs.metadata(lookup_path(&*fs, path.as_bytes()).unwrap()).unwrap();
    let file = metadata("file");
    assert_eq!((file.uid, file.gid, file.permissions), (1000, 100_000, 0o4711));
    let shown = fs.extended_attributes(file.id).unwrap();
    let shown: Vec<_> = shown.iter().map(|shown| (&shown.name[..], &shown.value[..])).collect();
    assert_eq!(shown, [(&b"user.mime"[..], &b"text/plain"[..]), (b"user.OS2", b"old")]);
    assert_eq!((metadata("read-only").permissions, metadata("directory").permissions), (0o444, 0o755));
}

#[test]
fn short_names_are_neither_listed_nor_counted() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |dir| {
        fs::write(dir.join("a long name.txt"), "x").unwrap();
        set_raw(&dir.join("a long name.txt"), "dos_name", b"ALONGN~1.TXT");
        fs::hard_link(dir.join("a long name.txt"), dir.join("second")).unwrap();
    });
    let bytes = fs::read(&path).unwrap();
    let fs = open(&bytes);
    assert_eq!(names(&*fs, "/"), ["a long name.txt", "second"]);
    let number = record_number(&*fs, "second");
    assert_eq!(fs.metadata(lookup_path(&*fs, b"second").unwrap()).unwrap().links, 2);
    let record = ntfs_image::record_at(&bytes, number);
    assert_eq!(bytes[record + 0x12], 3, "ntfs-3g stored no short name");
}

#[test]
fn streams_too_large_for_an_attribute_are_left_out_with_a_word() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |dir| {
        fs::write(dir.join("file"), "x").unwrap();
        xattr::set(dir.join("file"), "user.small", b"value").unwrap();
        xattr::set(dir.join("file"), "user.large", &pattern(65_536, 1)).unwrap();
    });
    let mut bytes = fs::read(&path).unwrap();
    let number = record_number(&*open(&bytes), "file");
    change_record(&mut bytes, number, |record| {
        // Appends one byte to the stream on clusters, of whose last cluster there is no room left.
        let mut at = attribute_at(record, 0x80);
        while record[at + 8] == 0 {
            at += usize::from(record[at + 4]);
        }
        let pairs = at + usize::from(record[at + 0x20]);
        assert_eq!((record[pairs] & 0xF, record[pairs + 1]), (1, 16));
        record[pairs + 1] = 17;
        record[at + 0x18] = 16;
        for length in [0x30, 0x38] {
            record[at + length..at + length + 8].copy_from_slice(&65_537_u64.to_le_bytes());
        }
    });
    let fs = open(&bytes);
    let id = lookup_path(&*fs, b"file").unwrap();
    let shown = fs.extended_attributes(id).unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!((&shown[0].name[..], &shown[0].value[..]), (&b"user.small"[..], &b"value"[..]));
    let left_out = fs.left_out(id).unwrap();
    assert!(left_out.len() == 1 && left_out[0].contains("large is left out"), "{left_out:?}");
}

#[test]
fn the_files_of_the_file_system_itself_are_not_shown() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |dir| fs::write(dir.join("only this"), "x").unwrap());
    let fs = files::open(disk(&path)).unwrap();
    assert_eq!(names(&*fs, "/"), ["only this"]);
    for own in 0..24 {
        // Their sequence numbers are their numbers, or one.
        for sequence in [1, own] {
            let id = FileId(sequence << 32 | own);
            assert!(id == fs.root() || fs.metadata(id).is_err() && fs.open_file(id).is_err(), "record {own}");
        }
    }
}

#[test]
fn the_mirror_serves_where_the_first_records_are_damaged() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], two_files);
    let whole = fs::read(&path).unwrap();
    let (_, table, mirror) = places(&whole);
    for number in 0..4 {
        let mut bytes = whole.clone();
        bytes[table + number * 1024 + 510] ^= 1;
        let fs = open(&bytes);
        assert_eq!(fs.notes().len(), 1, "record {number}: {:?}", fs.notes());
        assert!(fs.notes()[0].contains("mirror was used"), "{:?}", fs.notes());
        assert_neighbour_is_whole(&*fs);
    }
    // Without both copies of the volume's record, its state is unknown and its files are there.
    let mut bytes = whole.clone();
    for at in [table, mirror] {
        bytes[at + 3 * 1024 + 510] ^= 1;
    }
    let fs = open(&bytes);
    assert!(fs.notes().join("\n").contains("state of the volume cannot be read"), "{:?}", fs.notes());
    assert_neighbour_is_whole(&*fs);
    let mut bytes = whole;
    for at in [table, mirror] {
        bytes[at + 510] ^= 1;
    }
    assert!(matches!(files::open(Arc::new(bytes)), Err(FilesError::Corrupt { .. })));
}

#[test]
fn a_volume_in_use_is_noted() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], two_files);
    let whole = fs::read(&path).unwrap();
    assert_eq!(open(&whole).notes(), [""; 0]);
    let mut dirty = whole.clone();
    change_record(&mut dirty, 3, |record| {
        let information = attribute_at(record, 0x70);
        record[information + 0x18 + 0xA] |= 1;
    });
    assert!(open(&dirty).notes()[0].contains("not cleanly unmounted"));
    let log = whole.windows(4096).step_by(512).rposition(|page| page.iter().all(|byte| *byte == 0xFF));
    let record = ntfs_image::record_at(&whole, 2);
    let pairs = record + attribute_at(&whole[record..record + 1024], 0x80);
    let pairs = pairs + usize::from(whole[pairs + 0x20]);
    let (length_bytes, place_bytes) = (usize::from(whole[pairs] & 0xF), usize::from(whole[pairs] >> 4));
    let mut place = [0; 8];
    place[..place_bytes].copy_from_slice(&whole[pairs + 1 + length_bytes..pairs + 1 + length_bytes + place_bytes]);
    let at = u64::from_le_bytes(place) as usize * places(&whole).0;
    assert!(log.is_some() && whole[at..at + 4096].iter().all(|byte| *byte == 0xFF), "the log is not at {at}");
    // Sequence numbers of the two pages, whether each is at rest, and whether the newer one is.
    for (pages, is_noted) in [
        ([Some((5, true)), None], false),
        ([Some((5, false)), None], true),
        ([Some((5, true)), Some((6, false))], true),
        ([Some((6, true)), Some((5, false))], false),
        ([None, Some((5, true))], false),
        ([None, None], true),
    ] {
        let mut bytes = whole.clone();
        for (index, page) in pages.into_iter().enumerate() {
            let start = at + index * 4096;
            bytes[start..start + 4096].copy_from_slice(&restart_page(page));
        }
        let notes = open(&bytes).notes().join("\n");
        assert_eq!(notes.contains("only in its log"), is_noted, "{pages:?}: {notes}");
    }
}

/// A page of the log with its sequence number and whether it is at rest; damaged for nothing.
fn restart_page(page: Option<(u8, bool)>) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..8].copy_from_slice(&[b'R', b'S', b'T', b'R', 0x1E, 0, 9, 0]);
    bytes[0x11] = 0x10;
    bytes[0x15] = 0x10;
    bytes[0x18] = 0x30;
    let Some((sequence, is_clean)) = page else { return bytes };
    bytes[0x30] = sequence;
    bytes[0x3C..0x3E].copy_from_slice(if is_clean { &[0xFF, 0xFF] } else { &[0, 0] });
    change_protected(&mut bytes, |page| page[0x1E] = 7);
    bytes
}

#[test]
fn other_versions_are_refused_by_name() {
    let workshop = Workshop::new();
    let path = image(&workshop, &[], |_| {});
    let mut bytes = fs::read(&path).unwrap();
    change_record(&mut bytes, 3, |record| {
        let information = attribute_at(record, 0x70);
        record[information + 0x18 + 8..information + 0x18 + 10].copy_from_slice(&[1, 2]);
    });
    let error = files::open(Arc::new(bytes)).err().unwrap();
    assert!(matches!(&error, FilesError::Unsupported { feature, .. } if feature == "version 1.2"), "{error}");
}
