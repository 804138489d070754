//! The catalogs of many recovery points side by side: which leaves there are, and which points each is part of.
//!
//! Only what catalogs say is in memory; a leaf is read when it is searched, once for all points that share it.

use anyhow::Result;
use jiff::Timestamp;
use repo_format::catalog::leaf::order;
use repo_format::catalog::{self, Catalog, Files};
use repo_format::id::{LeafId, ManifestId};
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use repo_format::{Error, Result as RepoResult};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

/// Most points that are searched; of more, the newest of each name.
pub const MAX_POINTS: usize = 2000;

/// A point that is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelvedPoint {
    /// The point.
    pub manifest: ManifestId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Whose files: those of one volume through all points of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeKey {
    /// Name of the points.
    pub name: String,
    /// Name of the disk.
    pub disk: String,
    /// Number of the partition; none for a disk without partitions.
    pub partition: Option<u32>,
}

/// A leaf and where it counts.
#[derive(Debug)]
pub(super) struct Shelved {
    pub(super) leaf: LeafId,
    /// Its first path.
    pub(super) first: Vec<u8>,
    /// All its paths come before this one; none: before no known one.
    pub(super) before: Option<Vec<u8>>,
    /// Numbers of points, in [`Shelf::points`].
    pub(super) points: Vec<u32>,
}

/// Catalogs side by side.
#[derive(Debug, Default)]
pub struct Shelf {
    /// The points, the oldest of each name first.
    pub points: Vec<ShelvedPoint>,
    /// Points that are not searched: without a catalog that can be read, or too many.
    pub without: Vec<ManifestId>,
    /// Points of which a volume could not be listed, or not whole.
    pub partly: u64,
    pub(super) volumes: BTreeMap<VolumeKey, Vec<Shelved>>,
}

impl Shelf {
    /// Reads the catalogs of these points, which come in the order of the repository.
    pub fn of(repo: &Repository, points: &[PointKey]) -> Result<Self> {
        let mut shelf = Self::default();
        let too_many = points.len().saturating_sub(MAX_POINTS);
        let mut building: BTreeMap<VolumeKey, HashMap<LeafId, Shelved>> = BTreeMap::new();
        for (number, at) in newest_last(points).into_iter().enumerate() {
            let found = if number < too_many { None } else { read(repo, at)? };
            match found {
                Some(catalog) => shelf.add(&catalog, &mut building)?,
                None => shelf.without.push(at.manifest),
            }
        }
        for (key, leaves) in building {
            let mut leaves: Vec<Shelved> = leaves.into_values().collect();
            leaves.sort_by(|a, b| order(&a.first, &b.first).then(a.leaf.cmp(&b.leaf)));
            shelf.volumes.insert(key, leaves);
        }
        Ok(shelf)
    }

    /// The volumes of which there are lists.
    pub fn volumes(&self) -> impl Iterator<Item = &VolumeKey> {
        self.volumes.keys()
    }

    fn add(&mut self, catalog: &Catalog, building: &mut BTreeMap<VolumeKey, HashMap<LeafId, Shelved>>) -> Result<()> {
        let number = u32::try_from(self.points.len())?;
        let (manifest, name, made_at) = (catalog.manifest, catalog.name.clone(), catalog.made_at);
        self.points.push(ShelvedPoint { manifest, name: name.clone(), made_at });
        let mut is_part = false;
        for volume in &catalog.volumes {
            let Files::Listed(listed) = &volume.files else {
                is_part |= matches!(volume.files, Files::NotListed(_));
                continue;
            };
            is_part |= listed.is_cut;
            let key = VolumeKey { name: name.clone(), disk: volume.disk.clone(), partition: volume.partition };
            let known = building.entry(key).or_default();
            for (at, place) in listed.leaves.iter().enumerate() {
                let behind = listed.leaves.get(at + 1).map(|next| next.first.clone());
                let shelved = known.entry(place.leaf).or_insert_with(|| Shelved {
                    leaf: place.leaf,
                    first: place.first.clone(),
                    before: behind.clone(),
                    points: Vec::new(),
                });
                shelved.before = nearer(shelved.before.take(), behind);
                if shelved.points.last() != Some(&number) {
                    shelved.points.push(number);
                }
            }
        }
        self.partly += u64::from(is_part);
        Ok(())
    }

    /// Points that have a leaf.
    pub fn points_with(&self, leaf: &LeafId) -> Vec<ManifestId> {
        let of_leaf = self.volumes.values().flatten().filter(|shelved| shelved.leaf == *leaf);
        let mut numbers: Vec<u32> = of_leaf.flat_map(|shelved| shelved.points.iter().copied()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(|number| self.points.get(number as usize)).map(|point| point.manifest).collect()
    }
}

/// A leaf is the same in all points, so what comes behind it in one of them bounds it in all.
fn nearer(one: Option<Vec<u8>>, other: Option<Vec<u8>>) -> Option<Vec<u8>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if order(&one, &other) == Ordering::Greater { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// By their place counted from the newest of their name, so that those left out are the oldest of each.
fn newest_last(points: &[PointKey]) -> Vec<PointKey> {
    let mut newest: HashMap<_, u64> = HashMap::new();
    let rank = |at: &PointKey| {
        let rank = newest.entry(at.name).or_insert(0);
        *rank += 1;
        *rank
    };
    let ranks: Vec<u64> = points.iter().rev().map(rank).collect();
    let mut ranked: Vec<(u64, PointKey)> = ranks.into_iter().rev().zip(points.iter().copied()).collect();
    ranked.sort_by_key(|(rank, at)| (std::cmp::Reverse(*rank), at.name));
    ranked.into_iter().map(|(_, at)| at).collect()
}

/// A catalog that is there and sound.
fn read(repo: &Repository, at: PointKey) -> RepoResult<Option<Catalog>> {
    match catalog::read(repo, &at.manifest) {
        Err(error) if Error::is_damage(&error) => Ok(None),
        other => other,
    }
}
