//! Records: the small signed objects. This file owns their frame, not what is in them.

use crate::error::{Error, Result};
use crate::id::{RepositoryId, WriterId};
use crate::sign::{SIGNATURE_BYTES, Signer, Signers};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Format version this program writes and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 48;
/// Bytes after the body: signature and checksum.
pub const TAIL_BYTES: usize = SIGNATURE_BYTES + 32;
/// Longest body.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// First eight bytes of a record: what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Magic(pub &'static [u8; 8]);

/// How all of them begin.
pub const MAGIC_BEGINS: &[u8] = b"ICE";

/// Repository configuration.
pub const CONFIG: Magic = Magic(b"ICECONF1");
/// Key slot.
pub const KEY_SLOT: Magic = Magic(b"ICEKEYS1");
/// Writer.
pub const WRITER: Magic = Magic(b"ICEWRIT1");
/// Manifest.
pub const MANIFEST: Magic = Magic(b"ICEMANI1");
/// Receipt of a manifest.
pub const RECEIPT: Magic = Magic(b"ICERCPT1");
/// Tombstone of a forgotten point.
pub const TOMBSTONE: Magic = Magic(b"ICETOMB1");
/// Pardon: a tombstone is being undone.
pub const PARDON: Magic = Magic(b"ICEPARD1");
/// Execution: a forgotten point's manifest is being deleted.
pub const EXECUTION: Magic = Magic(b"ICEEXEC1");
/// Lease of a session.
pub const LEASE: Magic = Magic(b"ICELEAS1");
/// List of condemned packs.
pub const CONDEMNED: Magic = Magic(b"ICECOND1");
/// Leases that lived when a list was written.
pub const CONDEMNED_LEASES: Magic = Magic(b"ICECLEA1");
/// Packs a committing session needs after all.
pub const RESCUE: Magic = Magic(b"ICERESC1");
/// Verification of a pack.
pub const VERIFIED: Magic = Magic(b"ICEVERI1");
/// Packs found damaged.
pub const DAMAGED: Magic = Magic(b"ICEDAMA1");
/// Points that may lack changes.
pub const SUSPECTS: Magic = Magic(b"ICESUSP1");
/// What a store was seen to do.
pub const PROBE: Magic = Magic(b"ICEPROB1");
/// Catalog of a point's files.
pub const CATALOG: Magic = Magic(b"ICECATA1");
/// Part of catalogs.
pub const LEAF: Magic = Magic(b"ICELEAF1");

/// Order of a machine that wants a disk passed to it. Never stored.
pub const PASSAGE_ORDER: Magic = Magic(b"ICEPORD1");
/// Part of a disk on its way to a machine. Never stored.
pub const PASSAGE_PART: Magic = Magic(b"ICEPPRT1");

/// A record whose frame and checksum are right. Its signature is checked by [`Record::verified`].
#[derive(Debug)]
pub struct Record<'b> {
    /// Repository it says it belongs to.
    pub repository: RepositoryId,
    /// Who says to have signed it.
    pub signer: WriterId,
    /// Header bytes (authenticated data of a manifest's seal).
    pub header: &'b [u8],
    /// The body.
    pub body: &'b [u8],
    /// Whole length in bytes; another record may follow.
    pub record_bytes: usize,
    signature: &'b [u8],
    digest: blake3::Hash,
}

/// Header of a record with this body length.
pub fn header(
    magic: Magic,
    repository: &RepositoryId,
    signer: WriterId,
    body_bytes: usize,
) -> Result<[u8; HEADER_BYTES]> {
    if body_bytes > MAX_BODY_BYTES {
        let allowed = format!("at most {MAX_BODY_BYTES}");
        return Err(Error::Limit { what: "a record's body in bytes", value: body_bytes as u64, allowed });
    }
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(magic.0);
    header[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let body_bytes = u32::try_from(body_bytes).expect("bounded above");
    header[12..16].copy_from_slice(&body_bytes.to_le_bytes());
    header[16..32].copy_from_slice(&repository.0);
    header[32..48].copy_from_slice(&signer.0);
    Ok(header)
}

/// Encodes a record with a binary body.
pub fn encode(magic: Magic, repository: &RepositoryId, signer: &Signer, body: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + TAIL_BYTES);
    bytes.extend_from_slice(&header(magic, repository, signer.id(), body.len())?);
    bytes.extend_from_slice(body);
    let signature = signer.sign(&blake3::hash(&bytes));
    bytes.extend_from_slice(&signature);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    Ok(bytes)
}

/// Encodes a record with a JSON body.
pub fn encode_json<T: Serialize>(
    magic: Magic,
    repository: &RepositoryId,
    signer: &Signer,
    body: &T,
) -> Result<Vec<u8>> {
    let body = serde_json::to_vec(body).map_err(|e| Error::Refused(format!("the record cannot be written: {e}")))?;
    encode(magic, repository, signer, &body)
}

/// Decodes the record at the start of `bytes`; `object` names it in errors.
pub fn decode<'b>(object: &str, magic: Magic, bytes: &'b [u8]) -> Result<Record<'b>> {
    let damaged = |what: &str| Error::damaged(object, what);
    let header: &[u8; HEADER_BYTES] =
        bytes.first_chunk().ok_or_else(|| damaged("it is shorter than a record's header"))?;
    if &header[..8] != magic.0 {
        return Err(damaged("its first bytes are not those of this kind of object"));
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version > FORMAT_VERSION {
        return Err(Error::NewerVersion { object: object.into(), found: version, known: FORMAT_VERSION });
    }
    if version == 0 || header[10..12] != [0, 0] {
        return Err(damaged("its version or reserved bytes are impossible"));
    }
    let body_bytes = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
    if body_bytes > MAX_BODY_BYTES || bytes.len() < HEADER_BYTES + body_bytes + TAIL_BYTES {
        return Err(damaged("its length does not fit what it says"));
    }
    let signed_end = HEADER_BYTES + body_bytes;
    let checked_end = signed_end + SIGNATURE_BYTES;
    let record_bytes = signed_end + TAIL_BYTES;
    if blake3::hash(&bytes[..checked_end])
        != blake3::Hash::from_slice(&bytes[checked_end..record_bytes]).expect("32 bytes")
    {
        return Err(damaged("its checksum does not fit"));
    }
    let id = |at: usize| std::array::from_fn(|i| header[at + i]);
    Ok(Record {
        repository: RepositoryId(id(16)),
        signer: WriterId(id(32)),
        header,
        body: &bytes[HEADER_BYTES..signed_end],
        record_bytes,
        signature: &bytes[signed_end..checked_end],
        digest: blake3::hash(&bytes[..signed_end]),
    })
}

/// Who may sign a kind of record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaySign {
    /// The operator alone.
    Operator,
    /// The operator or a writer.
    Writers,
}

impl Record<'_> {
    /// Checks that the record belongs to `repository`, that its signer may sign it and did.
    pub fn verified(self, object: &str, repository: &RepositoryId, signers: &Signers, may: MaySign) -> Result<Self> {
        self.check(object, repository, signers, may).map(|()| self)
    }

    /// Whether a writer or the operator signed it; false when there is no sound record of the signer. A wrong signature is an error.
    pub fn is_verified_or_unknown(&self, object: &str, repository: &RepositoryId, signers: &Signers) -> Result<bool> {
        match self.check(object, repository, signers, MaySign::Writers) {
            Err(Error::UnknownSigner { .. }) => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn check(&self, object: &str, repository: &RepositoryId, signers: &Signers, may: MaySign) -> Result<()> {
        if self.repository != *repository {
            return Err(Error::ForeignRepository {
                object: object.into(),
                found: self.repository.to_string(),
                expected: repository.to_string(),
            });
        }
        if may == MaySign::Operator && self.signer != WriterId::OPERATOR {
            return Err(Error::damaged(object, "it is not signed by the operator"));
        }
        signers.verify(object, self.signer, &self.digest, self.signature)
    }

    /// Refuses bytes after the record.
    pub fn alone(self, object: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() != self.record_bytes {
            return Err(Error::damaged(object, "bytes follow its end"));
        }
        Ok(self)
    }

    /// The JSON body.
    pub fn json<T: DeserializeOwned>(&self, object: &str) -> Result<T> {
        serde_json::from_slice(self.body)
            .map_err(|e| Error::damaged(object, format!("its contents cannot be read: {e}")))
    }
}
