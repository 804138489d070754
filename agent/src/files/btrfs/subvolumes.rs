//! Subvolumes and snapshots: their trees, where they hang in their parents, and which one is mounted by default.

use super::Volume;
use super::node::Key;
use super::superblock::RootBlock;
use super::trees::{TOP_LEVEL, Tree, is_file_tree};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result, escape_name};

const ROOT_ITEM: u8 = 132;
const ROOT_BACK_REFERENCE: u8 = 144;
const ROOT_REFERENCE: u8 = 156;
const DIRECTORY_ITEM: u8 = 84;
const ROOT_TREE: u64 = 1;
const CHECKSUM_TREE: u64 = 7;
const REFERENCE_HEADER_BYTES: usize = 18;
const DEFAULT_NAME: &[u8] = b"default";

/// The tree of a subvolume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subvolume {
    pub(super) tree: Tree,
    /// Inode of its root directory.
    pub(super) root_directory: u64,
    /// A subvolume that is being deleted has none.
    references: u32,
}

impl Volume<'_> {
    fn root_tree(&self) -> Tree {
        Tree { number: ROOT_TREE, root: self.superblock.root_tree }
    }

    /// The subvolume of that number.
    pub(super) fn subvolume(&self, number: u64) -> Result<Subvolume> {
        let found = if is_file_tree(number) { self.find_tree(number)? } else { None };
        found.ok_or_else(|| FilesError::corrupt(format!("subvolume {number} is missing")))
    }

    /// The tree with the checksums of data.
    pub(super) fn checksum_tree(&self) -> Result<Tree> {
        let found = self.find_tree(CHECKSUM_TREE)?;
        found.map(|found| found.tree).ok_or_else(|| FilesError::corrupt("the tree of checksums is missing"))
    }

    fn find_tree(&self, number: u64) -> Result<Option<Subvolume>> {
        // The offset is the transaction of a snapshot; the newest one counts.
        let cursor = self.floor(&self.root_tree(), Key::new(number, ROOT_ITEM, u64::MAX))?;
        if cursor.key().is_none_or(|key| key.object != number || key.kind != ROOT_ITEM) {
            return Ok(None);
        }
        let f = Fields::new(cursor.item(), "root item");
        let root = RootBlock { generation: f.le64(160)?, logical: f.le64(176)?, level: f.byte(238)? };
        let tree = Tree { number, root };
        Ok(Some(Subvolume { tree, root_directory: f.le64(168)?, references: f.le32(216)? }))
    }

    /// The subvolume that an entry of a directory names; nothing when it belongs to another place, as in a snapshot of
    /// its parent, or is gone.
    pub(super) fn linked_subvolume(&self, parent: (u64, u64), name: &[u8], number: u64) -> Result<Option<Subvolume>> {
        let (subvolume, directory) = parent;
        let Some(item) = self.item(&self.root_tree(), Key::new(subvolume, ROOT_REFERENCE, number))? else {
            return Ok(None);
        };
        let f = Fields::new(&item, "reference to a subvolume");
        if f.le64(0)? != directory || reference_name(&f)? != name || !is_file_tree(number) {
            return Ok(None);
        }
        Ok(self.find_tree(number)?.filter(|found| found.references > 0))
    }

    /// Says which subvolume a mount without options shows, when it is not the top level.
    pub(super) fn default_subvolume_note(&self) -> Result<Option<String>> {
        let directory = self.superblock.root_directory;
        let mut cursor = self.ceiling(&self.root_tree(), Key::new(directory, DIRECTORY_ITEM, 0))?;
        while cursor.key().is_some_and(|key| key.object == directory && key.kind == DIRECTORY_ITEM) {
            let f = Fields::new(cursor.item(), "entry of the root tree");
            let number = Key::parse(f.slice(0, Key::BYTES)?)?.object;
            let name_bytes = usize::from(f.le16(27)?);
            if f.slice(30, name_bytes)? == DEFAULT_NAME {
                return if number == TOP_LEVEL { Ok(None) } else { self.describe(number).map(Some) };
            }
            cursor.advance()?;
        }
        Ok(None)
    }

    fn describe(&self, number: u64) -> Result<String> {
        let cursor = self.ceiling(&self.root_tree(), Key::new(number, ROOT_BACK_REFERENCE, 0))?;
        let is_found = cursor.key().is_some_and(|key| key.object == number && key.kind == ROOT_BACK_REFERENCE);
        let name = if is_found {
            let f = Fields::new(cursor.item(), "reference to a subvolume");
            format!("{} (subvolume {number})", escape_name(reference_name(&f)?))
        } else {
            format!("subvolume {number}")
        };
        Ok(format!("this is the top level of the file system; a mount without options shows {name}"))
    }
}

fn reference_name<'a>(f: &Fields<'a>) -> Result<&'a [u8]> {
    f.slice(REFERENCE_HEADER_BYTES, usize::from(f.le16(16)?))
}
