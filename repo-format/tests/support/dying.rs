//! A store whose process dies: after so many changes nothing reaches it any more.

use repo_format::store::{Store, TakesEach};
use repo_format::{Error, Result};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Dying {
    behind: Arc<dyn Store>,
    changes_left: AtomicUsize,
}

impl Dying {
    /// After `changes` puts and deletions.
    pub fn after(changes: usize, behind: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { behind, changes_left: AtomicUsize::new(changes) })
    }

    fn change(&self, key: &str) -> Result<()> {
        let left = self.changes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Error::Store { key: key.into(), source: io::Error::other("the process is dead") })
    }
}

impl Store for Dying {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.change(key).and_then(|()| self.behind.put(key, bytes))
    }

    fn puts_at_once(&self) -> usize {
        self.behind.puts_at_once()
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.behind.read_at(key, offset_bytes, buf)
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.behind.size(key)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        self.behind.list(prefix, each)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.change(key).and_then(|()| self.behind.delete(key))
    }

    fn persist(&self, keys: &[String]) -> Result<()> {
        self.behind.persist(keys)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.behind.get(key)
    }

    fn get_each(&self, keys: &[String], each: &mut TakesEach<'_>) -> Result<()> {
        self.behind.get_each(keys, each)
    }

    fn describe(&self) -> String {
        self.behind.describe()
    }
}
