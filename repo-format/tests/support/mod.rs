//! A repository on a simulated file system with a clock that the test turns, for all tests of this crate.

pub mod dying;
pub mod full;
pub mod guarded;
#[cfg(feature = "s3")]
pub mod s3;
pub mod watched;

use jiff::{SignedDuration, Timestamp};
use repo_format::check::{self, Depth, Report};
use repo_format::claims::{Claims, Hint};
use repo_format::codec::{DEFAULT_LEVEL, Encoder, is_zero};
use repo_format::elsewhere::Elsewhere;
use repo_format::entropy::{Entropy, SeededEntropy};
use repo_format::forget;
use repo_format::id::{ChunkId, ManifestId};
use repo_format::index::Index;
use repo_format::key_slot::{SlotKind, Unlock};
use repo_format::manifest::{Consistency, Disk, DiskIdentity, Manifest, PointKey, PointKind, Stats};
use repo_format::pack::PackKind;
use repo_format::prune::{self, Outcome};
use repo_format::reader::{Reader, Wanted};
use repo_format::reconcile::{self, reconcile};
use repo_format::repository::{Access, InitOptions, Repository, init};
use repo_format::session::{NewChunk, Session, SessionStart};
use repo_format::store::Store;
use repo_format::store::dir::DirStore;
use repo_format::store::sim::SimFs;
use repo_format::tree::{Tree, TreeEditor, TreeWalk};
use repo_format::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

pub const CHUNK: usize = 65536;
pub const ROOT: &str = "/repository";
pub const DAY: SignedDuration = SignedDuration::from_hours(24);
pub const PASSPHRASE: &str = "correct horse";

/// Where prune takes the time from, and whom it tells what it does.
pub type PruneBy<'a> = (&'a (dyn Fn() -> Timestamp + Sync), &'a (dyn Fn(prune::Step) + Sync));

/// A repository, its index and a clock.
pub struct Bench {
    pub fs: SimFs,
    store: Arc<dyn Store>,
    entropy: Arc<dyn Entropy>,
    /// Names temporary files. Apart from `entropy`, so that what is drawn there does not depend on which thread was faster.
    names: Arc<dyn Entropy>,
    repo: Repository,
    pub index: Index,
    seconds: Arc<AtomicI64>,
}

/// A disk of `chunks` chunks by `seed`: every fifth zero, every seventh a repetition, the last one short.
pub fn disk(seed: u64, chunks: usize) -> Vec<u8> {
    let entropy = SeededEntropy::new(seed);
    let mut bytes = vec![0; chunks * CHUNK - 1000];
    for (i, chunk) in bytes.chunks_mut(CHUNK).enumerate() {
        match i {
            _ if i % 5 == 4 => {}
            _ if i % 7 == 6 => chunk.fill(0x5A),
            _ if i % 2 == 0 => entropy.fill(chunk),
            _ => chunk.iter_mut().enumerate().for_each(|(at, byte)| *byte = u8::try_from((at / 50 + i) % 251).unwrap()),
        }
    }
    bytes
}

pub fn open_store(fs: &SimFs, names: &Arc<dyn Entropy>) -> Arc<dyn Store> {
    Arc::new(DirStore::with_fs(fs.clone(), ROOT, names.clone()))
}

/// A new repository in a store, its passphrase slot as cheap as can be.
pub fn init_repository(store: Arc<dyn Store>, entropy: Arc<dyn Entropy>) -> Result<Repository> {
    let options = InitOptions {
        chunk_bytes: 65536,
        slot_kind: SlotKind::Passphrase { memory_kib: 64, passes: 1, lanes: 1 },
        unlock: Unlock::Passphrase(PASSPHRASE),
        label: "first",
        now: Timestamp::UNIX_EPOCH,
    };
    init(store, &options, entropy)
}

/// An index of what the store holds. A pack that cannot be used is an error.
fn fresh_index(repo: &Repository) -> Result<Index> {
    let index = Index::in_memory()?;
    bring_up_to_date(repo, &index).map(|()| index)
}

fn bring_up_to_date(repo: &Repository, index: &Index) -> Result<()> {
    let options = reconcile::Options { threads: 2, progress: &|_| {}, cancel: &AtomicBool::new(false) };
    let found = reconcile(repo.records(), index, &options)?;
    found.damaged.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

impl Bench {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    pub fn seeded(seed: u64) -> Self {
        let fs = SimFs::new(Path::new(ROOT));
        let names: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(!seed));
        let store = open_store(&fs, &names);
        Self::made_in(fs, store, seed, names)
    }

    /// A new repository in a store that is not on a simulated file system.
    pub fn in_store(store: Arc<dyn Store>, seed: u64) -> Self {
        Self::made_in(SimFs::new(Path::new(ROOT)), store, seed, Arc::new(SeededEntropy::new(!seed)))
    }

    /// A new repository in a store on `fs`.
    fn made_in(fs: SimFs, store: Arc<dyn Store>, seed: u64, names: Arc<dyn Entropy>) -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let repo = init_repository(store.clone(), entropy.clone()).unwrap();
        let index = fresh_index(&repo).unwrap();
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        Self { fs, store, entropy, names, repo, index, seconds }
    }

    /// The same store and clock, opened with other keys and a new index.
    pub fn reopen(&self, access: Access<'_>) -> Self {
        Self { seconds: self.seconds.clone(), ..self.through(&self.fs, self.store.clone(), access).unwrap() }
    }

    /// Another file system, what a cut left behind, with a clock of its own that goes on from now.
    pub fn try_on(&self, fs: &SimFs, access: Access<'_>) -> Result<Self> {
        self.through(fs, open_store(fs, &self.names), access)
    }

    /// The same through a store of the test's own.
    pub fn through(&self, fs: &SimFs, store: Arc<dyn Store>, access: Access<'_>) -> Result<Self> {
        let repo = Repository::open(store.clone(), access, self.entropy.clone())?;
        let index = fresh_index(&repo)?;
        let (entropy, names) = (self.entropy.clone(), self.names.clone());
        let seconds = Arc::new(AtomicI64::new(self.seconds.load(Ordering::SeqCst)));
        Ok(Self { fs: fs.clone(), store, entropy, names, repo, index, seconds })
    }

    /// With an index that knows nothing and asks another one.
    pub fn learning_from(self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        Self { index: Index::in_memory().unwrap(), repo: self.repo.with_elsewhere(elsewhere), ..self }
    }

    /// Enters into the index what other processes stored.
    pub fn reconcile(&self) {
        bring_up_to_date(&self.repo, &self.index).unwrap();
    }

    pub fn with_new_index(&self) -> Self {
        self.reopen(self.passphrase())
    }

    pub fn passphrase(&self) -> Access<'static> {
        Access::Unlock(Unlock::Passphrase(PASSPHRASE))
    }

    pub fn repo(&self) -> &Repository {
        &self.repo
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    pub fn names(&self) -> Arc<dyn Entropy> {
        self.names.clone()
    }

    pub fn entropy(&self) -> Arc<dyn Entropy> {
        self.entropy.clone()
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::SeqCst)).unwrap()
    }

    pub fn pass_time(&self, time: SignedDuration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// Checks; with `record_verified` for other writers to rely on it.
    pub fn check(&self, depth: Depth, record_verified: bool) -> Report {
        let options = check::Options {
            depth,
            threads: 2,
            record_verified,
            progress: &|_| {},
            cancel: &AtomicBool::new(false),
            now: self.now(),
        };
        check::check(&self.repo, &self.index, &options).unwrap()
    }

    /// Prunes with a grace and an undo time of one day.
    pub fn prune(&self, dry_run: bool) -> Result<Outcome> {
        self.prune_by(dry_run, (&|| self.now(), &|_| {}))
    }

    /// The same by another clock, with a call at each step.
    pub fn prune_by(&self, dry_run: bool, by: PruneBy<'_>) -> Result<Outcome> {
        self.prune_as(dry_run, DEFAULT_LEVEL, by)
    }

    /// Prunes; what is compressed anew is compressed at `level`.
    pub fn prune_at_level(&self, level: i32) -> Result<Outcome> {
        self.prune_as(false, level, (&|| self.now(), &|_| {}))
    }

    fn prune_as(&self, dry_run: bool, level: i32, (clock, progress): PruneBy<'_>) -> Result<Outcome> {
        let options = prune::Options {
            grace: DAY,
            repack_dead_percent: prune::REPACK_DEAD_PERCENT,
            max_repack_bytes: u64::MAX,
            level,
            dry_run,
            threads: 2,
            progress,
            clock,
            cancel: &AtomicBool::new(false),
        };
        prune::prune(&self.repo, &self.index, &options, clock())
    }

    /// Forgets a point; prune may have it after a day.
    pub fn forget(&self, at: &PointKey) -> Result<()> {
        forget::forget(&self.repo, at, "test", self.now(), DAY)
    }

    /// Bytes of all data packs.
    pub fn data_bytes(&self) -> u64 {
        let mut total = 0;
        self.store.list("data/", &mut |_, size| total += size).unwrap();
        total
    }

    /// Backs up `content`. With `changed`, only these positions are looked at and the rest is the parent's.
    pub fn backup(&self, name: &str, content: &[u8], changed: Option<&[u64]>) -> Result<PointKey> {
        self.backup_with(name, content, changed, &mut |_| {})
    }

    /// The same, with a call between closing the packs and the commit.
    pub fn backup_with(
        &self,
        name: &str,
        content: &[u8],
        changed: Option<&[u64]>,
        before_commit: &mut dyn FnMut(&Self),
    ) -> Result<PointKey> {
        let reader = Reader::new(&self.repo, &self.index);
        let mut start = SessionStart::begin(&reader, self.now())?;
        let parent = self.repo.latest_of(name)?;
        let chunks = (content.len() as u64).div_ceil(CHUNK as u64);
        let mut base = Tree::empty(chunks);
        let mut parent_id = None;
        if let Some((stored, manifest)) = &parent
            && start.pin_parent(&reader, stored, manifest, self.now())?
        {
            parent_id = Some(stored.at.manifest);
            if changed.is_some() {
                base = manifest.disks[0].tree(65536);
            }
        }
        let positions: Vec<u64> = match (changed, parent_id) {
            (Some(list), Some(_)) => list.to_vec(),
            _ => (0..chunks).collect(),
        };
        let result = std::thread::scope(|scope| {
            let session = start.open(scope, &reader);
            let incremental = changed.is_some() && parent_id.is_some();
            self.fill(session, &reader, (name, content), (base, &positions), (incremental, parent_id), before_commit)
        });
        let released = start.abandon(&self.repo);
        result.and_then(|at| released.map(|()| at))
    }

    fn fill(
        &self,
        mut session: Session<'_, '_>,
        reader: &Reader<'_>,
        (name, content): (&str, &[u8]),
        (base, positions): (Tree, &[u64]),
        (incremental, parent): (bool, Option<ManifestId>),
        before_commit: &mut dyn FnMut(&Self),
    ) -> Result<PointKey> {
        let tree = self.store_tree(&mut session, reader, content, (base, positions))?;
        let closed = session.close()?;
        before_commit(self);
        let stats = Stats { bytes_stored: closed.stored_bytes(), ..Stats::default() };
        let disks = vec![described("disk", content, tree)];
        closed.commit(&self.manifest(name, disks, (incremental, parent), stats), self.now())
    }

    fn store_tree(
        &self,
        session: &mut Session<'_, '_>,
        reader: &Reader<'_>,
        content: &[u8],
        (base, positions): (Tree, &[u64]),
    ) -> Result<Tree> {
        let stored = store_chunks(&self.repo, session, content, positions)?;
        let mut editor = TreeEditor::new(base, reader);
        for (position, chunk) in positions.iter().zip(stored) {
            editor.set(*position, chunk, session)?;
        }
        editor.finish(session)
    }

    /// Backs up a disk that is zero but for chunks at some positions, whatever its size.
    pub fn backup_sparse(&self, name: &str, chunks: u64, positions: &[u64]) -> Result<PointKey> {
        let reader = Reader::new(&self.repo, &self.index);
        let mut start = SessionStart::begin(&reader, self.now())?;
        let result = std::thread::scope(|scope| {
            let mut session = start.open(scope, &reader);
            let mut editor = TreeEditor::new(Tree::empty(chunks), &reader);
            for position in positions {
                let content = position.to_le_bytes().repeat(CHUNK / 8);
                let stored = store_chunks(&self.repo, &mut session, &content, &[0])?;
                editor.set(*position, stored[0], &mut session)?;
            }
            let tree = editor.finish(&mut session)?;
            let closed = session.close()?;
            let disk = Disk { size_bytes: chunks * CHUNK as u64, ..described("disk", &[], tree) };
            closed.commit(&self.manifest(name, vec![disk], (false, None), Stats::default()), self.now())
        });
        let released = start.abandon(&self.repo);
        result.and_then(|at| released.map(|()| at))
    }

    /// Backs up several disks in full as one point.
    pub fn backup_disks(&self, name: &str, disks: &[(&str, &[u8])]) -> Result<PointKey> {
        let reader = Reader::new(&self.repo, &self.index);
        let mut start = SessionStart::begin(&reader, self.now())?;
        let result = std::thread::scope(|scope| {
            let mut session = start.open(scope, &reader);
            let mut stored = Vec::new();
            for (disk, content) in disks {
                let chunks = (content.len() as u64).div_ceil(CHUNK as u64);
                let positions: Vec<u64> = (0..chunks).collect();
                let tree = self.store_tree(&mut session, &reader, content, (Tree::empty(chunks), &positions))?;
                stored.push(described(disk, content, tree));
            }
            let closed = session.close()?;
            closed.commit(&self.manifest(name, stored, (false, None), Stats::default()), self.now())
        });
        let released = start.abandon(&self.repo);
        result.and_then(|at| released.map(|()| at))
    }

    fn manifest(
        &self,
        name: &str,
        disks: Vec<Disk>,
        (incremental, parent): (bool, Option<ManifestId>),
        stats: Stats,
    ) -> Manifest {
        Manifest {
            name: name.into(),
            host: "bench".into(),
            created_at: self.now(),
            kind: match (incremental, parent) {
                (true, _) => PointKind::Incremental,
                (false, None) => PointKind::Full,
                (false, Some(_)) => PointKind::FullRead,
            },
            full_read_reason: None,
            consistency: Consistency::Offline,
            one_instant: true,
            provider: "direct".into(),
            parent,
            chunk_bytes: 65536,
            disks,
            stats,
            program: "bench".into(),
        }
    }

    /// The whole content of a point's only disk.
    pub fn restore(&self, at: PointKey) -> Result<Vec<u8>> {
        self.content(&self.repo.open_point(at)?.1)
    }

    /// The same of a point whose writer has no sound record.
    pub fn restore_unverified(&self, at: PointKey) -> Result<Vec<u8>> {
        self.content(&self.repo.open_point_unverified(at)?.1)
    }

    fn content(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let reader = Reader::new(&self.repo, &self.index);
        let disk = manifest.disk(None)?;
        let mut content = vec![0; usize::try_from(disk.size_bytes).unwrap()];
        let tree = disk.tree(manifest.chunk_bytes);
        let wanted = TreeWalk::new(tree, &reader, 0..tree.chunks)
            .map(|entry| {
                entry.map(|(position, chunk)| Wanted { position, chunk, length: disk.chunk_length(65536, position) })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut decoder = repo_format::pack::EntryDecoder::new()?;
        for run in reader.plan(&wanted)? {
            reader.read_run(&run, (&mut decoder, &mut Vec::new()), &mut |want, plain| {
                let start = usize::try_from(want.position).unwrap() * CHUNK;
                content[start..start + plain.len()].copy_from_slice(plain);
                Ok::<(), Error>(())
            })?;
        }
        Ok(content)
    }
}

fn described(name: &str, content: &[u8], tree: Tree) -> Disk {
    Disk {
        name: name.into(),
        path: "/disk.img".into(),
        identity: DiskIdentity { kind: "path".into(), value: "/disk.img".into() },
        size_bytes: content.len() as u64,
        root: tree.root,
        used_blocks_only: false,
        excluded_partitions: Vec::new(),
        zeroed_extents: Vec::new(),
        tracker: None,
        full_read_reason: None,
        read_whole_at: None,
        facts: serde_json::Value::Null,
    }
}

fn store_chunks(
    repo: &Repository,
    session: &mut Session<'_, '_>,
    content: &[u8],
    positions: &[u64],
) -> Result<Vec<Option<ChunkId>>> {
    let mut encoder = Encoder::new(1)?;
    let claims: &Claims<'_> = session.claims();
    let plain_at = |position: &u64| {
        let start = usize::try_from(*position).unwrap() * CHUNK;
        &content[start..content.len().min(start + CHUNK)]
    };
    let data = positions.iter().map(plain_at).filter(|plain| !is_zero(plain));
    claims.prepare(PackKind::Data, &data.map(|plain| repo.keys().ids().chunk(plain).into()).collect::<Vec<_>>())?;
    let mut hint = Hint::default();
    let mut new = Vec::new();
    let mut ids = Vec::new();
    for position in positions {
        let plain = plain_at(position);
        if is_zero(plain) {
            ids.push(None);
            continue;
        }
        let chunk = repo.keys().ids().chunk(plain);
        if claims.claim(&chunk.into(), PackKind::Data, &mut hint)? {
            let mut payload = Vec::new();
            let kind = encoder.encode_behind(plain, &mut payload)?;
            new.push((chunk, kind, u32::try_from(plain.len()).unwrap(), payload));
        }
        ids.push(Some(chunk));
    }
    session.add_chunks(new.iter().map(|(chunk, kind, plain_bytes, payload)| NewChunk {
        chunk: *chunk,
        kind: *kind,
        plain_bytes: *plain_bytes,
        payload,
    }))?;
    Ok(ids)
}
