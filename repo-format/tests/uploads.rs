//! Packs that are put several at a time: trees still come after what they reference, and nothing begins after a failure.

use crate::support::Bench;
use repo_format::entropy::{Entropy, SeededEntropy};
use repo_format::store::Store;
use repo_format::{Error, Result};
use std::io;
use std::sync::{Arc, Condvar, Mutex};

/// What happened to packs, in order.
#[derive(Default)]
struct Seen {
    begun: Vec<String>,
    ended: usize,
    most_at_once: usize,
    trees_before_data: usize,
}

/// A store that takes several objects at once, holds the first data packs back until there are several, and may fail at one.
struct Several {
    behind: Arc<dyn Store>,
    seen: Mutex<Seen>,
    changed: Condvar,
    held_back: usize,
    fails_at: Option<usize>,
}

impl Several {
    fn new(bench: &Bench, held_back: usize, fails_at: Option<usize>) -> Arc<Self> {
        let (seen, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { behind: bench.store(), seen, changed, held_back, fails_at })
    }
}

impl Store for Several {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        if !(key.starts_with("data/") || key.starts_with("tree/")) {
            return self.behind.put(key, bytes);
        }
        let number = {
            let mut seen = self.seen.lock().unwrap();
            let number = seen.begun.len();
            let under_way = number - seen.ended;
            seen.trees_before_data += usize::from(key.starts_with("tree/") && under_way > 0);
            seen.begun.push(key.to_owned());
            seen.most_at_once = seen.most_at_once.max(under_way + 1);
            self.changed.notify_all();
            // The first ones go on when as many are under way as there may be.
            drop(
                self.changed
                    .wait_while(seen, |seen| number < self.held_back && seen.begun.len() < self.held_back)
                    .unwrap(),
            );
            number
        };
        let result = match self.fails_at == Some(number) {
            true => Err(Error::Store { key: key.into(), source: io::Error::other("the line is dead") }),
            false => self.behind.put(key, bytes),
        };
        self.seen.lock().unwrap().ended += 1;
        result
    }

    fn puts_at_once(&self) -> usize {
        3
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.behind.read_at(key, offset_bytes, buf)
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.behind.size(key)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        self.behind.list(prefix, each)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.behind.delete(key)
    }

    fn persist(&self, keys: &[String]) -> Result<()> {
        self.behind.persist(keys)
    }

    fn describe(&self) -> String {
        "several".into()
    }
}

/// Enough for four data packs that do not shrink.
fn large_disk() -> Vec<u8> {
    let mut bytes = vec![0; 1800 * 65536];
    SeededEntropy::new(7).fill(&mut bytes);
    bytes
}

#[test]
fn several_packs_are_put_at_once_and_trees_after_all_of_them() {
    let bench = Bench::new();
    let store = Several::new(&bench, 3, None);
    let content = large_disk();
    let at =
        bench.through(&bench.fs, store.clone(), bench.passphrase()).unwrap().backup("web", &content, None).unwrap();
    let seen = store.seen.lock().unwrap();
    assert!(seen.begun.iter().filter(|key| key.starts_with("data/")).count() >= 4, "{:?}", seen.begun);
    assert_eq!((seen.most_at_once, seen.trees_before_data), (3, 0));
    assert_eq!(bench.with_new_index().restore(at).unwrap(), content);
}

#[test]
fn after_a_failure_no_tree_is_put_and_the_failure_is_the_one_that_is_told() {
    for fails_at in [0, 1, 2, 3] {
        let bench = Bench::new();
        let store = Several::new(&bench, 3, Some(fails_at));
        let through = bench.through(&bench.fs, store.clone(), bench.passphrase()).unwrap();
        let error = through.backup("web", &large_disk(), None).err().unwrap();
        assert!(error.to_string().contains("the line is dead") || format!("{error:?}").contains("dead"), "{error:?}");
        let seen = store.seen.lock().unwrap();
        assert!(!seen.begun.iter().any(|key| key.starts_with("tree/")), "{fails_at}");
        assert!(bench.repo().points().unwrap().is_empty());
    }
}
