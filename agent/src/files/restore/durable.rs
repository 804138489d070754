//! Sees to it that a restore is on the medium before it says so: what a file system took into its cache it may still fail to write.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::syncfs;

use super::Restorer;
use super::directories::DirIndex;
use crate::files::{FilesError, Result};

/// A file of this size is synced by itself, so that a failure is told of the file that it hit and half of it does not stay.
const LARGE_BYTES: u64 = 1 << 20;

/// The file systems that were written to, each by the first file that was opened on it. They are synced as a whole, for a sync of each of
/// many small files would take longer than all the rest.
#[derive(Default)]
pub(super) struct Written(HashMap<u64, File>);

impl Written {
    /// Notes where a file lies, before it is written: the kernel reports what failed since it was opened.
    pub(super) fn note(&mut self, file: &File) -> std::io::Result<()> {
        if let Entry::Vacant(first) = self.0.entry(file.metadata()?.dev()) {
            first.insert(file.try_clone()?);
        }
        Ok(())
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

    /// Syncs every file system that was written to, the target's own in any case: it holds the directories and links.
    pub(super) fn make_durable(&mut self) -> Result<()> {
        let root = self.directories.handle(DirIndex::ROOT)?;
        let others: Vec<_> = self.written.0.values().map(syncfs).collect();
        let all = others.into_iter().chain([syncfs(&*root)]);
        let failed =
            |errno| self.directories.failed("write to the medium what was restored in", DirIndex::ROOT, b"", errno);
        all.collect::<std::result::Result<(), _>>().map_err(failed)
    }
}
