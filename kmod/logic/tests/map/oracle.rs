//! Any sequence of marks and takes against a model that knows the truth.

use super::blocks;
use crate::memory::Counted;
use kmod_logic::map::LEAF_BLOCKS;
use kmod_logic::map::active::ActiveMap;
use kmod_logic::map::history::History;
use proptest::prelude::{Strategy, any, prop, prop_oneof};
use std::collections::BTreeMap;

const BLOCKS: u64 = 2 * LEAF_BLOCKS + 1000;

#[derive(Clone, Debug)]
enum Step {
    /// A write.
    Mark(u64, u64),
    /// An image write or CBTDIRTY: changes the past too.
    MarkBoth(u64, u64),
    /// The interval ends.
    Take,
    /// From now on only so many allocations succeed.
    Starve(Option<usize>),
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    let borders = [0, 63, 64, 65, LEAF_BLOCKS - 1, LEAF_BLOCKS, LEAF_BLOCKS + 1, 2 * LEAF_BLOCKS, BLOCKS - 1];
    let first = prop_oneof![0..BLOCKS, prop::sample::select(borders.to_vec())];
    let length = prop_oneof![8 => 1..200_u64, 2 => Just64(LEAF_BLOCKS).strategy(), 1 => 1..BLOCKS];
    (first, length).prop_map(|(first, length)| (first, first + length))
}

/// A fixed length among random ones.
struct Just64(u64);

impl Just64 {
    fn strategy(self) -> impl Strategy<Value = u64> {
        prop::sample::select(vec![self.0, 1, 64])
    }
}

fn step(starving: bool) -> impl Strategy<Value = Step> {
    let limit = prop_oneof![(0..6_usize).prop_map(Some), any::<bool>().prop_map(|_| None)];
    prop_oneof![
        10 => range().prop_map(|(first, end)| Step::Mark(first, end)),
        2 => range().prop_map(|(first, end)| Step::MarkBoth(first, end)),
        5 => any::<bool>().prop_map(|_| Step::Take),
        if starving { 2 } else { 0 } => limit.prop_map(Step::Starve),
    ]
}

/// The truth: last number of each block that ever changed, and what changed in the current interval.
#[derive(Default)]
struct Model {
    numbers: BTreeMap<u64, u64>,
    active: std::collections::BTreeSet<u64>,
    taken: u64,
}

impl Model {
    fn mark(&mut self, first: u64, end: u64) {
        self.active.extend(first..end.min(BLOCKS));
    }

    fn take(&mut self) {
        self.taken += 1;
        let taken = self.taken;
        self.numbers.extend(std::mem::take(&mut self.active).into_iter().map(|block| (block, taken)));
    }
}

struct Maps {
    active: ActiveMap<Counted>,
    history: History<Counted>,
    model: Model,
}

impl Maps {
    fn new() -> Self {
        Counted::limit(None);
        let active = ActiveMap::new(Counted, BLOCKS).unwrap();
        Self { active, history: History::new(Counted, BLOCKS).unwrap(), model: Model::default() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Mark(first, end) => {
                self.active.mark(blocks(first, end));
                self.model.mark(first, end);
            }
            Step::MarkBoth(first, end) => {
                let number = self.model.taken;
                self.active.mark(blocks(first, end));
                self.history.mark(blocks(first, end), number);
                self.model.mark(first, end);
                if number > 0 {
                    self.model.numbers.extend((first..end.min(BLOCKS)).map(|block| (block, number)));
                }
            }
            Step::Take => {
                self.model.take();
                self.history.fold(&self.active, self.model.taken);
                self.active.reset();
            }
            Step::Starve(left) => Counted::limit(left),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(run) = self.history.next_run(blocks(numbers.len() as u64, BLOCKS)) {
            numbers.extend((0..run.blocks.len()).map(|_| run.number));
        }
        numbers
    }

    fn truth(&self, block: usize) -> u64 {
        self.model.numbers.get(&(block as u64)).copied().unwrap_or(0)
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, ..Default::default() })]

    #[test]
    fn with_memory_every_block_has_exactly_the_number_of_its_last_change(steps in prop::collection::vec(step(false), 1..60)) {
        let mut maps = Maps::new();
        steps.iter().for_each(|step| maps.step(step));
        let numbers = maps.numbers();
        assert_eq!(numbers.len() as u64, BLOCKS);
        assert_eq!(maps.history.oldest(), 0);
        if let Some(block) = (0..numbers.len()).find(|block| numbers[*block] != maps.truth(*block)) {
            panic!("block {block} has {}, changed in {}", numbers[block], maps.truth(block));
        }
    }

    #[test]
    fn without_memory_no_change_is_lost_and_oldest_tells_from_where_on_the_answer_is_exact(
        steps in prop::collection::vec(step(true), 1..60),
    ) {
        let mut maps = Maps::new();
        steps.iter().for_each(|step| maps.step(step));
        let (numbers, oldest) = (maps.numbers(), maps.history.oldest());
        for (block, number) in numbers.iter().enumerate() {
            let truth = maps.truth(block);
            assert!(*number >= truth, "block {block} has {number}, changed in {truth}");
            assert!(*number <= maps.model.taken);
            assert!(*number == truth || *number <= oldest, "block {block} has {number}, changed in {truth}, oldest {oldest}");
        }
        Counted::limit(None);
    }
}
