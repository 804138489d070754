//! The mark: one bit for each entry of each pack, set when a recovery point or a lease needs it.
//!
//! A bit is only set at a place that the pack's own footer confirms. An index that is wrong can make the mark fail; it cannot make it
//! forget something.

use crate::condemned;
use crate::error::{Error, Result};
use crate::id::{ChunkId, EntryId, NodeId, PackId, WriterId};
use crate::index::{IndexedPack, Place};
use crate::lease::PinnedRoot;
use crate::manifest::PointKey;
use crate::pack::PackKind;
use crate::place_set::PlaceSet;
use crate::reader::Reader;
use crate::tree::NodeSource;
use std::collections::HashSet;

/// Which entries are live.
pub struct Mark {
    live: PlaceSet,
    /// Nodes whose children were marked on behalf of a writer that may rely on that place. Being live is not enough: a place that is kept
    /// only because nothing better was found for another writer says nothing about what this one needs below it.
    walked: PlaceSet,
    /// Nodes that lie only where their writer may not rely on, and were walked for that writer.
    walked_for: HashSet<(WriterId, EntryId)>,
    /// Packs with something live, by name: another process may give a pack of the index another number.
    needed: HashSet<PackId>,
    condemned: HashSet<PackId>,
    verified: HashSet<PackId>,
}

/// What the caller does while a tree is marked.
pub struct Around<'a> {
    /// Called before each node that has nodes below it, so often enough to keep a lease alive in a disk of any size. An error stops the mark.
    pub go_on: &'a dyn Fn() -> Result<()>,
    /// Hears of each part of the tree that cannot be read; what it returns as an error stops the mark.
    pub unreadable: &'a mut dyn FnMut(Error) -> Result<()>,
}

impl Mark {
    /// An empty mark.
    pub fn new(reader: &Reader<'_>) -> Result<Self> {
        let repo = reader.repository();
        let listed = condemned::list(repo)?.into_iter().flat_map(|list| list.packs).map(|pack| pack.pack);
        // A damaged pack is the last choice, like one that is about to go.
        let condemned = listed.chain(condemned::damaged(repo.records())?).collect();
        Ok(Self {
            live: PlaceSet::default(),
            walked: PlaceSet::default(),
            walked_for: HashSet::new(),
            needed: HashSet::new(),
            condemned,
            verified: condemned::verified(repo.records())?,
        })
    }

    /// Marks the trees of a point. A part that cannot be read stops it.
    pub fn point(&mut self, reader: &Reader<'_>, at: PointKey, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut around = Around { go_on, unreadable: &mut Err };
        let (stored, manifest) = reader.repository().open_point(at)?;
        for disk in &manifest.disks {
            let tree = disk.tree(manifest.chunk_bytes);
            if let Some(root) = tree.root {
                self.node(reader, (&root, tree.level()), stored.writer, &mut around)?;
            }
        }
        Ok(())
    }

    /// Marks a tree that a lease pins. After all points: where a point shares a part of it, that part must be whole.
    pub fn pinned(&mut self, reader: &Reader<'_>, pin: &PinnedRoot, around: &mut Around<'_>) -> Result<()> {
        self.node(reader, (&pin.root, pin.level), pin.writer, around)
    }

    fn node(
        &mut self,
        reader: &Reader<'_>,
        (id, level): (&NodeId, u8),
        writer: WriterId,
        around: &mut Around<'_>,
    ) -> Result<()> {
        match self.entry(reader, &(*id).into(), PackKind::Tree, writer) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return tell(error, around),
        }
        if level > 0 {
            (around.go_on)()?;
        }
        let node = match reader.node(id, level) {
            Ok(node) => node,
            Err(error) => return tell(error, around),
        };
        for child in node.children.iter().flatten() {
            match level {
                0 => {
                    if let Err(error) = self.entry(reader, &ChunkId(*child).into(), PackKind::Data, writer) {
                        tell(error, around)?;
                    }
                }
                level => self.node(reader, (&NodeId(*child), level - 1), writer, around)?,
            }
        }
        Ok(())
    }

    /// Marks one place of an entry that `writer`'s points need. False when one was marked already.
    fn entry(&mut self, reader: &Reader<'_>, id: &EntryId, kind: PackKind, writer: WriterId) -> Result<bool> {
        let mut places = Vec::new();
        for place in reader.index().places(&id.key())? {
            if let Some((pack, _)) = reader.confirm(id, kind, place)? {
                places.push((place, pack));
            }
        }
        if places.is_empty() {
            let what = if kind == PackKind::Data { "chunk" } else { "tree node" };
            return Err(Error::Missing { key: format!("{what} {id}") });
        }
        let (mut trusted, others): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(_, pack)| self.is_good_for(reader, pack, writer));
        let done = if kind == PackKind::Tree { &self.walked } else { &self.live };
        if trusted.iter().any(|(place, _)| done.contains(*place)) {
            return Ok(false);
        }
        // The same choice in every process, whatever its index numbers are; a place that is not condemned first.
        trusted.sort_by_key(|(_, pack)| (self.condemned.contains(&pack.id), pack.id));
        if let Some((place, pack)) = trusted.first() {
            self.needed.insert(pack.id);
            let new = self.live.insert(*place);
            return Ok(if kind == PackKind::Tree { self.walked.insert(*place) } else { new });
        }
        // Nothing that can be relied on: keep all there is. What lies below a node is marked for this writer all the same.
        self.needed.extend(others.iter().map(|(_, pack)| pack.id));
        let new = others.iter().fold(false, |new, (place, _)| self.live.insert(*place) || new);
        Ok(if kind == PackKind::Tree { self.walked_for.insert((writer, *id)) } else { new })
    }

    fn is_good_for(&self, reader: &Reader<'_>, pack: &IndexedPack, writer: WriterId) -> bool {
        match pack.kind {
            PackKind::Tree => pack.writer == writer,
            PackKind::Data => {
                pack.signer == WriterId::OPERATOR
                    || self.verified.contains(&pack.id)
                    || reader.repository().signers().trusts(writer, pack.writer)
            }
        }
    }

    /// Whether an entry is live.
    pub fn is_live(&self, pack: &IndexedPack, entry: u32) -> bool {
        self.live.contains(Place { pack: pack.number, entry })
    }

    /// Whether something live was seen in the pack of this name.
    pub fn needs(&self, pack: &PackId) -> bool {
        self.needed.contains(pack)
    }

    /// Bytes of a pack's live entries; of a pack without dead ones its whole length, of a dead one zero.
    pub fn live_bytes(&self, reader: &Reader<'_>, pack: &IndexedPack) -> Result<u64> {
        match self.live.count_in(pack.number) {
            // Needed, and under another number than when it was marked: left alone.
            0 if self.needs(&pack.id) => Ok(pack.pack_bytes),
            0 => Ok(0),
            all if all == pack.entry_count => Ok(pack.pack_bytes),
            _ => {
                let cached = reader.footer(pack.kind, pack.id)?;
                let rows = (0_u32..).zip(&cached.info().rows);
                Ok(rows
                    .filter(|(entry, _)| self.is_live(pack, *entry))
                    .map(|(_, row)| u64::from(row.stored_bytes))
                    .sum())
            }
        }
    }
}

/// Damage is told; a store that fails stops the mark.
fn tell(error: Error, around: &mut Around<'_>) -> Result<()> {
    if error.is_damage() { (around.unreadable)(error) } else { Err(error) }
}
