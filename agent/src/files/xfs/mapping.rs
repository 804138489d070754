//! Which blocks of the disk hold which blocks of a fork: from its list of extents or its tree, and what the log left to do.

use super::Volume;
use super::inode::{Fork, Format, Inode};
use super::pending::Change;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// Memory for one open file stays below 128 MiB.
const MAX_EXTENTS: usize = 4 << 20;
const RECORD_BYTES: usize = 16;
/// Deeper than any tree of 2^54 blocks; it also bounds the recursion.
const MAX_LEVEL: u16 = 12;
const MAGIC_V4: [u8; 4] = *b"BMAP";
const MAGIC_V5: [u8; 4] = *b"BMA3";
/// Files end before block 2^54.
const END_BLOCK: u64 = 1 << 54;

/// A run of blocks; what is not mapped, or mapped but not yet written, is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First block in the file.
    pub(super) logical: u64,
    /// First block, counted from the start of the disk.
    pub(super) physical: u64,
    /// Number of blocks, not zero.
    pub(super) blocks: u32,
}

impl Mapping {
    pub(super) fn logical_end(&self) -> u64 {
        self.logical + u64::from(self.blocks)
    }
}

/// The forks of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Data,
    Attributes,
}

/// All mappings of a fork that has blocks, in ascending order.
pub(super) fn of_fork(volume: &Volume<'_>, inode: &Inode, which: Which) -> Result<Vec<Mapping>> {
    let fork = match (which, &inode.attributes) {
        (Which::Data, _) => &inode.data,
        (Which::Attributes, Some(fork)) => fork,
        (Which::Attributes, None) => return Ok(Vec::new()),
    };
    let mut collector = Collector { volume, inode: inode.number, next: 0, records: 0, mappings: Vec::new() };
    match fork.format {
        Format::Extents => collector.list(fork)?,
        Format::Btree => collector.root(&fork.bytes)?,
        _ => return Err(collector.corrupt("has a fork without blocks where it needs them")),
    }
    // What a damaged tree lost must not look like a hole.
    if collector.records != fork.extents {
        return Err(collector.corrupt("has another number of extents than it says"));
    }
    let mut mappings = collector.mappings;
    for change in volume.pending.changes(inode.number, which) {
        apply(&mut mappings, change, inode.number)?;
    }
    Ok(mappings)
}

struct Collector<'v, 'a> {
    volume: &'v Volume<'a>,
    inode: u64,
    /// Where the next extent may begin. It only grows, so even a tree that refers to itself ends.
    next: u64,
    records: u64,
    mappings: Vec<Mapping>,
}

impl Collector<'_, '_> {
    fn list(&mut self, fork: &Fork) -> Result<()> {
        let fitting = fork.bytes.len() / RECORD_BYTES;
        match usize::try_from(fork.extents) {
            Ok(count) if count <= fitting => self.records(&fork.bytes, count),
            _ => Err(self.corrupt("has more extents than fit into it")),
        }
    }

    /// The root has a short header: level and number of entries.
    fn root(&mut self, root: &[u8]) -> Result<()> {
        let f = Fields::new(root, "root of an extent tree");
        let level = f.be16(0)?;
        if level == 0 || level > MAX_LEVEL {
            return Err(self.corrupt("has an extent tree of an impossible height"));
        }
        self.children(root, 4, level)
    }

    /// Keys come first, then, behind room for as many of them as the node can have, the blocks they lead to.
    fn children(&mut self, node: &[u8], header_bytes: usize, level: u16) -> Result<()> {
        let f = Fields::new(node, "node of an extent tree");
        let at = if header_bytes == 4 { 2 } else { 6 };
        let most = node.len().saturating_sub(header_bytes) / RECORD_BYTES;
        let count = usize::from(f.be16(at)?);
        if count == 0 || count > most {
            return Err(self.corrupt("has a damaged extent tree"));
        }
        for index in 0..count {
            let child = f.be64(header_bytes + most * 8 + index * 8)?;
            self.block(child, level - 1)?;
        }
        Ok(())
    }

    fn block(&mut self, number: u64, level: u16) -> Result<()> {
        let place = self.volume.superblock.linear_block(number, 1);
        let place = place.ok_or_else(|| self.corrupt("has an extent tree outside the file system"))?;
        let block = self.volume.blocks.block(place)?;
        let f = Fields::new(&block, "block of an extent tree");
        let is_v5 = self.volume.superblock.is_v5;
        if f.slice(0, 4)? != if is_v5 { MAGIC_V5 } else { MAGIC_V4 } || f.be16(4)? != level {
            return Err(self.corrupt("has a damaged extent tree"));
        }
        if is_v5 && f.be64(56)? != self.inode && !self.volume.pending.has_new_owner(self.inode) {
            return Err(self.corrupt("has a part of another file's extent tree"));
        }
        let header_bytes = if is_v5 { 72 } else { 24 };
        if level > 0 {
            return self.children(&block, header_bytes, level);
        }
        let count = usize::from(f.be16(6)?);
        match block.get(header_bytes..) {
            Some(records) if count > 0 => self.records(records, count),
            _ => Err(self.corrupt("has a damaged extent tree")),
        }
    }

    fn records(&mut self, bytes: &[u8], count: usize) -> Result<()> {
        let f = Fields::new(bytes, "list of extents");
        for index in 0..count {
            let record = Record::of(f.be64(index * RECORD_BYTES)?, f.be64(index * RECORD_BYTES + 8)?);
            if record.blocks == 0 || record.logical < self.next || record.logical >= END_BLOCK {
                return Err(self.corrupt("has extents out of order"));
            }
            self.next = record.logical + u64::from(record.blocks);
            self.records += 1;
            if !record.is_unwritten {
                self.push(&record)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, record: &Record) -> Result<()> {
        let next = record.locate(self.volume).ok_or_else(|| self.corrupt("maps blocks outside the file system"))?;
        if let Some(last) = self.mappings.last_mut() {
            let adjoins = next.logical == last.logical_end() && next.physical == last.physical + u64::from(last.blocks);
            if let (true, Some(blocks)) = (adjoins, last.blocks.checked_add(next.blocks)) {
                last.blocks = blocks;
                return Ok(());
            }
        }
        if self.mappings.len() >= MAX_EXTENTS {
            return Err(FilesError::Limit { what: "number of extents of a file", limit: MAX_EXTENTS as u64 });
        }
        self.mappings.push(next);
        Ok(())
    }

    fn corrupt(&self, what: &str) -> FilesError {
        FilesError::corrupt(format!("inode {} {what}", self.inode))
    }
}

/// An extent as it is stored: 1 bit unwritten, 54 bits of the file's block, 52 of the disk's, 21 of length.
struct Record {
    logical: u64,
    numbered: u64,
    blocks: u32,
    is_unwritten: bool,
}

impl Record {
    fn of(high: u64, low: u64) -> Self {
        Self {
            logical: high << 1 >> 10,
            numbered: (high & 0x1FF) << 43 | low >> 21,
            blocks: u32::try_from(low & 0x1F_FFFF).unwrap_or(0),
            is_unwritten: high >> 63 != 0,
        }
    }

    fn locate(&self, volume: &Volume<'_>) -> Option<Mapping> {
        let physical = volume.superblock.linear_block(self.numbered, u64::from(self.blocks))?;
        Some(Mapping { logical: self.logical, physical, blocks: self.blocks })
    }
}

/// Does what the kernel would have done after the replay.
fn apply(mappings: &mut Vec<Mapping>, change: &Change, inode: u64) -> Result<()> {
    let (start, end) = change.range();
    let first = mappings.partition_point(|m| m.logical_end() <= start);
    let last = mappings.partition_point(|m| m.logical < end);
    let touched = &mappings[first..last.max(first)];
    let mut instead = Vec::new();
    match change {
        Change::Unmap { .. } => {
            instead.extend(touched.iter().filter_map(|m| clip(m, m.logical, start)));
            instead.extend(touched.iter().filter_map(|m| clip(m, end, m.logical_end())));
        }
        Change::Map { .. } if !touched.is_empty() => {
            let what = format!("inode {inode} gets an extent from the log where it has one already");
            return Err(FilesError::corrupt(what));
        }
        Change::Map { mapping, is_unwritten } => instead.extend((!is_unwritten).then_some(*mapping)),
    }
    mappings.splice(first..last.max(first), instead);
    Ok(())
}

/// The part of a mapping between two blocks of the file.
fn clip(mapping: &Mapping, start: u64, end: u64) -> Option<Mapping> {
    let (start, end) = (start.max(mapping.logical), end.min(mapping.logical_end()));
    let blocks = u32::try_from(end.checked_sub(start)?).ok().filter(|blocks| *blocks > 0)?;
    Some(Mapping { logical: start, physical: mapping.physical + (start - mapping.logical), blocks })
}

#[cfg(test)]
mod tests {
    use super::{Change, Mapping, Record, apply};

    fn mapping(logical: u64, physical: u64, blocks: u32) -> Mapping {
        Mapping { logical, physical, blocks }
    }

    #[test]
    fn records_are_packed_into_128_bits() {
        let record = Record::of(1 << 63 | 0x12_3456_789A << 9 | 0x155, 0x3FF_0000_1234 << 21 | 0x1F_0001);
        assert!(record.is_unwritten);
        assert_eq!(record.logical, 0x12_3456_789A);
        assert_eq!(record.numbered, 0x155 << 43 | 0x3FF_0000_1234);
        assert_eq!(record.blocks, 0x1F_0001);
    }

    #[test]
    fn what_is_unmapped_is_cut_out_of_its_neighbours() {
        let mut mappings = vec![mapping(0, 100, 10), mapping(10, 500, 5), mapping(20, 300, 10)];
        apply(&mut mappings, &Change::Unmap { logical: 4, blocks: 18 }, 1).unwrap();
        assert_eq!(mappings, [mapping(0, 100, 4), mapping(22, 302, 8)]);
        apply(&mut mappings, &Change::Unmap { logical: 1, blocks: 2 }, 1).unwrap();
        assert_eq!(mappings, [mapping(0, 100, 1), mapping(3, 103, 1), mapping(22, 302, 8)]);
        apply(&mut mappings, &Change::Unmap { logical: 5, blocks: 9 }, 1).unwrap();
        assert_eq!(mappings.len(), 3);
    }

    #[test]
    fn what_is_mapped_needs_a_hole() {
        let mut mappings = vec![mapping(0, 100, 4), mapping(8, 300, 4)];
        let map = |logical, blocks, is_unwritten| Change::Map { mapping: mapping(logical, 7, blocks), is_unwritten };
        apply(&mut mappings, &map(4, 4, false), 1).unwrap();
        assert_eq!(mappings, [mapping(0, 100, 4), mapping(4, 7, 4), mapping(8, 300, 4)]);
        apply(&mut mappings, &map(12, 4, true), 1).unwrap();
        assert_eq!(mappings.len(), 3);
        assert!(apply(&mut mappings, &map(11, 4, false), 1).is_err());
    }
}
