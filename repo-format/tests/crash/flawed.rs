//! The tests above can fail: stores that break one rule each are caught.

use super::{Expected, durable_at, judge, replay};
use crate::support::{Bench, ROOT, disk, open_store};
use repo_format::Result;
use repo_format::store::Store;
use repo_format::store::dir::DirStore;
use repo_format::store::fs::{DirEntry, Fs, Written};
use repo_format::store::sim::SimFs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A rule of the directory store that is broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    NoFileSync,
    NoDirSync,
    DirSyncBeforeRename,
}

struct FlawedFs {
    fs: SimFs,
    flaw: Flaw,
}

impl Fs for FlawedFs {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<Written> {
        self.fs.write_new(path, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        if self.flaw == Flaw::NoFileSync { Ok(()) } else { self.fs.sync_file(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.flaw == Flaw::DirSyncBeforeRename {
            self.fs.sync_dir(to.parent().unwrap())?;
        }
        self.fs.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let is_of_objects = path != Path::new(ROOT);
        match self.flaw {
            Flaw::NoDirSync => Ok(()),
            Flaw::DirSyncBeforeRename if is_of_objects => Ok(()),
            _ => self.fs.sync_dir(path),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.make_dir(path)
    }

    fn read_at(&self, path: &Path, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.fs.read_at(path, offset_bytes, buf)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.fs.size(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.fs.read_dir(path)
    }
}

/// Writes packs only after a manifest that needs them.
struct ManifestFirst {
    inner: Arc<dyn Store>,
    held_back: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Store for ManifestFirst {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        if key.starts_with("data/") {
            self.held_back.lock().unwrap().push((key.into(), bytes.to_vec()));
            return Ok(());
        }
        self.inner.put(key, bytes)?;
        if key.starts_with("manifests/") {
            for (key, bytes) in self.held_back.lock().unwrap().drain(..) {
                self.inner.put(&key, &bytes)?;
            }
        }
        Ok(())
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.read_at(key, offset_bytes, buf)
    }

    /// Says that a pack is there which is not: a commit looks for the packs it needs, and this store lies to it.
    fn size(&self, key: &str) -> Result<Option<u64>> {
        let held_back = self.held_back.lock().unwrap();
        match held_back.iter().find(|(held, _)| held == key) {
            Some((_, bytes)) => Ok(Some(bytes.len() as u64)),
            None => self.inner.size(key),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        self.inner.list(prefix, each)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key)
    }

    fn persist(&self, keys: &[String]) -> Result<()> {
        self.inner.persist(keys)
    }

    fn describe(&self) -> String {
        "manifests first".into()
    }
}

/// Replays a full backup that went through the store that `flawed` makes.
fn verdict(flawed: impl Fn(&SimFs, &Bench) -> Arc<dyn Store>) -> std::result::Result<super::Cuts, String> {
    let bench = Bench::new();
    let old = disk(9, 4);
    let mut expected = Expected::default();
    expected.add(bench.backup("vm", &old, None).unwrap(), &old, 0);
    let start = bench.fs.fork();
    let fs = start.fork();
    let live = bench.through(&fs, flawed(&fs, &bench), bench.passphrase()).unwrap();
    let image = disk(1, 8);
    let at = live.backup("vm", &image, None).unwrap();
    let from = std::panic::catch_unwind(|| durable_at(&fs, &at)).unwrap_or(fs.journal_len());
    expected.add(at, &image, from);
    replay((&fs, &start), &|after, operations| judge(&bench, after, operations, &expected))
}

fn with_flaw(flaw: Flaw) -> std::result::Result<super::Cuts, String> {
    verdict(|fs, bench| Arc::new(DirStore::with_fs(FlawedFs { fs: fs.clone(), flaw }, ROOT, bench.names())))
}

#[test]
fn a_store_without_flaws_passes() {
    verdict(|fs, bench| open_store(fs, &bench.names())).unwrap();
}

#[test]
fn a_store_that_does_not_sync_files_is_caught() {
    assert!(with_flaw(Flaw::NoFileSync).is_err());
}

#[test]
fn a_store_that_does_not_sync_directories_is_caught() {
    assert!(with_flaw(Flaw::NoDirSync).is_err());
}

#[test]
fn a_store_that_syncs_directories_before_the_rename_is_caught() {
    assert!(with_flaw(Flaw::DirSyncBeforeRename).is_err());
}

#[test]
fn a_session_that_commits_before_its_packs_are_stored_is_caught() {
    let caught = verdict(|fs, bench| {
        Arc::new(ManifestFirst { inner: open_store(fs, &bench.names()), held_back: Mutex::default() })
    });
    assert!(caught.is_err());
}
