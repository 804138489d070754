// SPDX-License-Identifier: GPL-2.0
//! The commands of `BLKFILTER_CTL`.
//!
//! The memory of a caller may be anything: a mapped file of the very disk whose writes are held, or of an image. So no lock
//! is held while something is copied from or to it; tables go through a page of our own, piece by piece, and between
//! the pieces it is looked whether a TAKE came between.
//!
//! A copy from or to user space that fails is `ENODATA`, as in the C module; too short a structure is `EINVAL`.

use core::mem::size_of;

use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};

use crate::kernel_memory::KernelMemory;
use crate::map::BlockRange;
use crate::memory::{Array, Wait};
use crate::request::{self, ChangedError, ChangedRange};
use crate::sizes::SECTOR_SHIFT;
use crate::tracker::{Maps, Tracker};
use crate::tracker_write::is_seen;
use crate::uapi::{self, compat, extension};
use crate::user::{self, Plain};

/// Handles a command; `optlen` becomes the bytes used or filled.
pub fn handle(tracker: &Arc<Tracker>, command: u32, opt: u64, optlen: &mut u32) -> Result {
    if matches!(command, uapi::CTL_CBTINFO..=uapi::CTL_SNAPSHOTINFO | extension::CTL_TRACKER_INFO..=extension::CTL_CHANGED)
    {
        // Whoever asks when it has read is told if that was not all true.
        is_seen(tracker)?;
    }
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
            let statistics = statistics(tracker);
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

/// A page for a piece of a table.
fn piece<T: Plain>(fill: T) -> Result<Array<T, KernelMemory>> {
    Array::new(KernelMemory, Wait::Allowed, PAGE_SIZE / size_of::<T>(), |_| fill).map_err(|_| ENOMEM)
}

/// Writes the `at`th and following elements of a table of user space.
fn give<T: Plain>(table: u64, at: u32, values: &[T]) -> Result {
    let address = table.wrapping_add(u64::from(at) * size_of::<T>() as u64);
    user::write_all(address, values).map_err(|_| ENODATA)
}

fn cbt_map(tracker: &Tracker, query: &uapi::CbtMap) -> Result {
    let mut buffer = piece(0_u8)?;
    let mut begun = None;
    let mut given = 0;
    loop {
        let count = {
            let maps = tracker.maps.lock();
            let state = (maps.window.generation(), maps.number());
            if *begun.get_or_insert(state) != state {
                return Err(EAGAIN);
            }
            let range = request::map_bytes(query, maps.blocks.count).map_err(|_| EINVAL)?;
            let at = range.first + given;
            let count = usize::try_from(range.end - at).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
            maps.window.fill(&maps.history, at, &mut buffer[..count]);
            count
        };
        if count == 0 {
            return Ok(());
        }
        user::write_bytes(query.buffer.wrapping_add(given), &buffer[..count]).map_err(|_| ENODATA)?;
        given += count as u64;
    }
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
    let mut buffer = piece(uapi::Sectors::default())?;
    let mut done = 0;
    while done < count {
        let now = (count - done).min(buffer.len());
        let address = ranges.wrapping_add(done as u64 * size_of::<uapi::Sectors>() as u64);
        let got = user::read_some(address, &mut buffer[..now]);
        let mut maps = tracker.maps.lock();
        let capacity_sectors = maps.capacity_sectors;
        for range in &buffer[..got] {
            let sectors = request::dirty_range(*range, capacity_sectors).map_err(|_| EINVAL)?;
            tracker.mark_in_both(&mut maps, sectors);
        }
        if got < now {
            return Err(ENODATA);
        }
        done += now;
    }
    Ok(())
}

fn statistics(tracker: &Tracker) -> extension::TrackerStatistics {
    let maps = tracker.maps.lock();
    let active = tracker.active(&maps);
    let mut statistics = tracker.statistics.read(tracker.counter().counts(), active.map.marked());
    statistics.map_bytes = map_bytes(tracker, &maps);
    statistics.coarse_regions = active.map.coarse_regions();
    statistics.chunk_map_bytes = tracker.with_cow(|cow| cow.map_bytes()).unwrap_or(0);
    statistics
}

fn map_bytes(tracker: &Tracker, maps: &Maps) -> u64 {
    maps.history.bytes() + tracker.active(maps).map.bytes()
}

fn tracker_info(tracker: &Arc<Tracker>) -> extension::TrackerInfo {
    let in_snapshot = crate::snapshot::holds(tracker);
    let maps = tracker.maps.lock();
    let mut flags = 0;
    if tracker.active(&maps).map.coarse_regions() != 0 || maps.history.oldest() != 0 {
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
    let mut ids = piece(uapi::Uuid::default())?;
    query.filled = 0;
    loop {
        let room = (query.capacity - query.filled) as usize;
        let count = {
            let maps = tracker.maps.lock();
            if query.first > maps.number() || query.first < maps.intervals.oldest() {
                return Err(ENOENT);
            }
            let first = query.first + u64::from(query.filled);
            let known = (first..).map_while(|interval| maps.intervals.id(interval)).take(room);
            ids.iter_mut().zip(known).map(|(to, id)| *to = id).count()
        };
        if count == 0 {
            break;
        }
        give(query.ids, query.filled, &ids[..count])?;
        query.filled += count as u32;
    }
    if query.filled == 0 && query.capacity != 0 {
        return Err(ENOENT);
    }
    user::write(opt, &query).map_err(|_| ENODATA)
}

fn changed(tracker: &Tracker, opt: u64, optlen: &mut u32) -> Result {
    let mut query: extension::ChangedQuery = take(opt, optlen)?;
    let mut extents = piece(extension::Extent::default())?;
    let mut from = None;
    query.filled = 0;
    loop {
        let room = (query.capacity - query.filled) as usize;
        let count = {
            let maps = tracker.maps.lock();
            let range = changed_range(&query, &maps)?;
            let (count, next_block) =
                find_changed(&maps, &range, query.since, from.unwrap_or(range.blocks.first), &mut extents, room);
            from = next_block;
            query.next_offset_bytes = match next_block {
                Some(block) => range.extent(BlockRange { first: block, end: range.blocks.end }, maps.blocks).0,
                None => range.end_bytes,
            };
            count
        };
        give(query.extents, query.filled, &extents[..count])?;
        query.filled += count as u32;
        if from.is_none() || query.filled == query.capacity || kernel::current!().signal_pending() {
            return user::write(opt, &query).map_err(|_| ENODATA);
        }
    }
}

fn changed_range(query: &extension::ChangedQuery, maps: &Maps) -> Result<ChangedRange> {
    let capacity_bytes = maps.capacity_sectors << SECTOR_SHIFT;
    request::changed_range(query, (maps.generation, maps.number()), capacity_bytes, maps.blocks).map_err(|error| {
        match error {
            ChangedError::Invalid => EINVAL,
            ChangedError::Stale => ESTALE,
        }
    })
}

/// Finds up to `room` changed extents from block `from` on, as many as the page holds: how many, and the block from which
/// to go on, `None` when all was looked at.
fn find_changed(
    maps: &Maps,
    range: &ChangedRange,
    since: u64,
    from: u64,
    extents: &mut [extension::Extent],
    room: usize,
) -> (usize, Option<u64>) {
    let most = extents.len().min(room);
    let mut rest = BlockRange { first: from, end: range.blocks.end };
    let mut count = 0;
    while let Some(blocks) = maps.history.next_changed(rest, since) {
        if count == most {
            return (count, Some(blocks.first));
        }
        let (offset_bytes, length_bytes) = range.extent(blocks, maps.blocks);
        extents[count] = extension::Extent { offset_bytes, length_bytes };
        count += 1;
        rest.first = blocks.end;
    }
    (count, None)
}
