//! Open packs, kept while they are near to hand: footers are read once for a run of entries, memory stays bounded.

use crate::error::Result;
use crate::id::PackId;
use crate::pack::{self, OpenPack, PackInfo, PackKind};
use crate::repository::Repository;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Rows of footers that are kept; about 72 bytes each.
const MAX_ROWS: usize = 256 << 10;

/// A pack that can be read, or one of which only the footer can be.
pub enum CachedPack {
    /// With its key.
    Open(OpenPack),
    /// Without.
    Info(PackInfo),
}

impl CachedPack {
    /// Header and footer.
    pub fn info(&self) -> &PackInfo {
        match self {
            Self::Open(pack) => &pack.info,
            Self::Info(info) => info,
        }
    }
}

#[derive(Default)]
struct Entries {
    packs: HashMap<PackId, (Arc<CachedPack>, u64)>,
    rows: usize,
    clock: u64,
}

/// The cache. Shared by all threads of a process.
#[derive(Default)]
pub struct PackCache(Mutex<Entries>);

impl PackCache {
    /// The pack with its verified footer; opened when the keys allow it.
    pub fn get(&self, repo: &Repository, kind: PackKind, id: PackId) -> Result<Arc<CachedPack>> {
        if let Some(found) = self.hit(&id) {
            return Ok(found);
        }
        // Loaded outside the lock; two threads may load the same pack, which costs a read and nothing else.
        let info = pack::load(repo.store(), kind, &id, &repo.config().repository, repo.signers())?;
        let can_open = match kind {
            PackKind::Data => repo.keys().private().is_some(),
            PackKind::Tree => repo.keys().map_key(info.header.writer).is_some(),
        };
        let pack = match can_open {
            true => CachedPack::Open(OpenPack::new(id, info, repo.keys())?),
            false => CachedPack::Info(info),
        };
        let pack = Arc::new(pack);
        self.keep(id, pack.clone());
        Ok(pack)
    }

    fn hit(&self, id: &PackId) -> Option<Arc<CachedPack>> {
        let mut entries = self.0.lock().expect("no panic while held");
        entries.clock += 1;
        let clock = entries.clock;
        let (pack, used) = entries.packs.get_mut(id)?;
        *used = clock;
        Some(pack.clone())
    }

    fn keep(&self, id: PackId, pack: Arc<CachedPack>) {
        let mut entries = self.0.lock().expect("no panic while held");
        entries.rows += pack.info().rows.len();
        entries.clock += 1;
        let clock = entries.clock;
        if let Some((old, _)) = entries.packs.insert(id, (pack, clock)) {
            entries.rows -= old.info().rows.len();
        }
        while entries.rows > MAX_ROWS && entries.packs.len() > 1 {
            let oldest = entries.packs.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id);
            let Some((old, _)) = oldest.and_then(|id| entries.packs.remove(&id)) else { break };
            entries.rows -= old.info().rows.len();
        }
    }
}
