//! Sizes of blocks and chunks, and what a range touches.

use kmod_logic::map::BlockRange;
use kmod_logic::sizes::{ChunkLimits, Chunks, DeviceSizes, SectorRange, SubRun, TrackingBlocks, TrackingLimits, runs};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq};

const DEFAULT_TRACKING: TrackingLimits = TrackingLimits { minimum_shift: 16, maximum_count: 0, maximum_shift: 26 };
const DEFAULT_CHUNKS: ChunkLimits = ChunkLimits { minimum_shift: 18, maximum_count_shift: 40, maximum_shift: 26 };
const TIB_SECTORS: u64 = 1 << 31;

fn device(capacity_sectors: u64) -> DeviceSizes {
    DeviceSizes { capacity_sectors, minimum_io_bytes: 512, logical_block_bytes: 512, page_shift: 12 }
}

fn chunks(capacity_sectors: u64) -> Chunks {
    Chunks::new(device(capacity_sectors), DEFAULT_CHUNKS).unwrap()
}

#[test]
fn blocks_stay_64_kib_at_every_size_unless_a_count_is_set() {
    for tib in [1, 16, 64] {
        let blocks = TrackingBlocks::new(tib * TIB_SECTORS, DEFAULT_TRACKING);
        assert_eq!((blocks.shift, blocks.count), (16, tib << 24));
    }
    let limited = TrackingLimits { maximum_count: 2_097_152, ..DEFAULT_TRACKING };
    let blocks = TrackingBlocks::new(16 * TIB_SECTORS, limited);
    assert_eq!((blocks.shift, blocks.count), (23, 2_097_152));
    assert_eq!(TrackingBlocks::new(1 << 46, limited).shift, 26);
}

#[test]
fn the_count_of_blocks_fits_32_bits_whatever_the_limits_say() {
    let small = TrackingLimits { minimum_shift: 12, maximum_count: 0, maximum_shift: 12 };
    let blocks = TrackingBlocks::new(1024 * TIB_SECTORS, small);
    assert!(blocks.count <= u64::from(u32::MAX) && blocks.shift == 19, "{blocks:?}");
    assert_eq!(TrackingBlocks::new(0, small), TrackingBlocks { shift: 12, count: 0 });
}

#[test]
fn a_write_touches_every_block_that_it_reaches_into() {
    let blocks = TrackingBlocks::new(1000, DEFAULT_TRACKING);
    assert_eq!(blocks.count, 8);
    let touched = |first, count| {
        let range = blocks.touched(SectorRange::new(first, count));
        (range.first, range.end)
    };
    assert_eq!([touched(0, 1), touched(127, 2), touched(128, 128), touched(999, 1)], [(0, 1), (0, 2), (1, 2), (7, 8)]);
    assert!(blocks.touched(SectorRange::new(5, 0)).is_empty());
    assert!(blocks.touched(SectorRange::new(1024, u64::MAX)).is_empty());
    assert_eq!(touched(1, u64::MAX), (0, 8));
    assert_eq!(blocks.bytes(BlockRange { first: 6, end: 8 }, 512_000), (393_216, 512_000 - 393_216));
}

#[test]
fn chunks_are_256_kib_with_64_sub_blocks_of_a_page() {
    let chunks = chunks(TIB_SECTORS);
    assert_eq!((chunks.chunk_shift, chunks.sub_shift, chunks.count()), (18, 12, 1 << 22));
    assert_eq!((chunks.chunk_sectors(), chunks.sub_sectors(), chunks.present(0)), (512, 8, u64::MAX));
}

#[test]
fn chunks_hold_the_devices_smallest_good_request_and_a_page() {
    let wide = DeviceSizes { minimum_io_bytes: 3 << 20, ..device(TIB_SECTORS) };
    assert_eq!(Chunks::new(wide, DEFAULT_CHUNKS).unwrap().chunk_shift, 22);
    let large_pages = DeviceSizes { page_shift: 16, ..device(TIB_SECTORS) };
    let chunks = Chunks::new(large_pages, ChunkLimits { minimum_shift: 12, ..DEFAULT_CHUNKS }).unwrap();
    assert_eq!((chunks.chunk_shift, chunks.sub_shift), (16, 16));
    let absurd = DeviceSizes { minimum_io_bytes: 1 << 30, ..device(TIB_SECTORS) };
    assert_eq!(Chunks::new(absurd, DEFAULT_CHUNKS), None);
    assert_eq!(Chunks::new(DeviceSizes { minimum_io_bytes: u64::MAX, ..device(1) }, DEFAULT_CHUNKS), None);
}

#[test]
fn chunks_grow_until_there_are_few_enough_but_no_further_than_the_maximum() {
    let few = ChunkLimits { maximum_count_shift: 20, ..DEFAULT_CHUNKS };
    assert_eq!(Chunks::new(device(TIB_SECTORS), few).unwrap().chunk_shift, 20);
    assert_eq!(Chunks::new(device(1024 * TIB_SECTORS), few).unwrap().chunk_shift, 26);
}

#[test]
fn sub_blocks_are_not_smaller_than_the_devices_sectors() {
    let big_sectors = DeviceSizes { logical_block_bytes: 65_536, ..device(TIB_SECTORS) };
    let chunks = Chunks::new(big_sectors, DEFAULT_CHUNKS).unwrap();
    assert_eq!((chunks.chunk_shift, chunks.sub_shift, chunks.present(0)), (18, 16, 0b1111));
}

#[test]
fn the_end_of_a_device_counts_as_covered() {
    let chunks = chunks(512 + 11);
    assert_eq!((chunks.count(), chunks.present(1), chunks.present(2)), (2, 0b11, 0));
    let part = chunks.parts(SectorRange::new(512 + 8, 3)).next().unwrap();
    assert_eq!((part.chunk, part.touched, part.covered), (1, 0b10, 0b10));
    let part = chunks.parts(SectorRange::new(512 + 8, 2)).next().unwrap();
    assert_eq!((part.touched, part.covered), (0b10, 0));
    assert_eq!(chunks.sectors_of_run(1, SubRun { first: 1, count: 1 }), SectorRange { first: 520, end: 523 });
}

fn any_chunks() -> impl Strategy<Value = Chunks> {
    (1..200_000_u64, 0..20_u32, 12..20_u32).prop_map(|(capacity, io, minimum_shift)| {
        let device = DeviceSizes { minimum_io_bytes: 1 << io, ..device(capacity) };
        Chunks::new(device, ChunkLimits { minimum_shift, ..DEFAULT_CHUNKS }).unwrap()
    })
}

proptest::proptest! {
    #[test]
    fn parts_are_the_range_in_order_and_their_bits_say_what_they_touch(
        chunks in any_chunks(), first in 0..210_000_u64, count in 0..30_000_u64,
    ) {
        let range = SectorRange::new(first, count);
        let parts: Vec<_> = chunks.parts(range).collect();
        let is_cut = range.end > chunks.capacity_sectors;
        prop_assert_eq!(chunks.only_part(range), parts.first().copied().filter(|_| parts.len() == 1 && !is_cut));
        let mut at = first;
        for part in parts {
            prop_assert_eq!(part.sectors.first, at);
            at = part.sectors.end;
            let chunk = chunks.sectors_of(part.chunk);
            prop_assert!(chunk.first <= part.sectors.first && part.sectors.end <= chunk.end);
            prop_assert!(part.covered & !part.touched == 0 && part.touched & !chunks.present(part.chunk) == 0);
            for bit in 0..64 {
                let sub = chunks.sectors_of_run(part.chunk, SubRun { first: bit, count: 1 });
                let meets = !sub.is_empty() && sub.first < part.sectors.end && part.sectors.first < sub.end;
                let inside = meets && part.sectors.first <= sub.first && sub.end <= part.sectors.end;
                if chunks.present(part.chunk) >> bit & 1 == 1 {
                    prop_assert_eq!(part.touched >> bit & 1 == 1, meets);
                    prop_assert_eq!(part.covered >> bit & 1 == 1, inside);
                }
            }
        }
        prop_assert_eq!(at.max(first), first.max(range.end.min(chunks.capacity_sectors)));
    }

    #[test]
    fn runs_are_the_bitmap(bitmap in any::<u64>()) {
        let mut seen = 0;
        let mut end = 0;
        for run in runs(bitmap) {
            prop_assert!(run.count > 0 && (run.first > end || seen == 0));
            end = run.first + run.count;
            (run.first..end).for_each(|bit| seen |= 1 << bit);
        }
        prop_assert_eq!(seen, bitmap);
    }
}
