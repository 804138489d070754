//! Names in a directory: inside the inode, or in data blocks. Hash and free space blocks are for finding, not for reading.

use super::Volume;
use super::content::read_mapped;
use super::inode::{Format, Inode};
use super::mapping::{self, Which};
use crate::files::fields::Fields;
use crate::files::{DirEntry, FileId, FileKind, FilesError, Result};

/// Memory for one directory stays below about a gigabyte even when every name is hostile.
const MAX_ENTRIES: usize = 8 << 20;
/// Data blocks lie before this byte of a directory, hashes behind it.
const DATA_END_BYTES: u64 = 1 << 35;
/// Blocks are read together up to this.
const READ_BYTES: u64 = 256 << 10;
const FREE_TAG: u16 = 0xFFFF;
/// The number, the length of the name, the tag at the end.
const ENTRY_FIXED_BYTES: usize = 8 + 1 + 2;
const ALIGNMENT: usize = 8;
/// The number of the directory in a header of version 5.
const OWNER_AT: usize = 40;

/// All entries of a directory but `.` and `..`.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<DirEntry>> {
    if inode.kind != FileKind::Directory {
        return Err(FilesError::WrongKind { inode: inode.number, wanted: "directory" });
    }
    let mut reader = Reader { volume, inode: inode.number, entries: Vec::new() };
    if inode.data.format == Format::Local {
        let end = reader.short(&inode.data.bytes)?;
        return if end as u64 == inode.size_bytes {
            Ok(reader.entries)
        } else {
            Err(reader.damaged("has another length"))
        };
    }
    reader.blocks(inode)?;
    Ok(reader.entries)
}

struct Reader<'v, 'a> {
    volume: &'v Volume<'a>,
    inode: u64,
    entries: Vec<DirEntry>,
}

impl Reader<'_, '_> {
    /// Inside the inode, numbers have four bytes unless one of them needs eight. Returns where the entries end.
    fn short(&mut self, area: &[u8]) -> Result<usize> {
        let f = Fields::new(area, "short directory");
        let number_bytes = if f.byte(1)? > 0 { 8 } else { 4 };
        let mut at = 2 + number_bytes;
        for _ in 0..f.byte(0)? {
            let name_bytes = usize::from(f.byte(at)?);
            let name = f.slice(at + 3, name_bytes)?;
            let number_at = at + 3 + name_bytes + usize::from(self.volume.superblock.has_file_types);
            let child = if number_bytes == 8 { f.be64(number_at)? } else { u64::from(f.be32(number_at)?) };
            self.push(name, child)?;
            at = number_at + number_bytes;
        }
        Ok(at)
    }

    fn blocks(&mut self, inode: &Inode) -> Result<()> {
        let mappings = mapping::of_fork(self.volume, inode, Which::Data)?;
        // Its own entry and its parent's are in the first block, so even an empty directory has that.
        if mappings.first().is_none_or(|first| first.logical > 0) {
            return Err(self.damaged("has no first block"));
        }
        let block_bytes = u64::from(self.volume.blocks.block_bytes());
        let dir_block_bytes = u64::from(self.volume.superblock.dir_block_bytes);
        let mut buf = Vec::new();
        let mut next = 0;
        // Extents may lead to the same blocks again and again.
        let mut bytes_left = self.volume.superblock.blocks * block_bytes;
        for mapping in mappings.iter().take_while(|m| m.logical < DATA_END_BYTES / block_bytes) {
            // A directory block may lie in several extents.
            let first_byte = mapping.logical * block_bytes;
            let start = (first_byte - first_byte % dir_block_bytes).max(next);
            let end = (mapping.logical_end() * block_bytes).min(DATA_END_BYTES).next_multiple_of(dir_block_bytes);
            let mut at = start;
            while at < end {
                let length = (end - at).min(READ_BYTES);
                bytes_left =
                    bytes_left.checked_sub(length).ok_or_else(|| self.damaged("is larger than the file system"))?;
                buf.resize(crate::lengths::in_memory(length), 0);
                read_mapped(self.volume, &mappings, &mut buf, at)?;
                for block in buf.chunks(self.volume.superblock.dir_block_bytes as usize) {
                    self.block(block)?;
                }
                at += length;
            }
            next = next.max(end);
        }
        Ok(())
    }

    fn block(&mut self, block: &[u8]) -> Result<()> {
        let f = Fields::new(block, "directory block");
        let is_v5 = self.volume.superblock.is_v5;
        let (header_bytes, single, data) = if is_v5 { (64, b"XDB3", b"XDD3") } else { (16, b"XD2B", b"XD2D") };
        let magic: [u8; 4] = f.array(0)?;
        let end = if magic == *single {
            single_block_end(&f, block.len()).ok_or_else(|| self.damaged("has a damaged block"))?
        } else if magic == *data {
            block.len()
        } else {
            return Err(self.damaged("has a block that is no directory block"));
        };
        if is_v5 && f.be64(OWNER_AT)? != self.inode {
            return Err(self.damaged("has a block of another directory"));
        }
        let mut at = header_bytes;
        while at < end {
            at += self.entry(&f, at, end - at)?;
        }
        Ok(())
    }

    /// Takes one entry, or passes over free space; returns its length.
    fn entry(&mut self, f: &Fields<'_>, at: usize, room: usize) -> Result<usize> {
        if f.be16(at)? == FREE_TAG {
            let length = usize::from(f.be16(at + 2)?);
            return match length {
                // The last free space of a block of 64 KiB cannot be longer than its header leaves.
                0 => Err(self.damaged("has free space without a length")),
                length if length > room || !length.is_multiple_of(ALIGNMENT) => {
                    Err(self.damaged("has free space of an impossible length"))
                }
                length => Ok(length),
            };
        }
        let name_bytes = usize::from(f.byte(at + 8)?);
        let kind_bytes = usize::from(self.volume.superblock.has_file_types);
        let length = (ENTRY_FIXED_BYTES + name_bytes + kind_bytes).next_multiple_of(ALIGNMENT);
        // The tag says where the entry begins: without it this is no entry.
        if length > room || usize::from(f.be16(at + length - 2)?) != at {
            return Err(self.damaged("has a damaged entry"));
        }
        self.push(f.slice(at + 9, name_bytes)?, f.be64(at)?)?;
        Ok(length)
    }

    fn push(&mut self, name: &[u8], child: u64) -> Result<()> {
        if name == b"." || name == b".." {
            return Ok(());
        }
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(self.damaged("has a name that no file can have"));
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Err(FilesError::Limit { what: "number of entries of a directory", limit: MAX_ENTRIES as u64 });
        }
        self.entries.push(DirEntry { name: name.to_vec(), id: FileId(child) });
        Ok(())
    }

    fn damaged(&self, what: &str) -> FilesError {
        FilesError::corrupt(format!("directory inode {} {what}", self.inode))
    }
}

/// A directory of a single block has its hashes at the end of it: eight bytes each and then their number.
fn single_block_end(f: &Fields<'_>, length: usize) -> Option<usize> {
    let count = usize::try_from(f.be32(length.checked_sub(8)?).ok()?).ok()?;
    length.checked_sub(8)?.checked_sub(count.checked_mul(8)?)
}
