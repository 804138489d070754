//! A file system in memory that keeps a journal, can fail at any operation and can be cut off at any point. For tests.
//!
//! The model is what POSIX promises and no more: content is durable after `sync_file`, names after `sync_dir`; what was not
//! synced may be there wholly, partly, or not, each thing for itself.

use super::fs::{DirEntry, Fs, Written, parent};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// One journaled operation.
#[derive(Clone, Debug)]
enum Op {
    Write(PathBuf, Arc<[u8]>),
    SyncFile(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncDir(PathBuf),
    Remove(PathBuf),
    MakeDir(PathBuf),
}

impl Op {
    fn words(&self) -> String {
        match self {
            Self::Write(path, bytes) => format!("write {} ({} bytes)", path.display(), bytes.len()),
            Self::SyncFile(path) => format!("sync {}", path.display()),
            Self::Rename(from, to) => format!("rename {} {}", from.display(), to.display()),
            Self::SyncDir(path) => format!("sync-dir {}", path.display()),
            Self::Remove(path) => format!("remove {}", path.display()),
            Self::MakeDir(path) => format!("make-dir {}", path.display()),
        }
    }
}

/// What a cut does to what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// All of it is lost.
    Dropped,
    /// All of it survived.
    Kept,
    /// Each name and each content for itself, by this seed: lost, torn, zeroed or whole; so later writes may outlive earlier ones.
    Torn(u64),
}

/// Which operations fail, and how.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// From this operation on (counted from the start of the journal) every changing operation fails.
    pub fail_from: Option<usize>,
    /// This changing operation alone fails.
    pub fail_at: Option<usize>,
    /// Errno of the failures.
    pub errno: i32,
    /// Every changing operation fails.
    pub read_only: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Arc<[u8]>>,
    dirs: BTreeSet<PathBuf>,
    journal: Vec<Op>,
    attempts: usize,
    faults: Faults,
}

/// The file system; clones share it.
#[derive(Clone, Default)]
pub struct SimFs(Arc<Mutex<State>>);

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    fn change(&mut self, op: Op) -> io::Result<()> {
        let attempt = self.attempts;
        self.attempts += 1;
        let faults = self.faults;
        if faults.read_only || faults.fail_at == Some(attempt) || faults.fail_from.is_some_and(|from| attempt >= from) {
            return Err(io::Error::from_raw_os_error(if faults.errno == 0 { 5 } else { faults.errno }));
        }
        apply(&mut self.files, &mut self.dirs, &op)?;
        self.journal.push(op);
        Ok(())
    }
}

fn apply(files: &mut BTreeMap<PathBuf, Arc<[u8]>>, dirs: &mut BTreeSet<PathBuf>, op: &Op) -> io::Result<()> {
    match op {
        Op::Write(path, bytes) => {
            if !dirs.contains(&parent(path)) {
                return Err(not_found());
            }
            if files.insert(path.clone(), bytes.clone()).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        Op::SyncFile(path) => {
            files.get(path).ok_or_else(not_found)?;
        }
        Op::Rename(from, to) => {
            let bytes = files.remove(from).ok_or_else(not_found)?;
            files.insert(to.clone(), bytes);
        }
        Op::SyncDir(dir) => {
            dirs.get(dir).ok_or_else(not_found)?;
        }
        Op::Remove(path) => {
            files.remove(path).ok_or_else(not_found)?;
        }
        Op::MakeDir(dir) => {
            if !dirs.contains(&parent(dir)) {
                return Err(not_found());
            }
            dirs.insert(dir.clone());
        }
    }
    Ok(())
}

impl SimFs {
    /// An empty file system with one directory, the root of a store.
    pub fn new(root: &Path) -> Self {
        let fs = Self::default();
        fs.lock().dirs.insert(root.to_owned());
        fs
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }

    /// What the operations so far did, in words: kind and path.
    pub fn journal(&self) -> Vec<String> {
        self.lock().journal.iter().map(Op::words).collect()
    }

    /// Operations so far that changed something.
    pub fn journal_len(&self) -> usize {
        self.lock().journal.len()
    }

    /// Changing operations so far, failed ones counted; what `Faults` counts by.
    pub fn attempts(&self) -> usize {
        self.lock().attempts
    }

    /// Sets which operations fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Changes one file's bytes behind everybody's back, as a failing disk does. Panics when there is no such file.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let mut bytes = state.files[path].to_vec();
        change(&mut bytes);
        state.files.insert(path.to_owned(), bytes.into());
    }

    /// All files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().files.keys().cloned().collect()
    }

    /// A copy that shares nothing with this one and begins an empty journal.
    pub fn fork(&self) -> Self {
        let state = self.lock();
        Self(Arc::new(Mutex::new(State { files: state.files.clone(), dirs: state.dirs.clone(), ..State::default() })))
    }

    /// The file system after a cut behind the first `operations` of the journal, which began at `start` (a fork of the state then).
    pub fn crash(&self, start: &Self, operations: usize, cut: Cut) -> Self {
        let journal = self.lock().journal[..operations].to_vec();
        let start = start.lock();
        let mut replay = Replay::new(&start.files, &start.dirs, cut);
        journal.iter().for_each(|op| replay.step(op));
        replay.finish()
    }
}

/// Content and whether it was synced.
#[derive(Clone)]
struct Inode {
    bytes: Arc<[u8]>,
    synced: bool,
}

/// Follows a journal and tracks what is durable.
struct Replay {
    inodes: Vec<Inode>,
    visible: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<(PathBuf, Option<usize>)>,
    dirs: BTreeSet<PathBuf>,
    /// Directories whose own names are not durable yet.
    pending_dirs: Vec<PathBuf>,
    cut: Cut,
    rng: u64,
}

impl Replay {
    fn new(files: &BTreeMap<PathBuf, Arc<[u8]>>, dirs: &BTreeSet<PathBuf>, cut: Cut) -> Self {
        let inodes = files.values().map(|bytes| Inode { bytes: bytes.clone(), synced: true }).collect();
        let names: BTreeMap<_, _> = files.keys().cloned().zip(0..).collect();
        let rng = if let Cut::Torn(seed) = cut { seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 } else { 1 };
        let dirs = dirs.clone();
        let (pending, pending_dirs) = (Vec::new(), Vec::new());
        Self { inodes, visible: names.clone(), durable: names, pending, dirs, pending_dirs, cut, rng }
    }

    fn link(&mut self, path: &Path, inode: Option<usize>) {
        match inode {
            Some(inode) => self.visible.insert(path.to_owned(), inode),
            None => self.visible.remove(path),
        };
        self.pending.push((path.to_owned(), inode));
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Write(path, bytes) => {
                self.inodes.push(Inode { bytes: bytes.clone(), synced: false });
                self.link(path, Some(self.inodes.len() - 1));
            }
            Op::SyncFile(path) => {
                let inode = self.visible[path];
                self.inodes[inode].synced = true;
            }
            Op::Rename(from, to) => {
                let inode = self.visible[from];
                self.link(to, Some(inode));
                self.link(from, None);
            }
            Op::Remove(path) => self.link(path, None),
            Op::SyncDir(dir) => {
                let (now, later) =
                    std::mem::take(&mut self.pending).into_iter().partition(|(path, _)| parent(path) == *dir);
                self.pending = later;
                self.commit(now);
                let made = std::mem::take(&mut self.pending_dirs);
                let (now, later): (Vec<_>, _) = made.into_iter().partition(|made| parent(made) == *dir);
                self.pending_dirs = later;
                self.dirs.extend(now);
            }
            Op::MakeDir(dir) => self.pending_dirs.push(dir.clone()),
        }
    }

    fn commit(&mut self, links: Vec<(PathBuf, Option<usize>)>) {
        for (path, inode) in links {
            match inode {
                Some(inode) => self.durable.insert(path, inode),
                None => self.durable.remove(&path),
            };
        }
    }

    /// Whatever lies in a directory that is lost is lost with it.
    fn drop_unreachable(&mut self) {
        // The root of the store is the first in order and always there.
        let Some(root) = self.dirs.first().cloned() else { return };
        let all = self.dirs.clone();
        let reachable = |path: &Path| {
            path.starts_with(&root)
                && path.ancestors().skip(1).take_while(|dir| dir.starts_with(&root)).all(|dir| all.contains(dir))
        };
        self.dirs.retain(|dir| reachable(dir));
        self.durable.retain(|path, _| reachable(path));
    }

    /// xorshift64*: enough to choose what is lost.
    fn draw(&mut self, below: u64) -> u64 {
        self.rng ^= self.rng >> 12;
        self.rng ^= self.rng << 25;
        self.rng ^= self.rng >> 27;
        (self.rng.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    fn torn(&mut self, bytes: &[u8]) -> Vec<u8> {
        let kept = usize::try_from(self.draw(bytes.len() as u64 + 1)).expect("at most a length");
        match self.draw(4) {
            0 => Vec::new(),
            1 => bytes[..kept].to_vec(),
            2 => [&bytes[..kept], &vec![0; bytes.len() - kept]].concat(),
            _ => bytes.to_vec(),
        }
    }

    fn finish(mut self) -> SimFs {
        let pending = std::mem::take(&mut self.pending);
        let pending_dirs = std::mem::take(&mut self.pending_dirs);
        match self.cut {
            Cut::Dropped => {}
            Cut::Kept => {
                self.commit(pending);
                self.dirs.extend(pending_dirs);
            }
            Cut::Torn(_) => {
                let kept = pending.into_iter().filter(|_| self.draw(2) == 0).collect();
                self.commit(kept);
                let kept: Vec<_> = pending_dirs.into_iter().filter(|_| self.draw(2) == 0).collect();
                self.dirs.extend(kept);
            }
        }
        self.drop_unreachable();
        let mut files = BTreeMap::new();
        for (path, inode) in std::mem::take(&mut self.durable) {
            let Inode { bytes, synced } = self.inodes[inode].clone();
            let bytes = match self.cut {
                _ if synced => bytes,
                Cut::Kept => bytes,
                Cut::Dropped => Arc::from([]),
                Cut::Torn(_) => self.torn(&bytes).into(),
            };
            files.insert(path, bytes);
        }
        SimFs(Arc::new(Mutex::new(State { files, dirs: self.dirs, ..State::default() })))
    }
}

impl Fs for SimFs {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<Written> {
        self.lock().change(Op::Write(path.to_owned(), bytes.into()))?;
        Ok(Written::default())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.lock().change(Op::SyncFile(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().change(Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.lock().change(Op::SyncDir(path.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.lock().files.contains_key(path) {
            return Err(not_found());
        }
        self.lock().change(Op::Remove(path.to_owned()))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        if self.lock().dirs.contains(path) {
            return Ok(());
        }
        self.lock().change(Op::MakeDir(path.to_owned()))
    }

    fn read_at(&self, path: &Path, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = self.lock().files.get(path).ok_or_else(not_found)?.clone();
        let start = usize::try_from(offset_bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        Ok(self.lock().files.get(path).map(|bytes| bytes.len() as u64))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.lock();
        let name = |p: &Path| (p.parent() == Some(path)).then(|| p.file_name()?.to_str().map(str::to_owned)).flatten();
        let dirs = state.dirs.iter().filter_map(|p| Some(DirEntry { name: name(p)?, is_dir: true, size_bytes: 0 }));
        let files = state
            .files
            .iter()
            .filter_map(|(p, bytes)| Some(DirEntry { name: name(p)?, is_dir: false, size_bytes: bytes.len() as u64 }));
        Ok(dirs.chain(files).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Store, dir::DirStore};
    use super::*;
    use crate::entropy::SeededEntropy;

    fn put_one() -> (SimFs, SimFs) {
        let fs = SimFs::new(Path::new("/r"));
        let start = fs.fork();
        let store = DirStore::with_fs(fs.clone(), "/r", Arc::new(SeededEntropy::new(1)));
        store.put("data/ab/x", b"content").unwrap();
        (fs, start)
    }

    #[test]
    fn a_put_that_returned_survives_every_cut() {
        let (fs, start) = put_one();
        for cut in (0..200).map(Cut::Torn).chain([Cut::Dropped, Cut::Kept]) {
            let after = fs.crash(&start, fs.journal_len(), cut);
            assert_eq!(after.size(Path::new("/r/data/ab/x")).unwrap(), Some(7), "{cut:?}");
        }
    }

    #[test]
    fn an_object_is_never_seen_half_written() {
        let (fs, start) = put_one();
        for at in 0..fs.journal_len() {
            for cut in (0..200).map(Cut::Torn).chain([Cut::Dropped, Cut::Kept]) {
                let after = fs.crash(&start, at, cut);
                let size = after.size(Path::new("/r/data/ab/x")).unwrap();
                assert!(size.is_none() || size == Some(7), "{at} {cut:?}");
            }
        }
    }

    #[test]
    fn a_file_is_lost_with_the_directory_that_was_not_made_durable() {
        let fs = SimFs::new(Path::new("/r"));
        let start = fs.fork();
        let (dir, file) = (Path::new("/r/d"), Path::new("/r/d/x"));
        fs.make_dir(dir).unwrap();
        fs.write_new(file, b"content").unwrap();
        fs.sync_file(file).unwrap();
        fs.sync_dir(dir).unwrap();
        assert_eq!(fs.crash(&start, 4, Cut::Dropped).size(file).unwrap(), None);
        fs.sync_dir(Path::new("/r")).unwrap();
        assert_eq!(fs.crash(&start, 5, Cut::Dropped).size(file).unwrap(), Some(7));
    }

    #[test]
    fn without_the_syncs_the_model_does_tear() {
        let fs = SimFs::new(Path::new("/r"));
        let start = fs.fork();
        fs.write_new(Path::new("/r/t"), b"content").unwrap();
        fs.rename(Path::new("/r/t"), Path::new("/r/x")).unwrap();
        let sizes: BTreeSet<_> =
            (0..200).map(|seed| fs.crash(&start, 2, Cut::Torn(seed)).size(Path::new("/r/x")).unwrap()).collect();
        assert!(sizes.contains(&None) && sizes.contains(&Some(0)) && sizes.contains(&Some(7)) && sizes.len() > 4);
    }
}
