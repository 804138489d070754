//! Writing: one session stores chunks and trees and commits one recovery point.
//!
//! The types enforce the order: only an open [`Session`] takes chunks and nodes; [`Session::close`] returns a [`ClosedSession`]
//! once every pack is durable; only that can commit a manifest. Packs are handed to `uploads` in the order they were filled, trees after
//! the chunks they reference.

use crate::claims::{Claims, Hint};
use crate::codec::Kind;
use crate::condemned::{self, PackRef};
use crate::config::CONFIG_KEY;
use crate::error::{Error, Result};
use crate::forget;
use crate::id::{ChunkId, ManifestId, NodeId, PackId};
use crate::lease::{self, Lease, PinnedRoot, Purpose};
use crate::manifest::{self, Manifest, PointKey, StoredManifest};
use crate::pack::{PackBuilder, PackKind};
use crate::reader::Reader;
use crate::repository::Repository;
use crate::tree::NodeSink;
use crate::uploads::Uploads;
use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Scope;

/// Begins a session: takes its lease, then learns what is condemned and verified.
pub struct SessionStart<'r> {
    lease: Lease,
    claims: Claims<'r>,
}

impl<'r> SessionStart<'r> {
    /// Takes the lease. The writer must not be revoked.
    pub fn begin(reader: &'r Reader<'r>, now: Timestamp) -> Result<Self> {
        let repo = reader.repository();
        repo.config().check_writable()?;
        let writer = repo.keys().writer().writer;
        match repo.signers().writers.get(&writer) {
            None => return Err(Error::KeyNeeded(format!("writer {writer} is not known to this repository"))),
            Some(known) => known.may_begin(writer)?,
        }
        // An init that was killed just before its last sync looks finished; nothing may be built on what a power cut can take.
        repo.store().persist(&[CONFIG_KEY.into(), "keys/-".into(), "writers/-".into()])?;
        let lease = Lease::take(repo, Purpose::Backup, now)?;
        let condemned = condemned::named(repo.records())?.into_iter().map(|pack| pack.pack);
        let unreliable = condemned.chain(condemned::damaged(repo.records())?).collect();
        let claims = Claims::new(reader, unreliable, condemned::verified(repo.records())?);
        Ok(Self { lease, claims })
    }

    /// Pins the trees of a parent. False when it was forgotten meanwhile and must not be used.
    pub fn pin_parent(
        &mut self,
        reader: &Reader<'_>,
        stored: &StoredManifest,
        parent: &Manifest,
        now: Timestamp,
    ) -> Result<bool> {
        let repo = reader.repository();
        let pins = pinned_roots(stored, parent);
        self.lease.pin(repo, stored.at.manifest, pins, now)?;
        Ok(!repo.is_forgotten(&stored.at.manifest)? && repo.store().exists(&stored.at.key())?)
    }

    /// What the workers ask.
    pub fn claims(&self) -> &Claims<'r> {
        &self.claims
    }

    /// Starts storing. The uploading threads live in `scope`. May be called again when what it returned ended without a commit.
    pub fn open<'scope>(
        &'scope mut self,
        scope: &'scope Scope<'scope, '_>,
        reader: &'scope Reader<'r>,
    ) -> Session<'scope, 'r> {
        let (claims, lease) = (&self.claims, &mut self.lease);
        claims.forget_pending();
        let stored_bytes = Arc::new(AtomicU64::new(0));
        let uploads = Uploads::begin(scope, reader, claims, &stored_bytes);
        Session {
            reader,
            claims,
            lease,
            data: None,
            tree: None,
            uploads: Some(uploads),
            stored_bytes,
            node_hint: Hint::default(),
        }
    }

    /// Gives the lease back without a commit.
    pub fn abandon(self, repo: &Repository) -> Result<()> {
        self.lease.release(repo)
    }
}

/// The trees of a point, as a lease pins them.
pub fn pinned_roots(stored: &StoredManifest, manifest: &Manifest) -> Vec<PinnedRoot> {
    let trees = manifest.disks.iter().map(|disk| disk.tree(manifest.chunk_bytes));
    trees.filter_map(|tree| Some(PinnedRoot { root: tree.root?, level: tree.level(), writer: stored.writer })).collect()
}

/// An open session. One thread owns it and feeds it in disk order.
pub struct Session<'scope, 'r> {
    reader: &'scope Reader<'r>,
    claims: &'scope Claims<'r>,
    lease: &'scope mut Lease,
    data: Option<PackBuilder>,
    tree: Option<PackBuilder>,
    /// `None` once a failure was taken from the uploading threads.
    uploads: Option<Uploads<'scope>>,
    stored_bytes: Arc<AtomicU64>,
    node_hint: Hint,
}

impl<'scope, 'r> Session<'scope, 'r> {
    fn repo(&self) -> &'r Repository {
        self.reader.repository()
    }

    /// Stores chunks that [`Claims::claim`] told this session to store. No frame goes beyond one call.
    pub fn add_chunks<'c>(&mut self, chunks: impl IntoIterator<Item = NewChunk<'c>>) -> Result<()> {
        chunks.into_iter().try_for_each(|chunk| self.add_chunk(chunk))
    }

    fn add_chunk(&mut self, NewChunk { chunk, kind, plain_bytes, payload }: NewChunk<'_>) -> Result<()> {
        if kind != Kind::Continued && self.data.as_ref().is_some_and(PackBuilder::is_full) {
            self.flush_data()?;
        }
        let builder = match &mut self.data {
            Some(builder) => builder,
            None => {
                let repo = self.reader.repository();
                let (config, keys) = (repo.config(), repo.keys().writer());
                let (by, entropy) = ((keys.writer, keys.writer), repo.entropy());
                let pack = PackBuilder::data(config.repository, by, &keys.public, config.chunk_bytes, entropy)?;
                self.data.insert(match self.uploads.as_ref().and_then(Uploads::room) {
                    Some(room) => pack.in_room(room),
                    None => pack,
                })
            }
        };
        builder.add(chunk.into(), kind, plain_bytes, payload)
    }

    /// What the workers ask.
    pub fn claims(&self) -> &'scope Claims<'r> {
        self.claims
    }

    /// Renews the lease when it is time to; call it now and then.
    pub fn renew_if_due(&mut self, now: Timestamp) -> Result<()> {
        let repo = self.repo();
        self.lease.renew_if_due(repo, now)
    }

    /// Bytes of packs that are durable so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    fn send(&mut self, builder: PackBuilder) -> Result<()> {
        let pack = builder.finish(self.repo().signer());
        let failed = match &self.uploads {
            Some(uploads) => !uploads.send(pack),
            None => true,
        };
        if failed { self.upload_result() } else { Ok(()) }
    }

    /// Waits until everything sent is durable; the failure if there was one.
    fn upload_result(&mut self) -> Result<()> {
        let Some(uploads) = self.uploads.take() else {
            return Err(Error::Refused("the session failed before".into()));
        };
        uploads.finish()
    }

    fn flush_data(&mut self) -> Result<()> {
        self.data.take().filter(|builder| !builder.is_empty()).map_or(Ok(()), |builder| self.send(builder))
    }

    /// Sends the tree pack behind all chunks its nodes may reference.
    fn flush_tree(&mut self) -> Result<()> {
        let Some(builder) = self.tree.take() else { return Ok(()) };
        self.flush_data()?;
        self.send(builder)
    }

    /// Makes everything durable.
    pub fn close(mut self) -> Result<ClosedSession<'scope, 'r>> {
        self.flush_data()?;
        self.flush_tree()?;
        self.upload_result()?;
        let stored_bytes = self.stored_bytes();
        Ok(ClosedSession { reader: self.reader, claims: self.claims, lease: self.lease, stored_bytes })
    }
}

impl NodeSink for Session<'_, '_> {
    fn put(&mut self, _level: u8, encoded: Vec<u8>) -> Result<NodeId> {
        let repo = self.repo();
        let id = repo.keys().ids().node(&encoded);
        if !self.claims.claim(&id.into(), PackKind::Tree, &mut self.node_hint)? {
            return Ok(id);
        }
        if self.tree.as_ref().is_some_and(PackBuilder::is_full) {
            self.flush_tree()?;
        }
        let keys = repo.keys().writer();
        let by = (keys.writer, keys.writer);
        let builder =
            self.tree.get_or_insert_with(|| PackBuilder::tree(repo.config().repository, by, &keys.map, repo.entropy()));
        let plain_bytes = u32::try_from(encoded.len()).expect("a node is at most 4 KiB and a header");
        builder.add(id.into(), Kind::Raw, plain_bytes, &encoded)?;
        Ok(id)
    }
}

/// A chunk to be stored, as [`crate::codec::Encoder`] encoded it.
pub struct NewChunk<'c> {
    /// Its id.
    pub chunk: ChunkId,
    /// Its encoding.
    pub kind: Kind,
    /// Its length.
    pub plain_bytes: u32,
    /// Its encoded bytes.
    pub payload: &'c [u8],
}

/// A session whose packs are all durable.
pub struct ClosedSession<'scope, 'r> {
    reader: &'scope Reader<'r>,
    claims: &'scope Claims<'r>,
    lease: &'scope mut Lease,
    stored_bytes: u64,
}

/// Tries to find a free place in the sequence of a name; only a listing that is wrong again and again uses them up.
const MAX_ATTEMPTS: u32 = 8;

impl ClosedSession<'_, '_> {
    /// Bytes of all packs of this session.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Commits the point: rescue what is needed and condemned, see that the lease stands, write the manifest, see again.
    pub fn commit(self, manifest: &Manifest, now: Timestamp) -> Result<PointKey> {
        let repo = self.reader.repository();
        self.rescue_condemned(now)?;
        self.lease.check(repo)?;
        let at = put_manifest(repo, manifest, now)?;
        if let Err(lost) = self.lease.check(repo) {
            // Prune may have worked while this process stood still. While one is at work what is there may be gone in a moment; else
            // the point stays if all it needs is there.
            if lease::list(repo)?.iter().any(|lease| lease.purpose == Purpose::Prune) {
                repo.store().delete(&at.key())?;
                return Err(lost);
            }
            if let Err(error) = crate::check::prove_point(self.reader, at) {
                if error.is_damage() {
                    repo.store().delete(&at.key())?;
                    return Err(lost);
                }
                return Err(error);
            }
        }
        Ok(at)
    }

    fn rescue_condemned(&self, now: Timestamp) -> Result<()> {
        let repo = self.reader.repository();
        let relied: HashSet<PackId> = self.claims.relied().into_iter().collect();
        let named = condemned::named(repo.records())?;
        let needed: Vec<PackRef> = named.into_iter().filter(|pack| relied.contains(&pack.pack)).collect();
        if !needed.is_empty() {
            condemned::rescue(repo, needed, now)?;
        }
        for pack in relied {
            let (as_data, as_tree) = (PackKind::Data.key(&pack), PackKind::Tree.key(&pack));
            if !repo.store().exists(&as_data)? && !repo.store().exists(&as_tree)? {
                return Err(Error::LeaseLost);
            }
        }
        Ok(())
    }
}

/// Writes the manifest as the next of its name.
fn put_manifest(repo: &Repository, manifest: &Manifest, now: Timestamp) -> Result<PointKey> {
    let keys = repo.keys().writer();
    let name = keys.ids.name(&manifest.name);
    for _ in 0..MAX_ATTEMPTS {
        let newest = repo.points_of(&name)?.into_iter().next_back();
        let buried = forget::highest_buried(repo.records(), &name)?;
        let highest = newest.map_or(0, |point| point.sequence).max(buried);
        let full = || Error::Limit { what: "the sequence number of a point", value: highest, allowed: "less".into() };
        let sequence = highest.checked_add(1).ok_or_else(full)?;
        let previous: Option<ManifestId> = newest.map(|point| point.manifest);
        let (at, object) =
            manifest::encode(keys, manifest, (previous, sequence), now, (repo.signer(), repo.entropy()))?;
        if !repo.store().exists(&at.key())? {
            repo.store().put(&at.key(), &object)?;
            return Ok(at);
        }
    }
    Err(Error::Refused("no free place for the recovery point's manifest was found".into()))
}
