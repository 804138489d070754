//! A damaged or hostile btrfs gives errors and never other bytes than the file's: no panic, no endless loop. What the
//! reader does not know it refuses by name.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use agent::files::{self, FileSystem, FilesError, lookup_path};
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::test_runner::Config;

use crate::btrfs_image::{Block, Patched, SUPERBLOCK, SUPERBLOCK_BYTES};
use crate::facts;
use crate::hostile::read_everything;
use crate::images::{Workshop, disk, require_root, run};
use crate::population::pattern;

const MEBIBYTES: u64 = 256;
const ROOT_TREE: u64 = 1;
const FILE_TREE: u64 = 5;
const CHECKSUM_TREE: u64 = 7;
const CONTENT_BYTES: usize = 40_000;

fn btrfs(arguments: &[&str]) {
    run("btrfs", &[&["-q"], arguments].concat());
}

/// A small file system with a bit of everything.
fn image(workshop: &Workshop, mkfs: &[&str], options: &str) -> Patched {
    require_root();
    let path = workshop.format("disk.img", MEBIBYTES, &[&["mkfs.btrfs", "-q"], mkfs].concat());
    let mounted = workshop.mount(&path, options);
    let dir = &mounted.dir;
    fs::create_dir_all(dir.join("some/where")).unwrap();
    for number in 0..40 {
        fs::write(dir.join(format!("some/file {number}")), vec![b'x'; number * 300]).unwrap();
    }
    for name in ["first", "second"] {
        fs::write(dir.join(name), pattern(CONTENT_BYTES, name.len() as u64)).unwrap();
    }
    fs::write(dir.join("text"), "all the same ".repeat(20_000)).unwrap();
    std::os::unix::fs::symlink("y".repeat(200), dir.join("link")).unwrap();
    xattr::set(dir.join("some/file 1"), "user.a", b"some value").unwrap();
    let inner = dir.join("some/inner").to_str().unwrap().to_owned();
    btrfs(&["subvolume", "create", &inner]);
    fs::write(dir.join("some/inner/file"), "inner").unwrap();
    btrfs(&["subvolume", "snapshot", dir.to_str().unwrap(), dir.join("snapshot").to_str().unwrap()]);
    drop(mounted);
    Patched::of(&path)
}

fn read(fs: &dyn FileSystem, name: &str) -> files::Result<Vec<u8>> {
    let file = fs.open_file(lookup_path(fs, name.as_bytes())?)?;
    let mut content = vec![0; file.size_bytes() as usize];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

fn open(image: &Patched) -> Box<dyn FileSystem> {
    files::open(image.shared()).unwrap()
}

/// Flips a bit in the sector at `at`.
fn damage(image: &mut Patched, at: usize) {
    let mut sector = image.bytes(at..at + 4096);
    sector[1000] ^= 4;
    image.replace(at, sector);
}

#[test]
fn a_damaged_data_block_is_an_error_for_that_stretch_of_that_file_only() {
    let mut image = image(&Workshop::new(), &["-d", "single"], "rw");
    let content = pattern(CONTENT_BYTES, 5);
    let places = image.find(&content[8192..8292]);
    assert_eq!(places.len(), 1);
    damage(&mut image, places[0]);
    let fs = open(&image);
    let error = read(&*fs, "first").unwrap_err();
    assert!(error.to_string().contains("does not match its checksum"), "{error}");
    let file = fs.open_file(lookup_path(&*fs, b"first").unwrap()).unwrap();
    let mut rest = vec![0; CONTENT_BYTES - 12288];
    file.read_exact_at(&mut rest, 12288).unwrap();
    assert_eq!(rest, &content[12288..]);
    assert!(file.read_exact_at(&mut [0], 12287).is_err());
    assert_eq!(read(&*fs, "second").unwrap(), pattern(CONTENT_BYTES, 6));
}

#[test]
fn damaged_data_is_read_from_its_second_copy() {
    let mut image = image(&Workshop::new(), &["-d", "dup"], "rw");
    let content = pattern(CONTENT_BYTES, 5);
    let places = image.find(&content[8192..8292]);
    assert_eq!(places.len(), 2);
    for damaged in &places {
        let mut image = image.clone();
        damage(&mut image, *damaged);
        assert_eq!(read(&*open(&image), "first").unwrap(), content);
    }
    for damaged in places {
        damage(&mut image, damaged);
    }
    assert!(read(&*open(&image), "first").is_err());
}

#[test]
fn damaged_compressed_data_is_an_error_even_where_it_can_be_decompressed() {
    let mut image = image(&Workshop::new(), &["-d", "single"], "compress-force=lzo");
    let fs = open(&image);
    assert_eq!(read(&*fs, "text").unwrap(), "all the same ".repeat(20_000).as_bytes());
    // The literals of the first segment: other ones would decompress as well.
    let starts = (0..(MEBIBYTES as usize) << 20).step_by(4096);
    let places: Vec<usize> = starts.filter(|at| image.bytes(at + 10..at + 22) == b"ll the same ").collect();
    assert!(!places.is_empty());
    for at in places {
        let mut sector = image.bytes(at..at + 4096);
        sector[12] = b'X';
        image.replace(at, sector);
    }
    assert!(read(&*open(&image), "text").unwrap_err().to_string().contains("checksum"));
}

/// The blocks of trees as pairs of copies.
fn pairs(image: &Patched) -> Vec<[Block; 2]> {
    let blocks = image.blocks();
    let mut pairs = Vec::new();
    for (index, first) in blocks.iter().enumerate() {
        let is_copy = |other: &&Block| other.logical == first.logical && other.generation == first.generation;
        pairs.extend(blocks[index + 1..].iter().find(is_copy).map(|second| [*first, *second]));
    }
    pairs
}

#[test]
fn damaged_metadata_is_read_from_its_second_copy() {
    let whole = image(&Workshop::new(), &["-m", "dup"], "rw");
    let truth = facts::of_file_system(&*open(&whole));
    let pairs = pairs(&whole);
    assert!(pairs.len() > 10, "{} pairs", pairs.len());
    for copy in 0..2 {
        let mut image = whole.clone();
        for pair in &pairs {
            // In the first item of a leaf, such as the time of an inode.
            let last_sector = pair[copy].at + image.node_bytes() - 4096;
            let mut sector = image.bytes(last_sector..last_sector + 4096);
            sector[4096 - 20] ^= 4;
            image.replace(last_sector, sector);
        }
        facts::assert_same(&truth, &facts::of_file_system(&*open(&image)));
    }
}

#[test]
fn a_lost_write_to_one_copy_is_noticed_by_its_generation() {
    let whole = image(&Workshop::new(), &["-m", "dup"], "rw");
    let truth = facts::of_file_system(&*open(&whole));
    let mut image = whole.clone();
    let node_bytes = image.node_bytes();
    for pair in pairs(&whole) {
        // Whole, but older, with fewer items.
        image.edit(pair[0].at..pair[0].at + node_bytes, |bytes| {
            let generation = pair[0].generation - 1;
            bytes[0x50..0x58].copy_from_slice(&generation.to_le_bytes());
            bytes[0x60] = bytes[0x60].saturating_sub(1);
        });
    }
    facts::assert_same(&truth, &facts::of_file_system(&*open(&image)));
}

/// Changes the newest leaf of a tree that holds `wanted`, in both copies.
fn edit_leaf(image: &mut Patched, owner: u64, wanted: &[u8], change: impl Fn(&mut [u8], usize)) {
    let node_bytes = image.node_bytes();
    let find = |bytes: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    let of_tree = |block: &Block| block.owner == owner && block.level == 0;
    let blocks = image.blocks().into_iter().filter(of_tree);
    let found: Vec<(Block, usize)> =
        blocks.filter_map(|block| Some((block, find(&image.bytes(block.at..block.at + node_bytes))?))).collect();
    assert!(!found.is_empty(), "no leaf of tree {owner} holds this");
    for (block, at) in found {
        image.edit(block.at..block.at + node_bytes, |bytes| change(bytes, at));
    }
}

fn key(object: u64, kind: u8, offset: u64) -> Vec<u8> {
    [&object.to_le_bytes()[..], &[kind], &offset.to_le_bytes()].concat()
}

#[test]
fn data_without_the_checksums_that_it_should_have_is_an_error() {
    let mut image = image(&Workshop::new(), &[], "rw");
    let checksum_key = [&(-10_i64).to_le_bytes()[..], &[128]].concat();
    // Those of all files: which one stands first is for the kernel to say.
    edit_leaf(&mut image, CHECKSUM_TREE, &checksum_key, |bytes, _| {
        while let Some(at) = bytes.windows(checksum_key.len()).position(|window| window == checksum_key) {
            bytes[at + 8] = 127;
        }
    });
    let error = read(&*open(&image), "first").unwrap_err();
    assert!(error.to_string().contains("no checksum"), "{error}");
    assert_eq!(read(&*open(&image), "some/inner/file").unwrap(), b"inner");
}

#[test]
fn an_extent_that_the_reader_does_not_know_is_refused_for_that_file_only() {
    let whole = image(&Workshop::new(), &[], "rw");
    let first = files::lookup_path(&*open(&whole), b"first").unwrap().0;
    for (field, value, expected) in
        [(16, 9, "compression 9"), (17, 1, "encryption 1"), (18, 2, "encoding 2"), (20, 7, "extent type 7")]
    {
        let mut image = whole.clone();
        edit_leaf(&mut image, FILE_TREE, &key(first, 108, 0), |bytes, at| {
            let offset = u32::from_le_bytes(bytes[at + 17..at + 21].try_into().unwrap()) as usize;
            bytes[0x65 + offset + field] = value;
        });
        let fs = open(&image);
        let error = read(&*fs, "first").unwrap_err();
        assert!(matches!(error, FilesError::Unsupported { .. }) && error.to_string().contains(expected), "{error}");
        assert_eq!(read(&*fs, "second").unwrap(), pattern(CONTENT_BYTES, 6));
        let file = fs.open_file(lookup_path(&*fs, b"first").unwrap()).unwrap();
        assert_eq!(file.data_extents().count(), 1, "what cannot be read must not look like a hole");
    }
}

#[test]
fn a_subvolume_whose_place_is_damaged_does_not_hide_its_neighbours() {
    let mut image = image(&Workshop::new(), &[], "rw");
    // The length of the name in the reference from the top level.
    edit_leaf(&mut image, ROOT_TREE, &key(FILE_TREE, 156, 257), |bytes, at| {
        let offset = u32::from_le_bytes(bytes[at + 17..at + 21].try_into().unwrap()) as usize;
        bytes[0x65 + offset + 17] = 0x7F;
    });
    let fs = open(&image);
    let listed = files::list(&*fs, b"/").unwrap();
    let damaged: Vec<_> = listed.iter().filter(|entry| entry.error.is_some()).map(|entry| &entry.name).collect();
    assert_eq!(damaged, ["snapshot"]);
    assert!(fs.read_dir(lookup_path(&*fs, b"snapshot").unwrap()).is_err());
    assert_eq!(read(&*fs, "some/inner/file").unwrap(), b"inner");
}

#[test]
fn a_subvolume_is_shown_only_where_its_reference_says() {
    let mut image = image(&Workshop::new(), &[], "rw");
    edit_leaf(&mut image, ROOT_TREE, &key(FILE_TREE, 156, 257), |bytes, at| {
        let offset = u32::from_le_bytes(bytes[at + 17..at + 21].try_into().unwrap()) as usize;
        bytes[0x65 + offset] ^= 1;
    });
    let fs = open(&image);
    assert_eq!(fs.read_dir(lookup_path(&*fs, b"snapshot").unwrap()).unwrap(), []);
    assert_eq!(read(&*fs, "some/inner/file").unwrap(), b"inner");
}

fn refusal(image: &Patched, change: impl FnOnce(&mut [u8])) -> String {
    let mut image = image.clone();
    image.edit_superblock(change);
    match files::open(image.shared()) {
        Err(error @ FilesError::Unsupported { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("was opened"),
    }
}

#[test]
fn features_that_the_reader_does_not_know_are_refused_by_name() {
    let workshop = Workshop::new();
    let image = Patched::of(&workshop.format("disk.img", MEBIBYTES, &["mkfs.btrfs", "-q"]));
    for (at, value, expected) in [
        (0xBC + 1, 0x11, "zones"),
        (0xBC + 1, 0x21, "extent tree v2"),
        (0xBC + 1, 0x41, "RAID stripe tree"),
        (0xBC + 5, 0x80, "feature bits 0x800000000000"),
        (0x38 + 4, 1, "seed device"),
        (0x38 + 4, 2, "dump of metadata"),
        (0x38 + 4, 16, "UUID"),
        (0x38 + 7, 1, "state flags"),
        (0x88, 2, "2 devices"),
        (0xC4, 1, "xxhash64"),
        (0xC4, 77, "algorithm 77"),
        // The type of the first system chunk.
        (0x32B + 17 + 24, 0x12, "RAID1 profile"),
        (0x32B + 17 + 25, 0x1, "RAID6 profile"),
        (0x32B + 17 + 48, 9, "another device"),
    ] {
        let refused = refusal(&image, |bytes| bytes[at] = value);
        assert!(refused.contains(expected), "{refused} does not name {expected}");
    }
}

#[test]
fn made_file_systems_that_the_reader_does_not_know_are_refused_by_name() {
    let workshop = Workshop::new();
    let image = workshop.format("xxhash.img", MEBIBYTES, &["mkfs.btrfs", "-q", "--csum", "xxhash"]);
    assert!(files::open(disk(&image)).err().unwrap().to_string().contains("xxhash64"));
    let seed = workshop.format("seed.img", MEBIBYTES, &["mkfs.btrfs", "-q"]);
    run("btrfstune", &["-f", "-S", "1", seed.to_str().unwrap()]);
    assert!(files::open(disk(&seed)).err().unwrap().to_string().contains("seed device"));
    let one = workshop.path("one.img");
    fs::File::create(&one).unwrap().set_len(MEBIBYTES << 20).unwrap();
    let mkfs = ["mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", one.to_str().unwrap()];
    let two = workshop.format("two.img", MEBIBYTES, &mkfs);
    for device in [one, two] {
        assert!(files::open(disk(&device)).err().unwrap().to_string().contains("2 devices"));
    }
}

#[test]
fn the_newest_whole_superblock_counts() {
    const SECOND: usize = 64 << 20;
    let workshop = Workshop::new();
    let whole = image(&workshop, &[], "rw");
    let note = |image: &Patched| open(image).notes().join("\n");
    let second = SECOND..SECOND + SUPERBLOCK_BYTES;
    assert_eq!(note(&whole), "");

    let mut damaged = whole.clone();
    damaged.replace(SUPERBLOCK + 0x200, vec![0xAA; 16]);
    assert!(note(&damaged).contains("copy 1 of the superblock was used"), "{}", note(&damaged));
    assert_eq!(read(&*open(&damaged), "second").unwrap(), pattern(CONTENT_BYTES, 6));

    // As if the first copy was not written any more: the tree of the second one is whole too.
    let mut older = whole.clone();
    older.edit_superblock(|bytes| bytes[0x48] -= 1);
    assert!(note(&older).contains("is newer than the first"), "{}", note(&older));

    // Left from an earlier file system.
    let mut foreign = whole.clone();
    foreign.edit(second.clone(), |bytes| {
        bytes[0x20] ^= 1;
        bytes[0x4F] = 1;
    });
    assert_eq!(note(&foreign), "");
    foreign.replace(SUPERBLOCK + 0x200, vec![0xAA; 16]);
    assert!(matches!(files::open(foreign.shared()), Err(FilesError::Corrupt { .. })));

    let mut both = damaged.clone();
    both.replace(second.start + 0x200, vec![0xAA; 16]);
    assert!(matches!(files::open(both.shared()), Err(FilesError::Corrupt { .. })));

    let mut gone = whole;
    gone.replace(SUPERBLOCK + 0x40, vec![0; 8]);
    assert!(matches!(files::open(gone.shared()), Err(FilesError::NotRecognised)));
}

#[test]
fn a_disk_that_was_cut_short_is_noted_and_still_read() {
    let workshop = Workshop::new();
    image(&workshop, &[], "rw");
    let path = workshop.path("disk.img");
    fs::File::options().write(true).open(&path).unwrap().set_len((MEBIBYTES - 8) << 20).unwrap();
    let fs = files::open(disk(Path::new(&path))).unwrap();
    assert!(fs.notes().iter().any(|note| note.contains("beyond its end")), "{:?}", fs.notes());
    assert_eq!(read(&*fs, "some/inner/file").unwrap(), b"inner");
}

/// An image with what may be changed in it: the copies of each tree block, and its bytes that are not zero.
struct Target {
    image: Patched,
    blocks: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Target {
    fn of(image: Patched) -> Self {
        let node_bytes = image.node_bytes();
        let mut blocks: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
        let all = image.blocks();
        for (index, block) in all.iter().enumerate() {
            let is_copy = |other: &&Block| (other.logical, other.generation) == (block.logical, block.generation);
            if all[..index].iter().any(|other| is_copy(&other)) {
                continue;
            }
            let copies = all.iter().filter(is_copy).map(|block| block.at).collect();
            let bytes = image.bytes(block.at..block.at + node_bytes);
            let used = (0x20..node_bytes).filter(|at| *at < 0x200 || bytes[*at] != 0).collect();
            blocks.push((copies, used));
        }
        Self { image, blocks }
    }

    /// Where the items of files lie in the leaves: the first bytes of each, with all copies of the block.
    fn items(&self) -> Vec<(Vec<usize>, Range<usize>)> {
        let mut items = Vec::new();
        for (copies, _) in &self.blocks {
            let field = |at: usize, width| self.image.le(copies[0] + at, width) as usize;
            let is_of_files = matches!(field(0x58, 8), 5 | 256..);
            let count = if is_of_files && field(0x64, 1) == 0 { field(0x60, 4) } else { 0 };
            for header in (0..count).map(|index| 0x65 + index * 25) {
                let start = 0x65 + field(header + 17, 4);
                // Extents most of all.
                let times = if field(header + 8, 1) == 108 { 8 } else { 1 };
                let range = start..start + field(header + 21, 4).min(60);
                items.extend(std::iter::repeat_n((copies.clone(), range), times));
            }
        }
        items
    }

    /// Applies changes with right checksums, in all copies of a block alike.
    fn changed(&self, changes: &[(usize, usize, u8)]) -> Patched {
        let mut image = self.image.clone();
        let node_bytes = image.node_bytes();
        for (block, position, value) in changes {
            let (copies, used) = &self.blocks[block % self.blocks.len()];
            for copy in copies {
                image.edit(*copy..copy + node_bytes, |bytes| bytes[used[position % used.len()]] = *value);
            }
        }
        image
    }
}

static TARGETS: LazyLock<[Target; 3]> = LazyLock::new(|| {
    [
        Target::of(image(&Workshop::new(), &[], "compress-force=zstd")),
        Target::of(image(&Workshop::new(), &["-n", "4096", "-m", "single"], "compress-force=lzo")),
        Target::of(image(&Workshop::new(), &["-M"], "nodatasum")),
    ]
});

/// Few values are as mean as the extremes.
fn value() -> impl Strategy<Value = u8> {
    proptest::prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7F), Just(0xFF)]
}

proptest::proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    #[test]
    fn changed_tree_blocks_give_errors_and_no_panic(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), value()), 1..12),
    ) {
        if let Ok(fs) = files::open(TARGETS[which].changed(&changes).shared()) {
            read_everything(&*fs);
        }
    }

    #[test]
    fn changed_items_of_files_give_errors_and_no_panic(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), value()), 1..60),
    ) {
        let target = &TARGETS[which];
        let (items, node_bytes) = (target.items(), target.image.node_bytes());
        let mut image = target.image.clone();
        for (item, position, value) in changes {
            let (copies, range) = &items[item % items.len()];
            for copy in copies.iter().filter(|_| !range.is_empty()) {
                let at = range.start + position % range.len();
                image.edit(*copy..copy + node_bytes, |bytes| bytes[at] = value);
            }
        }
        read_everything(&*open(&image));
    }

    #[test]
    fn a_changed_superblock_gives_errors_and_no_panic(
        which in 0..3_usize,
        changes in prop::collection::vec((0x20..0x500_usize, value()), 1..4),
    ) {
        let mut image = TARGETS[which].image.clone();
        image.edit_superblock(|bytes| {
            for (at, value) in changes {
                // Keeps the magic number, without which nothing is read at all.
                if !(0x40..0x48).contains(&at) {
                    bytes[at] = value;
                }
            }
        });
        if let Ok(fs) = files::open(image.shared()) {
            read_everything(&*fs);
        }
    }
}
