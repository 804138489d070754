// SPDX-License-Identifier: GPL-2.0
//! Checks of what user space asks for, before anything is computed with it.

use crate::map::BlockRange;
use crate::sizes::{SectorRange, TrackingBlocks};
use crate::uapi::extension::ChangedQuery;
use crate::uapi::{CbtMap, SECTOR_BYTES, Sectors};

/// A request that makes no sense: `EINVAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Why a query for changes is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedError {
    /// It makes no sense: `EINVAL`.
    Invalid,
    /// It is about another state of the tracker: `ESTALE`.
    Stale,
}

/// The most ranges that one CBTDIRTY may bring: 1 MiB of them.
pub const DIRTY_RANGES_MAXIMUM: u32 = 65_536;

/// The sectors that a range of CBTDIRTY means. Empty ranges and such beyond the end are refused, not cut.
pub fn dirty_range(range: Sectors, capacity_sectors: u64) -> Result<SectorRange, Invalid> {
    let end = range.offset_sectors.checked_add(range.count_sectors).ok_or(Invalid)?;
    if range.count_sectors == 0 || end > capacity_sectors {
        return Err(Invalid);
    }
    Ok(SectorRange { first: range.offset_sectors, end })
}

/// The number of ranges of a CBTDIRTY.
pub fn dirty_count(count: u32) -> Result<usize, Invalid> {
    if count > DIRTY_RANGES_MAXIMUM {
        return Err(Invalid);
    }
    usize::try_from(count).map_err(|_| Invalid)
}

/// The bytes of the map that a CBTMAP asks for: cut at the end, but it must begin before it.
pub fn map_bytes(query: &CbtMap, block_count: u64) -> Result<BlockRange, Invalid> {
    let first = u64::from(query.offset);
    if first >= block_count {
        return Err(Invalid);
    }
    Ok(BlockRange { first, end: first + u64::from(query.length) }.below(block_count))
}

/// The blocks that a query for changes is about, and where its answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedRange {
    /// Blocks to look at, the first and last perhaps in part.
    pub blocks: BlockRange,
    /// The bytes asked for, cut at the end of the device: `start..end`.
    pub start_bytes: u64,
    /// See `start_bytes`.
    pub end_bytes: u64,
}

/// Checks a query for changes against the tracker's `generation` and `number`.
pub fn changed_range(
    query: &ChangedQuery,
    current: (crate::uapi::Uuid, u64),
    capacity_bytes: u64,
    tracking: TrackingBlocks,
) -> Result<ChangedRange, ChangedError> {
    if (query.generation, query.number) != current {
        return Err(ChangedError::Stale);
    }
    if query.since > query.number || query.capacity == 0 || query.offset_bytes >= capacity_bytes {
        return Err(ChangedError::Invalid);
    }
    let end = query.offset_bytes.checked_add(query.length_bytes).ok_or(ChangedError::Invalid)?.min(capacity_bytes);
    let sectors = SectorRange { first: query.offset_bytes / SECTOR_BYTES, end: end.div_ceil(SECTOR_BYTES) };
    Ok(ChangedRange { blocks: tracking.touched(sectors), start_bytes: query.offset_bytes, end_bytes: end })
}

impl ChangedRange {
    /// Changed blocks as the answer gives them: (offset, length) in bytes, cut to what was asked for.
    pub fn extent(&self, blocks: BlockRange, tracking: TrackingBlocks) -> (u64, u64) {
        let (offset, length) = tracking.bytes(blocks, self.end_bytes);
        let start = offset.max(self.start_bytes);
        (start, offset.saturating_add(length).saturating_sub(start))
    }
}

/// A name of the interface: the bytes before the first zero. One without a zero is not a name.
pub fn name(bytes: &[u8]) -> Result<&[u8], Invalid> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Invalid)?;
    bytes.get(..end).filter(|name| !name.is_empty()).ok_or(Invalid)
}
