//! The journal (jbd2) of a file system that was not unmounted: which blocks committed transactions left newer copies of.
//!
//! Nothing is copied: the result names for each block the journal block that holds its newest copy. One pass is
//! enough, because a transaction counts only once its commit block is seen; a revoke record then removes the copies
//! of its own and of earlier transactions. Fast commits (off by default in mke2fs) are not replayed, but named (`fast_commit`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Volume;
use super::blocks::{JOURNAL_MAGIC, JournalCopy};
use super::fast_commit::Scan;
use super::inode::Inode;
use super::mapping::{self, Mapping};
use crate::facts::checksum::crc32c_continue as crc32c;
use crate::files::fields::{Fields, join};
use crate::files::{FilesError, Result};

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Revokes, 64-bit numbers, asynchronous commits, both checksums, fast commits.
const INCOMPAT_KNOWN: u32 = 0x3F;

const TAG_ESCAPED: u32 = 1;
const TAG_SAME_UUID: u32 = 2;
const TAG_LAST: u32 = 8;
/// 128 MiB of memory.
const MAX_REVOKED: usize = 16 << 20;
const HEADER_BYTES: usize = 12;
const COMMIT_CHECKSUM_AT: usize = 0x10;
const DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;

/// What a replay found.
pub(super) struct Outcome {
    pub(super) copies: BTreeMap<u64, JournalCopy>,
    pub(super) notes: Vec<String>,
}

/// The journal's geometry; `first <= start < end` holds after `open`.
struct Journal<'v, 'a> {
    volume: &'v Volume<'a>,
    mappings: Vec<Mapping>,
    first: u32,
    end: u32,
    /// Behind the area of fast commits, which follows the log.
    whole_end: u32,
    start: u32,
    sequence: u32,
    incompat: u32,
    checksum_seed: u32,
}

/// The transaction that is being read.
#[derive(Default)]
struct Pending {
    copies: Vec<(u64, JournalCopy)>,
    revoked: Vec<u64>,
    damaged_blocks: u64,
}

/// Finds the newest committed copies. Damage ends the replay where the kernel would end it, with a note.
pub(super) fn replay(volume: &Volume<'_>) -> Result<Outcome> {
    let mut notes = Vec::new();
    let mut copies = BTreeMap::new();
    if volume.superblock.journal_inode == 0 {
        notes.push(
            "it was not unmounted and its journal is on another device; the newest changes may be missing".into(),
        );
        return Ok(Outcome { copies, notes });
    }
    let Some(journal) = Journal::open(volume)? else { return Ok(Outcome { copies, notes }) };
    let (transactions, next) = journal.scan(&mut copies, &mut notes)?;
    notes.extend(journal.fast_commits(next)?);
    tracing::info!(transactions, blocks = copies.len(), "the journal was replayed in memory");
    Ok(Outcome { copies, notes })
}

impl<'v, 'a> Journal<'v, 'a> {
    /// `None` when the journal is empty.
    fn open(volume: &'v Volume<'a>) -> Result<Option<Self>> {
        let inode = Inode::read(volume, u64::from(volume.superblock.journal_inode))?;
        let mappings = mapping::of_inode(volume, &inode)?;
        let mut journal = Self {
            volume,
            mappings,
            first: 0,
            end: 1,
            whole_end: 1,
            start: 0,
            sequence: 0,
            incompat: 0,
            checksum_seed: 0,
        };
        let block = journal.block(0)?;
        let f = Fields::new(&block, "journal superblock");
        let kind = f.be32(4)?;
        let is_v2 = kind == SUPERBLOCK_V2;
        if f.slice(0, 4)? != JOURNAL_MAGIC || !is_v2 && kind != SUPERBLOCK_V1 {
            return Err(FilesError::corrupt("the journal has no superblock"));
        }
        let (block_bytes, length) = (f.be32(0xC)?, f.be32(0x10)?);
        journal.incompat = if is_v2 { f.be32(0x28)? } else { 0 };
        journal.refuse_unknown()?;
        (journal.first, journal.sequence, journal.start) = (f.be32(0x14)?, f.be32(0x18)?, f.be32(0x1C)?);
        journal.checksum_seed = crc32c(u32::MAX, f.slice(0x30, 16)?);
        journal.whole_end = length;
        journal.end = length.saturating_sub(journal.fast_commit_blocks(f.be32(0x54)?));
        if journal.start == 0 {
            return Ok(None);
        }
        let in_order = 0 < journal.first && journal.first <= journal.start && journal.start < journal.end;
        // A small file system with an endless journal would cost time and memory.
        let in_order = in_order && u64::from(length) <= volume.superblock.blocks;
        if block_bytes != volume.superblock.block_bytes || !in_order {
            return Err(FilesError::corrupt("the journal's superblock contradicts itself"));
        }
        Ok(Some(journal))
    }

    fn refuse_unknown(&self) -> Result<()> {
        match self.incompat & !INCOMPAT_KNOWN {
            0 => Ok(()),
            unknown => Err(FilesError::Unsupported {
                file_system: "ext4",
                feature: format!("a journal with the unknown feature bits {unknown:#x}"),
            }),
        }
    }

    fn fast_commit_blocks(&self, stored: u32) -> u32 {
        match (self.incompat & INCOMPAT_FAST_COMMIT, stored) {
            (0, _) => 0,
            (_, 0) => DEFAULT_FAST_COMMIT_BLOCKS,
            (_, blocks) => blocks,
        }
    }

    /// What fast commits changed after the last full transaction; `sequence` is the number of the one they would have become.
    fn fast_commits(&self, sequence: u32) -> Result<Option<String>> {
        if self.incompat & INCOMPAT_FAST_COMMIT == 0 {
            return Ok(None);
        }
        let mut scan = Scan::new(sequence);
        // The kernel leaves the block behind the log out.
        for at in self.end.saturating_add(1)..self.whole_end {
            if !scan.take(&self.block(at)?) {
                break;
            }
        }
        Ok(scan.finish().note())
    }

    /// Follows the log from its start; returns the number of committed transactions, and that of the one that would come next.
    fn scan(&self, copies: &mut BTreeMap<u64, JournalCopy>, notes: &mut Vec<String>) -> Result<(u64, u32)> {
        let (mut at, mut sequence) = (self.start, self.sequence);
        let mut pending = Pending::default();
        let mut transactions = 0;
        // Each turn moves on by a block at least, so the log's length bounds the turns.
        let mut blocks_left = self.end - self.first;
        while blocks_left > 0 {
            let block = self.block(at)?;
            let f = Fields::new(&block, "journal block");
            if f.slice(0, 4)? != JOURNAL_MAGIC || f.be32(8)? != sequence {
                break;
            }
            let kind = f.be32(4)?;
            if !self.checksum_holds(kind, &block)? {
                notes.push(format!("its journal is damaged in transaction {sequence}; later changes are missing"));
                break;
            }
            let mut used = 1;
            match kind {
                DESCRIPTOR => used += self.descriptor(&block, at, sequence, blocks_left - 1, &mut pending)?,
                REVOKE => self.revoke(&f, &mut pending)?,
                COMMIT => {
                    std::mem::take(&mut pending).commit(copies, notes);
                    transactions += 1;
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
            blocks_left = blocks_left.saturating_sub(used);
            at = self.after(at, used);
        }
        Ok((transactions, sequence))
    }

    /// Takes over the tags of one descriptor block; returns how many data blocks follow it.
    fn descriptor(&self, block: &[u8], at: u32, sequence: u32, limit: u32, pending: &mut Pending) -> Result<u32> {
        let f = Fields::new(block, "journal descriptor");
        let tag_bytes = self.tag_bytes();
        let end = block.len() - if self.has_checksums() { 4 } else { 0 };
        let mut tag_at = HEADER_BYTES;
        let mut count = 0;
        while tag_at + tag_bytes <= end && count < limit {
            let tag = self.tag(&f, tag_at)?;
            count += 1;
            let copy =
                JournalCopy { block: self.physical(self.after(at, count))?, escaped: tag.flags & TAG_ESCAPED != 0 };
            if !self.volume.blocks.contains(tag.block, 1) {
                return Err(FilesError::corrupt("the journal holds a block outside the file system"));
            }
            if self.data_holds(copy.block, sequence, &tag)? {
                pending.copies.push((tag.block, copy));
            } else {
                pending.damaged_blocks += 1;
            }
            tag_at += tag_bytes + if tag.flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
            if tag.flags & TAG_LAST != 0 {
                break;
            }
        }
        Ok(count)
    }

    fn tag(&self, f: &Fields<'_>, at: usize) -> Result<Tag> {
        let low = f.be32(at)?;
        let is_64bit = self.incompat & INCOMPAT_64BIT != 0;
        let high = if is_64bit { f.be32(at + 8)? } else { 0 };
        Ok(if self.incompat & INCOMPAT_CSUM_V3 != 0 {
            Tag { block: join(high, low), flags: f.be32(at + 4)?, checksum: f.be32(at + 12)? }
        } else {
            Tag { block: join(high, low), flags: u32::from(f.be16(at + 6)?), checksum: u32::from(f.be16(at + 4)?) }
        })
    }

    fn tag_bytes(&self) -> usize {
        if self.incompat & INCOMPAT_CSUM_V3 != 0 {
            return 16;
        }
        let wide = if self.incompat & INCOMPAT_64BIT != 0 { 4 } else { 0 };
        8 + wide + if self.incompat & INCOMPAT_CSUM_V2 != 0 { 2 } else { 0 }
    }

    fn revoke(&self, f: &Fields<'_>, pending: &mut Pending) -> Result<()> {
        let is_64bit = self.incompat & INCOMPAT_64BIT != 0;
        let end = f.be32(HEADER_BYTES)? as usize;
        let mut at = HEADER_BYTES + 4;
        while at < end {
            if pending.revoked.len() >= MAX_REVOKED {
                return Err(FilesError::Limit { what: "revoked blocks of a transaction", limit: MAX_REVOKED as u64 });
            }
            pending.revoked.push(if is_64bit { f.be64(at)? } else { u64::from(f.be32(at)?) });
            at += if is_64bit { 8 } else { 4 };
        }
        Ok(())
    }

    fn has_checksums(&self) -> bool {
        self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// Descriptor and revoke blocks carry their checksum at the end, commit blocks in their header.
    fn checksum_holds(&self, kind: u32, block: &[u8]) -> Result<bool> {
        if !self.has_checksums() {
            return Ok(true);
        }
        let at = match kind {
            DESCRIPTOR | REVOKE => block.len() - 4,
            COMMIT => COMMIT_CHECKSUM_AT,
            _ => return Ok(true),
        };
        let f = Fields::new(block, "journal block");
        let rest = f.slice(at + 4, block.len() - at - 4)?;
        let before = crc32c(self.checksum_seed, f.slice(0, at)?);
        Ok(crc32c(crc32c(before, &[0; 4]), rest) == f.be32(at)?)
    }

    /// The checksum of a logged block covers the transaction's number and the bytes as they lie in the journal.
    fn data_holds(&self, block: u64, sequence: u32, tag: &Tag) -> Result<bool> {
        if !self.has_checksums() {
            return Ok(true);
        }
        let mut bytes = vec![0; self.volume.superblock.block_bytes as usize];
        self.volume.blocks.read(block, 0, &mut bytes)?;
        let actual = crc32c(crc32c(self.checksum_seed, &sequence.to_be_bytes()), &bytes);
        let is_v3 = self.incompat & INCOMPAT_CSUM_V3 != 0;
        Ok(if is_v3 { actual == tag.checksum } else { actual & 0xFFFF == tag.checksum })
    }

    /// The log is a ring between `first` and `end`.
    fn after(&self, at: u32, blocks: u32) -> u32 {
        let to_end = self.end - at;
        let blocks = blocks % (self.end - self.first);
        if blocks < to_end { at + blocks } else { self.first + (blocks - to_end) }
    }

    fn physical(&self, logical: u32) -> Result<u64> {
        let index = self.mappings.partition_point(|m| m.logical_end() <= u64::from(logical));
        match self.mappings.get(index) {
            Some(m) if m.logical <= logical => Ok(m.physical + u64::from(logical - m.logical)),
            _ => Err(FilesError::corrupt("the journal has a hole")),
        }
    }

    fn block(&self, logical: u32) -> Result<Arc<[u8]>> {
        self.volume.blocks.block(self.physical(logical)?)
    }
}

/// One block that a descriptor announces.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

impl Pending {
    fn commit(self, copies: &mut BTreeMap<u64, JournalCopy>, notes: &mut Vec<String>) {
        copies.extend(self.copies);
        for block in self.revoked {
            copies.remove(&block);
        }
        if self.damaged_blocks > 0 {
            notes.push(format!("{} blocks in its journal are damaged and were not replayed", self.damaged_blocks));
        }
    }
}
