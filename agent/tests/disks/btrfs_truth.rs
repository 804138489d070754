//! Our reader sees the same files as the kernel, for each way a btrfs can be laid out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use agent::files::{self, FileSystem, lookup_path};
use nix::fcntl::FallocateFlags;

use crate::btrfs_image::{Patched, crc32c};
use crate::facts;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::{Extent, fill, pattern};

const SMALL: Extent = Extent { many: 5000, attribute_bytes: 200 };
const MEBIBYTES: u64 = 256;

/// Text that compresses, different for each seed.
fn text(length: usize, seed: u64) -> Vec<u8> {
    let words: Vec<u8> =
        (0..).flat_map(|n: u64| format!("{} {seed} ", n * n % 977).into_bytes()).take(length).collect();
    words
}

/// Attributes whose names have the same hash share an item.
fn names_with_one_hash() -> [String; 2] {
    let mut seen = HashMap::new();
    for number in 0_u64.. {
        let name = format!("user.{number}");
        if let Some(other) =
            seen.insert(crc32c(name.as_bytes()), name.clone()).filter(|other| other.len() == name.len())
        {
            return [other, name];
        }
    }
    unreachable!("there are more names than hashes");
}

fn open_path(dir: &Path, name: &str) -> PathBuf {
    fs::write(dir.join(name), name).unwrap();
    dir.join(name)
}

/// What only btrfs does: shared, split, preallocated and inline extents.
fn fill_extents(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for size in [1, 100, 2000, 4095, 4097, 5000, 130_000, 131_072, 131_073, 1 << 20] {
        fs::write(dir.join(format!("text {size}")), text(size, size as u64)).unwrap();
        fs::write(dir.join(format!("noise {size}")), pattern(size, size as u64)).unwrap();
    }
    let half = [text(70_000, 1), pattern(70_000, 2), vec![0; 200_000], text(70_000, 3)].concat();
    fs::write(dir.join("half"), half).unwrap();
    run("sync", &["-f", dir.to_str().unwrap()]);
    let open =
        |name: &str| File::options().read(true).write(true).create(true).truncate(false).open(dir.join(name)).unwrap();
    // Leaves references into the middle of the old extents.
    let split = open("text 1048576");
    for piece in 0..20_u64 {
        split.write_all_at(&text(5000, piece), piece * 50_000 + 1234).unwrap();
    }
    split.set_len(900_001).unwrap();
    open("text 131073").set_len(200_000).unwrap();
    open("text 2000").set_len(3000).unwrap();
    open("text 100").set_len(50).unwrap();
    let preallocated = open("preallocated");
    nix::fcntl::fallocate(&preallocated, FallocateFlags::empty(), 0, 3 << 20).unwrap();
    preallocated.write_all_at(&pattern(30_000, 4), 1 << 20).unwrap();
    let beyond = open("preallocated beyond the end");
    nix::fcntl::fallocate(&beyond, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 1 << 20).unwrap();
    beyond.write_all_at(&pattern(10_000, 5), 0).unwrap();
    let punched = open("noise 1048576");
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    nix::fcntl::fallocate(&punched, punch, 300_000, 200_000).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    run("cp", &["--reflink=always", &path("text 1048576"), &path("clone")]);
    open("clone").write_all_at(b"changed", 600_000).unwrap();
    for (name, seconds) in [("long ago", -3_000_000_000_i64), ("in the future", 30_000_000_000)] {
        let time = nix::sys::time::TimeSpec::new(seconds, 123_456_789);
        let flag = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
        nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &open_path(dir, name), &time, &time, flag).unwrap();
    }
    let [one, other] = names_with_one_hash();
    xattr::set(dir.join("half"), &one, b"first").unwrap();
    xattr::set(dir.join("half"), &other, b"second").unwrap();
    let plain = path("without checksums");
    fs::write(&plain, "").unwrap();
    run("chattr", &["+C", &plain]);
    fs::write(&plain, pattern(300_000, 6)).unwrap();
}

/// Compares a file system with everything in it.
fn compare(mkfs: &[&str], options: &str) {
    let workshop = Workshop::new();
    compare_filled(&workshop, mkfs, options, |dir| {
        fill(dir, SMALL);
        fill_extents(&dir.join("extents"));
        xattr::set(dir.join("extents/clone"), "btrfs.compression", b"zlib").unwrap();
    });
    let image = workshop.path("disk.img");
    compare_details(&workshop.mount(&image, "ro").dir, &*files::open(disk(&image)).unwrap());
}

/// Compares a file system whose options only change how data is stored.
fn compare_extents(mkfs: &[&str], options: &str) {
    let workshop = Workshop::new();
    compare_filled(&workshop, mkfs, options, |dir| fill_extents(&dir.join("extents")));
    let is_text_there = !Patched::of(&workshop.path("disk.img")).find(&text(70_000, 1)[..4096]).is_empty();
    assert_eq!(is_text_there, !options.contains("compress"), "plain text on the disk");
}

fn compare_filled(workshop: &Workshop, mkfs: &[&str], options: &str, fill: impl FnOnce(&Path)) {
    require_root();
    let image = workshop.format("disk.img", MEBIBYTES, &[&["mkfs.btrfs", "-q"], mkfs].concat());
    fill(&workshop.mount(&image, options).dir);
    let mounted = workshop.mount(&image, "ro");
    let fs = files::open(disk(&image)).unwrap();
    assert_eq!(fs.name(), "btrfs");
    assert_eq!(fs.notes(), [""; 0]);
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
}

/// What `facts` leaves out: numbers, allocated space, all times, holes.
fn compare_details(dir: &Path, fs: &dyn FileSystem) {
    for name in
        ["", "extents/half", "extents/preallocated", "sparse/a comb", "sparse/two ends", "special/null", "links/first"]
    {
        let truth = fs::symlink_metadata(dir.join(name)).unwrap();
        let ours = fs.metadata(lookup_path(fs, name.as_bytes()).unwrap()).unwrap();
        assert_eq!(ours.id.0, truth.ino(), "{name}");
        if truth.is_file() {
            assert_eq!(ours.size_bytes, truth.len(), "{name}");
            assert_eq!(ours.allocated_bytes, truth.blocks() * 512, "{name}");
        }
        let changed = (ours.changed.seconds, i64::from(ours.changed.nanoseconds));
        assert_eq!(changed, (truth.ctime(), truth.ctime_nsec()), "{name}");
        let accessed = (ours.accessed.seconds, i64::from(ours.accessed.nanoseconds));
        assert_eq!(accessed, (truth.atime(), truth.atime_nsec()), "{name}");
        let created = truth.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(ours.created.unwrap().seconds, created.as_secs() as i64, "{name}");
    }
    let comb = fs.open_file(lookup_path(fs, b"sparse/a comb").unwrap()).unwrap();
    let data: u64 = comb.data_extents().map(|extent| extent.length_bytes).sum();
    assert!((400 * 5000..=400 * 8192).contains(&data), "{data} bytes of a comb are data");
    let hole = fs.open_file(lookup_path(fs, b"sparse/only a hole").unwrap()).unwrap();
    assert_eq!(hole.data_extents().count(), 0);
    let unwritten = fs.open_file(lookup_path(fs, b"extents/preallocated").unwrap()).unwrap();
    let data: u64 = unwritten.data_extents().map(|extent| extent.length_bytes).sum();
    assert_eq!(data, 32 << 10, "of preallocated space");
}

#[test]
fn btrfs_as_made_by_default_reads_the_same() {
    compare(&[], "rw");
}

#[test]
fn btrfs_with_small_nodes_and_explicit_holes_reads_the_same() {
    compare(&["-n", "4096", "-O", "^no-holes", "-R", "^free-space-tree", "-m", "single"], "rw");
}

#[test]
fn btrfs_with_large_nodes_and_two_copies_of_data_reads_the_same() {
    compare(&["-n", "65536", "-d", "dup", "-m", "dup"], "rw");
}

#[test]
fn btrfs_with_mixed_block_groups_reads_the_same() {
    compare_extents(&["-M", "-O", "^extref,^skinny-metadata"], "rw");
}

#[test]
fn btrfs_compressed_with_zlib_and_summed_with_sha256_reads_the_same() {
    compare_extents(&["--csum", "sha256"], "compress-force=zlib");
}

#[test]
fn btrfs_compressed_with_lzo_and_summed_with_blake2_reads_the_same() {
    compare_extents(&["--csum", "blake2"], "compress-force=lzo");
}

#[test]
fn btrfs_compressed_with_zstd_reads_the_same() {
    compare_extents(&[], "compress-force=zstd");
}

#[test]
fn btrfs_without_checksums_of_data_reads_the_same() {
    compare_extents(&["-m", "single"], "nodatasum,max_inline=0");
}

fn btrfs(arguments: &[&str]) {
    run("btrfs", &[&["-q"], arguments].concat());
}

/// Subvolumes in directories and in each other, snapshots of them, and one that was moved and one that was deleted.
fn fill_subvolumes(dir: &Path) {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    fs::create_dir(dir.join("plain")).unwrap();
    btrfs(&["subvolume", "create", &path("plain/outer")]);
    fs::write(dir.join("plain/outer/file"), text(20_000, 1)).unwrap();
    fs::create_dir(dir.join("plain/outer/owned")).unwrap();
    std::os::unix::fs::chown(dir.join("plain/outer/owned"), Some(1000), Some(1001)).unwrap();
    for name in ["plain/outer/inner", "plain/outer/owned/kept", "plain/outer/owned/deleted", "plain/outer/moved"] {
        btrfs(&["subvolume", "create", &path(name)]);
        fs::write(dir.join(name).join("file"), name).unwrap();
    }
    btrfs(&["subvolume", "snapshot", "-r", &path("plain/outer"), &path("snapshot")]);
    btrfs(&["subvolume", "snapshot", &path("plain/outer"), &path("plain/outer/snapshot of itself")]);
    btrfs(&["subvolume", "delete", &path("plain/outer/owned/deleted")]);
    fs::rename(dir.join("plain/outer/moved"), dir.join("was moved")).unwrap();
    fs::write(dir.join("plain/outer/file"), text(30_000, 2)).unwrap();
    fs::write(dir.join("plain/outer/inner/newer"), text(300, 3)).unwrap();
    for number in 0..30 {
        btrfs(&["subvolume", "snapshot", &path("plain/outer/inner"), &path(&format!("plain/inner {number}"))]);
    }
}

#[test]
fn subvolumes_and_snapshots_are_directories_as_the_kernel_shows_them() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.btrfs", "-q"]);
    fill_subvolumes(&workshop.mount(&image, "rw").dir);
    let mounted = workshop.mount(&image, "ro,subvolid=5");
    let fs = files::open(disk(&image)).unwrap();
    assert_eq!(fs.notes(), [""; 0]);
    let (mut truth, mut ours) = (facts::of_directory(&mounted.dir), facts::of_file_system(&*fs));
    let placeholders: Vec<Vec<u8>> = truth
        .keys()
        .filter(|name| {
            let path = mounted.dir.join(String::from_utf8_lossy(name).trim_start_matches('/'));
            fs::symlink_metadata(path).unwrap().ino() == 2
        })
        .cloned()
        .collect();
    assert_eq!(placeholders.len(), 8, "{placeholders:?}");
    for name in placeholders {
        // The kernel says that it was changed when it was looked at; all else must be the same.
        let kernel = truth.remove(&name).unwrap();
        let reader = ours.remove(&name).unwrap();
        assert_eq!(kernel.without_time(), reader.without_time(), "{}", String::from_utf8_lossy(&name));
    }
    facts::assert_same(&truth, &ours);
    assert!(
        ours.contains_key(&b"/plain/outer/snapshot of itself/file"[..]) && ours.contains_key(&b"/was moved/file"[..])
    );
}

#[test]
fn the_default_subvolume_is_named_and_the_top_level_is_shown() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.btrfs", "-q"]);
    let mounted = workshop.mount(&image, "rw");
    let root = mounted.dir.join("@root").to_str().unwrap().to_owned();
    btrfs(&["subvolume", "create", &root]);
    fs::write(mounted.dir.join("@root/file"), "x").unwrap();
    run("btrfs", &["subvolume", "set-default", &root]);
    drop(mounted);
    let fs = files::open(disk(&image)).unwrap();
    assert_eq!(fs.notes().len(), 1);
    assert!(fs.notes()[0].ends_with("shows @root (subvolume 256)"), "{:?}", fs.notes());
    lookup_path(&*fs, b"@root/file").unwrap();
    let mounted = workshop.mount(&image, "ro");
    assert!(mounted.dir.join("file").exists(), "the kernel shows the default subvolume");
}

#[test]
fn an_ext4_converted_to_btrfs_reads_the_same() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 160, &["mkfs.ext4", "-q", "-F", "-b", "4096"]);
    let mounted = workshop.mount(&image, "rw");
    for size in [0, 100, 5000, 3 << 20] {
        fs::write(mounted.dir.join(format!("file {size}")), pattern(size, size as u64)).unwrap();
    }
    std::os::unix::fs::symlink("x".repeat(100), mounted.dir.join("link")).unwrap();
    xattr::set(mounted.dir.join("file 100"), "user.name", b"value").unwrap();
    drop(mounted);
    run("btrfs-convert", &["--no-progress", image.to_str().unwrap()]);
    let mounted = workshop.mount(&image, "ro");
    let fs = files::open(disk(&image)).unwrap();
    // The old file system lies in a file of a subvolume.
    lookup_path(&*fs, b"ext2_saved/image").unwrap();
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
}

#[test]
fn another_uuid_for_its_blocks_changes_nothing() {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", MEBIBYTES, &["mkfs.btrfs", "-q"]);
    fs::write(workshop.mount(&image, "rw").dir.join("file"), text(9000, 1)).unwrap();
    run("btrfstune", &["-f", "-m", image.to_str().unwrap()]);
    let mounted = workshop.mount(&image, "ro");
    let fs = files::open(disk(&image)).unwrap();
    facts::assert_same(&facts::of_directory(&mounted.dir), &facts::of_file_system(&*fs));
}

#[test]
fn sectors_larger_than_a_page_are_read() {
    let workshop = Workshop::new();
    let source = workshop.path("source");
    fs::create_dir(&source).unwrap();
    for size in [10, 5000, 70_000, 1 << 20] {
        fs::write(source.join(size.to_string()), pattern(size, 1)).unwrap();
    }
    let mkfs = ["mkfs.btrfs", "-q", "-s", "16384", "--rootdir", source.to_str().unwrap()];
    let image = workshop.format("disk.img", MEBIBYTES, &mkfs);
    let fs = files::open(disk(&image)).unwrap();
    // mkfs keeps only the seconds of times, and counts the names of the root in its own way.
    let comparable = |tree: facts::Tree| -> facts::Tree {
        let files = tree.into_iter().filter(|(name, _)| !name.is_empty());
        files.map(|(name, facts)| (name, facts.without_time())).collect()
    };
    facts::assert_same(&comparable(facts::of_directory(&source)), &comparable(facts::of_file_system(&*fs)));
}
