//! A store behind the gate: what a transport does, without one.

use super::Bench;
use jiff::Timestamp;
use repo_format::gate::{Denied, Gate, Object, Party, check_pack};
use repo_format::store::Store;
use repo_format::{Error, Result};
use std::sync::{Arc, Mutex};

/// A store as somebody sees it through the gate: what a transport does, without one.
pub struct Guarded {
    behind: Arc<dyn Store>,
    party: Party,
    now: Timestamp,
    lease: Mutex<Option<String>>,
}

fn refused(denied: Denied) -> Error {
    match denied {
        Denied::LeaseLost => Error::LeaseLost,
        Denied::Store(error) => error,
        other => Error::Refused(other.to_string()),
    }
}

impl Guarded {
    /// The bench's store at its time now.
    pub fn new(bench: &Bench, party: Party) -> Self {
        Self { behind: bench.store(), party, now: bench.now(), lease: Mutex::default() }
    }

    fn gate(&self) -> Result<Gate> {
        Gate::open(&*self.behind)
    }
}

impl Store for Guarded {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let gate = self.gate()?;
        if let Object::Pack(kind, id) = Object::of(key) {
            let Party::Writer(writer) = self.party else {
                return Err(Error::Refused("packs are machines' work".into()));
            };
            check_pack(&gate, writer, kind, &id, bytes).map_err(refused)?;
            return self.behind.put(key, bytes);
        }
        let mut lease = self.lease.lock().unwrap();
        gate.accept(&*self.behind, self.party, (key, bytes), lease.as_deref(), self.now).map_err(refused)?;
        if matches!(Object::of(key), Object::Lease(..)) {
            *lease = Some(key.into());
        }
        Ok(())
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let part = (offset_bytes, buf.len() as u64);
        match self.gate()?.may_read(&*self.behind, self.party, (key, &Object::of(key)), part) {
            Err(Denied::Wrong(_)) => Err(Error::Missing { key: key.into() }),
            other => other.map_err(refused).and_then(|()| self.behind.read_at(key, offset_bytes, buf)),
        }
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        let seen = self.gate()?.may_see(&*self.behind, self.party, &Object::of(key)).map_err(refused)?;
        if seen { self.behind.size(key) } else { Ok(None) }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let gate = self.gate()?;
        let mut found = Vec::new();
        self.behind.list(prefix, &mut |key, size| found.push((key.to_owned(), size)))?;
        for (key, size) in found {
            if gate.may_see(&*self.behind, self.party, &Object::of(&key)).map_err(refused)? {
                each(&key, size);
            }
        }
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.gate()?.may_delete(&*self.behind, self.party, (key, &Object::of(key))).map_err(refused)?;
        self.behind.delete(key)
    }

    fn persist(&self, _keys: &[String]) -> Result<()> {
        Ok(())
    }

    fn keeps_names(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "guarded".into()
    }
}
