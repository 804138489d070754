//! Which kind of object a key names, as far as the rules for writers tell kinds apart.

use crate::config::{CONFIG_COPY_KEY, CONFIG_KEY};
use crate::id::{LeafId, LeaseId, ManifestId, PackId};
use crate::lease;
use crate::manifest::PointKey;
use crate::pack::PackKind;

/// A kind of object, by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A pack.
    Pack(PackKind, PackId),
    /// A recovery point's manifest.
    Manifest(PointKey),
    /// One object of a lease.
    Lease(LeaseId, u32),
    /// A record that every writer may read: configuration, writers, what is condemned, damaged, verified, forgotten, suspect.
    Record,
    /// A sealed master secret.
    KeySlot,
    /// Names of files, sealed: a catalog or a leaf of it.
    Catalog,
    /// None of the format's.
    Unknown,
}

/// Prefixes of records that writers read.
const RECORDS: [&str; 10] = [
    "writers/",
    "tombstones/",
    "pardons/",
    "executions/",
    "condemned/",
    "rescues/",
    "verified/",
    "damaged/",
    "suspects/",
    "probes/",
];

impl Object {
    /// The kind that a key names.
    pub fn of(key: &str) -> Self {
        let sound = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        for kind in [PackKind::Data, PackKind::Tree] {
            if let Some(pack) = kind.parse_key(key) {
                return Self::Pack(kind, pack);
            }
        }
        if let Some(at) = PointKey::parse(key).filter(|at| at.key() == key) {
            return Self::Manifest(at);
        }
        if let Some((id, counter)) = lease::parse(key).filter(|(id, counter)| lease::key(id, *counter) == key) {
            return Self::Lease(id, counter);
        }
        if key == CONFIG_KEY || key == CONFIG_COPY_KEY {
            return Self::Record;
        }
        if key.strip_prefix("keys/").is_some_and(sound) {
            return Self::KeySlot;
        }
        let of_catalog = key.strip_prefix("catalogs/").map(|id| id.parse::<ManifestId>().is_ok());
        let of_leaf = || key.strip_prefix("leaves/").and_then(|key| key.split_once('/'));
        let is_leaf = || {
            of_leaf()
                .is_some_and(|(first, id)| id.parse::<LeafId>().is_ok() && id.starts_with(first) && first.len() == 2)
        };
        if of_catalog.unwrap_or_else(is_leaf) {
            return Self::Catalog;
        }
        let of_record = RECORDS.iter().find_map(|prefix| key.strip_prefix(prefix));
        if of_record.is_some_and(|name| !name.is_empty() && sound(name)) { Self::Record } else { Self::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_is_told_apart_and_strange_ones_are_unknown() {
        let id = "ab".repeat(32);
        let short = "ab".repeat(16);
        assert!(matches!(Object::of(&format!("data/ab/{id}")), Object::Pack(PackKind::Data, _)));
        assert!(matches!(Object::of(&format!("tree/ab/{id}")), Object::Pack(PackKind::Tree, _)));
        assert!(matches!(Object::of(&format!("manifests/{short}/{:016x}-{id}", 7)), Object::Manifest(_)));
        assert!(matches!(Object::of(&format!("leases/{short}-{:08x}", 1)), Object::Lease(_, 1)));
        for key in ["config", "config-copy", "writers/ab-1", "condemned/ab-list", "suspects/ab"] {
            assert_eq!(Object::of(key), Object::Record, "{key}");
        }
        assert_eq!(Object::of("keys/ab"), Object::KeySlot);
        assert_eq!(Object::of(&format!("catalogs/{id}")), Object::Catalog);
        assert_eq!(Object::of(&format!("leaves/ab/{short}")), Object::Catalog);
        for key in [format!("catalogs/{short}"), format!("leaves/ac/{short}"), format!("leaves/{short}")] {
            assert_eq!(Object::of(&key), Object::Unknown, "{key}");
        }
        let strange = [
            "",
            "tmp/x",
            "data/cd/ab",
            "config/",
            "config2",
            "keys/../config",
            "writers/",
            "writers/a/b",
            "verified/A",
        ];
        for key in strange {
            assert_eq!(Object::of(key), Object::Unknown, "{key}");
        }
        assert_eq!(Object::of(&format!("data/cd/{id}")), Object::Unknown, "a pack in another's directory");
        assert_eq!(Object::of(&format!("manifests/{short}/{:016X}-{id}", 171)), Object::Unknown);
    }
}
