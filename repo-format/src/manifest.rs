//! Manifests: what one recovery point is. The only commit point of a backup.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{ManifestId, NameId, NodeId, RepositoryId, WriterId};
use crate::keys::{Keys, WriterKeys};
use crate::record::{self, HEADER_BYTES};
use crate::seal::{Counter, ObjectKey, TAG_BYTES};
use crate::sign::{Signer, Signers};
use crate::tree::Tree;
use serde::{Deserialize, Serialize};

/// Body bytes before the sealed JSON.
pub const PREFIX_BYTES: usize = 80;
/// Most disks of a point.
pub const MAX_DISKS: usize = 256;
/// Largest disk.
pub const MAX_DISK_BYTES: u64 = 1 << 60;
/// Longest name.
pub const MAX_NAME_BYTES: usize = 1024;

/// How a point came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKind {
    /// The first of its name.
    Full,
    /// Everything was read and hashed; only what was new was stored.
    FullRead,
    /// Of at least one disk only the changed extents were read.
    Incremental,
}

/// What the source promised while it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Nothing wrote to it.
    Offline,
    /// An instant, as after a power cut; of all disks the same if the manifest's `one_instant` says so.
    CrashConsistent,
    /// The same, and applications were told.
    ApplicationConsistent,
    /// It was written to while it was read.
    NotConsistent,
}

/// Which disk this is, by something that survives a new device name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskIdentity {
    /// `gpt_guid`, `serial`, `path` …
    pub kind: String,
    /// Its value.
    pub value: String,
}

/// Where the tracker of changed blocks stood.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackerPlace {
    /// UUID of unbroken tracking.
    pub generation: String,
    /// Counter that a snapshot increments.
    pub number: u64,
    /// Random id of the interval that this snapshot ended; a machine that was reverted or cloned has another one under the same number.
    pub interval: String,
}

/// One disk of a point.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// Short name, unique in the point.
    pub name: String,
    /// Path it was read from.
    pub path: String,
    /// What it is recognised by.
    pub identity: DiskIdentity,
    /// Size.
    pub size_bytes: u64,
    /// Root of its tree; null when it is all zero.
    pub root: Option<NodeId>,
    /// Whether only blocks that file systems use were read, the rest being zero.
    #[serde(default)]
    pub used_blocks_only: bool,
    /// Partition numbers whose content was left out and reads as zero.
    #[serde(default)]
    pub excluded_partitions: Vec<u32>,
    /// What reads as zero although the disk holds something else (excluded partitions, swap content): offset and length in bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zeroed_extents: Vec<(u64, u64)>,
    /// Where change tracking stood.
    #[serde(default)]
    pub tracker: Option<TrackerPlace>,
    /// Why all of it was read although there is a parent, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_read_reason: Option<String>,
    /// When all of it was last read, by this point or by one that it builds upon; null when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_whole_at: Option<jiff::Timestamp>,
    /// Partition tables, volumes and file systems as the agent found them. Facts for people and restores, nothing to decode data with.
    #[serde(default)]
    pub facts: serde_json::Value,
}

impl Disk {
    /// The disk's tree.
    pub fn tree(&self, chunk_bytes: u32) -> Tree {
        Tree { chunks: self.size_bytes.div_ceil(chunk_bytes.into()), root: self.root }
    }

    /// Length of the chunk at a position: the last one may be short.
    pub fn chunk_length(&self, chunk_bytes: u32, position: u64) -> u32 {
        let start = position.saturating_mul(chunk_bytes.into());
        let left = self.size_bytes.saturating_sub(start).min(chunk_bytes.into());
        u32::try_from(left).expect("at most a chunk")
    }
}

/// Counts of one backup.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Stats {
    /// Size of all disks.
    pub bytes_source: u64,
    /// What had changed since the parent; of a full, `bytes_source`.
    pub bytes_changed: u64,
    /// What was read from the disks.
    pub bytes_read: u64,
    /// What was added to the store by packs; the manifest's own length is not in here.
    pub bytes_stored: u64,
    /// Plaintext of the chunks that were new.
    pub bytes_new: u64,
    /// Zeroes and holes.
    pub bytes_zero: u64,
    /// Chunks that were stored.
    pub chunks_new: u64,
    /// Chunks that were read.
    pub chunks_read: u64,
    /// From the start of the job to just before the manifest.
    pub duration_ms: u64,
    /// What of `bytes_read` nobody had called changed: read to see whether the list of changes is complete.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_audited: u64,
    /// What was overwritten on the disks during the backup and had to be kept for it; none where nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_preserved: Option<u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

/// The sealed part of a manifest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Name under which points of the same disks follow each other.
    pub name: String,
    /// Host that was backed up.
    pub host: String,
    /// When the content was as the point shows it (RFC 3339).
    pub created_at: jiff::Timestamp,
    /// How it came to be.
    pub kind: PointKind,
    /// Why everything was read, in words.
    #[serde(default)]
    pub full_read_reason: Option<String>,
    /// What the source promised.
    pub consistency: Consistency,
    /// Whether all disks are of the same instant; if not, each is of one of its own.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub one_instant: bool,
    /// Which provider read the disks (`direct`, `module`, `lvm`).
    pub provider: String,
    /// The point whose trees this one began with.
    pub parent: Option<ManifestId>,
    /// Size of a chunk.
    pub chunk_bytes: u32,
    /// The disks.
    pub disks: Vec<Disk>,
    /// Counts.
    pub stats: Stats,
    /// Program and version that wrote it.
    pub program: String,
}

impl Manifest {
    /// The disk with a name, or the only one.
    pub fn disk(&self, name: Option<&str>) -> Result<&Disk> {
        let names = || self.disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => self
                .disks
                .iter()
                .find(|disk| disk.name == name)
                .ok_or_else(|| Error::NoSuch(format!("the point has no disk {name:?}; it has: {}", names()))),
            None => match self.disks.as_slice() {
                [disk] => Ok(disk),
                _ => Err(Error::NoSuch(format!("the point has several disks; name one of: {}", names()))),
            },
        }
    }

    /// Refuses values that no manifest may have; called before encoding and after decoding.
    fn check(&self) -> Result<()> {
        let limit = |what, value: u64, allowed: String| Err(Error::Limit { what, value, allowed });
        if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES {
            return limit("the length of the name in bytes", self.name.len() as u64, format!("1 to {MAX_NAME_BYTES}"));
        }
        if self.disks.is_empty() || self.disks.len() > MAX_DISKS {
            return limit("the number of disks", self.disks.len() as u64, format!("1 to {MAX_DISKS}"));
        }
        if let Some(disk) = self.disks.iter().find(|disk| disk.size_bytes == 0 || disk.size_bytes > MAX_DISK_BYTES) {
            return limit("a disk's size in bytes", disk.size_bytes, format!("1 to {MAX_DISK_BYTES}"));
        }
        crate::config::check_chunk_bytes(self.chunk_bytes)?;
        let names: std::collections::HashSet<_> = self.disks.iter().map(|disk| &disk.name).collect();
        if names.len() != self.disks.len() {
            return Err(Error::Refused("two disks of a point have the same name".into()));
        }
        Ok(())
    }
}

/// What the receiver of a manifest attests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Manifest.
    pub manifest: ManifestId,
    /// Place among the points of its name.
    pub sequence: u64,
    /// The receiver's time (RFC 3339); retention goes by it.
    pub received_at: jiff::Timestamp,
}

/// Where a manifest stands in the store; read from its key alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PointKey {
    /// Name, hashed.
    pub name: NameId,
    /// Place among the points of its name.
    pub sequence: u64,
    /// Manifest.
    pub manifest: ManifestId,
}

impl PointKey {
    /// Prefix of all points of a name.
    pub fn prefix(name: &NameId) -> String {
        format!("manifests/{name}/")
    }

    /// Key in the store.
    pub fn key(&self) -> String {
        format!("manifests/{}/{:016x}-{}", self.name, self.sequence, self.manifest)
    }

    /// The point a key names; `None` for keys that are not a manifest's.
    pub fn parse(key: &str) -> Option<Self> {
        let (name, rest) = key.strip_prefix("manifests/")?.split_once('/')?;
        let (sequence, manifest) = rest.split_once('-')?;
        let sequence = u64::from_be_bytes(crate::id::unhex(sequence)?);
        Some(Self { name: name.parse().ok()?, sequence, manifest: manifest.parse().ok()? })
    }
}

/// A manifest as stored, its signatures checked where the signers are known, its body still sealed.
#[derive(Debug)]
pub struct StoredManifest {
    /// Where it stands.
    pub at: PointKey,
    /// The point before it, as its writer saw it.
    pub previous: Option<ManifestId>,
    /// Who wrote it.
    pub writer: WriterId,
    /// The receiver's attestation.
    pub receipt: Receipt,
    /// Length of the object.
    pub object_bytes: u64,
    /// Whether both signatures fit. False when there is no sound record of the writer: who made the point is then proved by opening it,
    /// and its place and time of receipt are not proved at all.
    pub is_verified: bool,
    repository: RepositoryId,
    aad: Vec<u8>,
    salt: [u8; 32],
    sealed: Vec<u8>,
}

/// Encodes manifest and receipt into the object that is stored.
pub fn encode(
    keys: &WriterKeys,
    manifest: &Manifest,
    (previous, sequence): (Option<ManifestId>, u64),
    received_at: jiff::Timestamp,
    (signer, entropy): (&Signer, &dyn Entropy),
) -> Result<(PointKey, Vec<u8>)> {
    manifest.check()?;
    let name = keys.ids.name(&manifest.name);
    let json =
        serde_json::to_vec(manifest).map_err(|e| Error::Refused(format!("the manifest cannot be written: {e}")))?;
    let salt: [u8; 32] = random(entropy);
    let mut body = Vec::with_capacity(PREFIX_BYTES + json.len() + TAG_BYTES);
    body.extend_from_slice(&name.0);
    body.extend_from_slice(&previous.map_or([0; 32], |id| id.0));
    body.extend_from_slice(&salt);
    let header =
        record::header(record::MANIFEST, &keys.repository, signer.id(), PREFIX_BYTES + json.len() + TAG_BYTES)?;
    let aad = [&header[..], &body].concat();
    body.extend_from_slice(&json);
    let key = keys.map.manifest(&keys.repository, &salt);
    key.seal(Counter(0), &aad, &mut body, PREFIX_BYTES);
    self_check(&key, &aad, &body[PREFIX_BYTES..], &json)?;
    let mut object = record::encode(record::MANIFEST, &keys.repository, signer, &body)?;
    let manifest = ManifestId(*blake3::hash(&object).as_bytes());
    let receipt = Receipt { manifest, sequence, received_at };
    object.extend(record::encode_json(record::RECEIPT, &keys.repository, signer, &receipt)?);
    Ok((PointKey { name, sequence, manifest }, object))
}

fn self_check(key: &ObjectKey, aad: &[u8], sealed: &[u8], json: &[u8]) -> Result<()> {
    let mut copy = sealed.to_vec();
    match key.open(Counter(0), aad, &mut copy) {
        Some(plain) if plain == json => Ok(()),
        _ => Err(Error::SelfCheck("the manifest")),
    }
}

/// Decodes a stored manifest and checks both signatures and that it stands where it belongs. Of a writer without a sound record the
/// signatures stay unverified, and the result says so.
pub fn decode(at: PointKey, bytes: &[u8], repository: &RepositoryId, signers: &Signers) -> Result<StoredManifest> {
    let object = at.key();
    let body = record::decode(&object, record::MANIFEST, bytes)?;
    let body_is_verified = body.is_verified_or_unknown(&object, repository, signers)?;
    let rest = &bytes[body.record_bytes..];
    let receipt_record = record::decode(&object, record::RECEIPT, rest)?.alone(&object, rest)?;
    let receipt_is_verified = receipt_record.is_verified_or_unknown(&object, repository, signers)?;
    if receipt_record.signer != body.signer && receipt_record.signer != WriterId::OPERATOR {
        return Err(Error::damaged(object, "its receipt is signed by another writer"));
    }
    let receipt: Receipt = receipt_record.json(&object)?;
    let id = ManifestId(*blake3::hash(&bytes[..body.record_bytes]).as_bytes());
    let prefix: &[u8; PREFIX_BYTES] =
        body.body.first_chunk().ok_or_else(|| Error::damaged(&object, "its body is too short"))?;
    let name = NameId(std::array::from_fn(|i| prefix[i]));
    if (id, name) != (at.manifest, at.name) || receipt.manifest != id || receipt.sequence != at.sequence {
        return Err(Error::damaged(object, "it does not belong where it stands: name, sequence or hash differ"));
    }
    let previous: [u8; 32] = std::array::from_fn(|i| prefix[16 + i]);
    Ok(StoredManifest {
        at,
        previous: (previous != [0; 32]).then_some(ManifestId(previous)),
        writer: body.signer,
        receipt,
        object_bytes: bytes.len() as u64,
        is_verified: body_is_verified && receipt_is_verified,
        repository: *repository,
        aad: bytes[..HEADER_BYTES + PREFIX_BYTES].to_vec(),
        salt: std::array::from_fn(|i| prefix[48 + i]),
        sealed: body.body[PREFIX_BYTES..].to_vec(),
    })
}

impl StoredManifest {
    /// Opens the sealed body. `KeyNeeded` when these keys belong to another writer.
    pub fn open(&self, keys: &Keys) -> Result<Manifest> {
        let object = self.at.key();
        let map = keys.map_key(self.writer).ok_or_else(|| {
            Error::KeyNeeded(format!(
                "point {} was made by writer {}; opening it needs the passphrase or key file",
                self.at.manifest, self.writer
            ))
        })?;
        let mut sealed = self.sealed.clone();
        let key = map.manifest(&self.repository, &self.salt);
        let json = key
            .open(Counter(0), &self.aad, &mut sealed)
            .ok_or_else(|| Error::damaged(&object, "its body does not decrypt"))?;
        let manifest: Manifest = serde_json::from_slice(json)
            .map_err(|e| Error::damaged(&object, format!("its body cannot be read: {e}")))?;
        manifest.check().map_err(|e| Error::damaged(&object, e.to_string()))?;
        if keys.ids().name(&manifest.name) != self.at.name {
            return Err(Error::damaged(object, "its name is not the one it stands under"));
        }
        Ok(manifest)
    }
}
