//! Is an XFS log empty, that is: is the last thing in it the record of a clean unmount?
//!
//! A stricter form of the kernel's `xlog_find_tail`. The log is a ring of 512-byte blocks, each stamped with the number of
//! its lap (cycle): blocks before the head carry this lap's number, those behind it the one before. Around the head every
//! stamp is checked, as far as writes can have been in flight; anything irregular counts as "not empty".

use super::Distrust;
use crate::facts::fields::{Fields, read_bytes};
use crate::read_at::ReadAt;

const BLOCK_BYTES: u64 = 512;
const BLOCK_LENGTH: usize = 512;
const RECORD_MAGIC: u32 = 0xFEED_BABE;
/// Eight log buffers of 256 KiB may be in flight at once.
const IN_FLIGHT_BLOCKS: u64 = 4096;
/// One header block has room for the stamps of this much data.
const HEADER_COVERS_BYTES: u32 = 32 << 10;
const UNMOUNT_FLAG: u8 = 0x20;

/// The log's place on the partition.
pub struct Log<'a> {
    pub partition: &'a dyn ReadAt,
    pub offset_bytes: u64,
    /// In blocks of 512 bytes.
    pub blocks: u64,
}

impl Log<'_> {
    /// `Ok` only when the log ends in the record of a clean unmount.
    pub fn check_clean(&self) -> Result<(), Distrust> {
        let dirty = || Distrust::from("the log holds changes that are not written back (not unmounted cleanly)");
        let head = self.find_head()?;
        let before = IN_FLIGHT_BLOCKS.min(self.blocks);
        let window = self.read_ring(head + self.blocks - before, before)?;
        let blocks: Vec<Fields<'_>> = window.chunks_exact(BLOCK_LENGTH).map(Fields).collect();
        let record = blocks.iter().rposition(|block| block.be32(0) == RECORD_MAGIC).ok_or_else(dirty)?;
        let header = blocks[record];
        let (version, length_bytes, operations, size_bytes) =
            (header.be32(8), header.be32(12), header.be32(40), header.be32(320));
        let headers = if version & 2 != 0 { size_bytes.div_ceil(HEADER_COVERS_BYTES).max(1) } else { 1 };
        let record_blocks = u64::from(headers) + u64::from(length_bytes).div_ceil(BLOCK_BYTES);
        let ends_at_head = (blocks.len() - record) as u64 == record_blocks;
        let operation = usize::try_from(headers).ok().and_then(|headers| blocks.get(record + headers));
        let is_unmount = operations == 1 && operation.is_some_and(|operation| operation.u8(9) & UNMOUNT_FLAG != 0);
        if ends_at_head && is_unmount { Ok(()) } else { Err(dirty()) }
    }

    /// First block that this lap has not written, in `0..=blocks`.
    fn find_head(&self) -> Result<u64, Distrust> {
        let irregular = || Distrust::from("the log is irregular, as after a crash");
        let lap = cycle(&self.read_ring(0, 1)?);
        let previous = lap.checked_sub(1).ok_or_else(irregular)?;
        let (mut written, mut unwritten) = (0, self.blocks);
        while written + 1 < unwritten {
            let middle = written.midpoint(unwritten);
            if cycle(&self.read_ring(middle, 1)?) == lap { written = middle } else { unwritten = middle }
        }
        let head = unwritten;
        let around = (2 * IN_FLIGHT_BLOCKS).min(self.blocks);
        let from = head + self.blocks - around / 2;
        let window = self.read_ring(from, around)?;
        let is_regular = (from..).zip(window.chunks_exact(BLOCK_LENGTH)).all(|(at, block)| {
            let expected = if at % self.blocks < head { lap } else { previous };
            cycle(block) == expected
        });
        if is_regular { Ok(head) } else { Err(irregular()) }
    }

    /// `count` blocks from block `first`, around the end of the ring; `count` is at most the ring's size.
    fn read_ring(&self, first: u64, count: u64) -> Result<Vec<u8>, Distrust> {
        let first = first % self.blocks;
        let straight = count.min(self.blocks - first);
        let mut bytes = Vec::new();
        for (at, blocks) in [(first, straight), (0, count - straight)] {
            let length = usize::try_from(blocks * BLOCK_BYTES).map_err(|_| "log size")?;
            let offset = self.offset_bytes.saturating_add(at * BLOCK_BYTES);
            bytes.extend(read_bytes(self.partition, offset, length)?.ok_or("the log lies outside the partition")?);
        }
        Ok(bytes)
    }
}

/// The lap that wrote a block: a record's header has it behind the magic number, all other blocks begin with it.
fn cycle(block: &[u8]) -> u32 {
    let block = Fields(block);
    if block.be32(0) == RECORD_MAGIC { block.be32(4) } else { block.be32(0) }
}
