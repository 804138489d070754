//! Identifiers. Each is its own type, so that a pack's name can never be used where a chunk's id belongs.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads exactly `N` bytes of lower-case hexadecimal digits.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                unhex(text)
                    .map(Self)
                    .ok_or_else(|| Error::NoSuch(format!(concat!("{:?} is not a ", stringify!($name)), text)))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(/// Names one repository and all its replicas.
    RepositoryId, 16);
id!(/// Names a writer; `OPERATOR` stands for the holder of the master secret.
    WriterId, 16);
id!(/// Keyed BLAKE3-256 of a chunk's plaintext.
    ChunkId, 32);
id!(/// Keyed BLAKE3-256 of an encoded tree node.
    NodeId, 32);
id!(/// BLAKE3-256 of a pack's bytes.
    PackId, 32);
id!(/// BLAKE3-256 of a manifest record's bytes; what a person calls a recovery point's id.
    ManifestId, 32);
id!(/// Keyed hash of the name under which points are made.
    NameId, 16);
id!(/// Names a lease.
    LeaseId, 16);
id!(/// Names one run of prune.
    RunId, 16);
id!(/// Names a key slot.
    SlotId, 16);
id!(/// Names a rescue.
    RescueId, 16);
id!(/// First half of the keyed BLAKE3-256 of a catalog's leaf.
    LeafId, 16);

impl WriterId {
    /// Signer of everything that only the holder of the master secret may sign.
    pub const OPERATOR: Self = Self([0; 16]);
}

id!(
    /// First 16 bytes of a chunk's or node's id: what the index stores. The footer of the pack confirms the rest.
    EntryKey,
    16
);

/// Id of a pack's entry: a chunk's in data packs, a node's in tree packs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(pub [u8; 32]);

impl EntryId {
    /// The part the index stores.
    pub fn key(&self) -> EntryKey {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0[..16]);
        EntryKey(key)
    }
}

impl From<ChunkId> for EntryId {
    fn from(id: ChunkId) -> Self {
        Self(id.0)
    }
}

impl From<NodeId> for EntryId {
    fn from(id: NodeId) -> Self {
        Self(id.0)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let id = PackId(std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()));
        assert_eq!(id.to_string().parse::<PackId>().unwrap(), id);
        assert_eq!(serde_json::from_str::<PackId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }

    #[test]
    fn ids_refuse_other_texts() {
        for text in ["", "0", "zz", &"0".repeat(63), &"0".repeat(65), &"G".repeat(64), &"A".repeat(64), &"é".repeat(32)]
        {
            assert!(text.parse::<PackId>().is_err(), "{text:?}");
        }
    }
}
