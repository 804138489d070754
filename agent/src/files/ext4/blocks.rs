//! Blocks of the disk as the file system means them: from the journal where it is newer, else from their place.
//!
//! It keeps a small cache of single metadata blocks; file contents are never cached.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::files::{FilesError, Result};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

const CACHE_BYTES: usize = 8 << 20;
/// First bytes of every journal block; in a copy of a block that starts so they are stored as zeros.
pub(super) const JOURNAL_MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];

/// Where a committed transaction left the newest copy of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct JournalCopy {
    pub(super) block: u64,
    pub(super) escaped: bool,
}

/// Reads blocks; shared by all threads, the lock guards the cache only and is never held while reading.
pub(super) struct Blocks<'a> {
    disk: Arc<dyn ReadAt + 'a>,
    block_bytes: u32,
    blocks: u64,
    replayed: BTreeMap<u64, JournalCopy>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    blocks: HashMap<u64, Arc<[u8]>>,
    order: VecDeque<u64>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(disk: Arc<dyn ReadAt + 'a>, block_bytes: u32, blocks: u64) -> Self {
        Self { disk, block_bytes, blocks, replayed: BTreeMap::new(), cache: Mutex::default() }
    }

    /// From now on reads these blocks from the journal.
    pub(super) fn replay(&mut self, replayed: BTreeMap<u64, JournalCopy>) {
        self.replayed = replayed;
        self.cache = Mutex::default();
    }

    /// Takes over a new size of the file system.
    pub(super) fn resize(&mut self, blocks: u64) {
        self.blocks = blocks;
    }

    pub(super) fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Whether `count` blocks from `block` lie inside the file system.
    pub(super) fn contains(&self, block: u64, count: u64) -> bool {
        block.checked_add(count).is_some_and(|end| end <= self.blocks)
    }

    /// One metadata block.
    pub(super) fn block(&self, block: u64) -> Result<Arc<[u8]>> {
        if let Some(found) = self.lock().blocks.get(&block) {
            return Ok(Arc::clone(found));
        }
        let mut bytes = vec![0; self.block_bytes as usize];
        self.read(block, 0, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        let mut cache = self.lock();
        if cache.blocks.insert(block, Arc::clone(&bytes)).is_none() {
            cache.order.push_back(block);
        }
        while cache.order.len() * self.block_bytes as usize > CACHE_BYTES {
            if let Some(oldest) = cache.order.pop_front() {
                cache.blocks.remove(&oldest);
            }
        }
        Ok(bytes)
    }

    /// Fills `buf` from `start` bytes after the beginning of `block`, over as many blocks as it takes.
    pub(super) fn read(&self, block: u64, start: u64, buf: &mut [u8]) -> Result<()> {
        let block_bytes = u64::from(self.block_bytes);
        let beyond = || FilesError::corrupt(format!("block {block} lies outside the file system"));
        let first_byte = block.checked_mul(block_bytes).and_then(|b| b.checked_add(start)).ok_or_else(beyond)?;
        let end_byte = first_byte.checked_add(buf.len() as u64).ok_or_else(beyond)?;
        if end_byte > self.blocks * block_bytes {
            return Err(beyond());
        }
        let (first, end) = (first_byte / block_bytes, end_byte.div_ceil(block_bytes));
        if self.replayed.range(first..end).next().is_none() {
            return self.read_disk(first_byte, buf);
        }
        self.read_replayed(first_byte, buf)
    }

    fn read_replayed(&self, first_byte: u64, buf: &mut [u8]) -> Result<()> {
        let block_bytes = u64::from(self.block_bytes);
        let mut at = first_byte;
        let mut rest = buf;
        while !rest.is_empty() {
            let (block, within) = (at / block_bytes, at % block_bytes);
            let length = rest.len().min(in_memory(block_bytes - within));
            let (piece, tail) = rest.split_at_mut(length);
            match self.replayed.get(&block) {
                None => self.read_disk(at, piece)?,
                Some(copy) => self.read_copy(*copy, within, piece)?,
            }
            at += length as u64;
            rest = tail;
        }
        Ok(())
    }

    fn read_copy(&self, copy: JournalCopy, within: u64, piece: &mut [u8]) -> Result<()> {
        // The journal's blocks were checked to lie inside the file system when it was replayed.
        self.read_disk(copy.block * u64::from(self.block_bytes) + within, piece)?;
        if copy.escaped {
            let magic = JOURNAL_MAGIC.get(in_memory(within)..).unwrap_or_default();
            for (byte, original) in piece.iter_mut().zip(magic) {
                *byte = *original;
            }
        }
        Ok(())
    }

    fn read_disk(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.disk.read_exact_at(buf, offset_bytes).map_err(|source| FilesError::Read {
            offset_bytes,
            length_bytes: buf.len() as u64,
            source,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A poisoned cache is still a correct cache: entries are inserted whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
