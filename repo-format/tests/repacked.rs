//! Machines behind a server, whose own index stays from one command to the next while prune works beside the server.

use crate::support::{Bench, CHUNK, DAY, disk};
use repo_format::elsewhere::Elsewhere;
use repo_format::error::Result;
use repo_format::id::{EntryKey, PackId};
use repo_format::pack::PackKind;
use std::sync::Arc;

/// A server whose index always says what the store holds.
struct Server(Bench);

impl Elsewhere for Server {
    fn packs_with(&self, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>> {
        self.0.reconcile();
        self.0.index.packs_with(kind, keys)
    }
}

fn machine(bench: &Bench) -> Bench {
    bench.with_new_index().learning_from(Arc::new(Server(bench.with_new_index())))
}

fn prune_until_nothing_is_left_to_do(bench: &Bench) {
    for _ in 0..3 {
        bench.pass_time(DAY * 2);
        bench.with_new_index().prune(false).unwrap();
    }
}

/// Two points were restored over a server, one was forgotten, and prune emptied the packs they shared. The index beside the command line
/// still named the old packs and nothing else; the server was not asked again, and the restore said that chunks were missing of which
/// none was.
#[test]
fn a_machine_restores_after_the_packs_it_knew_were_repacked() {
    let bench = Bench::new();
    let first = disk(1, 60);
    let mut second = first.clone();
    second[..40 * CHUNK].copy_from_slice(&disk(2, 41)[..40 * CHUNK]);
    let old = bench.backup("vm", &first, None).unwrap();
    let new = bench.backup("vm", &second, None).unwrap();
    let machine = machine(&bench);
    assert!(machine.restore(new).unwrap() == second);
    bench.forget(&old).unwrap();
    prune_until_nothing_is_left_to_do(&bench);
    assert!(bench.with_new_index().restore(new).unwrap() == second, "nothing is lost");
    assert!(machine.restore(new).unwrap() == second);
}

/// The same with the tree packs that a machine had stored itself: every backup after the prune failed with a tree node that was missing.
#[test]
fn a_machine_backs_up_after_the_tree_packs_it_knew_were_repacked() {
    let bench = Bench::new();
    let machine = machine(&bench);
    let mut content = disk(1, 300);
    let old = machine.backup("vm", &content, None).unwrap();
    content[7 * CHUNK..8 * CHUNK].fill(9);
    let new = machine.backup("vm", &content, Some(&[7])).unwrap();
    bench.forget(&old).unwrap();
    prune_until_nothing_is_left_to_do(&bench);
    assert!(bench.with_new_index().restore(new).unwrap() == content, "nothing is lost");
    content[200 * CHUNK..201 * CHUNK].fill(8);
    let next = machine.backup("vm", &content, Some(&[200])).unwrap();
    assert!(bench.with_new_index().restore(next).unwrap() == content);
}

/// A pack lost its bytes behind a sound footer and was healed by another machine; only the server's index knew the second copy, and who
/// knew the first was told that the chunk is damaged.
#[test]
fn a_machine_that_knows_only_a_damaged_copy_learns_of_the_sound_one() {
    let bench = Bench::new();
    let content = disk(1, 20);
    let at = bench.backup("vm", &content, None).unwrap();
    let machine = machine(&bench);
    assert!(machine.restore(at).unwrap() == content);
    for pack in bench.index.packs().unwrap().into_iter().filter(|pack| pack.kind == PackKind::Data) {
        let key = pack.kind.key(&pack.id);
        let mut bytes = bench.store().get(&key).unwrap();
        // The middle of the sealed entries; header and footer stay.
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
        bench.store().delete(&key).unwrap();
        bench.store().put(&key, &bytes).unwrap();
    }
    let healing = bench.with_new_index();
    healing.check(repo_format::check::Depth::ReadAll, true);
    healing.backup("vm", &content, None).unwrap();
    assert!(bench.with_new_index().restore(at).unwrap() == content, "it is healed");
    assert!(machine.restore(at).unwrap() == content);
}
