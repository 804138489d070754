//! A store that is asked before each read, or before each listing: to fail it, to let time pass or things happen, to count.

use repo_format::error::Result;
use repo_format::store::Store;
use std::sync::Arc;

/// Key, offset in bytes and length of a read that is about to happen; an error takes its place.
type BeforeRead = dyn Fn(&str, u64, usize) -> Result<()> + Send + Sync;

/// Prefix of a listing that is about to happen.
type BeforeList = dyn Fn(&str) + Send + Sync;

/// Passes everything on to the store below.
pub struct Watched {
    below: Arc<dyn Store>,
    before_read: Box<BeforeRead>,
    before_list: Box<BeforeList>,
}

impl Watched {
    /// `before_read` runs before each read, in the thread that reads.
    pub fn new(
        below: Arc<dyn Store>,
        before_read: impl Fn(&str, u64, usize) -> Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { below, before_read: Box::new(before_read), before_list: Box::new(|_| {}) })
    }

    /// `before_list` runs before each listing, in the thread that lists.
    pub fn listed(below: Arc<dyn Store>, before_list: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { below, before_read: Box::new(|_, _, _| Ok(())), before_list: Box::new(before_list) })
    }
}

impl Store for Watched {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.below.put(key, bytes)
    }
    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        (self.before_read)(key, offset_bytes, buf.len())?;
        self.below.read_at(key, offset_bytes, buf)
    }
    fn size(&self, key: &str) -> Result<Option<u64>> {
        self.below.size(key)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        (self.before_list)(prefix);
        self.below.list(prefix, each)
    }
    fn delete(&self, key: &str) -> Result<()> {
        self.below.delete(key)
    }
    fn persist(&self, keys: &[String]) -> Result<()> {
        self.below.persist(keys)
    }
    fn describe(&self) -> String {
        self.below.describe()
    }
}
