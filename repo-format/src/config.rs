//! The repository's configuration: what every program must know before it touches anything else.

use crate::error::{Error, Result};
use crate::id::{RepositoryId, WriterId, hex, unhex};
use crate::keys::MasterSecret;
use crate::record::{self, MaySign};
use crate::seal::PublicKey;
use crate::sign::{Signers, VerifyKey};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Key of the configuration.
pub const CONFIG_KEY: &str = "config";
/// Smallest chunk.
pub const MIN_CHUNK_BYTES: u32 = 64 << 10;
/// Largest chunk.
pub const MAX_CHUNK_BYTES: u32 = 1 << 20;
/// Chunk of a repository whose maker chose none.
pub const DEFAULT_CHUNK_BYTES: u32 = 64 << 10;

/// The body of the `config` record.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

    /// Decodes the record. Its signature is checked against the key it names itself: that finds damage; whether the key is the
    /// right one is seen when a secret is compared with it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let record = record::decode(CONFIG_KEY, record::CONFIG, bytes)?.alone(CONFIG_KEY, bytes)?;
        let config: Self = record.json(CONFIG_KEY)?;
        let signers = Signers { operator: config.operator()?, writers: HashMap::new() };
        record.verified(CONFIG_KEY, &config.repository, &signers, MaySign::Operator)?;
        check_chunk_bytes(config.chunk_bytes).map_err(|e| Error::damaged(CONFIG_KEY, e.to_string()))?;
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
