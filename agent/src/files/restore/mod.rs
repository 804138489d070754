//! Restores files and directories into a directory, with everything the file system knew about them.
//!
//! Full paths are kept below the target, as tar does. Neither the recovery point nor the target is trusted: names are
//! checked, every step in the target starts from an open directory and follows no symbolic link, and existing files
//! are kept unless [`RestoreOptions::overwrite`] is set. What cannot be restored is collected in the
//! [`RestoreOutcome`] and the rest goes on; only a target that takes no more data ends the restore.

mod content;
mod directories;
mod durable;
mod file;
mod metadata;
mod outcome;

pub use outcome::{Problem, ProblemKind, RestoreOutcome};

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use self::directories::{DirIndex, Directories};
use self::durable::Written;
use self::outcome::Report;
use super::{
    DirEntry, FileId, FileKind, FileSystem, FilesError, MAX_DEPTH, Metadata, Result, escape_name, lookup_path,
    split_path,
};

/// How to restore.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// Replace files that exist in the target. Directories are never removed; existing ones get the restored metadata.
    pub overwrite: bool,
}

/// Where a restore is, handed to the progress callback after each file and each piece of a large one.
#[derive(Debug, Clone, Copy)]
pub struct RestoreProgress<'a> {
    /// Files, links and directories restored so far.
    pub files: u64,
    /// Bytes of content written so far, holes not counted.
    pub bytes_written: u64,
    /// Escaped path that is being restored.
    pub path: &'a str,
}

/// Called often; `Break` ends the restore with [`FilesError::Cancelled`] and leaves what is complete.
pub type ProgressCallback<'a> = dyn FnMut(&RestoreProgress<'_>) -> ControlFlow<()> + 'a;

/// Restores each of `paths` (`/` for all) of `fs` below `target`, which is created if it does not exist.
///
/// When this returns everything restored is durable; what the target could not write in the end is an error.
///
/// Set-user-id bits are dropped where the owner cannot be set. A cancelled or failed restore can be repeated with
/// `overwrite`.
pub fn restore(
    fs: &dyn FileSystem,
    paths: &[Vec<u8>],
    target: &Path,
    options: RestoreOptions,
    progress: &mut ProgressCallback<'_>,
) -> Result<RestoreOutcome> {
    let wanted = outermost(paths)?;
    // A path that does not exist is found out before anything is written.
    for path in &wanted {
        lookup_path(fs, &path.join(&b'/'))?;
    }
    let mut restorer = Restorer {
        fs,
        options,
        directories: Directories::open(target, fs.root())?,
        written: Written::default(),
        report: Report::new(progress),
        links: HashMap::new(),
        entered: HashSet::new(),
        chain: Vec::new(),
    };
    for path in &wanted {
        restorer.restore_path(path)?;
    }
    restorer.finish_directories()?;
    restorer.make_durable()?;
    Ok(restorer.report.into_outcome())
}

/// The paths split into components, without those that lie below another one.
fn outermost(paths: &[Vec<u8>]) -> Result<Vec<Vec<&[u8]>>> {
    let mut split: Vec<Vec<&[u8]>> = paths.iter().map(|path| split_path(path)).collect();
    if let Some(bad) = split.iter().position(|parts| parts.contains(&&b".."[..])) {
        let path = escape_name(&paths[bad]);
        return Err(FilesError::NotADirectory { path, hint: ": `..` is not accepted in a path".to_owned() });
    }
    split.sort();
    let mut outer: Vec<Vec<&[u8]>> = Vec::new();
    for parts in split {
        if !outer.last().is_some_and(|last| parts.starts_with(last)) {
            outer.push(parts);
        }
    }
    Ok(outer)
}

/// State of one restore; used by one thread.
struct Restorer<'a> {
    fs: &'a dyn FileSystem,
    options: RestoreOptions,
    directories: Directories,
    written: Written,
    report: Report<'a>,
    /// First restored name of each file that has several.
    links: HashMap<FileId, (DirIndex, Vec<u8>)>,
    /// Directories that were listed; a second time is a loop.
    entered: HashSet<FileId>,
    /// Directories on the way to the wanted path before; sorted paths share them.
    chain: Vec<(Vec<u8>, DirIndex)>,
}

impl Restorer<'_> {
    fn restore_path(&mut self, parts: &[&[u8]]) -> Result<()> {
        let shared = self.chain.iter().zip(parts).take_while(|((name, _), part)| name == *part).count();
        self.chain.truncate(shared);
        let mut at = self.chain.last().map_or(DirIndex::ROOT, |(_, index)| *index);
        for part in &parts[shared..] {
            let entry = DirEntry { name: part.to_vec(), id: self.child(self.directories.source(at), part)? };
            // What is no directory is the last part, or its problem is noted already.
            let Some(directory) = self.restore_entry(at, &entry)? else { return Ok(()) };
            self.chain.push((entry.name, directory));
            at = directory;
        }
        self.restore_tree(at)
    }

    fn child(&self, directory: FileId, name: &[u8]) -> Result<FileId> {
        let found = self.fs.read_dir(directory)?.into_iter().find(|entry| entry.name == name);
        found.map(|entry| entry.id).ok_or_else(|| FilesError::NotFound { path: escape_name(name) })
    }

    fn restore_tree(&mut self, start: DirIndex) -> Result<()> {
        let mut pending = vec![start];
        while let Some(directory) = pending.pop() {
            let children = match self.enter(directory) {
                Ok(children) => children,
                Err(error) => {
                    self.report.failed(&self.directories.path(directory, b""), &error);
                    continue;
                }
            };
            for entry in &children {
                pending.extend(self.restore_entry(directory, entry)?);
            }
        }
        Ok(())
    }

    fn enter(&mut self, directory: DirIndex) -> Result<Vec<DirEntry>> {
        if self.directories.depth(directory) >= MAX_DEPTH {
            return Err(FilesError::Limit { what: "depth of directories", limit: MAX_DEPTH as u64 });
        }
        let source = self.directories.source(directory);
        if !self.entered.insert(source) {
            return Err(FilesError::corrupt("a directory appears in two places; its content is restored in the first"));
        }
        self.fs.read_dir(source)
    }

    /// Restores one name; `Some` when it is a directory that has still to be filled. Errors end the restore.
    fn restore_entry(&mut self, directory: DirIndex, entry: &DirEntry) -> Result<Option<DirIndex>> {
        let path = self.directories.path(directory, &entry.name);
        let done = self.fs.metadata(entry.id).and_then(|metadata| self.restore_file(directory, entry, &metadata));
        match done {
            Ok(made) => {
                self.report.progress(&path)?;
                Ok(made)
            }
            Err(error) if ends_restore(&error) => Err(error),
            Err(error) if is_existing(&error) => {
                self.report.skipped(&path);
                Ok(None)
            }
            Err(error) => {
                self.report.failed(&path, &error);
                Ok(None)
            }
        }
    }

    fn restore_file(&mut self, directory: DirIndex, entry: &DirEntry, metadata: &Metadata) -> Result<Option<DirIndex>> {
        check_name(&entry.name)?;
        if metadata.kind == FileKind::Directory {
            return self.make_directory(directory, entry).map(Some);
        }
        if metadata.links > 1 && self.restore_link(directory, entry)? {
            return Ok(None);
        }
        self.make_file(directory, entry, metadata)?;
        if metadata.links > 1 {
            self.links.insert(metadata.id, (directory, entry.name.clone()));
        }
        Ok(None)
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    let harmless = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0);
    if harmless { Ok(()) } else { Err(FilesError::corrupt("a file has a name that no file can have")) }
}

fn target_errno(error: &FilesError) -> Option<nix::errno::Errno> {
    match error {
        FilesError::Target { source, .. } => source.raw_os_error().map(nix::errno::Errno::from_raw),
        _ => None,
    }
}

/// A full, read-only or failing target, or the user's wish: going on would only fail again for each file.
fn ends_restore(error: &FilesError) -> bool {
    use nix::errno::Errno;
    matches!(error, FilesError::Cancelled)
        || matches!(
            target_errno(error),
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO | Errno::EMFILE)
        )
}

fn is_existing(error: &FilesError) -> bool {
    target_errno(error) == Some(nix::errno::Errno::EEXIST)
}
