//! Chunks: which places of the device hold a stretch of the logical addresses that everything else is found by.
//!
//! One device only. A chunk lies there once (SINGLE) or twice (DUP).

use std::collections::BTreeMap;

use super::NAME;
use super::node::Key;
use super::superblock::Superblock;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// A file system of 64 TiB has about as many as this.
const MAX_CHUNKS: usize = 1 << 18;
pub(super) const KEY_TYPE: u8 = 228;
/// Object of the keys of all chunks.
pub(super) const OBJECT: u64 = 256;
const HEADER_BYTES: usize = 48;
const STRIPE_BYTES: usize = 32;
const PROFILE_DUP: u64 = 1 << 5;
const PROFILES: [(u64, &str); 7] = [
    (1 << 3, "RAID0"),
    (1 << 4, "RAID1"),
    (1 << 6, "RAID10"),
    (1 << 7, "RAID5"),
    (1 << 8, "RAID6"),
    (1 << 9, "RAID1C3"),
    (1 << 10, "RAID1C4"),
];
/// Data, system, metadata, and the two profiles that can be read.
const KNOWN_TYPES: u64 = 0x7 | PROFILE_DUP;

/// One chunk without its logical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chunk {
    length_bytes: u64,
    /// Where its copies begin on the device; both are the same when there is one.
    copies: [u64; 2],
}

/// All chunks by logical address; they never overlap.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    by_start: BTreeMap<u64, Chunk>,
}

impl Chunks {
    /// The chunks in the superblock: pairs of key and item.
    pub(super) fn of_superblock(superblock: &Superblock) -> Result<Self> {
        let mut chunks = Self::default();
        let mut rest = superblock.system_chunks.as_slice();
        while !rest.is_empty() {
            let f = Fields::new(rest, "system chunk");
            let key = Key::parse(f.slice(0, Key::BYTES)?)?;
            let stripes = f.le16(Key::BYTES + 44)?;
            let item = f.slice(Key::BYTES, HEADER_BYTES + usize::from(stripes) * STRIPE_BYTES)?;
            if key.kind != KEY_TYPE {
                return Err(FilesError::corrupt("the superblock has a system chunk of another type"));
            }
            chunks.add(superblock, key, item)?;
            rest = &rest[Key::BYTES + item.len()..];
        }
        Ok(chunks)
    }

    /// Takes over a chunk item; those that this reader cannot read are refused by their profile.
    pub(super) fn add(&mut self, superblock: &Superblock, key: Key, item: &[u8]) -> Result<()> {
        let start = key.offset;
        let chunk = parse(superblock, item)?;
        let corrupt = |what: &str| FilesError::corrupt(format!("the chunk at {start} {what}"));
        let end = start.checked_add(chunk.length_bytes).ok_or_else(|| corrupt("is too long"))?;
        let before = self.by_start.range(..end).next_back();
        if before.is_some_and(|(other, found)| other + found.length_bytes > start) {
            return Err(corrupt("overlaps another one"));
        }
        if self.by_start.len() >= MAX_CHUNKS {
            return Err(FilesError::Limit { what: "number of chunks", limit: MAX_CHUNKS as u64 });
        }
        self.by_start.insert(start, chunk);
        Ok(())
    }

    /// Offsets on the device of the copies of a stretch, which has to lie inside one chunk.
    pub(super) fn locate(&self, logical: u64, length_bytes: u64) -> Result<Vec<u64>> {
        let outside = || FilesError::corrupt(format!("{length_bytes} bytes at {logical} lie in no chunk"));
        let (start, chunk) = self.by_start.range(..=logical).next_back().ok_or_else(outside)?;
        let within = logical - start;
        if within.checked_add(length_bytes).is_none_or(|end| end > chunk.length_bytes) {
            return Err(outside());
        }
        let mut copies: Vec<u64> = chunk.copies.iter().map(|copy| copy + within).collect();
        copies.dedup();
        Ok(copies)
    }
}

fn parse(superblock: &Superblock, item: &[u8]) -> Result<Chunk> {
    let f = Fields::new(item, "chunk");
    let unsupported = |feature: String| FilesError::Unsupported { file_system: NAME, feature };
    let (length_bytes, kind, stripes) = (f.le64(0)?, f.le64(24)?, f.le16(44)?);
    if let Some((_, name)) = PROFILES.iter().find(|(bit, _)| kind & bit != 0) {
        return Err(unsupported(format!("the {name} profile")));
    }
    if kind & !KNOWN_TYPES != 0 {
        return Err(unsupported(format!("the unknown chunk type {kind:#x}")));
    }
    let wanted = if kind & PROFILE_DUP != 0 { 2 } else { 1 };
    if stripes != wanted || length_bytes == 0 || !length_bytes.is_multiple_of(u64::from(superblock.sector_bytes)) {
        return Err(FilesError::corrupt(format!("a chunk has {stripes} stripes and {length_bytes} bytes")));
    }
    let mut copies = [0; 2];
    for (index, copy) in copies.iter_mut().enumerate() {
        let stripe = HEADER_BYTES + index.min(usize::from(stripes) - 1) * STRIPE_BYTES;
        let (device, uuid) = (f.le64(stripe)?, f.array(stripe + 16)?);
        if device != superblock.device || superblock.device_uuid != uuid {
            return Err(unsupported("chunks on another device".to_owned()));
        }
        *copy = f.le64(stripe + 8)?;
        if copy.checked_add(length_bytes).is_none() {
            return Err(FilesError::corrupt("a chunk lies outside the device"));
        }
    }
    Ok(Chunk { length_bytes, copies })
}
