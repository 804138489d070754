//! The objects of a repository, as whoever backs up or restores over the network asks for them.
//!
//! Keys are those of the format (`repo-format/FORMAT.md`, "Objects in the store"). In a URL the `/` of a key is written as a dot, which no
//! key contains, so that nothing on the way has to leave an encoded slash alone.

use crate::unit::ByteCount;
use serde::{Deserialize, Serialize};

/// Header that comes with a manifest: the object of the session's lease.
pub const LEASE_HEADER: &str = "icecore-lease";
/// Most bytes that one request reads of an object.
pub const MAX_READ_BYTES: u64 = 8 << 20;
/// Most keys that one question to the index asks for.
pub const MAX_ASKED_KEYS: usize = 4096;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_urls() {
        for key in ["config", "data/ab/abcd", "leases/00-01"] {
            assert_eq!(from_url(&to_url(key)), key);
            assert!(!to_url(key).contains('/'));
        }
    }
}
