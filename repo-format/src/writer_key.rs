//! The writer key file: what an unattended backup holds. It opens this writer's own trees and no chunk at all.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{RepositoryId, WriterId, hex, unhex};
use crate::keys::{IdKeys, MapKey, MasterSecret, WriterKeys};
use crate::seal::PublicKey;
use crate::sign::{Signer, VerifyKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const KIND: &str = "icecore writer key v1";

/// The file's JSON.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    repository: String,
    writer: String,
    id_key: String,
    map_key: String,
    signing_seed: String,
    public_key: String,
    operator_key: String,
    check: String,
}

/// A writer as the repository's `writers/` records describe it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriterRecord {
    /// Its name.
    pub writer: WriterId,
    /// What a person called it.
    pub label: String,
    /// Key its signatures must fit, in hexadecimal digits.
    pub verify_key: String,
    /// Writers of one group believe each other's chunks.
    pub trust_group: Option<String>,
    /// RFC 3339.
    pub created_at: jiff::Timestamp,
    /// Set when it may begin no new session.
    pub revoked_at: Option<jiff::Timestamp>,
}

impl WriterRecord {
    /// The key its signatures must fit.
    pub fn key(&self) -> Result<VerifyKey> {
        unhex(&self.verify_key)
            .map(VerifyKey)
            .ok_or_else(|| Error::damaged(format!("writer {}", self.writer), "its key is malformed"))
    }

    /// Describes `signer`.
    pub fn new(signer: &Signer, label: &str, trust_group: Option<String>, created_at: jiff::Timestamp) -> Self {
        Self {
            writer: signer.id(),
            label: label.into(),
            verify_key: hex(&signer.verify_key().0),
            trust_group,
            created_at,
            revoked_at: None,
        }
    }
}

/// Makes a new writer's keys from the master secret. The seed is random and exists only in the file.
pub fn create(repository: RepositoryId, master: &MasterSecret, entropy: &dyn Entropy) -> WriterKeys {
    let writer = WriterId(random(entropy));
    WriterKeys {
        repository,
        writer,
        ids: IdKeys::new(master.id_key()),
        map: master.map_key(writer),
        public: master.private_key().public(),
        operator: master.operator_signer().verify_key(),
        seed: Zeroizing::new(random(entropy)),
    }
}

fn check(file: &File) -> String {
    let parts = [
        &file.kind,
        &file.repository,
        &file.writer,
        &file.id_key,
        &file.map_key,
        &file.signing_seed,
        &file.public_key,
        &file.operator_key,
    ];
    let mut hasher = blake3::Hasher::new_derive_key("icecore v1 writer key file check");
    for part in parts {
        hasher.update(part.as_bytes()).update(b"\n");
    }
    hex(&hasher.finalize().as_bytes()[..8])
}

/// The file's text.
pub fn to_text(keys: &WriterKeys) -> Zeroizing<String> {
    let mut file = File {
        kind: KIND.into(),
        repository: keys.repository.to_string(),
        writer: keys.writer.to_string(),
        id_key: hex(keys.ids.root()),
        map_key: hex(keys.map.0.as_slice()),
        signing_seed: hex(keys.seed.as_slice()),
        public_key: hex(&keys.public.bytes()),
        operator_key: hex(&keys.operator.0),
        check: String::new(),
    };
    file.check = check(&file);
    Zeroizing::new(serde_json::to_string_pretty(&file).expect("strings are always JSON") + "\n")
}

/// Reads the file's text.
pub fn from_text(text: &str) -> Result<WriterKeys> {
    let wrong = |what: &str| Error::Refused(format!("this is not a usable writer key file: {what}"));
    let file: File = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
    if file.kind != KIND {
        return Err(wrong("its kind is another"));
    }
    if file.check != check(&file) {
        return Err(wrong("its check digits do not fit; the file is damaged"));
    }
    let bytes = |text: &str| unhex::<32>(text).ok_or_else(|| wrong("a key is malformed"));
    Ok(WriterKeys {
        repository: file.repository.parse()?,
        writer: file.writer.parse()?,
        ids: IdKeys::new(Zeroizing::new(bytes(&file.id_key)?)),
        map: MapKey(Zeroizing::new(bytes(&file.map_key)?)),
        public: PublicKey::new(&bytes(&file.public_key)?)?,
        operator: VerifyKey(bytes(&file.operator_key)?),
        seed: Zeroizing::new(bytes(&file.signing_seed)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn keys() -> WriterKeys {
        create(RepositoryId([1; 16]), &MasterSecret::from_bytes([2; 32]), &SeededEntropy::new(3))
    }

    #[test]
    fn a_writer_key_file_survives_its_text() {
        let text = to_text(&keys());
        let again = from_text(&text).unwrap();
        assert_eq!(*to_text(&again), *text);
        assert_eq!(again.signer().verify_key(), keys().signer().verify_key());
    }

    #[test]
    fn a_changed_writer_key_file_is_refused() {
        let text = to_text(&keys());
        for (at, digit) in text.char_indices().filter(|(_, c)| c.is_ascii_hexdigit()) {
            let mut bad = text.to_string();
            bad.replace_range(at..=at, if digit == '0' { "1" } else { "0" });
            assert!(from_text(&bad).is_err(), "digit {at}");
        }
    }
}
