//! Marks of one interval.

use super::{TIB_BLOCKS, blocks};
use crate::memory::Counted;
use kmod_logic::map::LEAF_BLOCKS;
use kmod_logic::map::active::ActiveMap;

fn map(blocks: u64) -> ActiveMap<Counted> {
    ActiveMap::new(Counted, blocks).unwrap()
}

#[test]
fn a_mark_covers_exactly_its_blocks() {
    for (first, end) in [(0, 1), (0, 64), (63, 65), (5, 200), (LEAF_BLOCKS - 1, LEAF_BLOCKS + 1), (0, 3 * LEAF_BLOCKS)]
    {
        let map = map(3 * LEAF_BLOCKS);
        assert_eq!(map.mark(blocks(first, end)), end - first);
        assert!(
            (0..3 * LEAF_BLOCKS).all(|block| map.is_marked(block) == (first..end).contains(&block)),
            "{first}..{end}"
        );
    }
}

#[test]
fn blocks_are_counted_once() {
    let map = map(LEAF_BLOCKS);
    assert_eq!(map.mark(blocks(10, 20)), 10);
    assert_eq!(map.mark(blocks(10, 20)), 0);
    assert_eq!(map.mark(blocks(15, 25)), 5);
    assert_eq!(map.mark(blocks(0, LEAF_BLOCKS)), LEAF_BLOCKS - 15);
}

#[test]
fn the_short_way_marks_the_same_or_says_that_it_does_not() {
    let near = [0, 1, 62, 63, 64, 65, 127, 500, LEAF_BLOCKS - 1, LEAF_BLOCKS, LEAF_BLOCKS + 70];
    for (first, last) in near.into_iter().flat_map(|first| near.map(|last| (first, last))) {
        let map = map(LEAF_BLOCKS + 66);
        map.mark(blocks(3, 4));
        let before: Vec<bool> = (0..LEAF_BLOCKS + 80).map(|block| map.is_marked(block)).collect();
        let done = map.mark_usual(first, last);
        assert_eq!(done, first / 64 == last / 64 && last < LEAF_BLOCKS, "{first}..={last}");
        for (block, before) in (0..).zip(before) {
            let wanted = before || done && (first..=last).contains(&block);
            assert_eq!(map.is_marked(block), wanted, "block {block} after {first}..={last}");
        }
    }
}

#[test]
fn marked_blocks_are_counted_in_every_kind_of_leaf() {
    let map = map(4 * LEAF_BLOCKS - 9);
    assert_eq!(map.marked(), 0);
    map.mark(blocks(5, 70));
    assert!(map.mark_usual(70, 71) && map.mark_usual(71, 71));
    map.mark(blocks(LEAF_BLOCKS, 2 * LEAF_BLOCKS));
    Counted::limit(Some(0));
    map.mark(blocks(3 * LEAF_BLOCKS + 1, 3 * LEAF_BLOCKS + 2));
    assert_eq!(map.marked(), 67 + LEAF_BLOCKS + (LEAF_BLOCKS - 9));
}

#[test]
fn blocks_beyond_the_end_are_passed_over() {
    let map = map(100);
    assert_eq!(map.mark(blocks(90, 200)), 10);
    assert_eq!(map.mark(blocks(200, u64::MAX)), 0);
    assert_eq!(map.mark(blocks(7, 7)) + map.mark(blocks(9, 3)), 0);
    assert!(!map.is_marked(100) && !map.is_marked(u64::MAX));
}

#[test]
fn a_device_without_blocks_is_no_error() {
    assert_eq!(map(0).mark(blocks(0, 10)), 0);
}

#[test]
fn without_memory_a_region_counts_as_changed_and_nothing_is_lost() {
    let map = map(2 * LEAF_BLOCKS);
    Counted::limit(Some(0));
    assert_eq!(map.mark(blocks(5, 6)), 1);
    assert!((0..LEAF_BLOCKS).all(|block| map.is_marked(block)));
    assert!(!map.is_marked(LEAF_BLOCKS));
    assert_eq!(map.coarse_regions(), 1);
    assert_eq!(map.mark(blocks(7, 9)), 0);
}

#[test]
fn a_whole_region_needs_no_memory_and_is_exact() {
    let map = map(3 * LEAF_BLOCKS - 5);
    Counted::limit(Some(0));
    assert_eq!(map.mark(blocks(LEAF_BLOCKS, u64::MAX)), 2 * LEAF_BLOCKS - 5);
    assert!(!map.is_marked(LEAF_BLOCKS - 1) && map.is_marked(LEAF_BLOCKS));
    assert_eq!(map.coarse_regions(), 0);
}

#[test]
fn memory_follows_what_was_touched_and_comes_back() {
    let mut map = map(64 * TIB_BLOCKS);
    let empty = Counted::used();
    assert!(empty <= 256 << 10, "{empty} bytes for 64 TiB untouched");
    for leaf in 0..TIB_BLOCKS / LEAF_BLOCKS {
        map.mark(blocks(leaf * LEAF_BLOCKS + 3, leaf * LEAF_BLOCKS + 4));
    }
    assert_eq!(Counted::used() - empty, 2 << 20);
    assert_eq!(map.bytes(), Counted::used() as u64);
    map.reset();
    assert_eq!((Counted::used(), map.is_marked(3)), (empty, false));
    drop(map);
    assert_eq!(Counted::used(), 0);
}
