//! The repository's configuration: what every program must know before it touches anything else.

use crate::error::{Error, Result};
use crate::id::{RepositoryId, WriterId, hex, unhex};
use crate::keys::MasterSecret;
use crate::record::{self, MaySign};
use crate::seal::PublicKey;
use crate::sign::{Signers, VerifyKey};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Key of the configuration.
pub const CONFIG_KEY: &str = "config";
/// Key of its copy: the same bytes, read when the first cannot be.
pub const CONFIG_COPY_KEY: &str = "config-copy";
/// Smallest chunk.
pub const MIN_CHUNK_BYTES: u32 = 64 << 10;
/// Largest chunk.
pub const MAX_CHUNK_BYTES: u32 = 1 << 20;
/// Chunk of a repository whose maker chose none.
pub const DEFAULT_CHUNK_BYTES: u32 = 64 << 10;

/// The body of the `config` record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Names the repository and its replicas.
    pub repository: RepositoryId,
    /// Size of a chunk.
    pub chunk_bytes: u32,
    /// Seals data packs; 64 hexadecimal digits.
    pub public_key: String,
    /// Verifies the operator's signatures; 64 hexadecimal digits.
    pub operator_key: String,
    /// The writer that a holder of the master secret writes as.
    pub builtin_writer: WriterId,
    /// RFC 3339.
    pub created_at: jiff::Timestamp,
    /// Features without which nothing can be read.
    pub incompatible: Vec<String>,
    /// Features without which nothing may be written.
    pub read_only: Vec<String>,
    /// Features that may be ignored.
    pub compatible: Vec<String>,
}

/// Refuses a chunk size the format does not have.
pub fn check_chunk_bytes(chunk_bytes: u32) -> Result<u32> {
    if chunk_bytes.is_power_of_two() && (MIN_CHUNK_BYTES..=MAX_CHUNK_BYTES).contains(&chunk_bytes) {
        return Ok(chunk_bytes);
    }
    let allowed = format!("a power of two from {MIN_CHUNK_BYTES} to {MAX_CHUNK_BYTES}");
    Err(Error::Limit { what: "the chunk size in bytes", value: chunk_bytes.into(), allowed })
}

/// Reads the configuration without any key: from its copy when the object itself is lost, and then `lost` hears why.
pub fn read(store: &dyn Store, lost: &mut dyn FnMut(Error)) -> Result<Config> {
    let error = match read_object(store, CONFIG_KEY) {
        Err(error) if error.is_loss() => error,
        other => return other,
    };
    let copy = match read_object(store, CONFIG_COPY_KEY) {
        Ok(copy) => copy,
        Err(Error::Missing { .. }) if matches!(error, Error::Missing { .. }) => return Err(Error::NoRepository),
        Err(second) if second.is_loss() => return Err(both_lost(error, second)),
        Err(second) => return Err(second),
    };
    // What a newer program wrote is never read as what it was before; one flipped bit looks the same and is told apart.
    if matches!(error, Error::NewerVersion { .. }) && !differ_in_version_alone(store)? {
        return Err(error);
    }
    lost(error);
    Ok(copy)
}

fn read_object(store: &dyn Store, object: &str) -> Result<Config> {
    Config::decode(object, &store.get(object)?)
}

fn both_lost(first: Error, second: Error) -> Error {
    match (first, second) {
        (newer @ Error::NewerVersion { .. }, _) | (_, newer @ Error::NewerVersion { .. }) => newer,
        (Error::Damaged { what, .. }, second) => {
            Error::damaged(CONFIG_KEY, format!("{what}. Its copy cannot be used either: {second}"))
        }
        (first, second) => Error::damaged(CONFIG_KEY, format!("{first}. Its copy cannot be used either: {second}")),
    }
}

/// The checksum covers the version: a genuine newer object differs from its older copy in more than that.
fn differ_in_version_alone(store: &dyn Store) -> Result<bool> {
    let (mut first, copy) = (store.get(CONFIG_KEY)?, store.get(CONFIG_COPY_KEY)?);
    if let (Some(version), Some(known)) = (first.get_mut(8..10), copy.get(8..10)) {
        version.copy_from_slice(known);
    }
    Ok(first == copy)
}

impl Config {
    /// Configuration of a new repository.
    pub fn new(
        (repository, builtin_writer): (RepositoryId, WriterId),
        master: &MasterSecret,
        chunk_bytes: u32,
        created_at: jiff::Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            repository,
            chunk_bytes: check_chunk_bytes(chunk_bytes)?,
            public_key: hex(&master.private_key().public().bytes()),
            operator_key: hex(&master.operator_signer().verify_key().0),
            builtin_writer,
            created_at,
            incompatible: Vec::new(),
            read_only: Vec::new(),
            compatible: Vec::new(),
        })
    }

    /// Encodes the record.
    pub fn encode(&self, master: &MasterSecret) -> Result<Vec<u8>> {
        record::encode_json(record::CONFIG, &self.repository, &master.operator_signer(), self)
    }

    /// Decodes the record; `object` names it in errors. Its signature is checked against the key it names itself: that finds damage; whether the key is the
    /// right one is seen when a secret is compared with it.
    pub fn decode(object: &str, bytes: &[u8]) -> Result<Self> {
        let record = record::decode(object, record::CONFIG, bytes)?.alone(object, bytes)?;
        let config: Self = record.json(object)?;
        let signers = Signers { operator: config.operator()?, writers: HashMap::new() };
        record.verified(object, &config.repository, &signers, MaySign::Operator)?;
        check_chunk_bytes(config.chunk_bytes).map_err(|e| Error::damaged(object, e.to_string()))?;
        match config.incompatible.first() {
            Some(feature) => Err(Error::UnknownFeature(feature.clone())),
            None => Ok(config),
        }
    }

    /// Refuses to write when a feature forbids it.
    pub fn check_writable(&self) -> Result<()> {
        self.read_only.first().map_or(Ok(()), |feature| Err(Error::UnknownFeature(feature.clone())))
    }

    /// The operator's verifying key.
    pub fn operator(&self) -> Result<VerifyKey> {
        let malformed = || Error::damaged(CONFIG_KEY, "the operator's key is malformed");
        unhex(&self.operator_key).map(VerifyKey).ok_or_else(malformed)
    }

    /// The key that seals data packs.
    pub fn public(&self) -> Result<PublicKey> {
        let malformed = || Error::damaged(CONFIG_KEY, "the public key is malformed");
        PublicKey::new(&unhex(&self.public_key).ok_or_else(malformed)?)
    }
}
