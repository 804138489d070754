//! The chunk's protocol under every interleaving that the memory model allows, by loom.
//!
//! `chunk.rs` is compiled once more here, and finds loom's atomics where it looks for those of `core`.

extern crate self as core;

/// What `chunk.rs` takes from `core`.
pub mod sync {
    /// Loom's, which tries every order.
    pub mod atomic {
        pub use loom::sync::atomic::{AtomicU64, Ordering};
    }
}

#[expect(dead_code, reason = "only the protocol is tried here")]
#[path = "../../chunk.rs"]
mod chunk;

use chunk::Chunk;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

const OLD: u8 = 1;
const NEW: u8 = 2;

/// A device and its storage of two sub-blocks. Loom fails a test in which two accesses to a cell race.
struct World {
    chunk: Chunk,
    device: [UnsafeCell<u8>; 2],
    storage: [UnsafeCell<u8>; 2],
}

impl World {
    fn new() -> Arc<Self> {
        let cells = |value| [UnsafeCell::new(value), UnsafeCell::new(value)];
        Arc::new(Self { chunk: Chunk::new(), device: cells(OLD), storage: cells(0) })
    }

    /// Preserves and overwrites, as a writer does; whoever has to wait yields.
    fn write(&self, bits: u64) {
        while !self.chunk.may_pass(bits) {
            let claim = self.chunk.claim(bits);
            for sub in subs(claim.mine) {
                // SAFETY: claimed by this thread alone; loom checks it.
                let old = self.device[sub].with(|device| unsafe { *device });
                assert_eq!(old, OLD, "copied after it was overwritten");
                // SAFETY: as above.
                self.storage[sub].with_mut(|storage| unsafe { *storage = old });
            }
            self.chunk.finish(claim.mine);
            if claim.others != 0 {
                thread::yield_now();
            }
        }
    }

    /// What the image shows of a sub-block that is preserved.
    fn stored(&self, sub: usize) -> u8 {
        // SAFETY: written before `finish` and never again; loom checks it.
        self.storage[sub].with(|storage| unsafe { *storage })
    }
}

fn subs(bits: u64) -> impl Iterator<Item = usize> {
    (0..2).filter(move |sub| bits >> sub & 1 == 1)
}

#[test]
fn writers_of_overlapping_ranges_copy_each_sub_block_once_and_before_either_overwrites_it() {
    loom::model(|| {
        let world = World::new();
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                world.write(0b11);
                // Only this one overwrites the first: had the other copied it later, loom would see the race.
                // SAFETY: preserved, so nobody reads it any more; loom checks it.
                world.device[0].with_mut(|device| unsafe { *device = NEW });
            })
        };
        world.write(0b10);
        // SAFETY: as above.
        world.device[1].with_mut(|device| unsafe { *device = NEW });
        other.join().unwrap();
        assert_eq!([world.stored(0), world.stored(1)], [OLD, OLD]);
        assert!(world.chunk.may_pass(0b11) && !world.chunk.is_busy());
    });
}

#[test]
fn whoever_sees_a_sub_block_as_preserved_finds_it_in_the_storage() {
    loom::model(|| {
        let world = World::new();
        let writer = {
            let world = world.clone();
            thread::spawn(move || world.write(0b01))
        };
        let plan = world.chunk.plan_read(0b11);
        let again = world.chunk.overtaken(plan.device);
        for sub in subs(plan.storage | again) {
            assert_eq!(world.stored(sub), OLD);
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_claim_that_is_given_up_is_taken_by_the_one_who_waits() {
    loom::model(|| {
        let world = World::new();
        let failing = {
            let world = world.clone();
            thread::spawn(move || {
                let claim = world.chunk.claim(0b01);
                world.chunk.abort(claim.mine);
            })
        };
        world.write(0b01);
        failing.join().unwrap();
        assert!(world.chunk.may_pass(0b01));
        assert!(!world.chunk.is_busy());
    });
}

#[test]
fn of_two_places_one_counts_and_both_know_it() {
    loom::model(|| {
        let world = World::new();
        let other = {
            let world = world.clone();
            thread::spawn(move || world.chunk.set_place(7).map_or_else(|place| place, |()| 7))
        };
        let mine = world.chunk.set_place(9).map_or_else(|place| place, |()| 9);
        assert_eq!((other.join().unwrap(), world.chunk.place()), (mine, Some(mine)));
    });
}
