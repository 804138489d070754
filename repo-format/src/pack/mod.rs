//! Packs: write-once objects of many sealed entries with a signed footer. This file owns their layout (FORMAT.md, "Packs").

mod build;
mod open;

pub use build::{FinishedPack, PackBuilder};
pub(crate) use open::load_from;
pub use open::{EntryDecoder, OpenPack, PackInfo, load};

use crate::error::{Error, Result};
use crate::id::{EntryId, PackId, RepositoryId, WriterId};
use crate::record::FORMAT_VERSION;
use crate::seal::WrappedKey;

/// Bytes before the first entry.
pub const HEADER_BYTES: usize = 256;
/// Bytes of one row of the table.
pub const ROW_BYTES: usize = 64;
/// Bytes after the table.
pub const TRAILER_BYTES: usize = 128;
/// Length of an entry's additional data.
pub const AAD_BYTES: usize = 93;
/// Longest pack.
pub const MAX_PACK_BYTES: u64 = 64 << 20;
/// Most entries of a pack.
pub const MAX_ENTRIES: u32 = 1 << 16;
/// Longest plaintext of an entry.
pub const MAX_PLAIN_BYTES: u32 = 1 << 20;
/// Length at which a data pack is closed.
pub const DATA_PACK_BYTES: usize = 32 << 20;
/// Length at which a tree pack is closed.
pub const TREE_PACK_BYTES: usize = 4 << 20;

const TRAILER_MAGIC: &[u8; 8] = b"ICEFOOT1";

/// What a pack holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum PackKind {
    /// Chunks.
    Data,
    /// Tree nodes.
    Tree,
}

impl PackKind {
    /// First bytes of such a pack.
    pub fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Data => b"ICEDATA1",
            Self::Tree => b"ICETREE1",
        }
    }

    /// Prefix of the keys of such packs.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Data => "data/",
            Self::Tree => "tree/",
        }
    }

    /// Key of a pack.
    pub fn key(self, pack: &PackId) -> String {
        let name = pack.to_string();
        format!("{}{}/{name}", self.prefix(), &name[..2])
    }

    /// The pack a key names; `None` when the key is not of this kind or not where that pack belongs.
    pub fn parse_key(self, key: &str) -> Option<PackId> {
        let pack = key.rsplit('/').next()?.parse().ok()?;
        (self.key(&pack) == key).then_some(pack)
    }
}

/// The first 256 bytes of a pack.
pub struct PackHeader {
    /// What it holds.
    pub kind: PackKind,
    /// The repository's chunk size; zero in tree packs.
    pub chunk_bytes: u32,
    /// Repository.
    pub repository: RepositoryId,
    /// Whose map key seals a tree pack; who stored a data pack.
    pub writer: WriterId,
    /// Who signed.
    pub signer: WriterId,
    /// Makes the pack's key and its entries' additional data unique.
    pub salt: [u8; 32],
    /// The sealed pack key; zeroes in tree packs.
    pub wrapped: WrappedKey,
}

impl PackHeader {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(self.kind.magic());
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.chunk_bytes.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.repository.0);
        bytes[32..48].copy_from_slice(&self.writer.0);
        bytes[48..64].copy_from_slice(&self.signer.0);
        bytes[64..96].copy_from_slice(&self.salt);
        bytes[96..128].copy_from_slice(&self.wrapped.encapsulated);
        bytes[128..176].copy_from_slice(&self.wrapped.ciphertext);
        bytes
    }

    /// Decodes a header; `object` names the pack in errors.
    pub fn decode(object: &str, kind: PackKind, bytes: &[u8; HEADER_BYTES]) -> Result<Self> {
        if &bytes[..8] != kind.magic() {
            return Err(Error::damaged(object, "its first bytes are not a pack's"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version > FORMAT_VERSION {
            return Err(Error::NewerVersion { object: object.into(), found: version, known: FORMAT_VERSION });
        }
        if version == 0 || bytes[10..12] != [0, 0] || bytes[176..].iter().any(|b| *b != 0) {
            return Err(Error::damaged(object, "its version or reserved bytes are impossible"));
        }
        let id = |at: usize| std::array::from_fn(|i| bytes[at + i]);
        Ok(Self {
            kind,
            chunk_bytes: u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
            repository: RepositoryId(id(16)),
            writer: WriterId(id(32)),
            signer: WriterId(id(48)),
            salt: std::array::from_fn(|i| bytes[64 + i]),
            wrapped: WrappedKey {
                encapsulated: std::array::from_fn(|i| bytes[96 + i]),
                ciphertext: std::array::from_fn(|i| bytes[128 + i]),
            },
        })
    }
}

/// One entry as the footer lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FooterRow {
    /// Chunk or node.
    pub id: EntryId,
    /// Place of the sealed bytes.
    pub offset: u32,
    /// Length of the sealed bytes.
    pub stored_bytes: u32,
    /// Length of the plaintext.
    pub plain_bytes: u32,
    /// Encoding; kept as a number, since a newer program may have written one this program does not know.
    pub kind: u8,
    /// First half of the BLAKE3-256 of the sealed bytes.
    pub sealed_hash: [u8; 16],
}

impl FooterRow {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.stored_bytes.to_le_bytes());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.extend_from_slice(&[self.kind, 0, 0, 0]);
        out.extend_from_slice(&self.sealed_hash);
    }

    fn decode(bytes: &[u8; ROW_BYTES]) -> Option<Self> {
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let row = Self {
            id: EntryId(std::array::from_fn(|i| bytes[i])),
            offset: number(32),
            stored_bytes: number(36),
            plain_bytes: number(40),
            kind: bytes[44],
            sealed_hash: std::array::from_fn(|i| bytes[48 + i]),
        };
        (bytes[45..48] == [0; 3]).then_some(row)
    }
}

/// First half of the BLAKE3-256 of sealed bytes.
pub fn sealed_hash(sealed: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(sealed);
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// What is authenticated with an entry besides its bytes.
pub fn entry_aad(repository: &RepositoryId, salt: &[u8; 32], number: u32, row: &FooterRow) -> [u8; AAD_BYTES] {
    let mut aad = [0; AAD_BYTES];
    aad[..16].copy_from_slice(&repository.0);
    aad[16..48].copy_from_slice(salt);
    aad[48..52].copy_from_slice(&number.to_le_bytes());
    aad[52..56].copy_from_slice(&row.plain_bytes.to_le_bytes());
    aad[56..60].copy_from_slice(&row.stored_bytes.to_le_bytes());
    aad[60] = row.kind;
    aad[61..].copy_from_slice(&row.id.0);
    aad
}
