//! Bytes of the disk as the file system means them: as the replayed log left them, else from their place.
//!
//! The log changes pieces of 128 bytes and converts inodes on the way, so changed sectors are kept whole in memory,
//! up to a limit. Besides them there is a small cache of single metadata blocks; file contents are never cached.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{FilesError, Result};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

const CACHE_BYTES: usize = 8 << 20;
/// The unit of addresses in the log.
pub(super) const SECTOR_BYTES: u32 = 512;
/// The same as a length in memory.
pub(super) const SECTOR_LENGTH: usize = SECTOR_BYTES as usize;
/// 192 MiB of sectors, which a large log of a busy file system stays well below.
const MAX_REPLAYED_SECTORS: usize = 192 << 11;

type Sector = [u8; SECTOR_LENGTH];

/// Reads blocks; shared by all threads, the lock guards the cache only and is never held while reading.
pub(super) struct Blocks<'a> {
    disk: Arc<dyn ReadAt + 'a>,
    block_bytes: u32,
    end_bytes: u64,
    replayed: BTreeMap<u64, Box<Sector>>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    blocks: HashMap<u64, Arc<[u8]>>,
    order: VecDeque<u64>,
}

impl<'a> Blocks<'a> {
    /// All of the disk, until `resize` is told how much of it the file system has: what the log adds may lie beyond.
    pub(super) fn new(disk: Arc<dyn ReadAt + 'a>, block_bytes: u32) -> Self {
        let end_bytes = disk.size_bytes();
        Self { disk, block_bytes, end_bytes, replayed: BTreeMap::new(), cache: Mutex::default() }
    }

    /// Takes over the size of the file system, and forgets cached blocks.
    pub(super) fn resize(&mut self, blocks: u64) {
        self.end_bytes = blocks.saturating_mul(u64::from(self.block_bytes));
        self.cache = Mutex::default();
    }

    /// The disk below.
    pub(super) fn disk(&self) -> Arc<dyn ReadAt + 'a> {
        Arc::clone(&self.disk)
    }

    pub(super) fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Sectors that were replayed.
    pub(super) fn replayed(&self) -> impl Iterator<Item = u64> {
        self.replayed.keys().copied()
    }

    /// Replaces one sector. Cached blocks do not see it before `resize`.
    pub(super) fn replay(&mut self, sector: u64, bytes: &[u8]) -> Result<()> {
        if self.replayed.len() >= MAX_REPLAYED_SECTORS && !self.replayed.contains_key(&sector) {
            let limit = MAX_REPLAYED_SECTORS as u64;
            return Err(FilesError::Limit { what: "number of sectors that the log changes", limit });
        }
        let place = self.replayed.entry(sector).or_insert_with(|| Box::new([0; SECTOR_LENGTH]));
        place.copy_from_slice(bytes);
        Ok(())
    }

    /// One metadata block, counted from the start of the disk.
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
        let first = block.checked_mul(u64::from(self.block_bytes)).and_then(|byte| byte.checked_add(start));
        self.read_bytes(first.unwrap_or(u64::MAX), buf)
    }

    /// Fills `buf` from a byte of the disk.
    pub(super) fn read_bytes(&self, first: u64, buf: &mut [u8]) -> Result<()> {
        let end = first.checked_add(buf.len() as u64).filter(|end| *end <= self.end_bytes);
        let end = end.ok_or_else(|| FilesError::corrupt(format!("byte {first} lies outside the file system")))?;
        read_disk(&*self.disk, first, buf)?;
        let unit = u64::from(SECTOR_BYTES);
        for (number, sector) in self.replayed.range(first / unit..end.div_ceil(unit)) {
            let start = number * unit;
            let (from, to) = (start.max(first), (start + unit).min(end));
            let piece = &sector[in_memory(from - start)..in_memory(to - start)];
            buf[in_memory(from - first)..in_memory(to - first)].copy_from_slice(piece);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        // A poisoned cache is still a correct cache: entries are inserted whole.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills `buf` with what is on the disk, not replayed: the log itself is read so.
pub(super) fn read_disk(disk: &dyn ReadAt, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
    disk.read_exact_at(buf, offset_bytes).map_err(|source| FilesError::Read {
        offset_bytes,
        length_bytes: buf.len() as u64,
        source,
    })
}
