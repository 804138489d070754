//! Key slots: the master secret under a passphrase or a key file.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{RepositoryId, SlotId, hex, unhex};
use crate::keys::{MasterSecret, Secret};
use crate::seal::{Counter, ObjectKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Bytes of a key file that count; the file is at least this long.
pub const KEY_FILE_BYTES: usize = 32;

/// What opens a slot.
pub enum Unlock<'a> {
    /// A passphrase.
    Passphrase(&'a str),
    /// The first 32 bytes of a key file.
    KeyFile(&'a [u8; KEY_FILE_BYTES]),
}

/// How a slot's key is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SlotKind {
    /// argon2id of a passphrase.
    Passphrase {
        /// Memory cost.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// BLAKE3 of a key file.
    KeyFile,
}

/// A slot as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeySlot {
    /// Its name; part of what the seal authenticates.
    pub slot: SlotId,
    /// What a person called it.
    pub label: String,
    /// RFC 3339.
    pub created_at: jiff::Timestamp,
    /// How its key is made.
    #[serde(flatten)]
    pub kind: SlotKind,
    salt: String,
    sealed: String,
}

/// RFC 9106's second recommendation with one lane: 64 MiB, three passes.
pub const DEFAULT_PASSPHRASE: SlotKind = SlotKind::Passphrase { memory_kib: 64 << 10, passes: 3, lanes: 1 };
const MAX_MEMORY_KIB: u32 = 4 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 64;

fn slot_key(kind: &SlotKind, salt: &[u8], unlock: &Unlock<'_>) -> Result<Option<Secret>> {
    let mut key: Secret = Zeroizing::new([0; 32]);
    match (kind, unlock) {
        (SlotKind::Passphrase { memory_kib, passes, lanes }, Unlock::Passphrase(passphrase)) => {
            if *memory_kib > MAX_MEMORY_KIB || *passes > MAX_PASSES || *lanes > MAX_LANES {
                return Err(Error::damaged("a key slot", "its costs are beyond what is allowed"));
            }
            let params = argon2::Params::new(*memory_kib, *passes, *lanes, Some(32))
                .map_err(|e| Error::damaged("a key slot", format!("its costs are impossible: {e}")))?;
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
                .map_err(|e| Error::Refused(format!("the passphrase cannot be used: {e}")))?;
        }
        (SlotKind::KeyFile, Unlock::KeyFile(bytes)) => {
            let mut hasher = blake3::Hasher::new_derive_key("icecore v1 key file");
            hasher.update(bytes.as_slice()).update(salt);
            *key = *hasher.finalize().as_bytes();
        }
        _ => return Ok(None),
    }
    Ok(Some(key))
}

fn aad(repository: &RepositoryId, slot: &SlotId) -> Vec<u8> {
    [repository.0, slot.0].concat()
}

impl KeySlot {
    /// Seals `master`. `kind` and `unlock` must be of the same sort.
    pub fn seal(
        repository: &RepositoryId,
        master: &MasterSecret,
        (kind, unlock): (SlotKind, &Unlock<'_>),
        label: &str,
        created_at: jiff::Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let slot = SlotId(random(entropy));
        let salt: [u8; 32] = random(entropy);
        let key = slot_key(&kind, &salt, unlock)?
            .ok_or_else(|| Error::Refused("a key slot's kind must fit what opens it".into()))?;
        let mut sealed = master.expose().to_vec();
        ObjectKey::new(&key).seal(Counter(0), &aad(repository, &slot), &mut sealed, 0);
        Ok(Self { slot, label: label.into(), created_at, kind, salt: hex(&salt), sealed: hex(&sealed) })
    }

    /// Checks all that can be checked without what opens it.
    pub(crate) fn check_object(&self, key: &str) -> Result<()> {
        if format!("keys/{}", self.slot) != key {
            return Err(Error::damaged(key, "it belongs to another slot"));
        }
        match (unhex::<32>(&self.salt), unhex::<48>(&self.sealed)) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err(Error::damaged(key, "its salt or sealed secret is malformed")),
        }
    }

    /// The master secret, or `None` when `unlock` is not what opens this slot.
    pub fn open(&self, repository: &RepositoryId, unlock: &Unlock<'_>) -> Result<Option<MasterSecret>> {
        let damaged = || Error::damaged(format!("keys/{}", self.slot), "its salt or sealed secret is malformed");
        let salt: [u8; 32] = unhex(&self.salt).ok_or_else(damaged)?;
        let mut sealed: [u8; 48] = unhex(&self.sealed).ok_or_else(damaged)?;
        let Some(key) = slot_key(&self.kind, &salt, unlock)? else { return Ok(None) };
        let opened = ObjectKey::new(&key).open(Counter(0), &aad(repository, &self.slot), &mut sealed);
        Ok(opened.map(|bytes| MasterSecret::from_bytes((&*bytes).try_into().expect("48 − 16 bytes"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    const CHEAP: SlotKind = SlotKind::Passphrase { memory_kib: 64, passes: 1, lanes: 1 };

    fn slot(kind: SlotKind, unlock: &Unlock<'_>) -> KeySlot {
        let master = MasterSecret::from_bytes([4; 32]);
        let at = jiff::Timestamp::UNIX_EPOCH;
        KeySlot::seal(&RepositoryId([1; 16]), &master, (kind, unlock), "door", at, &SeededEntropy::new(1)).unwrap()
    }

    #[test]
    fn a_passphrase_slot_opens_with_its_passphrase_alone() {
        let slot = slot(CHEAP, &Unlock::Passphrase("open sesame"));
        let open = |id, unlock| slot.open(&RepositoryId(id), &unlock).unwrap().map(|m| *m.expose());
        assert_eq!(open([1; 16], Unlock::Passphrase("open sesame")), Some([4; 32]));
        assert_eq!(open([1; 16], Unlock::Passphrase("open sesamE")), None);
        assert_eq!(open([2; 16], Unlock::Passphrase("open sesame")), None);
        assert_eq!(open([1; 16], Unlock::KeyFile(&[1; 32])), None);
    }

    #[test]
    fn a_key_file_slot_opens_with_its_file_alone() {
        let slot = slot(SlotKind::KeyFile, &Unlock::KeyFile(&[3; 32]));
        let repository = RepositoryId([1; 16]);
        assert!(slot.open(&repository, &Unlock::KeyFile(&[3; 32])).unwrap().is_some());
        assert!(slot.open(&repository, &Unlock::KeyFile(&[2; 32])).unwrap().is_none());
    }

    #[test]
    fn absurd_costs_are_refused_before_memory_is_taken() {
        let mut slot = slot(CHEAP, &Unlock::Passphrase("p"));
        slot.kind = SlotKind::Passphrase { memory_kib: u32::MAX, passes: 1, lanes: 1 };
        assert!(slot.open(&RepositoryId([1; 16]), &Unlock::Passphrase("p")).err().unwrap().is_damage());
    }
}
