//! Backups whose parent has lost something.

use super::{Bench, CHUNK, CHUNKS, list};
use crate::backup::BackupRequest;
use jiff::Timestamp;
use repo_format::check::prove_tree;
use repo_format::condemned::{self, PackRef};
use repo_format::index::IndexedPack;
use repo_format::manifest::PointKind;
use repo_format::pack::PackKind;
use repo_format::reader::Reader;
use std::collections::HashSet;

impl Bench {
    fn packs(&self, kind: PackKind) -> Vec<IndexedPack> {
        self.index.packs().unwrap().into_iter().filter(|pack| pack.kind == kind).collect()
    }

    /// Changes a byte of every entry of all packs of a kind; headers and footers stay as they are.
    fn spoil(&self, kind: PackKind) {
        let reader = Reader::new(&self.repo, &self.index);
        for pack in self.packs(kind) {
            let (key, footer) = (kind.key(&pack.id), reader.footer(kind, pack.id).unwrap());
            let mut bytes = self.repo.store().get(&key).unwrap();
            footer.info().rows.iter().for_each(|row| bytes[row.extent().start] ^= 0x55);
            self.repo.store().delete(&key).unwrap();
            self.repo.store().put(&key, &bytes).unwrap();
        }
    }

    fn record_all_as_damaged(&self, kind: PackKind) {
        let packs = self.packs(kind);
        let packs: Vec<PackRef> = packs.iter().map(|pack| PackRef { kind, pack: pack.id }).collect();
        condemned::record_damaged(&self.repo, &packs, Timestamp::UNIX_EPOCH).unwrap();
    }
}

/// A tree pack of the newest point was lost. From then on every backup of that name failed: incrementals while they edited the tree, full
/// reads after everything was read and stored, when only the count of changes was missing. Nothing said that another name would help.
#[test]
fn a_disk_whose_parent_lost_its_tree_is_backed_up_again() {
    for full_read in [false, true] {
        let bench = Bench::with_disks(2);
        bench.backup();
        for pack in bench.packs(PackKind::Tree) {
            bench.repo.store().delete(&pack.kind.key(&pack.id)).unwrap();
        }
        bench.write(0, 3, 2);
        bench.write(1, 7, 2);
        bench.says(&[list(&[3]), list(&[7])]);
        let again = bench.run(&BackupRequest { full_read, ..bench.request("it") }).unwrap();
        assert_eq!(again.kind, PointKind::FullRead);
        assert!(again.full_read_reason.as_ref().unwrap().contains("tree of the point before"), "{again:?}");
        bench.assert_true(&again);
        assert!(again.audit.is_none_or(|audit| audit.bytes_differing == 0), "nothing was compared");
        bench.says(&[list(&[]), list(&[])]);
        assert_eq!(bench.backup().kind, PointKind::Incremental, "the next builds upon it");
    }
}

/// The same with a pack whose footer is sound and whose nodes are not: what the footer names must not pass for known when the tree is
/// stored again, or the new point would stand upon the damaged nodes of chunks that did not change.
#[test]
fn a_damaged_node_of_the_parent_is_not_built_upon() {
    for full_read in [false, true] {
        let bench = Bench::with_disks(1);
        bench.backup();
        bench.spoil(PackKind::Tree);
        bench.write(0, 3, 2);
        bench.says(&[list(&[3])]);
        let again = bench.run(&BackupRequest { full_read, ..bench.request("it") }).unwrap();
        assert_eq!(again.kind, PointKind::FullRead, "{again:?}");
        let manifest = bench.manifest(&again);
        let tree = manifest.disks[0].tree(manifest.chunk_bytes);
        prove_tree(&Reader::new(&bench.repo, &bench.index), tree, &HashSet::new()).unwrap();
    }
}

/// A check had found a data pack damaged; the disk still held its bytes. Every incremental after that referred to the damaged chunks and said
/// "Stored", for weeks, until the disk was gone too.
#[test]
fn a_parent_whose_packs_were_found_damaged_is_read_anew() {
    let bench = Bench::with_disks(1);
    bench.backup();
    bench.record_all_as_damaged(PackKind::Data);
    bench.says(&[list(&[])]);
    let next = bench.backup();
    assert_eq!(next.kind, PointKind::FullRead);
    assert!(next.full_read_reason.as_ref().unwrap().contains("damaged"), "{:?}", next.full_read_reason);
    assert_eq!(next.stats.bytes_new, CHUNKS * CHUNK, "all of it is stored again");
    let healed = bench.backup();
    assert_eq!(healed.kind, PointKind::Incremental, "what was stored again is sound: {healed:?}");
}

#[test]
fn damage_that_a_disk_does_not_depend_on_costs_it_nothing() {
    let bench = Bench::with_disks(1);
    bench.run(&bench.request("another")).unwrap();
    bench.record_all_as_damaged(PackKind::Data);
    bench.backup();
    bench.says(&[list(&[])]);
    assert_eq!(bench.backup().kind, PointKind::Incremental);
}

/// A data pack was lost with its file, so that no pack could be named: the record says that something is missing.
#[test]
fn a_parent_whose_chunks_are_missing_is_read_anew_once_that_is_known() {
    let bench = Bench::with_disks(1);
    bench.backup();
    for pack in bench.packs(PackKind::Data) {
        bench.repo.store().delete(&pack.kind.key(&pack.id)).unwrap();
        bench.index.remove(&[pack.number]).unwrap();
    }
    condemned::record_loss(&bench.repo, Timestamp::UNIX_EPOCH).unwrap();
    bench.says(&[list(&[])]);
    let next = bench.backup();
    assert_eq!((next.kind, next.stats.bytes_new), (PointKind::FullRead, CHUNKS * CHUNK));
}
