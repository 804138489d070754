//! The dumb object storage below a repository: put, get, list, delete of whole immutable objects.
//!
//! Nothing above this trait knows files. Nothing below it knows what the objects mean.

pub mod dir;
pub mod fs;
pub mod requests;
#[cfg(feature = "s3")]
pub mod s3;
pub mod sim;
pub mod staged;

use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::probe::Findings;
use jiff::Timestamp;
use requests::Requests;

/// Longest object that is read whole.
pub const MAX_OBJECT_BYTES: u64 = 128 << 20;

/// Takes each object that is read, with its key, and ends the reading with an error of its own.
pub type TakesEach<'a> = dyn FnMut(&str, Result<Vec<u8>>) -> Result<()> + 'a;

/// A store of objects. All methods may be called from any thread.
///
/// Keys are relative paths of `[a-z0-9-]` parts joined by `/`.
pub trait Store: Send + Sync {
    /// Stores an object; when it returns, a power cut cannot take it back. Storing the same key again replaces the object.
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()>;

    /// The same with bytes that the caller needs no more; a store that has to keep them while it sends them makes no copy. Returns the
    /// room for the next object where the store did not keep it: fresh memory costs a page fault every 4 KiB.
    fn put_owned(&self, key: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.put(key, &bytes)?;
        Ok(Some(bytes))
    }

    /// How many objects one session puts at the same time. More than one where a put is mostly waiting.
    fn puts_at_once(&self) -> usize {
        1
    }

    /// Reads `buf.len()` bytes from `offset_bytes`; `Missing` without the object, `Damaged` when it is shorter.
    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()>;

    /// Length of an object, or `None` when there is none.
    fn size(&self, key: &str) -> Result<Option<u64>>;

    /// Calls `each` with key and length of every object below the prefix (a path that ends in `/`, or nothing: all there is), in no order.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()>;

    /// Deletes an object, durably. No error when there is none.
    fn delete(&self, key: &str) -> Result<()>;

    /// Makes objects durable that were found, not put, and the absence of those that were found gone: who wrote or deleted them may
    /// have died just before it saw to that.
    fn persist(&self, keys: &[String]) -> Result<()>;

    /// Removes what interrupted writes left behind. Only safe while nothing else writes.
    fn sweep(&self) -> Result<u64> {
        Ok(0)
    }

    /// Whether an object, once there, stays what it was until it is deleted, whoever writes: then a pack has the bytes of its name.
    fn keeps_names(&self) -> bool {
        false
    }

    /// Whether what its listings show has to be tried before anything is deleted by it: the store is a service of which many kinds exist.
    fn listings_need_proof(&self) -> bool {
        false
    }

    /// Tries what the store does, with objects below `tmp/` that are gone afterwards; nothing where it is known beforehand.
    fn probe(&self, _entropy: &dyn Entropy, _now: Timestamp) -> Result<Option<Findings>> {
        Ok(None)
    }

    /// What was asked of it so far, where each request costs something.
    fn requests(&self) -> Option<Requests> {
        None
    }

    /// How a person would name this store.
    fn describe(&self) -> String;

    /// Reads a whole object of bounded length.
    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let size = self.size(key)?.ok_or_else(|| Error::Missing { key: key.into() })?;
        if size > MAX_OBJECT_BYTES {
            return Err(Error::damaged(key, format!("it is {size} bytes long; no object of the format is")));
        }
        let mut bytes = vec![0; usize::try_from(size).expect("bounded above")];
        self.read_at(key, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads whole small objects and gives each to `each`, in the order of the keys, until that fails. A store behind a network asks for many
    /// at once, so that the way there is gone once and not once an object.
    fn get_each(&self, keys: &[String], each: &mut TakesEach<'_>) -> Result<()> {
        keys.iter().try_for_each(|key| each(key, self.get(key)))
    }

    /// Whether an object exists.
    fn exists(&self, key: &str) -> Result<bool> {
        Ok(self.size(key)?.is_some())
    }

    /// Keys below a prefix, sorted. For prefixes with few objects.
    fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        self.list(prefix, &mut |key, _| keys.push(key.to_owned()))?;
        keys.sort_unstable();
        Ok(keys)
    }
}
