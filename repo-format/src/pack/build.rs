//! Building a pack in memory: seal entries one after the other, then close it with its signed footer.

use super::{
    DATA_PACK_BYTES, FooterRow, HEADER_BYTES, MAX_ENTRIES, MAX_PLAIN_BYTES, PackHeader, PackInfo, PackKind, ROW_BYTES,
    TRAILER_BYTES, TRAILER_MAGIC, TREE_PACK_BYTES, entry_aad, sealed_hash,
};
use crate::codec::{FrameLength, Kind, MAX_FRAME_BYTES, MAX_FRAME_ENTRIES};
use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{EntryId, PackId, RepositoryId, WriterId};
use crate::keys::MapKey;
use crate::seal::{Counter, ObjectKey, PublicKey, TAG_BYTES, WrappedKey};
use crate::sign::Signer;
use zeroize::Zeroizing;

/// A pack that is being filled. The caller never adds one id twice.
pub struct PackBuilder {
    header: PackHeader,
    key: ObjectKey,
    bytes: Vec<u8>,
    rows: Vec<FooterRow>,
    check: Vec<u8>,
    /// The frame that the last entry belongs to.
    frame: Option<FrameLength>,
}

/// A closed pack, ready to be stored under its name.
pub struct FinishedPack {
    /// Its name.
    pub id: PackId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its footer as a reader would load it.
    pub info: PackInfo,
}

/// The last entry and the footer may go beyond the length at which a pack is closed.
const ROOM_BYTES: usize = 2 << 20;

impl PackBuilder {
    /// An empty data pack with a new key, wrapped to `public`.
    pub fn data(
        repository: RepositoryId,
        (writer, signer): (WriterId, WriterId),
        public: &PublicKey,
        chunk_bytes: u32,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let salt = random(entropy);
        let key = Zeroizing::new(random::<32>(entropy));
        let wrapped = public.wrap(&repository, &salt, &key, entropy)?;
        let header = PackHeader { kind: PackKind::Data, chunk_bytes, repository, writer, signer, salt, wrapped };
        Ok(Self::begin(header, ObjectKey::new(&key)))
    }

    /// An empty tree pack of `writer`.
    pub fn tree(
        repository: RepositoryId,
        (writer, signer): (WriterId, WriterId),
        map: &MapKey,
        entropy: &dyn Entropy,
    ) -> Self {
        let salt = random(entropy);
        let wrapped = WrappedKey { encapsulated: [0; 32], ciphertext: [0; 48] };
        let header = PackHeader { kind: PackKind::Tree, chunk_bytes: 0, repository, writer, signer, salt, wrapped };
        Self::begin(header, map.tree_pack(&repository, &salt))
    }

    fn begin(header: PackHeader, key: ObjectKey) -> Self {
        // Reserved once: memory that is never touched costs nothing, growing by doubling would copy the pack again and again.
        let room = match header.kind {
            PackKind::Data => DATA_PACK_BYTES,
            PackKind::Tree => TREE_PACK_BYTES,
        };
        let mut bytes = Vec::with_capacity(room + ROOM_BYTES);
        bytes.extend_from_slice(&header.encode());
        Self { header, key, bytes, rows: Vec::new(), check: Vec::new(), frame: None }
    }

    /// The same empty pack, filled into memory that an earlier one no longer needs.
    pub(crate) fn in_room(mut self, mut room: Vec<u8>) -> Self {
        assert!(self.is_empty(), "room is given to a pack that is begun");
        room.clear();
        room.extend_from_slice(&self.bytes);
        self.bytes = room;
        self
    }

    /// Number of entries so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes so far, without the footer.
    pub fn bytes_so_far(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it should be closed before the next entry that begins a frame; the rest of a frame always finds room.
    pub fn is_full(&self) -> bool {
        let aim = match self.header.kind {
            PackKind::Data => DATA_PACK_BYTES,
            PackKind::Tree => TREE_PACK_BYTES,
        };
        let next = MAX_PLAIN_BYTES as usize + MAX_FRAME_ENTRIES as usize * TAG_BYTES;
        let footer = (self.rows.len() + MAX_FRAME_ENTRIES as usize) * ROW_BYTES + TRAILER_BYTES;
        self.rows.len() + MAX_FRAME_ENTRIES as usize > MAX_ENTRIES as usize
            || self.bytes.len() + footer >= aim
            || (self.bytes.len() + next + footer) as u64 > super::MAX_PACK_BYTES
    }

    /// Seals an entry and proves that it opens again. A continued one is added right after the entry it continues.
    pub fn add(&mut self, id: EntryId, kind: Kind, plain_bytes: u32, payload: &[u8]) -> Result<()> {
        self.frame = match kind {
            Kind::Raw => None,
            Kind::Zstd => FrameLength::default().with(plain_bytes, u32::MAX),
            Kind::Continued => {
                let longer = self.frame.and_then(|frame| frame.with(plain_bytes, MAX_FRAME_BYTES));
                Some(longer.ok_or(Error::SelfCheck("the order of a pack's entries"))?)
            }
        };
        let start = self.bytes.len();
        let too_long = |_| Error::Refused("a pack's entry is longer than the format allows".into());
        let row = FooterRow {
            id,
            offset: u32::try_from(start).map_err(too_long)?,
            stored_bytes: u32::try_from(payload.len() + TAG_BYTES).map_err(too_long)?,
            plain_bytes,
            kind: kind as u8,
            sealed_hash: [0; 16],
        };
        let number = u32::try_from(self.rows.len()).map_err(too_long)?;
        let aad = entry_aad(&self.header.repository, &self.header.salt, number, &row);
        self.bytes.extend_from_slice(payload);
        self.key.seal(Counter(number.into()), &aad, &mut self.bytes, start);
        self.check.clear();
        self.check.extend_from_slice(&self.bytes[start..]);
        if self.key.open(Counter(number.into()), &aad, &mut self.check).as_deref() != Some(payload) {
            return Err(Error::SelfCheck("AES-256-GCM"));
        }
        let sealed_hash = sealed_hash(&self.bytes[start..]);
        self.rows.push(FooterRow { sealed_hash, ..row });
        Ok(())
    }

    /// Closes the pack. `signer` is the one named when it was begun.
    pub fn finish(mut self, signer: &Signer) -> FinishedPack {
        assert_eq!(signer.id(), self.header.signer, "a pack is signed by the signer its header names");
        let table_start = self.bytes.len();
        self.rows.iter().for_each(|row| row.encode(&mut self.bytes));
        let table_bytes = self.bytes.len() - table_start;
        let trailer_start = self.bytes.len();
        let pack_bytes = (trailer_start + TRAILER_BYTES) as u64;
        let count = u32::try_from(self.rows.len()).expect("bounded by MAX_ENTRIES");
        self.bytes.extend_from_slice(TRAILER_MAGIC);
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes.extend_from_slice(&u32::try_from(table_bytes).expect("bounded by MAX_ENTRIES").to_le_bytes());
        self.bytes.extend_from_slice(&pack_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        let digest = |bytes: &[u8]| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&bytes[..HEADER_BYTES]).update(&bytes[table_start..]);
            hasher.finalize()
        };
        let signature = signer.sign(&digest(&self.bytes));
        self.bytes.extend_from_slice(&signature);
        let checksum = digest(&self.bytes);
        self.bytes.extend_from_slice(checksum.as_bytes());
        let id = PackId(*blake3::hash(&self.bytes).as_bytes());
        FinishedPack {
            id,
            info: PackInfo { header: self.header, rows: self.rows, pack_bytes, is_verified: true },
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::id::ChunkId;

    const WRITER: WriterId = WriterId([2; 16]);

    fn pack() -> PackBuilder {
        let entropy = SeededEntropy::new(1);
        PackBuilder::tree(RepositoryId([1; 16]), (WRITER, WRITER), &MapKey([3; 32].into()), &entropy)
    }

    #[test]
    fn a_pack_in_used_room_has_nothing_of_the_one_before() {
        let filled = |mut pack: PackBuilder| {
            pack.add(ChunkId([4; 32]).into(), Kind::Raw, 100, &[5; 100]).unwrap();
            pack.bytes
        };
        let fresh = filled(pack());
        assert_eq!(filled(pack().in_room(vec![0xFF; 1 << 20])), fresh);
        assert_eq!(filled(pack().in_room(Vec::new())), fresh);
    }
}
