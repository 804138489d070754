//! What a writer may do in a repository that somebody without keys keeps for it, such as a server: the rules, not the transport.
//!
//! A writer adds and takes nothing away. It stores packs, manifests, leases, rescues and suspects that it signed, sees what a backup
//! needs, and deletes its own leases. No object is ever replaced. So whoever steals a writer's key and its way in can waste space and
//! make points of its own names, and nothing else. FORMAT.md, "Writers behind a server", has the rules as a table.

mod accept;
mod object;
mod staged;

pub use accept::MAX_SKEW;
pub use object::Object;
pub use staged::{StagedBytes, check_pack};

use crate::condemned;
use crate::config;
use crate::error::{Error, Result};
use crate::id::{EntryKey, PackId, RepositoryId, WriterId};
use crate::index::{Index, IndexedPack};
use crate::pack::PackKind;
use crate::record;
use crate::records::Records;
use crate::sign::Signers;
use crate::store::Store;
use crate::writers;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Why something was not allowed or not taken.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// No writer may do that, or not this one.
    #[error("a writer may not {0}")]
    Forbidden(String),
    /// There is something of that name already, and it stays.
    #[error("{0} exists already")]
    Exists(String),
    /// What was sent is not what its name says, or breaks a rule of the format.
    #[error("{0}")]
    Wrong(String),
    /// The session's lease is gone.
    #[error("the lease of this session lapsed or was revoked; the recovery point was not committed")]
    LeaseLost,
    /// The store failed; that is not the writer's fault.
    #[error(transparent)]
    Store(Error),
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        match error {
            Error::Store { .. } | Error::Index { .. } => Self::Store(error),
            Error::LeaseLost => Self::LeaseLost,
            other => Self::Wrong(other.to_string()),
        }
    }
}

/// The rules of one repository, with what they need to know of it: who may sign, and which packs nobody relies on.
pub struct Gate {
    repository: RepositoryId,
    chunk_bytes: u32,
    signers: Signers,
    unreliable: HashSet<PackId>,
    verified: HashSet<PackId>,
}

impl Gate {
    /// Reads what a store says of its writers, condemned, damaged and verified packs. Needs no key. Read again at the beginning of
    /// every session.
    pub fn open(store: &dyn Store) -> Result<Self> {
        let config = config::read(store, &mut |_| {})?;
        config.check_writable()?;
        let mut signers = Signers { operator: config.operator()?, writers: HashMap::new() };
        writers::read(store, &config.repository, &signers)?.enter_into(&mut signers, None, config.builtin_writer)?;
        let records = Records { store, repository: &config.repository, signers: &signers };
        let condemned = condemned::named(records)?.into_iter().map(|pack| pack.pack);
        let unreliable = condemned.chain(condemned::damaged(records)?).collect();
        let verified = condemned::verified(records)?;
        let (repository, chunk_bytes) = (config.repository, config.chunk_bytes);
        Ok(Self { repository, chunk_bytes, signers, unreliable, verified })
    }

    /// Reading records by these rules' knowledge of who may sign.
    pub fn records<'g>(&'g self, store: &'g dyn Store) -> Records<'g> {
        Records { store, repository: &self.repository, signers: &self.signers }
    }

    /// The repository.
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// Refuses a writer that is unknown, revoked, or of whom nobody can tell.
    pub fn may_begin(&self, writer: WriterId) -> Result<(), Denied> {
        let unknown = || Denied::Forbidden(format!("begin a session as {writer}: this repository does not know it"));
        let known = self.signers.writers.get(&writer).ok_or_else(unknown)?;
        known.may_begin(writer).map_err(|error| Denied::Forbidden(format!("begin a session: {error}")))
    }

    /// Whether a writer may see that an object is there, and read of it what [`Gate::may_read`] allows.
    pub fn may_see(&self, store: &dyn Store, writer: WriterId, object: &Object) -> Result<bool, Denied> {
        Ok(match object {
            Object::KeySlot | Object::Unknown => false,
            Object::Pack(PackKind::Data, _) | Object::Record => true,
            Object::Pack(PackKind::Tree, pack) => signer_of(store, &PackKind::Tree.key(pack))? == Some(writer),
            Object::Manifest(at) => signer_of(store, &at.key())? == Some(writer),
            Object::Lease(..) => true,
        })
    }

    /// Refuses a read by a writer of bytes that are not for it: of data packs it reads header and footer alone, and only of those that it may
    /// rely on or wrote itself.
    pub fn may_read(
        &self,
        store: &dyn Store,
        writer: WriterId,
        (key, object): (&str, &Object),
        (offset_bytes, length_bytes): (u64, u64),
    ) -> Result<(), Denied> {
        let hidden = || Denied::Wrong(Error::Missing { key: key.into() }.to_string());
        if !self.may_see(store, writer, object)? {
            return Err(hidden());
        }
        let Object::Pack(PackKind::Data, pack) = object else { return Ok(()) };
        let info = crate::pack::load(store, PackKind::Data, pack, &self.repository, &self.signers)?;
        if !self.may_rely_on(writer, (pack, info.header.writer, info.header.signer)) && info.header.writer != writer {
            return Err(hidden());
        }
        let is_header = offset_bytes.saturating_add(length_bytes) <= crate::pack::HEADER_BYTES as u64;
        if is_header || offset_bytes >= info.footer_guess_from() {
            return Ok(());
        }
        Err(Denied::Forbidden("read the chunks of a data pack".into()))
    }

    /// Whether a writer's new points may reference what a data pack holds.
    fn may_rely_on(&self, writer: WriterId, (pack, by, signer): (&PackId, WriterId, WriterId)) -> bool {
        !self.unreliable.contains(pack)
            && (signer == WriterId::OPERATOR || self.signers.trusts(writer, by) || self.verified.contains(pack))
    }

    /// Packs from which a writer may take these entries, by an index of the whole repository.
    pub fn packs_with(
        &self,
        index: &Index,
        writer: WriterId,
        kind: PackKind,
        keys: &[EntryKey],
    ) -> Result<Vec<PackId>, Denied> {
        let mut found = BTreeSet::new();
        for key in keys {
            for place in index.places(key)? {
                let pack = index.pack(place.pack)?.filter(|pack| pack.kind == kind && self.may_use(writer, pack));
                found.extend(pack.map(|pack| pack.id));
            }
        }
        Ok(found.into_iter().collect())
    }

    fn may_use(&self, writer: WriterId, pack: &IndexedPack) -> bool {
        match pack.kind {
            PackKind::Data => self.may_rely_on(writer, (&pack.id, pack.writer, pack.signer)),
            PackKind::Tree => pack.writer == writer && !self.unreliable.contains(&pack.id),
        }
    }

    /// Refuses to delete what is not a lease of this writer.
    pub fn may_delete(
        &self,
        store: &dyn Store,
        writer: WriterId,
        (key, object): (&str, &Object),
    ) -> Result<(), Denied> {
        match object {
            Object::Lease(..) => match signer_of(store, key)? {
                Some(signer) if signer != writer => Err(Denied::Forbidden("delete another's lease".into())),
                _ => Ok(()),
            },
            _ => Err(Denied::Forbidden(format!("delete {key}"))),
        }
    }
}

/// Who wrote an object, as its header says; packs and records have it at the same place. `None` when it is not there.
fn signer_of(store: &dyn Store, key: &str) -> Result<Option<WriterId>, Denied> {
    let mut header = [0; record::HEADER_BYTES];
    match store.read_at(key, 0, &mut header) {
        Ok(()) => Ok(Some(WriterId(std::array::from_fn(|at| header[32 + at])))),
        Err(Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
