//! Thin volumes: the kernel's thin pool (`dm-thin`), as the last commit of its metadata left it.
//!
//! `tree` reads the metadata's B-trees. Two of them lead to the bytes: one from a device's number to the root of its own tree, and
//! that from each block of the device to a block of the pool's data. What is not mapped was never written.

mod tree;

use std::io;
use std::sync::Arc;

use super::error::{Result, VolumeError};
use super::stack::Disk;
use crate::facts::checksum::crc32c_continue;
use crate::facts::fields::Fields;
use crate::lengths::in_memory;
use crate::read_at::ReadAt;
use tree::Nodes;

/// The metadata's blocks are of this size, always.
const METADATA_BLOCK_BYTES: usize = 4096;
const METADATA_BLOCK_SECTORS: u32 = 8;
const MAGIC: u64 = 27_022_010;
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// Each kind of block has a number of its own in its checksum.
const SUPERBLOCK_SALT: u32 = 160_774;
/// A block's value holds the time of its mapping in the lower bits.
const TIME_BITS: u32 = 24;
/// From 64 KiB to 1 GiB, in steps of 64 KiB.
const CHUNK_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(1 << 30);

/// A thin pool, shared by the volumes in it.
pub(super) struct Pool<'a> {
    nodes: Nodes<'a>,
    data: Disk<'a>,
    chunk_bytes: u64,
    devices_root: u64,
    details_root: u64,
}

impl<'a> Pool<'a> {
    /// Checks the superblock and that it is of the same age as the group's metadata: `transaction` is what that says, and
    /// whether the group still has to tell the pool of its last change.
    pub(super) fn open(metadata: Disk<'a>, data: Disk<'a>, chunk_bytes: u64, transaction: (u64, bool)) -> Result<Self> {
        let mut block = [0; METADATA_BLOCK_BYTES];
        metadata.read_exact_at(&mut block, 0).map_err(|e| VolumeError::read("the superblock of a thin pool", e))?;
        let fields = Fields(&block);
        if fields.le64(32) != MAGIC || fields.le32(0) != checksum(&block, SUPERBLOCK_SALT) || fields.le64(8) != 0 {
            return Err(VolumeError::corrupt("the superblock of the thin pool has a wrong checksum or place"));
        }
        let unknown = |what: String| Err(VolumeError::unsupported(format!("its thin pool {what}")));
        if !VERSIONS.contains(&fields.le32(40)) {
            return unknown(format!("is of version {}", fields.le32(40)));
        }
        if fields.le32(360) != 0 {
            return unknown(format!("has the unknown features {:#x}", fields.le32(360)));
        }
        if fields.le32(340) != METADATA_BLOCK_SECTORS {
            return unknown(format!("has metadata in blocks of {} sectors", fields.le32(340)));
        }
        if u64::from(fields.le32(336)) * 512 != chunk_bytes || !CHUNK_BYTES.contains(&chunk_bytes) {
            return Err(VolumeError::corrupt("the thin pool's chunks are of another size than the group says"));
        }
        let (at, (wanted, has_messages)) = (fields.le64(48), transaction);
        if at != wanted && !(has_messages && at.checked_add(1) == Some(wanted)) {
            return Err(VolumeError::corrupt(format!(
                "the thin pool is at transaction {at}, the group's metadata expects {wanted}"
            )));
        }
        let blocks = fields.le64(344).min(metadata.size_bytes() / METADATA_BLOCK_BYTES as u64);
        Ok(Self {
            nodes: Nodes::new(metadata, blocks),
            data,
            chunk_bytes,
            devices_root: fields.le64(320),
            details_root: fields.le64(328),
        })
    }

    /// The root of a device's own tree. A device has to be in both trees.
    fn device_root(&self, device_id: u64) -> Result<u64> {
        let details = self.nodes.find(self.details_root, device_id, 24)?;
        let root = self.nodes.find(self.devices_root, device_id, 8)?;
        match (details, root) {
            (Some(_), Some(root)) => Ok(root),
            _ => Err(VolumeError::corrupt(format!("the thin pool has no device {device_id}"))),
        }
    }
}

/// A volume in a thin pool.
pub(super) struct ThinVolume<'a> {
    pool: Arc<Pool<'a>>,
    root: u64,
    /// What shows where nothing is mapped; may be smaller than the volume.
    external_origin: Option<Disk<'a>>,
    size_bytes: u64,
}

impl<'a> ThinVolume<'a> {
    /// Finds the device in the pool.
    pub(super) fn new(
        pool: Arc<Pool<'a>>,
        device_id: u64,
        external_origin: Option<Disk<'a>>,
        size_bytes: u64,
    ) -> Result<Self> {
        let root = pool.device_root(device_id)?;
        Ok(Self { pool, root, external_origin, size_bytes })
    }

    /// Reads within one chunk of the pool.
    fn read_chunk(&self, buf: &mut [u8], chunk: u64, within: u64) -> Result<()> {
        let pool = &self.pool;
        let Some(value) = pool.nodes.find(self.root, chunk, 8)? else {
            return self.read_unmapped(buf, chunk * pool.chunk_bytes + within);
        };
        let start = (value >> TIME_BITS).checked_mul(pool.chunk_bytes);
        let end = start.and_then(|start| start.checked_add(pool.chunk_bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= pool.data.size_bytes() => pool
                .data
                .read_exact_at(buf, start + within)
                .map_err(|e| VolumeError::read("the data of the thin pool", e)),
            _ => Err(VolumeError::corrupt("a block of the thin volume lies outside the pool's data")),
        }
    }

    fn read_unmapped(&self, buf: &mut [u8], at: u64) -> Result<()> {
        let Some(origin) = &self.external_origin else {
            buf.fill(0);
            return Ok(());
        };
        let there = buf.len().min(in_memory(origin.size_bytes().saturating_sub(at)));
        let (from_origin, beyond) = buf.split_at_mut(there);
        beyond.fill(0);
        if from_origin.is_empty() {
            return Ok(());
        }
        origin.read_exact_at(from_origin, at).map_err(|e| VolumeError::read("the external origin of a thin volume", e))
    }
}

impl ReadAt for ThinVolume<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        if offset_bytes.checked_add(buf.len() as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let chunk_bytes = self.pool.chunk_bytes;
        let (mut rest, mut at) = (buf, offset_bytes);
        while !rest.is_empty() {
            let (chunk, within) = (at / chunk_bytes, at % chunk_bytes);
            let length = rest.len().min(in_memory(chunk_bytes - within));
            let (piece, tail) = rest.split_at_mut(length);
            self.read_chunk(piece, chunk, within).map_err(VolumeError::into_io)?;
            rest = tail;
            at += length as u64;
        }
        Ok(())
    }
}

/// The checksum in the first four bytes of a block: of the rest, mixed with the number of its kind.
fn checksum(block: &[u8], salt: u32) -> u32 {
    crc32c_continue(!0, block.get(4..).unwrap_or_default()) ^ salt
}
