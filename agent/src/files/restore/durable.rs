//! Sees to it that a file has its name only when all of it is on the medium: a power cut leaves what was there before, or what was
//! restored, and never half of it.
//!
//! Files are made under names of their own ([`TEMPORARY`]). Many of them are synced at once, for a sync of each of many small files would
//! take longer than all the rest; only a [`Synced`] lets them be published.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use repo_format::entropy::{SystemEntropy, random};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat, renameat2};
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, linkat, syncfs, unlinkat};

use super::directories::DirIndex;
use super::{Existing, Restorer};
use crate::files::{FileId, FileKind, FilesError, Result, escape_name};

/// How names of files begin that are not yet whole. What a power cut leaves of them may be removed.
pub const TEMPORARY: &str = ".icecore-restore-";
/// A file of this size is synced by itself, so that a failure is told of the file that it hit.
const LARGE_BYTES: u64 = 1 << 20;
/// So many files wait for their names at most.
const MOST_WAITING: usize = 256;
/// So many bytes of them.
const MOST_WAITING_BYTES: u64 = 64 << 20;
/// So many names are tried beside one that is taken.
const MOST_BESIDE: u32 = 1000;
/// Longest name of a file.
const NAME_BYTES: usize = 255;

/// A file that is whole but for its name.
pub(super) struct Waiting {
    pub(super) directory: DirIndex,
    pub(super) temporary: Vec<u8>,
    pub(super) name: Vec<u8>,
    /// Whether something had the name when it was looked at.
    pub(super) is_taken: bool,
    /// For a file with several names: the next one is linked to it wherever it is by then.
    pub(super) linked: Option<FileId>,
    /// What it is; none: another name of a file.
    pub(super) kind: Option<FileKind>,
    pub(super) size_bytes: u64,
}

/// Proof that everything that waits is on the medium.
struct Synced;

/// What waits, and the file systems that were written to, each by the first directory that was used on it.
pub(super) struct Written {
    file_systems: HashMap<u64, OwnedFd>,
    waiting: Vec<Waiting>,
    waiting_bytes: u64,
    /// Part of temporary names: of a restore that was killed there may be some.
    mark: u64,
    made: u64,
}

impl Written {
    pub(super) fn new() -> Self {
        let mark = u64::from_le_bytes(random(&SystemEntropy));
        Self { file_systems: HashMap::new(), waiting: Vec::new(), waiting_bytes: 0, mark, made: 0 }
    }

    /// Notes where files lie, before they are written: the kernel reports what failed since the directory was opened.
    pub(super) fn note(&mut self, directory: &OwnedFd) -> std::io::Result<()> {
        if let Entry::Vacant(first) = self.file_systems.entry(fstat(directory)?.st_dev) {
            first.insert(directory.try_clone()?);
        }
        Ok(())
    }

    /// A name that no other file has.
    pub(super) fn temporary(&mut self) -> Vec<u8> {
        self.made += 1;
        format!("{TEMPORARY}{:016x}-{}", self.mark, self.made).into_bytes()
    }

    fn sync(&self) -> nix::Result<Synced> {
        self.file_systems.values().try_for_each(syncfs)?;
        Ok(Synced)
    }
}

impl Restorer<'_> {
    /// Syncs a large file.
    pub(super) fn settle(&self, file: &File, size_bytes: u64, path: &str) -> Result<()> {
        if size_bytes < LARGE_BYTES {
            return Ok(());
        }
        let failed =
            |source| FilesError::Target { action: "write to the medium", path: Path::new(path).to_owned(), source };
        file.sync_all().map_err(failed)
    }

    /// Gives a whole file its name, now or when there are more of them.
    pub(super) fn wait(&mut self, file: Waiting) -> Result<()> {
        self.written.waiting_bytes += file.size_bytes;
        self.written.waiting.push(file);
        let is_much = self.written.waiting.len() >= MOST_WAITING || self.written.waiting_bytes >= MOST_WAITING_BYTES;
        if is_much { self.publish_all() } else { Ok(()) }
    }

    /// Gives everything that waits its name.
    pub(super) fn publish_all(&mut self) -> Result<()> {
        let synced = self.written.sync().map_err(|errno| self.not_durable(errno))?;
        self.written.waiting_bytes = 0;
        for file in std::mem::take(&mut self.written.waiting) {
            let path = self.directories.path(file.directory, &file.name);
            let published = self.publish(&file, &path, &synced);
            if published.is_err() {
                self.discard(&file);
            }
            match published {
                Err(error) if super::is_existing(&error) => self.report.skipped(&path),
                Err(error) => self.report.failed(&path, &error),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn publish(&mut self, file: &Waiting, path: &str, _: &Synced) -> Result<()> {
        let handle = self.directories.handle(file.directory)?;
        let name = match (&self.options.existing, file.is_taken) {
            (Existing::Replace, true) => self.replace(&handle, file)?,
            (Existing::Beside(suffix), true) => {
                let suffix = suffix.clone();
                self.put_beside(&handle, file, (&suffix, path))?
            }
            _ => match (take_name(&handle, &file.temporary, &file.name), &self.options.existing) {
                (Ok(()), _) => file.name.clone(),
                // It appeared meanwhile.
                (Err(Errno::EEXIST), Existing::Replace) => self.replace(&handle, file)?,
                (Err(Errno::EEXIST), Existing::Beside(suffix)) => {
                    let suffix = suffix.clone();
                    self.put_beside(&handle, file, (&suffix, path))?
                }
                (Err(errno), _) => {
                    return Err(self.directories.failed("give its name to", file.directory, &file.name, errno));
                }
            },
        };
        if let Some(place) = file.linked.and_then(|id| self.links.get_mut(&id))
            && place.name == file.temporary
        {
            (place.directory, place.name) = (file.directory, name);
        }
        self.count_made(file.kind, file.size_bytes);
        Ok(())
    }

    fn replace(&mut self, handle: &Arc<OwnedFd>, file: &Waiting) -> Result<Vec<u8>> {
        let renamed = renameat(&**handle, file.temporary.as_slice(), &**handle, file.name.as_slice());
        renamed.map_err(|errno| {
            // A directory is never removed.
            let errno = if matches!(errno, Errno::EISDIR | Errno::ENOTEMPTY) { Errno::EEXIST } else { errno };
            self.directories.failed("replace", file.directory, &file.name, errno)
        })?;
        // Of two names of one file the kernel leaves both.
        self.discard(file);
        self.report.counts().replaced += 1;
        Ok(file.name.clone())
    }

    fn put_beside(&mut self, handle: &Arc<OwnedFd>, file: &Waiting, (suffix, path): (&str, &str)) -> Result<Vec<u8>> {
        for number in 1..=MOST_BESIDE {
            let name = beside(&file.name, suffix, number);
            match take_name(handle, &file.temporary, &name) {
                Ok(()) => {
                    self.report.beside(path, &escape_name(&name));
                    return Ok(name);
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.directories.failed("give its name to", file.directory, &name, errno)),
            }
        }
        Err(self.directories.failed("find a free name beside", file.directory, &file.name, Errno::EEXIST))
    }

    /// Removes what has no name yet, when the restore ends early.
    pub(super) fn discard_all(&mut self) {
        for file in std::mem::take(&mut self.written.waiting) {
            self.discard(&file);
        }
    }

    fn discard(&mut self, file: &Waiting) {
        if let Ok(handle) = self.directories.handle(file.directory) {
            // What is left has a name that says what it is.
            let _ = unlinkat(&*handle, file.temporary.as_slice(), UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Syncs every file system that was written to, the target's own in any case: it holds the names.
    pub(super) fn make_durable(&mut self) -> Result<()> {
        let root = self.directories.handle(DirIndex::ROOT)?;
        let others = self.written.sync().map(drop);
        others.and(syncfs(&*root)).map_err(|errno| self.not_durable(errno))
    }

    fn not_durable(&self, errno: Errno) -> FilesError {
        self.directories.failed("write to the medium what was restored in", DirIndex::ROOT, b"", errno)
    }
}

/// Moves to a name that nothing has.
fn take_name(directory: &OwnedFd, temporary: &[u8], name: &[u8]) -> nix::Result<()> {
    match renameat2(directory, temporary, directory, name, RenameFlags::RENAME_NOREPLACE) {
        // A file system that cannot refuse to replace, such as NFS: a second name never replaces.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
            linkat(directory, temporary, directory, name, AtFlags::empty())?;
            unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir)
        }
        done => done,
    }
}

/// The name that a file gets whose own is taken: the first, or a later one when that is taken too.
pub(super) fn beside(name: &[u8], suffix: &str, number: u32) -> Vec<u8> {
    let suffix = if number == 1 { format!(".{suffix}") } else { format!(".{suffix}-{number}") };
    let mut kept = name.len().min(NAME_BYTES.saturating_sub(suffix.len()));
    // Not in the middle of a character, as far as it is text.
    while kept < name.len() && kept > 0 && name[kept] & 0xc0 == 0x80 {
        kept -= 1;
    }
    [&name[..kept], suffix.as_bytes()].concat()
}
