//! Everything comparable about a tree of files, taken from a mounted directory or from our reader.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agent::files::{FileId, FileKind, FileSystem, walk};

/// What must be the same on both sides.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    mode: u32,
    uid: u32,
    gid: u32,
    links: u64,
    /// Size, hash of the content or link target; nothing for directories.
    content: Option<(u64, u64)>,
    modified: (i64, i64),
    device: u64,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Facts {
    /// The same, for what has no time of its own.
    pub fn without_time(self) -> Self {
        Self { modified: (0, 0), ..self }
    }
}

pub type Tree = BTreeMap<Vec<u8>, Facts>;

/// Takes the facts of everything below `dir`, by way of the kernel.
pub fn of_directory(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![(dir.to_owned(), Vec::new())];
    while let Some((path, name)) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            for child in fs::read_dir(&path).unwrap() {
                let child = child.unwrap();
                let child_name = [&name[..], b"/", child.file_name().as_bytes()].concat();
                pending.push((child.path(), child_name));
            }
        }
        tree.insert(name, of_path(&path, &metadata));
    }
    tree
}

fn of_path(path: &Path, metadata: &fs::Metadata) -> Facts {
    let content = if metadata.is_file() {
        Some((metadata.len(), hash_reader(&mut fs::File::open(path).unwrap())))
    } else if metadata.is_symlink() {
        Some((metadata.len(), hash(fs::read_link(path).unwrap().as_os_str().as_bytes())))
    } else {
        None
    };
    let attributes = xattr::list(path).unwrap().map(|name| {
        let value = xattr::get(path, &name).unwrap().unwrap();
        (OsString::into_vec(name), value)
    });
    Facts {
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: metadata.nlink(),
        content,
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        device: metadata.rdev(),
        // XFS shows its ACLs a second time under the names it keeps them by.
        attributes: attributes.filter(|(name, _)| !name.starts_with(b"trusted.SGI_ACL_")).collect(),
    }
}

/// Takes the facts of a whole file system, by way of our reader.
pub fn of_file_system(fs: &dyn FileSystem) -> Tree {
    let mut tree = Tree::new();
    walk(fs, fs.root(), |entry| {
        let shown = String::from_utf8_lossy(entry.path).into_owned();
        let metadata = entry.metadata.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let name = if entry.path.is_empty() { Vec::new() } else { [b"/", entry.path].concat() };
        let attributes = fs.extended_attributes(entry.id).unwrap_or_else(|error| panic!("{shown}: {error}"));
        tree.insert(
            name,
            Facts {
                mode: format_bits(metadata.kind) | metadata.permissions,
                uid: metadata.uid,
                gid: metadata.gid,
                links: u64::from(metadata.links),
                content: content(fs, entry.id, metadata.kind),
                modified: (metadata.modified.seconds, i64::from(metadata.modified.nanoseconds)),
                device: metadata.device.map_or(0, |d| nix::sys::stat::makedev(d.major.into(), d.minor.into())),
                attributes: attributes.into_iter().map(|a| (a.name, a.value)).collect(),
            },
        );
        Ok(())
    })
    .unwrap();
    tree
}

fn content(fs: &dyn FileSystem, id: FileId, kind: FileKind) -> Option<(u64, u64)> {
    match kind {
        FileKind::Symlink => fs.read_link(id).map(|target| Some((target.len() as u64, hash(&target)))).unwrap(),
        FileKind::Regular => {
            let file = fs.open_file(id).unwrap();
            let mut hasher = DefaultHasher::new();
            let mut at = 0;
            while at < file.size_bytes() {
                // An odd size, so that reads start and end inside blocks.
                let mut piece = vec![1; 99_991.min(file.size_bytes() - at) as usize];
                file.read_exact_at(&mut piece, at).unwrap();
                hasher.write(&piece);
                at += piece.len() as u64;
            }
            Some((file.size_bytes(), hasher.finish()))
        }
        _ => None,
    }
}

fn format_bits(kind: FileKind) -> u32 {
    match kind {
        FileKind::Fifo => 0o010_000,
        FileKind::CharDevice => 0o020_000,
        FileKind::Directory => 0o040_000,
        FileKind::BlockDevice => 0o060_000,
        FileKind::Regular => 0o100_000,
        FileKind::Symlink => 0o120_000,
        FileKind::Socket => 0o140_000,
    }
}

fn hash(bytes: &[u8]) -> u64 {
    hash_reader(&mut &bytes[..])
}

/// The hasher takes bytes as a stream: how they are cut into pieces does not matter.
fn hash_reader(reader: &mut dyn Read) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match reader.read(&mut piece).unwrap() {
            0 => return hasher.finish(),
            length => hasher.write(&piece[..length]),
        }
    }
}

/// For file systems that have no permissions: of the modes, only the kinds of the files stay.
pub fn without_permissions(mut tree: Tree) -> Tree {
    tree.values_mut().for_each(|facts| facts.mode &= 0o170_000);
    tree
}

/// Fails with the first differences instead of two whole trees.
pub fn assert_same(expected: &Tree, actual: &Tree) {
    let missing = expected.keys().filter(|name| !actual.contains_key(*name));
    let surplus = actual.keys().filter(|name| !expected.contains_key(*name));
    let names: Vec<_> = missing.chain(surplus).take(5).map(|n| String::from_utf8_lossy(n)).collect();
    assert!(names.is_empty(), "on one side only: {names:?}");
    for (name, facts) in expected {
        assert_eq!(facts, &actual[name], "of {}", String::from_utf8_lossy(name));
    }
}
