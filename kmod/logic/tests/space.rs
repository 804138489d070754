//! Room of the difference storage.

use kmod_logic::space::{AboveLimit, Next, NoRoom, Space};
use proptest::prelude::prop;

const MINIMUM: u64 = 1000;

#[test]
fn room_is_given_from_the_beginning_without_gaps() {
    let mut space = Space::growing(10_000, 10_000).unwrap();
    assert_eq!(space.allocate(512, MINIMUM), Ok((0, Next::Nothing)));
    assert_eq!(space.allocate(100, MINIMUM), Ok((512, Next::Nothing)));
    assert_eq!((space.used_sectors(), space.capacity_sectors()), (612, 10_000));
}

#[test]
fn a_storage_above_its_limit_is_refused() {
    assert_eq!(Space::growing(10_001, 10_000).err(), Some(AboveLimit));
}

#[test]
fn it_grows_once_free_space_falls_to_half_of_the_minimum() {
    let mut space = Space::growing(MINIMUM, 10_000).unwrap();
    assert_eq!(space.allocate(499, MINIMUM), Ok((0, Next::Nothing)));
    assert_eq!(space.allocate(1, MINIMUM), Ok((499, Next::Grow { to_sectors: 2000 })));
    assert_eq!(space.allocate(1, MINIMUM), Ok((500, Next::Nothing)), "it is growing already");
    space.grown(2000);
    assert_eq!((space.capacity_sectors(), space.is_growing()), (2000, false));
}

#[test]
fn it_grows_no_further_than_the_limit() {
    let mut space = Space::growing(MINIMUM, 1300).unwrap();
    assert_eq!(space.allocate(600, MINIMUM), Ok((0, Next::Grow { to_sectors: 1300 })));
    space.grown(99_999);
    assert_eq!(space.capacity_sectors(), 1300);
}

#[test]
fn at_the_limit_the_event_comes_once() {
    let mut space = Space::growing(MINIMUM, MINIMUM).unwrap();
    assert_eq!(space.allocate(500, MINIMUM), Ok((0, Next::NoSpace { requested_sectors: MINIMUM })));
    assert_eq!(space.allocate(100, MINIMUM), Ok((500, Next::Nothing)));
    assert!(space.said_no_space());
}

#[test]
fn a_failed_growth_is_tried_again() {
    let mut space = Space::growing(MINIMUM, 10_000).unwrap();
    assert!(matches!(space.allocate(600, MINIMUM), Ok((_, Next::Grow { .. }))));
    space.growth_failed();
    assert_eq!(space.allocate(1, MINIMUM), Ok((600, Next::Grow { to_sectors: 2000 })));
}

#[test]
fn a_request_that_does_not_fit_waits_for_growth_that_makes_room_for_it() {
    let mut space = Space::growing(MINIMUM, 1_000_000).unwrap();
    assert_eq!(space.allocate(131_072, MINIMUM), Err(NoRoom::Growing(Next::Grow { to_sectors: 131_072 })));
    assert_eq!(space.allocate(131_072, MINIMUM), Err(NoRoom::Growing(Next::Nothing)));
    space.grown(131_072);
    assert!(space.allocate(131_072, MINIMUM).is_ok());
    assert_eq!(space.allocate(1_000_000, MINIMUM), Err(NoRoom::Full));
    assert_eq!(space.allocate(u64::MAX, MINIMUM), Err(NoRoom::Full));
}

#[test]
fn a_device_uses_no_more_than_the_limit_and_never_grows() {
    let mut space = Space::fixed(5000, 2000);
    assert_eq!((space.capacity_sectors(), space.limit_sectors()), (2000, 2000));
    assert_eq!(space.allocate(1600, MINIMUM), Ok((0, Next::NoSpace { requested_sectors: MINIMUM })));
    assert_eq!(space.allocate(401, MINIMUM), Err(NoRoom::Full));
    let mut space = Space::fixed(5000, u64::MAX);
    assert_eq!((space.capacity_sectors(), space.allocate(5001, 1)), (5000, Err(NoRoom::Full)));
}

proptest::proptest! {
    #[test]
    fn places_never_overlap_nor_leave_the_capacity_and_capacity_never_leaves_the_limit(
        start in 0..5000_u64, limit in 0..20_000_u64, minimum in 0..3000_u64,
        steps in prop::collection::vec((1..700_u64, 0..4_u8), 1..80),
    ) {
        let Ok(mut space) = Space::growing(start, limit) else { return Ok(()) };
        let (mut end, mut told, mut wanted) = (0, 0, None);
        for (sectors, answer) in steps {
            let next = match space.allocate(sectors, minimum) {
                Ok((first, next)) => {
                    assert_eq!(first, end);
                    end = first + sectors;
                    next
                }
                Err(NoRoom::Growing(next)) => next,
                Err(NoRoom::Full) => {
                    assert!(end + sectors > limit);
                    Next::Nothing
                }
            };
            match next {
                Next::Grow { to_sectors } => {
                    assert!(to_sectors > space.capacity_sectors() && to_sectors <= limit && wanted.is_none());
                    wanted = Some(to_sectors);
                }
                Next::NoSpace { .. } => told += 1,
                Next::Nothing => {}
            }
            match (answer, wanted) {
                (0, Some(to)) => {
                    space.grown(to);
                    wanted = None;
                }
                (1, Some(_)) => {
                    space.growth_failed();
                    wanted = None;
                }
                _ => {}
            }
            assert!(end <= space.capacity_sectors() && space.capacity_sectors() <= limit && told <= 1);
            assert_eq!(space.is_growing(), wanted.is_some());
        }
    }
}
