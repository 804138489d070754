//! Reading: nodes and chunks by their ids, each checked against its id. Never trusts the index, only uses it to find packs.

use crate::error::{Error, Result};
use crate::id::{ChunkId, EntryId, EntryKey, NodeId, PackId};
use crate::index::{Index, IndexedPack, PackNumber, Place};
use crate::pack::{self, EntryDecoder, PackKind};
use crate::pack_cache::{CachedPack, PackCache};
use crate::repository::Repository;
use crate::tree::NodeSource;
use crate::tree::node::Node;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Nodes that are kept; at most 4 KiB each.
const MAX_NODES: usize = 4096;

/// Reads from one repository through one index. Shared by all threads.
pub struct Reader<'r> {
    repo: &'r Repository,
    index: &'r Index,
    packs: PackCache,
    numbers: Mutex<HashMap<PackNumber, IndexedPack>>,
    /// Packs that were seen to be there.
    there: Mutex<HashSet<PackNumber>>,
    nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
}

/// A chunk that is wanted, and where the caller wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The caller's position, given back with the chunk.
    pub position: u64,
    /// The chunk.
    pub chunk: ChunkId,
    /// Its length.
    pub length: u32,
}

/// Neighbouring entries of one pack that are read at once.
pub struct ReadRun {
    pack: PackId,
    /// The footer that the plan was made from.
    cached: Arc<CachedPack>,
    from: u32,
    bytes: usize,
    /// Entry number and what it is wanted for, ascending.
    entries: Vec<(u32, Wanted)>,
}

impl ReadRun {
    /// Bytes that will be read.
    pub fn stored_bytes(&self) -> usize {
        self.bytes
    }
}

/// A pack and which of its entries are wanted.
type WantedOfPack = (IndexedPack, Arc<CachedPack>, Vec<(u32, Wanted)>);

/// Longest single read.
const MAX_RUN_BYTES: usize = 8 << 20;
/// A gap up to this length is read over.
const MAX_GAP_BYTES: u32 = 256 << 10;

impl<'r> Reader<'r> {
    /// A reader. The index should be reconciled with the store, unless the repository has an index elsewhere.
    pub fn new(repo: &'r Repository, index: &'r Index) -> Self {
        Self {
            repo,
            index,
            packs: PackCache::default(),
            numbers: Mutex::default(),
            there: Mutex::default(),
            nodes: Mutex::default(),
        }
    }

    /// Brings into the local index what is known elsewhere of these entries, by one question for all of them. Without an
    /// index elsewhere it does nothing.
    ///
    /// A place counts only when its pack is there. Nobody tells this index of packs that prune has emptied: what it has of them is
    /// forgotten here, and asked for anew.
    pub fn learn(&self, kind: PackKind, ids: &[EntryId]) -> Result<()> {
        if self.repo.elsewhere().is_none() {
            return Ok(());
        }
        let mut unknown = Vec::new();
        for id in ids {
            let key = id.key();
            if !self.has_place(&key, kind)? {
                unknown.push(key);
            }
        }
        self.ask(kind, &unknown)
    }

    /// Whether the index knows a place of an entry in a pack that can be used.
    fn has_place(&self, key: &EntryKey, kind: PackKind) -> Result<bool> {
        for place in self.index.places(key)? {
            if self.pack(place.pack)?.filter(|pack| pack.kind == kind).map_or(Ok(false), |pack| self.is_there(&pack))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a pack exists and its footer is sound; one that is gone leaves the index. Looked at once in the life of this reader.
    fn is_there(&self, pack: &IndexedPack) -> Result<bool> {
        if self.there.lock().expect("no panic while held").contains(&pack.number) {
            return Ok(true);
        }
        match self.packs.get(self.repo, pack.kind, pack.id) {
            Ok(_) => {
                self.there.lock().expect("no panic while held").insert(pack.number);
                Ok(true)
            }
            Err(Error::Missing { .. }) => {
                self.index.remove(&[pack.number])?;
                self.numbers.lock().expect("no panic while held").remove(&pack.number);
                Ok(false)
            }
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the index elsewhere and enters the packs it names.
    fn ask(&self, kind: PackKind, keys: &[EntryKey]) -> Result<()> {
        let Some(elsewhere) = self.repo.elsewhere().filter(|_| !keys.is_empty()) else { return Ok(()) };
        for id in elsewhere.packs_with(kind, keys)? {
            match pack::load(self.repo.store(), kind, &id, &self.repo.config().repository, self.repo.signers()) {
                Ok(info) => self.index.insert(&[(id, &info)])?,
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The repository.
    pub fn repository(&self) -> &'r Repository {
        self.repo
    }

    /// The index.
    pub fn index(&self) -> &'r Index {
        self.index
    }

    /// A pack of the index by its number; `None` when it was removed meanwhile.
    pub fn pack(&self, number: PackNumber) -> Result<Option<IndexedPack>> {
        if let Some(pack) = self.numbers.lock().expect("no panic while held").get(&number) {
            return Ok(Some(pack.clone()));
        }
        let pack = self.index.pack(number)?;
        if let Some(pack) = &pack {
            self.numbers.lock().expect("no panic while held").insert(number, pack.clone());
        }
        Ok(pack)
    }

    /// Header and footer of a pack, verified; with its key where the process has it.
    pub fn footer(&self, kind: PackKind, pack: PackId) -> Result<Arc<CachedPack>> {
        self.packs.get(self.repo, kind, pack)
    }

    /// Confirms in the pack's own footer that an entry lies where the index says. `None` when it does not.
    pub fn confirm(
        &self,
        id: &EntryId,
        kind: PackKind,
        place: Place,
    ) -> Result<Option<(IndexedPack, Arc<CachedPack>)>> {
        let Some(pack) = self.pack(place.pack)?.filter(|pack| pack.kind == kind) else { return Ok(None) };
        let cached = match self.packs.get(self.repo, kind, pack.id) {
            Err(error) if error.is_damage() => return Ok(None),
            other => other?,
        };
        let confirmed = cached.info().rows.get(place.entry as usize).is_some_and(|row| row.id == *id);
        Ok(confirmed.then_some((pack, cached)))
    }

    /// All confirmed places of an entry.
    fn places(&self, id: &EntryId, kind: PackKind) -> Result<Vec<(Place, IndexedPack, Arc<CachedPack>)>> {
        self.learn(kind, std::slice::from_ref(id))?;
        let key: EntryKey = id.key();
        let mut found = Vec::new();
        for place in self.index.places(&key)? {
            if let Some((pack, cached)) = self.confirm(id, kind, place)? {
                found.push((place, pack, cached));
            }
        }
        Ok(found)
    }

    /// Reads and opens one entry, trying each of its places until one is sound. When none is, there may be a better copy that only an index
    /// elsewhere knows.
    fn read_entry(&self, id: &EntryId, kind: PackKind, sound: &dyn Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let places = self.places(id, kind)?;
        let tried: Vec<Place> = places.iter().map(|(place, ..)| *place).collect();
        match self.read_one_of(id, kind, places, sound) {
            Err(error) if error.is_damage() && self.repo.elsewhere().is_some() => {
                self.ask(kind, &[id.key()])?;
                let mut others = self.places(id, kind)?;
                others.retain(|(place, ..)| !tried.contains(place));
                if others.is_empty() { Err(error) } else { self.read_one_of(id, kind, others, sound) }
            }
            read => read,
        }
    }

    fn read_one_of(
        &self,
        id: &EntryId,
        kind: PackKind,
        places: Vec<(Place, IndexedPack, Arc<CachedPack>)>,
        sound: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>> {
        let what = if kind == PackKind::Data { "chunk" } else { "tree node" };
        let mut error = Error::Missing { key: format!("{what} {id}") };
        let mut decoder = EntryDecoder::new()?;
        for (place, pack, cached) in places {
            let CachedPack::Open(open) = &*cached else {
                error = Error::KeyNeeded(format!("reading {what} {id} needs the passphrase or key file"));
                continue;
            };
            let first = open.info.frame_start(place.entry);
            let from = open.info.rows[first as usize].offset;
            let mut sealed = vec![0; open.info.rows[place.entry as usize].extent().end - from as usize];
            let mut plain = Vec::new();
            let read = self.repo.store().read_at(&kind.key(&pack.id), from.into(), &mut sealed).and_then(|()| {
                (first..=place.entry).try_for_each(|number| {
                    let extent = within(open.info.rows[number as usize].extent(), from);
                    open.open(number, &mut sealed[extent], &mut decoder, &mut plain).map(|_| ())
                })
            });
            match read {
                Ok(()) if sound(&plain) => return Ok(plain),
                Ok(()) => {
                    error = Error::damaged(kind.key(&pack.id), format!("what opens as {what} {id} has another id"))
                }
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// Reads one chunk. `length` is its length by the disk's size.
    pub fn chunk(&self, chunk: &ChunkId, length: u32) -> Result<Vec<u8>> {
        let ids = self.repo.keys().ids();
        self.read_entry(&(*chunk).into(), PackKind::Data, &|plain| {
            plain.len() == length as usize && ids.chunk(plain) == *chunk
        })
    }

    /// Reads a node's bytes, whatever its level.
    pub fn encoded_node(&self, id: &NodeId) -> Result<Vec<u8>> {
        let ids = self.repo.keys().ids();
        self.read_entry(&(*id).into(), PackKind::Tree, &|plain| ids.node(plain) == *id)
    }

    /// Groups wanted chunks into reads, in the order in which they lie in the packs. Chunks of which no place is known are an error.
    pub fn plan(&self, wanted: &[Wanted]) -> Result<Vec<ReadRun>> {
        self.learn(PackKind::Data, &wanted.iter().map(|want| want.chunk.into()).collect::<Vec<_>>())?;
        let mut by_pack: BTreeMap<PackNumber, WantedOfPack> = BTreeMap::new();
        let mut last: Option<(PackNumber, u32)> = None;
        for want in wanted {
            let id: EntryId = want.chunk.into();
            // Neighbours on the disk are mostly neighbours in a pack: then its footer answers, without a question to the index.
            let next = last.and_then(|(pack, entry)| {
                let (_, cached, entries) = by_pack.get_mut(&pack)?;
                (cached.info().rows.get(entry as usize + 1)?.id == id).then_some((pack, entry + 1, entries))
            });
            if let Some((pack, entry, entries)) = next {
                entries.push((entry, *want));
                last = Some((pack, entry));
                continue;
            }
            let (place, pack, cached) = self
                .places(&id, PackKind::Data)?
                .into_iter()
                .next()
                .ok_or_else(|| Error::Missing { key: format!("chunk {}", want.chunk) })?;
            by_pack.entry(place.pack).or_insert_with(|| (pack, cached, Vec::new())).2.push((place.entry, *want));
            last = Some((place.pack, place.entry));
        }
        let mut runs = Vec::new();
        for (_, (pack, cached, mut entries)) in by_pack {
            entries.sort_unstable_by_key(|(entry, want)| (*entry, want.position));
            split_runs(pack.id, &cached, entries, &mut runs);
        }
        Ok(runs)
    }

    /// Reads a run and gives each wanted chunk, checked, to `each`. A chunk that fails is tried at its other places.
    pub fn read_run(
        &self,
        run: &ReadRun,
        (decoder, buffer): (&mut EntryDecoder, &mut Vec<u8>),
        each: &mut dyn FnMut(Wanted, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let CachedPack::Open(open) = &*run.cached else {
            return Err(Error::KeyNeeded("reading stored data needs the repository's passphrase or key file".into()));
        };
        buffer.resize(run.bytes, 0);
        let read = self.repo.store().read_at(&PackKind::Data.key(&run.pack), run.from.into(), buffer);
        let ids = self.repo.keys().ids();
        let mut plain = Vec::new();
        let mut opened = None;
        for (entry, want) in &run.entries {
            if opened != Some(*entry) {
                let sound = read.is_ok()
                    && (open.first_to_open(*entry, decoder)..=*entry).all(|number| {
                        let extent = within(open.info.rows[number as usize].extent(), run.from);
                        open.open(number, &mut buffer[extent], decoder, &mut plain).is_ok()
                    })
                    && ids.chunk(&plain) == want.chunk;
                if !sound {
                    plain = self.chunk(&want.chunk, want.length)?;
                }
                opened = Some(*entry);
            }
            if plain.len() != want.length as usize {
                let what = format!("it is {} bytes long where {} belong", plain.len(), want.length);
                return Err(Error::damaged(format!("chunk {}", want.chunk), what));
            }
            each(*want, &plain)?;
        }
        Ok(())
    }
}

/// A place in the pack as a place in what was read from `from` on.
fn within(extent: std::ops::Range<usize>, from: u32) -> std::ops::Range<usize> {
    extent.start - from as usize..extent.end - from as usize
}

fn split_runs(pack: PackId, cached: &Arc<CachedPack>, entries: Vec<(u32, Wanted)>, runs: &mut Vec<ReadRun>) {
    let mut end = 0;
    let first_new = runs.len();
    for (entry, want) in entries {
        let info = cached.info();
        let start = info.rows[info.frame_start(entry) as usize].extent().start;
        let extent = start..info.rows[entry as usize].extent().end;
        let joins = runs.len() > first_new
            && runs.last().is_some_and(|run| {
                extent.start.saturating_sub(end) <= MAX_GAP_BYTES as usize
                    && extent.end - run.from as usize <= MAX_RUN_BYTES
            });
        if !joins {
            let from = u32::try_from(extent.start).expect("packs are far below 4 GiB");
            runs.push(ReadRun { pack, cached: cached.clone(), from, bytes: 0, entries: Vec::new() });
        }
        let run = runs.last_mut().expect("pushed above when there was none");
        run.bytes = extent.end - run.from as usize;
        run.entries.push((entry, want));
        end = extent.end;
    }
}

impl NodeSource for Reader<'_> {
    fn node(&self, id: &NodeId, level: u8) -> Result<Arc<Node>> {
        let cached = self.nodes.lock().expect("no panic while held").get(id).cloned();
        if let Some(node) = cached.filter(|node| node.level == level) {
            return Ok(node);
        }
        let encoded = self.encoded_node(id)?;
        let node = Arc::new(Node::decode(&format!("tree node {id}"), level, &encoded)?);
        let mut nodes = self.nodes.lock().expect("no panic while held");
        if nodes.len() >= MAX_NODES {
            // Walks go forward: what was read long ago is not read again. Starting anew is as good as any order.
            nodes.clear();
        }
        nodes.insert(*id, node.clone());
        Ok(node)
    }
}
