//! States of a chunk: no interleaving lets a sub-block be copied after it may have been overwritten.

use kmod_logic::chunk::{Chunk, Claim, ReadPlan};
use proptest::prelude::{Strategy, prop, prop_oneof};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_first_write_claims_what_it_overwrites_and_a_second_one_passes() {
    let chunk = Chunk::new();
    assert!(!chunk.may_pass(0b110));
    assert_eq!(chunk.claim(0b110), Claim { mine: 0b110, others: 0, done: 0 });
    assert!(!chunk.may_pass(0b110) && chunk.is_busy());
    chunk.finish(0b110);
    assert!(chunk.may_pass(0b110) && !chunk.may_pass(0b111) && !chunk.is_busy());
    assert_eq!(chunk.claim(0b111), Claim { mine: 0b001, others: 0, done: 0b110 });
}

#[test]
fn what_another_one_copies_is_waited_for() {
    let chunk = Chunk::new();
    chunk.claim(0b011);
    assert_eq!(chunk.claim(0b110), Claim { mine: 0b100, others: 0b010, done: 0 });
    chunk.finish(0b011);
    assert_eq!(chunk.claim(0b110), Claim { mine: 0, others: 0b100, done: 0b010 });
}

#[test]
fn what_could_not_be_copied_can_be_claimed_again() {
    let chunk = Chunk::new();
    chunk.claim(0b1);
    chunk.abort(0b1);
    assert_eq!(chunk.claim(0b1), Claim { mine: 0b1, others: 0, done: 0 });
}

#[test]
fn a_read_that_was_overtaken_by_a_write_goes_to_the_storage() {
    let chunk = Chunk::new();
    chunk.claim(0b001);
    chunk.finish(0b001);
    let plan = chunk.plan_read(0b111);
    assert_eq!(plan, ReadPlan { storage: 0b001, device: 0b110 });
    chunk.claim(0b010);
    assert_eq!(chunk.overtaken(plan.device), 0, "nothing was overwritten yet");
    chunk.finish(0b010);
    assert_eq!(chunk.overtaken(plan.device), 0b010);
}

#[test]
fn a_chunk_has_one_place() {
    let chunk = Chunk::new();
    assert_eq!(chunk.place(), None);
    assert_eq!(chunk.set_place(0), Ok(()));
    assert_eq!((chunk.set_place(512), chunk.place()), (Err(0), Some(0)));
}

#[test]
fn the_state_of_a_chunk_fits_its_budget() {
    assert!(size_of::<Chunk>() <= 64);
}

/// One sub-block on a device, its copy in the storage, and writers and readers that go step by step.
#[derive(Clone, Copy, Debug)]
enum Actor {
    /// Preserves, then overwrites the device; `true` once it copied (what it read).
    Writer { bits: u64, mine: u64, copied: [u8; 8], phase: u8 },
    /// Reads the image.
    Reader { bits: u64, plan: ReadPlan, seen: [u8; 8], phase: u8 },
}

const SUBS: usize = 8;
/// What the device held at TAKE.
const OLD: u8 = 1;
/// What writers write.
const NEW: u8 = 2;

struct World {
    chunk: Chunk,
    device: [u8; SUBS],
    storage: [Option<u8>; SUBS],
}

fn subs(bits: u64) -> impl Iterator<Item = usize> {
    (0..SUBS).filter(move |sub| bits >> sub & 1 == 1)
}

impl World {
    /// One atomic step of an actor; the phases are those of the table in `chunk.rs`.
    fn step(&mut self, actor: &mut Actor) {
        match actor {
            Actor::Writer { bits, mine, copied, phase } => match phase {
                0 if self.chunk.may_pass(*bits) => *phase = 3,
                0 => {
                    *mine = self.chunk.claim(*bits).mine;
                    *phase = if *mine == 0 { 0 } else { 1 };
                }
                1 => {
                    subs(*mine).for_each(|sub| copied[sub] = self.device[sub]);
                    *phase = 2;
                }
                2 => {
                    subs(*mine).for_each(|sub| self.storage[sub] = Some(copied[sub]));
                    self.chunk.finish(*mine);
                    *phase = 0;
                }
                3 => {
                    subs(*bits).for_each(|sub| self.device[sub] = NEW);
                    *phase = 4;
                }
                _ => {}
            },
            Actor::Reader { bits, plan, seen, phase } => match phase {
                0 => {
                    *plan = self.chunk.plan_read(*bits);
                    *phase = 1;
                }
                1 => {
                    subs(plan.device).for_each(|sub| seen[sub] = self.device[sub]);
                    *phase = 2;
                }
                2 => {
                    plan.storage |= self.chunk.overtaken(plan.device);
                    *phase = 3;
                }
                3 => {
                    subs(plan.storage)
                        .for_each(|sub| seen[sub] = self.storage[sub].expect("what is preserved is stored"));
                    subs(*bits).for_each(|sub| assert_eq!(seen[sub], OLD, "the image shows newer data"));
                    *phase = 4;
                }
                _ => {}
            },
        }
    }

    fn is_done(actor: &Actor) -> bool {
        matches!(actor, Actor::Writer { phase: 4, .. } | Actor::Reader { phase: 4, .. })
    }
}

fn actor() -> impl Strategy<Value = Actor> {
    let bits = 1..256_u64;
    prop_oneof![
        bits.clone().prop_map(|bits| Actor::Writer { bits, mine: 0, copied: [0; 8], phase: 0 }),
        bits.prop_map(|bits| Actor::Reader { bits, plan: ReadPlan { storage: 0, device: 0 }, seen: [0; 8], phase: 0 }),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, ..Default::default() })]

    #[test]
    fn in_any_interleaving_the_image_shows_what_was_there_at_take(
        mut actors in prop::collection::vec(actor(), 2..7), order in prop::collection::vec(0..7_usize, 0..120),
    ) {
        let mut world = World { chunk: Chunk::new(), device: [OLD; SUBS], storage: [None; SUBS] };
        let count = actors.len();
        for at in order {
            world.step(&mut actors[at % count]);
        }
        // And every one of them comes to its end, once the others are let run.
        for _ in 0..20 {
            actors.iter_mut().for_each(|actor| world.step(actor));
        }
        assert!(actors.iter().all(World::is_done), "{actors:?}");
        assert!(!world.chunk.is_busy());
        assert!(world.storage.iter().flatten().all(|stored| *stored == OLD));
    }
}

#[test]
fn threads_that_race_copy_each_sub_block_once_and_before_it_is_overwritten() {
    for _ in 0..2000 {
        let chunk = Chunk::new();
        let device: [AtomicU64; 64] = std::array::from_fn(|_| AtomicU64::new(OLD.into()));
        let copies: [AtomicU64; 64] = std::array::from_fn(|_| AtomicU64::new(0));
        let start = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for bits in [0x00ff_ff00_ffff_0000_u64, 0x0000_ffff_00ff_ff00, u64::MAX] {
                let (chunk, device, copies, start) = (&chunk, &device, &copies, &start);
                scope.spawn(move || {
                    start.wait();
                    while !chunk.may_pass(bits) {
                        let mine = chunk.claim(bits).mine;
                        for sub in (0..64).filter(|sub| mine >> sub & 1 == 1) {
                            assert_eq!(
                                device[sub].load(Ordering::Relaxed),
                                u64::from(OLD),
                                "copied after it was overwritten"
                            );
                            copies[sub].fetch_add(1, Ordering::Relaxed);
                        }
                        chunk.finish(mine);
                        std::thread::yield_now();
                    }
                    (0..64)
                        .filter(|sub| bits >> sub & 1 == 1)
                        .for_each(|sub| device[sub].store(NEW.into(), Ordering::Relaxed));
                });
            }
        });
        assert!(copies.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }
}
