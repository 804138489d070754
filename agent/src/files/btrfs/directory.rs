//! Directories: the items that keep the order in which names were made.

use super::Volume;
use super::identity::{Identity, Object};
use super::inode::Inode;
use super::node::Key;
use super::placeholders::Seen;
use crate::files::fields::Fields;
use crate::files::{DirEntry, FileId, FileKind, FilesError, Result};

const DIRECTORY_INDEX: u8 = 96;
const INODE_ITEM: u8 = 1;
const ROOT_ITEM: u8 = 132;
const HEADER_BYTES: usize = 30;
const MAX_NAME_BYTES: usize = 255;
/// Memory for one directory stays below a gigabyte even when every name is long.
const MAX_ENTRIES: usize = 4 << 20;

/// All entries of a directory.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<DirEntry>> {
    if inode.kind() != FileKind::Directory {
        return Err(FilesError::WrongKind { inode: inode.metadata.id.0, wanted: "directory" });
    }
    let mut entries = Vec::new();
    let mut cursor = volume.ceiling(&inode.tree, Key::new(inode.number, DIRECTORY_INDEX, 0))?;
    while cursor.key().is_some_and(|key| key.object == inode.number && key.kind == DIRECTORY_INDEX) {
        if entries.len() >= MAX_ENTRIES {
            return Err(FilesError::Limit { what: "number of entries of a directory", limit: MAX_ENTRIES as u64 });
        }
        entries.push(entry(volume, inode, cursor.item())?);
        cursor.advance()?;
    }
    Ok(entries)
}

fn entry(volume: &Volume<'_>, inode: &Inode, item: &[u8]) -> Result<DirEntry> {
    let f = Fields::new(item, "directory entry");
    let target = Key::parse(f.slice(0, Key::BYTES)?)?;
    let (data_bytes, name_bytes) = (usize::from(f.le16(25)?), usize::from(f.le16(27)?));
    let name = f.slice(HEADER_BYTES, name_bytes)?;
    if item.len() != HEADER_BYTES + name_bytes || data_bytes != 0 {
        return Err(inode.corrupt("has a directory entry of a wrong length"));
    }
    let is_special = matches!(name, b"" | b"." | b"..");
    if is_special || name.len() > MAX_NAME_BYTES || name.contains(&b'/') || name.contains(&0) {
        return Err(inode.corrupt("has a name that no file can have"));
    }
    let id = match target.kind {
        INODE_ITEM => Identity::of_inode(inode.tree.number, target.object).pack()?,
        ROOT_ITEM => subvolume(volume, inode, name, target.object)?,
        _ => return Err(inode.corrupt("has a directory entry that leads nowhere")),
    };
    Ok(DirEntry { name: name.to_vec(), id })
}

/// The root directory of a subvolume, or the placeholder for it.
fn subvolume(volume: &Volume<'_>, inode: &Inode, name: &[u8], number: u64) -> Result<FileId> {
    let parent = inode.tree.number;
    let seen = match volume.linked_subvolume((parent, inode.number), name, number) {
        Ok(Some(found)) => return Identity::of_inode(number, found.root_directory).pack(),
        Ok(None) => Seen::In(inode.number),
        // The neighbours are still shown.
        Err(_) => Seen::Damaged,
    };
    volume.placeholders.remember(parent, number, seen)?;
    Identity { subvolume: parent, object: Object::Placeholder(number) }.pack()
}
