// SPDX-License-Identifier: GPL-2.0
//! The commands of `BLKFILTER_CTL`. All run under the filter's lock.
//!
//! A copy from or to user space that fails is `ENODATA`, as in the C module; too short a structure is `EINVAL`.

use core::mem::size_of;

use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};

use crate::kernel_memory::KernelMemory;
use crate::map::BlockRange;
use crate::memory::{Array, Wait};
use crate::request::{self, ChangedError};
use crate::sizes::SECTOR_SHIFT;
use crate::tracker::{Maps, Tracker};
use crate::uapi::{self, compat, extension};
use crate::user::{self, Plain};

/// Handles a command; `optlen` becomes the bytes used or filled.
pub fn handle(tracker: &Arc<Tracker>, command: u32, opt: u64, optlen: &mut u32) -> Result {
    match command {
        uapi::CTL_CBTINFO => fill(opt, optlen, size_of::<compat::CbtInfo32>(), &cbt_info(tracker)),
        uapi::CTL_CBTMAP => cbt_map(tracker, &take(opt, optlen)?),
        uapi::CTL_CBTDIRTY => cbt_dirty(tracker, opt, optlen),
        uapi::CTL_SNAPSHOTADD => crate::snapshot::add(tracker, take(opt, optlen)?),
        uapi::CTL_SNAPSHOTINFO => {
            let size = size_of::<uapi::SnapshotInfo>();
            fill(opt, optlen, size, &crate::snapshot::device_info(tracker))
        }
        extension::CTL_TRACKER_INFO => fill(opt, optlen, 8, &tracker_info(tracker)),
        extension::CTL_INTERVALS => intervals(tracker, opt, optlen),
        extension::CTL_CHANGED => changed(tracker, opt, optlen),
        extension::CTL_STATISTICS => {
            let mut statistics = tracker.statistics.read();
            statistics.map_bytes = map_bytes(tracker, &tracker.maps.lock());
            statistics.coarse_regions = tracker.active().map.coarse_regions();
            statistics.chunk_map_bytes = tracker.cow().map_or(0, |cow| cow.map_bytes());
            fill(opt, optlen, 8, &statistics)
        }
        _ => Err(ENOTTY),
    }
}

/// Reads a command's structure.
fn take<T: Plain>(opt: u64, optlen: &mut u32) -> Result<T> {
    if (*optlen as usize) < size_of::<T>() {
        return Err(EINVAL);
    }
    let value = user::read(opt).map_err(|_| ENODATA)?;
    *optlen = size_of::<T>() as u32;
    Ok(value)
}

/// Writes as much of a structure as the caller has room for, but at least `least` bytes.
fn fill<T: Plain>(opt: u64, optlen: &mut u32, least: usize, value: &T) -> Result {
    let room = *optlen as usize;
    if room < least {
        return Err(EINVAL);
    }
    let filled = room.min(size_of::<T>());
    user::write_bytes(opt, &user::bytes(value)[..filled]).map_err(|_| ENODATA)?;
    *optlen = filled as u32;
    Ok(())
}

fn cbt_info(tracker: &Tracker) -> uapi::CbtInfo {
    let maps = tracker.maps.lock();
    uapi::CbtInfo {
        capacity_bytes: maps.capacity_sectors << SECTOR_SHIFT,
        block_size: 1_u32.checked_shl(maps.blocks.shift).unwrap_or(0),
        block_count: u32::try_from(maps.blocks.count).unwrap_or(u32::MAX),
        generation: maps.window.generation(),
        changes_number: maps.window.byte(maps.number()),
        reserved: [0; 7],
    }
}

fn cbt_map(tracker: &Tracker, query: &uapi::CbtMap) -> Result {
    let maps = tracker.maps.lock();
    let range = request::map_bytes(query, maps.blocks.count).map_err(|_| EINVAL)?;
    let mut buffer = Array::new(KernelMemory, Wait::Allowed, PAGE_SIZE, |_| 0_u8).map_err(|_| ENOMEM)?;
    let mut at = range.first;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        maps.window.fill(&maps.history, at, &mut buffer[..count]);
        user::write_bytes(query.buffer.wrapping_add(at - range.first), &buffer[..count]).map_err(|_| ENODATA)?;
        at += count as u64;
    }
    Ok(())
}

fn cbt_dirty(tracker: &Tracker, opt: u64, optlen: &mut u32) -> Result {
    let (count, ranges) = if *optlen as usize == size_of::<compat::CbtDirty32>() {
        let query: compat::CbtDirty32 = take(opt, optlen)?;
        (query.count, query.ranges)
    } else {
        let query: uapi::CbtDirty = take(opt, optlen)?;
        (query.count, query.ranges)
    };
    let count = request::dirty_count(count).map_err(|_| EINVAL)?;
    let mut maps = tracker.maps.lock();
    let capacity_sectors = maps.capacity_sectors;
    for at in 0..count as u64 {
        let address = ranges.wrapping_add(at * size_of::<uapi::Sectors>() as u64);
        let range = user::read(address).map_err(|_| ENODATA)?;
        let sectors = request::dirty_range(range, capacity_sectors).map_err(|_| EINVAL)?;
        tracker.mark_in_both(&mut maps, sectors);
    }
    Ok(())
}

fn map_bytes(tracker: &Tracker, maps: &Maps) -> u64 {
    maps.history.bytes() + tracker.active().map.bytes()
}

fn tracker_info(tracker: &Arc<Tracker>) -> extension::TrackerInfo {
    let in_snapshot = crate::snapshot::holds(tracker);
    let maps = tracker.maps.lock();
    let mut flags = 0;
    if tracker.active().map.coarse_regions() != 0 || maps.history.oldest() != 0 {
        flags |= extension::TRACKER_COARSE;
    }
    if maps.invalid {
        flags |= extension::TRACKER_INVALID;
    }
    if in_snapshot {
        flags |= extension::TRACKER_IN_SNAPSHOT;
    }
    extension::TrackerInfo {
        capacity_bytes: maps.capacity_sectors << SECTOR_SHIFT,
        block_bytes: 1 << maps.blocks.shift,
        block_count: maps.blocks.count,
        generation: maps.generation,
        number: maps.number(),
        oldest: maps.history.oldest(),
        window_generation: maps.window.generation(),
        window_base: maps.window.base(),
        interval: maps.intervals.id(maps.number()).unwrap_or_default(),
        oldest_interval: maps.intervals.oldest(),
        map_bytes: map_bytes(tracker, &maps),
        flags,
        reserved: 0,
    }
}

fn intervals(tracker: &Tracker, opt: u64, optlen: &mut u32) -> Result {
    let mut query: extension::IntervalQuery = take(opt, optlen)?;
    let maps = tracker.maps.lock();
    if query.first > maps.number() || query.first < maps.intervals.oldest() {
        return Err(ENOENT);
    }
    query.filled = 0;
    while query.filled < query.capacity {
        let Some(id) = maps.intervals.id(query.first + u64::from(query.filled)) else { break };
        let address = query.ids.wrapping_add(u64::from(query.filled) * size_of::<uapi::Uuid>() as u64);
        user::write(address, &id).map_err(|_| ENODATA)?;
        query.filled += 1;
    }
    if query.filled == 0 && query.capacity != 0 {
        return Err(ENOENT);
    }
    user::write(opt, &query).map_err(|_| ENODATA)
}

fn changed(tracker: &Tracker, opt: u64, optlen: &mut u32) -> Result {
    let mut query: extension::ChangedQuery = take(opt, optlen)?;
    let maps = tracker.maps.lock();
    let capacity_bytes = maps.capacity_sectors << SECTOR_SHIFT;
    let range = request::changed_range(&query, (maps.generation, maps.number()), capacity_bytes, maps.blocks)
        .map_err(|error| match error {
            ChangedError::Invalid => EINVAL,
            ChangedError::Stale => ESTALE,
        })?;
    query.filled = 0;
    query.next_offset_bytes = range.end_bytes;
    let mut rest: BlockRange = range.blocks;
    while let Some(blocks) = maps.history.next_changed(rest, query.since) {
        let (offset_bytes, length_bytes) = range.extent(blocks, maps.blocks);
        if query.filled == query.capacity {
            query.next_offset_bytes = offset_bytes;
            break;
        }
        let extent = extension::Extent { offset_bytes, length_bytes };
        let address = query.extents.wrapping_add(u64::from(query.filled) * size_of::<extension::Extent>() as u64);
        user::write(address, &extent).map_err(|_| ENODATA)?;
        query.filled += 1;
        rest.first = blocks.end;
        if kernel::current!().signal_pending() {
            query.next_offset_bytes = offset_bytes.saturating_add(length_bytes).min(range.end_bytes);
            break;
        }
    }
    user::write(opt, &query).map_err(|_| ENODATA)
}
