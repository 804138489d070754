//! A repository with at least one object of every kind.

use super::{Bench, CHUNK, disk};
use jiff::SignedDuration;
use repo_format::condemned::{self, PackRef};
use repo_format::forget;
use repo_format::id::ManifestId;
use repo_format::lease::{Lease, Purpose};
use repo_format::manifest::PointKey;
use repo_format::pack::PackKind;
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
    suspects::record(repo, &[forgotten.manifest], now).unwrap();
    put_mark(&bench, "pardons", record::PARDON, forgotten.manifest);
    put_mark(&bench, "executions", record::EXECUTION, forgotten.manifest);
    Full { bench, first, second, forgotten }
}
