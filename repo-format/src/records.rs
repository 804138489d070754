//! Reading records of one repository: all that it takes is the store and who may sign. No key.

use crate::error::{Error, Result};
use crate::id::RepositoryId;
use crate::record::{self, Magic, MaySign};
use crate::sign::Signers;
use crate::store::Store;
use serde::de::DeserializeOwned;

/// The records of a repository.
#[derive(Clone, Copy)]
pub struct Records<'s> {
    /// Where they are.
    pub store: &'s dyn Store,
    /// Which repository they must belong to.
    pub repository: &'s RepositoryId,
    /// Who may sign them.
    pub signers: &'s Signers,
}

impl Records<'_> {
    /// Decodes and verifies a JSON record that fills `bytes`.
    pub fn decode<T: DeserializeOwned>(&self, object: &str, magic: Magic, bytes: &[u8], may: MaySign) -> Result<T> {
        record::decode(object, magic, bytes)?
            .alone(object, bytes)?
            .verified(object, self.repository, self.signers, may)?
            .json(object)
    }

    /// Reads, decodes and verifies a JSON record; `None` when it does not exist.
    pub fn read<T: DeserializeOwned>(&self, object: &str, magic: Magic, may: MaySign) -> Result<Option<T>> {
        match self.store.get(object) {
            Err(Error::Missing { .. }) => Ok(None),
            other => self.decode(object, magic, &other?, may).map(Some),
        }
    }

    /// The same, also when it cannot be verified for want of its writer's record.
    pub fn read_even_unverified<T: DeserializeOwned>(&self, object: &str, magic: Magic) -> Result<Option<T>> {
        match self.read(object, magic, MaySign::Writers) {
            Err(Error::UnknownSigner { .. }) => {
                let bytes = self.store.get(object)?;
                record::decode(object, magic, &bytes)?.alone(object, &bytes)?.json(object).map(Some)
            }
            other => other,
        }
    }
}
