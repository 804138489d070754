//! An index that somebody else keeps, such as a server that knows what all writers stored.
//!
//! It is asked for packs, never for facts: what it names is confirmed by the footers of those packs, and a wrong answer costs
//! a chunk that is stored twice or a read that finds nothing.

use crate::error::Result;
use crate::id::{EntryKey, PackId};
use crate::index::Index;
use crate::pack::PackKind;
use std::collections::BTreeSet;

/// Names packs that hold entries which the index of this process does not know.
pub trait Elsewhere: Send + Sync {
    /// Packs that together hold those of the entries that are stored; one for each is enough.
    fn packs_with(&self, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>>;
}

/// Whoever holds a whole index answers from it. Whether the one who asks may know is not asked here.
impl Elsewhere for Index {
    fn packs_with(&self, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>> {
        let mut found = BTreeSet::new();
        for key in keys {
            for place in self.places(key)? {
                if let Some(pack) = self.pack(place.pack)?.filter(|pack| pack.kind == kind) {
                    found.insert(pack.id);
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}
