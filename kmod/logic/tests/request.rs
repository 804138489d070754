//! What user space may ask for.

use kmod_logic::map::BlockRange;
use kmod_logic::request::{self, ChangedError, ChangedRange, Invalid};
use kmod_logic::sizes::{SectorRange, TrackingBlocks, TrackingLimits};
use kmod_logic::uapi::extension::ChangedQuery;
use kmod_logic::uapi::{CbtMap, Sectors, Uuid};

fn dirty(offset_sectors: u64, count_sectors: u64) -> Result<SectorRange, Invalid> {
    request::dirty_range(Sectors { offset_sectors, count_sectors }, 1000)
}

#[test]
fn dirty_ranges_lie_on_the_device() {
    assert_eq!(dirty(0, 1000), Ok(SectorRange { first: 0, end: 1000 }));
    assert_eq!(dirty(999, 1), Ok(SectorRange { first: 999, end: 1000 }));
    for (offset, count) in [(0, 0), (0, 1001), (1000, 1), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        assert_eq!(dirty(offset, count), Err(Invalid), "{offset} {count}");
    }
}

#[test]
fn the_number_of_dirty_ranges_is_bounded() {
    assert_eq!(request::dirty_count(65_536), Ok(65_536));
    assert_eq!(request::dirty_count(65_537), Err(Invalid));
}

#[test]
fn the_map_is_read_up_to_its_end_and_not_from_behind_it() {
    let read = |offset, length| request::map_bytes(&CbtMap { offset, length, buffer: 0 }, 100);
    assert_eq!(read(0, 100), Ok(BlockRange { first: 0, end: 100 }));
    assert_eq!(read(99, u32::MAX), Ok(BlockRange { first: 99, end: 100 }));
    assert_eq!(read(99, 0), Ok(BlockRange { first: 99, end: 99 }));
    // The C module reads out of bounds here.
    assert_eq!(read(100, 1), Err(Invalid));
    assert_eq!(read(u32::MAX, u32::MAX), Err(Invalid));
    assert_eq!(request::map_bytes(&CbtMap::default(), 0), Err(Invalid));
}

const GENERATION: Uuid = Uuid { bytes: [7; 16] };
const CAPACITY: u64 = 10 * 65_536 - 1024;

fn query() -> ChangedQuery {
    ChangedQuery { generation: GENERATION, number: 5, length_bytes: u64::MAX, capacity: 1, ..ChangedQuery::default() }
}

fn tracking() -> TrackingBlocks {
    let limits = TrackingLimits { minimum_shift: 16, maximum_count: 0, maximum_shift: 26 };
    TrackingBlocks::new(CAPACITY / 512, limits)
}

fn changed(query: ChangedQuery) -> Result<ChangedRange, ChangedError> {
    request::changed_range(&query, (GENERATION, 5), CAPACITY, tracking())
}

#[test]
fn a_query_about_another_state_is_stale() {
    assert_eq!(changed(ChangedQuery { number: 4, ..query() }), Err(ChangedError::Stale));
    assert_eq!(changed(ChangedQuery { generation: Uuid { bytes: [8; 16] }, ..query() }), Err(ChangedError::Stale));
}

#[test]
fn a_query_that_makes_no_sense_is_refused() {
    let refused = [
        ChangedQuery { since: 6, ..query() },
        ChangedQuery { capacity: 0, ..query() },
        ChangedQuery { offset_bytes: CAPACITY, ..query() },
        ChangedQuery { offset_bytes: 1, ..query() },
    ];
    refused.into_iter().for_each(|query| assert_eq!(changed(query), Err(ChangedError::Invalid), "{query:?}"));
}

#[test]
fn answers_are_whole_blocks_cut_to_what_was_asked() {
    let all = changed(query()).unwrap();
    assert_eq!((all.blocks, all.end_bytes), (BlockRange { first: 0, end: 10 }, CAPACITY));
    assert_eq!(all.extent(BlockRange { first: 9, end: 10 }, tracking()), (9 * 65_536, 65_536 - 1024));
    let some = changed(ChangedQuery { offset_bytes: 70_000, length_bytes: 100_000, ..query() }).unwrap();
    assert_eq!(some.blocks, BlockRange { first: 1, end: 3 });
    assert_eq!(some.extent(some.blocks, tracking()), (70_000, 100_000));
    assert_eq!(some.extent(BlockRange { first: 2, end: 3 }, tracking()), (131_072, 170_000 - 131_072));
}

#[test]
fn names_end_with_a_zero() {
    assert_eq!(request::name(b"blksnap\0rest"), Ok(&b"blksnap"[..]));
    assert_eq!(request::name(b"\0"), Err(Invalid));
    assert_eq!(request::name(&[b'x'; 32]), Err(Invalid));
    assert_eq!(request::name(b""), Err(Invalid));
}
