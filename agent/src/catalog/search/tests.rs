//! Searches compared with a model: all lists side by side, without leaves and pages.

use super::*;
use repo_format::catalog::leaf::{Builder, Entry};
use repo_format::catalog::{Catalog, Files, LeafPlace, Listed, Volume};
use repo_format::entropy::SystemEntropy;
use repo_format::id::{ManifestId, NameId};
use repo_format::key_slot::{SlotKind, Unlock};
use repo_format::manifest::PointKey;
use repo_format::repository::{InitOptions, init};
use std::collections::BTreeSet;
use std::sync::Arc;

const KEY: [u8; 32] = [7; 32];

struct Bench {
    _dir: tempfile::TempDir,
    repo: Repository,
    points: Vec<PointKey>,
    /// What each point has: partition, path, size.
    lists: Vec<Vec<(u32, String, u64)>>,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions {
        chunk_bytes: 65536,
        slot_kind: SlotKind::KeyFile,
        unlock: Unlock::KeyFile(&KEY),
        label: "",
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    let repo = init(crate::open::store(dir.path()), &options, Arc::new(SystemEntropy)).unwrap();
    Bench { _dir: dir, repo, points: Vec::new(), lists: Vec::new() }
}

impl Bench {
    /// A point with these files; a leaf ends behind each path whose length is a multiple of four.
    fn add(&mut self, files: &[(u32, String, u64)]) {
        let sequence = self.points.len() as u64 + 1;
        let manifest = ManifestId([u8::try_from(sequence).unwrap(); 32]);
        let mut by_partition: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
        for (partition, path, size_bytes) in files {
            let facts = Facts { kind: Kind::Regular, size_bytes: *size_bytes, modified: (5, 0), inode: 7 };
            by_partition.entry(*partition).or_default().push(Entry { path: path.clone().into_bytes(), facts });
        }
        let mut volumes = Vec::new();
        for (partition, mut entries) in by_partition {
            entries.sort_by(|a, b| order(&a.path, &b.path));
            let groups = entries.chunk_by(|before, _| before.path.len() % 4 != 0);
            let leaves = groups.map(|group| self.leaf(group)).collect();
            let files = Files::Listed(Listed { count: 1, leaves, ..Listed::default() });
            let (partition, disk, holds) = (Some(partition), "sda".into(), None);
            volumes.push(Volume { disk, partition, offset_bytes: 0, length_bytes: 1, holds, files });
        }
        let made_at = jiff::Timestamp::UNIX_EPOCH;
        catalog::put(&self.repo, &Catalog { manifest, name: "web".into(), made_at, volumes }).unwrap();
        self.points.push(PointKey { name: NameId([1; 16]), sequence, manifest });
        self.lists.push(files.to_vec());
    }

    fn leaf(&self, entries: &[Entry]) -> LeafPlace {
        let (mut builder, mut finished) = (Builder::default(), Vec::new());
        assert!(entries.iter().all(|entry| builder.add(entry, &mut finished)) && finished.is_empty());
        let leaf = builder.finish().unwrap();
        LeafPlace { leaf: catalog::put_leaf(&self.repo, &leaf.bytes).unwrap(), first: leaf.first }
    }

    /// All pages: place, path, and for each version its size and points.
    fn all(&self, wanted: &Wanted<'_>, limit: usize, is_late: bool) -> Vec<Line> {
        let shelf = Shelf::of(&self.repo, &self.points).unwrap();
        let (mut lines, mut from) = (Vec::new(), None);
        for _ in 0..10_000 {
            let part = Part { limit, from: from.as_ref(), only: None, is_late: &|| is_late };
            let page = search(&self.repo, &shelf, wanted, &part).unwrap();
            assert!(page.found.len() <= limit && page.damaged.is_empty());
            lines.extend(page.found.into_iter().map(line));
            let Some(next) = page.next else { return lines };
            assert_ne!(from.as_ref(), Some(&next), "it comes further");
            from = Some(Cursor::parse(&next.text()).unwrap());
        }
        panic!("the pages have no end");
    }

    fn model(&self, wants: &dyn Fn(&str) -> bool) -> Vec<Line> {
        let mut keys: BTreeSet<(u32, Vec<u8>)> = BTreeSet::new();
        let fitting = self.lists.iter().flatten().filter(|(_, path, _)| wants(path));
        keys.extend(fitting.map(|(partition, path, _)| (*partition, path.clone().into_bytes())));
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(&a.1, &b.1)));
        let versions = |partition: u32, path: &str| {
            let mut versions: Vec<(u64, Vec<u32>)> = Vec::new();
            for (number, list) in (0..).zip(&self.lists) {
                for (_, _, size) in list.iter().filter(|file| file.0 == partition && file.1 == path) {
                    match versions.iter_mut().find(|version| version.0 == *size) {
                        Some(version) => version.1.push(number),
                        None => versions.push((*size, vec![number])),
                    }
                }
            }
            versions.sort_by_key(|version| Reverse(version.1.last().copied()));
            versions
        };
        let line = |(partition, path): (u32, Vec<u8>)| {
            let path = String::from_utf8(path).unwrap();
            (partition, versions(partition, &path), path)
        };
        keys.into_iter().map(line).map(|(partition, versions, path)| (partition, path, versions)).collect()
    }
}

type Line = (u32, String, Vec<(u64, Vec<u32>)>);

fn line(found: Found) -> Line {
    let versions = found.versions.into_iter().map(|version| (version.facts.size_bytes, version.points)).collect();
    (found.volume.partition.unwrap(), String::from_utf8(found.path).unwrap(), versions)
}

/// Points that have much in common, with files that come, go and change.
fn varied() -> Bench {
    let mut bench = bench();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let directories = ["", "etc/", "etc/nginx/", "etc.d/", "usr/share/doc/", "etc/nginx/a b/"];
    let mut files: BTreeMap<(u32, String), u64> = BTreeMap::new();
    for _ in 0..7 {
        for _ in 0..25 {
            let directory = directories[usize::try_from(random(6)).unwrap()];
            let name = "file".repeat(1 + usize::try_from(random(2)).unwrap());
            let path =
                format!("{directory}{name}{}{}", random(12), [".conf", "", "x"][usize::try_from(random(3)).unwrap()]);
            files.insert((1 + u32::try_from(random(2)).unwrap(), path), random(3));
        }
        let gone: Vec<_> = files.keys().filter(|_| random(9) == 0).cloned().collect();
        for key in &gone {
            files.remove(key);
        }
        let list: Vec<_> = files.iter().map(|((partition, path), size)| (*partition, path.clone(), *size)).collect();
        bench.add(&list);
    }
    bench
}

#[test]
fn pages_of_any_size_are_what_all_lists_together_have() {
    let bench = varied();
    let conf = Pattern::new("*.CONF").unwrap();
    let one = Pattern::new("1").unwrap();
    for (limit, is_late) in [(1, false), (3, false), (1000, false), (1, true), (4, true), (1000, true)] {
        let found = bench.all(&Wanted::Names(&conf, b""), limit, is_late);
        let model = bench.model(&|path| path.ends_with(".conf"));
        assert!(model.len() > 20 && found == model, "{limit}, {is_late}: {found:#?}\n{model:#?}");
        let found = bench.all(&Wanted::Names(&one, b"etc/nginx"), limit, is_late);
        let below = |path: &str| path.starts_with("etc/nginx/") && path.rsplit('/').next().unwrap().contains('1');
        assert_eq!(found, bench.model(&below), "{limit}, {is_late}");
    }
}

#[test]
fn the_versions_of_every_path_are_those_of_all_points() {
    let bench = varied();
    let all = bench.model(&|_| true);
    assert!(all.iter().any(|line| line.2.len() > 1), "some changed");
    for (_, path, _) in &all {
        let found = bench.all(&Wanted::Path(path.as_bytes()), 10, false);
        assert_eq!(found, bench.model(&|other| other == path), "{path}");
    }
    assert!(bench.all(&Wanted::Path(b"etc/nothing"), 10, false).is_empty());
}

#[test]
fn points_without_a_catalog_are_told_and_a_damaged_leaf_costs_itself() {
    let mut bench = bench();
    let file = |path: &str| (1, path.to_owned(), 1);
    bench.add(&[file("abcd"), file("b"), file("c")]);
    bench.add(&[file("abcd"), file("b"), file("d")]);
    let missing = PointKey { manifest: ManifestId([9; 32]), sequence: 9, ..bench.points[0] };
    let shelf = Shelf::of(&bench.repo, &[bench.points.clone(), vec![missing]].concat()).unwrap();
    assert_eq!((shelf.points.len(), &shelf.without[..]), (2, &[missing.manifest][..]));

    let leaves: Vec<String> = bench.repo.store().keys("leaves/").unwrap();
    assert_eq!(leaves.len(), 3, "the first leaf is both points'");
    let hurt = shelf.volumes.values().next().unwrap().iter().find(|shelved| shelved.points == [1]).unwrap().leaf;
    let key = leaves.iter().find(|key| key.ends_with(&hurt.to_string())).unwrap();
    let mut bytes = bench.repo.store().get(key).unwrap();
    bytes[90] ^= 1;
    bench.repo.store().put(key, &bytes).unwrap();
    let all = Pattern::new("*").unwrap();
    let part = Part { limit: 10, from: None, only: None, is_late: &|| false };
    let page = search(&bench.repo, &shelf, &Wanted::Names(&all, b""), &part).unwrap();
    assert_eq!(page.damaged, [hurt]);
    let paths: Vec<String> = page.found.into_iter().map(|found| line(found).1).collect();
    assert_eq!(paths, ["abcd", "b", "c"], "what the damaged one has is not half believed");
    discard_damaged(&bench.repo, &shelf, &page.damaged).unwrap();
    assert_eq!(catalog::all(&bench.repo).unwrap(), [bench.points[0].manifest].into(), "the other is made again");
}

#[test]
fn a_cursor_of_somebody_elses_making_is_refused() {
    for bad in ["", "{}", "[]", r#"{"name":"a","disk":"b","partition":1,"path":"\\x","behind":true}"#] {
        assert!(Cursor::parse(bad).is_err(), "{bad}");
    }
}
