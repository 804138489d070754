//! The one-byte view of the old interface.

use super::blocks;
use crate::memory::Counted;
use kmod_logic::map::LEAF_BLOCKS;
use kmod_logic::map::history::History;
use kmod_logic::map::view::Window;
use kmod_logic::uapi::Uuid;

const FIRST: Uuid = Uuid { bytes: [1; 16] };
const SECOND: Uuid = Uuid { bytes: [2; 16] };

#[test]
fn for_255_intervals_bytes_are_the_numbers() {
    let mut window = Window::new(FIRST);
    assert!((1..=255).all(|number| !window.advance(number, || SECOND)));
    assert_eq!((window.byte(0), window.byte(1), window.byte(255)), (0, 1, 255));
    assert_eq!((window.generation(), window.base()), (FIRST, 0));
}

#[test]
fn the_256th_interval_begins_a_new_generation_that_looks_like_a_first_take() {
    let mut window = Window::new(FIRST);
    assert!(window.advance(256, || SECOND));
    assert_eq!((window.generation(), window.base()), (SECOND, 255));
    assert_eq!([0, 255, 256, 257].map(|number| window.byte(number)), [0, 0, 1, 2]);
    assert!(!window.advance(255 + 255, || FIRST));
    assert!(window.advance(255 + 256, || FIRST));
}

#[test]
fn a_block_changed_since_any_snapshot_of_the_window_has_a_greater_byte() {
    let mut window = Window::new(FIRST);
    let mut taken = 0;
    for number in 1..=2000 {
        if window.advance(number, || SECOND) {
            taken = number;
        }
        // Any earlier snapshot of this generation against a change in any later interval.
        for snapshot in taken.max(number.saturating_sub(300))..number {
            assert!(window.byte(number) > window.byte(snapshot), "{snapshot} against {number}");
        }
    }
}

#[test]
fn bytes_are_filled_across_regions_and_zero_behind_the_end() {
    let mut history = History::new(Counted, LEAF_BLOCKS + 10).unwrap();
    history.mark(blocks(LEAF_BLOCKS - 2, LEAF_BLOCKS + 1), 3);
    let window = Window::new(FIRST);
    let mut bytes = [9; 16];
    window.fill(&history, LEAF_BLOCKS - 4, &mut bytes);
    assert_eq!(bytes, [0, 0, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    window.fill(&history, u64::MAX, &mut bytes);
    assert_eq!(bytes, [0; 16]);
}
