//! Backups of image files by a provider that says whatever a test wants of tracking: no kernel is needed to see what follows from it.

mod full_read_is_due;
mod losses;
mod quiet_devices;
mod used_blocks;

use super::plan::zeroed;
use super::{BackupOutcome, BackupRequest, Surroundings, run};
use crate::extents::{Extent, ExtentList};
use crate::facts::content::{ContentKind, probe};
use crate::facts::test_images::Image;
use crate::facts::{Partition, PartitionTable, TableKind};
use crate::hooks::HookSettings;
use crate::priority::Priority;
use crate::progress::Silent;
use crate::read_at::Slice;
use crate::source::Source;
use crate::source::provider::{
    Changes, NamedSource, Obstacle, Promise, Provider, ProviderKind, Snapshot, SnapshotError,
};
use anyhow::Result;
use jiff::Timestamp;
use repo_format::entropy::{Entropy, SeededEntropy};
use repo_format::id::NodeId;
use repo_format::index::Index;
use repo_format::key_slot::{SlotKind, Unlock};
use repo_format::manifest::{Consistency, Manifest, PointKind, TrackerPlace};
use repo_format::repository::{InitOptions, Repository, init};
use repo_format::store::dir::DirStore;
use repo_format::suspects;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const CHUNK: u64 = 65_536;
pub(crate) const CHUNKS: u64 = 200;

/// What the provider will say, and what it was told.
#[derive(Default)]
struct Script {
    /// For each disk; without an entry nobody knows.
    changes: Mutex<Vec<Changes>>,
    spoiled: AtomicBool,
    taken: Mutex<u64>,
    distrusted: Mutex<Vec<usize>>,
    ended: Mutex<Vec<&'static str>>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Script>);

impl Provider for Scripted {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Module
    }

    fn promise(&self, _: &[NamedSource]) -> Result<Result<Promise, Obstacle>> {
        Ok(Ok(PROMISE))
    }

    fn take(&self, disks: Vec<NamedSource>, _: Promise) -> Result<Box<dyn Snapshot>> {
        let mut taken = self.0.taken.lock().unwrap();
        *taken += 1;
        Ok(Box::new(Held { script: Arc::clone(&self.0), disks, number: *taken }))
    }
}

const PROMISE: Promise = Promise { consistency: Consistency::CrashConsistent, one_instant: true, lists_changes: true };

struct Held {
    script: Arc<Script>,
    disks: Vec<NamedSource>,
    number: u64,
}

impl Snapshot for Held {
    fn disks(&self) -> &[NamedSource] {
        &self.disks
    }

    fn promise(&self) -> Promise {
        PROMISE
    }

    fn place(&self, _: usize) -> Option<TrackerPlace> {
        Some(TrackerPlace { generation: "g".into(), number: self.number, interval: format!("i{}", self.number) })
    }

    fn changed_since(&self, disk: usize, place: &TrackerPlace) -> Changes {
        assert_eq!(place.interval, format!("i{}", place.number), "the place is given back as it was noted");
        self.script.changes.lock().unwrap().get(disk).cloned().unwrap_or(Changes::Unknown("nobody knows".into()))
    }

    fn alarm(&self) -> Option<String> {
        self.script.spoiled.load(Ordering::Relaxed).then(|| "an alarm".into())
    }

    fn check(&self) -> Result<Consistency> {
        match self.script.spoiled.load(Ordering::Relaxed) {
            true => Err(SnapshotError { what: "it is full".into(), next: "make room".into() }.into()),
            false => Ok(PROMISE.consistency),
        }
    }

    fn preserved_bytes(&self) -> Option<u64> {
        Some(4096)
    }

    fn committed(&mut self) -> Result<()> {
        self.script.ended.lock().unwrap().push("committed");
        Ok(())
    }

    fn distrust(&mut self, disk: usize) {
        self.script.distrusted.lock().unwrap().push(disk);
    }

    fn release(self: Box<Self>) -> Result<()> {
        self.script.ended.lock().unwrap().push("released");
        Ok(())
    }
}

/// A repository, some disks and the scripted provider.
pub(crate) struct Bench {
    pub(crate) repo: Repository,
    pub(crate) index: Index,
    images: Vec<Image>,
    provider: Scripted,
    /// The time, in seconds since 1970.
    seconds: AtomicI64,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn with_disks(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions {
            chunk_bytes: u32::try_from(CHUNK).unwrap(),
            slot_kind: SlotKind::Passphrase { memory_kib: 64, passes: 1, lanes: 1 },
            unlock: Unlock::Passphrase("test"),
            label: "test",
            now: Timestamp::UNIX_EPOCH,
        };
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
        let repo = init(Arc::new(DirStore::open(dir.path())), &options, entropy).unwrap();
        let images = (0..count).map(|_| Image::sparse(CHUNKS * CHUNK)).collect();
        let bench = Self {
            repo,
            index: Index::in_memory().unwrap(),
            images,
            provider: Scripted::default(),
            seconds: AtomicI64::new(0),
            _dir: dir,
        };
        for disk in 0..count {
            (0..CHUNKS).for_each(|chunk| bench.write(disk, chunk, 1));
        }
        bench
    }

    /// Fills a chunk of a disk with something of its own.
    fn write(&self, disk: usize, chunk: u64, version: u8) {
        let file = std::fs::File::options().write(true).open(&self.images[disk].path).unwrap();
        let mut bytes = vec![version; 4096];
        bytes[..8].copy_from_slice(&chunk.to_le_bytes());
        bytes[8] = u8::try_from(disk).unwrap();
        file.write_all_at(&bytes, chunk * CHUNK).unwrap();
    }

    /// From now on the provider says this about each disk.
    fn says(&self, changes: &[Changes]) {
        *self.provider.0.changes.lock().unwrap() = changes.to_vec();
    }

    fn request(&self, name: &str) -> BackupRequest {
        BackupRequest {
            sources: self.images.iter().map(|image| image.path.clone()).collect(),
            name: Some(name.into()),
            host: "host".into(),
            changed: None,
            full_read: false,
            full_read_every_days: None,
            level: 1,
            limit_bytes_per_s: None,
            used_blocks_only: false,
            exclude_partitions: Vec::new(),
            provider: None,
            guarded: Vec::new(),
            hooks: HookSettings::none(),
            priority: Priority::Normal,
        }
    }

    fn run(&self, request: &BackupRequest) -> Result<BackupOutcome> {
        let cancel = AtomicBool::new(false);
        let providers: [&dyn Provider; 1] = [&self.provider];
        let clock = || Timestamp::from_second(self.seconds.load(Ordering::Relaxed)).unwrap();
        let around = Surroundings { clock: &clock, progress: &Silent, cancel: &cancel, providers: &providers };
        run(&self.repo, &self.index, request, &around)
    }

    pub(crate) fn backup(&self) -> BackupOutcome {
        self.run(&self.request("it")).unwrap()
    }

    pub(crate) fn manifest(&self, outcome: &BackupOutcome) -> Manifest {
        let at = self.repo.points().unwrap().into_iter().find(|at| at.manifest == outcome.id).unwrap();
        self.repo.open_point(at).unwrap().1
    }

    fn roots(&self, outcome: &BackupOutcome) -> Vec<Option<NodeId>> {
        self.manifest(outcome).disks.iter().map(|disk| disk.root).collect()
    }

    /// The same content has the same root: a point is compared with a full backup of what the disks hold now.
    fn assert_true(&self, outcome: &BackupOutcome) {
        let full = self.run(&self.request(&format!("full {}", outcome.id))).unwrap();
        assert_eq!(full.kind, PointKind::Full);
        assert_eq!(self.roots(outcome), self.roots(&full), "the point is not what the disks hold");
    }
}

fn list(chunks: &[u64]) -> Changes {
    Changes::List(chunks.iter().filter_map(|chunk| Extent::new(chunk * CHUNK, CHUNK)).collect())
}

#[test]
fn an_incremental_reads_the_listed_chunks_and_a_sample_and_nothing_else() {
    let bench = Bench::with_disks(1);
    let first = bench.backup();
    assert_eq!((first.kind, first.audit.is_none(), first.provider), (PointKind::Full, true, "module"));
    bench.write(0, 30, 2);
    bench.write(0, 31, 2);
    bench.says(&[list(&[30, 31])]);
    let second = bench.backup();
    assert_eq!((second.kind, second.full_read_reason.as_deref()), (PointKind::Incremental, None));
    assert_eq!((second.stats.bytes_changed, second.stats.bytes_audited), (2 * CHUNK, 16 * CHUNK));
    assert_eq!((second.stats.bytes_read, second.stats.bytes_new), (18 * CHUNK, 2 * CHUNK));
    assert_eq!(second.audit.as_ref().map(|audit| audit.bytes_differing), Some(0));
    bench.assert_true(&second);
    let manifest = bench.manifest(&second);
    assert_eq!((manifest.provider.as_str(), manifest.consistency), ("module", Consistency::CrashConsistent));
    assert_eq!(manifest.disks[0].tracker.as_ref().map(|place| place.number), Some(2));
    assert_eq!(manifest.stats.bytes_preserved, Some(4096));
    assert_eq!(*bench.provider.0.ended.lock().unwrap(), ["committed", "released"].repeat(3));
}

#[test]
fn a_disk_in_doubt_is_read_whole_and_says_why_and_the_others_stay_incremental() {
    let bench = Bench::with_disks(2);
    bench.backup();
    bench.write(0, 5, 2);
    bench.write(1, 150, 2);
    bench.says(&[list(&[5]), Changes::Unknown("tracking began anew".into())]);
    let mixed = bench.backup();
    assert_eq!(mixed.kind, PointKind::Incremental);
    let name = &mixed.disks[1].name;
    assert_eq!(mixed.full_read_reason, Some(format!("disk {name:?}: tracking began anew")));
    assert_eq!(mixed.disks[0].full_read_reason, None);
    assert_eq!([mixed.disks[0].bytes_read, mixed.disks[1].bytes_read], [17 * CHUNK, CHUNKS * CHUNK]);
    assert_eq!(mixed.stats.bytes_changed, 2 * CHUNK, "also of the disk that was read whole only one chunk differs");
    bench.assert_true(&mixed);
    bench.says(&[]);
    let doubtful = bench.backup();
    assert_eq!((doubtful.kind, doubtful.full_read_reason.as_deref()), (PointKind::FullRead, Some("nobody knows")));
    assert_eq!(doubtful.stats.bytes_read, 2 * CHUNKS * CHUNK);
}

#[test]
fn a_parent_without_a_place_or_of_another_size_is_not_built_upon() {
    let bench = Bench::with_disks(1);
    bench.backup();
    std::fs::File::options().write(true).open(&bench.images[0].path).unwrap().set_len((CHUNKS + 1) * CHUNK).unwrap();
    bench.says(&[list(&[])]);
    let grown = bench.backup();
    assert_eq!(grown.kind, PointKind::FullRead);
    assert!(grown.full_read_reason.as_ref().unwrap().contains("size"), "{:?}", grown.full_read_reason);
    bench.assert_true(&grown);
}

/// Six chunks are left that the list does not name, so the sample holds them all.
#[test]
fn a_change_that_the_list_hides_is_found_stored_and_costs_the_tracker_its_trust() {
    let bench = Bench::with_disks(1);
    bench.backup();
    bench.says(&[list(&[])]);
    let [before, last] = [bench.backup(), bench.backup()];
    bench.write(0, 3, 2);
    bench.says(&[list(&(6..CHUNKS).collect::<Vec<_>>())]);
    let found = bench.backup();
    assert_eq!(suspects::all(&bench.repo).unwrap(), [before.id, last.id].into(), "the full and the true point are not");
    let audit = found.audit.clone().unwrap();
    assert_eq!((audit.bytes_checked, audit.bytes_differing), (6 * CHUNK, CHUNK));
    assert_eq!((audit.extents[0].1, audit.extents[0].2), (3 * CHUNK, CHUNK));
    assert_eq!(*bench.provider.0.distrusted.lock().unwrap(), [0]);
    assert_eq!(bench.manifest(&found).disks[0].tracker, None, "the next backup must not continue from here");
    bench.assert_true(&found);
    bench.says(&[list(&[])]);
    let next = bench.backup();
    assert_eq!(next.kind, PointKind::FullRead);
    assert!(next.full_read_reason.as_ref().unwrap().contains("notes no place"), "{:?}", next.full_read_reason);
}

#[test]
fn a_full_read_compares_everything_with_the_list() {
    let bench = Bench::with_disks(1);
    bench.backup();
    bench.write(0, 100, 2);
    bench.write(0, 101, 2);
    bench.write(0, 7, 2);
    bench.says(&[list(&[7])]);
    let request = BackupRequest { full_read: true, ..bench.request("it") };
    let audited = bench.run(&request).unwrap();
    assert_eq!(audited.kind, PointKind::FullRead);
    let audit = audited.audit.clone().unwrap();
    assert_eq!((audit.bytes_checked, audit.bytes_differing), ((CHUNKS - 1) * CHUNK, 2 * CHUNK));
    assert_eq!((audited.stats.bytes_changed, audit.extents.len()), (3 * CHUNK, 1));
    bench.assert_true(&audited);
}

#[test]
fn a_spoiled_snapshot_fails_the_backup_with_its_own_error_and_commits_nothing() {
    let bench = Bench::with_disks(1);
    bench.provider.0.spoiled.store(true, Ordering::Relaxed);
    let error = bench.run(&bench.request("it")).unwrap_err();
    let error = error.downcast_ref::<SnapshotError>().expect("the snapshot's own words");
    assert_eq!((error.what.as_str(), error.next.as_str()), ("it is full", "make room"));
    assert!(bench.repo.points().unwrap().is_empty());
}

#[test]
fn an_empty_list_is_a_point_that_reads_only_the_sample() {
    let bench = Bench::with_disks(1);
    bench.backup();
    bench.says(&[Changes::List(ExtentList::new())]);
    let quiet = bench.backup();
    assert_eq!((quiet.kind, quiet.stats.bytes_changed, quiet.stats.bytes_new), (PointKind::Incremental, 0, 0));
    assert_eq!(quiet.stats.bytes_read, 16 * CHUNK);
    bench.assert_true(&quiet);
}

/// A disk was swap space once and then held other data behind its first MiB. The signature was still there, and all of that data
/// was stored as zeroes.
#[test]
fn a_swap_signature_alone_leaves_nothing_out() {
    let image = Image::sparse(1 << 19);
    image.write(&swap_header(), 0);
    let source = Source::open(&image.path).unwrap();
    let facts = source.facts().unwrap().disk;
    assert_eq!(facts.content.as_ref().map(|content| content.kind), Some(ContentKind::Swap));
    assert_eq!(zeroed(&source, &facts, &[]).unwrap(), ExtentList::new());
}

/// Only with the type of the partition it is believed.
#[test]
fn a_swap_partition_is_left_out_by_type_and_signature() {
    for (type_id, length_bytes) in [("0x82", (1 << 19) - 4096), ("0x83", 0)] {
        assert_eq!(left_out_of_swap_partition(type_id, &[]), length_bytes, "{type_id}");
    }
}

/// Nor where a format lies behind it that leaves the first pages as it finds them.
#[test]
fn a_swap_partition_that_became_something_else_is_kept() {
    let uberblock = |number: [u8; 8]| [&number[..], &[0; 24]].concat();
    let bcache = *b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81";
    for (what, offset_bytes, bytes) in [
        ("ZFS of this order of bytes", (128 << 10) + 7 * 1024, uberblock(0x00BA_B10C_u64.to_le_bytes())),
        ("ZFS of the other", (128 << 10) + 4096, uberblock(0x00BA_B10C_u64.to_be_bytes())),
        ("btrfs", (64 << 10) + 64, b"_BHRfS_M".to_vec()),
        ("bcache", 4096 + 24, bcache.to_vec()),
        ("ASM", 32, b"ORCLDISK".to_vec()),
    ] {
        assert_eq!(left_out_of_swap_partition("0x82", &[(offset_bytes, bytes)]), 0, "{what}");
    }
}

/// How much of a partition with the signature of swap space, and these bytes at these places of it, would be stored as zero.
fn left_out_of_swap_partition(type_id: &str, more: &[(u64, Vec<u8>)]) -> u64 {
    let start: u64 = 1 << 19;
    let image = Image::sparse(1 << 20);
    image.write(&swap_header(), start);
    for (offset_bytes, bytes) in more {
        image.write(bytes, start + offset_bytes);
    }
    let source = Source::open(&image.path).unwrap();
    let mut facts = source.facts().unwrap().disk;
    let content = probe(&Slice::new(&source, start, 1 << 19).unwrap()).unwrap();
    facts.table = Some(PartitionTable { kind: TableKind::Mbr, id: None });
    facts.partitions = vec![Partition {
        number: 1,
        offset_bytes: start,
        length_bytes: 1 << 19,
        type_id: type_id.into(),
        guid: None,
        name: None,
        bootable: false,
        extended: false,
        content,
    }];
    zeroed(&source, &facts, &[]).unwrap().iter().map(|extent| extent.length_bytes()).sum()
}

/// What mkswap writes on 512 KiB.
fn swap_header() -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[1024..1032].copy_from_slice(&[1, 0, 0, 0, 127, 0, 0, 0]);
    page[4086..].copy_from_slice(b"SWAPSPACE2");
    page
}
