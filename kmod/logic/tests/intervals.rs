//! Ids of intervals.

use crate::memory::Counted;
use kmod_logic::intervals::{Intervals, KEPT};
use kmod_logic::uapi::Uuid;

fn id(number: u64) -> Uuid {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Uuid { bytes }
}

#[test]
fn the_beginning_and_every_take_have_their_id() {
    let mut intervals = Intervals::new(Counted, id(0)).unwrap();
    assert_eq!((intervals.id(0), intervals.id(1)), (Some(id(0)), None));
    assert_eq!(intervals.push(id(1)), 1);
    assert_eq!((intervals.id(0), intervals.id(1), intervals.id(2)), (Some(id(0)), Some(id(1)), None));
}

#[test]
fn the_last_1024_ids_are_kept_and_no_older_one_is_invented() {
    let mut intervals = Intervals::new(Counted, id(0)).unwrap();
    for number in 1..=3000 {
        intervals.push(id(number));
    }
    assert_eq!((intervals.newest(), intervals.oldest()), (3000, 3000 - KEPT as u64 + 1));
    assert!((intervals.oldest()..=3000).all(|number| intervals.id(number) == Some(id(number))));
    assert_eq!((intervals.id(intervals.oldest() - 1), intervals.id(3001), intervals.id(u64::MAX)), (None, None, None));
}

#[test]
fn a_take_that_failed_leaves_no_id_behind() {
    let mut intervals = Intervals::new(Counted, id(0)).unwrap();
    (1..=KEPT as u64).for_each(|number| {
        intervals.push(id(number));
    });
    intervals.push(id(9999));
    intervals.pop();
    assert_eq!((intervals.newest(), intervals.id(KEPT as u64)), (KEPT as u64, Some(id(KEPT as u64))));
    assert_eq!((intervals.id(KEPT as u64 + 1), intervals.id(1)), (None, None));
    intervals.push(id(4711));
    assert_eq!(intervals.id(KEPT as u64 + 1), Some(id(4711)));
}
