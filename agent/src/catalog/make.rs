//! Makes the catalog of a recovery point: each volume is walked through by the confined process, unless it is the same as in a point that
//! has a catalog.
//!
//! Leaves are stored as they come, the catalog at the very end. Who is stopped in between leaves leaves that nothing names, which the next
//! try finds and prune removes.

use crate::facts::content::ContentKind;
use crate::files::confined::{Confined, Failed, Life, Named};
use crate::files::{FileKind, unescape_name};
use crate::medium::Medium;
use crate::open::Warn;
use crate::read_at::Slice;
use crate::volumes;
use anyhow::{Result, bail};
use jiff::Timestamp;
use repo_format::catalog::leaf::{Builder, Entry, Facts, Finished, Kind};
use repo_format::catalog::{self, Catalog, Files, LeafPlace, Listed, Volume};
use repo_format::index::Index;
use repo_format::manifest::{Manifest, PointKey, StoredManifest};
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use repo_format::tree::diff;
use repo_format::{Error, Result as RepoResult};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most volumes of a point that are listed.
const MAX_VOLUMES: usize = 256;
/// Most files of a volume that are listed.
const MAX_FILES: u64 = 20_000_000;

/// What catalogs are made with.
pub struct Making<'m> {
    /// The repository, opened with the master secret.
    pub repo: &'m Repository,
    /// Its index.
    pub index: &'m Index,
    /// This program, which reads file systems in a process of its own.
    pub program: &'m Path,
    /// The time.
    pub clock: &'m (dyn Fn() -> Timestamp + Sync),
    /// Told of what does not keep a catalog from being made.
    pub warn: Warn<'m>,
    /// Told how many files were listed since it was told last.
    pub listed: &'m (dyn Fn(u64) + Sync),
    /// Whether a volume at which the process that reads it fails is recorded as not listed, and the others count all the same.
    pub settles: bool,
    /// Stops it.
    pub stop: &'m AtomicBool,
}

/// A point whose catalog is there: where nothing changed since, that counts again.
pub struct Before {
    stored: StoredManifest,
    manifest: Manifest,
    catalog: Catalog,
}

impl Before {
    /// What is known of such a point; `None` when it or its catalog cannot be used.
    pub fn of(repo: &Repository, at: PointKey) -> RepoResult<Option<Self>> {
        let read = || -> RepoResult<Option<Self>> {
            let Some(catalog) = catalog::read(repo, &at.manifest)? else { return Ok(None) };
            let (stored, manifest) = repo.open_point_unverified(at)?;
            Ok(Some(Self { stored, manifest, catalog }))
        };
        match read() {
            Err(error) if Error::is_damage(&error) => Ok(None),
            other => other,
        }
    }
}

/// Whether it is a part of a volume group.
fn is_physical(volume: &volumes::Volume) -> bool {
    volume.content.as_ref().is_some_and(|content| content.kind == ContentKind::Lvm2)
}

impl Making<'_> {
    /// Makes the catalog of a point and stores it.
    pub fn make(&self, at: PointKey, before: Option<&Before>) -> Result<Catalog> {
        let (stored, manifest) = self.repo.open_point_unverified(at)?;
        let mut points = vec![(&stored, &manifest)];
        points.extend(before.map(|before| (&before.stored, &before.manifest)));
        let catalog = crate::open::reading(self.repo, &points, (self.clock, self.warn), || {
            let reader = Reader::new(self.repo, self.index);
            let mut found = Vec::new();
            for medium in Medium::all(&reader, &manifest)? {
                for volume in medium.volumes()?.into_iter().take(MAX_VOLUMES - found.len()) {
                    let files = match volume.is_readable() {
                        // Its logical volumes are listed under their own names.
                        false if is_physical(&volume) => Files::Listed(Listed::default()),
                        // Not to be read here: nobody shall believe that it was searched.
                        false => match medium.content() {
                            Err(why) => Files::NotListed(format!("{why:#}")),
                            Ok(_) => Files::NoReader,
                        },
                        true => match self.unchanged((&reader, &manifest), &medium, &volume, before)? {
                            Some(listed) => Files::Listed(listed),
                            None => self.list_or_settle(&medium, &volume)?,
                        },
                    };
                    let holds = volume.holds();
                    let volumes::Volume { partition, offset_bytes, length_bytes, .. } = volume;
                    let disk = medium.name.clone();
                    found.push(Volume { disk, partition, offset_bytes, length_bytes, holds, files });
                }
            }
            let (name, made_at) = (manifest.name.clone(), manifest.created_at);
            anyhow::Ok(Catalog { manifest: at.manifest, name, made_at, volumes: found })
        })?;
        self.store(&catalog)?;
        Ok(catalog)
    }

    /// A prune at the same time may have taken a leaf that nothing named yet.
    fn store(&self, catalog: &Catalog) -> Result<()> {
        catalog::put(self.repo, catalog)?;
        for place in catalog::leaves_of(catalog) {
            if !catalog::has_leaf(self.repo, &place.leaf)? {
                catalog::discard(self.repo, &catalog.manifest)?;
                bail!("a part of it was removed by a prune meanwhile");
            }
        }
        Ok(())
    }

    /// The list of a volume of which nothing changed since a point that has one.
    fn unchanged(
        &self,
        (reader, manifest): (&Reader<'_>, &Manifest),
        medium: &Medium<'_>,
        volume: &volumes::Volume,
        before: Option<&Before>,
    ) -> Result<Option<Listed>> {
        let Some(before) = before.filter(|before| before.manifest.chunk_bytes == manifest.chunk_bytes) else {
            return Ok(None);
        };
        // What a logical volume is, all disks of the point decide: of two groups of one name another may have been meant then.
        if medium.is_logical() {
            return Ok(None);
        }
        let is_same = |other: &&Volume| {
            let place = (other.partition, other.offset_bytes, other.length_bytes);
            other.disk == medium.name && place == (volume.partition, volume.offset_bytes, volume.length_bytes)
        };
        let Some(Files::Listed(listed)) = before.catalog.volumes.iter().find(is_same).map(|volume| &volume.files)
        else {
            return Ok(None);
        };
        let (name, manifest_before) = (Some(medium.name.as_str()), &before.manifest);
        let (Ok(disk), Ok(disk_before)) = (manifest.disk(name), manifest_before.disk(name)) else { return Ok(None) };
        let chunk = u64::from(manifest.chunk_bytes);
        let first = volume.offset_bytes / chunk;
        let end = volume.offset_bytes.saturating_add(volume.length_bytes).div_ceil(chunk);
        let trees = (disk_before.tree(manifest.chunk_bytes), disk.tree(manifest.chunk_bytes));
        let mut differs = false;
        let compared = diff(trees, (reader, reader), &mut |position, _, _| {
            differs = (first..end).contains(&position);
            // Ends the comparison; nobody sees it.
            if differs { Err(Error::Interrupted) } else { self.go_on() }
        });
        if differs {
            return Ok(None);
        }
        compared?;
        for place in &listed.leaves {
            if !catalog::has_leaf(self.repo, &place.leaf)? {
                return Ok(None);
            }
        }
        Ok(Some(listed.clone()))
    }

    fn go_on(&self) -> RepoResult<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn list_or_settle(&self, medium: &Medium<'_>, volume: &volumes::Volume) -> Result<Files> {
        self.list(medium, volume).or_else(|error| match self.settles && self.go_on().is_ok() {
            true => Ok(Files::NotListed(format!("{error:#}"))),
            false => Err(error),
        })
    }

    fn list(&self, medium: &Medium<'_>, volume: &volumes::Volume) -> Result<Files> {
        let slice = Slice::new(medium.content()?, volume.offset_bytes, volume.length_bytes)?;
        let mut files = Confined::start(self.program, &slice, Life::Long)?;
        match files.walk("/") {
            Ok(()) => {}
            Err(Failed::Refused(_, what)) => return Ok(Files::NotListed(what)),
            Err(Failed::Broken(error)) => return Err(error),
        }
        let mut list = List { making: self, listed: Listed::default(), builder: Builder::default() };
        loop {
            self.go_on()?;
            let named = match files.names() {
                Ok(named) => named,
                Err(Failed::Refused(_, what)) => bail!("the process that reads files refused a name: {what}"),
                Err(Failed::Broken(error)) => return Err(error),
            };
            if named.is_empty() {
                break;
            }
            for one in &named {
                if list.listed.count >= MAX_FILES {
                    list.listed.is_cut = true;
                    return list.finish();
                }
                list.take(one)?;
            }
            (self.listed)(named.len() as u64);
        }
        list.finish()
    }
}

/// The list of a volume while it is made.
struct List<'l, 'm> {
    making: &'l Making<'m>,
    listed: Listed,
    builder: Builder,
}

impl List<'_, '_> {
    /// Said by a process that reads an untrusted file system: what cannot be is counted as damaged, and nothing else comes of it.
    fn take(&mut self, named: &Named) -> Result<()> {
        // One that is escaped in another way is no path that a leaf takes.
        let path = unescape_name(&named.path).unwrap_or_else(|| b".".to_vec());
        if path.is_empty() {
            return Ok(());
        }
        let entry = Entry { path, facts: facts(named) };
        let mut finished = Vec::new();
        let was_added = self.builder.add(&entry, &mut finished);
        self.listed.count += 1;
        self.listed.damaged += u64::from(!was_added || named.kind.is_none());
        finished.into_iter().try_for_each(|leaf| self.store(leaf))
    }

    fn store(&mut self, Finished { bytes, first }: Finished) -> Result<()> {
        let leaf = catalog::put_leaf(self.making.repo, &bytes)?;
        self.listed.leaves.push(LeafPlace { leaf, first });
        Ok(())
    }

    fn finish(mut self) -> Result<Files> {
        if let Some(leaf) = std::mem::take(&mut self.builder).finish() {
            self.store(leaf)?;
        }
        Ok(Files::Listed(self.listed))
    }
}

fn facts(named: &Named) -> Facts {
    let kind = match named.kind {
        None => Kind::Damaged,
        Some(FileKind::Regular) => Kind::Regular,
        Some(FileKind::Directory) => Kind::Directory,
        Some(FileKind::Symlink) => Kind::Symlink,
        Some(FileKind::CharDevice) => Kind::CharDevice,
        Some(FileKind::BlockDevice) => Kind::BlockDevice,
        Some(FileKind::Fifo) => Kind::Fifo,
        Some(FileKind::Socket) => Kind::Socket,
    };
    let modified = (named.modified.seconds, named.modified.nanoseconds.min(999_999_999));
    Facts { kind, size_bytes: named.size_bytes, modified, inode: named.id.0 }
}
