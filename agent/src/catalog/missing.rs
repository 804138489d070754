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
    let could_be_read = |holds: &Option<String>| holds.as_deref().is_some_and(volumes::reads);
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
