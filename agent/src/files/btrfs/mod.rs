//! Btrfs on one device, read-only: the state of its last committed transaction.
//!
//! Everything is found from one superblock by way of checksummed blocks, whose copies are tried in turn; the log of
//! what was written out since then is not looked at but named in the notes. Data of files is compared with its
//! checksums. The tree of the top level (subvolume 5) is the root; other subvolumes are directories in it.
//!
//! Layout source: "On-disk Format" of the btrfs documentation and the structures of `linux/btrfs_tree.h`.

mod checksum;
mod chunks;
mod compression;
mod content;
mod data;
mod directory;
mod extents;
mod identity;
mod inode;
mod lzo;
mod node;
mod placeholders;
mod subvolumes;
mod superblock;
mod trees;
mod xattr;

use std::sync::Arc;

use self::chunks::Chunks;
use self::compression::ExtentCache;
use self::content::Content;
use self::identity::{Identity, Object};
use self::inode::Inode;
use self::node::Key;
use self::placeholders::Placeholders;
use self::superblock::Superblock;
use self::trees::{FIRST_FREE_OBJECT, NodeCache, TOP_LEVEL, Tree};
use crate::files::{
    DirEntry, ExtendedAttribute, FileContent, FileId, FileKind, FileSystem, FilesError, Metadata, Result,
};
use crate::read_at::ReadAt;

const NAME: &str = "btrfs";
const CHUNK_TREE: u64 = 3;
/// The kernel's `PATH_MAX`.
const MAX_LINK_TARGET_BYTES: u64 = 4096;

/// The device and what is needed to find anything on it: what all parts of the reader work on.
struct Volume<'a> {
    disk: Arc<dyn ReadAt + 'a>,
    superblock: Superblock,
    chunks: Chunks,
    nodes: NodeCache,
    extents: ExtentCache,
    placeholders: Placeholders,
}

/// An opened btrfs file system.
pub struct Btrfs<'a> {
    volume: Volume<'a>,
    root: FileId,
    notes: Vec<String>,
}

/// Whether `disk` has the first copy of a superblock of this file system.
pub fn probe(disk: &dyn ReadAt) -> Result<bool> {
    superblock::probe(disk)
}

impl<'a> Btrfs<'a> {
    /// Chooses a superblock and reads the map of the device. Refuses what is spread over several devices.
    pub fn open(disk: Arc<dyn ReadAt + 'a>) -> Result<Self> {
        if !probe(&*disk)? {
            return Err(FilesError::NotRecognised);
        }
        let (superblock, mut notes) = superblock::choose(&*disk)?;
        let mut volume = Volume {
            chunks: Chunks::of_superblock(&superblock)?,
            disk,
            superblock,
            nodes: NodeCache::default(),
            extents: ExtentCache::default(),
            placeholders: Placeholders::default(),
        };
        volume.chunks = volume.read_chunks()?;
        volume.subvolume(TOP_LEVEL)?;
        notes.extend(volume.notes());
        Ok(Self { volume, root: Identity::of_inode(TOP_LEVEL, FIRST_FREE_OBJECT).pack()?, notes })
    }

    fn inode(&self, id: FileId, wanted: &'static str) -> Result<Inode> {
        let identity = Identity::unpack(id);
        match identity.object {
            Object::Inode(number) => Inode::read(&self.volume, identity.subvolume, number),
            Object::Placeholder(_) => Err(FilesError::WrongKind { inode: id.0, wanted }),
        }
    }
}

impl Volume<'_> {
    /// The whole map, by way of the part of it that the superblock has.
    fn read_chunks(&self) -> Result<Chunks> {
        let tree = Tree { number: CHUNK_TREE, root: self.superblock.chunk_tree };
        let mut chunks = Chunks::default();
        let mut cursor = self.ceiling(&tree, Key::new(chunks::OBJECT, chunks::KEY_TYPE, 0))?;
        while let Some(key) = cursor.key().filter(|key| key.object == chunks::OBJECT && key.kind == chunks::KEY_TYPE) {
            chunks.add(&self.superblock, key, cursor.item())?;
            cursor.advance()?;
        }
        Ok(chunks)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.superblock.has_log {
            notes.push(
                "this is the last whole transaction; files written out by fsync after it are not shown as they were \
                 then, mount the recovery point to see them"
                    .to_owned(),
            );
        }
        if self.superblock.has_errors {
            notes.push("the file system is marked as having errors; files may be damaged".to_owned());
        }
        if self.superblock.device_bytes > self.disk.size_bytes() {
            notes.push(format!(
                "the file system has {} bytes but the disk only {}; what lies beyond its end cannot be read",
                self.superblock.device_bytes,
                self.disk.size_bytes()
            ));
        }
        let default = self.default_subvolume_note();
        notes.extend(
            default.unwrap_or_else(|error| Some(format!("which subvolume is the default is unknown: {error}"))),
        );
        notes
    }
}

impl FileSystem for Btrfs<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn root(&self) -> FileId {
        self.root
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn metadata(&self, id: FileId) -> Result<Metadata> {
        let identity = Identity::unpack(id);
        match identity.object {
            Object::Inode(number) => Ok(Inode::read(&self.volume, identity.subvolume, number)?.metadata),
            Object::Placeholder(subvolume) => placeholders::metadata(&self.volume, identity.subvolume, subvolume),
        }
    }

    fn read_dir(&self, id: FileId) -> Result<Vec<DirEntry>> {
        let identity = Identity::unpack(id);
        match identity.object {
            Object::Inode(_) => directory::read(&self.volume, &self.inode(id, "directory")?),
            Object::Placeholder(missing) => {
                self.volume.placeholders.directory(identity.subvolume, missing).map(|_| Vec::new())
            }
        }
    }

    fn read_link(&self, id: FileId) -> Result<Vec<u8>> {
        let wanted = "symbolic link";
        let inode = self.inode(id, wanted)?;
        if inode.kind() != FileKind::Symlink {
            return Err(FilesError::WrongKind { inode: id.0, wanted });
        }
        Content::new(&self.volume, inode).read_link(MAX_LINK_TARGET_BYTES)
    }

    fn extended_attributes(&self, id: FileId) -> Result<Vec<ExtendedAttribute>> {
        match Identity::unpack(id).object {
            Object::Inode(_) => xattr::read(&self.volume, &self.inode(id, "file")?),
            Object::Placeholder(_) => Ok(Vec::new()),
        }
    }

    fn open_file(&self, id: FileId) -> Result<Box<dyn FileContent + '_>> {
        let wanted = "regular file";
        let inode = self.inode(id, wanted)?;
        if inode.kind() != FileKind::Regular {
            return Err(FilesError::WrongKind { inode: id.0, wanted });
        }
        Ok(Box::new(Content::new(&self.volume, inode)))
    }
}
