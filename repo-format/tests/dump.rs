//! Dumps: every kind of object is shown, sound or damaged, and never a secret.

use crate::support::full::{Full, full, keys};
use crate::support::{CHUNK, disk};
use repo_format::dump;
use repo_format::id::{ChunkId, NodeId};
use repo_format::reader::Reader;
use repo_format::repository::Access;
use serde_json::Value;

fn problems(shown: &Value) -> Vec<String> {
    shown["problems"].as_array().unwrap().iter().map(|what| what.as_str().unwrap().to_owned()).collect()
}

const PREFIXES: [(&str, &str); 19] = [
    ("config", "configuration"),
    ("keys/", "key slot"),
    ("writers/", "writer"),
    ("data/", "data pack"),
    ("tree/", "tree pack"),
    ("manifests/", "manifest"),
    ("tombstones/", "tombstone"),
    ("pardons/", "pardon"),
    ("executions/", "execution"),
    ("leases/", "lease"),
    ("condemned/", "condemned packs"),
    ("condemned/", "leases at a condemnation"),
    ("rescues/", "rescue"),
    ("verified/", "verification"),
    ("damaged/", "damaged packs"),
    ("suspects/", "suspect points"),
    ("probes/", "probe of the store"),
    ("catalogs/", "catalog"),
    ("leaves/", "leaf of catalogs"),
];

fn objects(full: &Full) -> Vec<String> {
    let mut all = vec!["config".to_owned()];
    let prefixes = PREFIXES.iter().map(|(prefix, _)| *prefix).filter(|prefix| prefix.ends_with('/'));
    prefixes.for_each(|prefix| all.extend(keys(&full.bench, prefix)));
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn every_kind_of_object_is_shown_without_problems() {
    let full = full();
    let mut kinds = Vec::new();
    for key in objects(&full) {
        let shown = dump::object(&*full.bench.store(), &key, Some(full.bench.repo())).unwrap();
        assert!(problems(&shown).is_empty(), "{key}: {shown:#}");
        let kind = shown["kind"].as_str().unwrap().to_owned();
        assert!(PREFIXES.iter().any(|(prefix, known)| key.starts_with(prefix) && *known == kind), "{key}: {kind}");
        assert!(dump::text(&shown).contains(&kind));
        kinds.push(kind);
    }
    assert!(PREFIXES.iter().all(|(_, kind)| kinds.iter().any(|known| known == kind)), "{kinds:?}");
}

#[test]
fn a_manifest_shows_its_body_only_to_who_has_the_key() {
    let full = full();
    let bytes = full.bench.store().get(&full.first.key()).unwrap();
    let show = |repo| dump::bytes(&full.first.key(), &bytes, repo);
    let shown = show(Some(full.bench.repo()));
    assert_eq!(shown["body"]["name"], "vm");
    assert_eq!(shown["receipt"]["body"]["sequence"], 1);
    assert_eq!(shown["outer"]["name id"], full.first.name.to_string());
    let blind = show(None);
    assert!(!blind.to_string().contains("disk.img") && blind["receipt"]["body"]["sequence"] == 1);
    let keys = full.bench.repo().create_writer("other", None, full.bench.now()).unwrap();
    let other = full.bench.reopen(Access::Writer(Box::new(keys)));
    assert!(!show(Some(other.repo())).to_string().contains("disk.img"));
}

#[test]
fn a_pack_shows_its_header_rows_and_trailer() {
    let full = full();
    let key = &keys(&full.bench, "data/")[0];
    let shown = dump::object(&*full.bench.store(), key, Some(full.bench.repo())).unwrap();
    assert_eq!((&shown["header"]["chunk_bytes"], &shown["footer_verified"]), (&Value::from(65536), &Value::from(true)));
    let entries = shown["entries"].as_array().unwrap();
    assert_eq!(shown["trailer"]["entry_count"], entries.len());
    assert!(entries.iter().all(|entry| entry["sealed_hash_fits"] == true && entry["plain_bytes"].as_u64() > Some(0)));
}

#[test]
fn nodes_and_chunks_are_shown_by_their_ids() {
    let full = full();
    let (repo, index) = (full.bench.repo(), &full.bench.index);
    let reader = Reader::new(repo, index);
    let (_, manifest) = repo.open_point(full.first).unwrap();
    let node = dump::node(&reader, &manifest.disks[0].root.unwrap()).unwrap();
    assert!(problems(&node).is_empty() && node["header"]["level"] == 0, "{node:#}");
    let first = &node["chunks"][0];
    let id = repo.keys().ids().chunk(&disk(1, 12)[..CHUNK]);
    assert_eq!((first["slot"].as_u64(), first["id"].as_str()), (Some(0), Some(id.to_string().as_str())));
    let chunk = dump::chunk(&reader, &id).unwrap();
    assert!(problems(&chunk).is_empty() && chunk["reads_and_has_its_id"] == true, "{chunk:#}");
    assert_eq!(chunk["places"][0]["plain_bytes"], 65536);
    assert!(!problems(&dump::chunk(&reader, &ChunkId([7; 32])).unwrap()).is_empty());
    assert!(!problems(&dump::node(&reader, &NodeId([7; 32])).unwrap()).is_empty());
    assert!(dump::index(index).unwrap()["packs"].as_array().unwrap().len() > 1);
}

#[test]
fn a_key_slot_never_shows_its_sealed_secret() {
    let full = full();
    let slot = &keys(&full.bench, "keys/")[0];
    let bytes = full.bench.store().get(slot).unwrap();
    let body: Value = serde_json::from_slice(&bytes[48..bytes.len() - 96]).unwrap();
    for cut in [bytes.len(), bytes.len() - 120, 300] {
        let shown = dump::bytes(slot, &bytes[..cut], Some(full.bench.repo())).to_string();
        for name in ["salt", "sealed"] {
            assert!(!shown.contains(&body[name].as_str().unwrap()[..16]), "{name}, {cut} bytes: {shown}");
        }
    }
}

#[test]
fn damaged_objects_are_shown_as_far_as_they_go() {
    let full = full();
    for key in objects(&full) {
        let bytes = full.bench.store().get(&key).unwrap();
        let show = |bytes: &[u8]| dump::bytes(&key, bytes, Some(full.bench.repo()));
        for at in (0..bytes.len()).step_by((bytes.len() / 60).max(1)) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let shown = show(&bad);
            assert!(!problems(&shown).is_empty(), "byte {at} of {key}: {shown:#}");
            assert_eq!(shown["length_bytes"], bytes.len());
        }
        for cut in [0, 1, 40, 48, 200, bytes.len() / 2, bytes.len() - 1] {
            let shown = show(&bytes[..cut.min(bytes.len() - 1)]);
            assert!(!problems(&shown).is_empty(), "{cut} bytes of {key}: {shown:#}");
        }
    }
}

#[test]
fn the_rows_of_a_pack_are_found_without_its_trailer() {
    let full = full();
    let key = &keys(&full.bench, "data/")[0];
    let sound = full.bench.store().get(key).unwrap();
    let entries = |bytes: &[u8]| dump::bytes(key, bytes, None)["entries"].as_array().unwrap().len();
    let mut bad = sound.clone();
    let trailer = bad.len() - 128;
    bad[trailer..trailer + 32].fill(0xFF);
    assert_eq!(entries(&bad), entries(&sound));
}
