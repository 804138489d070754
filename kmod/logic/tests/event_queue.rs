//! Events that wait.

use kmod_logic::event_queue::{EVENTS, Event, EventQueue};

fn no_space(requested_sectors: u64) -> Event {
    Event::NoSpace { requested_sectors }
}

#[test]
fn events_come_in_the_order_in_which_they_happened() {
    let mut queue = EventQueue::new();
    for round in 0..100 {
        assert!(queue.push(no_space(round), 5) && queue.push(no_space(round + 1), 6));
        let both = [queue.pop(), queue.pop()].map(|stamped| stamped.map(|stamped| (stamped.event, stamped.time_ns)));
        assert_eq!(both, [Some((no_space(round), 5)), Some((no_space(round + 1), 6))]);
        assert!(queue.pop().is_none() && queue.is_empty());
    }
}

#[test]
fn a_full_queue_keeps_the_first_events_and_counts_the_rest() {
    let mut queue = EventQueue::new();
    let kept = (0..EVENTS as u64 + 5).filter(|at| queue.push(no_space(*at), 0)).count();
    assert_eq!((kept, queue.len(), queue.dropped()), (EVENTS, EVENTS, 5));
    assert_eq!(queue.pop().map(|stamped| stamped.event), Some(no_space(0)));
    assert!(queue.push(no_space(99), 0));
}

#[test]
fn the_data_of_an_event_is_the_structure_of_the_interface() {
    let corrupted = Event::Corrupted { major: 8, minor: 17, errno: 5 };
    let fields: Vec<u32> =
        corrupted.data().chunks(4).map(|bytes| u32::from_ne_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!((corrupted.code(), fields), (0, vec![8, 17, 5]));
    let data = no_space(1 << 33).data();
    assert_eq!(
        (no_space(0).code(), u64::from_ne_bytes(data[..8].try_into().unwrap()), &data[8..]),
        (1, 1 << 33, &[0; 4][..])
    );
}
