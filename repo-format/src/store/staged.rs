//! An object that arrives piece by piece: a temporary file until somebody has looked at all of it and gives it its name.

use super::dir::{DirStore, store_error};
use super::fs::{Fs, OsFs, Written};
use crate::error::{Error, Result};
use crate::gate::StagedBytes;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What was received so far. It is no object, and is removed unless it is committed.
pub struct Staged<F: Fs = OsFs> {
    store: Arc<DirStore<F>>,
    path: PathBuf,
    written: Written,
    size_bytes: u64,
    hasher: blake3::Hasher,
    is_object: bool,
}

impl<F: Fs> Staged<F> {
    /// Begins to receive.
    pub fn begin(store: &Arc<DirStore<F>>) -> Result<Self> {
        let path = store.new_temporary().map_err(failed)?;
        let written = store.fs().write_new(&path, &[]).map_err(failed)?;
        Ok(Self { store: store.clone(), path, written, size_bytes: 0, hasher: blake3::Hasher::new(), is_object: false })
    }

    /// Adds the next piece. It is hashed on its way: reading it once more for that would cost a read of the disk.
    pub fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.store.fs().append(&self.path, piece).map_err(failed)?;
        self.hasher.update(piece);
        self.size_bytes += piece.len() as u64;
        Ok(())
    }

    /// Makes it the object `key`; durable when this returns.
    pub fn commit(mut self, key: &str) -> Result<()> {
        self.store.adopt(&self.path, std::mem::take(&mut self.written), key)?;
        self.is_object = true;
        Ok(())
    }
}

impl<F: Fs> StagedBytes for Staged<F> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.store.fs().read_at(&self.path, offset_bytes, buf).map_err(store_error("what was received"))
    }

    fn hash(&self) -> [u8; 32] {
        self.hasher.finalize().into()
    }
}

impl<F: Fs> Drop for Staged<F> {
    fn drop(&mut self) {
        if !self.is_object {
            // When even this fails, `sweep` will have it.
            let _ = self.store.fs().remove(&self.path);
        }
    }
}

/// A temporary file is no object: when it is gone, that is the store's failure.
fn failed(source: io::Error) -> Error {
    Error::Store { key: "tmp/".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn store() -> (tempfile::TempDir, Arc<DirStore>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(DirStore::open(dir.path()));
        (dir, store)
    }

    #[test]
    fn pieces_become_an_object_when_they_are_committed_and_not_before() {
        let (_dir, store) = store();
        let mut staged = Staged::begin(&store).unwrap();
        staged.push(b"hello ").unwrap();
        staged.push(b"world").unwrap();
        let mut part = [0; 5];
        StagedBytes::read_at(&staged, 6, &mut part).unwrap();
        assert_eq!((&part, staged.size_bytes()), (b"world", 11));
        assert!(store.keys("data/").unwrap().is_empty());
        staged.commit("data/ab/abcd").unwrap();
        assert_eq!(store.get("data/ab/abcd").unwrap(), b"hello world");
        assert_eq!(store.sweep().unwrap(), 0);
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let (dir, store) = store();
        let mut staged = Staged::begin(&store).unwrap();
        staged.push(b"half").unwrap();
        drop(staged);
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        let staged = Staged::begin(&store).unwrap();
        assert!(staged.commit("../x").is_err());
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}
