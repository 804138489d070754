//! A damaged or hostile XFS gives errors: never a panic, an endless loop or unbounded memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use agent::files;
use agent::read_at::ReadAt;
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::test_runner::Config;

use crate::hostile::read_everything;
use crate::images::{Workshop, require_root, run};
use crate::population::pattern;
use crate::xfs_journal::MKFS_SMALL;

const SECTOR_BYTES: usize = 512;

/// An image and the sectors in it that are worth changing.
struct Base {
    bytes: Vec<u8>,
    metadata: Vec<usize>,
    log: Vec<usize>,
}

/// The image with other bytes in some places, without a copy of it for each case.
struct Changed {
    base: &'static [u8],
    changes: BTreeMap<u64, u8>,
}

impl ReadAt for Changed {
    fn size_bytes(&self) -> u64 {
        self.base.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let start = offset_bytes as usize;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.base.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        for (at, value) in self.changes.range(offset_bytes..end as u64) {
            buf[(at - offset_bytes) as usize] = *value;
        }
        Ok(())
    }
}

/// Every form of directory, map, link and attribute in a few megabytes.
fn fill(dir: &Path) {
    for (name, count) in [("short", 3), ("block", 30), ("leaf", 150), ("node", 600)] {
        fs::create_dir(dir.join(name)).unwrap();
        for number in 0..count {
            fs::write(dir.join(format!("{name}/a file with the number {number}")), vec![b'x'; number % 40]).unwrap();
        }
    }
    let comb = File::create(dir.join("comb")).unwrap();
    for tooth in (0..300_u64).rev() {
        comb.write_all_at(&[7; 1024], tooth * 4096).unwrap();
    }
    comb.sync_all().unwrap();
    for length in [30, 700, 1023] {
        std::os::unix::fs::symlink("y".repeat(length), dir.join(format!("link of {length}"))).unwrap();
    }
    for (name, count, length) in [("few", 3, 20), ("leaf", 20, 30), ("nodes", 150, 60), ("remote", 3, 5000)] {
        let path = dir.join(format!("attributes {name}"));
        fs::write(&path, "x").unwrap();
        for number in 0..count {
            xattr::set(&path, format!("user.{number}"), &pattern(length, number)).unwrap();
        }
    }
    run("setfacl", &["-m", "u:1:r", dir.join("comb").to_str().unwrap()]);
}

fn is_metadata(sector: &[u8]) -> bool {
    let starts: [&[u8]; 8] = [b"IN", b"XFSB", b"XDB3", b"XDD3", b"BMA3", b"BMAP", b"XARM", b"XSLM"];
    let hashed = [[0x3B, 0xEE], [0x3E, 0xBE]];
    starts.iter().any(|start| sector.starts_with(start)) || hashed.iter().any(|magic| sector[8..10] == *magic)
}

fn base(mkfs: &[&str], is_stopped: bool) -> Base {
    require_root();
    let workshop = Workshop::new();
    let image = workshop.format("disk.img", 40, &[&MKFS_SMALL, mkfs].concat());
    let mounted = workshop.mount(&image, "rw");
    fill(&mounted.dir);
    if is_stopped {
        run("xfs_io", &["-x", "-c", "shutdown -f", mounted.dir.to_str().unwrap()]);
    }
    drop(mounted);
    let mut bytes = fs::read(&image).unwrap();
    let mut metadata = Vec::new();
    let mut log = Vec::new();
    for start in (0..bytes.len()).step_by(SECTOR_BYTES) {
        let sector = &mut bytes[start..start + SECTOR_BYTES];
        if sector.starts_with(&[0xFE, 0xED, 0xBA, 0xBE]) {
            // Without a checksum, so that changes get past it.
            sector[32..36].fill(0);
            let sectors = u32::from_be_bytes(sector[12..16].try_into().unwrap()) as usize / SECTOR_BYTES;
            log.extend((0..=sectors).map(|index| start + index * SECTOR_BYTES));
        } else if is_metadata(sector) {
            // What follows in the same block belongs to it.
            metadata.extend([start, start, start + SECTOR_BYTES]);
        }
    }
    metadata.retain(|start| start + SECTOR_BYTES <= bytes.len());
    assert!(!metadata.is_empty() && !log.is_empty());
    Base { bytes, metadata, log }
}

static BASES: LazyLock<[Base; 2]> = LazyLock::new(|| {
    [
        base(&["-b", "size=1024", "-d", "agcount=2"], false),
        base(&["-n", "size=8192", "-d", "agcount=1", "-l", "size=10m", "-m", "reflink=0"], true),
    ]
});

fn open_and_read(base: &'static Base, sectors: &[usize], changes: Vec<(prop::sample::Index, usize, u8)>) {
    let place = |(index, at, value): (prop::sample::Index, usize, u8)| ((index.get(sectors) + at) as u64, value);
    let mut changes: BTreeMap<u64, u8> = changes.into_iter().map(place).collect();
    // Keeps the magic number, without which nothing is read at all.
    changes.retain(|at, _| *at >= 4);
    if let Ok(fs) = files::open(Arc::new(Changed { base: &base.bytes, changes })) {
        read_everything(&*fs);
    }
}

/// Which sector, which byte of it and to what; few values are as mean as the extremes. Headers are the meanest place.
fn changes(most: usize) -> impl Strategy<Value = Vec<(prop::sample::Index, usize, u8)>> {
    let value = proptest::prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7F), Just(0xFF)];
    let at = proptest::prop_oneof![0..SECTOR_BYTES, 0..200_usize, 0..64_usize];
    prop::collection::vec((any::<prop::sample::Index>(), at, value), 1..most)
}

proptest::proptest! {
    #![proptest_config(Config { cases: 150, failure_persistence: None, ..Config::default() })]

    #[test]
    fn changed_metadata_of_xfs_gives_errors_and_no_panic(which in 0..2_usize, changes in changes(300)) {
        open_and_read(&BASES[which], &BASES[which].metadata, changes);
    }

    #[test]
    fn a_changed_superblock_of_xfs_gives_errors_and_no_panic(which in 0..2_usize, changes in changes(4)) {
        open_and_read(&BASES[which], &[0], changes);
    }

    #[test]
    fn a_changed_log_of_xfs_gives_errors_and_no_panic(changes in changes(40)) {
        open_and_read(&BASES[1], &BASES[1].log, changes);
    }
}

#[test]
fn the_images_are_read_whole_when_nothing_is_changed() {
    for base in BASES.iter() {
        let fs = files::open(Arc::new(Changed { base: &base.bytes, changes: BTreeMap::new() })).unwrap();
        for entry in crate::facts::of_file_system(&*fs).keys() {
            assert!(entry.is_empty() || entry[0] == b'/');
        }
    }
}
