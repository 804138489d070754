//! Extended attributes: full names with their values; ACLs are stored as `setxattr` takes them.

use super::Volume;
use super::inode::Inode;
use super::node::Key;
use crate::files::fields::Fields;
use crate::files::{ExtendedAttribute, FilesError, Result};

const ATTRIBUTE_ITEM: u8 = 24;
const HEADER_BYTES: usize = 30;
/// More than any real file has; bounds the memory for one file.
const MAX_TOTAL_BYTES: usize = 16 << 20;

/// Attributes of a file as `setxattr` takes them.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<ExtendedAttribute>> {
    let mut attributes = Vec::new();
    let mut total_bytes = 0;
    let mut cursor = volume.ceiling(&inode.tree, Key::new(inode.number, ATTRIBUTE_ITEM, 0))?;
    while cursor.key().is_some_and(|key| key.object == inode.number && key.kind == ATTRIBUTE_ITEM) {
        total_bytes += cursor.item().len();
        if total_bytes > MAX_TOTAL_BYTES {
            return Err(FilesError::Limit { what: "extended attributes of a file", limit: MAX_TOTAL_BYTES as u64 });
        }
        collect(inode, cursor.item(), &mut attributes)?;
        cursor.advance()?;
    }
    Ok(attributes)
}

/// Attributes whose names have the same hash share one item.
fn collect(inode: &Inode, item: &[u8], attributes: &mut Vec<ExtendedAttribute>) -> Result<()> {
    let f = Fields::new(item, "extended attribute");
    let mut at = 0;
    while at < item.len() {
        let (value_bytes, name_bytes) = (usize::from(f.le16(at + 25)?), usize::from(f.le16(at + 27)?));
        let name = f.slice(at + HEADER_BYTES, name_bytes)?.to_vec();
        let value = f.slice(at + HEADER_BYTES + name_bytes, value_bytes)?.to_vec();
        if name.is_empty() || name.contains(&0) {
            return Err(inode.corrupt("has an extended attribute without a proper name"));
        }
        attributes.push(ExtendedAttribute { name, value });
        at += HEADER_BYTES + name_bytes + value_bytes;
    }
    Ok(())
}
