//! Opening a repository for a job: its store, where its index lies, and the lease that keeps prune away while it is read.
//!
//! Which key opens it is the caller's business ([`Access`]); this file asks nobody and reads no environment.

use crate::progress::{Counts, Progress, Unit};
use crate::remote::{Client, Place, RemoteStore};
use crossbeam_channel::{RecvTimeoutError, bounded};
use repo_format::elsewhere::Elsewhere;
use repo_format::entropy::{Entropy, SystemEntropy};
use repo_format::index::Index;
use repo_format::lease::{Lease, PinnedRoot, Purpose};
use repo_format::manifest::{Manifest, StoredManifest};
use repo_format::reconcile::{self, Reconciled, reconcile};
use repo_format::repository::{Access, Repository};
use repo_format::store::Store;
use repo_format::store::dir::DirStore;
use repo_format::store::s3::{S3Store, Settings};
use repo_format::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Threads that read footers when the index is brought up to date; the work is waiting for the disk.
const FOOTER_THREADS: usize = 8;
/// How often a session looks whether its lease is due.
const LEASE_LOOK: Duration = Duration::from_secs(60);

/// A store that is at hand, and the index that goes with it where that is not here.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

impl Opened {
    /// A directory.
    pub fn directory(dir: &Path) -> Self {
        Self { store: store(dir), elsewhere: None }
    }

    /// Object storage.
    pub fn bucket(settings: Settings) -> Result<Self> {
        Ok(Self { store: Arc::new(S3Store::open(settings)?), elsewhere: None })
    }

    /// A repository of a server.
    pub fn server(client: Client) -> Self {
        let client = Arc::new(client);
        Self { store: Arc::new(RemoteStore::new(client.clone())), elsewhere: Some(client) }
    }

    /// Opens the repository.
    pub fn repository(&self, access: Access<'_>) -> Result<Repository> {
        let repo = Repository::open(self.store.clone(), access, entropy())?;
        Ok(match &self.elsewhere {
            Some(elsewhere) => repo.with_elsewhere(elsewhere.clone()),
            None => repo,
        })
    }
}

/// The store in a directory.
pub fn store(dir: &Path) -> Arc<dyn Store> {
    Arc::new(DirStore::open(dir))
}

/// The system's randomness.
pub fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy)
}

/// Directory of the index of a store: below `index_dir`, one for each place a store lies at, so that two copies of one
/// repository never share an index. Of a bucket the store says at which endpoint that is: one of the same name elsewhere is another one.
pub fn index_dir_of(index_dir: &Path, place: &Place, bucket: Option<&dyn Store>) -> PathBuf {
    let name = match place {
        Place::Directory(dir) => dir.canonicalize().unwrap_or_else(|_| dir.clone()).into_os_string(),
        Place::Bucket(address) => bucket.map_or_else(|| address.to_string(), Store::describe).into(),
        Place::Server(address) => address.to_string().into(),
    };
    let hash = blake3::hash(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()));
    index_dir.join(&hash.to_hex()[..16])
}

/// Opens the index in its own directory, or one in memory when there is no directory.
pub fn index(dir: Option<&Path>, repo: &Repository) -> Result<Index> {
    match dir {
        Some(dir) => Index::open(dir, &repo.config().repository),
        None => Index::in_memory(),
    }
}

/// Makes the index say what the store holds.
pub fn bring_up_to_date(
    repo: &Repository,
    index: &Index,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Reconciled> {
    let (begun, last) = (AtomicBool::new(false), AtomicU64::new(0));
    let report = |now: reconcile::Progress| {
        // Nothing to read is the usual case and nothing to show.
        if now.packs_total == 0 {
            return;
        }
        if !begun.swap(true, Ordering::Relaxed) {
            progress.begin_counted("index", Unit::Packs, Some(now.packs_total));
        }
        let before = last.swap(now.packs_done, Ordering::Relaxed);
        progress.advance(Counts { done: now.packs_done.saturating_sub(before), ..Counts::default() });
    };
    let options = reconcile::Options { threads: FOOTER_THREADS, progress: &report, cancel };
    let done = reconcile(repo.records(), index, &options);
    if begun.load(Ordering::Relaxed) {
        progress.end();
    }
    done
}

/// What to do about a lease that cannot be had: reading goes on, and a person hears why prune may disturb it.
pub type Warn<'w> = &'w (dyn Fn(&str) + Sync);

/// Runs `read` under a lease, renewed in the background, that pins the trees of `points`.
///
/// A store that cannot be written gives no lease; reading works all the same. A point that prune deletes between its
/// opening and the pin is [`Error::NoSuch`].
pub fn reading<R, E: From<Error>>(
    repo: &Repository,
    points: &[(&StoredManifest, &Manifest)],
    (clock, warn): (&(dyn Fn() -> jiff::Timestamp + Sync), Warn<'_>),
    read: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    let lease = match take_read_lease(repo, points, clock()) {
        Ok(lease) => lease,
        Err(error) => {
            warn(&format!("no lease could be written ({error}); do not prune this repository until this is done"));
            return read();
        }
    };
    for (stored, _) in points {
        if !repo.store().exists(&stored.at.key())? {
            let _ = lease.release(repo);
            return Err(
                Error::NoSuch(format!("recovery point {} was just deleted by prune", stored.at.manifest)).into()
            );
        }
    }
    let (stop, stopped) = bounded::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || keep_lease(repo, lease, &stopped, (clock, warn)));
        let result = read();
        drop(stop);
        result
    })
}

fn take_read_lease(repo: &Repository, points: &[(&StoredManifest, &Manifest)], now: jiff::Timestamp) -> Result<Lease> {
    let mut lease = Lease::take(repo, Purpose::Read, now)?;
    for (stored, manifest) in points {
        let roots = manifest.disks.iter().filter_map(|disk| {
            let level = disk.tree(manifest.chunk_bytes).level();
            disk.root.map(|root| PinnedRoot { root, level, writer: stored.writer })
        });
        lease.pin(repo, stored.at.manifest, roots.collect(), now)?;
    }
    Ok(lease)
}

fn keep_lease(
    repo: &Repository,
    mut lease: Lease,
    stopped: &crossbeam_channel::Receiver<()>,
    (clock, warn): (&(dyn Fn() -> jiff::Timestamp + Sync), Warn<'_>),
) {
    while stopped.recv_timeout(LEASE_LOOK) == Err(RecvTimeoutError::Timeout) {
        match lease.renew_if_due(repo, clock()) {
            Ok(()) => {}
            Err(Error::LeaseLost) => {
                return warn("the lease lapsed and was revoked; what prune deletes now may be missing here");
            }
            Err(error) => warn(&format!("the lease could not be renewed: {error}")),
        }
    }
    // A lease that cannot be deleted lapses by itself.
    if let Err(error) = lease.release(repo) {
        warn(&format!("the lease could not be given back ({error}); it lapses within the hour"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::key_slot::{SlotKind, Unlock};
    use repo_format::repository::{InitOptions, init};
    use std::io;
    use std::sync::Mutex;

    const KEY: [u8; 32] = [7; 32];

    /// A store on a medium that cannot be written.
    struct ReadOnly(Arc<dyn Store>);

    impl Store for ReadOnly {
        fn put(&self, key: &str, _: &[u8]) -> Result<()> {
            Err(Error::Store { key: key.into(), source: io::ErrorKind::ReadOnlyFilesystem.into() })
        }
        fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
            self.0.read_at(key, offset_bytes, buf)
        }
        fn size(&self, key: &str) -> Result<Option<u64>> {
            self.0.size(key)
        }
        fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
            self.0.list(prefix, each)
        }
        fn delete(&self, key: &str) -> Result<()> {
            Err(Error::Store { key: key.into(), source: io::ErrorKind::ReadOnlyFilesystem.into() })
        }
        fn persist(&self, keys: &[String]) -> Result<()> {
            self.0.persist(keys)
        }
        fn describe(&self) -> String {
            self.0.describe()
        }
    }

    fn repository_in(dir: &Path) -> Repository {
        let options = InitOptions {
            chunk_bytes: 65536,
            slot_kind: SlotKind::KeyFile,
            unlock: Unlock::KeyFile(&KEY),
            label: "",
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        init(store(dir), &options, entropy()).unwrap()
    }

    #[test]
    fn reading_holds_a_lease_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repository_in(dir.path());
        let clock = || jiff::Timestamp::UNIX_EPOCH;
        let leases = || repo.store().keys("leases/").unwrap().len();
        let warn = |line: &str| panic!("{line}");
        let during = reading::<_, Error>(&repo, &[], (&clock, &warn), || Ok(leases())).unwrap();
        assert_eq!((during, leases()), (1, 0));
        let failed = reading::<(), Error>(&repo, &[], (&clock, &warn), || Err(Error::Interrupted));
        assert!(matches!(failed, Err(Error::Interrupted)));
        assert_eq!(leases(), 0);
    }

    #[test]
    fn a_store_that_cannot_be_written_is_read_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        repository_in(dir.path());
        let read_only = Arc::new(ReadOnly(store(dir.path())));
        let repo = Repository::open(read_only, Access::Unlock(Unlock::KeyFile(&KEY)), entropy()).unwrap();
        let warnings = Mutex::new(Vec::new());
        let warn = |line: &str| warnings.lock().unwrap().push(line.to_owned());
        let clock = || jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(reading::<_, Error>(&repo, &[], (&clock, &warn), || Ok(5)).unwrap(), 5);
        let warnings = warnings.into_inner().unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("do not prune"), "{warnings:?}");
    }
}
