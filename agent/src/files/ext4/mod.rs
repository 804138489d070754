//! ext2, ext3 and ext4, read-only, from any state of the disk.
//!
//! A volume that was not unmounted is read through its journal: `journal` finds the committed blocks and `blocks`
//! serves them in place of the old ones, so nothing is written and little is kept in memory. Case-insensitive
//! directories are read by their exact names. Checksums of the journal are verified, those of other metadata are not
//! (besides the superblock's): the repository proved the bytes already, and a damaged disk should still give up what
//! it can.
//!
//! Layout source: the kernel's `Documentation/filesystems/ext4` and the on-disk structures of e2fsprogs.

mod acl;
mod blocks;
mod content;
mod directory;
mod extents;
mod fast_commit;
mod groups;
mod indirect;
mod inode;
mod journal;
mod mapping;
mod superblock;
mod xattr;

use std::sync::Arc;

use self::blocks::Blocks;
use self::content::Content;
use self::inode::{BLOCK_AREA_BYTES, Inode};
use self::superblock::Superblock;
use crate::files::{
    DirEntry, ExtendedAttribute, FileContent, FileId, FileKind, FileSystem, FilesError, Metadata, Result,
};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

const ROOT_INODE: u64 = 2;
/// The kernel's `PATH_MAX`.
const MAX_LINK_TARGET_BYTES: u64 = 4096;

/// Geometry and blocks: what all parts of the reader work on.
struct Volume<'a> {
    superblock: Superblock,
    blocks: Blocks<'a>,
}

/// An opened ext2, ext3 or ext4 file system.
pub struct Ext4<'a> {
    volume: Volume<'a>,
    notes: Vec<String>,
}

/// Whether `disk` starts with a superblock of this family.
pub fn probe(disk: &dyn ReadAt) -> Result<bool> {
    if disk.size_bytes() < superblock::OFFSET_BYTES + superblock::LENGTH_BYTES as u64 {
        return Ok(false);
    }
    Ok(superblock::has_magic(&read_superblock(disk)?))
}

impl<'a> Ext4<'a> {
    /// Checks the superblock and replays the journal in memory if the file system was not unmounted.
    pub fn open(disk: Arc<dyn ReadAt + 'a>) -> Result<Self> {
        if !probe(&*disk)? {
            return Err(FilesError::NotRecognised);
        }
        let superblock = superblock::parse(&read_superblock(&*disk)?)?;
        let blocks = Blocks::new(disk, superblock.block_bytes, superblock.blocks);
        let mut volume = Volume { superblock, blocks };
        let mut notes = Vec::new();
        if volume.superblock.needs_recovery() {
            let outcome = journal::replay(&volume)?;
            notes.extend(outcome.notes);
            volume.blocks.replay(outcome.copies);
            volume.reread_superblock()?;
        }
        if volume.superblock.is_checksum_wrong {
            notes.push("the checksum of the superblock is wrong; files may be damaged".to_owned());
        }
        Ok(Self { volume, notes })
    }

    fn inode(&self, id: FileId) -> Result<Inode> {
        Inode::read(&self.volume, id.0)
    }
}

impl Volume<'_> {
    /// After a replay the superblock may be another one; its geometry must be the same.
    fn reread_superblock(&mut self) -> Result<()> {
        let mut bytes = vec![0; superblock::LENGTH_BYTES];
        let block_bytes = u64::from(self.superblock.block_bytes);
        self.blocks.read(superblock::OFFSET_BYTES / block_bytes, superblock::OFFSET_BYTES % block_bytes, &mut bytes)?;
        let reread = superblock::parse(&bytes)?;
        if reread.block_bytes != self.superblock.block_bytes {
            return Err(FilesError::corrupt("the journal changes the block size"));
        }
        self.blocks.resize(reread.blocks);
        self.superblock = reread;
        Ok(())
    }
}

impl FileSystem for Ext4<'_> {
    fn name(&self) -> &'static str {
        self.volume.superblock.family()
    }

    fn root(&self) -> FileId {
        FileId(ROOT_INODE)
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
        inode.refuse_encrypted()?;
        let is_fast = inode.size_bytes < BLOCK_AREA_BYTES as u64 && !inode.has_inline_data() && !inode.has_extents();
        if is_fast {
            return Ok(inode.block_area[..in_memory(inode.size_bytes)].to_vec());
        }
        Content::open(&self.volume, &inode)?.read_all(MAX_LINK_TARGET_BYTES, "target of a symbolic link")
    }

    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
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
    disk.read_exact_at(&mut bytes, superblock::OFFSET_BYTES).map_err(|source| FilesError::Read {
        offset_bytes: superblock::OFFSET_BYTES,
        length_bytes: bytes.len() as u64,
        source,
    })?;
    Ok(bytes)
}
