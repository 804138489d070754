//! What a backup reads: for each disk the extents, the tree to begin with, and the kind of point that follows from it.
//!
//! When in doubt it reads more, never less.

use super::audit;
use super::parent::{Losses, Parent, ParentLost};
use super::request::{BackupRequest, Refusal};
use crate::extents::changed_list::{ListedDisk, parse_changed_list};
use crate::extents::{Extent, ExtentList};
use crate::facts::DiskFacts;
use crate::facts::content::{Content, ContentKind, may_be_more_than_swap};
use crate::facts::used::{swap_header_extent, used_bytes};
use crate::read_at::{ReadAt, Slice};
use crate::source::provider::{Changes, Snapshot};
use crate::source::sys::SysRoot;
use crate::source::{Location, Source, SourceFacts};
use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use repo_format::manifest::{self, DiskIdentity, Manifest, PointKind, TrackerPlace};
use repo_format::reader::Reader;
use repo_format::tree::{NodeSource, Tree, TreeWalk};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;

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
    /// Where its change tracking stood at the snapshot.
    pub tracker: Option<TrackerPlace>,
    /// What reads as zero.
    pub zeroed: ExtentList,
    /// The parent's tree of the same disk, if it is comparable.
    pub parent: Option<Tree>,
    /// What changed since the parent, exactly as somebody said; none when nobody knows.
    pub changed: Option<ExtentList>,
    /// Why all of it is read although a parent exists; without a parent there is no reason either.
    pub full_read_reason: Option<String>,
    /// When all of it was last read: by this backup, or by the point that the parent goes back to.
    pub read_whole_at: Option<Timestamp>,
    /// Extents that are read, in whole chunks.
    pub read: ExtentList,
    /// Extents that become holes, in whole chunks; never overlaps `read`.
    pub holes: ExtentList,
    /// Positions in `read` that nobody called changed: read to see whether that is true.
    pub sample: BTreeSet<u64>,
    /// The tree that the changes are applied to.
    pub base: Tree,
}

impl PlannedDisk<'_> {
    /// Only changes are read, and applied to the parent's tree.
    pub fn is_incremental(&self) -> bool {
        self.parent.is_some() && self.changed.is_some() && self.full_read_reason.is_none()
    }
}

/// All disks with what they have in common.
pub struct PlannedDisks<'a> {
    /// The disks.
    pub disks: Vec<PlannedDisk<'a>>,
    /// Kind of the point.
    pub kind: PointKind,
    /// Why everything, or everything of some disks, is read although a parent exists.
    pub full_read_reason: Option<String>,
}

/// Plans all disks. Each is judged by itself: where one must be read whole, the others stay incremental.
pub fn disks<'a>(
    request: &BackupRequest,
    snapshot: &'a dyn Snapshot,
    parent: Option<&Parent>,
    reader: &Reader<'_>,
    (losses, now): (&Losses, Timestamp),
) -> Result<PlannedDisks<'a>> {
    let chunk_bytes = reader.repository().config().chunk_bytes;
    let described = snapshot.disks().iter().enumerate().map(|(number, (name, source))| {
        let disk = describe(request, name, source);
        let disk = disk.with_context(|| format!("looking at {}", source.path().display()))?;
        Ok(PlannedDisk { tracker: snapshot.place(number), ..disk })
    });
    let mut disks = described.collect::<Result<Vec<_>>>()?;
    check_excluded(request, &disks)?;
    let lists = read_lists(request, &disks, parent)?;
    for (number, (disk, list)) in disks.iter_mut().zip(lists).enumerate() {
        disk.changed = list;
        if let Some(parent) = parent {
            disk.full_read_reason = judge(request, disk, &parent.manifest, chunk_bytes, (snapshot, number));
            judge_age(request, disk, &parent.manifest, now);
            judge_losses(disk, reader, losses)?;
        }
    }
    let (kind, full_read_reason) = in_common(&disks, parent.is_some());
    for disk in &mut disks {
        if !disk.is_incremental() {
            disk.read_whole_at = Some(now);
        }
        let path = disk.source.path();
        extents_of(request, disk, reader).with_context(|| format!("planning what to read of {}", path.display()))?;
    }
    Ok(PlannedDisks { disks, kind, full_read_reason })
}

/// Finds the parent's tree of a disk and the list of its changes; returns why all of it must be read all the same.
fn judge(
    request: &BackupRequest,
    disk: &mut PlannedDisk<'_>,
    parent: &Manifest,
    chunk_bytes: u32,
    (snapshot, number): (&dyn Snapshot, usize),
) -> Option<String> {
    let before = match comparable(request, disk, parent, chunk_bytes) {
        Ok(before) => before,
        Err(why) => return Some(why),
    };
    disk.parent = Some(before.tree(chunk_bytes));
    let mut unknown = None;
    if disk.changed.is_none() {
        let changes = match &before.tracker {
            _ if !snapshot.promise().lists_changes => Changes::Unknown("nothing told which blocks changed".into()),
            None => Changes::Unknown("the point before notes no place in a tracking of changes".into()),
            Some(place) => snapshot.changed_since(number, place),
        };
        match changes {
            Changes::List(list) => disk.changed = Some(list),
            Changes::Unknown(why) => unknown = Some(why),
        }
    }
    // Even then the list is wanted: it is what the full read is compared with.
    if request.full_read { Some("a full read was asked for".into()) } else { unknown }
}

/// Reads a disk whole when that is due, or when nobody knows since when it is not. Notes what the parent says of it.
fn judge_age(request: &BackupRequest, disk: &mut PlannedDisk<'_>, parent: &Manifest, now: Timestamp) {
    let Some(before) = parent.disks.iter().find(|before| before.name == disk.name) else { return };
    // Points of before this was noted say it of themselves.
    let was_whole = parent.kind != PointKind::Incremental || before.full_read_reason.is_some();
    disk.read_whole_at = before.read_whole_at.or_else(|| was_whole.then_some(parent.created_at));
    let Some(days) = request.full_read_every_days.filter(|_| disk.is_incremental()) else { return };
    let lasts = SignedDuration::from_hours(24 * i64::from(days));
    // A time that is yet to come was told by a clock that ran ahead.
    let is_recent = |at: Timestamp| (SignedDuration::ZERO..lasts).contains(&now.duration_since(at));
    if !disk.read_whole_at.is_some_and(is_recent) {
        let last = disk.read_whole_at.map_or_else(|| "nobody knows when".into(), |at| format!("at {at:.0}"));
        disk.full_read_reason = Some(format!("a full read is due every {days} days; the last was {last}"));
    }
}

/// Reads a disk whole whose parent is lost or damaged.
fn judge_losses(disk: &mut PlannedDisk<'_>, reader: &Reader<'_>, losses: &Losses) -> Result<()> {
    if let Some(lost) = losses.of_tree(&disk.name) {
        // With the tree goes all that could be compared with it.
        (disk.parent, disk.changed) = (None, None);
        disk.full_read_reason = Some(match disk.full_read_reason.take() {
            Some(reason) => format!("{reason}; {lost}"),
            None => lost.clone(),
        });
    } else if disk.is_incremental() {
        disk.full_read_reason = losses.touch(disk, reader)?;
    }
    Ok(())
}

/// The kind of the point, and the reasons of its disks in one sentence.
fn in_common(disks: &[PlannedDisk<'_>], has_parent: bool) -> (PointKind, Option<String>) {
    if !has_parent {
        return (PointKind::Full, None);
    }
    let kind = match disks.iter().any(PlannedDisk::is_incremental) {
        true => PointKind::Incremental,
        false => PointKind::FullRead,
    };
    let reasons: Vec<&str> = disks.iter().filter_map(|disk| disk.full_read_reason.as_deref()).collect();
    let first = reasons.first().copied();
    if reasons.len() == disks.len() && reasons.iter().all(|reason| Some(*reason) == first) {
        return (kind, first.map(str::to_owned));
    }
    let named = disks.iter().filter_map(|disk| Some((disk, disk.full_read_reason.as_ref()?)));
    let named: Vec<String> = named
        .map(|(disk, why)| match why.starts_with("disk ") {
            true => why.clone(),
            false => format!("disk {:?}: {why}", disk.name),
        })
        .collect();
    (kind, (!named.is_empty()).then(|| named.join("; ")))
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
        tracker: None,
        parent: None,
        changed: None,
        full_read_reason: None,
        read_whole_at: None,
        read: ExtentList::new(),
        holes: ExtentList::new(),
        sample: BTreeSet::new(),
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

/// MBR and GPT types of swap partitions.
const SWAP_TYPES: [&str; 2] = ["0x82", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"];

/// What reads as zero: excluded partitions wholly, swap space but for its header.
///
/// A signature alone makes no swap space. It lies in the first 4 KiB, and who puts the device to another use may never write
/// there; so a partition must have the type as well, and anything else must be active swap space right now.
pub(super) fn zeroed(source: &Source, facts: &DiskFacts, excluded: &[u32]) -> Result<ExtentList> {
    let is_swap = |content: &Option<Content>| content.as_ref().is_some_and(|content| content.kind == ContentKind::Swap);
    let mut zeroed = Vec::new();
    for partition in facts.partitions.iter().filter(|partition| !partition.extended) {
        let Some(extent) = Extent::new(partition.offset_bytes, partition.length_bytes) else { continue };
        if excluded.contains(&partition.number) {
            zeroed.push(extent);
        } else if is_swap(&partition.content) && SWAP_TYPES.contains(&partition.type_id.as_str()) {
            let swap_bytes = partition.content.as_ref().and_then(|content| content.size_bytes);
            zeroed.extend(swap_content(source, extent, swap_bytes)?);
        }
    }
    if facts.table.is_none() && is_swap(&facts.content) && is_active_swap(source)? {
        zeroed.extend(Extent::new(0, source.size_bytes()).map_or(Ok(None), |whole| {
            swap_content(source, whole, facts.content.as_ref().and_then(|c| c.size_bytes))
        })?);
    }
    Ok(zeroed.into_iter().collect())
}

fn is_active_swap(source: &Source) -> Result<bool> {
    let Location::Device(device) = source.location() else { return Ok(false) };
    let sys = SysRoot::host();
    let swaps = sys.swaps().context("reading which swap space is active")?;
    Ok(swaps.iter().any(|swap| sys.resolve_device(swap) == Some(*device)))
}

fn swap_content(source: &Source, partition: Extent, swap_bytes: Option<u64>) -> Result<Option<Extent>> {
    let window = Slice::new(source, partition.offset_bytes(), partition.length_bytes())?;
    if may_be_more_than_swap(&window)? && !is_active_swap(source)? {
        return Ok(None);
    }
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

/// The parent's record of this disk, or why the parent cannot be built upon.
fn comparable<'m>(
    request: &BackupRequest,
    disk: &PlannedDisk<'_>,
    parent: &'m Manifest,
    chunk_bytes: u32,
) -> std::result::Result<&'m manifest::Disk, String> {
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
        None => Ok(before),
    }
}

/// Decides what is read, what becomes a hole, and which tree that is applied to.
fn extents_of(request: &BackupRequest, disk: &mut PlannedDisk<'_>, reader: &Reader<'_>) -> Result<()> {
    let repo = reader.repository();
    let size_bytes = disk.facts.size_bytes;
    let chunk = u64::from(repo.config().chunk_bytes);
    let data = disk.source.data_extents().context("looking for holes")?;
    let mut wanted = data.subtract(&disk.zeroed).rounded_out(chunk, size_bytes);
    if request.used_blocks_only {
        wanted = wanted.intersect(&used(disk)?.rounded_out(chunk, size_bytes));
    }
    let (true, Some(parent), Some(changed)) = (disk.is_incremental(), disk.parent, &disk.changed) else {
        disk.base = Tree::empty(size_bytes.div_ceil(chunk));
        disk.read = wanted;
        return Ok(());
    };
    let changed = changed.rounded_out(chunk, size_bytes);
    disk.base = parent;
    disk.read = changed.intersect(&wanted);
    disk.holes = changed.subtract(&wanted);
    if request.used_blocks_only {
        let stored = stored_in(parent, reader, (chunk, size_bytes));
        let stored = stored.map_err(|error| ParentLost::or_else(disk, error))?;
        disk.read = disk.read.union(&wanted.subtract(&stored));
        disk.holes = disk.holes.subtract(&disk.read);
    }
    // A list that a person gives is audited when the person asks for it; the tracker's every time.
    if request.changed.is_none() {
        let unchanged = wanted.subtract(&changed).subtract(&disk.read);
        disk.sample = audit::sample(&unchanged, chunk, repo.entropy());
        let sampled = disk
            .sample
            .iter()
            .filter_map(|position| Extent::from_bounds(position * chunk, ((position + 1) * chunk).min(size_bytes)));
        disk.read = disk.read.union(&sampled.collect());
    }
    Ok(())
}

/// What a tree holds. With used blocks only, chunks that were never stored may have become used without being written since.
fn stored_in(
    tree: Tree,
    nodes: &dyn NodeSource,
    (chunk, size_bytes): (u64, u64),
) -> Result<ExtentList, repo_format::Error> {
    let mut stored = ExtentList::new();
    for entry in TreeWalk::new(tree, nodes, 0..tree.chunks) {
        let (position, _) = entry?;
        let end = (position + 1).saturating_mul(chunk).min(size_bytes);
        Extent::from_bounds(position * chunk, end).into_iter().for_each(|extent| stored.push(extent));
    }
    Ok(stored)
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

/// As the manifest records it. Of a tracker that is not trusted no place is noted, so that the next backup reads everything.
pub fn to_manifest(
    disk: &PlannedDisk<'_>,
    tree: Tree,
    request: &BackupRequest,
    trusted: bool,
) -> Result<manifest::Disk> {
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
        tracker: disk.tracker.clone().filter(|_| trusted),
        full_read_reason: disk.full_read_reason.clone(),
        read_whole_at: disk.read_whole_at,
        facts: serde_json::to_value(&disk.facts)?,
    })
}
