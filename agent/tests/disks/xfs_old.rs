//! XFS of version 4, which today's kernels need not know any more: mkfs.xfs and xfs_db fill it, and its log is made by hand.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use agent::files::{self, DeviceNumber, FileId, FileKind, FileSystem, Timestamp, walk};

use crate::images::{Workshop, disk, run};
use crate::population::pattern;
use crate::xfs_log::{Geometry, Item, Log, Region, block_item};

const MEBIBYTES: u64 = 512;

/// Directories of all sizes with files in them, by path.
fn contents() -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for (name, count) in [("short", 2), ("block", 25), ("leaf", 150), ("node", 800)] {
        for number in 0..count {
            let size = if number % 50 == 0 { number * 37 } else { number % 9 };
            contents.insert(format!("{name}/file of number {number}"), pattern(size, number as u64));
        }
    }
    contents.insert("large".into(), pattern(3 << 20, 1));
    contents
}

/// A file system made from a prototype, the only way without a kernel.
fn format(workshop: &Workshop, mkfs: &[&str]) -> PathBuf {
    let source = workshop.path("source");
    fs::create_dir(&source).unwrap();
    let mut prototype = "nothing\n0 0\nd--755 0 0\n".to_owned();
    let mut directory = "";
    let contents = contents();
    for (index, (path, content)) in contents.iter().enumerate() {
        fs::write(source.join(index.to_string()), content).unwrap();
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if parent != directory {
            prototype += if directory.is_empty() { "" } else { "$\n" };
            if !parent.is_empty() {
                writeln!(prototype, "{parent} d--750 7 8").unwrap();
            }
            directory = parent;
        }
        let place = source.join(index.to_string());
        writeln!(prototype, "{} ---640 1000 2000 {}", name.replace(' ', "_"), place.display()).unwrap();
    }
    prototype += if directory.is_empty() { "" } else { "$\n" };
    for length in [20, 900] {
        writeln!(prototype, "link{length} l--777 0 0 {}", "t".repeat(length)).unwrap();
    }
    prototype += "null c--666 0 0 1 3\ndisk bug600 0 0 8 70000\npipe p--600 0 0\n$\n";
    fs::write(workshop.path("prototype"), prototype).unwrap();
    let prototype = workshop.path("prototype");
    let arguments = [&["mkfs.xfs", "-q", "-p", prototype.to_str().unwrap(), "-m", "crc=0"], mkfs].concat();
    workshop.format("disk.img", MEBIBYTES, &arguments)
}

fn read_all(fs: &dyn FileSystem, id: FileId) -> Vec<u8> {
    let content = fs.open_file(id).unwrap();
    let mut bytes = vec![0; content.size_bytes() as usize];
    content.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn find(fs: &dyn FileSystem, path: &str) -> FileId {
    files::lookup_path(fs, path.as_bytes()).unwrap()
}

/// Adds attributes that stay in the inode, fill leaves, and have blocks of their own.
fn add_attributes(image: &Path, inode: u64, sizes: &[usize]) {
    let commands = sizes.iter().enumerate().map(|(index, size)| format!("attr_set -u -v {size} name{index}"));
    let commands: Vec<String> = [format!("inode {inode}")].into_iter().chain(commands).collect();
    let mut arguments = vec!["-x"];
    arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
    arguments.push(image.to_str().unwrap());
    run("xfs_db", &arguments);
}

fn compare(mkfs: &[&str]) {
    let workshop = Workshop::new();
    let image = format(&workshop, mkfs);
    let large = find(&*files::open(disk(&image)).unwrap(), "large");
    let sizes: Vec<usize> = [10, 200, 4000, 9000, 60_000].into_iter().chain(vec![150; 60]).collect();
    add_attributes(&image, large.0, &sizes);
    let fs = files::open(disk(&image)).unwrap();
    assert_eq!((fs.name(), fs.notes()), ("xfs", &[][..]));
    let contents = contents();
    for (path, content) in &contents {
        let id = find_with_underscores(&*fs, path);
        let metadata = fs.metadata(id).unwrap();
        assert_eq!((metadata.uid, metadata.gid, metadata.permissions, metadata.links), (1000, 2000, 0o640, 1));
        assert!(read_all(&*fs, id) == *content, "{path}");
    }
    let mut seen = 0;
    walk(&*fs, fs.root(), |entry| {
        seen += usize::from(entry.metadata.unwrap().kind == FileKind::Regular);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, contents.len());
    special(&*fs);
    let mut attributes = fs.extended_attributes(large).unwrap();
    attributes.sort_by_key(|attribute| attribute.name.clone());
    assert_eq!(attributes.len(), sizes.len());
    for (index, size) in sizes.iter().enumerate() {
        let name = format!("user.name{index}").into_bytes();
        let found = attributes.iter().find(|attribute| attribute.name == name).unwrap();
        assert_eq!(found.value, vec![b'v'; *size]);
    }
}

/// Names in a prototype have no blanks. Directories are listed once only.
fn find_with_underscores(fs: &dyn FileSystem, path: &str) -> FileId {
    find(fs, &path.replace(' ', "_"))
}

fn special(fs: &dyn FileSystem) {
    assert_eq!(fs.read_link(find(fs, "link20")).unwrap(), "t".repeat(20).into_bytes());
    assert_eq!(fs.read_link(find(fs, "link900")).unwrap(), "t".repeat(900).into_bytes());
    let metadata = |path| fs.metadata(find(fs, path)).unwrap();
    assert_eq!(metadata("null").device, Some(DeviceNumber { major: 1, minor: 3 }));
    assert_eq!(metadata("disk").device, Some(DeviceNumber { major: 8, minor: 70_000 }));
    assert_eq!((metadata("disk").permissions, metadata("disk").created), (0o6600, None));
    assert_eq!(metadata("pipe").kind, FileKind::Fifo);
    assert_eq!((metadata("node").links, metadata("node").uid), (2, 7));
}

#[test]
fn version_4_as_made_by_default_is_read() {
    compare(&[]);
}

#[test]
fn version_4_with_small_blocks_and_inodes_and_without_file_types_is_read() {
    compare(&["-b", "size=512", "-i", "size=256", "-n", "ftype=0"]);
}

#[test]
fn version_4_with_directory_blocks_of_several_blocks_is_read() {
    compare(&["-b", "size=1024", "-n", "size=8192", "-i", "projid32bit=0"]);
}

/// The fixed fields of an inode as a little-endian machine puts them into the log.
fn logged(image: &Path, inode: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; 96];
    File::open(image).unwrap().read_exact_at(&mut bytes, Geometry::of(image).inode_at(inode)).unwrap();
    change(&mut bytes);
    let one_byte_wide = [4, 5, 24, 25, 26, 27, 28, 29, 82, 83];
    let widths = |at| match at {
        _ if one_byte_wide.contains(&at) => 1,
        0 | 2 | 6 | 20 | 22 | 30 | 80 | 88 | 90 => 2,
        56 | 64 => 8,
        _ => 4,
    };
    let mut at = 0;
    while at < bytes.len() {
        let width = widths(at);
        bytes[at..at + width].reverse();
        at += width;
    }
    bytes
}

/// The description of an inode, as 64-bit machines write it or, shorter, 32-bit ones.
fn inode_item(image: &Path, inode: u64, fields: u32, core: Vec<u8>, fork: &[u8], is_short: bool) -> Item {
    let place = Geometry::of(image).inode_at(inode);
    let cluster = place / 8192 * 8192;
    let size = if fork.is_empty() { 2 } else { 3 };
    let start = Region::default().u16(0x123B).u16(size).u32(fields).u16(0).u16(fork.len() as u16);
    let start = if is_short { start } else { start.u32(0) };
    let start = start.u64(inode).u64(0).u64(0).u64(cluster / 512).u32(16).u32((place - cluster) as u32);
    let mut item = vec![start.0, core];
    if !fork.is_empty() {
        item.push(fork.to_vec());
    }
    item
}

/// An extent as it is stored.
fn extent(logical: u64, numbered: u64, blocks: u64) -> [u8; 16] {
    (u128::from(logical) << 73 | u128::from(numbered) << 21 | u128::from(blocks)).to_be_bytes()
}

#[test]
fn a_log_of_version_4_is_replayed() {
    let workshop = Workshop::new();
    let image = format(&workshop, &[]);
    let (large, short, first) = {
        let fs = files::open(disk(&image)).unwrap();
        (find(&*fs, "large").0, find(&*fs, "block/file_of_number_3").0, find(&*fs, "short/file_of_number_0").0)
    };
    let geometry = Geometry::of(&image);
    let file = File::options().read(true).write(true).open(&image).unwrap();
    // Blocks that nothing uses, with something to tell them by.
    let free = geometry.block_at(9000);
    file.write_all_at(&pattern(32 << 10, 4), free).unwrap();
    // Written three times already, so that what is in the log with less is older.
    file.write_all_at(&[0, 3], geometry.inode_at(first) + 30).unwrap();
    let mut log = Log::of(&image);
    let with = |inode, change: &dyn Fn(&mut [u8])| logged(&image, inode, |bytes| change(bytes));
    let two_extents = [extent(0, 9000, 1), extent(4, 9003, 2)].concat();
    let moved = with(large, &|bytes| {
        bytes[2..4].copy_from_slice(&0o100_604_u16.to_be_bytes());
        bytes[40..48].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFE, 0, 0, 0, 5]);
        bytes[56..64].copy_from_slice(&(6_u64 << 12).to_be_bytes());
        bytes[76..80].copy_from_slice(&2_u32.to_be_bytes());
    });
    log.append(&[inode_item(&image, large, 0x1 | 0x4, moved, &two_extents, false)], true);
    let older = with(first, &|bytes| bytes[30..32].copy_from_slice(&[0, 2]));
    let older = with_mode_zero(older);
    let newer = with(short, &|bytes| bytes[8..12].copy_from_slice(&77_u32.to_be_bytes()));
    log.append(
        &[
            inode_item(&image, first, 0x1, older, &[], false),
            inode_item(&image, short, 0x1, newer, &[], true),
            // Belongs to what is given up below.
            block_item(free, 4096, 0, 0, &[0xAA; 256]),
        ],
        false,
    );
    log.append(&[block_item(free, 4096, 0x2, 0, &[]), block_item(free + 3 * 4096, 4096, 0, 256, &[0xBB; 128])], false);
    let fs = files::open(disk(&image)).unwrap();
    assert!(fs.notes()[0].contains("3 transactions"), "{:?}", fs.notes());
    let metadata = fs.metadata(FileId(large)).unwrap();
    assert_eq!((metadata.permissions, metadata.size_bytes), (0o604, 6 << 12));
    assert_eq!(metadata.modified, Timestamp { seconds: -2, nanoseconds: 5 });
    let mut expected = vec![0; 6 << 12];
    let blocks = pattern(32 << 10, 4);
    expected[..4096].copy_from_slice(&blocks[..4096]);
    expected[4 << 12..].copy_from_slice(&blocks[3 << 12..5 << 12]);
    expected[(4 << 12) + 256..(4 << 12) + 384].fill(0xBB);
    assert!(read_all(&*fs, FileId(large)) == expected);
    assert_eq!(fs.metadata(FileId(short)).unwrap().uid, 77);
    assert_eq!(fs.metadata(FileId(first)).unwrap().permissions, 0o640, "an older inode was taken from the log");
}

fn with_mode_zero(mut core: Vec<u8>) -> Vec<u8> {
    core[2..4].fill(0);
    core
}
