//! Fills a mounted directory with everything a file system can hold.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::images::run;

/// What the file system can take, besides what all can.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Files in the large directory.
    pub many: u32,
    /// Length of the longest extended attribute.
    pub attribute_bytes: usize,
}

pub fn fill(dir: &Path, extent: Extent) {
    odd_names(&dir.join("odd"));
    sizes(&dir.join("sizes"));
    sparse(&dir.join("sparse"));
    special(&dir.join("special"));
    attributes(&dir.join("attributes"), extent.attribute_bytes);
    links(&dir.join("links"));
    let many = dir.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..extent.many {
        File::create(many.join(format!("a file with a rather long name, number {number}"))).unwrap();
    }
    // Leaves gaps of deleted entries behind.
    for number in (0..extent.many).step_by(7) {
        fs::remove_file(many.join(format!("a file with a rather long name, number {number}"))).unwrap();
    }
    let mut deep = dir.join("deep");
    for level in 0..60 {
        deep = deep.join(format!("level {level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "found").unwrap();
}

/// Bytes that repeat nowhere within a file.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn odd_names(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let long = "n".repeat(255);
    let names: [&[u8]; 9] =
        [b" ", b"a\nb", b"\xff\xfe", b"-rf", b"...", "été \u{202e}".as_bytes(), b"*?[]\\'\"", b"\x01", long.as_bytes()];
    for (index, name) in names.iter().enumerate() {
        fs::write(dir.join(OsStr::from_bytes(name)), format!("odd name {index}")).unwrap();
    }
}

pub fn sizes(dir: &Path) {
    fs::create_dir(dir).unwrap();
    for size in [0, 1, 59, 60, 61, 100, 150, 511, 1023, 1024, 1025, 4095, 4096, 4097, 12 << 10, 300_001, 2 << 20] {
        fs::write(dir.join(size.to_string()), pattern(size, size as u64)).unwrap();
    }
}

pub fn sparse(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let write_at = |name: &str, size: u64, pieces: &mut dyn Iterator<Item = u64>| {
        let file = File::create(dir.join(name)).unwrap();
        file.set_len(size).unwrap();
        for at in pieces {
            file.write_all_at(&pattern(5000, at), at).unwrap();
        }
    };
    write_at("only a hole", 50 << 20, &mut std::iter::empty());
    write_at("two ends", 200 << 20, &mut [0, (200 << 20) - 5000].into_iter());
    write_at("a comb", 40 << 20, &mut (0..400).map(|tooth| tooth * 98_304));
    let file = File::create(dir.join("unwritten")).unwrap();
    let mode = nix::fcntl::FallocateFlags::empty();
    match nix::fcntl::fallocate(&file, mode, 0, 1 << 20) {
        Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => file.write_all_at(b"written", 300_000).unwrap(),
        Err(errno) => panic!("fallocate: {errno}"),
    }
}

pub fn special(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let make = |name: &str, kind, major, minor| {
        mknod(&dir.join(name), kind, Mode::from_bits_truncate(0o640), makedev(major, minor)).unwrap();
    };
    make("null", SFlag::S_IFCHR, 1, 3);
    make("block with large numbers", SFlag::S_IFBLK, 259, 70_000);
    make("pipe", SFlag::S_IFIFO, 0, 0);
    make("socket", SFlag::S_IFSOCK, 0, 0);
}

fn attributes(dir: &Path, longest: usize) {
    fs::create_dir(dir).unwrap();
    let path = |name: &str| {
        let path = dir.join(name);
        fs::write(&path, name).unwrap();
        path
    };
    let short = path("short");
    xattr::set(&short, "user.short", b"value").unwrap();
    xattr::set(&short, "user.empty", b"").unwrap();
    let long = path("long");
    for number in 0..3 {
        xattr::set(&long, format!("user.number {number}"), &pattern(longest, number)).unwrap();
    }
    xattr::set(path("trusted"), "trusted.overlay.opaque", b"y").unwrap();
    let acl = path("acl");
    run("setfacl", &["-m", "u:1234:rwx,g:99:r--,m::rw-", acl.to_str().unwrap()]);
    let inherited = dir.join("directory with a default acl");
    fs::create_dir(&inherited).unwrap();
    run("setfacl", &["-d", "-m", "u:1234:rwx", inherited.to_str().unwrap()]);
    fs::write(inherited.join("heir"), "").unwrap();
    let owned = path("owned");
    std::os::unix::fs::chown(&owned, Some(100_000), Some(200_000)).unwrap();
    fs::set_permissions(&owned, fs::Permissions::from_mode(0o6755)).unwrap();
    let old = File::open(path("old")).unwrap();
    let long_ago = std::time::UNIX_EPOCH - std::time::Duration::from_secs(86_400);
    old.set_modified(long_ago).unwrap();
}

pub fn links(dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("first"), "linked").unwrap();
    fs::hard_link(dir.join("first"), dir.join("second")).unwrap();
    fs::create_dir(dir.join("elsewhere")).unwrap();
    fs::hard_link(dir.join("first"), dir.join("elsewhere/third")).unwrap();
    symlink("first", dir.join("symbolic")).unwrap();
    for length in [59, 60, 61, 500, 1023] {
        symlink("x".repeat(length), dir.join(format!("symbolic of {length}"))).unwrap();
    }
}
