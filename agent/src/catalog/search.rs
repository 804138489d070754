//! Searches the catalogs of a shelf by name, or for one path: which files there are, in which versions, and in which points.
//!
//! What is found comes in the order of volumes and paths, a page at a time, in memory for that page: leaves are read in the order of their
//! first paths, and what lies behind the page is not read. A version is told by kind, size and time of the last change.

use super::pattern::Pattern;
use super::shelf::{Shelf, Shelved, VolumeKey};
use anyhow::{Context as _, Result, ensure};
use repo_format::catalog;
use repo_format::catalog::leaf::{Facts, Kind, order};
use repo_format::id::LeafId;
use repo_format::repository::Repository;
use repo_format::{Error, Result as RepoResult};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

/// What is searched for.
pub enum Wanted<'w> {
    /// Names that fit, below a directory, which is a path without slashes at its ends; empty for everywhere.
    Names(&'w Pattern, &'w [u8]),
    /// One path, without a slash in front.
    Path(&'w [u8]),
}

/// A file that was found, in all its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub volume: VolumeKey,
    /// Its path, without a slash in front.
    pub path: Vec<u8>,
    /// Its versions, the one of the newest point first.
    pub versions: Vec<Version>,
}

/// What a file was in some points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What the catalogs say of it. Its number in the file system is the newest point's.
    pub facts: Facts,
    /// Numbers of the points in the shelf, ascending; not empty.
    pub points: Vec<u32>,
}

/// A page of what was found.
#[derive(Debug, Default)]
pub struct Page {
    /// In the order of volumes and paths.
    pub found: Vec<Found>,
    /// Where the next page begins; none when this is the last.
    pub next: Option<Cursor>,
    /// Leaves that could not be read; what stands in them was not searched.
    pub damaged: Vec<LeafId>,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    name: String,
    disk: String,
    partition: Option<u32>,
    /// Escaped.
    path: String,
    /// Whether this path itself was on the page before.
    behind: bool,
}

impl Cursor {
    /// As [`Cursor::text`] wrote it.
    pub fn parse(text: &str) -> Result<Self> {
        let cursor: Self = serde_json::from_str(text).context("this is no place of a search")?;
        ensure!(crate::files::unescape_name(&cursor.path).is_some(), "this is no place of a search");
        Ok(cursor)
    }

    /// For whoever comes back with it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The place behind a file.
    pub fn behind(found: &Found) -> Self {
        Self::at(&found.volume, &found.path, true)
    }

    fn at(volume: &VolumeKey, path: &[u8], behind: bool) -> Self {
        let VolumeKey { name, disk, partition } = volume.clone();
        Self { name, disk, partition, path: crate::files::escape_name(path), behind }
    }

    fn volume(&self) -> VolumeKey {
        VolumeKey { name: self.name.clone(), disk: self.disk.clone(), partition: self.partition }
    }
}

/// Which part of what there is.
pub struct Part<'p> {
    /// Most files on a page.
    pub limit: usize,
    /// Where it begins; none: at the beginning.
    pub from: Option<&'p Cursor>,
    /// Only this volume.
    pub only: Option<&'p VolumeKey>,
    /// Whether it is time to come back with what there is.
    pub is_late: &'p dyn Fn() -> bool,
}

/// Searches.
pub fn search(repo: &Repository, shelf: &Shelf, wanted: &Wanted<'_>, part: &Part<'_>) -> RepoResult<Page> {
    let mut page = Page::default();
    let from = part.from.map(|cursor| (cursor.volume(), cursor));
    let mut has_looked = false;
    for (volume, leaves) in &shelf.volumes {
        let begins = match &from {
            Some((first, _)) if volume < first => continue,
            Some((first, cursor)) if volume == first => Some(*cursor),
            _ => None,
        };
        if part.only.is_some_and(|only| only != volume) {
            continue;
        }
        if page.found.len() >= part.limit || has_looked && (part.is_late)() {
            page.next = Some(Cursor::at(volume, b"", false));
            return Ok(page);
        }
        has_looked = true;
        let mut scan = Scan::new(wanted, part.limit - page.found.len(), begins);
        scan.through(repo, leaves, (part.is_late, &mut page.damaged))?;
        page.next = scan.next(volume);
        page.found.extend(scan.found(volume));
        if page.next.is_some() {
            return Ok(page);
        }
    }
    Ok(page)
}

/// A path in the order of catalogs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InOrder(Vec<u8>);

impl PartialOrd for InOrder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InOrder {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.0, &other.0)
    }
}

/// Kind, size and time: what tells versions apart.
type VersionKey = (Kind, u64, (i64, u32));

/// The search of one volume.
struct Scan<'s> {
    wanted: &'s Wanted<'s>,
    limit: usize,
    /// Where it begins, and whether behind that path.
    from: Option<(Vec<u8>, bool)>,
    found: BTreeMap<InOrder, Vec<Version>>,
    /// More was found than the limit, and the last of it was left out.
    is_full: bool,
    /// Nothing from this path on was looked at.
    reached: Option<Vec<u8>>,
    room: Vec<char>,
}

impl<'s> Scan<'s> {
    fn new(wanted: &'s Wanted<'s>, limit: usize, begins: Option<&Cursor>) -> Self {
        let from = begins.and_then(|cursor| Some((crate::files::unescape_name(&cursor.path)?, cursor.behind)));
        Self { wanted, limit, from, found: BTreeMap::new(), is_full: false, reached: None, room: Vec::new() }
    }

    /// Reads the leaves that can hold what is wanted.
    fn through(
        &mut self,
        repo: &Repository,
        leaves: &[Shelved],
        (is_late, damaged): (&dyn Fn() -> bool, &mut Vec<LeafId>),
    ) -> RepoResult<()> {
        let mut has_read = false;
        for shelved in leaves {
            if !self.may_hold(shelved) {
                continue;
            }
            if self.is_full
                && self.found.last_key_value().is_some_and(|(last, _)| order(&shelved.first, &last.0).is_gt())
            {
                return Ok(());
            }
            // Never without having come further than before.
            let is_further = self.from.as_ref().is_none_or(|(from, _)| order(&shelved.first, from).is_gt());
            if has_read && is_further && is_late() {
                self.reached = Some(shelved.first.clone());
                return Ok(());
            }
            has_read = true;
            match self.read(repo, shelved) {
                Err(error) if error.is_damage() => damaged.push(shelved.leaf),
                other => other?,
            }
        }
        Ok(())
    }

    fn may_hold(&self, shelved: &Shelved) -> bool {
        let ends_before = |path: &[u8]| shelved.before.as_ref().is_some_and(|before| order(before, path).is_le());
        if self.from.as_ref().is_some_and(|(from, _)| ends_before(from)) {
            return false;
        }
        match self.wanted {
            Wanted::Path(path) => !ends_before(path) && order(&shelved.first, path).is_le(),
            Wanted::Names(_, []) => true,
            Wanted::Names(_, below) => {
                let is_behind = order(&shelved.first, below).is_gt() && !is_below(&shelved.first, below);
                !ends_before(below) && !is_behind
            }
        }
    }

    /// What was seen of a leaf counts only when all of it could be read.
    fn read(&mut self, repo: &Repository, shelved: &Shelved) -> RepoResult<()> {
        let mut seen: BTreeMap<InOrder, Facts> = BTreeMap::new();
        let mut was_cut = false;
        let (limit, last) = (self.limit, self.found.last_key_value().map(|(last, _)| last.0.clone()));
        let bound = last.filter(|_| self.is_full);
        catalog::read_leaf(repo, &shelved.leaf, &mut |path, facts| {
            let is_behind = |bound: &Vec<u8>| order(path, bound).is_gt();
            if seen.len() > limit || !self.wants(path) {
                return;
            }
            match bound.as_ref().is_some_and(is_behind) {
                true => was_cut = true,
                false => drop(seen.insert(InOrder(path.to_vec()), facts)),
            }
        })?;
        self.is_full |= was_cut;
        for (path, facts) in seen {
            self.add(path, facts, &shelved.points);
        }
        Ok(())
    }

    fn wants(&mut self, path: &[u8]) -> bool {
        let is_before = match &self.from {
            Some((from, true)) => order(path, from).is_le(),
            Some((from, false)) => order(path, from).is_lt(),
            None => false,
        };
        !is_before
            && match self.wanted {
                Wanted::Path(wanted) => path == *wanted,
                Wanted::Names(pattern, below) => {
                    (below.is_empty() || is_below(path, below)) && pattern.fits(path, &mut self.room)
                }
            }
    }

    fn add(&mut self, path: InOrder, facts: Facts, points: &[u32]) {
        let versions = self.found.entry(path).or_default();
        let key = |facts: &Facts| -> VersionKey { (facts.kind, facts.size_bytes, facts.modified) };
        match versions.iter_mut().find(|version| key(&version.facts) == key(&facts)) {
            Some(version) => {
                if points.last() > version.points.last() {
                    version.facts = facts;
                }
                version.points.extend_from_slice(points);
                version.points.sort_unstable();
                version.points.dedup();
            }
            None => versions.push(Version { facts, points: points.to_vec() }),
        }
        while self.found.len() > self.limit {
            self.found.pop_last();
            self.is_full = true;
        }
    }

    fn next(&self, volume: &VolumeKey) -> Option<Cursor> {
        match (&self.reached, self.found.last_key_value()) {
            (Some(reached), Some((last, _))) if self.is_full && order(&last.0, reached).is_lt() => {
                Some(Cursor::at(volume, &last.0, true))
            }
            (Some(reached), _) => Some(Cursor::at(volume, reached, false)),
            (None, Some((last, _))) if self.is_full => Some(Cursor::at(volume, &last.0, true)),
            (None, _) => None,
        }
    }

    /// Of what was found, all of which every version is known.
    fn found(self, volume: &VolumeKey) -> impl Iterator<Item = Found> {
        let reached = self.reached.map(InOrder);
        let is_whole = move |path: &InOrder| reached.as_ref().is_none_or(|reached| path < reached);
        let volume = volume.clone();
        self.found.into_iter().filter(move |(path, _)| is_whole(path)).map(move |(path, mut versions)| {
            versions.sort_by_key(|version| Reverse(version.points.last().copied()));
            Found { volume: volume.clone(), path: path.0, versions }
        })
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Removes what damage keeps from being searched, so that it is made again. Needs the right to delete.
pub fn discard_damaged(repo: &Repository, shelf: &Shelf, damaged: &[LeafId]) -> RepoResult<()> {
    for leaf in damaged {
        for manifest in shelf.points_with(leaf) {
            catalog::discard(repo, &manifest)?;
        }
        match catalog::discard_leaf(repo, leaf) {
            Err(Error::Missing { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
