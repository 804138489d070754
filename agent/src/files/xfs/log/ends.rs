//! Where the log begins and ends: the head is where the next record would have been written, the tail is the oldest
//! record whose changes may not have reached their places.
//!
//! Cycle numbers fall by one at the head. Several records are written at the same time, so shortly before the head
//! some may be missing or torn: there the log ends, because what follows was never reported as durable.

use super::super::blocks::{SECTOR_BYTES, SECTOR_LENGTH};
use super::records::{Header, MAGIC, Ring, cycle_of};
use crate::files::{FilesError, Result};

/// The kernel has so many records under way.
const MAX_RECORDS_UNDER_WAY: u32 = 8;
const MAX_RECORD_SECTORS: u32 = (256 << 10) / SECTOR_BYTES;
const MAX_RECORD_SECTORS_V1: u32 = (32 << 10) / SECTOR_BYTES;
/// A record of the largest size with its headers.
const MAX_HEADER_SECTORS: u32 = 8;
const FLAG_UNMOUNT: u8 = 0x20;

/// What has to be replayed: records from `tail` up to, not including, `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) tail: u32,
    pub(super) head: u32,
    /// How far behind the head a damaged tail may be one that the last records have overwritten.
    pub(super) overwritten_sectors: u32,
    pub(super) is_torn: bool,
}

/// `None` when there is nothing to replay.
pub(super) fn find(ring: &Ring<'_>) -> Result<Option<Range>> {
    let Some(head) = find_head(ring)? else { return Ok(None) };
    let (last, header) = last_record(ring, head)?;
    if is_unmounted(ring, last, &header, head)? {
        return Ok(None);
    }
    match first_torn(ring, head, check_tail(ring, &header)?)? {
        None => range(ring, head, &header, false),
        Some(torn) => {
            let (last, header) = last_record(ring, torn)?;
            if is_unmounted(ring, last, &header, torn)? {
                return Ok(None);
            }
            range(ring, torn, &header, true)
        }
    }
}

fn range(ring: &Ring<'_>, head: u32, last: &Header, is_torn: bool) -> Result<Option<Range>> {
    let tail = check_tail(ring, last)?;
    let overwritten_sectors = last.most_sectors() * 8;
    Ok((tail != head).then_some(Range { tail, head, overwritten_sectors, is_torn }))
}

fn check_tail(ring: &Ring<'_>, header: &Header) -> Result<u32> {
    if header.tail < ring.sectors {
        return Ok(header.tail);
    }
    Err(FilesError::corrupt("the log has its tail outside of it"))
}

/// The first sector that was not written in the newest cycle. `None` for a log that was never written.
fn find_head(ring: &Ring<'_>) -> Result<Option<u32>> {
    let end = ring.sectors;
    let longest = if ring.has_log_v2 { MAX_RECORD_SECTORS } else { MAX_RECORD_SECTORS_V1 };
    let window = end.min(longest * MAX_RECORDS_UNDER_WAY);
    let (first, last) = (ring.cycle(0)?, ring.cycle(end - 1)?);
    if first == 0 {
        return Ok(None);
    }
    if last == 0 {
        let guess = first_of_cycle(ring, 0)?;
        let from = guess.saturating_sub(window);
        let head = earliest(ring, from, guess - from, 0)?.unwrap_or(guess);
        return step_back(ring, head).map(Some);
    }
    // Before the head is the newest cycle, behind it the one before.
    let (guess, older) = if first == last { (end, last.wrapping_sub(1)) } else { (first_of_cycle(ring, last)?, last) };
    let head = if guess >= window {
        earliest(ring, guess - window, window, older)?.unwrap_or(guess)
    } else {
        // The end of the ring may have a gap of the cycle before, left by writes that never came.
        let at_end = window - guess;
        let gap = earliest(ring, end - at_end, at_end, older.wrapping_sub(1))?;
        match gap {
            Some(gap) => gap,
            None => earliest(ring, 0, guess, older)?.unwrap_or(guess),
        }
    };
    Ok(Some(step_back(ring, head)? % end))
}

/// The first sector of the last run of `cycle`, as far as halving finds it; the last sector has this cycle.
fn first_of_cycle(ring: &Ring<'_>, cycle: u32) -> Result<u32> {
    let (mut before, mut from) = (0, ring.sectors - 1);
    while from - before > 1 {
        let middle = before + (from - before) / 2;
        if ring.cycle(middle)? == cycle {
            from = middle;
        } else {
            before = middle;
        }
    }
    Ok(from)
}

/// The first of `count` sectors from `start` that has this cycle.
fn earliest(ring: &Ring<'_>, start: u32, count: u32, cycle: u32) -> Result<Option<u32>> {
    let bytes = ring.read(start, count)?;
    for (at, sector) in (start..).zip(bytes.chunks(SECTOR_LENGTH)) {
        if cycle_of(sector)? == cycle {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The head, or the start of the record before it when that does not reach up to it. May be the end of the ring.
fn step_back(ring: &Ring<'_>, head: u32) -> Result<u32> {
    let position = head % ring.sectors;
    let (last, header) = last_record(ring, position)?;
    let length = header.sectors() + header.data_sectors();
    Ok(if length == ring.distance(last, position) { head } else { last })
}

/// The last record that begins before a position.
fn last_record(ring: &Ring<'_>, before: u32) -> Result<(u32, Header)> {
    let most = (MAX_RECORD_SECTORS + MAX_HEADER_SECTORS).min(ring.sectors);
    let starts = starts_before(ring, before, most)?;
    let Some(last) = starts.last().copied() else {
        return Err(FilesError::corrupt("the log has no record before its head"));
    };
    match ring.header(last)? {
        Some(header) => Ok((last, header)),
        None => Err(FilesError::corrupt("the log has a damaged record at its head")),
    }
}

/// Where records begin among the `count` sectors before a position.
fn starts_before(ring: &Ring<'_>, before: u32, count: u32) -> Result<Vec<u32>> {
    let start = ring.after(before, ring.sectors - count);
    let bytes = ring.read(start, count)?;
    let is_start = |sector: &[u8]| sector.starts_with(&MAGIC.to_be_bytes());
    let starts = bytes.chunks(SECTOR_LENGTH).zip(0..).filter(|(sector, _)| is_start(sector));
    Ok(starts.map(|(_, index)| ring.after(start, index)).collect())
}

/// Whether the last record says that the file system was unmounted.
fn is_unmounted(ring: &Ring<'_>, last: u32, header: &Header, head: u32) -> Result<bool> {
    let length = header.sectors() + header.data_sectors();
    if header.operations != 1 || ring.after(last, length) != head {
        return Ok(false);
    }
    // The flags are the tenth byte; the cycle number hides the first four only.
    Ok(ring.read(ring.after(last, header.sectors()), 1)?[9] & FLAG_UNMOUNT != 0)
}

/// The first of the last records that is not whole.
fn first_torn(ring: &Ring<'_>, head: u32, tail: u32) -> Result<Option<u32>> {
    let most = MAX_RECORDS_UNDER_WAY * (MAX_RECORD_SECTORS + MAX_HEADER_SECTORS);
    let active = if tail == head { ring.sectors } else { ring.distance(tail, head) };
    let starts = starts_before(ring, head, most.min(active))?;
    let mut at = match starts.len().checked_sub(MAX_RECORDS_UNDER_WAY as usize) {
        Some(first) => starts[first],
        None => match starts.first() {
            Some(first) => *first,
            None => return Ok(None),
        },
    };
    for _ in starts {
        let to_head = ring.distance(at, head);
        let record = ring.record(at)?;
        let length = record.as_ref().map_or(0, |r| r.header.sectors() + r.header.data_sectors());
        if length == 0 || length > to_head {
            return Ok(Some(at));
        }
        if length == to_head {
            break;
        }
        at = ring.after(at, length);
    }
    Ok(None)
}

/// The record that begins next after a damaged one; the head when there is none.
pub(super) fn next_record(ring: &Ring<'_>, damaged: u32, head: u32) -> Result<u32> {
    let first = ring.after(damaged, 1);
    let count = ring.distance(first, head).min(MAX_RECORD_SECTORS + MAX_HEADER_SECTORS);
    let bytes = ring.read(first, count)?;
    let next = bytes.chunks(SECTOR_LENGTH).position(|sector| sector.starts_with(&MAGIC.to_be_bytes()));
    Ok(next.and_then(|index| u32::try_from(index).ok()).map_or(head, |index| ring.after(first, index)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAGIC, Range, SECTOR_LENGTH, find};
    use crate::files::xfs::log::records::Ring;

    const SECTORS: u32 = 97;

    /// Writes records around a small ring, as the kernel does.
    struct Writer {
        sectors: Vec<[u8; SECTOR_LENGTH]>,
        at: u32,
        cycle: u32,
        tail: u32,
    }

    impl Writer {
        fn new() -> Self {
            let mut writer = Self { sectors: vec![[0; SECTOR_LENGTH]; 97], at: 0, cycle: 1, tail: 0 };
            writer.write(1, 99, true);
            writer
        }

        /// A record of so many sectors of data, of which the first `kept` sectors reach the disk.
        fn write(&mut self, data: u32, kept: u32, is_unmount: bool) {
            let mut header = [0; SECTOR_LENGTH];
            let words = [MAGIC, self.cycle, 2, data * 512, self.cycle, self.at, self.cycle, self.tail, 0, 0, 1];
            for (index, word) in words.into_iter().enumerate() {
                header[index * 4..index * 4 + 4].copy_from_slice(&word.to_be_bytes());
            }
            header[300..304].copy_from_slice(&1_u32.to_be_bytes());
            for index in 0..=data {
                let mut sector = header;
                if index > 0 {
                    sector = [0x11; SECTOR_LENGTH];
                    sector[..4].copy_from_slice(&self.cycle.to_be_bytes());
                    sector[9] = if is_unmount { 0x20 } else { 0 };
                }
                if index < kept {
                    self.sectors[self.at as usize] = sector;
                }
                self.at = (self.at + 1) % SECTORS;
                self.cycle += u32::from(self.at == 0);
            }
        }

        fn found(&self) -> Option<Range> {
            let disk = self.sectors.concat();
            find(&Ring::of_disk(Arc::new(disk), SECTORS)).unwrap()
        }
    }

    #[test]
    fn the_head_is_found_wherever_it_is() {
        let mut writer = Writer::new();
        assert_eq!(writer.found(), None);
        for turn in 0..300 {
            writer.tail = writer.at;
            let length = [1, 5, 2, 11, 3, 30, 1][turn % 7];
            writer.write(length, length + 1, false);
            let found = writer.found().unwrap();
            assert_eq!((found.tail, found.head, found.is_torn), (writer.tail, writer.at, false), "in turn {turn}");
        }
    }

    #[test]
    fn a_record_that_is_not_whole_does_not_count() {
        for turns in 0..120 {
            let mut writer = Writer::new();
            for turn in 0..turns {
                writer.tail = writer.at;
                writer.write([4, 9, 1][turn % 3], 99, false);
            }
            writer.tail = writer.at;
            writer.write(3, 99, false);
            let whole = (writer.tail, writer.at);
            for kept in 0..8 {
                let mut torn = Writer { sectors: writer.sectors.clone(), ..writer };
                torn.write(8, kept, false);
                // One that was written later, but whole.
                torn.write(2, if kept % 2 == 0 { 99 } else { 0 }, false);
                let found = torn.found().unwrap();
                assert_eq!((found.tail, found.head), whole, "after {turns} turns with {kept} sectors");
            }
        }
    }

    #[test]
    fn an_unmounted_log_has_nothing_to_replay() {
        let mut writer = Writer::new();
        for turn in 0..150 {
            writer.tail = writer.at;
            writer.write([7, 2, 1][turn % 3], 99, turn % 2 == 0);
            assert_eq!(writer.found().is_none(), turn % 2 == 0, "in turn {turn}");
        }
    }
}
