//! Reading packs: the verified footer, and entries opened with the pack's key.

use super::{
    FooterRow, HEADER_BYTES, MAX_ENTRIES, MAX_PACK_BYTES, MAX_PLAIN_BYTES, PackHeader, PackKind, ROW_BYTES,
    TRAILER_BYTES, TRAILER_MAGIC, entry_aad, sealed_hash,
};
use crate::codec::{Decoder, FrameLength, Kind, MAX_FRAME_BYTES};
use crate::error::{Error, Result};
use crate::id::{PackId, RepositoryId};
use crate::keys::Keys;
use crate::seal::{Counter, ObjectKey, TAG_BYTES};
use crate::sign::{SIGNATURE_BYTES, Signers};
use crate::store::Store;

/// Header and footer of a pack, verified.
pub struct PackInfo {
    /// Header.
    pub header: PackHeader,
    /// Entries, in the order in which they stand.
    pub rows: Vec<FooterRow>,
    /// Length of the whole pack.
    pub pack_bytes: u64,
    /// Whether its signature fits. False when there is no sound record of its signer: what is read from it is proved by its ids alone.
    pub is_verified: bool,
}

/// What is read first from a pack's end: enough for the footers of most packs.
const TAIL_GUESS_BYTES: u64 = 72 << 10;

/// Loads and verifies header and footer of a pack in the store.
pub fn load(
    store: &dyn Store,
    kind: PackKind,
    pack: &PackId,
    repository: &RepositoryId,
    signers: &Signers,
) -> Result<PackInfo> {
    let key = kind.key(pack);
    let size = store.size(&key)?.ok_or_else(|| Error::Missing { key: key.clone() })?;
    load_from(&key, kind, size, &mut |offset, buf| store.read_at(&key, offset, buf), (repository, signers))
}

/// The same of a pack of `size` bytes, wherever they are; `key` names it in errors.
pub(crate) fn load_from(
    key: &str,
    kind: PackKind,
    size: u64,
    read_at: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
    (repository, signers): (&RepositoryId, &Signers),
) -> Result<PackInfo> {
    let least = (HEADER_BYTES + TRAILER_BYTES) as u64;
    if !(least..=MAX_PACK_BYTES).contains(&size) {
        return Err(Error::damaged(key, format!("a pack cannot be {size} bytes long")));
    }
    let mut header = [0; HEADER_BYTES];
    read_at(0, &mut header)?;
    let mut read_tail = |tail_bytes: u64| {
        let mut tail = vec![0; usize::try_from(tail_bytes).expect("bounded by the pack's length")];
        read_at(size - tail_bytes, &mut tail).map(|()| tail)
    };
    let tail_bytes = TAIL_GUESS_BYTES.min(size - HEADER_BYTES as u64);
    let mut tail = read_tail(tail_bytes)?;
    let wanted = table_bytes(key, &tail, size)? + TRAILER_BYTES as u64;
    if wanted > tail_bytes {
        tail = read_tail(wanted)?;
    }
    let wanted = usize::try_from(wanted).expect("bounded by the pack's length");
    let footer = &tail[tail.len() - wanted..];
    PackInfo::decode(key, kind, &header, footer, size)?.verified(key, &header, footer, repository, signers)
}

/// Length of the table, from the trailer at the end of `tail`, checked against the pack's length.
fn table_bytes(key: &str, tail: &[u8], size: u64) -> Result<u64> {
    let trailer = &tail[tail.len() - TRAILER_BYTES..];
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| trailer[at + i]));
    let (count, table_bytes) = (number(8), u64::from(number(12)));
    let pack_bytes = u64::from_le_bytes(std::array::from_fn(|i| trailer[16 + i]));
    let sound = &trailer[..8] == TRAILER_MAGIC
        && count <= MAX_ENTRIES
        && table_bytes == u64::from(count) * ROW_BYTES as u64
        && pack_bytes == size
        && table_bytes + (HEADER_BYTES + TRAILER_BYTES) as u64 <= size
        && trailer[24..32] == [0; 8];
    if sound { Ok(table_bytes) } else { Err(Error::damaged(key, "its trailer is not a pack's, or not of this length")) }
}

impl PackInfo {
    /// Decodes header and footer (table and trailer). Checks every number, not yet checksum and signature.
    fn decode(key: &str, kind: PackKind, header: &[u8; HEADER_BYTES], footer: &[u8], size: u64) -> Result<Self> {
        table_bytes(key, footer, size)?;
        let header = PackHeader::decode(key, kind, header)?;
        let (table, _) = footer[..footer.len() - TRAILER_BYTES].as_chunks::<ROW_BYTES>();
        let mut rows = Vec::with_capacity(table.len());
        let mut next = HEADER_BYTES as u64;
        let limit = MAX_PLAIN_BYTES + u32::try_from(TAG_BYTES).expect("16");
        let mut frame: Option<FrameLength> = None;
        for (number, bytes) in table.iter().enumerate() {
            let row = FooterRow::decode(bytes).filter(|row| {
                u64::from(row.offset) == next
                    && row.plain_bytes > 0
                    && row.plain_bytes <= MAX_PLAIN_BYTES
                    && (16..=limit).contains(&row.stored_bytes)
            });
            let row = row.ok_or_else(|| Error::damaged(key, format!("row {number} of its table is impossible")))?;
            frame = match Kind::from_number(row.kind) {
                Some(Kind::Zstd) => FrameLength::default().with(row.plain_bytes, MAX_FRAME_BYTES),
                Some(Kind::Continued) => {
                    let longer = frame.and_then(|frame| frame.with(row.plain_bytes, MAX_FRAME_BYTES));
                    let impossible = || Error::damaged(key, format!("row {number} of its table continues no frame"));
                    Some(longer.ok_or_else(impossible)?)
                }
                Some(Kind::Raw) | None => None,
            };
            next += u64::from(row.stored_bytes);
            rows.push(row);
        }
        if next + footer.len() as u64 != size {
            return Err(Error::damaged(key, "its entries do not fill it"));
        }
        Ok(Self { header, rows, pack_bytes: size, is_verified: false })
    }

    /// Checks checksum and signature. Reading goes on when the signer is not known: whoever relies on a pack for what is to be
    /// stored asks who stored it, and trusts no unknown writer.
    fn verified(
        self,
        key: &str,
        header: &[u8],
        footer: &[u8],
        repository: &RepositoryId,
        signers: &Signers,
    ) -> Result<Self> {
        let digest = |end: usize| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(header).update(&footer[..footer.len() - end]);
            hasher.finalize()
        };
        if digest(32).as_bytes() != &footer[footer.len() - 32..] {
            return Err(Error::damaged(key, "the checksum of its footer does not fit"));
        }
        if self.header.repository != *repository {
            let found = self.header.repository.to_string();
            return Err(Error::ForeignRepository { object: key.into(), found, expected: repository.to_string() });
        }
        if self.header.signer != self.header.writer && self.header.signer != crate::id::WriterId::OPERATOR {
            return Err(Error::damaged(key, "it is signed by another than its writer"));
        }
        let signature = &footer[footer.len() - 32 - SIGNATURE_BYTES..footer.len() - 32];
        match signers.verify(key, self.header.signer, &digest(32 + SIGNATURE_BYTES), signature) {
            Err(Error::UnknownSigner { .. }) => Ok(self),
            other => other.map(|()| Self { is_verified: true, ..self }),
        }
    }

    /// From where on [`load`] may read of the pack's end.
    pub(crate) fn footer_guess_from(&self) -> u64 {
        let footer_bytes = self.rows.len() as u64 * ROW_BYTES as u64 + TRAILER_BYTES as u64;
        self.pack_bytes.saturating_sub(footer_bytes.max(TAIL_GUESS_BYTES))
    }

    /// The entry with which the frame of entry `number` begins; the entry itself when it stands alone.
    pub fn frame_start(&self, number: u32) -> u32 {
        let rows = self.rows.get(..=number as usize).unwrap_or(&[]);
        let continued = rows.iter().rev().take_while(|row| row.kind == Kind::Continued as u8).count();
        number - u32::try_from(continued).expect("bounded by MAX_ENTRIES")
    }

    /// Loads a pack from its whole bytes, and checks that they have the name and that every sealed entry has its hash.
    pub fn from_bytes(
        kind: PackKind,
        pack: &PackId,
        bytes: &[u8],
        repository: &RepositoryId,
        signers: &Signers,
    ) -> Result<Self> {
        let key = kind.key(pack);
        if blake3::hash(bytes).as_bytes() != &pack.0 {
            return Err(Error::damaged(key, "its bytes do not have the hash that is its name"));
        }
        let info = Self::footer_of(&key, kind, bytes, repository, signers)?;
        for row in &info.rows {
            if sealed_hash(&bytes[row.extent()]) != row.sealed_hash {
                return Err(Error::damaged(
                    &key,
                    format!("the sealed bytes of {} do not have the hash of the footer", row.id),
                ));
            }
        }
        Ok(info)
    }

    /// Header and footer in a pack's whole bytes, verified. Says nothing of its name and its entries.
    pub(crate) fn footer_of(
        key: &str,
        kind: PackKind,
        bytes: &[u8],
        repository: &RepositoryId,
        signers: &Signers,
    ) -> Result<Self> {
        let header: &[u8; HEADER_BYTES] = bytes
            .first_chunk()
            .filter(|_| bytes.len() >= HEADER_BYTES + TRAILER_BYTES)
            .ok_or_else(|| Error::damaged(key, "it is too short"))?;
        let size = bytes.len() as u64;
        let table = usize::try_from(table_bytes(key, bytes, size)?).expect("bounded by the pack's length");
        let footer = &bytes[bytes.len() - TRAILER_BYTES - table..];
        Self::decode(key, kind, header, footer, size)?.verified(key, header, footer, repository, signers)
    }
}

impl FooterRow {
    /// Where the sealed bytes lie in the pack.
    pub fn extent(&self) -> std::ops::Range<usize> {
        self.offset as usize..self.offset as usize + self.stored_bytes as usize
    }
}

/// Decodes entries and remembers which one it decoded last, since the next may continue its frame.
pub struct EntryDecoder {
    decoder: Decoder,
    after: Option<(PackId, u32)>,
}

impl EntryDecoder {
    /// A decoder; reused, one for each worker.
    pub fn new() -> Result<Self> {
        Ok(Self { decoder: Decoder::new()?, after: None })
    }
}

/// A pack with the key to its entries.
pub struct OpenPack {
    /// Its name.
    pub id: PackId,
    /// Header and footer.
    pub info: PackInfo,
    key: ObjectKey,
}

impl OpenPack {
    /// Finds the pack's key: by the private key for data, by the writer's map key for trees.
    pub fn new(id: PackId, info: PackInfo, keys: &Keys) -> Result<Self> {
        let header = &info.header;
        let key = match header.kind {
            PackKind::Data => {
                let private = keys.private_for("reading stored data")?;
                let key = private.unwrap(&header.repository, &header.salt, &header.wrapped);
                ObjectKey::new(&*key.ok_or_else(|| Error::damaged(header.kind.key(&id), "its key does not open"))?)
            }
            PackKind::Tree => {
                let map = keys.map_key(header.writer);
                let missing = || {
                    Error::KeyNeeded(format!("the trees of writer {} need the passphrase or key file", header.writer))
                };
                map.ok_or_else(missing)?.tree_pack(&header.repository, &header.salt)
            }
        };
        Ok(Self { id, info, key })
    }

    fn damaged(&self, number: u32, what: &str) -> Error {
        Error::damaged(self.info.header.kind.key(&self.id), format!("entry {number} {what}"))
    }

    /// Decrypts entry `number`, whose sealed bytes are `sealed`, in place; the payload is still encoded.
    fn payload<'s>(&self, number: u32, sealed: &'s mut [u8]) -> Result<&'s [u8]> {
        let row = self.info.rows.get(number as usize).ok_or_else(|| self.damaged(number, "does not exist"))?;
        let aad = entry_aad(&self.info.header.repository, &self.info.header.salt, number, row);
        let payload = self.key.open(Counter(number.into()), &aad, sealed);
        payload.map(|payload| &*payload).ok_or_else(|| self.damaged(number, "does not decrypt"))
    }

    /// The first entry that must be opened, in order, to open entry `number` with this decoder.
    pub fn first_to_open(&self, number: u32, decoder: &EntryDecoder) -> u32 {
        let start = self.info.frame_start(number);
        match decoder.after {
            Some((pack, last)) if pack == self.id && (start..number).contains(&last) => last + 1,
            _ => start,
        }
    }

    /// Opens entry `number`, whose sealed bytes are `sealed`, into `plain` (resized); returns the payload it was decoded from. The id is
    /// for the caller to check. The entries since [`Self::first_to_open`] were opened before.
    pub fn open<'s>(
        &self,
        number: u32,
        sealed: &'s mut [u8],
        decoder: &mut EntryDecoder,
        plain: &mut Vec<u8>,
    ) -> Result<&'s [u8]> {
        let last = decoder.after.take();
        let payload = self.payload(number, sealed)?;
        let row = &self.info.rows[number as usize];
        let kind = Kind::from_number(row.kind)
            .ok_or_else(|| Error::UnknownFeature(format!("pack entry kind {}", row.kind)))?;
        if kind == Kind::Continued && !last.is_some_and(|(pack, last)| pack == self.id && last + 1 == number) {
            return Err(self.damaged(number, "continues an entry that does not open"));
        }
        plain.resize(row.plain_bytes as usize, 0);
        decoder.decoder.decode(kind, payload, plain).map_err(|_| self.damaged(number, "does not decompress"))?;
        decoder.after = (kind != Kind::Raw).then_some((self.id, number));
        Ok(payload)
    }
}
