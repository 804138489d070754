//! Extended attributes: inside the inode, in leaf blocks, or with the value in blocks of its own.

use super::Volume;
use super::acl;
use super::content::read_mapped;
use super::inode::{Format, Inode};
use super::mapping::{self, Mapping, Which};
use crate::files::fields::Fields;
use crate::files::{ExtendedAttribute, FilesError, Result};

const LEAF_V4: u16 = 0xFBEE;
const LEAF_V5: u16 = 0x3BEE;
const NODE_V4: u16 = 0xFEBE;
const NODE_V5: u16 = 0x3EBE;
const REMOTE_MAGIC: [u8; 4] = *b"XARM";
const REMOTE_HEADER_BYTES: usize = 56;
/// Room for the names of millions of parents; a longer chain runs in circles.
const MAX_LEAVES: u32 = 1 << 18;
/// The kernel's limit for the height of a tree of attributes.
const MAX_LEVEL: u16 = 5;

const FLAG_LOCAL: u8 = 0x1;
const FLAG_TRUSTED: u8 = 0x2;
const FLAG_SECURITY: u8 = 0x4;
/// Names of a file's parents, which the kernel keeps for itself.
const FLAG_PARENT: u8 = 0x8;
/// Being made or removed when the power went.
const FLAG_INCOMPLETE: u8 = 0x80;
/// What the kernel accepts for one value.
const MAX_VALUE_BYTES: usize = 65536;
/// More than any real file has; bounds the memory for one file.
const MAX_TOTAL_BYTES: usize = 16 << 20;

/// Attributes of a file as `setxattr` takes them.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<ExtendedAttribute>> {
    let mut reader = Reader { volume, inode: inode.number, mappings: Vec::new(), total_bytes: 0, found: Vec::new() };
    match &inode.attributes {
        None => {}
        Some(fork) if fork.format == Format::Local => reader.short(&fork.bytes)?,
        // A fork that has just been made is an empty list.
        Some(fork) if fork.format == Format::Extents && fork.extents == 0 => {}
        Some(_) => {
            reader.mappings = mapping::of_fork(volume, inode, Which::Attributes)?;
            reader.leaves()?;
        }
    }
    Ok(reader.found)
}

struct Reader<'v, 'a> {
    volume: &'v Volume<'a>,
    inode: u64,
    mappings: Vec<Mapping>,
    total_bytes: usize,
    found: Vec<ExtendedAttribute>,
}

impl Reader<'_, '_> {
    fn short(&mut self, area: &[u8]) -> Result<()> {
        let f = Fields::new(area, "short attributes");
        let mut at = 4;
        for _ in 0..f.byte(2)? {
            let (name_bytes, value_bytes) = (usize::from(f.byte(at)?), usize::from(f.byte(at + 1)?));
            let flags = f.byte(at + 2)?;
            let name = f.slice(at + 3, name_bytes)?;
            self.push(flags, name, f.slice(at + 3 + name_bytes, value_bytes)?.to_vec())?;
            at += 3 + name_bytes + value_bytes;
        }
        if at != usize::from(f.be16(0)?) {
            return Err(self.damaged("have another length than they say"));
        }
        Ok(())
    }

    /// Leaves form a chain; a tree above them leads to the first one.
    fn leaves(&mut self) -> Result<()> {
        let mut leaf = self.first_leaf()?;
        for _ in 0..MAX_LEAVES {
            let block = self.block(leaf)?;
            let f = Fields::new(&block, "leaf of attributes");
            if f.be16(8)? != if self.volume.superblock.is_v5 { LEAF_V5 } else { LEAF_V4 } {
                return Err(self.damaged("are no attributes"));
            }
            self.leaf(&f)?;
            leaf = f.be32(0)?;
            if leaf == 0 {
                return Ok(());
            }
        }
        Err(self.damaged("run in circles"))
    }

    fn first_leaf(&self) -> Result<u32> {
        let (magic, header_bytes) = if self.volume.superblock.is_v5 { (NODE_V5, 64) } else { (NODE_V4, 16) };
        let mut at = 0;
        let mut above = MAX_LEVEL + 1;
        loop {
            let block = self.block(at)?;
            let f = Fields::new(&block, "node of attributes");
            if f.be16(8)? != magic {
                return Ok(at);
            }
            let level = f.be16(header_bytes - if self.volume.superblock.is_v5 { 6 } else { 2 })?;
            if level == 0 || level >= above {
                return Err(self.damaged("have a tree that leads nowhere"));
            }
            above = level;
            at = f.be32(header_bytes + 4)?;
        }
    }

    fn block(&self, logical: u32) -> Result<Vec<u8>> {
        let block_bytes = self.volume.blocks.block_bytes();
        let mut block = vec![0; block_bytes as usize];
        read_mapped(self.volume, &self.mappings, &mut block, u64::from(logical) * u64::from(block_bytes))?;
        let f = Fields::new(&block, "block of attributes");
        if self.volume.superblock.is_v5 && f.be64(48)? != self.inode {
            return Err(self.damaged("have a block of another file"));
        }
        Ok(block)
    }

    fn leaf(&mut self, f: &Fields<'_>) -> Result<()> {
        let (count_at, entries_at) = if self.volume.superblock.is_v5 { (56, 80) } else { (12, 32) };
        for index in 0..usize::from(f.be16(count_at)?) {
            let entry = entries_at + index * 8;
            let (at, flags) = (usize::from(f.be16(entry + 4)?), f.byte(entry + 6)?);
            if flags & (FLAG_PARENT | FLAG_INCOMPLETE) != 0 {
                continue;
            }
            if flags & FLAG_LOCAL != 0 {
                let (value_bytes, name_bytes) = (usize::from(f.be16(at)?), usize::from(f.byte(at + 2)?));
                let value = f.slice(at + 3 + name_bytes, value_bytes)?.to_vec();
                self.push(flags, f.slice(at + 3, name_bytes)?, value)?;
            } else {
                let name = f.slice(at + 9, usize::from(f.byte(at + 8)?))?;
                let value = self.remote(f.be32(at)?, f.be32(at + 4)? as usize)?;
                self.push(flags, name, value)?;
            }
        }
        Ok(())
    }

    /// A value in blocks of its own, each with a header since version 5.
    fn remote(&self, first: u32, length: usize) -> Result<Vec<u8>> {
        if length > MAX_VALUE_BYTES {
            return Err(self.damaged("have a value of an impossible length"));
        }
        let block_bytes = self.volume.blocks.block_bytes() as usize;
        let header_bytes = if self.volume.superblock.is_v5 { REMOTE_HEADER_BYTES } else { 0 };
        let room = block_bytes - header_bytes;
        let mut stored = vec![0; length.div_ceil(room) * block_bytes];
        read_mapped(self.volume, &self.mappings, &mut stored, u64::from(first) * block_bytes as u64)?;
        let mut value = Vec::with_capacity(length);
        for block in stored.chunks(block_bytes) {
            let bytes = room.min(length - value.len());
            if header_bytes > 0 && !self.is_own_value(block, value.len(), bytes)? {
                return Err(self.damaged("have a value that is not theirs"));
            }
            value.extend_from_slice(&block[header_bytes..header_bytes + bytes]);
        }
        Ok(value)
    }

    fn is_own_value(&self, block: &[u8], offset: usize, bytes: usize) -> Result<bool> {
        let f = Fields::new(block, "value of an attribute");
        let is_place = f.be32(4)? as usize == offset && f.be32(8)? as usize == bytes;
        Ok(is_place && f.slice(0, 4)? == REMOTE_MAGIC && f.be64(32)? == self.inode)
    }

    fn push(&mut self, flags: u8, name: &[u8], value: Vec<u8>) -> Result<()> {
        if flags & (FLAG_PARENT | FLAG_INCOMPLETE) != 0 {
            return Ok(());
        }
        if name.is_empty() || name.contains(&0) {
            return Err(self.damaged("have a name that no attribute can have"));
        }
        self.total_bytes += name.len() + value.len();
        if self.total_bytes > MAX_TOTAL_BYTES {
            return Err(FilesError::Limit { what: "extended attributes of a file", limit: MAX_TOTAL_BYTES as u64 });
        }
        let prefix: &[u8] = match flags & (FLAG_TRUSTED | FLAG_SECURITY) {
            0 => b"user.",
            FLAG_SECURITY => b"security.",
            FLAG_TRUSTED => b"trusted.",
            _ => return Err(self.damaged("are in two places at once")),
        };
        // The kernel shows these a second time under their own names; setting those is not possible.
        let (name, value) = match (prefix, name) {
            (b"trusted.", b"SGI_ACL_FILE") => (b"system.posix_acl_access".to_vec(), acl::to_xattr(&value)?),
            (b"trusted.", b"SGI_ACL_DEFAULT") => (b"system.posix_acl_default".to_vec(), acl::to_xattr(&value)?),
            _ => ([prefix, name].concat(), value),
        };
        self.found.push(ExtendedAttribute { name, value });
        Ok(())
    }

    fn damaged(&self, what: &str) -> FilesError {
        FilesError::corrupt(format!("the extended attributes of inode {} {what}", self.inode))
    }
}
