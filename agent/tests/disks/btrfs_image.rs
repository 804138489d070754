//! Btrfs images as tests change them: tree blocks found by their headers, checksums made right again, and changes laid
//! over an image without copying it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use agent::read_at::ReadAt;

pub const SUPERBLOCK: usize = 64 << 10;
pub const SUPERBLOCK_BYTES: usize = 4096;
const CHECKSUM_BYTES: usize = 32;

/// An image with some ranges replaced.
#[derive(Clone)]
pub struct Patched {
    base: Arc<Vec<u8>>,
    pieces: BTreeMap<usize, Vec<u8>>,
}

/// A tree block in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub at: usize,
    pub logical: u64,
    pub generation: u64,
    pub owner: u64,
    pub level: u8,
}

impl Patched {
    pub fn of(image: &Path) -> Self {
        Self { base: Arc::new(std::fs::read(image).unwrap()), pieces: BTreeMap::new() }
    }

    pub fn le(&self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read_exact_at(&mut bytes[..width], at as u64).unwrap();
        u64::from_le_bytes(bytes)
    }

    pub fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        self.read_exact_at(&mut bytes, range.start as u64).unwrap();
        bytes
    }

    /// Changes bytes without making a checksum right; pieces must be the same or apart.
    pub fn replace(&mut self, at: usize, bytes: Vec<u8>) {
        self.pieces.insert(at, bytes);
    }

    /// Changes a block that begins with its checksum, and makes that right.
    pub fn edit(&mut self, block: Range<usize>, change: impl FnOnce(&mut [u8])) {
        let mut bytes = self.bytes(block.clone());
        change(&mut bytes);
        let crc = crc32c(&bytes[CHECKSUM_BYTES..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.replace(block.start, bytes);
    }

    pub fn edit_superblock(&mut self, change: impl FnOnce(&mut [u8])) {
        self.edit(SUPERBLOCK..SUPERBLOCK + SUPERBLOCK_BYTES, change);
    }

    pub fn node_bytes(&self) -> usize {
        self.le(SUPERBLOCK + 0x94, 4) as usize
    }

    /// All blocks of trees that are whole, stale ones too.
    pub fn blocks(&self) -> Vec<Block> {
        let fsid = self.bytes(SUPERBLOCK + 0x20..SUPERBLOCK + 0x30);
        let node_bytes = self.node_bytes();
        let mut found = Vec::new();
        for at in (0..self.base.len() - node_bytes + 1).step_by(4096) {
            let is_node = self.base[at + 0x20..at + 0x30] == fsid && self.base[at + 0x40..at + 0x48] != *b"_BHRfS_M";
            if is_node
                && crc32c(&self.base[at + CHECKSUM_BYTES..at + node_bytes]).to_le_bytes() == self.base[at..at + 4]
            {
                let (logical, generation) = (self.le(at + 0x30, 8), self.le(at + 0x50, 8));
                let (owner, level) = (self.le(at + 0x58, 8), self.base[at + 0x64]);
                found.push(Block { at, logical, generation, owner, level });
            }
        }
        found
    }

    /// Where `wanted` occurs in the image.
    pub fn find(&self, wanted: &[u8]) -> Vec<usize> {
        let starts = (0..self.base.len()).step_by(4096);
        starts.filter(|at| self.base[*at..].starts_with(wanted)).collect()
    }

    pub fn shared(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.clone())
    }
}

impl ReadAt for Patched {
    fn size_bytes(&self) -> u64 {
        self.base.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        self.base.read_exact_at(buf, offset_bytes)?;
        let (start, end) = (offset_bytes as usize, offset_bytes as usize + buf.len());
        for (at, piece) in self.pieces.range(..end) {
            let (from, to) = (start.max(*at), end.min(at + piece.len()));
            if from < to {
                buf[from - start..to - start].copy_from_slice(&piece[from - at..to - at]);
            }
        }
        Ok(())
    }
}

pub fn crc32c(bytes: &[u8]) -> u32 {
    static CRC32C: crc::Crc<u32, crc::Table<16>> = crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);
    CRC32C.checksum(bytes)
}
