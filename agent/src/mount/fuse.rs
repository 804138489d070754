//! Answers the kernel's FUSE requests: one directory with the image files.

use std::ffi::OsStr;
use std::io;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

use super::image_files::{ImageFile, ImageFiles};
use crate::lengths::in_memory;

/// Nothing ever changes but the content, so the kernel may keep what it knows.
const TTL: Duration = Duration::from_secs(3600);
const FIRST_FILE_INODE: u64 = 2;
const READAHEAD_BYTES: u32 = 1 << 20;
/// Matches the size of the repository's chunks: smaller reads would unpack one many times.
const PREFERRED_BLOCK_BYTES: u32 = 64 << 10;

pub(super) struct ImageFileSystem {
    files: ImageFiles,
    mounted_at: SystemTime,
    uid: u32,
    gid: u32,
}

impl ImageFileSystem {
    pub(super) fn new(files: ImageFiles) -> Self {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Self { files, mounted_at: SystemTime::now(), uid, gid }
    }

    fn file(&self, inode: INodeNo) -> Option<&ImageFile> {
        let index = u64::from(inode).checked_sub(FIRST_FILE_INODE)?;
        self.files.get(usize::try_from(index).ok()?)
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, size, perm) = if inode == INodeNo::ROOT {
            (FileType::Directory, 0, 0o555)
        } else {
            let perm = if self.files.writable() { 0o600 } else { 0o400 };
            (FileType::RegularFile, self.file(inode)?.size_bytes, perm)
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: self.mounted_at,
            mtime: self.mounted_at,
            ctime: self.mounted_at,
            crtime: self.mounted_at,
            kind,
            perm,
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: PREFERRED_BLOCK_BYTES,
            flags: 0,
        })
    }
}

/// Logs the cause, of which the reader of the file sees nothing but the number.
fn errno(action: &str, file: &ImageFile, offset_bytes: u64, error: &io::Error) -> Errno {
    tracing::error!(file = file.name, offset_bytes, %error, "cannot {action} a mounted image");
    match error.kind() {
        io::ErrorKind::StorageFull => Errno::ENOSPC,
        io::ErrorKind::ReadOnlyFilesystem => Errno::EROFS,
        _ => Errno::EIO,
    }
}

impl Filesystem for ImageFileSystem {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // A smaller limit of the kernel is fine too: it comes back as the error.
        if let Err(largest) = config.set_max_readahead(READAHEAD_BYTES) {
            let _ = config.set_max_readahead(largest);
        }
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = self.files.names().position(|known| parent == INodeNo::ROOT && OsStr::new(known) == name);
        match index.and_then(|index| self.attributes(INodeNo(FIRST_FILE_INODE + index as u64))) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.attributes(ino) {
            None => reply.error(Errno::ENOENT),
            // A disk has the size it has; new times are accepted and forgotten.
            Some(a) if size.is_some_and(|size| size != a.size) || mode.or(uid).or(gid).is_some() => {
                reply.error(Errno::EPERM);
            }
            Some(attributes) => reply.attr(&TTL, &attributes),
        }
    }

    fn open(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.file(ino).is_none() {
            return reply.error(Errno::ENOENT);
        }
        // A disk and its partitions are the same bytes, but the kernel caches each file for itself: with writes,
        // caches would go stale. Without, they may live as long as the mount.
        let flags = if self.files.writable() { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::FOPEN_KEEP_CACHE };
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(file) = self.file(ino) else { return reply.error(Errno::ENOENT) };
        match file.read(offset, size as usize) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(errno("read", file, offset, &error)),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some(file) = self.file(ino) else { return reply.error(Errno::ENOENT) };
        match file.write(offset, data) {
            // FUSE requests are far below 4 GiB.
            Ok(length) => reply.written(u32::try_from(length).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno("write", file, offset, &error)),
        }
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    // What is written is thrown away in the end, so there is nothing to make durable.
    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if ino != INodeNo::ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let dots = [".", ".."].map(|name| (INodeNo::ROOT, FileType::Directory, name));
        let files = (FIRST_FILE_INODE..).map(INodeNo).zip(self.files.names());
        let entries = dots.into_iter().chain(files.map(|(inode, name)| (inode, FileType::RegularFile, name)));
        for (index, (inode, kind, name)) in (1_u64..).zip(entries).skip(in_memory(offset)) {
            if reply.add(inode, index, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let total = (0..self.files.len()).filter_map(|index| self.files.get(index)).map(|file| file.size_bytes / 512);
        reply.statfs(total.fold(0, u64::saturating_add), 0, 0, self.files.len() as u64, 0, 512, 255, 512);
    }
}
