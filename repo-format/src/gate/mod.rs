//! What may be done in a repository that somebody without keys keeps, such as a server: the rules, not the transport.
//!
//! A person reads, and stores what the operator signed (`person`). A writer adds and takes nothing away. It stores packs, manifests, leases, rescues and suspects that it signed, sees what a backup
//! needs, and deletes its own leases. No object is ever replaced. So whoever steals a writer's key and its way in can waste space and
//! make points of its own names, and nothing else. FORMAT.md, "Writers behind a server", has the rules as a table.

mod accept;
mod footers;
mod object;
mod person;
mod staged;

pub use accept::MAX_SKEW;
pub use object::Object;
pub use person::{Grant, Grants};
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
use footers::Footers;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// A machine, as a writer.
    Writer(WriterId),
    /// A person who may read, and what else they may.
    Person(Grants),
}

/// Why something was not allowed or not taken.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// No writer may do that, or not this one.
    #[error("a writer may not {0}")]
    Forbidden(String),
    /// The person lacks what it takes.
    #[error("you may not {what} here")]
    NotGranted {
        /// What was tried.
        what: String,
        /// What it takes.
        grant: Grant,
    },
    /// No person does that through a server.
    #[error("{0} is not done over a server")]
    NotHere(String),
    /// There are as many as there may be; in a while there are fewer.
    #[error("{0}")]
    Busy(String),
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
    builtin_writer: WriterId,
    unreliable: HashSet<PackId>,
    verified: HashSet<PackId>,
    footers: Arc<Footers>,
}

impl Gate {
    /// Reads what a store says of its writers, condemned, damaged and verified packs. Needs no key. Read again at the beginning of
    /// every session.
    pub fn open(store: &dyn Store) -> Result<Self> {
        Self::open_with(store, Arc::default())
    }

    /// The same again, with what never changes remembered.
    pub fn renewed(&self, store: &dyn Store) -> Result<Self> {
        Self::open_with(store, self.footers.clone())
    }

    fn open_with(store: &dyn Store, footers: Arc<Footers>) -> Result<Self> {
        let config = config::read(store, &mut |_| {})?;
        config.check_writable()?;
        let mut signers = Signers { operator: config.operator()?, writers: HashMap::new() };
        writers::read(store, &config.repository, &signers)?.enter_into(&mut signers, None, config.builtin_writer)?;
        let records = Records { store, repository: &config.repository, signers: &signers };
        let condemned = condemned::named(records)?.into_iter().map(|pack| pack.pack);
        let unreliable = condemned.chain(condemned::damaged(records)?).collect();
        let verified = condemned::verified(records)?;
        let (repository, chunk_bytes, builtin_writer) = (config.repository, config.chunk_bytes, config.builtin_writer);
        Ok(Self { repository, chunk_bytes, signers, builtin_writer, unreliable, verified, footers })
    }

    /// Reading records by these rules' knowledge of who may sign.
    pub fn records<'g>(&'g self, store: &'g dyn Store) -> Records<'g> {
        Records { store, repository: &self.repository, signers: &self.signers }
    }

    /// The repository.
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// The writer in whose name holders of the master secret store.
    pub fn builtin_writer(&self) -> WriterId {
        self.builtin_writer
    }

    /// Refuses a writer that is unknown, revoked, or of whom nobody can tell.
    pub fn may_begin(&self, writer: WriterId) -> Result<(), Denied> {
        let unknown = || Denied::Forbidden(format!("begin a session as {writer}: this repository does not know it"));
        let known = self.signers.writers.get(&writer).ok_or_else(unknown)?;
        known.may_begin(writer).map_err(|error| Denied::Forbidden(format!("begin a session: {error}")))
    }

    /// Whether somebody may see that an object is there, and read of it what [`Gate::may_read`] allows.
    pub fn may_see(&self, store: &dyn Store, party: Party, object: &Object) -> Result<bool, Denied> {
        let Party::Writer(writer) = party else { return Ok(*object != Object::Unknown) };
        Ok(match object {
            Object::KeySlot | Object::Catalog | Object::Unknown => false,
            Object::Pack(PackKind::Data, _) | Object::Record => true,
            Object::Pack(PackKind::Tree, pack) => signer_of(store, &PackKind::Tree.key(pack))? == Some(writer),
            Object::Manifest(at) => signer_of(store, &at.key())? == Some(writer),
            Object::Lease(..) => true,
        })
    }

    /// Refuses a read of bytes that are not for the one who asks. A person reads everything. A writer reads of data packs header and footer
    /// alone, and only of those that it may rely on or wrote itself.
    pub fn may_read(
        &self,
        store: &dyn Store,
        party: Party,
        (key, object): (&str, &Object),
        (offset_bytes, length_bytes): (u64, u64),
    ) -> Result<(), Denied> {
        let hidden = || Denied::Wrong(Error::Missing { key: key.into() }.to_string());
        if !self.may_see(store, party, object)? {
            return Err(hidden());
        }
        let (Party::Writer(writer), Object::Pack(PackKind::Data, pack)) = (party, object) else { return Ok(()) };
        let footer = self.footers.of(self.records(store), pack)?;
        if !self.may_rely_on(writer, (pack, footer.writer, footer.signer)) && footer.writer != writer {
            return Err(hidden());
        }
        let is_header = offset_bytes.saturating_add(length_bytes) <= crate::pack::HEADER_BYTES as u64;
        if is_header || offset_bytes >= footer.from {
            return Ok(());
        }
        Err(Denied::Forbidden("read the chunks of a data pack".into()))
    }

    /// Whether a writer's new points may reference what a data pack holds.
    fn may_rely_on(&self, writer: WriterId, (pack, by, signer): (&PackId, WriterId, WriterId)) -> bool {
        !self.unreliable.contains(pack)
            && (signer == WriterId::OPERATOR || self.signers.trusts(writer, by) || self.verified.contains(pack))
    }

    /// Packs from which these entries may be taken by the one who asks, by an index of the whole repository.
    pub fn packs_with(
        &self,
        index: &Index,
        party: Party,
        kind: PackKind,
        keys: &[EntryKey],
    ) -> Result<Vec<PackId>, Denied> {
        let mut found = BTreeSet::new();
        for key in keys {
            for place in index.places(key)? {
                let pack = index.pack(place.pack)?.filter(|pack| pack.kind == kind && self.may_use(party, pack));
                found.extend(pack.map(|pack| pack.id));
            }
        }
        Ok(found.into_iter().collect())
    }

    fn may_use(&self, party: Party, pack: &IndexedPack) -> bool {
        // Who reads tries each place of a chunk until one is sound, so a pack that nobody relies on is better than none.
        let Party::Writer(writer) = party else { return true };
        match pack.kind {
            PackKind::Data => self.may_rely_on(writer, (&pack.id, pack.writer, pack.signer)),
            PackKind::Tree => pack.writer == writer && !self.unreliable.contains(&pack.id),
        }
    }

    /// Refuses to delete anything but a writer's own leases, and what a person's undo takes away.
    pub fn may_delete(&self, store: &dyn Store, party: Party, (key, object): (&str, &Object)) -> Result<(), Denied> {
        let writer = match party {
            Party::Writer(writer) => writer,
            Party::Person(grants) => return self.may_person_delete(store, grants, (key, object)),
        };
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
