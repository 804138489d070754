//! Directories: a tree of entries sorted by name, its root in the file record, its other nodes in blocks.
//!
//! A bitmap says which blocks are in use. While a directory is being changed, tree and bitmap may disagree for a
//! moment, and a disk may be captured in it. Entries of blocks that only one of the two knows count when the file
//! itself confirms the name.

use std::collections::HashSet;

use super::file::{self, File};
use super::file_name::{self, FileName};
use super::fixups;
use super::record::{Reference, kind};
use super::stream::Stream;
use super::{FIRST_USER_RECORD, ROOT_RECORD};
use crate::files::fields::Fields;
use crate::files::{DirEntry, FileId, FilesError, Result};
use crate::lengths::in_memory;

/// What the attributes of a directory are called.
pub(super) const NAME: &str = "$I30";
const BLOCK_MAGIC: &[u8; 4] = b"INDX";
const COLLATION_FILE_NAME: u32 = 1;
const HEAD_IN_ROOT: usize = 0x10;
const HEAD_IN_BLOCK: usize = 0x18;
const ENTRY_HEAD_BYTES: usize = 0x10;
const FLAG_HAS_CHILD: u16 = 1;
const FLAG_LAST: u16 = 2;
const BLOCK_BYTES: std::ops::RangeInclusive<u64> = 512..=2 << 20;
/// Blocks that are smaller than a cluster are numbered in these.
const SMALL_UNIT_BYTES: u64 = 512;
/// An index root fits into a file record.
const MAX_ROOT_BYTES: u64 = 64 << 10;
/// Memory for one directory stays below about a gigabyte even when every name is hostile.
const MAX_ENTRIES: usize = 8 << 20;
const MAX_BLOCKS: u64 = 1 << 20;

/// All names in a directory but the second, short ones, and in the root but those of the file system's own files.
pub(super) fn read(directory: &File<'_, '_>) -> Result<Vec<DirEntry>> {
    let root = directory.small(kind::INDEX_ROOT, NAME, MAX_ROOT_BYTES, "root of a directory's index")?;
    let root = root.ok_or_else(|| directory.damaged("is a directory without an index"))?;
    let f = Fields::new(&root, "index root");
    if f.le32(0)? != kind::FILE_NAME || f.le32(4)? != COLLATION_FILE_NAME {
        return Err(directory.damaged("has an index that is not one of names"));
    }
    let block_bytes = u64::from(f.le32(8)?);
    if !block_bytes.is_power_of_two() || !BLOCK_BYTES.contains(&block_bytes) {
        return Err(directory.damaged("has an index with blocks of impossible size"));
    }
    let mut reader = Reader { directory, entries: Vec::new(), doubtful: Vec::new(), pending: Vec::new() };
    reader.node(&root, HEAD_IN_ROOT, Trust::Full)?;
    let bitmap = directory.small(kind::BITMAP, NAME, MAX_BLOCKS / 8, "bitmap of a directory")?;
    match directory.stream(kind::INDEX_ALLOCATION, NAME)? {
        Some(stream) => {
            let bitmap = bitmap.ok_or_else(|| directory.damaged("has an index without a bitmap"))?;
            Blocks { stream, block_bytes, bitmap }.read(&mut reader)?;
        }
        None if reader.pending.is_empty() => {}
        None => return Err(directory.damaged("has an index without its blocks")),
    }
    reader.finish()
}

/// How much an entry is believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Tree and bitmap agree.
    Full,
    /// The file has to confirm it.
    Doubtful,
}

/// The nodes that are not in the file record.
struct Blocks {
    stream: Stream,
    block_bytes: u64,
    bitmap: Vec<u8>,
}

impl Blocks {
    /// Follows the tree, each block once, then looks at blocks in use that the tree did not lead to.
    fn read(&self, reader: &mut Reader<'_, '_, '_>) -> Result<()> {
        let mut seen = HashSet::new();
        let unit_bytes = self.unit_bytes(reader.directory);
        while let Some(child) = reader.pending.pop() {
            let at = child.checked_mul(unit_bytes).filter(|at| at.is_multiple_of(self.block_bytes));
            let index =
                at.ok_or_else(|| reader.directory.damaged("has an index that leads astray"))? / self.block_bytes;
            if !seen.insert(index) {
                return Err(reader.directory.damaged("has an index that leads to a block twice"));
            }
            let block = self.block(reader.directory, index)?;
            reader.node(&block, HEAD_IN_BLOCK, if self.is_used(index) { Trust::Full } else { Trust::Doubtful })?;
        }
        let blocks = self.stream.size_bytes / self.block_bytes;
        for index in (0..blocks.min(self.bitmap.len() as u64 * 8)).filter(|index| self.is_used(*index)) {
            if seen.contains(&index) {
                continue;
            }
            // What was taken but never written is no block of this index; what was is, and must not be torn.
            if self.starts_as_block(reader.directory, index)? {
                reader.node(&self.block(reader.directory, index)?, HEAD_IN_BLOCK, Trust::Doubtful)?;
                // Its children are in use themselves or gone.
                reader.pending.clear();
            }
        }
        Ok(())
    }

    /// What the tree numbers its blocks in.
    fn unit_bytes(&self, directory: &File<'_, '_>) -> u64 {
        let cluster_bytes = directory.mft.clusters.geometry.cluster_bytes;
        if cluster_bytes <= self.block_bytes { cluster_bytes } else { SMALL_UNIT_BYTES }
    }

    fn is_used(&self, index: u64) -> bool {
        self.bitmap.get(in_memory(index / 8)).is_some_and(|byte| byte >> (index % 8) & 1 != 0)
    }

    fn starts_as_block(&self, directory: &File<'_, '_>, index: u64) -> Result<bool> {
        let mut head = [0; HEAD_IN_BLOCK];
        self.stream.read(&directory.mft.clusters, &mut head, index * self.block_bytes)?;
        Ok(head.starts_with(BLOCK_MAGIC) && self.is_at(directory, index, &head)?)
    }

    /// Whether a block says that it is where it was found.
    fn is_at(&self, directory: &File<'_, '_>, index: u64, block: &[u8]) -> Result<bool> {
        let place = Fields::new(block, "index block").le64(0x10)?;
        Ok(place == index * self.block_bytes / self.unit_bytes(directory))
    }

    fn block(&self, directory: &File<'_, '_>, index: u64) -> Result<Vec<u8>> {
        let at = index * self.block_bytes;
        if at.checked_add(self.block_bytes).is_none_or(|end| end > self.stream.size_bytes) || index >= MAX_BLOCKS {
            return Err(directory.damaged("has an index that leads outside itself"));
        }
        let mut block = vec![0; in_memory(self.block_bytes)];
        self.stream.read(&directory.mft.clusters, &mut block, at)?;
        fixups::apply(&mut block, BLOCK_MAGIC, &format!("block {index} of directory {}", directory.number()))?;
        if !self.is_at(directory, index, &block)? {
            return Err(directory.damaged("has a block of another place in its index"));
        }
        Ok(block)
    }
}

struct Reader<'f, 'v, 'a> {
    directory: &'f File<'v, 'a>,
    entries: Vec<DirEntry>,
    doubtful: Vec<DirEntry>,
    /// Children that are still to be read, in the units of the tree.
    pending: Vec<u64>,
}

impl Reader<'_, '_, '_> {
    /// Takes the entries of one node, whose head is at `head_at`.
    fn node(&mut self, node: &[u8], head_at: usize, trust: Trust) -> Result<()> {
        let head = Fields::new(node, "index node");
        let start = head_at.saturating_add(head.length32(head_at)?);
        let end = head_at.saturating_add(head.length32(head_at + 4)?);
        let used = node.get(..end).ok_or_else(|| self.directory.damaged("has an index node beyond its block"))?;
        let f = Fields::new(used, "index node");
        let mut at = start;
        loop {
            let (length, key_bytes, flags) = (f.length16(at + 8)?, f.length16(at + 0xA)?, f.le16(at + 0xC)?);
            let child_bytes = if flags & FLAG_HAS_CHILD != 0 { 8 } else { 0 };
            if length < ENTRY_HEAD_BYTES + child_bytes || !length.is_multiple_of(8) {
                return Err(self.directory.damaged("has an index entry of impossible length"));
            }
            let entry = Fields::new(f.slice(at, length)?, "index entry");
            if child_bytes != 0 {
                if self.pending.len() as u64 >= MAX_BLOCKS {
                    return Err(FilesError::Limit { what: "blocks of a directory", limit: MAX_BLOCKS });
                }
                self.pending.push(entry.le64(length - child_bytes)?);
            }
            if flags & FLAG_LAST != 0 {
                return Ok(());
            }
            if key_bytes > length - ENTRY_HEAD_BYTES - child_bytes {
                return Err(self.directory.damaged("has an index entry with a name longer than itself"));
            }
            self.entry(Reference::parse(&entry, 0)?, entry.slice(ENTRY_HEAD_BYTES, key_bytes)?, trust)?;
            at += length;
        }
    }

    fn entry(&mut self, reference: Reference, key: &[u8], trust: Trust) -> Result<()> {
        let FileName { name, is_dos_only, .. } = FileName::parse(key)?;
        let is_own = self.directory.number() == ROOT_RECORD && reference.number < FIRST_USER_RECORD;
        if is_dos_only || is_own {
            return Ok(());
        }
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
            return Err(self.directory.damaged("has a name that no file can have"));
        }
        if self.entries.len() + self.doubtful.len() >= MAX_ENTRIES {
            return Err(FilesError::Limit { what: "number of entries of a directory", limit: MAX_ENTRIES as u64 });
        }
        let entry = DirEntry { name, id: file::id(reference)? };
        match trust {
            Trust::Full => self.entries.push(entry),
            Trust::Doubtful => self.doubtful.push(entry),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<DirEntry>> {
        if self.doubtful.is_empty() {
            return Ok(self.entries);
        }
        let mut known: HashSet<(Vec<u8>, FileId)> =
            self.entries.iter().map(|entry| (entry.name.clone(), entry.id)).collect();
        for entry in self.doubtful {
            if known.contains(&(entry.name.clone(), entry.id)) {
                continue;
            }
            let file = File::open(self.directory.mft, entry.id);
            let parent = self.directory.record.reference;
            if file.and_then(|file| file_name::confirms(&file, parent, &entry.name)).unwrap_or(false) {
                known.insert((entry.name.clone(), entry.id));
                self.entries.push(entry);
            }
        }
        Ok(self.entries)
    }
}
