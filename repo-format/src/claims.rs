//! "Is this chunk known?": the one place where a session decides whether something must be stored.

use crate::error::Result;
use crate::id::{EntryId, EntryKey, PackId, WriterId};
use crate::index::IndexedPack;
use crate::pack::{PackInfo, PackKind};
use crate::pack_cache::CachedPack;
use crate::reader::Reader;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A session's knowledge of what is stored. Shared by its worker threads.
///
/// An entry is known when this session stored it, or when a pack holds it that is confirmed by its own footer, is neither condemned nor damaged, and
/// was stored by a writer this one trusts or verified by the operator.
pub struct Claims<'r> {
    reader: &'r Reader<'r>,
    writer: WriterId,
    unreliable: HashSet<PackId>,
    verified: HashSet<PackId>,
    /// Claimed and not yet in the index.
    pending: Mutex<HashSet<EntryKey>>,
    /// Packs that this session relies on, its own among them.
    relied: Mutex<HashSet<PackId>>,
    /// Verified packs that were hashed, and whether they have their name.
    hashed: Mutex<HashMap<PackId, bool>>,
    /// No tree node that lay in the store before this session counts as known.
    distrusts_trees: AtomicBool,
    /// Packs of this session.
    own: Mutex<HashSet<PackId>>,
    filter: OnceLock<Filter>,
    look_ups: AtomicUsize,
}

/// Where a caller's last known entry lies. What followed it on the disk mostly follows it in the pack, and then the pack's footer answers
/// instead of the index. One for each thread.
#[derive(Default)]
pub struct Hint(Option<(IndexedPack, Arc<CachedPack>, u32)>);

impl Hint {
    /// Moves on to the next entry of the pack if that is the one.
    fn advance(&mut self, id: &EntryId, kind: PackKind) -> Option<&IndexedPack> {
        let (pack, cached, entry) = self.0.as_mut().filter(|(pack, ..)| pack.kind == kind)?;
        let next = *entry + 1;
        (cached.info().rows.get(next as usize)?.id == *id).then(|| *entry = next)?;
        Some(pack)
    }
}

/// After this many look-ups a filter is worth the scan that fills it.
const LOOK_UPS_BEFORE_FILTER: usize = 4096;

impl<'r> Claims<'r> {
    /// Knowledge at the start of a session. `unreliable` (condemned or found damaged) was read after the session's lease was durable.
    pub fn new(reader: &'r Reader<'r>, unreliable: HashSet<PackId>, verified: HashSet<PackId>) -> Self {
        Self {
            reader,
            writer: reader.repository().keys().writer().writer,
            unreliable,
            verified,
            pending: Mutex::default(),
            relied: Mutex::default(),
            hashed: Mutex::default(),
            distrusts_trees: AtomicBool::new(false),
            own: Mutex::default(),
            filter: OnceLock::new(),
            look_ups: AtomicUsize::new(0),
        }
    }

    /// From now on every tree node that this session did not store itself is stored again: one was found that cannot be read, and a
    /// footer says nothing about its neighbours.
    pub fn distrust_trees(&self) {
        self.distrusts_trees.store(true, Ordering::Relaxed);
    }

    /// Forgets what was claimed and is in no pack. Whoever claimed it has ended without storing it, so the next must.
    pub(crate) fn forget_pending(&self) {
        self.pending.lock().expect("no panic while held").clear();
    }

    /// Prepares for questions about all of these by one question to an index elsewhere, where there is one.
    pub fn prepare(&self, kind: PackKind, ids: &[EntryId]) -> Result<()> {
        self.reader.learn(kind, ids)
    }

    /// Whether the caller must store the entry. Of several callers with the same new entry exactly one is told so.
    pub fn claim(&self, id: &EntryId, kind: PackKind, hint: &mut Hint) -> Result<bool> {
        let key = id.key();
        if self.pending.lock().expect("no panic while held").contains(&key) || self.is_stored(id, kind, hint)? {
            return Ok(false);
        }
        let claimed = self.pending.lock().expect("no panic while held").insert(key);
        if let Some(filter) = self.filter.get() {
            filter.insert(&key);
        }
        Ok(claimed)
    }

    fn is_stored(&self, id: &EntryId, kind: PackKind, hint: &mut Hint) -> Result<bool> {
        if let Some(pack) = hint.advance(id, kind)
            && self.may_rely_on(pack)?
        {
            self.relied.lock().expect("no panic while held").insert(pack.id);
            return Ok(true);
        }
        let key = id.key();
        if !self.filter()?.is_none_or(|filter| filter.may_contain(&key)) {
            return Ok(false);
        }
        for place in self.reader.index().places(&key)? {
            if let Some((pack, cached)) = self.reader.confirm(id, kind, place)?
                && self.may_rely_on(&pack)?
            {
                self.relied.lock().expect("no panic while held").insert(pack.id);
                hint.0 = Some((pack, cached, place.entry));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn may_rely_on(&self, pack: &IndexedPack) -> Result<bool> {
        if self.unreliable.contains(&pack.id) {
            return Ok(false);
        }
        match pack.kind {
            PackKind::Tree if self.distrusts_trees.load(Ordering::Relaxed) => {
                Ok(self.own.lock().expect("no panic while held").contains(&pack.id))
            }
            // Another's trees are sealed with another's map key.
            PackKind::Tree => Ok(pack.writer == self.writer),
            PackKind::Data => {
                let trusted = pack.signer == WriterId::OPERATOR
                    || self.reader.repository().signers().trusts(self.writer, pack.writer);
                Ok(trusted || (self.verified.contains(&pack.id) && self.is_what_was_verified(pack)?))
            }
        }
    }

    /// A verification is of a name. The writer whose pack it is could have put other bytes under it since: they are hashed once.
    fn is_what_was_verified(&self, pack: &IndexedPack) -> Result<bool> {
        if self.reader.repository().store().keeps_names() {
            return Ok(true);
        }
        if let Some(known) = self.hashed.lock().expect("no panic while held").get(&pack.id) {
            return Ok(*known);
        }
        let is_same = match self.reader.repository().store().get(&pack.kind.key(&pack.id)) {
            Ok(bytes) => blake3::hash(&bytes).as_bytes() == &pack.id.0,
            Err(error) if error.is_damage() => false,
            Err(error) => return Err(error),
        };
        self.hashed.lock().expect("no panic while held").insert(pack.id, is_same);
        Ok(is_same)
    }

    fn filter(&self) -> Result<Option<&Filter>> {
        if self.reader.repository().elsewhere().is_some() {
            // It would deny what the index learns after the scan.
            return Ok(None);
        }
        if let Some(filter) = self.filter.get() {
            return Ok(filter.useful());
        }
        if self.look_ups.fetch_add(1, Ordering::Relaxed) != LOOK_UPS_BEFORE_FILTER {
            return Ok(None);
        }
        // Claims that other threads make during the scan are entered under the lock that `claim` inserts under.
        let filter = Filter::new(self.reader.index().entry_count()?);
        if filter.useful().is_some() {
            let pending = self.pending.lock().expect("no panic while held");
            self.reader.index().each_key(&mut |key| filter.insert(&key))?;
            pending.iter().for_each(|key| filter.insert(key));
            // Set under the lock: whoever claims after it sees the filter and enters its own key.
            return Ok(self.filter.get_or_init(|| filter).useful());
        }
        Ok(self.filter.get_or_init(|| filter).useful())
    }

    /// Says that a pack of this session is durable and in the index.
    pub fn settle(&self, pack: PackId, info: &PackInfo) {
        self.relied.lock().expect("no panic while held").insert(pack);
        self.own.lock().expect("no panic while held").insert(pack);
        let mut pending = self.pending.lock().expect("no panic while held");
        info.rows.iter().for_each(|row| {
            pending.remove(&row.id.key());
        });
    }

    /// Packs that entries of this session's point lie in, its own and those of earlier sessions.
    pub fn relied(&self) -> Vec<PackId> {
        self.relied.lock().expect("no panic while held").iter().copied().collect()
    }
}

/// A Bloom filter over entry keys (Bloom 1970), four bits a key. Says "surely not" without a look into SQLite.
struct Filter {
    bits: Vec<AtomicU64>,
}

/// Largest filter: 32 MiB.
const MAX_FILTER_BITS: u64 = 256 << 20;
const BITS_PER_KEY: u64 = 12;
/// Room for what the session adds.
const ROOM: u64 = 1 << 20;

impl Filter {
    /// A filter for this many keys and some more; without bits when it would be too large to help.
    fn new(keys: u64) -> Self {
        let wanted =
            keys.saturating_add(ROOM).saturating_mul(BITS_PER_KEY).checked_next_power_of_two().unwrap_or(u64::MAX);
        let words = if wanted > MAX_FILTER_BITS { 0 } else { wanted / 64 };
        Self { bits: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn useful(&self) -> Option<&Self> {
        (!self.bits.is_empty()).then_some(self)
    }

    /// Places of a key. Its bytes are a keyed hash: uniform already.
    fn places(&self, key: &EntryKey) -> [(usize, u64); 4] {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| key.0[at + i])) as usize;
        let mask = self.bits.len() * 64 - 1;
        [0, 4, 8, 12].map(|at| {
            let bit = word(at) & mask;
            (bit / 64, 1 << (bit % 64))
        })
    }

    fn insert(&self, key: &EntryKey) {
        if !self.bits.is_empty() {
            self.places(key).iter().for_each(|(word, bit)| {
                self.bits[*word].fetch_or(*bit, Ordering::Relaxed);
            });
        }
    }

    fn may_contain(&self, key: &EntryKey) -> bool {
        self.places(key).iter().all(|(word, bit)| self.bits[*word].load(Ordering::Relaxed) & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{SeededEntropy, random};

    #[test]
    fn the_filter_never_denies_what_it_was_given_and_rarely_affirms_the_rest() {
        let entropy = SeededEntropy::new(4);
        let filter = Filter::new(0);
        let keys: Vec<_> = (0..10_000).map(|_| EntryKey(random(&entropy))).collect();
        keys.iter().for_each(|key| filter.insert(key));
        assert!(keys.iter().all(|key| filter.may_contain(key)));
        let wrong = (0..10_000).filter(|_| filter.may_contain(&EntryKey(random(&entropy)))).count();
        assert!(wrong < 100, "{wrong}");
        assert!(Filter::new(u64::MAX).useful().is_none());
    }
}
