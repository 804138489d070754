//! Directories of the target. Each is reached from the open root name by name without following symbolic links, so
//! neither a hostile recovery point nor somebody at work in the target can lead the restore elsewhere.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::metadata;
use super::{DirEntry, Restorer};
use crate::files::{FileId, FilesError, Result, escape_name};

const OPEN_DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Until it is filled nobody else looks into a directory.
const PRIVATE: Mode = Mode::S_IRWXU;

/// A directory of this restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DirIndex(usize);

impl DirIndex {
    pub(super) const ROOT: Self = Self(0);
}

struct Node {
    parent: DirIndex,
    name: Vec<u8>,
    source: FileId,
    depth: usize,
    /// Whether its metadata becomes that of the source when all is written.
    takes_metadata: bool,
}

/// All directories of a restore in the order they were made; parents stand before their children.
pub(super) struct Directories {
    root: Arc<OwnedFd>,
    root_path: PathBuf,
    nodes: Vec<Node>,
    /// The one that was used last: files come in runs of the same directory.
    recent: (DirIndex, Arc<OwnedFd>),
}

impl Directories {
    pub(super) fn open(target: &Path, source_root: FileId) -> Result<Self> {
        let failed = |source| FilesError::Target { action: "open the directory", path: target.to_owned(), source };
        fs::create_dir_all(target).map_err(failed)?;
        let root = Arc::new(OwnedFd::from(File::open(target).map_err(failed)?));
        // The target itself stays the user's: its metadata is never changed.
        let node =
            Node { parent: DirIndex::ROOT, name: Vec::new(), source: source_root, depth: 0, takes_metadata: false };
        let recent = (DirIndex::ROOT, Arc::clone(&root));
        Ok(Self { root, root_path: target.to_owned(), nodes: vec![node], recent })
    }

    pub(super) fn source(&self, index: DirIndex) -> FileId {
        self.nodes[index.0].source
    }

    pub(super) fn depth(&self, index: DirIndex) -> usize {
        self.nodes[index.0].depth
    }

    /// Escaped path of `name` in a directory, for messages; of the directory itself when `name` is empty.
    pub(super) fn path(&self, index: DirIndex, name: &[u8]) -> String {
        let mut parts = vec![name];
        parts.extend(self.ancestry(index).into_iter().rev().map(|node| node.name.as_slice()));
        parts.reverse();
        let path = escape_name(&parts.join(&b'/'));
        format!("/{}", path.trim_end_matches('/'))
    }

    /// From the first directory below the root to `index`.
    fn ancestry(&self, index: DirIndex) -> Vec<&Node> {
        let mut nodes = Vec::new();
        let mut at = index;
        while at != DirIndex::ROOT {
            let node = &self.nodes[at.0];
            nodes.push(node);
            at = node.parent;
        }
        nodes.reverse();
        nodes
    }

    /// Opens a directory of the target.
    pub(super) fn handle(&mut self, index: DirIndex) -> Result<Arc<OwnedFd>> {
        if self.recent.0 != index {
            let mut handle = Arc::clone(&self.root);
            for node in self.ancestry(index) {
                let opened = openat(&*handle, node.name.as_slice(), OPEN_DIRECTORY, Mode::empty());
                handle = Arc::new(opened.map_err(|errno| self.failed("open the directory", index, b"", errno))?);
            }
            self.recent = (index, handle);
        }
        Ok(Arc::clone(&self.recent.1))
    }

    fn add(&mut self, parent: DirIndex, entry: &DirEntry, takes_metadata: bool) -> DirIndex {
        let depth = self.depth(parent) + 1;
        self.nodes.push(Node { parent, name: entry.name.clone(), source: entry.id, depth, takes_metadata });
        DirIndex(self.nodes.len() - 1)
    }

    pub(super) fn failed(&self, action: &'static str, index: DirIndex, name: &[u8], errno: Errno) -> FilesError {
        let below = self.path(index, name);
        let path = self.root_path.join(below.trim_start_matches('/'));
        FilesError::Target { action, path, source: io::Error::from(errno) }
    }
}

impl Restorer<'_> {
    /// Makes a directory, or takes over one that exists; its metadata comes last.
    pub(super) fn make_directory(&mut self, parent: DirIndex, entry: &DirEntry) -> Result<DirIndex> {
        let handle = self.directories.handle(parent)?;
        let name = entry.name.as_slice();
        let made = match mkdirat(&*handle, name, PRIVATE) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(self.directories.failed("make the directory", parent, name, errno)),
        };
        let opened = openat(&*handle, name, OPEN_DIRECTORY, Mode::empty()).map_err(|errno| match errno {
            // A file or symbolic link of that name: it stays, whatever `overwrite` says.
            Errno::ENOTDIR | Errno::ELOOP => self.directories.failed("enter", parent, name, Errno::EEXIST),
            errno => self.directories.failed("open the directory", parent, name, errno),
        })?;
        if made {
            metadata::forget_inherited_acls(&File::from(opened));
        }
        self.report.counts().directories += 1;
        Ok(self.directories.add(parent, entry, made || self.options.overwrite))
    }

    /// Gives all directories their metadata, children first, so that nothing changes their times any more.
    pub(super) fn finish_directories(&mut self) -> Result<()> {
        for index in (1..self.directories.nodes.len()).rev().map(DirIndex) {
            if !self.directories.nodes[index.0].takes_metadata {
                continue;
            }
            let path = self.directories.path(index, b"");
            if let Err(error) = self.finish_directory(index, &path) {
                self.report.failed(&path, &error);
            }
        }
        Ok(())
    }

    fn finish_directory(&mut self, index: DirIndex, path: &str) -> Result<()> {
        let source = self.directories.source(index);
        let metadata = self.fs.metadata(source)?;
        let handle = self.directories.handle(index)?;
        let handle = File::from(handle.try_clone().map_err(|source| FilesError::Target {
            action: "open the directory",
            path: self.directories.root_path.join(path.trim_start_matches('/')),
            source,
        })?);
        let messages = metadata::apply_to_open(&handle, self.fs, &metadata);
        self.report.incomplete(path, messages);
        Ok(())
    }
}
