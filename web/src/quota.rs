//! How much each writer stores in a repository, with what is arriving counted in.
//!
//! Counted from the index whenever that is brought up to date, so that what prune frees is free again.

use repo_format::id::WriterId;
use repo_format::index::IndexedPack;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of packs by writer: stored, and under way.
#[derive(Default)]
pub struct Usage(Mutex<HashMap<WriterId, (u64, u64)>>);

/// Room for a pack that arrives; given back when it is dropped.
pub struct Room {
    usage: Arc<Usage>,
    writer: WriterId,
    bytes: u64,
}

impl Usage {
    /// Counts anew.
    pub fn count(&self, packs: &[IndexedPack]) {
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usage.retain(|_, (stored, arriving)| {
            *stored = 0;
            *arriving > 0
        });
        for pack in packs {
            usage.entry(pack.writer).or_default().0 += pack.pack_bytes;
        }
    }

    /// Adds a pack that was stored.
    pub fn add(&self, writer: WriterId, bytes: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(writer).or_default().0 += bytes;
    }

    /// What a writer stores, and what of it is arriving.
    pub fn of(&self, writer: WriterId) -> u64 {
        let usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usage.get(&writer).map_or(0, |(stored, arriving)| stored + arriving)
    }

    /// Makes room for a pack; what is stored and arriving already when there is none.
    pub fn room(self: &Arc<Self>, writer: WriterId, bytes: u64, quota_bytes: Option<u64>) -> Result<Room, u64> {
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stored, arriving) = usage.entry(writer).or_default();
        let used = *stored + *arriving;
        if quota_bytes.is_some_and(|quota| used.saturating_add(bytes) > quota) {
            return Err(used);
        }
        *arriving += bytes;
        Ok(Room { usage: self.clone(), writer, bytes })
    }
}

impl Room {
    /// Makes it room for so many bytes, if it is for fewer; what is stored and arriving already when there is no more.
    pub fn grow(&mut self, bytes: u64, quota_bytes: Option<u64>) -> Result<(), u64> {
        let more = bytes.saturating_sub(self.bytes);
        let mut usage = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stored, arriving) = usage.entry(self.writer).or_default();
        let used = *stored + *arriving;
        if quota_bytes.is_some_and(|quota| more > 0 && used.saturating_add(more) > quota) {
            return Err(used);
        }
        *arriving += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut usage = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, arriving)) = usage.get_mut(&self.writer) {
            *arriving = arriving.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: WriterId = WriterId([1; 16]);

    #[test]
    fn what_arrives_counts_until_it_is_stored_or_given_up() {
        let usage = Arc::new(Usage::default());
        let first = usage.room(WEB, 60, Some(100)).ok().unwrap();
        assert_eq!(usage.room(WEB, 60, Some(100)).err(), Some(60), "two at once");
        drop(first);
        let second = usage.room(WEB, 60, Some(100)).ok().unwrap();
        usage.add(WEB, 60);
        drop(second);
        assert_eq!((usage.of(WEB), usage.room(WEB, 41, Some(100)).err()), (60, Some(60)));
        assert!(usage.room(WEB, 40, Some(100)).is_ok() && usage.room(WEB, 1 << 40, None).is_ok());
        let mut small = usage.room(WEB, 10, Some(100)).ok().unwrap();
        assert_eq!(small.grow(41, Some(100)), Err(70), "who goes on gets no more than the quota");
        assert_eq!((small.grow(40, Some(100)), usage.of(WEB)), (Ok(()), 100));
        drop(small);
        assert_eq!(usage.of(WEB), 60);
        usage.count(&[]);
        assert!(usage.room(WEB, 100, Some(100)).is_ok(), "pruned");
    }
}
