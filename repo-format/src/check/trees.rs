//! Trees: every node is read and every chunk it references lies in a pack whose own footer says so, with the right length.
//!
//! Shared subtrees are visited once: a bit for each entry of each pack remembers them. Only when something is missing a second walk
//! finds out which points and which parts of their disks that touches.

use super::packs::Packs;
use super::points::{CheckedDisk, Points};
use super::report::{AffectedDisk, AffectedPoint, FindingNumber, Findings};
use super::{Options, Phase, Report, as_finding, is_about_an_object};
use crate::error::{Error, Result};
use crate::id::{EntryId, NodeId};
use crate::index::Place;
use crate::pack::PackKind;
use crate::place_set::PlaceSet;
use crate::reader::Reader;
use crate::tree::node::{FAN_OUT, Node, child_span};
use crate::tree::{NodeSource, Tree};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Entries that are remembered as bad. A store with more damage than this is reported as such, with the extents of these alone.
const MAX_BAD: usize = 4 << 20;
/// Ids that are named of what no pack is known to have held.
const MAX_NAMED: usize = 5;

const NEXT: &str = "restore the missing packs from a replica and check again. Without one: a backup with --full-read of what it touches stores again what is still on the sources";

/// Walks the trees of all points that could be opened. True when something that they need is damaged or missing.
pub(super) fn check_trees(
    reader: &Reader<'_>,
    packs: &Packs,
    points: &Points,
    options: &Options<'_>,
    (findings, report): (&mut Findings, &mut Report),
) -> Result<bool> {
    let chunk_bytes = reader.repository().config().chunk_bytes;
    let mut walk = Walk {
        reader,
        packs,
        options,
        chunk_bytes,
        seen: PlaceSet::default(),
        bad: HashMap::new(),
        is_lossy: false,
        lost: BTreeMap::new(),
        findings,
        report,
    };
    for (done, point) in points.open.iter().enumerate() {
        walk.options.at(Phase::Trees, done, points.open.len(), walk.report)?;
        for disk in &point.disks {
            let tree = disk.tree(chunk_bytes);
            if let Some(root) = tree.root {
                walk.subtree(disk, Spot { tree, id: root, level: tree.level(), start: 0 })?;
            }
        }
        walk.report.points_walked += 1;
    }
    walk.name_lost();
    if !walk.bad.is_empty() {
        let mut damage = Damage { walk: &walk, clean: PlaceSet::default() };
        let mut touched = Vec::new();
        for (done, point) in points.open.iter().enumerate() {
            options.at(Phase::Damage, done, points.open.len(), walk.report)?;
            for (finding, disks) in damage.of_disks(&point.disks)? {
                touched.push((finding, AffectedPoint { disks, ..AffectedPoint::whole(&point.at) }));
            }
        }
        touched.into_iter().for_each(|(finding, point)| walk.findings.affects(finding, point));
    }
    Ok(walk.is_lossy)
}

/// A node in its place in a tree.
#[derive(Clone, Copy)]
struct Spot {
    tree: Tree,
    id: NodeId,
    level: u8,
    /// First position it covers.
    start: u64,
}

impl Spot {
    /// Whether it covers the disk's end. Such a node is looked at for each disk: its last chunk may be short, nothing may follow.
    fn covers_the_end(&self) -> bool {
        self.start + child_span(self.level) * FAN_OUT as u64 >= self.tree.chunks
    }

    /// Existing children and the position where each starts.
    fn children(self, node: &Node) -> impl Iterator<Item = (u64, [u8; 32])> {
        let children = node.children.iter().enumerate();
        children.filter_map(move |(slot, child)| Some((self.start + slot as u64 * child_span(self.level), (*child)?)))
    }

    fn below(&self, start: u64, id: [u8; 32]) -> Self {
        Self { tree: self.tree, id: NodeId(id), level: self.level - 1, start }
    }
}

struct Walk<'c> {
    reader: &'c Reader<'c>,
    packs: &'c Packs,
    options: &'c Options<'c>,
    chunk_bytes: u32,
    seen: PlaceSet,
    /// What cannot be read, and the finding that says why.
    bad: HashMap<EntryId, FindingNumber>,
    /// Some of that is damage, and not a store that does not answer.
    is_lossy: bool,
    /// What no pack is known to have held, by kind: how many, and the first of them.
    lost: BTreeMap<&'static str, (u64, Vec<EntryId>)>,
    findings: &'c mut Findings,
    report: &'c mut Report,
}

impl Walk<'_> {
    fn subtree(&mut self, disk: &CheckedDisk, spot: Spot) -> Result<()> {
        let id: EntryId = spot.id.into();
        if self.bad.contains_key(&id) {
            return Ok(());
        }
        let Some(place) = self.locate(&id, PackKind::Tree, None)? else { return Ok(()) };
        if !spot.covers_the_end() && !self.seen.insert(place) {
            return Ok(());
        }
        self.options.stop_if_cancelled()?;
        let node = match self.reader.node(&spot.id, spot.level) {
            Err(error) if is_about_an_object(&error) => return self.node_fails(&id, place, error),
            other => other?,
        };
        self.report.nodes += 1;
        for (start, child) in spot.children(&node) {
            if start >= spot.tree.chunks {
                let error =
                    Error::damaged(format!("tree node {}", spot.id), "it references what lies behind the disk's end");
                return self.node_fails(&id, place, error);
            }
            match spot.level {
                0 => self.chunk(disk, start, EntryId(child))?,
                _ => self.subtree(disk, spot.below(start, child))?,
            }
        }
        Ok(())
    }

    fn chunk(&mut self, disk: &CheckedDisk, position: u64, id: EntryId) -> Result<()> {
        self.report.chunks += 1;
        if !self.bad.contains_key(&id) {
            let length = chunk_length(disk, self.chunk_bytes, position);
            self.locate(&id, PackKind::Data, Some(length))?;
        }
        Ok(())
    }

    /// The first place of an entry that is confirmed, of the right length and not known to be bad. Without one the entry is bad.
    fn locate(&mut self, id: &EntryId, kind: PackKind, length: Option<u32>) -> Result<Option<Place>> {
        let (mut culprit, mut is_silent) = (None, false);
        for place in self.reader.index().places(&id.key())? {
            let confirmed = match self.reader.confirm(id, kind, place) {
                Err(error) if is_about_an_object(&error) => {
                    is_silent = true;
                    None
                }
                other => other?,
            };
            let Some((pack, cached)) = confirmed else {
                let pack = self.reader.pack(place.pack)?.filter(|pack| pack.kind == kind);
                culprit =
                    culprit.or(pack.map(|pack| (pack.id, "it is missing or damaged, and recovery points need it")));
                continue;
            };
            let row = &cached.info().rows[place.entry as usize];
            if self.packs.is_bad(&pack.id, place.entry) {
                culprit = Some((pack.id, "recovery points need what is damaged"));
            } else if length.is_some_and(|length| length != row.plain_bytes) {
                culprit = Some((pack.id, "a chunk in it is used where another length belongs"));
            } else {
                return Ok(Some(place));
            }
        }
        let finding = match culprit {
            Some((pack, what)) => self.findings.error(&kind.key(&pack), what, NEXT),
            None => self.lose(id, kind),
        };
        self.is_lossy |= !is_silent;
        self.mark_bad(*id, finding);
        Ok(None)
    }

    fn node_fails(&mut self, id: &EntryId, place: Place, error: Error) -> Result<()> {
        self.is_lossy |= error.is_damage();
        let pack = self.reader.pack(place.pack)?;
        let object = pack.map_or_else(|| format!("tree node {id}"), |pack| PackKind::Tree.key(&pack.id));
        let what = as_finding(&object, error)?;
        let finding = self.findings.error(&object, &what, NEXT);
        self.mark_bad(*id, finding);
        Ok(())
    }

    fn mark_bad(&mut self, id: EntryId, finding: FindingNumber) {
        if self.bad.len() < MAX_BAD {
            self.bad.insert(id, finding);
        } else {
            let what =
                format!("more than {MAX_BAD} chunks and nodes cannot be read; not all that this touches is listed");
            self.findings.error("the store", &what, NEXT);
        }
    }

    /// Remembers an entry of which nobody knows in which pack it was.
    fn lose(&mut self, id: &EntryId, kind: PackKind) -> FindingNumber {
        let what = if kind == PackKind::Data { LOST_CHUNKS } else { LOST_NODES };
        let (count, named) = self.lost.entry(what).or_default();
        *count += 1;
        if named.len() < MAX_NAMED {
            named.push(*id);
        }
        self.findings.error(what, "", NEXT)
    }

    /// Says how many entries were lost, and some of them.
    fn name_lost(&mut self) {
        for (object, (count, named)) in &self.lost {
            let named: Vec<String> = named.iter().map(EntryId::to_string).collect();
            let what = format!("{count} are in no pack of the store, the first: {}", named.join(", "));
            self.findings.error(object, &what, NEXT);
        }
    }
}

const LOST_CHUNKS: &str = "chunks";
const LOST_NODES: &str = "tree nodes";

fn chunk_length(disk: &CheckedDisk, chunk_bytes: u32, position: u64) -> u32 {
    let start = position.saturating_mul(chunk_bytes.into());
    u32::try_from(disk.size_bytes.saturating_sub(start).min(chunk_bytes.into())).expect("at most a chunk")
}

/// The second walk: what the bad entries touch. Subtrees found clean are not entered again.
struct Damage<'w, 'c> {
    walk: &'w Walk<'c>,
    clean: PlaceSet,
}

type Touched = BTreeMap<FindingNumber, AffectedDisk>;

impl Damage<'_, '_> {
    fn of_disks(&mut self, disks: &[CheckedDisk]) -> Result<BTreeMap<FindingNumber, Vec<AffectedDisk>>> {
        let mut all: BTreeMap<FindingNumber, Vec<AffectedDisk>> = BTreeMap::new();
        for disk in disks {
            let tree = disk.tree(self.walk.chunk_bytes);
            let mut touched = Touched::new();
            if let Some(root) = tree.root {
                self.subtree(disk, Spot { tree, id: root, level: tree.level(), start: 0 }, &mut touched)?;
            }
            touched.into_iter().for_each(|(finding, disk)| all.entry(finding).or_default().push(disk));
        }
        Ok(all)
    }

    /// Collects what is touched below a node. True when something is.
    fn subtree(&mut self, disk: &CheckedDisk, spot: Spot, touched: &mut Touched) -> Result<bool> {
        let id: EntryId = spot.id.into();
        let span = child_span(spot.level).saturating_mul(FAN_OUT as u64);
        if let Some(finding) = self.walk.bad.get(&id) {
            self.touch(disk, *finding, (spot.start, span), touched);
            return Ok(true);
        }
        let place = self.first_place(&id)?;
        let end = spot.covers_the_end();
        if !end && place.is_some_and(|place| self.clean.contains(place)) {
            return Ok(false);
        }
        self.walk.options.stop_if_cancelled()?;
        let Some(node) = self.node(&spot)? else { return Ok(false) };
        let mut any = false;
        for (start, child) in spot.children(&node) {
            match (spot.level, self.walk.bad.get(&EntryId(child))) {
                (0, None) => {}
                (0, Some(finding)) => {
                    self.touch(disk, *finding, (start, 1), touched);
                    any = true;
                }
                _ => any |= self.subtree(disk, spot.below(start, child), touched)?,
            }
        }
        if let Some(place) = place.filter(|_| !any && !end) {
            self.clean.insert(place);
        }
        Ok(any)
    }

    fn first_place(&self, id: &EntryId) -> Result<Option<Place>> {
        Ok(self.walk.reader.index().places(&id.key())?.into_iter().next())
    }

    /// A node; `None` when it became unreadable since the first walk.
    fn node(&self, spot: &Spot) -> Result<Option<Arc<Node>>> {
        match self.walk.reader.node(&spot.id, spot.level) {
            Err(error) if is_about_an_object(&error) => Ok(None),
            other => other.map(Some),
        }
    }

    fn touch(&self, disk: &CheckedDisk, finding: FindingNumber, (start, chunks): (u64, u64), touched: &mut Touched) {
        let chunk_bytes = u64::from(self.walk.chunk_bytes);
        let from = start.saturating_mul(chunk_bytes).min(disk.size_bytes);
        let to = start.saturating_add(chunks).saturating_mul(chunk_bytes).min(disk.size_bytes);
        let part = touched.entry(finding).or_insert_with(|| AffectedDisk::of(&disk.name));
        part.add(from, to - from);
    }
}
