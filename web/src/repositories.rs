//! The repositories that this server keeps: each opened once, without a key, and shared by all requests.
//!
//! What a writer may do is `repo_format::gate`'s to say; here is what has to be kept in memory for it, and what may not happen at
//! the same time.

use crate::quota::Usage;
use anyhow::Context as _;
use repo_format::error::Error;
use repo_format::gate::Gate;
use repo_format::id::{EntryKey, PackId, RepositoryId as FormatId};
use repo_format::index::Index;
use repo_format::pack::PackInfo;
use repo_format::reconcile::{self, reconcile};
use repo_format::store::dir::DirStore;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Threads that read footers when an index is brought up to date.
const FOOTER_THREADS: usize = 2;

/// One repository.
pub struct Served {
    store: Arc<DirStore>,
    format_id: FormatId,
    gate: RwLock<Arc<Gate>>,
    index: Index,
    usage: Arc<Usage>,
    /// What is looked at before a record is stored must not change until it is.
    records: Mutex<()>,
    /// When the index last said what the store holds. Held while it is brought up to date; no other lock is taken under it.
    caught_up: Mutex<Option<Instant>>,
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
        let mut caught_up = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        if caught_up.is_some_and(|at| at.elapsed() < within) {
            return Ok(());
        }
        let options =
            reconcile::Options { threads: FOOTER_THREADS, progress: &|_| {}, cancel: &AtomicBool::new(false) };
        let done = reconcile(self.gate().records(&*self.store), &self.index, &options)?;
        for (object, error) in &done.damaged {
            tracing::warn!(object, %error, "a pack cannot be used");
        }
        self.usage.count(&self.index.packs()?);
        *caught_up = Some(Instant::now());
        Ok(())
    }

    /// Whether the index knows a place of each of these.
    pub fn knows(&self, keys: &[EntryKey]) -> Result<bool, Error> {
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
