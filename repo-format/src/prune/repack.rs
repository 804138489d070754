//! Repacking: the live entries of mostly dead packs move to new packs, opened and checked on the way.
//!
//! Chunks get a new pack key; nodes stay sealed with their writer's map key. The operator signs, so every writer may rely on them.

use super::mark::Mark;
use crate::codec::{Decoder, Kind};
use crate::error::{Error, Result};
use crate::id::{EntryId, WriterId};
use crate::index::{Index, IndexedPack};
use crate::pack::{PackBuilder, PackInfo, PackKind};
use crate::pack_cache::CachedPack;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::sign::Signer;
use std::collections::{HashMap, HashSet};

/// Collects live entries, in the order of the packs they come from.
pub struct Repacker<'a> {
    repo: &'a Repository,
    index: &'a Index,
    reader: &'a Reader<'a>,
    signer: Signer,
    /// One open pack for chunks, one for the nodes of each writer.
    open: HashMap<Option<WriterId>, PackBuilder>,
    taken: HashSet<(Option<WriterId>, EntryId)>,
    decoder: Decoder,
    written_bytes: u64,
}

impl<'a> Repacker<'a> {
    /// Needs the master secret.
    pub fn new(repo: &'a Repository, index: &'a Index, reader: &'a Reader<'a>) -> Result<Self> {
        let signer = repo.keys().master_for("repacking")?.operator_signer();
        Ok(Self {
            repo,
            index,
            reader,
            signer,
            open: HashMap::new(),
            taken: HashSet::new(),
            decoder: Decoder::new()?,
            written_bytes: 0,
        })
    }

    /// Copies the live entries of a pack. On a damaged entry nothing of this pack counts as copied; the caller keeps the pack.
    pub fn take(&mut self, pack: &IndexedPack, mark: &Mark) -> Result<()> {
        let cached = self.reader.footer(pack.kind, pack.id)?;
        let CachedPack::Open(open) = &*cached else {
            return Err(Error::KeyNeeded("repacking needs the passphrase or key file".into()));
        };
        let bytes = self.repo.store().get(&pack.kind.key(&pack.id))?;
        let owner = (pack.kind == PackKind::Tree).then_some(pack.writer);
        for (entry, row) in (0_u32..).zip(&open.info.rows).filter(|(entry, _)| mark.is_live(pack, *entry)) {
            let sealed = bytes
                .get(row.extent())
                .ok_or_else(|| Error::damaged(pack.kind.key(&pack.id), "it is shorter than its footer says"))?;
            let mut sealed = sealed.to_vec();
            let payload = open.payload(entry, &mut sealed)?;
            self.check(pack.kind, &row.id, row.kind, payload, row.plain_bytes)?;
            if self.taken.insert((owner, row.id)) {
                let kind = Kind::from_number(row.kind)
                    .ok_or_else(|| Error::UnknownFeature(format!("pack entry kind {}", row.kind)))?;
                let payload = payload.to_vec();
                self.add(owner, row.id, kind, row.plain_bytes, &payload)?;
            }
        }
        Ok(())
    }

    /// Proves that a payload is what its id says before the operator signs for it.
    fn check(&mut self, pack: PackKind, id: &EntryId, kind: u8, payload: &[u8], plain_bytes: u32) -> Result<()> {
        let kind = Kind::from_number(kind).ok_or_else(|| Error::UnknownFeature(format!("pack entry kind {kind}")))?;
        let mut plain = vec![0; plain_bytes as usize];
        self.decoder.decode(kind, payload, &mut plain)?;
        let ids = self.repo.keys().ids();
        let found: EntryId = match pack {
            PackKind::Data => ids.chunk(&plain).into(),
            PackKind::Tree => ids.node(&plain).into(),
        };
        if found == *id { Ok(()) } else { Err(Error::damaged(format!("entry {id}"), "its content has another id")) }
    }

    fn add(
        &mut self,
        owner: Option<WriterId>,
        id: EntryId,
        kind: Kind,
        plain_bytes: u32,
        payload: &[u8],
    ) -> Result<()> {
        if self.open.get(&owner).is_some_and(PackBuilder::is_full) {
            let full = self.open.remove(&owner).expect("found above");
            self.store(full)?;
        }
        let builder = match self.open.remove(&owner) {
            Some(builder) => builder,
            None => self.begin(owner)?,
        };
        self.open.entry(owner).or_insert(builder).add(id, kind, plain_bytes, payload)
    }

    fn begin(&self, owner: Option<WriterId>) -> Result<PackBuilder> {
        let (config, entropy) = (self.repo.config(), self.repo.entropy());
        let Some(writer) = owner else {
            let by = (config.builtin_writer, WriterId::OPERATOR);
            return PackBuilder::data(config.repository, by, &config.public()?, config.chunk_bytes, entropy);
        };
        let map = self.repo.keys().map_key(writer);
        let map = map.ok_or_else(|| Error::KeyNeeded("repacking trees needs the passphrase or key file".into()))?;
        Ok(PackBuilder::tree(config.repository, (writer, WriterId::OPERATOR), &map, entropy))
    }

    fn store(&mut self, builder: PackBuilder) -> Result<()> {
        let pack = builder.finish(&self.signer);
        let info: &PackInfo = &pack.info;
        self.repo.store().put(&info.header.kind.key(&pack.id), &pack.bytes)?;
        self.index.insert(&[(pack.id, info)])?;
        self.written_bytes += info.pack_bytes;
        Ok(())
    }

    /// Makes the last packs durable; only now may the old ones be condemned. Returns the bytes written.
    pub fn finish(mut self) -> Result<u64> {
        for (_, builder) in std::mem::take(&mut self.open) {
            self.store(builder)?;
        }
        Ok(self.written_bytes)
    }
}
