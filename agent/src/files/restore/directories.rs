//! Directories of the target. Each is reached from the open root name by name without following symbolic links, so
//! neither a hostile recovery point nor somebody at work in the target can lead the restore elsewhere.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};

use super::metadata;
use super::{DirEntry, Existing, RestoreOptions, Restorer, durable, file};
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
    /// Of a dry run: it would have been made.
    is_absent: bool,
}

/// All directories of a restore in the order they were made; parents stand before their children.
pub(super) struct Directories {
    /// None where a dry run found no such directory.
    root: Option<Arc<OwnedFd>>,
    root_path: PathBuf,
    /// Names are looked up below the root, through no symbolic link, and where that is wanted through no mount.
    resolve: ResolveFlag,
    nodes: Vec<Node>,
    /// The one that was used last: files come in runs of the same directory.
    recent: Option<(DirIndex, Arc<OwnedFd>)>,
}

impl Directories {
    pub(super) fn open(target: &Path, source_root: FileId, options: &RestoreOptions) -> Result<Self> {
        let failed = |source| FilesError::Target { action: "open the directory", path: target.to_owned(), source };
        let root = if options.dry_run && !target.exists() {
            None
        } else {
            if !options.dry_run {
                fs::create_dir_all(target).map_err(failed)?;
            }
            let links = if options.is_real { ResolveFlag::RESOLVE_NO_SYMLINKS } else { ResolveFlag::empty() };
            let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(links);
            let root = openat2(AT_FDCWD, target, how).map_err(|errno| failed(errno.into()))?;
            Some(Arc::new(root))
        };
        // The target itself stays the user's: its metadata is never changed.
        let node = Node {
            parent: DirIndex::ROOT,
            name: Vec::new(),
            source: source_root,
            depth: 0,
            takes_metadata: false,
            is_absent: root.is_none(),
        };
        let mut resolve =
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        resolve.set(ResolveFlag::RESOLVE_NO_XDEV, options.one_file_system);
        Ok(Self { root, root_path: target.to_owned(), resolve, nodes: vec![node], recent: None })
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
        if let Some((at, handle)) = &self.recent
            && *at == index
        {
            return Ok(Arc::clone(handle));
        }
        let root = self.root.clone();
        let mut handle = root.ok_or_else(|| self.failed("open the directory", index, b"", Errno::ENOENT))?;
        for node in self.ancestry(index) {
            let opened = self.enter(&handle, &node.name);
            handle = Arc::new(opened.map_err(|errno| self.failed("open the directory", index, b"", errno))?);
        }
        self.recent = Some((index, Arc::clone(&handle)));
        Ok(handle)
    }

    fn enter(&self, from: &OwnedFd, name: &[u8]) -> nix::Result<OwnedFd> {
        openat2(from, name, OpenHow::new().flags(OPEN_DIRECTORY).resolve(self.resolve))
    }

    /// What has this name in a directory.
    pub(super) fn look(&mut self, index: DirIndex, name: &[u8]) -> Result<Option<FileStat>> {
        if self.nodes[index.0].is_absent {
            return Ok(None);
        }
        let handle = self.handle(index)?;
        match fstatat(&*handle, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at", index, name, errno)),
        }
    }

    fn add(&mut self, parent: DirIndex, entry: DirEntry, takes_metadata: bool, is_absent: bool) -> DirIndex {
        let depth = self.depth(parent) + 1;
        self.nodes.push(Node { parent, name: entry.name, source: entry.id, depth, takes_metadata, is_absent });
        DirIndex(self.nodes.len() - 1)
    }

    pub(super) fn failed(&self, action: &'static str, index: DirIndex, name: &[u8], errno: Errno) -> FilesError {
        let below = self.path(index, name);
        let path = self.root_path.join(below.trim_start_matches('/'));
        FilesError::Target { action, path, source: io::Error::from(errno) }
    }
}

impl Restorer<'_> {
    /// Makes a directory, or takes over one that exists; its metadata comes last. One that only leads to what is wanted keeps its own.
    pub(super) fn make_directory(&mut self, parent: DirIndex, entry: &DirEntry, is_wanted: bool) -> Result<DirIndex> {
        let mut entry = entry.clone();
        let there = self.directories.look(parent, &entry.name)?;
        let mut is_there = there.as_ref().is_some_and(|there| file::kind(there) == SFlag::S_IFDIR);
        if there.is_some() && !is_there {
            // A file or symbolic link of that name stays, whatever `Replace` says.
            let Existing::Beside(suffix) = &self.options.existing else {
                return Err(self.directories.failed("enter", parent, &entry.name, Errno::EEXIST));
            };
            let path = self.directories.path(parent, &entry.name);
            entry.name = durable::beside(&entry.name, suffix, 1);
            is_there = self.directories.look(parent, &entry.name)?.is_some();
            self.report.beside(&path, &escape_name(&entry.name));
        }
        self.report.counts().directories += 1;
        if self.options.dry_run {
            if is_there {
                self.open_child(parent, &entry.name)?;
            }
            return Ok(self.directories.add(parent, entry, false, !is_there));
        }
        let handle = self.directories.handle(parent)?;
        let made = match mkdirat(&*handle, entry.name.as_slice(), PRIVATE) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(self.directories.failed("make the directory", parent, &entry.name, errno)),
        };
        let opened = self.open_child(parent, &entry.name)?;
        if made {
            metadata::forget_inherited_acls(&File::from(opened));
        }
        let replaces = is_wanted && matches!(self.options.existing, Existing::Replace);
        Ok(self.directories.add(parent, entry, made || replaces, false))
    }

    fn open_child(&mut self, parent: DirIndex, name: &[u8]) -> Result<OwnedFd> {
        let handle = self.directories.handle(parent)?;
        self.directories.enter(&handle, name).map_err(|errno| match errno {
            Errno::ENOTDIR | Errno::ELOOP => self.directories.failed("enter", parent, name, Errno::EEXIST),
            Errno::EXDEV => {
                self.directories.failed("enter another file system that is mounted at", parent, name, errno)
            }
            errno => self.directories.failed("open the directory", parent, name, errno),
        })
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
