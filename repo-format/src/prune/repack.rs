//! Repacking: the live entries of mostly dead packs move to new packs, opened and checked on the way.
//!
//! Chunks get a new pack key; nodes stay sealed with their writer's map key. The operator signs, so every writer may rely on them.

use super::mark::Mark;
use crate::codec::{Encoder, Kind};
use crate::error::{Error, Result};
use crate::id::{EntryId, PackId, WriterId};
use crate::index::{Index, IndexedPack};
use crate::pack::{EntryDecoder, FooterRow, OpenPack, PackBuilder, PackInfo, PackKind};
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
    decoder: EntryDecoder,
    encoder: Encoder,
    written_bytes: u64,
}

impl<'a> Repacker<'a> {
    /// Needs the master secret.
    pub fn new(repo: &'a Repository, index: &'a Index, reader: &'a Reader<'a>, level: i32) -> Result<Self> {
        let signer = repo.keys().master_for("repacking")?.operator_signer();
        Ok(Self {
            repo,
            index,
            reader,
            signer,
            open: HashMap::new(),
            taken: HashSet::new(),
            decoder: EntryDecoder::new()?,
            encoder: Encoder::new(level)?,
            written_bytes: 0,
        })
    }

    /// Copies the live entries of a pack. On a damaged entry nothing of this pack counts as copied; the caller keeps the pack.
    pub fn take(&mut self, pack: &IndexedPack, mark: &Mark) -> Result<()> {
        let cached = self.reader.footer(pack.kind, pack.id)?;
        let CachedPack::Open(open) = &*cached else {
            return Err(Error::KeyNeeded("repacking needs the passphrase or key file".into()));
        };
        let mut bytes = self.repo.store().get(&pack.kind.key(&pack.id))?;
        let owner = (pack.kind == PackKind::Tree).then_some(pack.writer);
        let wanted: Vec<bool> = (0_u32..)
            .zip(&open.info.rows)
            .map(|(entry, row)| mark.is_live(pack, entry) && !self.taken.contains(&(owner, row.id)))
            .collect();
        let starts = (0_u32..).zip(&open.info.rows).filter(|(_, row)| row.kind != Kind::Continued as u8);
        let starts: Vec<u32> = starts.map(|(entry, _)| entry).collect();
        for (at, start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).map_or(wanted.len(), |next| *next as usize);
            self.take_frame(open, owner, *start, &wanted[*start as usize..end], &mut bytes)?;
        }
        Ok(())
    }

    /// Copies what is wanted of one frame. The pieces before the first that is not wanted stay as they are; what comes after it
    /// continued something that goes, and is encoded anew.
    fn take_frame(
        &mut self,
        open: &OpenPack,
        owner: Option<WriterId>,
        start: u32,
        wanted: &[bool],
        bytes: &mut [u8],
    ) -> Result<()> {
        self.encoder.end_frame();
        let needed = wanted.iter().rposition(|wanted| *wanted).map_or(0, |last| last + 1);
        let (mut plain, mut anew) = (Vec::new(), Vec::new());
        let mut is_whole = true;
        for (entry, wanted) in (start..).zip(&wanted[..needed]) {
            let row = &open.info.rows[entry as usize];
            let object = || open.info.header.kind.key(&open.id);
            let sealed = bytes
                .get_mut(row.extent())
                .ok_or_else(|| Error::damaged(object(), "it is shorter than its footer says"))?;
            let payload = open.open(entry, sealed, &mut self.decoder, &mut plain)?;
            if !wanted {
                is_whole = false;
                continue;
            }
            self.check(open.info.header.kind, row, &plain)?;
            if is_whole {
                let kind = Kind::from_number(row.kind)
                    .ok_or_else(|| Error::UnknownFeature(format!("pack entry kind {}", row.kind)))?;
                self.add(owner, row, kind, payload)?;
            } else {
                anew.clear();
                let kind = self.encoder.encode_behind(&plain, &mut anew)?;
                self.add(owner, row, kind, &anew)?;
            }
            // Only now: what could not be copied must be copied from another pack that has it.
            self.taken.insert((owner, row.id));
        }
        Ok(())
    }

    /// Proves that an entry is what its id says before the operator signs for it.
    fn check(&self, pack: PackKind, row: &FooterRow, plain: &[u8]) -> Result<()> {
        let ids = self.repo.keys().ids();
        let found: EntryId = match pack {
            PackKind::Data => ids.chunk(plain).into(),
            PackKind::Tree => ids.node(plain).into(),
        };
        if found == row.id {
            return Ok(());
        }
        Err(Error::damaged(format!("entry {}", row.id), "its content has another id"))
    }

    fn add(&mut self, owner: Option<WriterId>, row: &FooterRow, kind: Kind, payload: &[u8]) -> Result<()> {
        if kind != Kind::Continued && self.open.get(&owner).is_some_and(PackBuilder::is_full) {
            let full = self.open.remove(&owner).expect("found above");
            self.store(full)?;
        }
        let builder = match self.open.remove(&owner) {
            Some(builder) => builder,
            None => self.begin(owner)?,
        };
        self.open.entry(owner).or_insert(builder).add(row.id, kind, row.plain_bytes, payload)
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
        // The packs that this was copied from go by what is proved here.
        self.prove((info.header.kind, pack.id), &pack.bytes).map_err(|error| match error {
            error if error.is_damage() => Error::SelfCheck("repacking"),
            other => other,
        })?;
        self.repo.store().put(&info.header.kind.key(&pack.id), &pack.bytes)?;
        self.index.insert(&[(pack.id, info)])?;
        self.written_bytes += info.pack_bytes;
        Ok(())
    }

    /// Proves that every entry of a finished pack opens as what its id says.
    fn prove(&self, (kind, id): (PackKind, PackId), bytes: &[u8]) -> Result<()> {
        let info =
            PackInfo::footer_of(&kind.key(&id), kind, bytes, &self.repo.config().repository, self.repo.signers())?;
        let (open, mut bytes) = (OpenPack::new(id, info, self.repo.keys())?, bytes.to_vec());
        let (mut decoder, mut plain) = (EntryDecoder::new()?, Vec::new());
        for (number, row) in (0_u32..).zip(&open.info.rows) {
            open.open(number, &mut bytes[row.extent()], &mut decoder, &mut plain)?;
            self.check(kind, row, &plain)?;
        }
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
