//! Group descriptors: where the inode table of each block group lies.

use super::blocks::Blocks;
use super::superblock::Superblock;
use crate::files::fields::{Fields, join};
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;

/// Block and byte offset in it of an inode.
pub(super) fn locate_inode(superblock: &Superblock, blocks: &Blocks<'_>, inode: u64) -> Result<(u64, usize)> {
    let index = match inode.checked_sub(1) {
        Some(index) if inode <= u64::from(superblock.inodes) => index,
        _ => return Err(FilesError::corrupt(format!("inode {inode} does not exist"))),
    };
    let group = index / u64::from(superblock.inodes_per_group);
    let table = inode_table(superblock, blocks, group)?;
    let byte = index % u64::from(superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
    let block_bytes = u64::from(superblock.block_bytes);
    let block = table
        .checked_add(byte / block_bytes)
        .filter(|block| blocks.contains(*block, 1))
        .ok_or_else(|| FilesError::corrupt(format!("the inode table of group {group} lies outside the disk")))?;
    Ok((block, in_memory(byte % block_bytes)))
}

fn inode_table(superblock: &Superblock, blocks: &Blocks<'_>, group: u64) -> Result<u64> {
    let per_block = superblock.descriptors_per_block();
    let block = blocks.block(superblock.descriptor_block(group / per_block))?;
    let at = in_memory(group % per_block) * superblock.descriptor_bytes as usize;
    let descriptor = Fields::new(&block, "group descriptor");
    let high = if superblock.descriptor_bytes >= 64 { descriptor.le32(at + 0x28)? } else { 0 };
    Ok(join(high, descriptor.le32(at + 0x08)?))
}
