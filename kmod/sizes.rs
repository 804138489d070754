// SPDX-License-Identifier: GPL-2.0
//! How large tracking blocks and chunks of a device are, and which of them a range touches.
//!
//! Pure arithmetic: nothing here fails on odd input, ranges are cut at the end of the device.

use crate::map::BlockRange;

/// A sector is 2 to this power bytes.
pub const SECTOR_SHIFT: u32 = 9;
/// No unit is larger than 2 to this power bytes.
const MAXIMUM_SHIFT: u32 = 40;
/// Sub-blocks of a chunk: the bits of its bitmap.
pub const SUB_BLOCKS: u32 = 64;

/// Sectors `first..end` of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectorRange {
    /// The first one.
    pub first: u64,
    /// The one behind the last.
    pub end: u64,
}

impl SectorRange {
    /// `count` sectors from `first` on; cut where the sum would overflow.
    pub fn new(first: u64, count: u64) -> Self {
        Self { first, end: first.saturating_add(count) }
    }

    /// How many sectors lie in it.
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Whether no sector lies in it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Which sizes of tracking blocks are wanted: the module's parameters, already in their range.
#[derive(Clone, Copy, Debug)]
pub struct TrackingLimits {
    /// At least 2 to this power bytes.
    pub minimum_shift: u32,
    /// Blocks grow until there are no more than this; 0 sets no limit.
    pub maximum_count: u64,
    /// They grow no further than 2 to this power bytes.
    pub maximum_shift: u32,
}

/// The tracking blocks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackingBlocks {
    /// A block has 2 to this power bytes.
    pub shift: u32,
    /// Number of blocks; fits the 32 bits of the old interface.
    pub count: u64,
}

impl TrackingBlocks {
    /// The blocks of a device. Only the 32-bit count of the interface makes them larger than `maximum_shift`.
    pub fn new(capacity_sectors: u64, limits: TrackingLimits) -> Self {
        let mut shift = limits.minimum_shift.min(limits.maximum_shift).clamp(SECTOR_SHIFT, MAXIMUM_SHIFT);
        let too_many = |shift: u32| {
            let count = units(capacity_sectors, shift);
            let above_wish = limits.maximum_count != 0 && count > limits.maximum_count && shift < limits.maximum_shift;
            above_wish || count > u64::from(u32::MAX)
        };
        while too_many(shift) && shift < MAXIMUM_SHIFT {
            shift += 1;
        }
        Self { shift, count: units(capacity_sectors, shift) }
    }

    /// The blocks that a range touches, whole or in part.
    pub fn touched(self, sectors: SectorRange) -> BlockRange {
        if sectors.is_empty() {
            return BlockRange { first: 0, end: 0 };
        }
        let shift = self.shift - SECTOR_SHIFT;
        BlockRange { first: sectors.first >> shift, end: ((sectors.end - 1) >> shift) + 1 }.below(self.count)
    }

    /// The bytes of a range of blocks, cut at the end of the device.
    pub fn bytes(self, blocks: BlockRange, capacity_bytes: u64) -> (u64, u64) {
        let at = |block: u64| block.saturating_mul(1 << self.shift).min(capacity_bytes);
        (at(blocks.first), at(blocks.end).saturating_sub(at(blocks.first)))
    }
}

/// Which sizes of chunks are wanted: the module's parameters, already in their range.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimits {
    /// At least 2 to this power bytes.
    pub minimum_shift: u32,
    /// Chunks grow until there are no more than 2 to this power.
    pub maximum_count_shift: u32,
    /// They grow no further than 2 to this power bytes.
    pub maximum_shift: u32,
}

/// What a chunk has to fit besides its limits.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSizes {
    /// Size of the device.
    pub capacity_sectors: u64,
    /// `bdev_io_min`: smaller requests are slow there.
    pub minimum_io_bytes: u64,
    /// `bdev_logical_block_size`: smaller requests are impossible there.
    pub logical_block_bytes: u64,
    /// A page has 2 to this power bytes.
    pub page_shift: u32,
}

/// The chunks of a device in a snapshot, and their sub-blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// A chunk has 2 to this power bytes.
    pub chunk_shift: u32,
    /// A sub-block, the unit of preservation, has 2 to this power bytes; a chunk has at most [`SUB_BLOCKS`].
    pub sub_shift: u32,
    /// Size of the device.
    pub capacity_sectors: u64,
}

/// The part of a range that lies in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPart {
    /// Number of the chunk.
    pub chunk: u64,
    /// Sectors of the device.
    pub sectors: SectorRange,
    /// Sub-blocks that the sectors touch, bit 0 being the chunk's first.
    pub touched: u64,
    /// Those of them that the sectors cover wholly, up to the end of the device.
    pub covered: u64,
}

impl Chunks {
    /// The chunks of a device.
    ///
    /// Larger than a page and the device's smallest good request; the count makes them grow up to `maximum_shift` and no
    /// further. `None` when not even a chunk of the maximum holds the smallest good request.
    pub fn new(device: DeviceSizes, limits: ChunkLimits) -> Option<Self> {
        let smallest = device.minimum_io_bytes.max(device.logical_block_bytes).max(1).checked_next_power_of_two()?;
        let needed = smallest.trailing_zeros().max(device.page_shift).max(SECTOR_SHIFT);
        let maximum = limits.maximum_shift.min(MAXIMUM_SHIFT);
        if needed > maximum {
            return None;
        }
        let mut chunk_shift = limits.minimum_shift.clamp(needed, maximum);
        let maximum_count = 1_u64.checked_shl(limits.maximum_count_shift).unwrap_or(u64::MAX);
        while units(device.capacity_sectors, chunk_shift) > maximum_count && chunk_shift < maximum {
            chunk_shift += 1;
        }
        let block = device.logical_block_bytes.max(1).checked_next_power_of_two()?.trailing_zeros();
        let sub_shift = chunk_shift.saturating_sub(SUB_BLOCKS.trailing_zeros()).max(device.page_shift).max(block);
        let sub_shift = sub_shift.clamp(SECTOR_SHIFT, chunk_shift);
        Some(Self { chunk_shift, sub_shift, capacity_sectors: device.capacity_sectors })
    }

    /// Number of chunks.
    pub fn count(self) -> u64 {
        units(self.capacity_sectors, self.chunk_shift)
    }

    /// Sectors of a whole chunk: what it takes in the difference storage.
    pub fn chunk_sectors(self) -> u64 {
        1 << (self.chunk_shift - SECTOR_SHIFT)
    }

    /// Sectors of a whole sub-block.
    pub fn sub_sectors(self) -> u64 {
        1 << (self.sub_shift - SECTOR_SHIFT)
    }

    /// The sub-blocks that a chunk has: fewer in the last one.
    pub fn present(self, chunk: u64) -> u64 {
        self.parts(self.sectors_of(chunk)).next().map_or(0, |part| part.touched)
    }

    /// The sectors of a chunk.
    pub fn sectors_of(self, chunk: u64) -> SectorRange {
        let first = chunk.saturating_mul(self.chunk_sectors());
        self.cut(SectorRange::new(first, self.chunk_sectors()))
    }

    /// The sectors of `count` sub-blocks of a chunk from sub-block `first` on.
    pub fn sectors_of_run(self, chunk: u64, run: SubRun) -> SectorRange {
        let chunk_first = chunk.saturating_mul(self.chunk_sectors());
        let first = chunk_first.saturating_add(u64::from(run.first) * self.sub_sectors());
        self.cut(SectorRange::new(first, u64::from(run.count) * self.sub_sectors()))
    }

    /// Cuts a range of the device at the borders of chunks.
    pub fn parts(self, sectors: SectorRange) -> impl Iterator<Item = ChunkPart> {
        let range = self.cut(sectors);
        let mut at = range.first;
        core::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let shift = self.chunk_shift - SECTOR_SHIFT;
            let chunk = at >> shift;
            let chunk_first = chunk << shift;
            let end = range.end.min(chunk_first.saturating_add(self.chunk_sectors()));
            let part = self.part(chunk, SectorRange { first: at, end });
            at = end;
            Some(part)
        })
    }

    /// The only part of a range that lies in one chunk and on the device, as nearly all writes do; else `None`.
    #[inline]
    pub fn only_part(self, sectors: SectorRange) -> Option<ChunkPart> {
        let shift = self.chunk_shift - SECTOR_SHIFT;
        let chunk = sectors.first >> shift;
        let lies_in_one = sectors.first < sectors.end && (sectors.end - 1) >> shift == chunk;
        (lies_in_one && sectors.end <= self.capacity_sectors).then(|| self.part(chunk, sectors))
    }

    /// The part of a chunk; `sectors` lie in it and are not empty.
    fn part(self, chunk: u64, sectors: SectorRange) -> ChunkPart {
        let chunk_first = chunk << (self.chunk_shift - SECTOR_SHIFT);
        let shift = self.sub_shift - SECTOR_SHIFT;
        let (from, to) = (sectors.first - chunk_first, sectors.end - chunk_first);
        let covered_end = if sectors.end == self.capacity_sectors { up(to, shift) } else { to >> shift };
        let touched = bits(from >> shift, up(to, shift));
        let covered = bits(up(from, shift), covered_end);
        ChunkPart { chunk, sectors, touched, covered }
    }

    fn cut(self, sectors: SectorRange) -> SectorRange {
        let end = sectors.end.min(self.capacity_sectors);
        SectorRange { first: sectors.first.min(end), end }
    }
}

/// Sub-blocks of a chunk that lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubRun {
    /// The first one.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The runs of set bits of a bitmap of sub-blocks, in ascending order: one request each.
pub fn runs(bitmap: u64) -> impl Iterator<Item = SubRun> {
    let mut rest = bitmap;
    core::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let first = rest.trailing_zeros();
        let count = (rest >> first).trailing_ones();
        rest &= !bits(first.into(), u64::from(first + count));
        Some(SubRun { first, count })
    })
}

/// Units of 2 to the power `shift` bytes that a device has, the last one perhaps in part.
fn units(capacity_sectors: u64, shift: u32) -> u64 {
    up(capacity_sectors, shift - SECTOR_SHIFT)
}

/// Divides by 2 to the power `shift`, upwards. (No division: this is on the write path, and 32-bit kernels have none.)
fn up(value: u64, shift: u32) -> u64 {
    (value >> shift) + u64::from(value & ((1 << shift) - 1) != 0)
}

/// Bits `first..end` of a word.
fn bits(first: u64, end: u64) -> u64 {
    let below = |end: u64| if end >= 64 { u64::MAX } else { (1 << end) - 1 };
    below(end) & !below(first)
}
