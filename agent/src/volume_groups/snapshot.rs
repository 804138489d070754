//! Classic snapshots: the chunks that differ from the origin lie in a store, in the kernel's persistent format.
//!
//! The store's first chunk is a header. Behind it, one chunk with a table of pairs (chunk of the origin, chunk of the store) is followed by
//! as many chunks as it has pairs, and so on; the first pair that names no chunk of the store ends the table.

use std::io;
use std::sync::OnceLock;

use super::error::{Result, VolumeError};
use super::stack::Disk;
use crate::facts::fields::Fields;
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

const MAGIC: &[u8] = b"SnAp";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const PAIR_BYTES: u64 = 16;
/// 64 MiB in memory; with the smallest chunks 16 GiB that differ.
const MAX_PAIRS: usize = 4 << 20;
const CHUNK_BYTES: std::ops::RangeInclusive<u64> = 4096..=(1 << 20);

/// A snapshot over its origin.
pub(super) struct SnapshotVolume<'a> {
    origin: Disk<'a>,
    store: Disk<'a>,
    chunk_bytes: u64,
    size_bytes: u64,
    /// Read when it is first needed: (chunk of the origin, chunk of the store), in ascending order.
    pairs: OnceLock<Result<Vec<(u64, u64)>>>,
}

impl<'a> SnapshotVolume<'a> {
    /// Checks the header of the store.
    pub(super) fn open(origin: Disk<'a>, store: Disk<'a>, chunk_bytes: u64, size_bytes: u64) -> Result<Self> {
        let mut header = [0; HEADER_BYTES];
        store.read_exact_at(&mut header, 0).map_err(|e| VolumeError::read("the header of a snapshot", e))?;
        let header = Fields(&header);
        if !header.has(0, MAGIC) {
            return Err(VolumeError::unsupported("it is a snapshot without the header of a persistent one"));
        }
        if header.le32(4) == 0 {
            return Err(VolumeError::unsupported(
                "it is a snapshot that overflowed or failed, so the kernel does not show it either",
            ));
        }
        if header.le32(8) != VERSION {
            return Err(VolumeError::unsupported(format!("it is a snapshot of version {}", header.le32(8))));
        }
        if u64::from(header.le32(12)).checked_mul(512) != Some(chunk_bytes) {
            return Err(VolumeError::corrupt("a snapshot's chunks are of another size than the metadata says"));
        }
        if !CHUNK_BYTES.contains(&chunk_bytes) || !chunk_bytes.is_power_of_two() {
            return Err(VolumeError::unsupported(format!("it is a snapshot with chunks of {chunk_bytes} bytes")));
        }
        if size_bytes > origin.size_bytes() {
            return Err(VolumeError::corrupt("a snapshot is larger than its origin"));
        }
        Ok(Self { origin, store, chunk_bytes, size_bytes, pairs: OnceLock::new() })
    }

    fn pairs(&self) -> Result<&[(u64, u64)]> {
        self.pairs.get_or_init(|| self.read_pairs()).as_deref().map_err(Clone::clone)
    }

    fn read_pairs(&self) -> Result<Vec<(u64, u64)>> {
        let chunks = self.store.size_bytes() / self.chunk_bytes;
        let pairs_per_table = self.chunk_bytes / PAIR_BYTES;
        let mut pairs = Vec::new();
        let mut table_at = 1;
        let mut table = vec![0; in_memory(self.chunk_bytes)];
        // A store that is full ends without an empty pair.
        'tables: while table_at < chunks {
            let read = self.store.read_exact_at(&mut table, table_at * self.chunk_bytes);
            read.map_err(|e| VolumeError::read("the table of a snapshot", e))?;
            for pair in table.chunks_exact(in_memory(PAIR_BYTES)) {
                let pair = Fields(pair);
                let (old, new) = (pair.le64(0), pair.le64(8));
                if new == 0 {
                    break 'tables;
                }
                let is_table = new % (pairs_per_table + 1) == 1;
                if new >= chunks || is_table || old >= self.size_bytes.div_ceil(self.chunk_bytes) {
                    return Err(VolumeError::corrupt(format!("a snapshot's table names chunk {new} for chunk {old}")));
                }
                if pairs.len() == MAX_PAIRS {
                    return Err(VolumeError::Limit { what: "the chunks in a snapshot", limit: MAX_PAIRS as u64 });
                }
                pairs.push((old, new));
            }
            table_at += pairs_per_table + 1;
        }
        pairs.sort_unstable_by_key(|(_, new)| *new);
        let shares = pairs.windows(2).any(|two| two[0].1 == two[1].1);
        pairs.sort_unstable();
        if shares || pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(VolumeError::corrupt("a snapshot's table names a chunk twice"));
        }
        Ok(pairs)
    }
}

impl ReadAt for SnapshotVolume<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        if offset_bytes.checked_add(buf.len() as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let pairs = self.pairs().map_err(VolumeError::into_io)?;
        let (mut rest, mut at) = (buf, offset_bytes);
        let mut next = pairs.partition_point(|(old, _)| *old < at / self.chunk_bytes);
        while !rest.is_empty() {
            let within = at % self.chunk_bytes;
            let pair = pairs.get(next).copied();
            let (disk, start, end) = match pair {
                Some((old, new)) if old == at / self.chunk_bytes => {
                    next += 1;
                    (&self.store, new * self.chunk_bytes + within, (old + 1) * self.chunk_bytes)
                }
                Some((old, _)) => (&self.origin, at, old * self.chunk_bytes),
                None => (&self.origin, at, self.size_bytes),
            };
            let length = rest.len().min(in_memory(end - at));
            disk.read_exact_at(&mut rest[..length], start)?;
            rest = &mut rest[length..];
            at += length as u64;
        }
        Ok(())
    }
}
