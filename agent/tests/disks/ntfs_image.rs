//! NTFS images made, mounted by ntfs-3g and changed in place.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use agent::files::{FileId, FileSystem, lookup_path};

use crate::images::{Workshop, run};

/// What every image here is mounted with: the modes our reader shows, and named streams as extended attributes.
const OPTIONS: &str = "fmask=0133,dmask=022,streams_interface=xattr,compression";
const STRIDE_BYTES: usize = 512;

/// A volume of `mebibytes`, made quickly.
pub fn format(workshop: &Workshop, name: &str, mebibytes: u64, options: &[&str]) -> PathBuf {
    let quick = ["mkntfs", "-q", "-F", "-Q", "-H", "0", "-S", "0", "-p", "0"];
    workshop.format(name, mebibytes, &[&quick, options].concat())
}

/// A volume mounted by ntfs-3g; dropping it unmounts and waits until everything is on the image.
pub struct Mounted {
    pub dir: PathBuf,
    image: PathBuf,
}

/// Mounts an image, with further options each behind a comma.
pub fn mount(workshop: &Workshop, image: &Path, options: &str) -> Mounted {
    let dir = workshop.path(&format!("{}.mounted", image.file_name().unwrap().to_str().unwrap()));
    fs::create_dir_all(&dir).unwrap();
    let options = format!("{OPTIONS}{options}");
    run("ntfs-3g", &["-o", &options, image.to_str().unwrap(), dir.to_str().unwrap()]);
    Mounted { dir, image: image.to_owned() }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a program that another test is just starting holds our open files until it runs.
        let status = std::process::Command::new("umount").arg("-l").arg(&self.dir).status();
        let is_unmounted = status.is_ok_and(|status| status.success());
        if std::thread::panicking() {
            return;
        }
        assert!(is_unmounted, "cannot unmount {}", self.dir.display());
        // The unmount returns before ntfs-3g has written the rest; it holds a lock on the image until it has.
        let image = File::options().read(true).write(true).open(&self.image).unwrap();
        let lock = nix::libc::flock {
            l_type: nix::libc::F_WRLCK as i16,
            l_whence: nix::libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        nix::fcntl::fcntl(&image, nix::fcntl::FcntlArg::F_SETLKW(&lock)).unwrap();
    }
}

/// Number of the file record behind a path.
pub fn record_number(fs: &dyn FileSystem, path: &str) -> u64 {
    let FileId(id) = lookup_path(fs, path.as_bytes()).unwrap();
    id & 0xFFFF_FFFF
}

/// Numbers out of the boot sector: bytes of a cluster, place of the file table, place of its mirror.
pub fn places(image: &[u8]) -> (usize, usize, usize) {
    let sector_bytes = usize::from(u16::from_le_bytes([image[0x0B], image[0x0C]]));
    let cluster_bytes = sector_bytes * usize::from(image[0x0D]);
    let number = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap()) as usize;
    (cluster_bytes, number(0x30) * cluster_bytes, number(0x38) * cluster_bytes)
}

/// Where a record of a table that lies in one piece is.
pub fn record_at(image: &[u8], number: u64) -> usize {
    let at = places(image).1 + 1024 * number as usize;
    assert_eq!(&image[at..at + 4], b"FILE", "record {number} is not where it was looked for");
    at
}

/// Lets `change` have a record without its update sequence, and puts that back afterwards.
pub fn change_record(image: &mut [u8], number: u64, change: impl FnOnce(&mut [u8])) {
    let at = record_at(image, number);
    change_protected(&mut image[at..at + 1024], change);
}

/// The same for any protected block.
pub fn change_protected(block: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let array = usize::from(u16::from_le_bytes([block[4], block[5]]));
    let tails: Vec<usize> = (1..=block.len() / STRIDE_BYTES).map(|stride| stride * STRIDE_BYTES - 2).collect();
    for (index, tail) in tails.iter().enumerate() {
        let displaced = array + 2 + 2 * index;
        block.copy_within(displaced..displaced + 2, *tail);
    }
    change(block);
    for (index, tail) in tails.iter().enumerate() {
        let displaced = array + 2 + 2 * index;
        block.copy_within(*tail..*tail + 2, displaced);
        block.copy_within(array..array + 2, *tail);
    }
}

/// Where in an unprotected record the first attribute of a kind begins.
pub fn attribute_at(record: &[u8], kind: u8) -> usize {
    let mut at = usize::from(u16::from_le_bytes([record[0x14], record[0x15]]));
    while record[at] != kind {
        assert_ne!(record[at], 0xFF, "the record has no attribute {kind:#x}");
        at += usize::from(u16::from_le_bytes([record[at + 4], record[at + 5]]));
    }
    at
}

/// Sets one of ntfs-3g's own attributes, by which it lets raw structures be written.
pub fn set_raw(path: &Path, name: &str, value: &[u8]) {
    xattr::set(path, format!("system.ntfs_{name}"), value)
        .unwrap_or_else(|error| panic!("system.ntfs_{name} of {}: {error}", path.display()));
}

/// Writes a file with holes: `pieces` at their places.
pub fn write_pieces(path: &Path, size: u64, pieces: impl Iterator<Item = (u64, Vec<u8>)>) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (at, piece) in pieces {
        file.write_all_at(&piece, at).unwrap();
    }
}
