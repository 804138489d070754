//! Many writers at once, and TAKE among them.

use super::blocks;
use core::alloc::Layout;
use core::ptr::NonNull;
use kmod_logic::map::LEAF_BLOCKS;
use kmod_logic::map::active::ActiveMap;
use kmod_logic::map::history::History;
use kmod_logic::memory::{Memory, Wait};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, RwLock};

/// The host's memory; every third page for the write path is refused.
#[derive(Clone, Copy)]
struct Scarce(&'static AtomicU64);

// SAFETY: the host's allocator keeps the promises of the trait.
unsafe impl Memory for Scarce {
    fn allocate(&self, layout: Layout, wait: Wait) -> Option<NonNull<u8>> {
        if wait == Wait::Never && self.0.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            return None;
        }
        // SAFETY: the size is not zero, says the trait.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }

    unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: it came from `allocate` with this layout, says the caller.
        unsafe { std::alloc::dealloc(at.as_ptr(), layout) };
    }
}

const WRITERS: u8 = 4;

#[test]
fn writers_that_race_for_the_same_leaf_and_word_lose_no_mark_and_count_each_once() {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    for _ in 0..200 {
        let map = ActiveMap::new(Scarce(&COUNTER), 2 * LEAF_BLOCKS).unwrap();
        let (start, counted) = (Barrier::new(WRITERS.into()), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for writer in (0..WRITERS).map(u64::from) {
                let (map, start, counted) = (&map, &start, &counted);
                scope.spawn(move || {
                    start.wait();
                    // All write into the same words, each its own bits, and some blocks together.
                    let own = (0..64).map(|at| map.mark(blocks(4 * at + writer, 4 * at + writer + 1))).sum::<u64>();
                    let shared = map.mark(blocks(LEAF_BLOCKS + 100, LEAF_BLOCKS + 300));
                    counted.fetch_add(own + shared, Ordering::Relaxed);
                });
            }
        });
        assert!((0..256).chain(LEAF_BLOCKS + 100..LEAF_BLOCKS + 300).all(|block| map.is_marked(block)));
        if map.coarse_regions() == 0 {
            assert_eq!(counted.into_inner(), 456);
            assert!(!map.is_marked(256));
        }
    }
}

/// Writers note which write was over in which interval; TAKE swaps the map while none is between mark and completion.
///
/// The lock stands for what the module does at TAKE: divert new writes and wait for the earlier ones.
#[test]
fn a_write_is_in_the_map_of_the_interval_in_which_it_completed() {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let memory = Scarce(&COUNTER);
    let count = LEAF_BLOCKS + 5000;
    let active = RwLock::new((ActiveMap::new(memory, count).unwrap(), 1_u64));
    let mut history = History::new(memory, count).unwrap();
    let truth: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in (0..WRITERS).map(u64::from) {
            let (active, truth, stop) = (&active, &truth, &stop);
            scope.spawn(move || {
                let mut at = 977 * writer;
                while !stop.load(Ordering::Relaxed) {
                    at = (at * 5 + 7919) % (count - 8);
                    let in_flight = active.read().unwrap();
                    // As the write path does it.
                    if !in_flight.0.mark_usual(at, at + 7) {
                        in_flight.0.mark(blocks(at, at + 8));
                    }
                    truth.iter().skip(usize::try_from(at).unwrap()).take(8).for_each(|block| {
                        block.fetch_max(in_flight.1, Ordering::Relaxed);
                    });
                }
            });
        }
        for _ in 0..60 {
            let next = ActiveMap::new(memory, count).unwrap();
            let mut diverted = active.write().unwrap();
            let number = diverted.1;
            let ended = std::mem::replace(&mut *diverted, (next, number + 1)).0;
            let at_take: Vec<u64> = truth.iter().map(|block| block.load(Ordering::Relaxed)).collect();
            drop(diverted);
            // Writers go on while the interval that ended is folded.
            history.fold(&ended, number);
            for (block, truth) in at_take.into_iter().enumerate() {
                let shown = history.number(block as u64);
                assert!(shown >= truth && shown <= number, "block {block}: {shown}, changed in {truth}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
