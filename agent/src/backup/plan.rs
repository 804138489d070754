//! What a backup reads: for each disk the extents, the tree to begin with, and the kind of point that follows from it.
//!
//! When in doubt it reads more, never less.

use super::request::{BackupRequest, Refusal};
use crate::extents::changed_list::{ListedDisk, parse_changed_list};
use crate::extents::{Extent, ExtentList};
use crate::facts::DiskFacts;
use crate::facts::content::ContentKind;
use crate::facts::used::{swap_header_extent, used_bytes};
use crate::read_at::{ReadAt, Slice};
use crate::source::{Source, SourceFacts};
use anyhow::{Context, Result, bail};
use repo_format::manifest::{self, DiskIdentity, Manifest, PointKey, PointKind};
use repo_format::tree::NodeSource;
use repo_format::tree::{Tree, TreeWalk};
use std::fs::File;
use std::io::BufReader;

/// The point before.
pub struct Parent {
    /// Where it stands.
    pub at: PointKey,
    /// What it is.
    pub manifest: Manifest,
}

/// One disk and what will be done with it.
pub struct PlannedDisk<'a> {
    /// Name in the point.
    pub name: String,
    /// The open disk.
    pub source: &'a Source,
    /// What it is.
    pub facts: SourceFacts,
    /// What the manifest recognises it by.
    pub identity: DiskIdentity,
    /// What reads as zero.
    pub zeroed: ExtentList,
    /// The parent's tree of the same disk, if it is comparable.
    pub parent: Option<Tree>,
    /// What changed since the parent, exactly as somebody said; none when nobody knows.
    pub changed: Option<ExtentList>,
    /// Extents that are read, in whole chunks.
    pub read: ExtentList,
    /// Extents that become holes, in whole chunks; never overlaps `read`.
    pub holes: ExtentList,
    /// The tree that the changes are applied to.
    pub base: Tree,
}

/// All disks with what they have in common.
pub struct PlannedDisks<'a> {
    /// The disks.
    pub disks: Vec<PlannedDisk<'a>>,
    /// Kind of the point.
    pub kind: PointKind,
    /// Why everything is read although a parent exists.
    pub full_read_reason: Option<String>,
}

/// Plans all disks.
pub fn disks<'a>(
    request: &BackupRequest,
    sources: &'a [(String, Source)],
    parent: Option<&Parent>,
    chunk_bytes: u32,
) -> Result<PlannedDisks<'a>> {
    let mut disks = sources
        .iter()
        .map(|(name, source)| {
            describe(request, name, source).with_context(|| format!("looking at {}", source.path().display()))
        })
        .collect::<Result<Vec<_>>>()?;
    check_excluded(request, &disks)?;
    let lists = read_lists(request, &disks, parent)?;
    for (disk, list) in disks.iter_mut().zip(lists) {
        disk.changed = list;
    }
    let mut reason = None;
    if let Some(parent) = parent {
        for disk in &mut disks {
            match comparable(request, disk, &parent.manifest, chunk_bytes) {
                Ok(tree) => disk.parent = Some(tree),
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        reason = reason.or_else(|| reason_to_read_all(request));
    }
    let kind = match (parent, &reason) {
        (None, _) => PointKind::Full,
        (Some(_), Some(_)) => PointKind::FullRead,
        (Some(_), None) => PointKind::Incremental,
    };
    for disk in &mut disks {
        extents_of(request, disk, kind, chunk_bytes)
            .with_context(|| format!("planning what to read of {}", disk.source.path().display()))?;
    }
    Ok(PlannedDisks { disks, kind, full_read_reason: reason })
}

fn reason_to_read_all(request: &BackupRequest) -> Option<String> {
    if request.full_read {
        return Some("a full read was asked for".into());
    }
    request.changed.is_none().then(|| "nothing told which blocks changed".into())
}

fn describe<'a>(request: &BackupRequest, name: &str, source: &'a Source) -> Result<PlannedDisk<'a>> {
    let facts = source.facts().context("reading partition tables and file-system headers")?;
    let identity = DiskIdentity {
        kind: serde_json::to_value(facts.identity.kind)?.as_str().unwrap_or("unknown").to_owned(),
        value: facts.identity.value.clone(),
    };
    Ok(PlannedDisk {
        name: name.to_owned(),
        zeroed: zeroed(source, &facts.disk, &request.exclude_partitions)?,
        source,
        facts,
        identity,
        parent: None,
        changed: None,
        read: ExtentList::new(),
        holes: ExtentList::new(),
        base: Tree::empty(0),
    })
}

/// An excluded partition that no disk has is a typing error, not a wish fulfilled.
fn check_excluded(request: &BackupRequest, disks: &[PlannedDisk<'_>]) -> Result<()> {
    for number in &request.exclude_partitions {
        if !disks.iter().any(|disk| disk.facts.disk.partition(*number).is_some()) {
            bail!("no disk of this backup has a partition {number} that --exclude could leave out");
        }
    }
    Ok(())
}

/// What reads as zero: excluded partitions wholly, swap space but for its header.
fn zeroed(source: &Source, facts: &DiskFacts, excluded: &[u32]) -> Result<ExtentList> {
    let mut zeroed = Vec::new();
    for partition in facts.partitions.iter().filter(|partition| !partition.extended) {
        let Some(extent) = Extent::new(partition.offset_bytes, partition.length_bytes) else { continue };
        if excluded.contains(&partition.number) {
            zeroed.push(extent);
        } else if partition.content.as_ref().is_some_and(|content| content.kind == ContentKind::Swap) {
            let swap_bytes = partition.content.as_ref().and_then(|content| content.size_bytes);
            zeroed.extend(swap_content(source, extent, swap_bytes)?);
        }
    }
    if facts.table.is_none() && facts.content.as_ref().is_some_and(|content| content.kind == ContentKind::Swap) {
        zeroed.extend(Extent::new(0, source.size_bytes()).map_or(Ok(None), |whole| {
            swap_content(source, whole, facts.content.as_ref().and_then(|c| c.size_bytes))
        })?);
    }
    Ok(zeroed.into_iter().collect())
}

fn swap_content(source: &Source, partition: Extent, swap_bytes: Option<u64>) -> Result<Option<Extent>> {
    let window = Slice::new(source, partition.offset_bytes(), partition.length_bytes())?;
    let header = swap_header_extent(&window)?;
    // What lies behind a swap area that is shorter than its partition is not swap.
    let length = swap_bytes.map_or(partition.length_bytes(), |bytes| bytes.min(partition.length_bytes()));
    let start = partition.offset_bytes();
    Ok(header.and_then(|header| Extent::from_bounds(start + header.end_bytes(), start + length)))
}

/// Reads the changed list and refuses one that has nothing to start from.
fn read_lists(
    request: &BackupRequest,
    disks: &[PlannedDisk<'_>],
    parent: Option<&Parent>,
) -> Result<Vec<Option<ExtentList>>> {
    let Some(changed) = &request.changed else { return Ok(disks.iter().map(|_| None).collect()) };
    let without = |why: String| Refusal::ListWithoutPoint { why };
    let parent = parent.ok_or_else(|| without("there is none of this name".into()))?;
    for disk in disks {
        let before = parent.manifest.disks.iter().find(|before| before.name == disk.name);
        let before =
            before.ok_or_else(|| without(format!("the point {} has no disk {:?}", parent.at.manifest, disk.name)))?;
        if before.identity != disk.identity || before.size_bytes != disk.facts.size_bytes {
            let was = format!("{} {} of {} bytes", before.identity.kind, before.identity.value, before.size_bytes);
            let is = format!("{} {} of {} bytes", disk.identity.kind, disk.identity.value, disk.facts.size_bytes);
            return Err(without(format!("disk {:?} of the point was {was}; this one is {is}", disk.name)).into());
        }
    }
    let listed: Vec<_> =
        disks.iter().map(|disk| ListedDisk { name: &disk.name, size_bytes: disk.facts.size_bytes }).collect();
    let path = changed.file.display();
    let file = File::open(&changed.file).with_context(|| format!("opening the list of changed extents {path}"))?;
    let lists = parse_changed_list(BufReader::new(file), &listed, 1).with_context(|| format!("reading {path}"))?;
    Ok(lists.into_iter().map(Some).collect())
}

/// The parent's tree of this disk, or why the parent cannot be built upon.
fn comparable(
    request: &BackupRequest,
    disk: &PlannedDisk<'_>,
    parent: &Manifest,
    chunk_bytes: u32,
) -> std::result::Result<Tree, String> {
    let name = &disk.name;
    let before = parent
        .disks
        .iter()
        .find(|before| before.name == *name)
        .ok_or_else(|| format!("disk {name:?} is not in the point before"))?;
    let zeroed: Vec<(u64, u64)> = disk.zeroed.iter().map(|e| (e.offset_bytes(), e.length_bytes())).collect();
    let differs = [
        (before.identity != disk.identity, "is another disk than in the point before"),
        (before.size_bytes != disk.facts.size_bytes, "has another size than in the point before"),
        (parent.chunk_bytes != chunk_bytes, "was stored in chunks of another size"),
        (before.used_blocks_only != request.used_blocks_only, "was stored with another choice of used blocks"),
        (before.zeroed_extents != zeroed, "had other excluded or swap partitions"),
    ];
    match differs.into_iter().find(|(differs, _)| *differs) {
        Some((_, why)) => Err(format!("disk {name:?} {why}")),
        None => Ok(before.tree(chunk_bytes)),
    }
}

/// Decides what is read, what becomes a hole, and which tree that is applied to.
fn extents_of(request: &BackupRequest, disk: &mut PlannedDisk<'_>, kind: PointKind, chunk_bytes: u32) -> Result<()> {
    let size_bytes = disk.facts.size_bytes;
    let chunk = u64::from(chunk_bytes);
    let data = disk.source.data_extents().context("looking for holes")?;
    let mut wanted = data.subtract(&disk.zeroed).rounded_out(chunk, size_bytes);
    if request.used_blocks_only {
        wanted = wanted.intersect(&used(disk)?.rounded_out(chunk, size_bytes));
    }
    match (kind, disk.parent, &disk.changed) {
        (PointKind::Incremental, Some(parent), Some(changed)) => {
            let changed = changed.rounded_out(chunk, size_bytes);
            disk.base = parent;
            disk.read = changed.intersect(&wanted);
            disk.holes = changed.subtract(&wanted);
        }
        _ => {
            disk.base = Tree::empty(size_bytes.div_ceil(chunk));
            disk.read = wanted;
        }
    }
    Ok(())
}

/// With used blocks only, chunks that were never stored may have become used without being written since: they are read too.
pub fn add_newly_used(disk: &mut PlannedDisk<'_>, nodes: &dyn NodeSource, chunk_bytes: u32) -> Result<()> {
    let chunk = u64::from(chunk_bytes);
    let size_bytes = disk.facts.size_bytes;
    let Some(parent) = disk.parent else { return Ok(()) };
    let data = disk.source.data_extents()?.subtract(&disk.zeroed).rounded_out(chunk, size_bytes);
    let wanted = data.intersect(&used(disk)?.rounded_out(chunk, size_bytes));
    let mut stored = ExtentList::new();
    for entry in TreeWalk::new(parent, nodes, 0..parent.chunks) {
        let (position, _) = entry?;
        let end = (position + 1).saturating_mul(chunk).min(size_bytes);
        Extent::from_bounds(position * chunk, end).into_iter().for_each(|extent| stored.push(extent));
    }
    disk.read = disk.read.union(&wanted.subtract(&stored));
    disk.holes = disk.holes.subtract(&disk.read);
    Ok(())
}

/// What file systems use, and everything outside of partitions that hold one we can read.
fn used(disk: &PlannedDisk<'_>) -> Result<ExtentList> {
    let whole = ExtentList::whole(disk.facts.size_bytes);
    let facts = &disk.facts.disk;
    if facts.table.is_none() {
        return Ok(used_bytes(disk.source)?.into_extents(disk.facts.size_bytes));
    }
    let (mut outside, mut inside) = (whole, ExtentList::new());
    for partition in facts.partitions.iter().filter(|partition| !partition.extended) {
        let Some(extent) = Extent::new(partition.offset_bytes, partition.length_bytes) else { continue };
        let all: ExtentList = [extent].into_iter().collect();
        let window = Slice::new(disk.source, partition.offset_bytes, partition.length_bytes)?;
        let found = used_bytes(&window)?.into_extents(partition.length_bytes).shifted(partition.offset_bytes);
        // Joined only when all partitions are taken out: where two overlap, what either uses is used.
        inside = inside.union(&found.unwrap_or_else(|| all.clone()));
        outside = outside.subtract(&all);
    }
    Ok(outside.union(&inside))
}

/// As the manifest records it.
pub fn to_manifest(disk: &PlannedDisk<'_>, tree: Tree, request: &BackupRequest) -> Result<manifest::Disk> {
    let excluded = request.exclude_partitions.iter().filter(|number| disk.facts.disk.partition(**number).is_some());
    Ok(manifest::Disk {
        name: disk.name.clone(),
        path: disk.facts.path.clone(),
        identity: disk.identity.clone(),
        size_bytes: disk.facts.size_bytes,
        root: tree.root,
        used_blocks_only: request.used_blocks_only,
        excluded_partitions: excluded.copied().collect(),
        zeroed_extents: disk.zeroed.iter().map(|e| (e.offset_bytes(), e.length_bytes())).collect(),
        tracker: None,
        facts: serde_json::to_value(&disk.facts)?,
    })
}
