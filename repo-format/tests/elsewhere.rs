//! A process whose own index knows nothing, beside one that knows everything.

use crate::support::{Bench, disk};
use repo_format::elsewhere::Elsewhere;
use repo_format::error::Result;
use repo_format::id::{EntryKey, PackId};
use repo_format::index::Index;
use repo_format::pack::PackKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// An index that counts what it is asked.
struct Counting {
    index: Index,
    questions: AtomicUsize,
}

impl Elsewhere for Counting {
    fn packs_with(&self, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.index.packs_with(kind, keys)
    }
}

fn all_of(bench: &Bench) -> Arc<Counting> {
    Arc::new(Counting { index: bench.with_new_index().index, questions: AtomicUsize::new(0) })
}

#[test]
fn nothing_is_stored_again_that_another_index_knows() {
    let bench = Bench::new();
    let content = disk(1, 60);
    bench.backup("vm", &content, None).unwrap();
    let stored = bench.data_bytes();
    let known = all_of(&bench);
    let asking = bench.with_new_index().learning_from(known.clone());
    let at = asking.backup("vm", &content, None).unwrap();
    assert_eq!(bench.data_bytes(), stored);
    assert_eq!(bench.with_new_index().restore(at).unwrap(), content);
    assert!(known.questions.load(Ordering::SeqCst) < 10, "{:?}", known.questions);
}

#[test]
fn an_incremental_copies_paths_of_a_tree_that_only_another_index_knows() {
    let bench = Bench::new();
    let mut content = disk(1, 300);
    bench.backup("vm", &content, None).unwrap();
    content[7 * 65536..8 * 65536].fill(9);
    let asking = bench.with_new_index().learning_from(all_of(&bench));
    let at = asking.backup("vm", &content, Some(&[7])).unwrap();
    assert_eq!(bench.with_new_index().restore(at).unwrap(), content);
}

#[test]
fn a_restore_asks_once_for_all_its_chunks_and_is_whole() {
    let bench = Bench::new();
    let content = disk(1, 60);
    let at = bench.backup("vm", &content, None).unwrap();
    let known = all_of(&bench);
    assert_eq!(bench.with_new_index().learning_from(known.clone()).restore(at).unwrap(), content);
    assert!(known.questions.load(Ordering::SeqCst) <= 3, "{:?}", known.questions);
}

/// Answers with packs that do not hold what was asked for, or are not there.
struct Liar(Mutex<Vec<PackId>>);

impl Elsewhere for Liar {
    fn packs_with(&self, _kind: PackKind, _keys: &[EntryKey]) -> Result<Vec<PackId>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[test]
fn wrong_answers_cost_space_and_no_byte() {
    let bench = Bench::new();
    bench.backup("other", &disk(2, 20), None).unwrap();
    let others = bench.with_new_index().index.packs().unwrap().into_iter().map(|pack| pack.id);
    let liar = Arc::new(Liar(Mutex::new(others.chain([PackId([7; 32])]).collect())));
    let asking = bench.with_new_index().learning_from(liar);
    let content = disk(1, 60);
    let at = asking.backup("vm", &content, None).unwrap();
    assert_eq!(bench.with_new_index().restore(at).unwrap(), content);
}
