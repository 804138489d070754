//! Makes everything that is not a directory: files, links, devices, pipes, sockets.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::directories::DirIndex;
use super::{DirEntry, Restorer, metadata};
use crate::files::{FileKind, FilesError, Metadata, Result};

const CREATE: OFlag =
    OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

impl Restorer<'_> {
    /// Makes another name for a file that was restored before; `false` when it was not.
    pub(super) fn restore_link(&mut self, directory: DirIndex, entry: &DirEntry) -> Result<bool> {
        let Some((first_directory, first_name)) = self.links.get(&entry.id).cloned() else { return Ok(false) };
        let from = self.directories.handle(first_directory)?;
        let to = self.make_room(directory, &entry.name)?;
        match linkat(&*from, first_name.as_slice(), &*to, entry.name.as_slice(), AtFlags::empty()) {
            Ok(()) => {
                self.report.counts().hard_links += 1;
                Ok(true)
            }
            // The target knows no (more) links of this file: a copy is the next best.
            Err(Errno::EMLINK | Errno::EPERM | Errno::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(self.directories.failed("make the hard link", directory, &entry.name, errno)),
        }
    }

    /// Makes the file with content and metadata. Half a file is removed again.
    pub(super) fn make_file(&mut self, directory: DirIndex, entry: &DirEntry, metadata: &Metadata) -> Result<()> {
        let name = entry.name.as_slice();
        match metadata.kind {
            FileKind::Regular => self.make_regular(directory, name, metadata),
            FileKind::Symlink => self.make_symlink(directory, name, metadata),
            _ => self.make_special(directory, name, metadata),
        }
    }

    fn make_regular(&mut self, directory: DirIndex, name: &[u8], metadata: &Metadata) -> Result<()> {
        let content = self.fs.open_file(metadata.id)?;
        let handle = self.make_room(directory, name)?;
        let file = openat(&*handle, name, CREATE, OWNER_ONLY)
            .map(File::from)
            .map_err(|errno| self.directories.failed("create", directory, name, errno))?;
        let path = self.directories.path(directory, name);
        let noted = self.written.note(&file).map_err(|source| FilesError::Target {
            action: "look at",
            path: std::path::Path::new(&path).to_owned(),
            source,
        });
        let written = noted.and_then(|()| self.write_content(&*content, &file, &path));
        if let Err(error) = written.and_then(|()| self.settle(&file, content.size_bytes(), &path)) {
            // The first error is the one to report.
            let _ = unlinkat(&*handle, name, UnlinkatFlags::NoRemoveDir);
            return Err(error);
        }
        metadata::forget_inherited_acls(&file);
        let messages = metadata::apply_to_open(&file, self.fs, metadata);
        self.report.incomplete(&path, messages);
        self.report.counts().regular_files += 1;
        self.report.counts().bytes_content += metadata.size_bytes;
        Ok(())
    }

    fn make_symlink(&mut self, directory: DirIndex, name: &[u8], metadata: &Metadata) -> Result<()> {
        let target = self.fs.read_link(metadata.id)?;
        if target.is_empty() || target.contains(&0) {
            return Err(FilesError::corrupt("a symbolic link has a target that no link can have"));
        }
        let handle = self.make_room(directory, name)?;
        symlinkat(target.as_slice(), &*handle, name)
            .map_err(|errno| self.directories.failed("make the symbolic link", directory, name, errno))?;
        self.report.counts().symlinks += 1;
        self.finish_unopened(directory, name, &handle, metadata);
        Ok(())
    }

    fn make_special(&mut self, directory: DirIndex, name: &[u8], metadata: &Metadata) -> Result<()> {
        let (kind, device) = match (metadata.kind, metadata.device) {
            (FileKind::CharDevice, Some(device)) => (SFlag::S_IFCHR, device),
            (FileKind::BlockDevice, Some(device)) => (SFlag::S_IFBLK, device),
            (FileKind::Socket, _) => (SFlag::S_IFSOCK, crate::files::DeviceNumber { major: 0, minor: 0 }),
            _ => (SFlag::S_IFIFO, crate::files::DeviceNumber { major: 0, minor: 0 }),
        };
        let handle = self.make_room(directory, name)?;
        let number = makedev(u64::from(device.major), u64::from(device.minor));
        mknodat(&*handle, name, kind, OWNER_ONLY, number)
            .map_err(|errno| self.directories.failed("make the special file", directory, name, errno))?;
        self.report.counts().special_files += 1;
        self.finish_unopened(directory, name, &handle, metadata);
        Ok(())
    }

    fn finish_unopened(&mut self, directory: DirIndex, name: &[u8], handle: &Arc<OwnedFd>, metadata: &Metadata) {
        let messages = metadata::apply_to_name(handle, name, self.fs, metadata);
        let path = self.directories.path(directory, name);
        self.report.incomplete(&path, messages);
    }

    /// Opens the directory; with `overwrite`, removes what has the name there, unless that is a directory.
    fn make_room(&mut self, directory: DirIndex, name: &[u8]) -> Result<Arc<OwnedFd>> {
        let handle = self.directories.handle(directory)?;
        if self.options.overwrite {
            match unlinkat(&*handle, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => {}
                Err(errno) => return Err(self.directories.failed("replace", directory, name, errno)),
            }
        }
        Ok(handle)
    }
}
