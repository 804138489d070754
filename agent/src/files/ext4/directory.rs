//! Directory entries. Hash trees need no code: their inner nodes look like empty entries to a linear reader.

use super::Volume;
use super::content::{Content, inline_directory};
use super::inode::Inode;
use crate::files::fields::Fields;
use crate::files::{DirEntry, FileContent, FileId, FileKind, FilesError, Result};

/// Memory for one directory stays below about a gigabyte even when every name is hostile.
const MAX_ENTRIES: usize = 8 << 20;
const ENTRY_HEADER_BYTES: usize = 8;

/// All entries of a directory but `.` and `..`.
pub(super) fn read(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<DirEntry>> {
    if inode.kind != FileKind::Directory {
        return Err(FilesError::WrongKind { inode: inode.number, wanted: "directory" });
    }
    inode.refuse_encrypted()?;
    let mut reader = Reader { volume, inode: inode.number, entries: Vec::new() };
    if inode.has_inline_data() {
        for area in inline_directory(inode)? {
            reader.block(&area)?;
        }
        return Ok(reader.entries);
    }
    let content = Content::open(volume, inode)?;
    let mut block = vec![0; volume.blocks.block_bytes() as usize];
    let mut blocks_read = 0;
    for extent in content.data_extents() {
        let mut at = extent.offset_bytes;
        while at + block.len() as u64 <= extent.offset_bytes + extent.length_bytes {
            content.read_exact_at(&mut block, at)?;
            reader.block(&block)?;
            at += block.len() as u64;
            blocks_read += 1;
            if blocks_read > volume.superblock.blocks {
                return Err(reader.damaged("is larger than the file system"));
            }
        }
    }
    Ok(reader.entries)
}

struct Reader<'v, 'a> {
    volume: &'v Volume<'a>,
    inode: u64,
    entries: Vec<DirEntry>,
}

impl Reader<'_, '_> {
    fn block(&mut self, block: &[u8]) -> Result<()> {
        let f = Fields::new(block, "directory entry");
        let mut at = 0;
        while at + ENTRY_HEADER_BYTES <= block.len() {
            let length = self.entry_bytes(f.le16(at + 4)?);
            if length < ENTRY_HEADER_BYTES || !length.is_multiple_of(4) || length > block.len() - at {
                return Err(self.damaged("has an entry with an impossible length"));
            }
            let child = f.le32(at)?;
            if child != 0 {
                let name_bytes = self.name_bytes(f.le16(at + 6)?);
                if name_bytes > length - ENTRY_HEADER_BYTES {
                    return Err(self.damaged("has a name that is longer than its entry"));
                }
                self.push(f.slice(at + ENTRY_HEADER_BYTES, name_bytes)?, child)?;
            }
            at += length;
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], child: u32) -> Result<()> {
        if name == b"." || name == b".." {
            return Ok(());
        }
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(self.damaged("has a name that no file can have"));
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Err(FilesError::Limit { what: "number of entries of a directory", limit: MAX_ENTRIES as u64 });
        }
        self.entries.push(DirEntry { name: name.to_vec(), id: FileId(u64::from(child)) });
        Ok(())
    }

    /// Lengths up to 64 KiB are squeezed into 16 bits where blocks are that large.
    fn entry_bytes(&self, stored: u16) -> usize {
        let block_bytes = self.volume.blocks.block_bytes();
        if block_bytes < 65536 {
            return usize::from(stored);
        }
        if stored == 0 || stored == u16::MAX { 65536 } else { usize::from(stored & !3) | usize::from(stored & 3) << 16 }
    }

    /// Without the file type feature the type's byte is the upper half of the length, always zero in practice.
    fn name_bytes(&self, stored: u16) -> usize {
        usize::from(if self.volume.superblock.has_file_types() { stored & 0xFF } else { stored })
    }

    fn damaged(&self, what: &str) -> FilesError {
        FilesError::corrupt(format!("directory inode {} {what}", self.inode))
    }
}
