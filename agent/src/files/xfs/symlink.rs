//! Targets of symbolic links: inside the inode, or in blocks that say whose they are.

use super::Volume;
use super::content::read_mapped;
use super::inode::{Format, Inode};
use super::mapping::{self, Which};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;

/// The file system's own limit.
const MAX_TARGET_BYTES: u32 = 1024;
const MAGIC: [u8; 4] = *b"XSLM";
const HEADER_BYTES: usize = 56;

/// Where the link leads.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<u8>> {
    let damaged = |what: &str| FilesError::corrupt(format!("the symbolic link of inode {} {what}", inode.number));
    if inode.size_bytes == 0 || inode.size_bytes > u64::from(MAX_TARGET_BYTES) {
        return Err(damaged("has an impossible length"));
    }
    let length = in_memory(inode.size_bytes);
    if inode.data.format == Format::Local {
        return inode.data.bytes.get(..length).map(<[u8]>::to_vec).ok_or_else(|| damaged("does not fit its inode"));
    }
    let mappings = mapping::of_fork(volume, inode, Which::Data)?;
    let block_bytes = volume.blocks.block_bytes() as usize;
    // Enough for a target cut into pieces with a header each.
    let mut stored = vec![0; (MAX_TARGET_BYTES as usize + HEADER_BYTES).next_multiple_of(block_bytes) * 2];
    read_mapped(volume, &mappings, &mut stored, 0)?;
    if !volume.superblock.is_v5 {
        stored.truncate(length);
        return if stored.contains(&0) { Err(damaged("is cut short")) } else { Ok(stored) };
    }
    let mut target = Vec::with_capacity(length);
    let mut at = 0;
    while target.len() < length {
        let f = Fields::new(stored.get(at..).unwrap_or_default(), "symbolic link");
        let (offset, bytes) = (f.be32(4)? as usize, f.be32(8)? as usize);
        let belongs = f.slice(0, 4)? == MAGIC && f.be64(32)? == inode.number && offset == target.len();
        if !belongs || bytes == 0 || bytes > length - offset {
            return Err(damaged("has blocks that are not its own"));
        }
        target.extend_from_slice(f.slice(HEADER_BYTES, bytes)?);
        at += (HEADER_BYTES + bytes).next_multiple_of(block_bytes);
    }
    if target.contains(&0) { Err(damaged("is cut short")) } else { Ok(target) }
}
