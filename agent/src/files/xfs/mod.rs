//! XFS of versions 4 and 5, read-only, from any state of the disk.
//!
//! A volume that was not unmounted is read through its log: `log` replays committed transactions in memory and
//! `blocks` serves the changed sectors in place of the old ones, so nothing is written. Case-insensitive directories
//! are read by their exact names. Checksums of the log are verified, those of other metadata are not (besides the
//! superblock's): the repository proved the bytes already, and a damaged disk should still give up what it can. But a
//! block that says that it belongs to another file is never read for this one.
//!
//! Allocation groups have free space trees and inode trees; a reader needs neither.
//!
//! Layout source: "XFS Algorithms & Data Structures" and the on-disk structures of the kernel.

mod acl;
mod blocks;
mod content;
mod directory;
mod inode;
mod log;
mod mapping;
mod pending;
mod superblock;
mod symlink;
mod xattr;

use std::sync::Arc;

use self::blocks::Blocks;
use self::content::Content;
use self::inode::Inode;
use self::pending::Pending;
use self::superblock::Superblock;
use crate::files::{
    DirEntry, ExtendedAttribute, FileContent, FileId, FileKind, FileSystem, FilesError, Metadata, Result,
};
use crate::read_at::ReadAt;

/// Geometry, blocks and what the log left undone: what all parts of the reader work on.
struct Volume<'a> {
    superblock: Superblock,
    blocks: Blocks<'a>,
    pending: Pending,
}

/// An opened XFS file system.
pub struct Xfs<'a> {
    volume: Volume<'a>,
    notes: Vec<String>,
}

/// Whether `disk` starts with a superblock of XFS.
pub fn probe(disk: &dyn ReadAt) -> Result<bool> {
    if disk.size_bytes() < superblock::LENGTH_BYTES as u64 {
        return Ok(false);
    }
    Ok(superblock::has_magic(&read_superblock(disk)?))
}

impl<'a> Xfs<'a> {
    /// Checks the superblock and replays the log in memory if the file system was not unmounted.
    pub fn open(disk: Arc<dyn ReadAt + 'a>) -> Result<Self> {
        if !probe(&*disk)? {
            return Err(FilesError::NotRecognised);
        }
        let superblock = superblock::parse(&read_superblock(&*disk)?)?;
        let blocks = Blocks::new(disk, superblock.block_bytes);
        let mut volume = Volume { superblock, blocks, pending: Pending::default() };
        let mut notes = log::replay(&mut volume)?;
        volume.reread_superblock()?;
        if volume.superblock.is_checksum_wrong {
            notes.push("the checksum of the superblock is wrong; files may be damaged".to_owned());
        }
        Ok(Self { volume, notes })
    }

    fn inode(&self, id: FileId) -> Result<Inode> {
        self.volume.pending.refuse_hidden(id.0)?;
        Inode::read(&self.volume, id.0)
    }
}

impl Volume<'_> {
    /// After a replay the superblock may be another one; its geometry must be the same.
    fn reread_superblock(&mut self) -> Result<()> {
        if self.blocks.replayed().next() == Some(0) {
            let mut bytes = vec![0; superblock::LENGTH_BYTES];
            self.blocks.read_bytes(0, &mut bytes)?;
            let mut reread = superblock::parse(&bytes)?;
            // The kernel makes the checksum anew after a replay; the log does not have it.
            reread.is_checksum_wrong = self.superblock.is_checksum_wrong;
            if !reread.has_geometry_of(&self.superblock) {
                return Err(FilesError::corrupt("the log changes the geometry of the file system"));
            }
            self.superblock = reread;
        }
        self.blocks.resize(self.superblock.blocks);
        Ok(())
    }
}

impl FileSystem for Xfs<'_> {
    fn name(&self) -> &'static str {
        "xfs"
    }

    fn root(&self) -> FileId {
        FileId(self.volume.superblock.root_inode)
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn metadata(&self, id: FileId) -> Result<Metadata> {
        Ok(self.inode(id)?.metadata().clone())
    }

    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>> {
        directory::read(&self.volume, &self.inode(id)?)
    }

    fn read_link(&self, id: FileId) -> Result<Vec<u8>> {
        let inode = self.inode(id)?;
        if inode.kind != FileKind::Symlink {
            return Err(FilesError::WrongKind { inode: id.0, wanted: "symbolic link" });
        }
        symlink::read(&self.volume, &inode)
    }

    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
        self.volume.pending.refuse_attributes(id.0)?;
        xattr::read(&self.volume, &self.inode(id)?)
    }

    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>> {
        let inode = self.inode(id)?;
        if inode.kind != FileKind::Regular {
            return Err(FilesError::WrongKind { inode: id.0, wanted: "regular file" });
        }
        Ok(Box::new(Content::open(&self.volume, &inode)?))
    }
}

fn read_superblock(disk: &dyn ReadAt) -> Result<Vec<u8>> {
    let mut bytes = vec![0; superblock::LENGTH_BYTES];
    disk.read_exact_at(&mut bytes, 0).map_err(|source| FilesError::Read {
        offset_bytes: 0,
        length_bytes: bytes.len() as u64,
        source,
    })?;
    Ok(bytes)
}
