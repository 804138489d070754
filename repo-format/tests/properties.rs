//! Random histories against a model: a map from recovery point to disk image. After each step every live point restores.

use crate::support::{Bench, CHUNK, DAY, disk};
use jiff::SignedDuration;
use proptest::prelude::*;
use repo_format::forget;
use repo_format::id::ManifestId;
use repo_format::manifest::PointKey;
use repo_format::store::sim::{Cut, Faults, SimFs};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const NAMES: [&str; 2] = ["a", "b"];
const CHUNKS: u64 = 7;

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Chunks of a name's disk get new content (0 is a hole), and it is backed up.
    Backup {
        name: usize,
        changes: BTreeMap<u64, u8>,
        incremental: bool,
    },
    /// The same while another session of the other name begins and ends, or prune runs.
    Beside {
        changes: BTreeMap<u64, u8>,
        prune: bool,
    },
    /// The oldest live point is forgotten.
    Forget,
    /// The newest forgotten point is had back.
    Undo,
    Prune,
    /// Hours pass.
    Time(i64),
    /// The machine loses power at the end of the history so far, or in the middle of a backup that never ended.
    Crash {
        seed: u64,
        in_backup: Option<usize>,
    },
    /// Another process with an index of its own.
    Reopen,
}

fn changes() -> impl Strategy<Value = BTreeMap<u64, u8>> {
    prop::collection::btree_map(0..CHUNKS, 0_u8..6, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..NAMES.len(), changes(), any::<bool>())
            .prop_map(|(name, changes, incremental)| Step::Backup { name, changes, incremental }),
        2 => (changes(), any::<bool>()).prop_map(|(changes, prune)| Step::Beside { changes, prune }),
        3 => Just(Step::Forget),
        2 => Just(Step::Undo),
        4 => Just(Step::Prune),
        4 => (1_i64..60).prop_map(Step::Time),
        2 => (any::<u64>(), prop::option::of(0_usize..40)).prop_map(|(seed, in_backup)| Step::Crash { seed, in_backup }),
        1 => Just(Step::Reopen),
    ]
}

struct World {
    bench: Bench,
    /// Where the journal of `bench.fs` began.
    start: SimFs,
    disks: [Vec<u8>; 2],
    live: BTreeMap<PointKey, Vec<u8>>,
    forgotten: HashMap<ManifestId, (PointKey, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        let size = usize::try_from(CHUNKS).unwrap() * CHUNK - 1000;
        let disks = [vec![0; size], disk(1, 7)[..size].to_vec()];
        let mut world = Self { start: bench.fs.fork(), bench, disks, live: BTreeMap::new(), forgotten: HashMap::new() };
        world.restart(world.bench.fs.fork());
        world
    }

    /// Goes on with another file system, with a new journal.
    fn restart(&mut self, fs: SimFs) {
        self.start = fs.fork();
        self.bench = self.bench.try_on(&fs, self.bench.passphrase()).unwrap();
    }

    fn change(&mut self, name: usize, changes: &BTreeMap<u64, u8>) -> Vec<u64> {
        for (position, content) in changes {
            let start = usize::try_from(*position).unwrap() * CHUNK;
            let end = (start + CHUNK).min(self.disks[name].len());
            self.disks[name][start..end].fill(*content);
        }
        changes.keys().copied().collect()
    }

    /// A changed list is right only against the newest point of its name.
    fn list_is_right(&self, name: usize, changed: &[u64]) -> bool {
        let Some((stored, _)) = self.bench.repo().latest_of(NAMES[name]).unwrap() else { return true };
        let parent = &self.live[&stored.at];
        let differ = |position: &u64| {
            let start = usize::try_from(*position).unwrap() * CHUNK;
            let end = (start + CHUNK).min(parent.len());
            parent[start..end] != self.disks[name][start..end]
        };
        (0..CHUNKS).filter(differ).all(|position| changed.contains(&position))
    }

    fn backup(&mut self, name: usize, changed: Option<&[u64]>) {
        let changed = changed.filter(|changed| self.list_is_right(name, changed));
        let at = self.bench.backup(NAMES[name], &self.disks[name], changed).unwrap();
        assert!(self.live.insert(at, self.disks[name].clone()).is_none());
    }

    fn beside(&mut self, prune: bool) {
        let (outer, inner) = (&self.disks[0], &self.disks[1]);
        let mut made = None;
        let at = self.bench.backup_with(NAMES[0], outer, None, &mut |bench| {
            let other = bench.reopen(bench.passphrase());
            match prune {
                true => drop(other.prune(false).unwrap()),
                false => made = Some(other.backup(NAMES[1], inner, None).unwrap()),
            }
        });
        self.live.insert(at.unwrap(), outer.clone());
        self.live.extend(made.map(|at| (at, inner.clone())));
        // As every command does when it begins: the other process's packs become known to this one.
        self.bench.reconcile();
        self.settle();
    }

    /// Points whose undo time is over may be gone.
    fn settle(&mut self) {
        let there: BTreeSet<_> = self.bench.repo().points().unwrap().into_iter().collect();
        self.forgotten.retain(|_, (at, _)| there.contains(at));
    }

    fn forget(&mut self) {
        if let Some((at, image)) = self.live.pop_first() {
            self.bench.forget(&at).unwrap();
            self.forgotten.insert(at.manifest, (at, image));
        }
    }

    fn undo(&mut self) {
        let stones = forget::tombstones(self.bench.repo()).unwrap();
        if let Some((_, stone)) = stones.into_iter().filter(|(there, _)| *there).max_by_key(|(_, s)| s.forgotten_at) {
            forget::undo(self.bench.repo(), &stone, self.bench.now()).unwrap();
            let (at, image) = self.forgotten.remove(&stone.manifest).unwrap();
            self.live.insert(at, image);
        }
    }

    fn crash(&mut self, seed: u64, in_backup: Option<usize>) {
        if let Some(operation) = in_backup {
            self.bench.fs.set_faults(Faults {
                fail_from: Some(self.bench.fs.attempts() + operation),
                errno: 5,
                ..Faults::default()
            });
            if let Ok(at) = self.bench.backup(NAMES[0], &self.disks[0], None) {
                self.live.insert(at, self.disks[0].clone());
            }
            self.bench.fs.set_faults(Faults::default());
        }
        let cut = match seed % 4 {
            0 => Cut::Dropped,
            1 => Cut::Kept,
            _ => Cut::Torn(seed),
        };
        let fs = self.bench.fs.crash(&self.start, self.bench.fs.journal_len(), cut);
        self.restart(fs);
        // A backup that was not seen to end may have committed all the same: nothing but its image can it be.
        for at in self.bench.repo().points().unwrap() {
            if !self.forgotten.contains_key(&at.manifest) && !self.live.contains_key(&at) {
                assert!(in_backup.is_some(), "{} came from nowhere", at.key());
                self.live.insert(at, self.disks[0].clone());
            }
        }
        self.bench.pass_time(SignedDuration::from_hours(2));
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Backup { name, changes, incremental } => {
                let changed = self.change(*name, changes);
                self.backup(*name, incremental.then_some(&changed));
            }
            Step::Beside { changes, prune } => {
                self.change(0, changes);
                self.beside(*prune);
            }
            Step::Forget => self.forget(),
            Step::Undo => self.undo(),
            Step::Prune => {
                self.bench.prune(false).unwrap();
                self.settle();
            }
            Step::Time(hours) => self.bench.pass_time(SignedDuration::from_hours(*hours)),
            Step::Crash { seed, in_backup } => self.crash(*seed, *in_backup),
            Step::Reopen => self.bench = self.bench.with_new_index(),
        }
        self.check();
    }

    fn check(&self) {
        let there = self.bench.repo().points().unwrap();
        for (at, image) in self.live.iter().chain(self.forgotten.values().map(|(at, image)| (at, image))) {
            assert!(there.contains(at), "{} is gone", at.key());
            assert!(self.bench.restore(*at).unwrap() == *image, "{} restores other bytes", at.key());
        }
        let expected = self.live.len() + self.forgotten.len();
        assert_eq!(there.len(), expected, "points that nobody made, or forgotten ones that were not executed");
    }
}

/// A few dozen histories each run; PROPTEST_CASES makes it more.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 48;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_live_point_restores_after_each_step_of_any_history(steps in prop::collection::vec(step(), 1..24)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        for _ in 0..3 {
            world.bench.pass_time(DAY * 3);
            world.step(&Step::Prune);
        }
        world.step(&Step::Reopen);
        prop_assert!(world.forgotten.is_empty());
    }
}
