//! Searches for files, and the versions of one, through all points of a name: answered from catalogs, which are kept for a while.

use crate::catalog::pattern::Pattern;
use crate::catalog::search::{Cursor, Found, Page, Part, Version, Wanted, discard_damaged, search};
use crate::catalog::shelf::{Shelf, VolumeKey};
use crate::catalog::{kind_name, missing};
use crate::files::{escape_name, split_path, time_text, unescape_name};
use crate::volumes::{self, Meant};
use anyhow::{Context as _, Result, bail};
use repo_format::catalog::leaf::Kind;
use repo_format::id::NameId;
use repo_format::manifest::Manifest;
use repo_format::repository::Repository;
use std::time::{Duration, Instant};
use web_api::file::{
    FileAnswer, FileQuestion, FileVersion, FileVersions, FoundFile, FoundFiles, MAX_FOUND, MAX_VERSIONS, PointOfFile,
};
use web_api::unit::ByteCount;

/// Catalogs that were made since are seen after so long,
const FRESH: Duration = Duration::from_secs(20);
/// and after so long where some are missing: somebody waits for these.
const FRESH_WHILE_MISSING: Duration = Duration::from_secs(1);
/// A search comes back with what it has after so long; an answer has 20 seconds.
const LONGEST: Duration = Duration::from_secs(8);
/// A page ends before its paths are longer than this together.
const PAGE_BYTES: usize = 160 << 10;

/// The catalogs of one name.
pub(super) struct Searching<'s> {
    repo: &'s Repository,
    name: NameId,
    manifest: &'s Manifest,
    shelf: Option<(Instant, Shelf)>,
}

impl<'s> Searching<'s> {
    /// Of the points of the name of this one.
    pub(super) fn new(repo: &'s Repository, (name, manifest): (NameId, &'s Manifest)) -> Self {
        Self { repo, name, manifest, shelf: None }
    }

    /// Answers a question that needs no file system.
    pub(super) fn answer(&mut self, question: &FileQuestion) -> Result<FileAnswer> {
        match question {
            FileQuestion::Search { pattern, below, cursor, limit } => {
                self.search((pattern, below.as_deref()), cursor.as_deref(), *limit).map(FileAnswer::Found)
            }
            FileQuestion::Versions { disk, partition, path } => {
                self.versions((disk.as_deref(), *partition), path).map(FileAnswer::Versions)
            }
            _ => bail!("this is no search"),
        }
    }

    /// Reads the catalogs, where those that are known are not fresh.
    fn refresh(&mut self) -> Result<()> {
        let is_old = |(read, shelf): &(Instant, Shelf)| {
            read.elapsed() >= if counts(shelf).1 == 0 { FRESH } else { FRESH_WHILE_MISSING }
        };
        if self.shelf.as_ref().is_none_or(is_old) {
            let mut points = missing::points(self.repo)?;
            points.retain(|at| at.name == self.name);
            self.shelf = Some((Instant::now(), Shelf::of(self.repo, &points)?));
        }
        Ok(())
    }

    /// What the last page was searched in.
    fn shelf(&self) -> Result<&Shelf> {
        self.shelf.as_ref().map(|(_, shelf)| shelf).context("no catalogs were read")
    }

    /// A page. What is damaged is removed, so that it is made again.
    fn page(&mut self, wanted: &Wanted<'_>, limit: u32, from: (Option<&Cursor>, Option<&VolumeKey>)) -> Result<Page> {
        self.refresh()?;
        let (repo, until) = (self.repo, Instant::now() + LONGEST);
        let limit = limit.clamp(1, MAX_FOUND) as usize;
        let part = Part { limit, from: from.0, only: from.1, is_late: &|| Instant::now() >= until };
        let shelf = self.shelf()?;
        let page = search(repo, shelf, wanted, &part)?;
        if !page.damaged.is_empty() {
            discard_damaged(repo, shelf, &page.damaged)?;
            self.shelf = None;
            bail!("a part of the list of files is damaged; it is made again, which takes a while");
        }
        Ok(page)
    }

    fn search(
        &mut self,
        (pattern, below): (&str, Option<&str>),
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<FoundFiles> {
        let pattern = Pattern::new(pattern)?;
        let below = inner(below.unwrap_or("/"))?;
        let cursor = cursor.map(Cursor::parse).transpose()?;
        let page = self.page(&Wanted::Names(&pattern, &below), limit, (cursor.as_ref(), None))?;
        let shelf = self.shelf()?;
        let (mut items, mut length, mut next) = (Vec::new(), 0, page.next);
        for found in &page.found {
            length += found.path.len();
            if length > PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.extend(found_file(shelf, found));
        }
        if let Some(last) = items.len().checked_sub(1).filter(|last| last + 1 < page.found.len()) {
            next = page.found.get(last).map(Cursor::behind);
        }
        let (points, points_missing) = counts(shelf);
        Ok(FoundFiles { items, next_cursor: next.map(|cursor| cursor.text()), points, points_missing })
    }

    fn versions(&mut self, volume: (Option<&str>, Option<u32>), path: &str) -> Result<FileVersions> {
        let (disk, partition) = match self.logical(volume)? {
            Some(found) => found,
            None => self.place(volume)?,
        };
        let only = VolumeKey { name: self.manifest.name.clone(), disk, partition };
        let path = inner(path)?;
        let page = self.page(&Wanted::Path(&path), 1, (None, Some(&only)))?;
        let shelf = self.shelf()?;
        let versions = page.found.first().map_or(&[][..], |found| &found.versions);
        let items: Vec<FileVersion> =
            versions.iter().take(MAX_VERSIONS).filter_map(|version| file_version(shelf, version)).collect();
        let (points, points_missing) = counts(shelf);
        Ok(FileVersions { more: versions.len() > MAX_VERSIONS, items, points, points_missing })
    }

    /// A logical volume is none of the point's disks; its lists are kept under its name.
    fn logical(&mut self, (disk, partition): (Option<&str>, Option<u32>)) -> Result<Option<(String, Option<u32>)>> {
        let manifest = self.manifest;
        let Some(disk) = disk.filter(|name| manifest.disks.iter().all(|disk| disk.name != **name)) else {
            return Ok(None);
        };
        let is_listed = |key: &VolumeKey| key.name == manifest.name && key.disk == disk && key.partition == partition;
        self.refresh()?;
        Ok(self.shelf()?.volumes().any(is_listed).then(|| (disk.to_owned(), partition)))
    }

    /// The volume that is meant.
    fn place(&self, (disk, partition): (Option<&str>, Option<u32>)) -> Result<(String, Option<u32>)> {
        let meant = || volumes::meant_disk(self.manifest).filter(|_| partition.is_none());
        let disk = self.manifest.disk(disk.or_else(meant))?;
        let known = volumes::volumes(&volumes::recorded_facts(disk).unwrap_or_default(), disk.size_bytes);
        let number = match (partition, volumes::meant(&known)) {
            (Some(number), _) => Some(number),
            (None, Meant::One(at)) => known.get(at).and_then(|volume| volume.partition),
            (None, _) => bail!("say which partition of disk {}: {}", disk.name, volumes::listed(&known)),
        };
        Ok((disk.name.clone(), number))
    }
}

fn counts(shelf: &Shelf) -> (u32, u32) {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let missing = count(shelf.without.len()).saturating_add(u32::try_from(shelf.partly).unwrap_or(u32::MAX));
    (count(shelf.points.len()), missing)
}

/// A path as it was asked for, without slashes at its ends.
fn inner(path: &str) -> Result<Vec<u8>> {
    let bytes = unescape_name(path).context("the path is not escaped as listings escape paths")?;
    Ok(split_path(&bytes).join(&b'/'))
}

fn found_file(shelf: &Shelf, found: &Found) -> Option<FoundFile> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Some(FoundFile {
        disk: found.volume.disk.clone(),
        partition: found.volume.partition,
        path: format!("/{}", escape_name(&found.path)),
        versions: count(found.versions.len()),
        points: count(found.versions.iter().map(|version| version.points.len()).sum()),
        newest: file_version(shelf, found.versions.first()?)?,
    })
}

fn file_version(shelf: &Shelf, version: &Version) -> Option<FileVersion> {
    let point = |number: Option<&u32>| {
        let point = shelf.points.get(*number? as usize)?;
        Some(PointOfFile { id: point.manifest.to_string(), made_at: point.made_at.to_string() })
    };
    let (seconds, nanoseconds) = version.facts.modified;
    let modified_at = match version.facts.kind {
        Kind::Damaged => String::new(),
        _ => time_text(crate::files::Timestamp { seconds, nanoseconds }),
    };
    Some(FileVersion {
        kind: kind_name(version.facts.kind).map(str::to_owned),
        size_bytes: ByteCount(version.facts.size_bytes),
        modified_at,
        points: u32::try_from(version.points.len()).unwrap_or(u32::MAX),
        first: point(version.points.first())?,
        last: point(version.points.last())?,
    })
}
