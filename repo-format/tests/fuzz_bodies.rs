//! What each fuzz target does with its input: decode, verify, open, and use the result. Bad input must end in an error.
//! Each says whether it found the input to be sound.
//!
//! Shared by `fuzz/` (coverage-guided, nightly) and by the tests in `fuzz_corpus.rs` (deterministic, stable). All inputs are
//! taken for objects of one repository with known keys, so that the fields behind checksums and signatures are reached.

use repo_format::catalog::leaf::{self, Builder, Entry};
use repo_format::config::Config;
use repo_format::entropy::SeededEntropy;
use repo_format::id::{EntryKey, ManifestId, NameId, PackId};
use repo_format::index::Index;
use repo_format::key_slot::{KeySlot, SlotKind, Unlock};
use repo_format::manifest::{self, PointKey, Receipt};
use repo_format::pack::{self, EntryDecoder, OpenPack, PackInfo, PackKind};
use repo_format::reconcile::{self, reconcile};
use repo_format::record::{self, MaySign};
use repo_format::repository::{Access, InitOptions, Repository, init};
use repo_format::store::Store;
use repo_format::store::dir::DirStore;
use repo_format::store::sim::SimFs;
use repo_format::tree::node::Node;
use repo_format::{kit, writer_key};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

const ROOT: &str = "/repository";
const KEY_FILE: [u8; 32] = [0x42; 32];

struct Base {
    fs: SimFs,
    repository: Repository,
}

fn store_on(fs: &SimFs) -> Arc<dyn Store> {
    Arc::new(DirStore::with_fs(fs.clone(), ROOT, Arc::new(SeededEntropy::new(2))))
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let fs = SimFs::new(Path::new(ROOT));
    let options = InitOptions {
        chunk_bytes: 65536,
        slot_kind: SlotKind::KeyFile,
        unlock: Unlock::KeyFile(&KEY_FILE),
        label: "fuzz",
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    let repository = init(store_on(&fs), &options, Arc::new(SeededEntropy::new(1))).expect("a new repository");
    Base { fs, repository }
});

/// The repository that all inputs are taken to belong to.
pub fn repository() -> &'static Repository {
    &BASE.repository
}

/// A copy of its file system.
pub fn file_system() -> SimFs {
    BASE.fs.fork()
}

/// A pack, whole and by its footer, and every entry of it.
pub fn pack(bytes: &[u8]) -> bool {
    let (repository, id) = (repository(), PackId(*blake3::hash(bytes).as_bytes()));
    let mut sound = false;
    for kind in [PackKind::Data, PackKind::Tree] {
        let of = (&repository.config().repository, repository.signers());
        let loaded = PackInfo::from_bytes(kind, &id, bytes, of.0, of.1);
        let store = store_on(&SimFs::new(Path::new(ROOT)));
        store.put(&kind.key(&id), bytes).expect("the simulated file system takes it");
        let footer = pack::load(&*store, kind, &id, of.0, of.1);
        let Ok(info) = loaded else { continue };
        assert_eq!(info.rows, footer.expect("the whole pack is sound, so is its footer").rows);
        sound = true;
        let Ok(open) = OpenPack::new(id, info, repository.keys()) else { continue };
        let mut decoder = EntryDecoder::new().expect("zstd starts");
        for (number, row) in (0_u32..).zip(&open.info.rows) {
            let mut plain = Vec::new();
            if open.open(number, &mut bytes[row.extent()].to_vec(), &mut decoder, &mut plain).is_ok() {
                assert_eq!(plain.len(), row.plain_bytes as usize);
            }
        }
    }
    sound
}

/// A tree node. There is one encoding of each.
pub fn node(bytes: &[u8]) -> bool {
    let mut sound = false;
    for level in 0..=u8::MAX {
        if let Ok(node) = Node::decode("node", level, bytes) {
            assert_eq!(node.encode(), bytes);
            assert!(!node.is_empty());
            sound = true;
        }
    }
    sound
}

/// A leaf of a catalog: what was read of it is written again and read again, the same.
pub fn leaf(bytes: &[u8]) -> bool {
    let Some(entries) = entries(bytes) else { return false };
    let (mut builder, mut leaves) = (Builder::default(), Vec::new());
    for entry in &entries {
        assert!(builder.add(entry, &mut leaves), "what was read has an order and paths");
    }
    leaves.extend(builder.finish());
    let again: Option<Vec<Vec<Entry>>> = leaves.iter().map(|leaf| self::entries(&leaf.bytes)).collect();
    assert_eq!(again.expect("what was just written").concat(), entries);
    true
}

fn entries(leaf: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let read = leaf::each(leaf, &mut |path, facts| entries.push(Entry { path: path.to_vec(), facts }));
    read.is_ok().then_some(entries)
}

/// A manifest with its receipt, where it says it stands.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(first) = record::decode("manifest", record::MANIFEST, bytes) else {
        let nowhere = PointKey { name: NameId([0; 16]), sequence: 0, manifest: ManifestId([0; 32]) };
        let at = repository().signers();
        assert!(manifest::decode(nowhere, bytes, &repository().config().repository, at).is_err());
        return false;
    };
    let rest = &bytes[first.record_bytes..];
    let receipt = record::decode("receipt", record::RECEIPT, rest).and_then(|r| r.json::<Receipt>("receipt"));
    let at = PointKey {
        name: first.body.first_chunk().map_or(NameId([0; 16]), |name| NameId(*name)),
        sequence: receipt.map_or(0, |receipt| receipt.sequence),
        manifest: ManifestId(*blake3::hash(&bytes[..first.record_bytes]).as_bytes()),
    };
    let repository = repository();
    let Ok(stored) = manifest::decode(at, bytes, &repository.config().repository, repository.signers()) else {
        return false;
    };
    assert_eq!(PointKey::parse(&at.key()), Some(at));
    let Ok(manifest) = stored.open(repository.keys()) else { return false };
    for disk in &manifest.disks {
        let tree = disk.tree(manifest.chunk_bytes);
        assert!(tree.chunks > 0 && tree.level() <= 7);
        for position in [0, tree.chunks - 1, tree.chunks, u64::MAX] {
            assert!(disk.chunk_length(manifest.chunk_bytes, position) <= manifest.chunk_bytes);
        }
    }
    true
}

/// Any small record: configuration, key slot, writer, tombstone …
pub fn record(bytes: &[u8]) -> bool {
    let repository = repository();
    let (id, signers) = (&repository.config().repository, repository.signers());
    let mut sound = false;
    if let Ok(config) = Config::decode("config", bytes) {
        sound = true;
        let _ = (config.public(), config.operator(), config.check_writable());
    }
    for magic in [
        record::KEY_SLOT,
        record::WRITER,
        record::RECEIPT,
        record::TOMBSTONE,
        record::PARDON,
        record::EXECUTION,
        record::LEASE,
        record::CONDEMNED,
        record::CONDEMNED_LEASES,
        record::RESCUE,
        record::VERIFIED,
        record::DAMAGED,
        record::SUSPECTS,
        record::CATALOG,
        record::LEAF,
    ] {
        let Ok(found) = record::decode("record", magic, bytes) else { continue };
        assert!(found.record_bytes <= bytes.len());
        let Ok(found) = found.verified("record", id, signers, MaySign::Writers) else { continue };
        sound = true;
        if let Ok(slot) = found.json::<KeySlot>("record") {
            let _ = slot.open(id, &Unlock::KeyFile(&KEY_FILE));
        }
        let _ = found.json::<writer_key::WriterRecord>("record").map(|writer| writer.key());
    }
    sound
}

/// A writer key file.
pub fn writer_key_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(keys) = writer_key::from_text(text) else { return false };
    assert!(writer_key::from_text(&writer_key::to_text(&keys)).is_ok());
    true
}

/// A recovery kit.
pub fn recovery_kit(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok((repository, master)) = kit::import(text) else { return false };
    assert!(kit::import(&kit::export(&repository, &master)).is_ok());
    true
}

/// A store in which this object stands wherever something may stand: the index is built from the rest, lists are errors or right.
pub fn index_rebuild(bytes: &[u8]) -> bool {
    let fs = file_system();
    let (store, id) = (store_on(&fs), PackId(*blake3::hash(bytes).as_bytes()));
    let name = "0".repeat(32);
    for key in [PackKind::Data.key(&id), PackKind::Tree.key(&id), "data/00/0".into(), format!("manifests/{name}/{id}")]
        .into_iter()
        .chain(["tombstones", "rescues", "verified", "leases", "condemned"].map(|kind| format!("{kind}/{id}")))
    {
        store.put(&key, bytes).expect("the simulated file system takes it");
    }
    let master = repository().keys().master_for("fuzzing").expect("made with it").clone();
    let repo = Repository::open(store, Access::Master(master), Arc::new(SeededEntropy::new(3))).expect("it is whole");
    let index = Index::in_memory().expect("SQLite starts");
    let options = reconcile::Options { threads: 1, progress: &|_| {}, cancel: &AtomicBool::new(false) };
    let found = reconcile(repo.records(), &index, &options).expect("damage is reported, not returned");
    assert!(found.damaged.iter().any(|(key, _)| key == "data/00/0"));
    let packs = index.packs().expect("SQLite works");
    for pack in &packs {
        assert!(u64::from(pack.entry_count) * 64 <= pack.pack_bytes);
    }
    let _ = index.places(&EntryKey([0; 16]));
    assert!(repo.points().is_err());
    let _ = repo_format::forget::tombstones(&repo);
    let _ = repo_format::condemned::rescues(&repo);
    let _ = repo_format::condemned::verified(repo.records());
    assert!(repo_format::lease::list(&repo).is_err());
    !packs.is_empty()
}
