//! The objects of a repository, as whoever backs up or restores over the network asks for them.
//!
//! Keys are those of the format (`repo-format/FORMAT.md`, "Objects in the store"). In a URL the `/` of a key is written as a dot, which no
//! key contains, so that nothing on the way has to leave an encoded slash alone.

use crate::unit::ByteCount;
use serde::{Deserialize, Serialize};

/// Header that comes with a manifest: the object of the session's lease.
pub const LEASE_HEADER: &str = "icecore-lease";
/// Header that comes with the rest of a pack whose line broke: how much of it the server said that it received.
pub const OFFSET_HEADER: &str = "upload-offset";
/// Most bytes that one request reads of an object.
pub const MAX_READ_BYTES: u64 = 8 << 20;
/// Most keys that one question to the index asks for.
pub const MAX_ASKED_KEYS: usize = 4096;
/// Most objects that one request reads as a whole.
pub const MAX_READ_OBJECTS: usize = 256;
/// Most objects of one page of a listing.
pub const MAX_LISTED: usize = 10_000;

/// A key as it stands in a URL.
pub fn to_url(key: &str) -> String {
    key.replace('/', ".")
}

/// The key that stands in a URL.
pub fn from_url(text: &str) -> String {
    text.replace('.', "/")
}

/// An object in a listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Its length.
    pub size_bytes: ByteCount,
}

/// Which objects are wanted.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "openapi", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ListObjects {
    /// What their keys begin with: a path that ends in `/`, or nothing.
    #[serde(default)]
    pub prefix: String,
    /// `next_cursor` of the page before; nothing for the first page.
    pub cursor: Option<String>,
}

/// What a pack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum KindOfPack {
    /// Chunks.
    Data,
    /// Nodes of trees.
    Tree,
}

/// A question to the index: which packs hold these?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AskPacks {
    /// Chunks or nodes.
    pub kind: KindOfPack,
    /// The first 16 bytes of each id as 32 hexadecimal digits; at most 4096.
    pub keys: Vec<String>,
}

/// Packs that hold those that are stored, as far as the caller may rely on them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FoundPacks {
    /// Names of packs.
    pub packs: Vec<String>,
}

/// Objects that were found and not put, and shall survive a power cut from now on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PersistObjects {
    /// Their keys; at most 4096.
    pub keys: Vec<String>,
}

/// What came of a pack before its line broke.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Received {
    /// How many bytes are kept; 0 where none are.
    pub received_bytes: ByteCount,
}

/// Small objects that are wanted as a whole. The answer is one after the other, each as [`Framed`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReadObjects {
    /// Their keys; at most 256.
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub keys: Vec<String>,
}

/// One of several objects in an answer: its length as 8 bytes, little-endian, and its bytes; or [`ASK_ALONE`] instead of a length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framed<'a> {
    /// It, whole.
    Whole(&'a [u8]),
    /// Nothing: it is not there, not for the one who asks, or there was no room left. A request for it alone says which.
    AskAlone,
}

/// In the place of a length: see [`Framed::AskAlone`].
pub const ASK_ALONE: u64 = u64::MAX;

impl<'a> Framed<'a> {
    /// Adds it to an answer.
    pub fn write(self, answer: &mut Vec<u8>) {
        match self {
            Self::Whole(bytes) => {
                answer.extend((bytes.len() as u64).to_le_bytes());
                answer.extend(bytes);
            }
            Self::AskAlone => answer.extend(ASK_ALONE.to_le_bytes()),
        }
    }

    /// Takes the next one from the rest of an answer; `None` when that ends in the middle of it.
    pub fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let framed = match u64::from_le_bytes(*length) {
            ASK_ALONE => (Self::AskAlone, after),
            length => {
                let (bytes, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
                (Self::Whole(bytes), after)
            }
        };
        *rest = framed.1;
        Some(framed.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_in_one_answer_are_told_apart_and_a_cut_answer_is_noticed() {
        let mut answer = Vec::new();
        let sent = [Framed::Whole(b"one"), Framed::AskAlone, Framed::Whole(b"")];
        sent.iter().for_each(|framed| framed.write(&mut answer));
        let mut rest = &answer[..];
        assert_eq!([0, 1, 2].map(|_| Framed::read(&mut rest).unwrap()), sent);
        assert!(rest.is_empty() && Framed::read(&mut rest).is_none());
        for cut in [1, 8, 10, 18, 20] {
            let mut rest = &answer[..cut];
            let whole = std::iter::from_fn(|| Framed::read(&mut rest)).count();
            assert!(whole < 3, "{cut}");
        }
        let mut lie: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1, 2];
        assert_eq!(Framed::read(&mut lie), None);
    }

    #[test]
    fn keys_survive_urls() {
        for key in ["config", "data/ab/abcd", "leases/00-01"] {
            assert_eq!(from_url(&to_url(key)), key);
            assert!(!to_url(key).contains('/'));
        }
    }
}
