//! The repositories that this server keeps: each opened once, without a key, and shared by all requests.
//!
//! What a writer may do is `repo_format::gate`'s to say; here is what has to be kept in memory for it, and what may not happen at
//! the same time.

use crate::quota::Usage;
use anyhow::Context as _;
use repo_format::error::Error;
use repo_format::gate::{Denied, Gate, Party};
use repo_format::id::{EntryKey, PackId, RepositoryId as FormatId};
use repo_format::index::Index;
use repo_format::pack::{PackInfo, PackKind};
use repo_format::reconcile::{self, reconcile};
use repo_format::store::Store as _;
use repo_format::store::dir::DirStore;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Threads that read footers when an index is brought up to date.
const FOOTER_THREADS: usize = 2;
/// An index that was brought up to date so recently is not again, whatever is asked for: many questions may be about what nobody stored.
const LET_BE: Duration = Duration::from_secs(10);

/// One repository.
pub struct Served {
    store: Arc<DirStore>,
    format_id: FormatId,
    gate: RwLock<Arc<Gate>>,
    index: Index,
    usage: Arc<Usage>,
    /// What is looked at before a record is stored must not change until it is.
    records: Mutex<()>,
    /// When the index was last brought up to date. Held while it is; no other lock is taken under it.
    caught_up: Mutex<Option<CaughtUp>>,
}

/// When the index began to say what the store holds, and when it did.
#[derive(Clone, Copy)]
struct CaughtUp {
    began: Instant,
    ended: Instant,
}

impl Served {
    /// Opens a repository and brings its index up to date. Blocks, for long when the index is new.
    pub fn open(directory: &Path, index_dir: &Path) -> anyhow::Result<Self> {
        let store = Arc::new(DirStore::open(directory));
        let gate =
            Gate::open(&*store).with_context(|| format!("cannot open the repository in {}", directory.display()))?;
        let format_id = gate.repository();
        let index = Index::open(index_dir, &format_id)?;
        let (gate, caught_up) = (RwLock::new(Arc::new(gate)), Mutex::new(None));
        let served =
            Self { store, format_id, gate, index, usage: Arc::default(), records: Mutex::default(), caught_up };
        served.catch_up(Duration::ZERO)?;
        Ok(served)
    }

    /// The objects.
    pub fn store(&self) -> &Arc<DirStore> {
        &self.store
    }

    /// The id that stands in them.
    pub fn format_id(&self) -> FormatId {
        self.format_id
    }

    /// Makes the index say what the store holds, unless that was done within this time: what others store beside this server, and what
    /// prune deletes. Blocks, for long when there is much new; one at a time.
    pub fn catch_up(&self, within: Duration) -> Result<(), Error> {
        self.catch_up_unless(&|last| last.ended.elapsed() < within)
    }

    fn catch_up_unless(&self, is_recent: &dyn Fn(CaughtUp) -> bool) -> Result<(), Error> {
        let mut caught_up = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        if caught_up.is_some_and(is_recent) {
            return Ok(());
        }
        let options =
            reconcile::Options { threads: FOOTER_THREADS, progress: &|_| {}, cancel: &AtomicBool::new(false) };
        let began = Instant::now();
        let done = reconcile(self.gate().records(&*self.store), &self.index, &options)?;
        for (object, error) in &done.damaged {
            tracing::warn!(object, %error, "a pack cannot be used");
        }
        self.usage.count(&self.index.packs()?);
        *caught_up = Some(CaughtUp { began, ended: Instant::now() });
        Ok(())
    }

    /// Packs that hold these entries and exist, as far as the party may rely on them.
    ///
    /// Who reads, and who asks for nodes of a tree, asks for what is stored: an index that does not know it, or knows it in a pack that is
    /// gone, is behind what was done beside this server, and catches up before it answers. Otherwise it would send a reader away from
    /// chunks that are there.
    pub fn packs_with(&self, party: Party, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>, Denied> {
        let asked_at = Instant::now();
        let exists = |pack: &PackId| self.store.exists(&kind.key(pack));
        let packs = self.gate().packs_with(&self.index, party, kind, keys)?;
        let exist: Vec<bool> = packs.iter().map(exists).collect::<Result<_, _>>()?;
        if exist.contains(&false) {
            // It was looked at now, so only what was brought up to date since is recent.
            self.catch_up_unless(&|last| last.began >= asked_at)?;
        } else if (matches!(party, Party::Person(_)) || kind == PackKind::Tree) && !self.knows(keys)? {
            self.catch_up(LET_BE)?;
        } else {
            return Ok(packs);
        }
        self.gate().packs_with(&self.index, party, kind, keys)
    }

    /// Whether the index knows a place of each of these.
    fn knows(&self, keys: &[EntryKey]) -> Result<bool, Error> {
        for key in keys {
            if self.index.places(key)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What all writers stored.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The rules as of the last session that began.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns who was revoked and what was condemned, damaged or verified meanwhile. Blocks.
    pub fn renew_gate(&self) -> Result<Arc<Gate>, Error> {
        let gate = Arc::new(self.gate().renewed(&*self.store)?);
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = gate.clone();
        Ok(gate)
    }

    /// Held while a record is looked at and stored.
    pub fn lock_records(&self) -> MutexGuard<'_, ()> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a pack that is durable. Blocks.
    pub fn enter(&self, pack: PackId, info: &PackInfo) -> Result<(), Error> {
        // A pack that is sent once more counts twice until the next count: never too little.
        self.usage.add(info.header.writer, info.pack_bytes);
        self.index.insert(&[(pack, info)])
    }

    /// How much each writer stores.
    pub fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }
}

/// A repository that is open, or the place where whoever opens it puts it.
type Slot = Arc<Mutex<Option<Arc<Served>>>>;

/// Those that were opened, by their place. The lock of all is held for a look only; each has a lock of its own, held while it is opened,
/// so that a large one keeps nobody from the others.
pub struct Repositories {
    index_dir: PathBuf,
    open: Mutex<HashMap<PathBuf, Slot>>,
}

impl Repositories {
    /// None is open yet; indexes lie below this directory.
    pub fn new(index_dir: PathBuf) -> Self {
        Self { index_dir, open: Mutex::default() }
    }

    /// The repository in a directory, opened by whoever needs it first; others who need it wait. Blocks.
    pub fn get(&self, directory: &Path) -> anyhow::Result<Arc<Served>> {
        let slot =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).entry(directory.to_owned()).or_default().clone();
        let mut opened = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(served) = &*opened {
            return Ok(served.clone());
        }
        std::fs::create_dir_all(&self.index_dir)
            .with_context(|| format!("cannot make {}", self.index_dir.display()))?;
        let served = Arc::new(Served::open(directory, &self.index_dir)?);
        *opened = Some(served.clone());
        Ok(served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use repo_format::codec::Kind;
    use repo_format::entropy::SystemEntropy;
    use repo_format::id::EntryId;
    use repo_format::key_slot::{SlotKind, Unlock};
    use repo_format::reader::Reader;
    use repo_format::repository::{InitOptions, Repository, init};
    use repo_format::session::{NewChunk, SessionStart};

    const PLAIN: [u8; 4096] = [7; 4096];

    /// Stores the same chunk in a pack of its own, beside any server.
    fn store(repo: &Repository) -> PackId {
        let index = Index::in_memory().unwrap();
        let reader = Reader::new(repo, &index);
        let mut start = SessionStart::begin(&reader, Timestamp::UNIX_EPOCH).unwrap();
        std::thread::scope(|scope| {
            let mut session = start.open(scope, &reader);
            let chunk = repo.keys().ids().chunk(&PLAIN);
            session.add_chunks([NewChunk { chunk, kind: Kind::Raw, plain_bytes: 4096, payload: &PLAIN }]).unwrap();
            session.close().map(drop).unwrap();
        });
        start.abandon(repo).unwrap();
        index.packs().unwrap()[0].id
    }

    /// Prune beside a server had moved what was alive into new packs and deleted the old. The server's index named the old ones, and who
    /// restored over it was told that chunks are missing, until some machine happened to back up.
    #[test]
    fn a_pack_that_is_gone_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let options = InitOptions {
            chunk_bytes: 65_536,
            slot_kind: SlotKind::Passphrase { memory_kib: 64, passes: 1, lanes: 1 },
            unlock: Unlock::Passphrase("test"),
            label: "test",
            now: Timestamp::UNIX_EPOCH,
        };
        let place = dir.path().join("repository");
        std::fs::create_dir(&place).unwrap();
        let repo = init(Arc::new(DirStore::open(&place)), &options, Arc::new(SystemEntropy)).unwrap();
        let writer = repo.keys().writer().writer;
        let old = store(&repo);
        let served = Served::open(&place, &dir.path().join("index")).unwrap();
        let key = EntryId::from(repo.keys().ids().chunk(&PLAIN)).key();
        let ask = || served.packs_with(Party::Writer(writer), PackKind::Data, &[key]).unwrap();
        assert_eq!(ask(), [old]);
        let new = store(&repo);
        repo.store().delete(&PackKind::Data.key(&old)).unwrap();
        assert_eq!(ask(), [new]);
    }
}
