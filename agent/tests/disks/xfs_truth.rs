//! Our reader sees the same files as the kernel, for each way XFS can be laid out.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use agent::files::{self, FileSystem, FilesError};

use crate::facts;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::{Extent, fill, pattern};

const SMALL: Extent = Extent { many: 700, attribute_bytes: 200 };
const MEBIBYTES: u64 = 512;

/// What only XFS can hold, or holds in a way of its own.
fn fill_xfs(dir: &Path) {
    let dir = dir.join("xfs");
    fs::create_dir(&dir).unwrap();
    many_extents(&dir);
    many_attributes(&dir);
    let late = File::create(dir.join("late")).unwrap();
    late.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(6_000_000_000, 7))).unwrap();
    // Names whose hashes fill directories of each form.
    for count in [1, 5, 20, 90, 300] {
        let sub = dir.join(format!("of {count}"));
        fs::create_dir(&sub).unwrap();
        for number in 0..count {
            fs::write(sub.join(format!("{number}")), pattern(number, 1)).unwrap();
        }
    }
}

/// Written from the end, so that nothing can be joined, and in part given back.
fn many_extents(dir: &Path) {
    let file = File::create(dir.join("many extents")).unwrap();
    for tooth in (0..1500_u64).rev() {
        file.write_all_at(&pattern(4096, tooth), tooth * 8192).unwrap();
    }
    let mode = nix::fcntl::FallocateFlags::FALLOC_FL_PUNCH_HOLE | nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
    nix::fcntl::fallocate(&file, mode, 1 << 20, 700_000).unwrap();
    file.sync_all().unwrap();
    let unwritten = File::create(dir.join("many unwritten")).unwrap();
    nix::fcntl::fallocate(&unwritten, nix::fcntl::FallocateFlags::empty(), 0, 8 << 20).unwrap();
    for tooth in 0..300_u64 {
        unwritten.write_all_at(&pattern(100, tooth), tooth * 24_576).unwrap();
    }
}

/// Enough for leaves below a node, with long values among them and gaps.
fn many_attributes(dir: &Path) {
    let path = dir.join("attributes");
    fs::write(&path, "x").unwrap();
    for number in 0..400_usize {
        xattr::set(&path, format!("user.attribute number {number}"), &pattern(number * 3 % 250, number as u64))
            .unwrap();
    }
    for length in [1000, 5000, 65_536] {
        xattr::set(&path, format!("user.long {length}"), &pattern(length, 9)).unwrap();
    }
    xattr::set(&path, "security.test", b"secure").unwrap();
    for number in (0..400).step_by(3) {
        xattr::remove(&path, format!("user.attribute number {number}")).unwrap();
    }
}

fn compare(mkfs: &[&str], extent: Extent) {
    compare_filled(mkfs, |dir| fill(dir, extent));
}

fn compare_filled(mkfs: &[&str], fill: impl FnOnce(&Path)) {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &[&["mkfs.xfs", "-q"], mkfs].concat());
    let mounted = workshop.mount(&image, "rw");
    fill(&mounted.dir);
    fill_xfs(&mounted.dir);
    drop(mounted);
    let mounted = workshop.mount(&image, "ro,norecovery");
    let fs = files::open(disk(&image)).unwrap();
    assert_eq!(fs.name(), "xfs");
    assert_eq!(fs.notes(), [""; 0]);
    let ours = facts::of_file_system(&*fs);
    facts::assert_same(&facts::of_directory(&mounted.dir), &ours);
    assert!(ours.contains_key(&b"/xfs/many extents"[..]));
}

#[test]
fn xfs_as_made_by_default_with_a_directory_of_20_000_reads_the_same() {
    compare(&[], Extent { many: 20_000, ..SMALL });
}

#[test]
fn xfs_with_small_blocks_large_directory_blocks_and_reverse_maps_reads_the_same() {
    let mkfs = ["-b", "size=1024", "-n", "size=64k", "-m", "rmapbt=1,reflink=1", "-d", "agcount=4"];
    compare(&mkfs, Extent { many: 5000, attribute_bytes: 3000 });
}

#[test]
fn xfs_with_directory_blocks_of_several_blocks_reads_the_same() {
    compare(&["-b", "size=1024", "-n", "size=4096", "-m", "reflink=0"], Extent { many: 4000, attribute_bytes: 60_000 });
}

#[test]
fn xfs_with_large_inodes_and_counters_reads_the_same() {
    compare(&["-i", "size=2048,nrext64=1", "-m", "bigtime=1,inobtcount=1"], SMALL);
}

#[test]
fn xfs_with_old_times_and_without_sparse_inodes_reads_the_same() {
    let mkfs = ["-i", "size=512,sparse=0,nrext64=0", "-m", "bigtime=0,inobtcount=0,finobt=0", "-s", "size=4096"];
    compare_filled(&mkfs, |dir| fill(dir, SMALL));
}

#[test]
fn inode_numbers_of_more_than_32_bits_read_the_same() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 5 << 20, &["mkfs.xfs", "-q", "-K", "-l", "size=64m"]);
    let mounted = workshop.mount(&image, "rw");
    // Directories go to one allocation group after the other, of a terabyte each.
    for number in 0..8 {
        let dir = mounted.dir.join(format!("dir {number}"));
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("file"), pattern(10_000, number)).unwrap();
    }
    drop(mounted);
    let mounted = workshop.mount(&image, "ro,norecovery");
    let fs = files::open(disk(&image)).unwrap();
    let roots = fs.read_dir(fs.root()).unwrap();
    assert!(roots.iter().any(|entry| entry.id.0 >> 32 != 0) && roots.iter().any(|entry| entry.id.0 >> 32 == 0));
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
}

#[test]
fn the_bit_for_ignoring_case_changes_nothing() {
    let workshop = Workshop::new();
    require_root();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q"]);
    let mounted = workshop.mount(&image, "rw");
    for name in ["Name", "name", "NAME"] {
        fs::write(mounted.dir.join(name), name).unwrap();
    }
    let truth = facts::of_directory(&mounted.dir);
    drop(mounted);
    // Only hashes are made differently, and those are not read.
    let mut version = [0; 1];
    File::open(&image).unwrap().read_exact_at(&mut version, 100).unwrap();
    change(&image, 100, &[version[0] | 0x40]);
    facts::assert_same(&truth, &facts::of_file_system(&*files::open(disk(&image)).unwrap()));
}

#[test]
fn shared_blocks_read_the_same() {
    compare_filled(&["-m", "reflink=1"], |dir| {
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fs::write(dir.join("original"), pattern(3 << 20, 5)).unwrap();
        run("cp", &["--reflink=always", &path("original"), &path("copy")]);
        let copy = File::options().write(true).open(dir.join("copy")).unwrap();
        for at in 0..40 {
            copy.write_all_at(b"changed in the copy", at * 70_000).unwrap();
        }
    });
}

#[test]
fn holes_and_unwritten_space_are_no_data() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q"]);
    let mounted = workshop.mount(&image, "rw");
    let file = File::create(mounted.dir.join("file")).unwrap();
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, 1 << 20).unwrap();
    file.write_all_at(&pattern(8192, 1), 64 << 10).unwrap();
    file.set_len(5 << 20).unwrap();
    drop(file);
    drop(mounted);
    let fs = files::open(disk(&image)).unwrap();
    let id = files::lookup_path(&*fs, b"file").unwrap();
    let content = fs.open_file(id).unwrap();
    let extents: Vec<_> = content.data_extents().map(|e| (e.offset_bytes, e.length_bytes)).collect();
    assert_eq!(extents, [(64 << 10, 8192)]);
    assert!(fs.metadata(id).unwrap().allocated_bytes >= 1 << 20);
    assert!(content.read_exact_at(&mut [0], 5 << 20).is_err());
}

/// Replaces bytes of the superblock.
fn change(image: &Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(image).unwrap().write_all_at(bytes, at).unwrap();
}

fn open_changed(workshop: &Workshop, arguments: &[&str], at: u64, bytes: &[u8]) -> FilesError {
    let image = workshop.format("disk.img", MEBIBYTES, &[&["mkfs.xfs", "-q", "-f"], arguments].concat());
    change(&image, at, bytes);
    files::open(disk(&image)).err().unwrap()
}

#[test]
fn unknown_features_are_refused_by_name() {
    let workshop = Workshop::new();
    for (bits, name) in [(0x101_u32, "metadir"), (0x201, "zoned"), (0x8001, "0x8000")] {
        let error = open_changed(&workshop, &[], 216, &bits.to_be_bytes());
        assert!(matches!(error, FilesError::Unsupported { .. }) && error.to_string().contains(name), "{error}");
    }
    let error = open_changed(&workshop, &["-m", "crc=0"], 200, &[0, 0, 0, 0x8E]);
    assert!(error.to_string().contains("features2 bits 0x4"), "{error}");
    let error = open_changed(&workshop, &["-m", "crc=0"], 101, &[0xB3]);
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[test]
fn what_waits_for_repair_is_refused() {
    let error = open_changed(&Workshop::new(), &[], 219, &[0x1B]);
    assert!(error.to_string().contains("xfs_repair"), "{error}");
}

#[test]
fn a_log_on_another_device_is_refused_by_name() {
    let workshop = Workshop::new();
    let log = workshop.path("log.img");
    File::create(&log).unwrap().set_len(80 << 20).unwrap();
    let place = format!("logdev={},size=64m", log.display());
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q", "-l", &place]);
    let error = files::open(disk(&image)).err().unwrap();
    assert!(error.to_string().contains("a log on another device"), "{error}");
}

#[test]
fn a_wrong_checksum_of_the_superblock_is_noted() {
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q"]);
    // A letter of the label.
    change(&image, 110, b"x");
    let fs = files::open(disk(&image)).unwrap();
    assert!(fs.notes().iter().any(|note| note.contains("checksum of the superblock")), "{:?}", fs.notes());
}

#[test]
fn a_realtime_file_is_refused_by_name_and_its_neighbours_are_read() {
    let workshop = Workshop::new();
    require_root();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q"]);
    let mounted = workshop.mount(&image, "rw");
    fs::write(mounted.dir.join("realtime"), "x").unwrap();
    fs::write(mounted.dir.join("usual"), "y").unwrap();
    let inode = fs::metadata(mounted.dir.join("realtime")).unwrap();
    drop(mounted);
    let number = std::os::unix::fs::MetadataExt::ino(&inode).to_string();
    let path = image.to_str().unwrap();
    run("xfs_db", &["-x", "-c", &format!("inode {number}"), "-c", "write core.realtime 1", path]);
    let fs = files::open(disk(&image)).unwrap();
    let error = fs.open_file(files::lookup_path(&*fs, b"realtime").unwrap()).err().unwrap();
    assert!(error.to_string().contains("realtime device"), "{error}");
    let mut content = [0];
    fs.open_file(files::lookup_path(&*fs, b"usual").unwrap()).unwrap().read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"y");
}

#[test]
fn damaged_maps_and_directories_are_named_and_hide_no_neighbours() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q", "-i", "nrext64=0"]);
    let mounted = workshop.mount(&image, "rw");
    fill_xfs(&mounted.dir);
    let inode = |name: &str| {
        let metadata = fs::metadata(mounted.dir.join("xfs").join(name)).unwrap();
        format!("inode {}", std::os::unix::fs::MetadataExt::ino(&metadata))
    };
    let (tree, block, short) = (inode("many extents"), inode("of 20"), inode("of 5"));
    drop(mounted);
    let path = image.to_str().unwrap();
    run("xfs_db", &["-x", "-c", &tree, "-c", "write core.nextents 1000", path]);
    run("xfs_db", &["-x", "-c", &block, "-c", "write u3.bmx[0].startoff 3", path]);
    run("xfs_db", &["-x", "-c", &short, "-c", "write u3.sfdir3.hdr.count 4", path]);
    let fs = files::open(disk(&image)).unwrap();
    let id = |name: &str| files::lookup_path(&*fs, format!("xfs/{name}").as_bytes()).unwrap();
    let refused = |result: files::Result<()>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(fs.open_file(id("many extents")).map(drop), "another number of extents");
    refused(fs.read_dir(id("of 20")).map(drop), "no first block");
    refused(fs.read_dir(id("of 5")).map(drop), "another length");
    assert_eq!(fs.read_dir(id("of 90")).unwrap().len(), 90);
    assert!(fs.open_file(id("many unwritten")).is_ok());
}

fn names_of_attributes(fs: &dyn FileSystem, path: &[u8]) -> Vec<Vec<u8>> {
    let id = files::lookup_path(fs, path).unwrap();
    fs.extended_attributes(id).unwrap().into_iter().map(|a| a.name).collect()
}

#[test]
fn names_of_parents_stay_hidden() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.xfs", "-q", "-i", "nrext64=1"]);
    let path = image.to_str().unwrap();
    // mkfs.xfs of Debian cannot make them: file types, sparse, big times, big counters, exchange, parents.
    run("xfs_db", &["-x", "-c", "sb 0", "-c", "write -d features_incompat 0xeb", "-c", "crc -r", path]);
    let mounted = workshop.mount(&image, "rw");
    for (name, links) in [("few", 1), ("many", 60)] {
        fs::write(mounted.dir.join(name), "x").unwrap();
        xattr::set(mounted.dir.join(name), "user.shown", b"yes").unwrap();
        for number in 0..links {
            fs::hard_link(mounted.dir.join(name), mounted.dir.join(format!("{name} has this name too {number}")))
                .unwrap();
        }
    }
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(mounted.dir.join("few")).unwrap());
    drop(mounted);
    let stored =
        Command::new("xfs_db").args(["-r", "-c", &format!("inode {inode}"), "-c", "p a", path]).output().unwrap();
    assert!(String::from_utf8_lossy(&stored.stdout).contains("few has this name too 0"), "no parent was recorded");
    let fs = files::open(disk(&image)).unwrap();
    for name in [b"few", &b"many"[..]] {
        assert_eq!(names_of_attributes(&*fs, name), [b"user.shown".to_vec()]);
    }
}
