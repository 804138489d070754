//! Extended attributes: inside the inode, in their own block, or with the value in an inode of its own.

use super::Volume;
use super::acl;
use super::content::Content;
use super::inode::Inode;
use crate::files::fields::Fields;
use crate::files::{ExtendedAttribute, FilesError, Result};

const MAGIC: u32 = 0xEA02_0000;
const BLOCK_HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;
/// What the kernel accepts for one value.
const MAX_VALUE_BYTES: u64 = 65536;
/// More than any real file has; bounds the memory for one file.
const MAX_TOTAL_BYTES: usize = 16 << 20;
const INDEX_ACL_ACCESS: u8 = 2;
const INDEX_ACL_DEFAULT: u8 = 3;
const INDEX_SYSTEM: u8 = 7;
const INDEX_ENCRYPTION: u8 = 9;

/// One entry before its value is looked up.
struct Entry<'a> {
    index: u8,
    name: &'a [u8],
    value: Value<'a>,
}

enum Value<'a> {
    Here(&'a [u8]),
    InInode { number: u64, size_bytes: u64 },
}

/// Attributes of a file as `setxattr` takes them.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<ExtendedAttribute>> {
    let mut attributes = Vec::new();
    let mut total_bytes = 0;
    let block = match inode.attribute_block {
        0 => None,
        number => Some(volume.blocks.block(number)?),
    };
    let in_block = block.as_deref().map_or(Ok(Vec::new()), block_entries)?;
    for entry in inode_entries(inode)?.into_iter().chain(in_block) {
        if is_hidden(&entry) {
            continue;
        }
        let attribute = resolve(volume, &entry)?;
        total_bytes += attribute.value.len();
        if total_bytes > MAX_TOTAL_BYTES {
            return Err(FilesError::Limit { what: "extended attributes of a file", limit: MAX_TOTAL_BYTES as u64 });
        }
        attributes.push(attribute);
    }
    Ok(attributes)
}

/// The part of inline data that does not fit into the block area.
pub(super) fn inline_data(inode: &Inode) -> Result<Option<Vec<u8>>> {
    for entry in inode_entries(inode)? {
        if let (INDEX_SYSTEM, b"data", Value::Here(value)) = (entry.index, entry.name, &entry.value) {
            return Ok(Some(value.to_vec()));
        }
    }
    Ok(None)
}

fn is_hidden(entry: &Entry<'_>) -> bool {
    entry.index == INDEX_ENCRYPTION || entry.index == INDEX_SYSTEM && entry.name == b"data"
}

fn inode_entries(inode: &Inode) -> Result<Vec<Entry<'_>>> {
    let area = inode.attribute_area.as_slice();
    match Fields::new(area, "attribute area").le32(0) {
        Ok(MAGIC) => entries(&area[4..], 0),
        _ => Ok(Vec::new()),
    }
}

fn block_entries(block: &[u8]) -> Result<Vec<Entry<'_>>> {
    if Fields::new(block, "attribute block").le32(0)? != MAGIC {
        return Err(FilesError::corrupt("a block of extended attributes has no magic number"));
    }
    entries(block, BLOCK_HEADER_BYTES)
}

/// Entries that start at `first` of `area`; values are counted from the start of `area`.
fn entries(area: &[u8], first: usize) -> Result<Vec<Entry<'_>>> {
    let f = Fields::new(area, "extended attribute");
    let mut found = Vec::new();
    let mut at = first;
    // Four zero bytes end the list; a list that fills the area to its end needs none.
    while at + 4 <= area.len() && f.le32(at)? != 0 {
        let name_bytes = usize::from(f.byte(at)?);
        let (value_inode, value_bytes) = (f.le32(at + 4)?, f.le32(at + 8)?);
        let value = if value_inode != 0 {
            Value::InInode { number: u64::from(value_inode), size_bytes: u64::from(value_bytes) }
        } else if value_bytes == 0 {
            Value::Here(&[])
        } else {
            Value::Here(f.slice(usize::from(f.le16(at + 2)?), value_bytes as usize)?)
        };
        found.push(Entry { index: f.byte(at + 1)?, name: f.slice(at + ENTRY_BYTES, name_bytes)?, value });
        at += (ENTRY_BYTES + name_bytes).next_multiple_of(4);
    }
    Ok(found)
}

fn resolve(volume: &Volume<'_>, entry: &Entry<'_>) -> Result<ExtendedAttribute> {
    let stored = match entry.value {
        Value::Here(value) => value.to_vec(),
        Value::InInode { number, size_bytes } => value_from_inode(volume, number, size_bytes)?,
    };
    let (prefix, value) = match entry.index {
        0 => ("", stored),
        1 => ("user.", stored),
        INDEX_ACL_ACCESS => ("system.posix_acl_access", acl::to_xattr(&stored)?),
        INDEX_ACL_DEFAULT => ("system.posix_acl_default", acl::to_xattr(&stored)?),
        4 => ("trusted.", stored),
        6 => ("security.", stored),
        INDEX_SYSTEM => ("system.", stored),
        8 => ("system.richacl", stored),
        10 => ("gnu.", stored),
        other => return Err(FilesError::corrupt(format!("an extended attribute has the unknown prefix {other}"))),
    };
    Ok(ExtendedAttribute { name: [prefix.as_bytes(), entry.name].concat(), value })
}

fn value_from_inode(volume: &Volume<'_>, number: u64, size_bytes: u64) -> Result<Vec<u8>> {
    let inode = Inode::read(volume, number)?;
    if !inode.is_attribute_value() || inode.has_inline_data() || inode.size_bytes != size_bytes {
        return Err(FilesError::corrupt(format!("inode {number} is not the value of an extended attribute")));
    }
    Content::open(volume, &inode)?.read_all(MAX_VALUE_BYTES, "value of an extended attribute")
}
