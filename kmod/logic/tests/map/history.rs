//! Numbers of intervals.

use super::{TIB_BLOCKS, blocks};
use crate::memory::Counted;
use kmod_logic::map::LEAF_BLOCKS;
use kmod_logic::map::active::ActiveMap;
use kmod_logic::map::history::History;

fn history(blocks: u64) -> History<Counted> {
    History::new(Counted, blocks).unwrap()
}

/// One interval in which these blocks changed.
fn interval(history: &mut History<Counted>, number: u64, changed: &[(u64, u64)]) {
    let active = ActiveMap::new(Counted, history.blocks()).unwrap();
    changed.iter().for_each(|(first, end)| {
        active.mark(blocks(*first, *end));
    });
    history.fold(&active, number);
}

#[test]
fn a_block_has_the_number_of_its_last_change() {
    let mut history = history(2 * LEAF_BLOCKS);
    interval(&mut history, 1, &[(0, 10), (LEAF_BLOCKS, LEAF_BLOCKS + 1)]);
    interval(&mut history, 2, &[(5, 15)]);
    let numbers = [0, 4, 5, 14, 15, LEAF_BLOCKS, 2 * LEAF_BLOCKS, u64::MAX].map(|block| history.number(block));
    assert_eq!(numbers, [1, 1, 2, 2, 0, 1, 0, 0]);
    assert_eq!(history.oldest(), 0);
}

#[test]
fn changes_since_a_number_are_whole_extents() {
    let end = 3 * LEAF_BLOCKS;
    let mut history = history(end);
    interval(&mut history, 1, &[(10, 20), (LEAF_BLOCKS - 5, 2 * LEAF_BLOCKS + 5)]);
    interval(&mut history, 2, &[(15, 17)]);
    let all = |since| {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(range) = history.next_changed(blocks(from, u64::MAX), since) {
            found.push((range.first, range.end));
            from = range.end;
        }
        found
    };
    assert_eq!(all(0), [(10, 20), (LEAF_BLOCKS - 5, 2 * LEAF_BLOCKS + 5)]);
    assert_eq!(all(1), [(15, 17)]);
    assert_eq!(all(2), []);
    assert_eq!(history.next_changed(blocks(16, LEAF_BLOCKS), 0), Some(blocks(16, 20)));
    assert_eq!(history.next_changed(blocks(end, end + 5), 0), None);
}

#[test]
fn a_region_that_changed_wholly_takes_no_memory_even_at_the_end_of_the_device() {
    let mut history = history(2 * LEAF_BLOCKS - 100);
    let empty = history.bytes();
    interval(&mut history, 1, &[(0, 5), (LEAF_BLOCKS + 7, LEAF_BLOCKS + 8)]);
    assert!(history.bytes() > empty);
    interval(&mut history, 2, &[(0, u64::MAX)]);
    assert_eq!(history.bytes(), empty);
    assert_eq!(history.next_changed(blocks(0, u64::MAX), 1), Some(blocks(0, 2 * LEAF_BLOCKS - 100)));
}

#[test]
fn hundreds_of_intervals_in_one_region_stay_exact_up_to_256_numbers() {
    let mut history = history(LEAF_BLOCKS);
    // With 0 for the rest these are 256 numbers.
    for number in 1..=255 {
        interval(&mut history, number, &[(100 * number, 100 * number + 1)]);
    }
    assert_eq!(history.oldest(), 0);
    assert!((1..=255).all(|number| history.number(100 * number) == number));
}

#[test]
fn more_than_256_numbers_in_a_region_merge_the_oldest_upwards() {
    let mut history = history(LEAF_BLOCKS);
    for number in 1..=300 {
        interval(&mut history, number, &[(100 * number, 100 * number + 1)]);
    }
    let oldest = history.oldest();
    // 301 numbers in 256 places: 45 merges, each of which costs one number.
    assert_eq!(oldest, 45);
    for number in 1..=300 {
        let shown = history.number(100 * number);
        assert!(shown >= number, "{number} became {shown}");
        assert!(shown == number.max(oldest), "{number} became {shown}");
    }
}

#[test]
fn numbers_that_no_block_has_any_more_make_room() {
    let mut history = history(LEAF_BLOCKS);
    let one = history.bytes() + 4096 + 16 + 64;
    for number in 1..=10_000 {
        interval(&mut history, number, &[(0, 1)]);
    }
    assert_eq!((history.number(0), history.number(1), history.oldest()), (10_000, 0, 0));
    assert!(history.bytes() <= one, "{} bytes for two numbers", history.bytes());
}

#[test]
fn codes_get_narrower_when_numbers_disappear() {
    let mut history = history(LEAF_BLOCKS);
    (1..=100).for_each(|number| interval(&mut history, number, &[(300 * number, 300 * number + 150)]));
    let wide = history.bytes();
    interval(&mut history, 101, &[(0, 31_000)]);
    assert!(history.bytes() + 20_000 < wide, "{} of {wide} bytes", history.bytes());
    assert_eq!((history.number(350), history.number(31_000)), (101, 0));
}

#[test]
fn without_memory_a_region_is_as_new_as_its_newest_change() {
    let mut history = history(2 * LEAF_BLOCKS);
    let active = ActiveMap::new(Counted, history.blocks()).unwrap();
    active.mark(blocks(3, 4));
    Counted::limit(Some(0));
    history.fold(&active, 1);
    assert_eq!([0, 3, LEAF_BLOCKS - 1, LEAF_BLOCKS].map(|block| history.number(block)), [1, 1, 1, 0]);
    assert_eq!(history.oldest(), 1);
}

#[test]
fn without_memory_for_wider_codes_the_oldest_numbers_merge() {
    let mut history = history(LEAF_BLOCKS);
    interval(&mut history, 1, &[(1, 1001)]);
    let active = ActiveMap::new(Counted, LEAF_BLOCKS).unwrap();
    active.mark(blocks(1001, 1002));
    Counted::limit(Some(0));
    history.fold(&active, 2);
    assert_eq!([0, 1, 1001].map(|block| history.number(block)), [1, 1, 2]);
    assert_eq!(history.oldest(), 1);
}

#[test]
fn a_region_that_was_coarse_when_written_limits_what_can_be_told_apart() {
    let mut history = history(LEAF_BLOCKS);
    let active = ActiveMap::new(Counted, LEAF_BLOCKS).unwrap();
    Counted::limit(Some(0));
    active.mark(blocks(3, 4));
    Counted::limit(None);
    history.fold(&active, 7);
    assert_eq!((history.oldest(), history.number(100)), (7, 7));
}

#[test]
fn marks_of_the_past_show_in_the_readable_map() {
    let mut history = history(3 * LEAF_BLOCKS);
    interval(&mut history, 1, &[(0, 10)]);
    history.mark(blocks(5, 2 * LEAF_BLOCKS), 1);
    assert_eq!([4, 5, LEAF_BLOCKS, 2 * LEAF_BLOCKS - 1, 2 * LEAF_BLOCKS].map(|b| history.number(b)), [1, 1, 1, 1, 0]);
    history.mark(blocks(0, u64::MAX), 0);
    assert_eq!(history.number(3 * LEAF_BLOCKS - 1), 0);
}

#[test]
fn a_touched_tib_costs_at_most_4_mib() {
    let before = Counted::used();
    let mut history = history(TIB_BLOCKS);
    let active = ActiveMap::new(Counted, TIB_BLOCKS).unwrap();
    // The dearest pattern: something in each region, and a region never wholly.
    for leaf in 0..TIB_BLOCKS / LEAF_BLOCKS {
        active.mark(blocks(leaf * LEAF_BLOCKS + 3, leaf * LEAF_BLOCKS + 20_000));
    }
    history.fold(&active, 1);
    let used = Counted::used() - before;
    assert_eq!(used as u64, history.bytes() + active.bytes());
    // Besides the two MiB of bits each: a handle and two numbers for each of 512 regions.
    assert!(used <= (4 << 20) + (128 << 10), "{used} bytes");
}

/// The hard cap: 32 KiB of codes and 2 KiB of numbers for 2 GiB, that is 17 MiB for a TiB in which 255 intervals are told apart.
#[test]
fn memory_of_a_region_follows_the_number_of_intervals_that_are_told_apart() {
    for (intervals, codes_bytes, numbers) in
        [(1, 4 << 10, 2), (3, 8 << 10, 4), (15, 16 << 10, 16), (255, 32 << 10, 256)]
    {
        let mut history = history(LEAF_BLOCKS);
        let empty = history.bytes();
        // More blocks than the list of a few takes.
        (1..=intervals).for_each(|number| {
            interval(&mut history, number, &[(100 * number, 100 * number + 1), (32_000, 32_200)]);
        });
        interval(&mut history, intervals, &[(32_000, 32_100)]);
        let used = history.bytes() - empty - codes_bytes - 8 * numbers;
        assert!(used <= 128, "{intervals} intervals: {used} bytes besides codes and numbers");
        (1..=1000).for_each(|number| {
            interval(&mut history, intervals + number, &[(number * 30 % LEAF_BLOCKS, number * 30 % LEAF_BLOCKS + 1)]);
        });
        assert!(history.bytes() - empty <= (34 << 10) + 128, "{} bytes after 1000 more", history.bytes());
    }
}

#[test]
fn few_changed_blocks_in_a_region_cost_some_bytes_each_and_stay_exact() {
    let mut history = history(TIB_BLOCKS);
    let empty = history.bytes();
    for number in 1..=16 {
        let changed: Vec<_> = (0..TIB_BLOCKS / LEAF_BLOCKS)
            .flat_map(|leaf| {
                [0, 1, 700, LEAF_BLOCKS - 1].map(|at| leaf * LEAF_BLOCKS + (at + number * 9) % LEAF_BLOCKS)
            })
            .map(|block| (block, block + 1))
            .collect();
        interval(&mut history, number, &changed);
    }
    assert!(history.bytes() - empty <= 512 << 10, "{} bytes", history.bytes());
    for (block, number) in [(9, 1), (10, 1), (709, 1), (8, 1), (144, 16), (145, 16), (844, 16), (143, 16), (700, 0)] {
        assert_eq!(history.number(7 * LEAF_BLOCKS + block), number, "block {block}");
    }
    assert_eq!(history.oldest(), 0);
}

#[test]
fn a_region_of_few_changes_becomes_one_of_many_without_losing_one() {
    let mut history = history(LEAF_BLOCKS);
    (1..=30).for_each(|number| interval(&mut history, number, &[(7 * number, 7 * number + 3)]));
    interval(&mut history, 31, &[(10_000, 10_100)]);
    assert!((1..=30).all(|number| history.number(7 * number + 2) == number && history.number(7 * number + 3) == 0));
    assert!((10_000..10_100).all(|block| history.number(block) == 31));
    interval(&mut history, 32, &[(0, LEAF_BLOCKS)]);
    assert_eq!(history.next_changed(blocks(0, u64::MAX), 31), Some(blocks(0, LEAF_BLOCKS)));
}

#[test]
fn an_untouched_64_tib_device_costs_little() {
    let before = Counted::used();
    let history = history(64 * TIB_BLOCKS);
    assert!(Counted::used() - before <= 1 << 20, "{} bytes", history.bytes());
}

#[test]
fn all_memory_comes_back() {
    let before = Counted::used();
    let mut history = history(4 * LEAF_BLOCKS);
    (1..=50).for_each(|number| interval(&mut history, number, &[(number * 1000, number * 1500)]));
    drop(history);
    assert_eq!(Counted::used(), before);
}
