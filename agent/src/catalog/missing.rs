//! Which recovery points have no catalog that can be used, and from which other one's each is made best.

use super::make::Before;
use crate::volumes;
use anyhow::Result;
use repo_format::catalog::{self, Catalog, Files};
use repo_format::id::ManifestId;
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use repo_format::{Error, Result as RepoResult};
use std::collections::{BTreeMap, HashSet};

const TOMBSTONES: &str = "tombstones/";

/// The points that are not forgotten.
pub fn points(repo: &Repository) -> RepoResult<Vec<PointKey>> {
    let stones = repo.store().keys(TOMBSTONES)?;
    let buried: HashSet<ManifestId> =
        stones.iter().filter_map(|key| key.strip_prefix(TOMBSTONES)?.parse().ok()).collect();
    let mut points = repo.points()?;
    points.retain(|at| !buried.contains(&at.manifest));
    Ok(points)
}

/// Of these points those without a catalog, the newest of each name first: that is what people look for.
pub fn missing(points: &[PointKey], have: &HashSet<ManifestId>) -> Vec<PointKey> {
    let mut newest: BTreeMap<_, u64> = BTreeMap::new();
    let mut missing: Vec<(u64, PointKey)> = Vec::new();
    for at in points.iter().rev() {
        let rank = newest.entry(at.name).or_default();
        *rank += 1;
        if !have.contains(&at.manifest) {
            missing.push((*rank, *at));
        }
    }
    missing.sort_by_key(|(rank, at)| (*rank, at.name));
    missing.into_iter().map(|(_, at)| at).collect()
}

/// The nearest point of the same name that has a catalog.
pub fn before(
    repo: &Repository,
    at: PointKey,
    (points, have): (&[PointKey], &HashSet<ManifestId>),
) -> RepoResult<Option<Before>> {
    let of_name = points.iter().filter(|other| other.name == at.name && have.contains(&other.manifest));
    match of_name.min_by_key(|other| other.sequence.abs_diff(at.sequence)) {
        Some(nearest) => Before::of(repo, *nearest),
        None => Ok(None),
    }
}

/// Removes catalogs that cannot be used: damaged, with a part missing, or from before a file system that they hold could be read.
/// Returns the points whose catalogs stay.
pub fn sound(repo: &Repository) -> Result<HashSet<ManifestId>> {
    let mut sound = HashSet::new();
    for manifest in catalog::all(repo)? {
        let read = match catalog::read(repo, &manifest) {
            Err(error) if Error::is_damage(&error) => None,
            other => other?,
        };
        match read {
            Some(catalog) if !is_outdated(&catalog) && has_leaves(repo, &catalog)? => drop(sound.insert(manifest)),
            // Where nothing can be deleted, a new one takes its place or nothing can be made either.
            _ => drop(catalog::discard(repo, &manifest)),
        }
    }
    Ok(sound)
}

fn is_outdated(catalog: &Catalog) -> bool {
    // Volumes of a group are listed under names of their own; a catalog without them says of its physical volumes that nobody reads them.
    let could_be_read =
        |holds: &Option<String>| holds.as_deref().is_some_and(|holds| holds == "lvm2" || volumes::reads(holds));
    catalog.volumes.iter().any(|volume| volume.files == Files::NoReader && could_be_read(&volume.holds))
}

fn has_leaves(repo: &Repository, catalog: &Catalog) -> RepoResult<bool> {
    for place in catalog::leaves_of(catalog) {
        if !catalog::has_leaf(repo, &place.leaf)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use repo_format::catalog::Volume;
    use repo_format::entropy::SystemEntropy;
    use repo_format::key_slot::{SlotKind, Unlock};
    use repo_format::repository::{InitOptions, init};
    use repo_format::store::dir::DirStore;
    use std::sync::Arc;

    /// A file system without a reader got a catalog without files, and a later version that reads it shall make another one.
    #[test]
    fn a_catalog_from_before_its_file_system_could_be_read_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions {
            chunk_bytes: 65_536,
            slot_kind: SlotKind::KeyFile,
            unlock: Unlock::KeyFile(&[7; 32]),
            label: "",
            now: Timestamp::UNIX_EPOCH,
        };
        let repo = init(Arc::new(DirStore::open(dir.path())), &options, Arc::new(SystemEntropy)).unwrap();
        let put = |byte: u8, holds: Option<&str>| {
            let volume = Volume {
                disk: "vda".into(),
                partition: Some(1),
                offset_bytes: 0,
                length_bytes: 4096,
                holds: holds.map(str::to_owned),
                files: Files::NoReader,
            };
            let (manifest, made_at) = (ManifestId([byte; 32]), Timestamp::UNIX_EPOCH);
            catalog::put(&repo, &Catalog { manifest, name: "web".into(), made_at, volumes: vec![volume] }).unwrap();
            manifest
        };
        let (read_now, unreadable, unknown) = (put(1, Some("xfs")), put(2, Some("zfs")), put(3, None));
        put(4, Some("lvm2"));
        assert_eq!(sound(&repo).unwrap(), [unreadable, unknown].into());
        assert_eq!(catalog::read(&repo, &read_now).unwrap(), None, "the next one takes its place");
    }
}
