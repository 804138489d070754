//! A store in a directory: each object a file, written to `tmp/`, synced, renamed, its directory synced.

use super::Store;
use super::fs::{Fs, OsFs, Written, parent};
use crate::entropy::{Entropy, SystemEntropy, random};
use crate::error::{Error, Result};
use crate::id::hex;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Store below a directory.
pub struct DirStore<F = OsFs> {
    fs: F,
    root: PathBuf,
    entropy: Arc<dyn Entropy>,
    /// Directories this process made or saw; spares a system call for each object.
    made: Mutex<HashSet<PathBuf>>,
}

impl DirStore<OsFs> {
    /// The store below `root`. The directory itself must exist by the first write.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self::with_fs(OsFs, root, Arc::new(SystemEntropy))
    }
}

impl<F: Fs> DirStore<F> {
    /// A store on another file system; `entropy` names temporary files.
    pub fn with_fs(fs: F, root: impl Into<PathBuf>, entropy: Arc<dyn Entropy>) -> Self {
        Self { fs, root: root.into(), entropy, made: Mutex::default() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let sound = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !key.split('/').all(sound) {
            return Err(Error::NoSuch(format!("{key:?} is not a key of the store")));
        }
        Ok(self.root.join(key))
    }

    /// Makes the directory and those above it up to the root, each durable in its parent.
    fn ensure_dir(&self, dir: &Path) -> io::Result<()> {
        if dir == self.root || self.made.lock().expect("no panic while held").contains(dir) {
            return Ok(());
        }
        let above = parent(dir);
        self.ensure_dir(&above)?;
        self.fs.make_dir(dir)?;
        self.fs.sync_dir(&above)?;
        self.made.lock().expect("no panic while held").insert(dir.to_owned());
        Ok(())
    }

    pub(super) fn fs(&self) -> &F {
        &self.fs
    }

    /// Path of a temporary file that nobody has.
    pub(super) fn new_temporary(&self) -> io::Result<PathBuf> {
        let dir = self.root.join("tmp");
        self.ensure_dir(&dir)?;
        Ok(dir.join(hex(&random::<16>(&*self.entropy))))
    }

    /// Makes a temporary file the object `key`.
    pub(super) fn adopt(&self, tmp: &Path, written: Written, key: &str) -> Result<()> {
        let path = self.path(key)?;
        self.name(tmp, written, &path).map_err(|source| Error::Store { key: key.into(), source })
    }

    /// Content first, then the name, then the directory that has it.
    fn name(&self, tmp: &Path, written: Written, path: &Path) -> io::Result<()> {
        let dir = parent(path);
        self.ensure_dir(&dir)?;
        self.fs.sync_written(tmp, written)?;
        self.fs.rename(tmp, path)?;
        self.fs.sync_dir(&dir)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let tmp = self.new_temporary()?;
        let written = self.fs.write_new(&tmp, bytes).and_then(|file| self.name(&tmp, file, path));
        if written.is_err() {
            // Worthless now, or gone already; when even its removal fails, `sweep` will have it.
            let _ = self.fs.remove(&tmp);
        }
        written
    }

    fn visit(&self, dir: &Path, key: &str, depth: usize, each: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        for entry in self.fs.read_dir(dir)? {
            if entry.name.starts_with('.') {
                // `.nfs…` of a network file system, `.lost+found` of a tool: never ours, and no object hides behind it.
                continue;
            }
            let below = format!("{key}{}", entry.name);
            if !entry.is_dir {
                each(&below, entry.size_bytes);
            } else if depth > 0 {
                self.visit(&dir.join(&entry.name), &format!("{below}/"), depth - 1, each)?;
            }
        }
        Ok(())
    }
}

pub(super) fn store_error(key: &str) -> impl Fn(io::Error) -> Error + '_ {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { key: key.into() },
        io::ErrorKind::UnexpectedEof => Error::damaged(key, "it is shorter than it must be"),
        _ => Error::Store { key: key.into(), source },
    }
}

/// Directories below a prefix are at most this deep (`data/NN/PACK`).
const DEPTH: usize = 2;

impl<F: Fs> Store for DirStore<F> {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        // A missing root is an unplugged disk, not a missing object.
        self.write(&self.path(key)?, bytes).map_err(|source| Error::Store { key: key.into(), source })
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.fs.read_at(&self.path(key)?, offset_bytes, buf).map_err(store_error(key))
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.fs.size(&self.path(key)?).map_err(store_error(key))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let dir = if prefix.is_empty() { self.root.clone() } else { self.path(prefix.trim_end_matches('/'))? };
        self.visit(&dir, prefix, DEPTH, each).map_err(store_error(prefix))
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match self.fs.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(store_error(key))?,
        }
        self.fs.sync_dir(&parent(&path)).map_err(store_error(key))
    }

    fn persist(&self, keys: &[String]) -> Result<()> {
        // Content is synced before it gets its name, so the names are what may be in the air.
        let mut dirs = BTreeSet::new();
        for key in keys {
            let path = self.path(key)?;
            dirs.extend(path.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root)).map(Path::to_path_buf));
        }
        for dir in dirs {
            match self.fs.sync_dir(&dir) {
                // Nothing is in the air on a file system that takes no writes; and what is gone needs no name.
                Err(e) if matches!(e.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound) => {}
                other => other.map_err(store_error(&dir.display().to_string()))?,
            }
        }
        Ok(())
    }

    fn sweep(&self) -> Result<u64> {
        let tmp = self.root.join("tmp");
        let mut freed_bytes = 0;
        for entry in self.fs.read_dir(&tmp).map_err(store_error("tmp"))? {
            if !entry.is_dir {
                self.fs.remove(&tmp.join(&entry.name)).map_err(store_error("tmp"))?;
                freed_bytes += entry.size_bytes;
            }
        }
        Ok(freed_bytes)
    }

    fn describe(&self) -> String {
        self.root.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, DirStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::open(dir.path());
        (dir, store)
    }

    #[test]
    fn objects_come_back_as_they_were_put() {
        let (_dir, store) = store();
        store.put("data/ab/abcd", b"hello").unwrap();
        store.put("data/cd/cdef", b"").unwrap();
        assert_eq!(store.get("data/ab/abcd").unwrap(), b"hello");
        let mut part = [0; 3];
        store.read_at("data/ab/abcd", 1, &mut part).unwrap();
        assert_eq!(&part, b"ell");
        assert_eq!(store.keys("data/").unwrap(), ["data/ab/abcd", "data/cd/cdef"]);
        assert!(store.keys("tmp/").unwrap().is_empty());
        store.delete("data/ab/abcd").unwrap();
        store.delete("data/ab/abcd").unwrap();
        assert!(!store.exists("data/ab/abcd").unwrap());
    }

    #[test]
    fn missing_and_short_objects_are_told_apart() {
        let (_dir, store) = store();
        store.put("a", b"xy").unwrap();
        let mut buf = [0; 3];
        assert!(matches!(store.read_at("a", 0, &mut buf), Err(Error::Damaged { .. })));
        assert!(matches!(store.read_at("b", 0, &mut buf), Err(Error::Missing { .. })));
        assert!(matches!(store.get("b"), Err(Error::Missing { .. })));
        assert!(store.keys("nothing/").unwrap().is_empty());
    }

    #[test]
    fn keys_never_leave_the_directory() {
        let (_dir, store) = store();
        for key in ["", "/a", "a/", "../a", "a/../b", "a//b", "A", "a.b", "a\0b"] {
            assert!(store.put(key, b"x").is_err(), "{key:?}");
            assert!(store.get(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_missing_root_is_an_error_and_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::open(dir.path().join("unplugged"));
        assert!(matches!(store.put("a", b"x"), Err(Error::Store { .. })));
        assert!(!dir.path().join("unplugged").exists());
    }
}
