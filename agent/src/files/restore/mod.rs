//! Restores files and directories into a directory, with everything the file system knew about them.
//!
//! Full paths are kept below the target, as tar does. Neither the recovery point nor the target is trusted: names are
//! checked, every step in the target starts from an open directory and follows no symbolic link, and what exists is
//! lost only with [`Existing::Replace`]. A file gets its name when it is whole and on the medium. What cannot be
//! restored is collected in the [`RestoreOutcome`] and the rest goes on; only a target that takes no more data ends
//! the restore.

mod content;
mod directories;
mod durable;
mod file;
mod metadata;
mod outcome;

pub use durable::TEMPORARY;
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

/// What becomes of files that exist in the target. Directories are never removed; files go into those that exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Existing {
    /// They stay, and those of the recovery point are not restored.
    #[default]
    Leave,
    /// They stay, and those of the recovery point that differ get this ending.
    Beside(String),
    /// Those of the recovery point take their places, and existing directories get the restored metadata.
    Replace,
}

/// The ending of files that are restored beside others at this time.
pub fn ending(now: jiff::Timestamp) -> String {
    format!("restored-{}", now.strftime("%Y-%m-%d"))
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// What becomes of files that exist.
    pub existing: Existing,
    /// The target's own path leads through no symbolic link; one that appears there meanwhile is not followed.
    pub is_real: bool,
    /// Go into no other file system that is mounted below the target.
    pub one_file_system: bool,
    /// Only look and count. What would turn out to be unchanged is counted as a conflict.
    pub dry_run: bool,
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
/// Set-user-id bits are dropped where the owner cannot be set. A cancelled or failed restore can be repeated: what is there already is
/// found unchanged, unless files that exist are left alone.
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
        directories: Directories::open(target, fs.root(), &options)?,
        options,
        written: Written::new(),
        report: Report::new(progress),
        links: HashMap::new(),
        entered: HashSet::new(),
        chain: Vec::new(),
    };
    let done = restorer.restore_all(&wanted);
    if done.is_err() {
        restorer.discard_all();
        // Those that were made are closed to all but root until they have their metadata, and whoever repeats the restore takes them for
        // somebody's. The first error is the one to report.
        let _ = restorer.finish_directories();
    }
    done.map(|()| restorer.report.into_outcome())
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

/// A name of a file that has several, and which file that was: another may take the name meanwhile.
#[derive(Clone)]
struct FirstName {
    directory: DirIndex,
    name: Vec<u8>,
    /// Device and inode.
    file: (u64, u64),
}

/// State of one restore; used by one thread.
struct Restorer<'a> {
    fs: &'a dyn FileSystem,
    options: RestoreOptions,
    directories: Directories,
    written: Written,
    report: Report<'a>,
    /// Where each file that has several names has its first, for as long as it waits under a temporary one.
    links: HashMap<FileId, FirstName>,
    /// Directories that were listed; a second time is a loop.
    entered: HashSet<FileId>,
    /// Directories on the way to the wanted path before; sorted paths share them.
    chain: Vec<(Vec<u8>, DirIndex)>,
}

impl Restorer<'_> {
    fn restore_all(&mut self, wanted: &[Vec<&[u8]>]) -> Result<()> {
        for path in wanted {
            self.restore_path(path)?;
        }
        if self.options.dry_run {
            return Ok(());
        }
        self.publish_all()?;
        self.finish_directories()?;
        self.make_durable()
    }

    fn restore_path(&mut self, parts: &[&[u8]]) -> Result<()> {
        let shared = self.chain.iter().zip(parts).take_while(|((name, _), part)| name == *part).count();
        self.chain.truncate(shared);
        let mut at = self.chain.last().map_or(DirIndex::ROOT, |(_, index)| *index);
        for (number, part) in parts.iter().enumerate().skip(shared) {
            let entry = DirEntry { name: part.to_vec(), id: self.child(self.directories.source(at), part)? };
            // What is no directory is the last part, or its problem is noted already.
            let is_wanted = number + 1 == parts.len();
            let Some(directory) = self.restore_entry(at, &entry, is_wanted)? else { return Ok(()) };
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
                pending.extend(self.restore_entry(directory, entry, true)?);
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
    fn restore_entry(&mut self, directory: DirIndex, entry: &DirEntry, is_wanted: bool) -> Result<Option<DirIndex>> {
        let path = self.directories.path(directory, &entry.name);
        let found = self.fs.metadata(entry.id);
        match found.and_then(|metadata| self.restore_file(directory, entry, &metadata, is_wanted)) {
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

    fn restore_file(
        &mut self,
        directory: DirIndex,
        entry: &DirEntry,
        metadata: &Metadata,
        is_wanted: bool,
    ) -> Result<Option<DirIndex>> {
        check_name(&entry.name)?;
        if metadata.kind == FileKind::Directory {
            return self.make_directory(directory, entry, is_wanted).map(Some);
        }
        self.restore_other(directory, entry, metadata).map(|()| None)
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
    matches!(error, FilesError::Cancelled | FilesError::Passage { .. })
        || matches!(
            target_errno(error),
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO | Errno::EMFILE)
        )
}

fn is_existing(error: &FilesError) -> bool {
    target_errno(error) == Some(nix::errno::Errno::EEXIST)
}
