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
    let mut entered = HashSet::new();
    let mut pending = vec![(Vec::new(), start, 0_usize)];
    while let Some((path, id, depth)) = pending.pop() {
        let metadata = fs.metadata(id);
        let is_directory = matches!(&metadata, Ok(found) if found.kind == FileKind::Directory);
        visit(WalkEntry { path: &path, metadata, id })?;
        if !is_directory {
            continue;
        }
        match enter(fs, id, depth, &path, &mut entered) {
            Ok(children) => {
                let joined = |name: &[u8]| if path.is_empty() { name.to_vec() } else { [&path, name].join(&b'/') };
                pending.extend(children.into_iter().rev().map(|child| (joined(&child.name), child.id, depth + 1)));
            }
            Err(error) => visit(WalkEntry { path: &path, metadata: Err(error), id })?,
        }
    }
    Ok(())
}

fn enter(
    fs: &dyn FileSystem,
    id: FileId,
    depth: usize,
    path: &[u8],
    entered: &mut HashSet<FileId>,
) -> Result<Vec<super::DirEntry>> {
    if depth >= MAX_DEPTH {
        return Err(FilesError::Limit { what: "depth of directories", limit: MAX_DEPTH as u64 });
    }
    if !entered.insert(id) {
        return Err(FilesError::corrupt(format!("directory {} appears in two places", escape_name(path))));
    }
    fs.read_dir(id)
}
