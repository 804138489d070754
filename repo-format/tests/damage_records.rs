//! What a check records as damaged, and how long that stands.

use crate::support::watched::Watched;
use crate::support::{Bench, DAY, disk};
use repo_format::check::Depth;
use repo_format::condemned;
use repo_format::error::{Error, Result};
use repo_format::index::IndexedPack;
use repo_format::pack::PackKind;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EIO: i32 = 5;

/// The bench behind a store that fails reads of data packs while `fails` is set.
fn behind_a_failing_store(bench: &Bench, fails: &Arc<AtomicBool>, error: fn() -> io::Error) -> Bench {
    let fails = fails.clone();
    let store = Watched::new(bench.store(), move |key, _, _| -> Result<()> {
        match key.starts_with("data/") && fails.load(Ordering::SeqCst) {
            true => Err(Error::Store { key: key.into(), source: error() }),
            false => Ok(()),
        }
    });
    bench.through(&bench.fs, store, bench.passphrase()).unwrap()
}

fn data_packs(bench: &Bench) -> Vec<IndexedPack> {
    let packs = bench.with_new_index().index.packs().unwrap();
    packs.into_iter().filter(|pack| pack.kind == PackKind::Data).collect()
}

fn records(bench: &Bench, prefix: &str) -> usize {
    bench.store().keys(prefix).unwrap().len()
}

/// While a check ran, the store's server was restarted. Every pack that was asked for in that minute was recorded as damaged for ever:
/// nobody relied on it any more, and the next full read stored all of it again.
#[test]
fn a_store_that_does_not_answer_for_a_while_damages_no_pack() {
    let bench = Bench::new();
    bench.backup("vm", &disk(1, 20), None).unwrap();
    let down = Arc::new(AtomicBool::new(false));
    let through = behind_a_failing_store(&bench, &down, || io::Error::other("the server cannot be reached"));
    down.store(true, Ordering::SeqCst);
    let report = through.check(Depth::ReadAll, true);
    down.store(false, Ordering::SeqCst);
    assert!(!report.findings.is_empty(), "it is told");
    assert_eq!(condemned::known_damage(bench.repo().records()).unwrap(), None);
}

/// A medium that has lost its sectors is damage, and is seen again by a second look.
#[test]
fn a_pack_that_the_medium_does_not_give_back_is_damaged() {
    let bench = Bench::new();
    bench.backup("vm", &disk(1, 20), None).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let through = behind_a_failing_store(&bench, &fails, || io::Error::from_raw_os_error(EIO));
    fails.store(true, Ordering::SeqCst);
    through.check(Depth::ReadAll, true);
    let damaged = condemned::damaged(bench.repo().records()).unwrap();
    assert_eq!(damaged, data_packs(&bench).into_iter().map(|pack| pack.id).collect());
}

/// A pack that was lost with its file was named by no record, so that every incremental went on referring to its chunks.
#[test]
fn a_lost_pack_makes_damage_known_until_its_chunks_are_stored_again() {
    let bench = Bench::new();
    let content = disk(1, 20);
    bench.backup("vm", &content, None).unwrap();
    for pack in data_packs(&bench) {
        bench.store().delete(&pack.kind.key(&pack.id)).unwrap();
    }
    bench.with_new_index().check(Depth::Structure, true);
    bench.with_new_index().check(Depth::Structure, true);
    assert_eq!(condemned::known_damage(bench.repo().records()).unwrap(), Some([].into()));
    assert_eq!(records(&bench, "damaged/"), 1, "one record says it");
    let at = bench.with_new_index().backup("vm", &content, None).unwrap();
    bench.with_new_index().prune(false).unwrap();
    assert_eq!(condemned::known_damage(bench.repo().records()).unwrap(), None);
    assert!(bench.with_new_index().restore(at).unwrap() == content);
}

/// FORMAT.md said that prune deletes records of damage; nothing did. A pack that was copied back from a replica stayed distrusted.
#[test]
fn prune_deletes_records_of_packs_that_are_whole_again_or_gone() {
    let bench = Bench::new();
    let content = disk(1, 20);
    bench.backup("vm", &content, None).unwrap();
    let pack = data_packs(&bench).remove(0);
    let key = pack.kind.key(&pack.id);
    let sound = bench.store().get(&key).unwrap();
    let put = |bytes: &[u8]| {
        bench.store().delete(&key).unwrap();
        bench.store().put(&key, bytes).unwrap();
    };
    let mut broken = sound.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    put(&broken);
    bench.check(Depth::ReadAll, true);
    bench.prune(false).unwrap();
    assert_eq!(records(&bench, "damaged/"), 1, "it is still damaged");
    put(&sound);
    bench.prune(false).unwrap();
    assert_eq!(records(&bench, "damaged/"), 0, "it is whole again");

    put(&broken);
    bench.check(Depth::ReadAll, true);
    bench.backup("vm", &content, None).unwrap();
    for _ in 0..3 {
        bench.pass_time(DAY * 2);
        bench.prune(false).unwrap();
    }
    assert!(!bench.store().exists(&key).unwrap(), "nothing needs the damaged copy");
    assert_eq!(records(&bench, "damaged/"), 0, "it is gone");
}
