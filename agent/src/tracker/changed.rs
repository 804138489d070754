//! What changed on a device since a snapshot, as extents.
//!
//! With our module the kernel gives extents in full width; with the C module they are made from its byte map. A list is given
//! only if it surely continues what the caller noted: same generation, same id of the interval, no number of the future.

use super::error::Difference;
use super::uapi::extension::{ChangedQuery, Extent as KernelExtent, TrackerInfo};
use super::uapi::{CbtInfo, SECTOR_BYTES, Sectors};
use super::{Id, Module, TrackerError};
use serde::Serialize;
use std::path::Path;

/// Extents fetched with one call.
const EXTENTS_A_CALL: usize = 16 << 10;
/// Bytes of the old map fetched with one call.
const BLOCKS_A_CALL: usize = 1 << 20;

/// Extents of a list. A disk that changed in more places is listed more coarsely: 64 MiB of list are enough for a computer.
const EXTENTS_A_LIST: usize = 4 << 20;

/// What a caller noted when it took the snapshot it now continues.
#[derive(Clone, Copy, Debug, Default)]
pub struct Since {
    /// The number; 0 asks for everything since tracking began.
    pub number: u64,
    /// The generation, if it is to be checked.
    pub generation: Option<Id>,
    /// The id of the interval `number`, if it is to be checked.
    pub interval: Option<Id>,
}

/// A range in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedExtent {
    /// First byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The list continues only snapshots of this generation.
    pub generation: Id,
    /// The snapshot up to which the list goes; to be noted for the next time.
    pub number: u64,
    /// Its interval id, to be noted too; absent with the C module.
    pub interval: Option<Id>,
    /// Where the list begins.
    pub since: u64,
    /// Size of the device.
    pub capacity_bytes: u64,
    /// Granule of the list.
    pub block_bytes: u64,
    /// Whether the list may name more than what changed: memory was short, `since` is long ago, or the list would be too long.
    pub coarse: bool,
    /// Ascending, not touching each other.
    pub extents: Vec<ChangedExtent>,
}

impl Changes {
    /// Bytes in all extents.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }

    /// Adds what lies behind everything else. Keeps the list at `most` extents, if need be by closing small gaps.
    fn push(&mut self, offset: u64, length: u64, most: usize) {
        match self.extents.last_mut() {
            _ if length == 0 => {}
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => self.extents.push(ChangedExtent { offset, length }),
        }
        let mut gap_bytes = self.block_bytes;
        while self.extents.len() > most && gap_bytes < self.capacity_bytes {
            self.close_gaps(gap_bytes);
            // Room for as many again, or this would be done for each of the next ones.
            if self.extents.len() > most / 2 {
                gap_bytes = gap_bytes.saturating_mul(2);
            }
        }
    }

    /// Joins extents with no more than so much between them.
    fn close_gaps(&mut self, gap_bytes: u64) {
        self.extents.dedup_by(|next, before| {
            let end = before.offset + before.length;
            let joins = next.offset - end <= gap_bytes;
            if joins {
                before.length = next.offset + next.length - before.offset;
            }
            joins
        });
        self.coarse = true;
    }
}

/// The changes of a device since a snapshot, up to the last one.
pub fn changes(module: &dyn Module, device: &Path, since: Since) -> Result<Changes, TrackerError> {
    match module.tracker_info(device)? {
        Some(info) => fine(module, device, since, &info),
        None => from_bytes(module, device, since, &module.cbt_info(device)?),
    }
}

fn broken(device: &Path, why: String) -> TrackerError {
    TrackerError::Broken { device: device.display().to_string(), why: Difference(why) }
}

/// Checks what was noted against what the tracker says now.
fn check(device: &Path, since: Since, generation: Id, number: u64) -> Result<(), TrackerError> {
    if since.generation.is_some_and(|noted| noted != generation) {
        return Err(broken(device, format!("tracking began anew: its generation is {generation} now")));
    }
    if since.number > number {
        let why = format!("number {} was noted, but the last snapshot has number {number}", since.number);
        return Err(broken(device, why));
    }
    Ok(())
}

fn fine(module: &dyn Module, device: &Path, since: Since, info: &TrackerInfo) -> Result<Changes, TrackerError> {
    check(device, since, info.generation.into(), info.number)?;
    if let Some(noted) = since.interval {
        match module.interval(device, since.number)? {
            Some(Some(now)) if now == noted => {}
            Some(Some(now)) => {
                let why = format!("interval {} has the id {now} now: the machine was reverted or cloned", since.number);
                return Err(broken(device, why));
            }
            _ => return Err(broken(device, format!("the id of interval {} is no longer kept", since.number))),
        }
    }
    let mut changes = Changes {
        generation: info.generation.into(),
        number: info.number,
        interval: Some(info.interval.into()),
        since: since.number,
        capacity_bytes: info.capacity_bytes,
        block_bytes: info.block_bytes,
        coarse: since.number < info.oldest,
        extents: Vec::new(),
    };
    let mut buffer = vec![KernelExtent::default(); EXTENTS_A_CALL];
    let mut offset = 0;
    while offset < info.capacity_bytes {
        let query = ChangedQuery {
            generation: info.generation,
            number: info.number,
            since: since.number,
            offset_bytes: offset,
            length_bytes: info.capacity_bytes - offset,
            ..ChangedQuery::default()
        };
        let answer = module.changed(device, query, &mut buffer)?;
        let filled = usize::try_from(answer.filled).unwrap_or(usize::MAX).min(buffer.len());
        let filled = &buffer[..filled];
        let mut at = offset;
        for extent in filled {
            let end = extent.offset_bytes.checked_add(extent.length_bytes);
            let end = end.filter(|end| extent.offset_bytes >= at && *end <= answer.next_offset_bytes);
            at = end.ok_or_else(|| broken(device, "the module gave extents out of order".into()))?;
            changes.push(extent.offset_bytes, extent.length_bytes, EXTENTS_A_LIST);
        }
        if answer.next_offset_bytes <= offset {
            return Err(broken(device, "the module gave no answer to the end of the device".into()));
        }
        offset = answer.next_offset_bytes;
    }
    Ok(changes)
}

fn from_bytes(module: &dyn Module, device: &Path, since: Since, info: &CbtInfo) -> Result<Changes, TrackerError> {
    check(device, since, info.generation.into(), info.changes_number.into())?;
    let mut changes = Changes {
        generation: info.generation.into(),
        number: info.changes_number.into(),
        interval: None,
        since: since.number,
        capacity_bytes: info.capacity_bytes,
        block_bytes: info.block_size.into(),
        coarse: false,
        extents: Vec::new(),
    };
    let mut first = 0;
    while first < info.block_count {
        let rest = usize::try_from(info.block_count - first).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(BLOCKS_A_CALL)];
        module.cbt_map(device, first, &mut bytes)?;
        for byte in bytes {
            let offset = (u64::from(first) * changes.block_bytes).min(info.capacity_bytes);
            if u64::from(byte) > since.number {
                changes.push(offset, changes.block_bytes.min(info.capacity_bytes - offset), EXTENTS_A_LIST);
            }
            first += 1;
        }
    }
    // The map may have been switched while it was read.
    match module.cbt_info(device)? == *info {
        true => Ok(changes),
        false => Err(broken(device, "a snapshot was taken while the map was read".into())),
    }
}

/// The sectors that a range of bytes touches.
pub fn sectors(offset_bytes: u64, length_bytes: u64) -> Option<Sectors> {
    let end = offset_bytes.checked_add(length_bytes)?.div_ceil(SECTOR_BYTES);
    let offset_sectors = offset_bytes / SECTOR_BYTES;
    Some(Sectors { offset_sectors, count_sectors: end - offset_sectors })
}

#[cfg(test)]
mod tests {
    use super::super::fake::{BLOCK, Fake};
    use super::*;

    const DEVICE: &str = "/dev/fake";

    fn extents(changes: &Changes) -> Vec<(u64, u64)> {
        changes.extents.iter().map(|extent| (extent.offset, extent.length)).collect()
    }

    /// A device of 100 blocks and a bit, changed in intervals 1 to 3.
    fn changed_device(old: bool) -> Fake {
        let fake = Fake::new(100 * BLOCK + 512, old);
        fake.change(1, 0..10);
        fake.change(2, 20..30);
        fake.change(3, 30..35);
        fake.change(3, 99..101);
        fake
    }

    fn since(number: u64) -> Since {
        Since { number, ..Since::default() }
    }

    #[test]
    fn changes_since_a_number_are_the_same_with_both_modules() {
        for old in [false, true] {
            let fake = changed_device(old);
            let all = changes(&fake, DEVICE.as_ref(), since(0)).unwrap();
            let expected = [(0, 10 * BLOCK), (20 * BLOCK, 15 * BLOCK), (99 * BLOCK, BLOCK + 512)];
            assert_eq!(extents(&all), expected, "old: {old}");
            assert_eq!((all.number, all.bytes(), all.interval.is_none()), (3, 26 * BLOCK + 512, old));
            let last = changes(&fake, DEVICE.as_ref(), since(2)).unwrap();
            assert_eq!(extents(&last), [(30 * BLOCK, 5 * BLOCK), (99 * BLOCK, BLOCK + 512)]);
            assert_eq!(extents(&changes(&fake, DEVICE.as_ref(), since(3)).unwrap()), []);
        }
    }

    #[test]
    fn a_list_that_takes_many_calls_is_joined_again() {
        let fake = changed_device(false);
        fake.answer_at_most(1);
        let all = changes(&fake, DEVICE.as_ref(), since(0)).unwrap();
        assert_eq!(all.extents.len(), 3);
    }

    #[test]
    fn a_list_of_another_generation_number_or_interval_is_refused() {
        let fake = changed_device(false);
        let noted = changes(&fake, DEVICE.as_ref(), since(0)).unwrap();
        let good = Since { number: 2, generation: Some(noted.generation), interval: Some(Fake::interval_id(2)) };
        assert!(changes(&fake, DEVICE.as_ref(), good).is_ok());
        let other = Some(Id([9; 16]));
        for bad in [
            Since { generation: other, ..good },
            Since { interval: other, ..good },
            Since { number: 4, ..good },
            Since { number: 1, ..good },
        ] {
            let error = changes(&fake, DEVICE.as_ref(), bad).unwrap_err();
            assert!(matches!(error, TrackerError::Broken { .. }), "{bad:?}: {error}");
            assert!(error.next().unwrap().contains("whole disk"));
            assert!(std::error::Error::source(&error).is_some(), "it must say what differs");
        }
    }

    #[test]
    fn an_interval_that_is_no_longer_kept_is_refused() {
        let fake = changed_device(false);
        fake.forget_intervals_below(3);
        let noted = Since { number: 2, generation: None, interval: Some(Fake::interval_id(2)) };
        assert!(matches!(changes(&fake, DEVICE.as_ref(), noted), Err(TrackerError::Broken { .. })));
    }

    #[test]
    fn a_list_that_would_be_too_long_closes_its_smallest_gaps_and_loses_nothing() {
        let mut list = changes(&Fake::new(1000 * BLOCK, false), DEVICE.as_ref(), since(0)).unwrap();
        let changed: Vec<u64> = (0..300).map(|at| at * 3 + at / 10 * 2).collect();
        changed.iter().for_each(|block| list.push(block * BLOCK, BLOCK, 20));
        assert!(list.coarse && list.extents.len() <= 20, "{} extents", list.extents.len());
        let covers = |block: u64| {
            list.extents.iter().any(|e| e.offset <= block * BLOCK && (block + 1) * BLOCK <= e.offset + e.length)
        };
        assert!(changed.iter().all(|block| covers(*block)));
        assert!(list.extents.windows(2).all(|pair| pair[0].offset + pair[0].length < pair[1].offset), "out of order");
    }

    #[test]
    fn a_module_that_answers_nonsense_ends_in_an_error_not_in_a_loop() {
        let fake = changed_device(false);
        fake.answer_at_most(0);
        assert!(matches!(changes(&fake, DEVICE.as_ref(), since(0)), Err(TrackerError::Broken { .. })));
    }

    #[test]
    fn ranges_of_bytes_become_whole_sectors() {
        let whole = |offset, length| sectors(offset, length).map(|range| (range.offset_sectors, range.count_sectors));
        assert_eq!([whole(0, 512), whole(511, 2), whole(1024, 0)], [Some((0, 1)), Some((0, 2)), Some((2, 0))]);
        assert_eq!(whole(u64::MAX, 1), None);
    }
}
