//! A repository with at least one object of every kind.

use super::{Bench, CHUNK, disk};
use jiff::SignedDuration;
use repo_format::catalog::leaf::{Builder, Entry, Facts, Finished, Kind};
use repo_format::catalog::{self, Catalog, Files, LeafPlace, Listed, Volume};
use repo_format::condemned::{self, PackRef};
use repo_format::forget;
use repo_format::id::ManifestId;
use repo_format::lease::{Lease, Purpose};
use repo_format::manifest::PointKey;
use repo_format::pack::PackKind;
use repo_format::probe::{Findings, ObjectLock, Probe};
use repo_format::record::{self, Magic};
use repo_format::suspects;

pub fn keys(bench: &Bench, prefix: &str) -> Vec<String> {
    bench.store().keys(prefix).unwrap()
}

fn put_mark(bench: &Bench, prefix: &str, magic: Magic, manifest: ManifestId) {
    let body = serde_json::json!({ "manifest": manifest, "at": bench.now() });
    let repo = bench.repo();
    let bytes = record::encode_json(magic, &repo.config().repository, &repo.keys().highest_signer(), &body).unwrap();
    bench.store().put(&format!("{prefix}/{manifest}"), &bytes).unwrap();
}

fn put_probe(bench: &Bench) {
    let findings = Findings {
        racing_creates_won: 1,
        racing_creates: 8,
        read_after_write: true,
        overwrite_visible: true,
        list_after_write: true,
        delete_then_list: true,
        object_lock: ObjectLock::NotOffered,
    };
    let probe = Probe { place: "s3://bucket/prefix at AWS eu-west-1".into(), probed_at: bench.now(), findings };
    let repo = bench.repo();
    let bytes =
        record::encode_json(record::PROBE, &repo.config().repository, &repo.keys().highest_signer(), &probe).unwrap();
    bench.store().put(&format!("probes/{}", "5a".repeat(16)), &bytes).unwrap();
}

/// Stores a catalog of files with these paths, which come in their order.
pub fn catalogued(bench: &Bench, at: &PointKey, paths: &[&str]) -> Catalog {
    let (mut builder, mut finished) = (Builder::default(), Vec::new());
    for (inode, path) in (1..).zip(paths) {
        let facts = Facts { kind: Kind::Regular, size_bytes: 5, modified: (1_700_000_000, 0), inode };
        assert!(builder.add(&Entry { path: path.as_bytes().to_vec(), facts }, &mut finished), "{path}");
    }
    finished.extend(builder.finish());
    let place =
        |leaf: Finished| LeafPlace { leaf: catalog::put_leaf(bench.repo(), &leaf.bytes).unwrap(), first: leaf.first };
    let leaves = finished.into_iter().map(place).collect();
    let listed = Listed { count: paths.len() as u64, leaves, ..Listed::default() };
    let volume = Volume {
        disk: "disk.img".into(),
        partition: Some(1),
        offset_bytes: 1 << 20,
        length_bytes: 1 << 20,
        holds: Some("ext4".into()),
        files: Files::Listed(listed),
    };
    let catalog = Catalog { manifest: at.manifest, name: "vm".into(), made_at: bench.now(), volumes: vec![volume] };
    catalog::put(bench.repo(), &catalog).unwrap();
    catalog
}

pub struct Full {
    pub bench: Bench,
    pub first: PointKey,
    pub second: PointKey,
    pub forgotten: PointKey,
}

/// A repository with at least one object of every kind.
pub fn full() -> Full {
    let bench = Bench::new();
    bench.repo().create_writer("laptop", None, bench.now()).unwrap();
    let bench = bench.with_new_index();
    let content = disk(1, 12);
    let first = bench.backup("vm", &content, None).unwrap();
    let forgotten = bench.backup("old", &disk(2, 6), None).unwrap();
    let mut changed = content.clone();
    changed[3 * CHUNK] ^= 1;
    let second = bench.backup("vm", &changed, Some(&[3])).unwrap();
    let (repo, now) = (bench.repo(), bench.now());
    forget::forget(repo, &forgotten, "policy", now, SignedDuration::from_hours(1)).unwrap();
    Lease::take(repo, Purpose::Read, now).unwrap();
    let pack = PackRef { kind: PackKind::Data, pack: PackKind::Data.parse_key(&keys(&bench, "data/")[0]).unwrap() };
    let condemned = condemned::condemn(repo, vec![pack], now).unwrap();
    condemned::record_leases(repo, condemned, Vec::new()).unwrap();
    condemned::rescue(repo, vec![pack], now).unwrap();
    condemned::record_verified(repo, &[pack], now).unwrap();
    condemned::record_damaged(repo, &[pack], now).unwrap();
    put_probe(&bench);
    suspects::record(repo, &[forgotten.manifest], now).unwrap();
    catalogued(&bench, &first, &["etc/hostname", "etc/hosts"]);
    put_mark(&bench, "pardons", record::PARDON, forgotten.manifest);
    put_mark(&bench, "executions", record::EXECUTION, forgotten.manifest);
    Full { bench, first, second, forgotten }
}
