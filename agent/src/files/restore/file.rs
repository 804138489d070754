//! Makes everything that is not a directory: files, links, devices, pipes, sockets. Each is made under a name of its own first
//! ([`durable`](super::durable)); what has the wanted name meanwhile is not touched.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, makedev, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::directories::DirIndex;
use super::durable::Waiting;
use super::{DirEntry, Existing, FirstName, Restorer, content, metadata};
use crate::files::{FileKind, FilesError, Metadata, Result};

const CREATE: OFlag =
    OFlag::O_RDWR.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const LOOK: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);
const OWNER_ONLY: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

impl Restorer<'_> {
    /// Makes a file that is no directory, or another name of one, unless what is there stays.
    pub(super) fn restore_other(&mut self, directory: DirIndex, entry: &DirEntry, metadata: &Metadata) -> Result<()> {
        let there = self.directories.look(directory, &entry.name)?;
        let is_directory = there.as_ref().is_some_and(|there| kind(there) == SFlag::S_IFDIR);
        let stays = match self.options.existing {
            Existing::Leave => there.is_some(),
            Existing::Replace => is_directory,
            Existing::Beside(_) => false,
        };
        if stays {
            return Err(self.directories.failed("replace", directory, &entry.name, Errno::EEXIST));
        }
        if self.options.dry_run {
            self.count(directory, entry, metadata, there.is_some());
            return Ok(());
        }
        let handle = self.directories.handle(directory)?;
        let noted = self.written.note(&handle);
        noted.map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            self.directories.failed("look at", directory, b"", errno)
        })?;
        if metadata.links > 1 && self.restore_link(directory, entry, there.as_ref())? {
            return Ok(());
        }
        let temporary = self.written.temporary();
        let made = Made { directory, name: &entry.name, temporary: &temporary, handle: &handle };
        let written = self.make_file(&made, metadata);
        let is_there = written.map(|()| there.is_some() && self.is_there(&made, metadata));
        match is_there {
            Ok(false) => {}
            Ok(true) => {
                let _ = unlinkat(&*handle, temporary.as_slice(), UnlinkatFlags::NoRemoveDir);
                self.report.counts().unchanged += 1;
                if metadata.links > 1
                    && let Some(there) = &there
                {
                    let (name, file) = (entry.name.clone(), identity(there));
                    self.links.insert(metadata.id, FirstName { directory, name, file });
                }
                return Ok(());
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = unlinkat(&*handle, temporary.as_slice(), UnlinkatFlags::NoRemoveDir);
                return Err(error);
            }
        }
        let linked = (metadata.links > 1).then_some(metadata.id);
        if let Some(id) = linked
            && let Some(made) = self.directories.look(directory, &temporary)?
        {
            let (name, file) = (temporary.clone(), identity(&made));
            self.links.insert(id, FirstName { directory, name, file });
        }
        let (name, is_taken) = (entry.name.clone(), there.is_some());
        let (kind, size_bytes) = (Some(metadata.kind), metadata.size_bytes);
        self.wait(Waiting { directory, temporary, name, is_taken, linked, kind, size_bytes })
    }

    /// What would be made.
    fn count(&mut self, directory: DirIndex, entry: &DirEntry, metadata: &Metadata, is_taken: bool) {
        self.count_made(Some(metadata.kind), metadata.size_bytes);
        match &self.options.existing {
            Existing::Beside(suffix) if is_taken => {
                let name = super::durable::beside(&entry.name, suffix, 1);
                let path = self.directories.path(directory, &entry.name);
                self.report.beside(&path, &crate::files::escape_name(&name));
            }
            Existing::Replace if is_taken => self.report.counts().replaced += 1,
            _ => {}
        }
    }

    pub(super) fn count_made(&mut self, kind: Option<FileKind>, size_bytes: u64) {
        let counts = self.report.counts();
        match kind {
            None => counts.hard_links += 1,
            Some(FileKind::Regular) => {
                counts.regular_files += 1;
                counts.bytes_content += size_bytes;
            }
            Some(FileKind::Symlink) => counts.symlinks += 1,
            Some(_) => counts.special_files += 1,
        }
    }

    /// Makes another name for a file that was restored before; `false` when it was not.
    fn restore_link(&mut self, directory: DirIndex, entry: &DirEntry, there: Option<&FileStat>) -> Result<bool> {
        let Some(first) = self.links.get(&entry.id).cloned() else { return Ok(false) };
        if there.map(identity) == Some(first.file) {
            self.report.counts().unchanged += 1;
            return Ok(true);
        }
        let from = self.directories.handle(first.directory)?;
        let to = self.directories.handle(directory)?;
        let temporary = self.written.temporary();
        match linkat(&*from, first.name.as_slice(), &*to, temporary.as_slice(), AtFlags::empty()) {
            Ok(()) => {}
            // The target knows no (more) links of this file, or the first lies on another file system: a copy is the next best.
            Err(Errno::EMLINK | Errno::EPERM | Errno::EOPNOTSUPP | Errno::EXDEV) => return Ok(false),
            Err(errno) => return Err(self.directories.failed("make the hard link", directory, &entry.name, errno)),
        }
        // An application may have put another file under the first name meanwhile.
        if self.directories.look(directory, &temporary)?.as_ref().map(identity) != Some(first.file) {
            let _ = unlinkat(&*to, temporary.as_slice(), UnlinkatFlags::NoRemoveDir);
            return Ok(false);
        }
        let (name, is_taken) = (entry.name.clone(), there.is_some());
        self.wait(Waiting { directory, temporary, name, is_taken, linked: None, kind: None, size_bytes: 0 })?;
        Ok(true)
    }

    fn make_file(&mut self, made: &Made<'_>, metadata: &Metadata) -> Result<()> {
        match metadata.kind {
            FileKind::Regular => self.make_regular(made, metadata),
            FileKind::Symlink => self.make_symlink(made, metadata),
            _ => self.make_special(made, metadata),
        }
    }

    fn make_regular(&mut self, made: &Made<'_>, metadata: &Metadata) -> Result<()> {
        let content = self.fs.open_file(metadata.id)?;
        let file = openat(&**made.handle, made.temporary, CREATE, OWNER_ONLY)
            .map(File::from)
            .map_err(|errno| self.directories.failed("create", made.directory, made.name, errno))?;
        let path = self.directories.path(made.directory, made.name);
        self.write_content(&*content, &file, &path)?;
        metadata::forget_inherited_acls(&file);
        let messages = metadata::apply_to_open(&file, self.fs, metadata);
        self.settle(&file, content.size_bytes(), &path)?;
        self.report.incomplete(&path, messages);
        Ok(())
    }

    fn make_symlink(&mut self, made: &Made<'_>, metadata: &Metadata) -> Result<()> {
        let target = self.fs.read_link(metadata.id)?;
        if target.is_empty() || target.contains(&0) {
            return Err(FilesError::corrupt("a symbolic link has a target that no link can have"));
        }
        symlinkat(target.as_slice(), &**made.handle, made.temporary)
            .map_err(|errno| self.directories.failed("make the symbolic link", made.directory, made.name, errno))?;
        self.finish_unopened(made, metadata);
        Ok(())
    }

    fn make_special(&mut self, made: &Made<'_>, metadata: &Metadata) -> Result<()> {
        let (kind, device) = match (metadata.kind, metadata.device) {
            (FileKind::CharDevice, Some(device)) => (SFlag::S_IFCHR, device),
            (FileKind::BlockDevice, Some(device)) => (SFlag::S_IFBLK, device),
            (FileKind::Socket, _) => (SFlag::S_IFSOCK, crate::files::DeviceNumber { major: 0, minor: 0 }),
            _ => (SFlag::S_IFIFO, crate::files::DeviceNumber { major: 0, minor: 0 }),
        };
        let number = makedev(u64::from(device.major), u64::from(device.minor));
        mknodat(&**made.handle, made.temporary, kind, OWNER_ONLY, number)
            .map_err(|errno| self.directories.failed("make the special file", made.directory, made.name, errno))?;
        self.finish_unopened(made, metadata);
        Ok(())
    }

    fn finish_unopened(&mut self, made: &Made<'_>, metadata: &Metadata) {
        let messages = metadata::apply_to_name(made.handle, made.temporary, self.fs, metadata);
        let path = self.directories.path(made.directory, made.name);
        self.report.incomplete(&path, messages);
    }

    /// Whether what has the name is the same file already. What cannot be compared is another one.
    fn is_there(&self, made: &Made<'_>, metadata: &Metadata) -> bool {
        match metadata.kind {
            FileKind::Regular => {
                let open = |name: &[u8]| openat(&**made.handle, name, LOOK, Mode::empty()).map(File::from).ok();
                let is_regular = |file: &File| file.metadata().is_ok_and(|facts| facts.is_file());
                let both = open(made.temporary).zip(open(made.name).filter(is_regular));
                both.is_some_and(|(one, other)| content::is_same(&one, &other).unwrap_or(false))
            }
            FileKind::Symlink => {
                let read = |name: &[u8]| readlinkat(&**made.handle, name).ok();
                read(made.name).is_some_and(|target| read(made.temporary) == Some(target))
            }
            _ => false,
        }
    }
}

/// A file on its way to its name.
struct Made<'m> {
    directory: DirIndex,
    name: &'m [u8],
    temporary: &'m [u8],
    handle: &'m Arc<OwnedFd>,
}

pub(super) fn kind(of: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(of.st_mode) & SFlag::S_IFMT
}

/// Which file it is.
fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
