//! Blocks of the trees: their header, their keys, and where their items lie. Checked whole once, then read freely.

use super::checksum::FIELD_BYTES;
use super::superblock::Superblock;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// A tree has fewer levels than this.
pub(super) const MAX_LEVELS: u8 = 8;
const HEADER_BYTES: usize = 0x65;
const POINTER_BYTES: usize = Key::BYTES + 16;
const ITEM_BYTES: usize = Key::BYTES + 8;

/// What items are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) const BYTES: usize = 17;

    pub(super) fn new(object: u64, kind: u8, offset: u64) -> Self {
        Self { object, kind, offset }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let f = Fields::new(bytes, "key");
        Ok(Self { object: f.le64(0)?, kind: f.byte(8)?, offset: f.le64(9)? })
    }
}

/// What a parent says about a block, which the block has to confirm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    pub(super) logical: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
    /// Known for all but the root of a tree.
    pub(super) first_key: Option<Key>,
}

/// A block of a tree whose structure was checked.
#[derive(Debug)]
pub(super) struct Node {
    bytes: Vec<u8>,
    keys: Vec<Key>,
    generation: u64,
    owner: u64,
    level: u8,
}

impl Node {
    /// Checks that `bytes` are the block at `logical` of this file system.
    pub(super) fn parse(superblock: &Superblock, logical: u64, bytes: Vec<u8>) -> Result<Self> {
        let corrupt = |what: &str| FilesError::corrupt(format!("the tree block at {logical} {what}"));
        let (stored, summed) = bytes.split_at(FIELD_BYTES);
        if !superblock.algorithm.matches(summed, stored) {
            return Err(corrupt("does not match its checksum"));
        }
        let f = Fields::new(&bytes, "tree block");
        if f.slice(0x20, 16)? != superblock.metadata_uuid || f.le64(0x30)? != logical {
            return Err(corrupt("is another block"));
        }
        let (generation, owner) = (f.le64(0x50)?, f.le64(0x58)?);
        let (count, level) = (f.le32(0x60)?, f.byte(0x64)?);
        if level >= MAX_LEVELS || generation > superblock.generation {
            return Err(corrupt("has an impossible level or generation"));
        }
        let entry_bytes = if level == 0 { ITEM_BYTES } else { POINTER_BYTES };
        let capacity = (bytes.len() - HEADER_BYTES) / entry_bytes;
        let count = usize::try_from(count).ok().filter(|count| *count <= capacity);
        let count = count.ok_or_else(|| corrupt("has more items than fit"))?;
        let key_at = |index| Key::parse(f.slice(HEADER_BYTES + index * entry_bytes, Key::BYTES)?);
        let keys = (0..count).map(key_at).collect::<Result<Vec<_>>>()?;
        if !keys.is_sorted_by(|a, b| a < b) {
            return Err(corrupt("has keys out of order"));
        }
        let node = Self { keys, generation, owner, level, bytes };
        if level == 0 && !(0..count).all(|index| node.item_range(index).is_some()) {
            return Err(corrupt("has an item outside the block"));
        }
        Ok(node)
    }

    /// Checks what the parent says.
    pub(super) fn confirm(&self, pointer: &Pointer) -> Result<()> {
        let is_first_key_right = pointer.first_key.is_none_or(|key| self.keys.first() == Some(&key));
        let is_empty_wrongly = self.level > 0 && self.keys.is_empty();
        if self.level != pointer.level
            || self.generation != pointer.generation
            || !is_first_key_right
            || is_empty_wrongly
        {
            return Err(FilesError::corrupt(format!(
                "the tree block at {} is not the one that its parent means",
                pointer.logical
            )));
        }
        Ok(())
    }

    /// The tree it was written for.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn level(&self) -> u8 {
        self.level
    }

    /// Index of the last key that is not greater.
    pub(super) fn floor(&self, key: Key) -> Option<usize> {
        self.keys.partition_point(|found| *found <= key).checked_sub(1)
    }

    pub(super) fn key(&self, index: usize) -> Option<Key> {
        self.keys.get(index).copied()
    }

    /// A child of an inner block.
    pub(super) fn child(&self, index: usize) -> Result<Option<Pointer>> {
        let Some(first_key) = self.key(index) else { return Ok(None) };
        let at = HEADER_BYTES + index * POINTER_BYTES + Key::BYTES;
        let f = Fields::new(&self.bytes, "tree block");
        let level = self.level.checked_sub(1).ok_or_else(|| FilesError::corrupt("a leaf was asked for a child"))?;
        let (logical, generation) = (f.le64(at)?, f.le64(at + 8)?);
        Ok(Some(Pointer { logical, generation, level, first_key: Some(first_key) }))
    }

    /// An item of a leaf.
    pub(super) fn item(&self, index: usize) -> &[u8] {
        self.item_range(index).and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    fn item_range(&self, index: usize) -> Option<std::ops::Range<usize>> {
        let f = Fields::new(&self.bytes, "item");
        let at = HEADER_BYTES + index * ITEM_BYTES + Key::BYTES;
        let offset = usize::try_from(f.le32(at).ok()?).ok()?;
        let length = usize::try_from(f.le32(at + 4).ok()?).ok()?;
        let start = offset.checked_add(HEADER_BYTES)?;
        let end = start.checked_add(length)?;
        let is_inside = start >= HEADER_BYTES + self.keys.len() * ITEM_BYTES && end <= self.bytes.len();
        is_inside.then_some(start..end)
    }
}
