//! Visits a directory tree in bounded memory for any shape of it, hostile ones included.

use std::collections::HashSet;

use super::{FileId, FileKind, FileSystem, FilesError, Metadata, Result, escape_name};

/// Deeper directories than this are reported as an error: no path to them could be used anyway.
pub const MAX_DEPTH: usize = 2048;

/// One visited file.
pub struct WalkEntry<'a> {
    /// Path relative to the start; empty for the start itself.
    pub path: &'a [u8],
    /// Its facts, or why they cannot be read; a directory that cannot be listed is reported a second time with the error.
    pub metadata: Result<Metadata>,
    /// The file.
    pub id: FileId,
}

/// Calls `visit` for `start` and everything below it, parents before children.
///
/// Damage is handed to `visit` and the walk goes on; an error from `visit` ends it. A directory is entered once only,
/// so that loops end.
pub fn walk(fs: &dyn FileSystem, start: FileId, mut visit: impl FnMut(WalkEntry<'_>) -> Result<()>) -> Result<()> {
    let mut walk = Walk::new(start);
    while let Some(seen) = walk.step(fs) {
        visit(WalkEntry { path: &seen.path, metadata: seen.metadata, id: seen.id })?;
    }
    Ok(())
}

/// A visited file, on its own.
pub struct Visit {
    /// As [`WalkEntry::path`].
    pub path: Vec<u8>,
    /// As [`WalkEntry::metadata`].
    pub metadata: Result<Metadata>,
    /// The file.
    pub id: FileId,
}

/// A walk that is taken step by step: parents before children, the names of a directory in the order of their bytes.
pub struct Walk {
    pending: Vec<(Vec<u8>, FileId, usize)>,
    entered: HashSet<FileId>,
    /// A directory that was visited and could not be listed.
    damaged: Option<Visit>,
}

impl Walk {
    /// Begins at `start`, which is visited first.
    pub fn new(start: FileId) -> Self {
        Self { pending: vec![(Vec::new(), start, 0)], entered: HashSet::new(), damaged: None }
    }

    /// The next file, if there is one.
    pub fn step(&mut self, fs: &dyn FileSystem) -> Option<Visit> {
        if let Some(damaged) = self.damaged.take() {
            return Some(damaged);
        }
        let (path, id, depth) = self.pending.pop()?;
        let metadata = fs.metadata(id);
        if matches!(&metadata, Ok(found) if found.kind == FileKind::Directory) {
            match self.enter(fs, id, depth, &path) {
                Ok(mut children) => {
                    children.sort_by(|a, b| b.name.cmp(&a.name));
                    let joined = |name: &[u8]| if path.is_empty() { name.to_vec() } else { [&path, name].join(&b'/') };
                    self.pending.extend(children.into_iter().map(|child| (joined(&child.name), child.id, depth + 1)));
                }
                Err(error) => self.damaged = Some(Visit { path: path.clone(), metadata: Err(error), id }),
            }
        }
        Some(Visit { path, metadata, id })
    }

    fn enter(&mut self, fs: &dyn FileSystem, id: FileId, depth: usize, path: &[u8]) -> Result<Vec<super::DirEntry>> {
        if depth >= MAX_DEPTH {
            return Err(FilesError::Limit { what: "depth of directories", limit: MAX_DEPTH as u64 });
        }
        if !self.entered.insert(id) {
            return Err(FilesError::corrupt(format!("directory {} appears in two places", escape_name(path))));
        }
        fs.read_dir(id)
    }
}
