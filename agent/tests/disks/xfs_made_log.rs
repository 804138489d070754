//! What a mounted XFS hardly ever leaves in its log is put there by hand, and read as the kernel would read it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::files::{self, FileId};

use crate::facts;
use crate::images::{Workshop, disk, require_root};
use crate::population::pattern;
use crate::xfs_journal::{MEBIBYTES, MKFS_SMALL, both_views, growing_files, stop, stopped, sync_log};
use crate::xfs_log::{Geometry, Item, Log, Region, block_item, crc32c};

/// A stopped file system with two files of several blocks, and what was known of it before.
fn with_two_files(workshop: &Workshop, mkfs: &[&str]) -> (PathBuf, [u64; 2]) {
    let mut inodes = [0; 2];
    let image = stopped(workshop, mkfs, |dir| {
        for (name, inode) in ["one", "two"].into_iter().zip(&mut inodes) {
            let path = dir.join(name);
            fs::write(&path, pattern(40_000, 3)).unwrap();
            xattr::set(&path, "user.of", name.as_bytes()).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(400_000).unwrap();
            file.sync_all().unwrap();
            *inode = file.metadata().unwrap().ino();
        }
    });
    (image, inodes)
}

/// An intent to change the map of a file: 1 to map, 2 to unmap.
fn map_intent(id: u64, inode: u64, first: u64, logical: u64, blocks: u32, flags: u32) -> Item {
    let head = Region::default().u16(0x1244).u16(1).u32(1).u64(id);
    vec![head.u64(inode).u64(first).u64(logical).u32(blocks).u32(flags).0]
}

fn done(kind: u16, id: u64) -> Item {
    vec![Region::default().u16(kind).u16(1).u32(0).u64(id).0]
}

#[test]
fn changes_of_maps_that_the_log_left_undone_are_made() {
    let workshop = Workshop::new();
    let (image, [one, two]) = with_two_files(&workshop, &["-l", "size=16m", "-m", "rmapbt=0"]);
    // Something that is known to lie in a place of its own: the first blocks of the root directory's group.
    let mut log = Log::of(&image);
    log.append(
        &[
            map_intent(1, one, 7000, 2, 3, 2),
            map_intent(2, one, 7000, 3, 1, 1),
            map_intent(3, two, 7001, 50, 2, 1),
            map_intent(4, two, 7003, 60, 1, 1 | 1 << 30),
            map_intent(5, two, 7010, 1, 2, 2),
        ],
        false,
    );
    log.append(&[done(0x1245, 5)], false);
    // Blocks that would be mapped, with something to see in them.
    let geometry = Geometry::of(&image);
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&pattern(16 << 10, 77), geometry.block_at(7000)).unwrap();
    let before = {
        let fs = files::open(disk(&image)).unwrap();
        facts::of_file_system(&*fs)
    };
    let (kernels, ours, _) = both_views(&workshop, &image);
    facts::assert_same(&kernels, &ours);
    assert_eq!(ours, before);
    let fs = files::open(disk(&image)).unwrap();
    let extents = |name: &[u8]| -> Vec<(u64, u64)> {
        let content = fs.open_file(files::lookup_path(&*fs, name).unwrap()).unwrap();
        content.data_extents().map(|e| (e.offset_bytes >> 12, e.length_bytes >> 12)).collect()
    };
    assert_eq!(extents(b"one"), [(0, 2), (3, 1), (5, 5)]);
    assert_eq!(extents(b"two"), [(0, 10), (50, 2)]);
}

#[test]
fn what_the_log_left_in_the_middle_is_named_and_not_shown() {
    let workshop = Workshop::new();
    let (image, [one, two]) = with_two_files(&workshop, &["-l", "size=16m"]);
    let attribute = |id: u64, inode: u64, kind: u32| -> Item {
        let head = Region::default().u16(0x1246).u16(2).u32(0).u64(id).u64(inode);
        vec![head.u32(kind).u32(3).u32(0).u32(0).0, b"of\0\0".to_vec()]
    };
    let exchange = |id: u64| -> Item {
        let head = Region::default().u16(0x1248).u16(1).u32(0).u64(id).u64(one).u64(two);
        vec![[head.0, vec![0; 56]].concat()]
    };
    let mut log = Log::of(&image);
    // Done, and of a parent's name, which nobody sees.
    log.append(&[attribute(1, two, 1), attribute(2, two, 4), attribute(3, one, 2), exchange(4)], false);
    log.append(&[done(0x1247, 1), done(0x1249, 4)], false);
    let fs = files::open(disk(&image)).unwrap();
    let id = |name: &[u8]| files::lookup_path(&*fs, name).unwrap();
    assert!(fs.notes().iter().any(|note| note.contains(&format!("attributes of inode {one}"))), "{:?}", fs.notes());
    assert!(fs.extended_attributes(id(b"one")).is_err());
    assert!(fs.open_file(id(b"one")).is_ok());
    assert_eq!(fs.extended_attributes(id(b"two")).unwrap().len(), 1);
    log.append(&[exchange(5)], false);
    let fs = files::open(disk(&image)).unwrap();
    for inode in [one, two] {
        assert!(fs.notes().iter().any(|note| note.contains(&format!("inode {inode} was exchanging"))));
        assert!(fs.open_file(FileId(inode)).is_err() && fs.metadata(FileId(inode)).is_err());
    }
    log.append(&[vec![Region::default().u16(0x1777).u16(1).u64(0).0]], false);
    let error = files::open(disk(&image)).err().unwrap();
    assert!(error.to_string().contains("0x1777"), "{error}");
}

#[test]
fn impossible_items_are_refused() {
    let workshop = Workshop::new();
    let (image, [one, _]) = with_two_files(&workshop, &["-l", "size=16m"]);
    let made = |ag: u32, block: u32, count: u32, length: u32| -> Item {
        let numbers = [ag, block, count, 512, length, 7].map(u32::to_be_bytes).concat();
        vec![[Region::default().u16(0x123F).u16(1).0, numbers].concat()]
    };
    let place = Geometry::of(&image).inode_at(one) / 512;
    let inode = |number: u64, first: u64, size: u16| -> Item {
        let head = Region::default().u16(0x123B).u16(size).u32(1).u32(0).u32(0).u64(number).u64(0).u64(0);
        let description = head.u64(first).u32(1).u32(0).0;
        [vec![description], vec![vec![0; 176]; usize::from(size) - 1]].concat()
    };
    let items: [(Item, &str); 10] = [
        (made(u32::MAX, 5, 64, 8), "outside"),
        (made(1 << 20, 5, 64, 8), "outside"),
        (made(0, 5, 63, 8), "impossible new inodes"),
        (made(0, 5, 64_000, 8000), "impossible new inodes"),
        (block_item(u64::MAX - 511, 4096, 0, 0, &[1; 128]), "outside"),
        (block_item(8192, 0, 0, 0, &[1; 128]), "impossible length"),
        (block_item(8192, 512, 0, 512, &[1; 128]), "impossible piece"),
        (inode(one, place, 2), "impossible fields"),
        (inode(one + 1, place, 2), "another one's place"),
        (map_intent(1, one, u64::MAX, 5, 1, 1), "impossible change of a map"),
    ];
    for (item, what) in items {
        let copy = workshop.copy(&image, "copy.img");
        Log::of(&copy).append(&[item], false);
        let error = files::open(disk(&copy)).err().unwrap();
        assert!(error.to_string().contains(what), "{error} instead of {what}");
    }
}

#[test]
fn torn_records_end_the_log_as_they_do_for_the_kernel() {
    let workshop = Workshop::new();
    let image = stopped(&workshop, &["-l", "size=16m"], |dir| {
        for number in 0..12_u64 {
            fs::write(dir.join(format!("file {number}")), pattern(100 * number as usize, number)).unwrap();
            sync_log(dir);
        }
    });
    let log = Log::of(&image);
    let starts = log.records();
    for torn in starts[starts.len() - 6..].iter().rev() {
        let copy = workshop.copy(&image, "torn.img");
        Log::of(&copy).damage(*torn);
        let (kernels, ours, notes) = both_views(&workshop, &copy);
        facts::assert_same(&kernels, &ours);
        assert!(notes.iter().any(|note| note.contains("torn")), "{notes:?}");
    }
    // Far before the head it is not a torn write, and the kernel does not mount it.
    let copy = workshop.copy(&image, "torn.img");
    Log::of(&copy).damage(starts[starts.len() - 12]);
    let error = files::open(disk(&copy)).err().unwrap();
    assert!(error.to_string().contains("a damaged record in its middle"), "{error}");
    let dir = workshop.path("refused");
    fs::create_dir(&dir).unwrap();
    let mount = Command::new("mount").args(["-o", "loop"]).arg(&copy).arg(&dir).output().unwrap();
    assert!(!mount.status.success(), "the kernel mounts what is refused here");
}

/// Where a block with a magic number and, at a place in it, an owner lies.
fn find_block(image: &Path, magic: &[u8], owner_at: usize, owner: u64) -> u64 {
    let file = File::open(image).unwrap();
    let mut header = [0; 64];
    let blocks = (0..MEBIBYTES << 20).step_by(4096);
    let is_found = |at: &u64| {
        file.read_exact_at(&mut header, *at).unwrap();
        header.starts_with(magic) && header[owner_at..owner_at + 8] == owner.to_be_bytes()
    };
    blocks.into_iter().find(is_found).unwrap()
}

#[test]
fn blocks_that_are_newer_on_the_disk_are_not_replayed() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &[&MKFS_SMALL[..], &["-l", "size=16m"]].concat());
    let mounted = workshop.mount(&image, "rw");
    let dir = mounted.dir.join("dir");
    fs::create_dir(&dir).unwrap();
    for number in 10..50 {
        fs::write(dir.join(format!("newer name {number}")), "x").unwrap();
    }
    let owner = fs::metadata(&dir).unwrap().ino();
    drop(mounted);
    let mounted = workshop.mount(&image, "rw");
    fs::write(mounted.dir.join("dirty"), "x").unwrap();
    stop(&mounted.dir);
    drop(mounted);
    let at = find_block(&image, b"XDB3", 40, owner);
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let mut block = vec![0; 4096];
    file.read_exact_at(&mut block, at).unwrap();
    let name = block.windows(13).position(|bytes| bytes == b"newer name 30").unwrap();
    let piece = name / 128 * 128;
    let mut older = block[piece..piece + 256].to_vec();
    older[name - piece..name - piece + 5].copy_from_slice(b"older");
    // Directory blocks with their contents have the number 10.
    let mut log = Log::of(&image);
    let first = log.append(&[block_item(at, 4096, 10 << 11, piece, &older)], false);
    let shows = |name: &str| {
        let fs = files::open(disk(&image)).unwrap();
        files::lookup_path(&*fs, format!("dir/{name}").as_bytes()).is_ok()
    };
    assert!(shows("older name 30") && !shows("newer name 30"));
    // The same change as if the disk had it already, and another one after it.
    block[16..24].copy_from_slice(&first.to_be_bytes());
    block[4..8].fill(0);
    let crc = crc32c(&[&block]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&block, at).unwrap();
    assert!(shows("newer name 30") && !shows("older name 30"));
    let (kernels, ours, _) = both_views(&workshop, &image);
    facts::assert_same(&kernels, &ours);
    assert!(ours.contains_key(&b"/dir/newer name 30"[..]));
}

#[test]
fn an_extent_tree_may_keep_its_old_owner_only_when_the_log_exchanged_it() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &[&MKFS_SMALL[..], &["-l", "size=16m"]].concat());
    let mounted = workshop.mount(&image, "rw");
    growing_files(&mounted.dir, 1);
    let inode = fs::metadata(mounted.dir.join("comb")).unwrap().ino();
    drop(mounted);
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&999_u64.to_be_bytes(), find_block(&image, b"BMA3", 56, inode) + 56).unwrap();
    let read = || {
        let fs = files::open(disk(&image)).unwrap();
        fs.open_file(FileId(inode)).map(|content| content.data_extents().count())
    };
    assert!(read().err().unwrap().to_string().contains("another file's extent tree"));
    // The inode is newer on the disk than in the log; the blocks of its tree need not be.
    let place = Geometry::of(&image).inode_at(inode);
    file.write_all_at(&[0x70], place + 112).unwrap();
    let head = Region::default().u16(0x123B).u16(2).u32(0x201).u32(0).u32(0).u64(inode).u64(0).u64(0);
    let item = vec![head.u64(place / 512).u32(1).u32(0).0, vec![0; 176]];
    Log::of(&image).append(&[item], true);
    assert_eq!(read().unwrap(), 300);
}
