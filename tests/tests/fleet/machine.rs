//! A simulated machine: it asks for jobs, really stores what they ask for, and reports. And what its points are compared with in the end.

use super::store::WireStore;
use super::wire::{Times, Wire};
use anyhow::{Context, Result, ensure};
use e2e::appliance::{Appliance, CHUNK, PASSPHRASE, noise};
use jiff::Timestamp;
use repo_format::claims::Hint;
use repo_format::codec::Encoder;
use repo_format::entropy::SystemEntropy;
use repo_format::id::ChunkId;
use repo_format::index::Index;
use repo_format::key_slot::Unlock;
use repo_format::keys::WriterKeys;
use repo_format::manifest::{Consistency, Disk, DiskIdentity, Manifest, PointKey, PointKind, Stats};
use repo_format::pack::{EntryDecoder, PackKind};
use repo_format::reader::{Reader, Wanted};
use repo_format::reconcile;
use repo_format::repository::{Access, Repository};
use repo_format::session::{NewChunk, Session, SessionStart};
use repo_format::store::dir::DirStore;
use repo_format::tree::{Tree, TreeEditor, TreeWalk};
use serde_json::{Value, json};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// A machine and its plan.
pub struct Machine {
    pub name: String,
    pub plan: String,
    keys: WriterKeys,
    secret: String,
    wire: Arc<Wire>,
}

/// A point whose commit was acknowledged, and what it is to hold.
#[derive(Clone)]
pub struct Acknowledged {
    pub at: PointKey,
    pub seed: u64,
    pub length: usize,
}

/// Points of all machines.
pub type Points = Arc<Mutex<Vec<Acknowledged>>>;

/// Machines of one server, each with a plan that runs when asked.
pub fn fleet(appliance: &Appliance, count: usize, times: &Arc<Times>) -> Result<Vec<Machine>> {
    let repo = opened(appliance)?;
    let address = appliance.server.address()?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("an id and a secret are texts");
    (0..count)
        .map(|number| {
            let name = format!("machine-{number}");
            let keys = repo.create_writer(&name, None, Timestamp::now())?;
            let body = json!({"name": name, "repository": "main", "writer": keys.writer.to_string()});
            let made = appliance.post("/api/v1/agents", &body)?.expect(201)?.body;
            let body = json!({"name": name, "agent_id": made["agent"]["id"], "work": {"sources": {"paths": ["/dev/vda"]}},
                "retries": {"count": 20, "pause_s": 0}});
            let plan = text(&appliance.post("/api/v1/plans", &body)?.expect(201)?.body["id"])?;
            let secret = text(&made["secret"])?;
            let wire = Arc::new(Wire::new(&address, &secret, times));
            Ok(Machine { name, plan, keys, secret, wire })
        })
        .collect()
}

/// The repository as its owner opens it, beside the server.
pub fn opened(appliance: &Appliance) -> Result<Repository> {
    let access = Access::Unlock(Unlock::Passphrase(PASSPHRASE));
    let store = Arc::new(DirStore::open(appliance.repository()));
    Ok(Repository::open(store, access, Arc::new(SystemEntropy))?)
}

/// Content of a job's disk: half of it this machine's own, half of it what many have.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = noise(seed, length / 2);
    bytes.extend(noise(seed % 7, length - length / 2));
    bytes
}

impl Machine {
    /// Takes jobs and carries them out until so many have succeeded. A job that fails is reported and comes again.
    pub fn work(&self, (jobs, length): (usize, usize), points: &Points) -> Result<()> {
        let instance = "01890000-0000-7000-8000-000000000001";
        let hello =
            json!({"instance": instance, "begins": true, "version": "0.0.0", "host": self.name, "boot_id": "b"});
        self.must("heartbeat", "/api/v1/agent/heartbeat", &hello)?;
        let mut done = 0;
        while done < jobs {
            let asked = json!({"instance": instance, "in_hand": [], "wait_s": 5});
            let given = self.must("ask for work", "/api/v1/agent/jobs/lease", &asked)?;
            let job = &given["job"];
            let Some(id) = job["id"].as_str() else { continue };
            let progress = json!({"lease": job["lease"], "progress": {"stages": [{"name": "backup", "unit": "bytes", "done": 0,
                "total": length, "per_s": 0, "took_ms": 0, "ended": false}]}});
            self.wire.post("report progress", &format!("/api/v1/agent/jobs/{id}/progress"), &progress)?;
            let seed = seed_of(id);
            let ending = match self.backup(&content(seed, length)) {
                Ok((at, stored_bytes)) => {
                    points.lock().expect("no panic while held").push(Acknowledged { at, seed, length });
                    json!({"succeeded": {"point": at.manifest.to_string(), "point_name": self.name, "sequence": at.sequence,
                        "full_read_reason": null, "provider": "direct", "source_bytes": length, "changed_bytes": length,
                        "read_bytes": length, "stored_bytes": stored_bytes, "took_ms": 1, "warnings": []}})
                }
                Err(error) => {
                    json!({"failed": {"retry": true, "error": {"code": "failed", "what": format!("{error:#}"),
                    "why": [], "next": null, "attempt": job["attempt"]}}})
                }
            };
            let end = json!({"lease": job["lease"], "ending": ending, "progress": {}});
            let path = format!("/api/v1/agent/jobs/{id}/finish");
            let ended = self.wire.post("report the end", &path, &end)?;
            done += usize::from(ended.status == 204 && ending["succeeded"].is_object());
        }
        Ok(())
    }

    /// The same machine, which reaches the server by another way.
    pub fn reached_at(self, address: &str, times: &Arc<Times>) -> Self {
        Self { wire: Arc::new(Wire::new(address, &self.secret, times)), ..self }
    }

    /// Backs up a small disk without a job, and notes the point.
    pub fn back_up_noted(&self, seed: u64, points: &Points) -> Result<()> {
        let length = 3 * CHUNK;
        let (at, _) = self.backup(&content(seed, length))?;
        points.lock().expect("no panic while held").push(Acknowledged { at, seed, length });
        Ok(())
    }

    fn must(&self, kind: &'static str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.wire.post(kind, path, body)?;
        ensure!(answer.status < 300, "{path}: {}", String::from_utf8_lossy(&answer.body));
        Ok(answer.json())
    }

    /// Stores a disk as the next point of the machine's name.
    pub fn backup(&self, content: &[u8]) -> Result<(PointKey, u64), repo_format::Error> {
        let store = Arc::new(WireStore::new(&self.wire));
        let access = Access::Writer(Box::new(self.keys.clone()));
        let repo = Repository::open(store.clone(), access, Arc::new(SystemEntropy))?.with_elsewhere(store);
        let index = Index::in_memory()?;
        let reader = Reader::new(&repo, &index);
        let mut start = SessionStart::begin(&reader, Timestamp::now())?;
        let result = std::thread::scope(|scope| {
            let mut session = start.open(scope, &reader);
            let chunks = store_chunks(&repo, &mut session, content)?;
            let mut editor = TreeEditor::new(Tree::empty(chunks.len() as u64), &reader);
            for (position, chunk) in (0..).zip(chunks) {
                editor.set(position, Some(chunk), &mut session)?;
            }
            let tree = editor.finish(&mut session)?;
            let closed = session.close()?;
            let stored_bytes = closed.stored_bytes();
            let at = closed.commit(&self.manifest(content.len() as u64, tree, stored_bytes), Timestamp::now())?;
            Ok((at, stored_bytes))
        });
        let released = start.abandon(&repo);
        result.and_then(|done| released.map(|()| done))
    }

    fn manifest(&self, size_bytes: u64, tree: Tree, bytes_stored: u64) -> Manifest {
        let disk = Disk {
            name: "vda".into(),
            path: "/dev/vda".into(),
            identity: DiskIdentity { kind: "path".into(), value: "/dev/vda".into() },
            size_bytes,
            root: tree.root,
            used_blocks_only: false,
            excluded_partitions: Vec::new(),
            zeroed_extents: Vec::new(),
            tracker: None,
            full_read_reason: None,
            read_whole_at: None,
            facts: Value::Null,
        };
        Manifest {
            name: self.name.clone(),
            host: self.name.clone(),
            created_at: Timestamp::now(),
            kind: PointKind::Full,
            full_read_reason: None,
            consistency: Consistency::Offline,
            one_instant: true,
            provider: "direct".into(),
            parent: None,
            chunk_bytes: u32::try_from(CHUNK).expect("64 KiB"),
            disks: vec![disk],
            stats: Stats { bytes_stored, ..Stats::default() },
            program: "fleet".into(),
        }
    }
}

/// A job is tried again with the same content, so that what is there already is found.
fn seed_of(job: &str) -> u64 {
    job.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn store_chunks(
    repo: &Repository,
    session: &mut Session<'_, '_>,
    content: &[u8],
) -> Result<Vec<ChunkId>, repo_format::Error> {
    let (mut encoder, claims, mut hint) = (Encoder::new(1)?, session.claims(), Hint::default());
    let ids: Vec<ChunkId> = content.chunks(CHUNK).map(|plain| repo.keys().ids().chunk(plain)).collect();
    claims.prepare(PackKind::Data, &ids.iter().map(|id| (*id).into()).collect::<Vec<_>>())?;
    for (plain, chunk) in content.chunks(CHUNK).zip(&ids) {
        if claims.claim(&(*chunk).into(), PackKind::Data, &mut hint)? {
            let mut payload = Vec::new();
            let kind = encoder.encode_behind(plain, &mut payload)?;
            encoder.end_frame();
            let plain_bytes = u32::try_from(plain.len()).expect("64 KiB");
            session.add_chunks([NewChunk { chunk: *chunk, kind, plain_bytes, payload: &payload }])?;
        }
    }
    Ok(ids)
}

/// Restores every point that was acknowledged, and looks at all that is stored. Returns how many points that were.
pub fn ensure_nothing_was_lost(appliance: &Appliance, points: &Points) -> Result<usize> {
    let points = points.lock().expect("no panic while held").clone();
    let (repo, index) = (opened(appliance)?, Index::in_memory()?);
    let options = reconcile::Options { threads: 2, progress: &|_| {}, cancel: &AtomicBool::new(false) };
    reconcile::reconcile(repo.records(), &index, &options)?;
    let reader = Reader::new(&repo, &index);
    for point in &points {
        let restored = restored(&reader, point).with_context(|| format!("point {}", point.at.manifest))?;
        ensure!(
            restored == content(point.seed, point.length),
            "point {} restores to something else",
            point.at.manifest
        );
    }
    let checked = appliance.local(&["check", "--read-data"])?;
    ensure!(checked["errors"].as_array().is_none_or(Vec::is_empty), "{checked}");
    Ok(points.len())
}

fn restored(reader: &Reader<'_>, point: &Acknowledged) -> Result<Vec<u8>, repo_format::Error> {
    let (_, manifest) = reader.repository().open_point(point.at)?;
    let (disk, mut content) = (manifest.disk(None)?, vec![0; point.length]);
    let tree = disk.tree(manifest.chunk_bytes);
    let wanted = TreeWalk::new(tree, reader, 0..tree.chunks).map(|entry| {
        let (position, chunk) = entry?;
        Ok(Wanted { position, chunk, length: disk.chunk_length(manifest.chunk_bytes, position) })
    });
    let wanted = wanted.collect::<Result<Vec<_>, repo_format::Error>>()?;
    let mut decoder = EntryDecoder::new()?;
    for run in reader.plan(&wanted)? {
        reader.read_run(&run, (&mut decoder, &mut Vec::new()), &mut |want, plain| {
            let start = usize::try_from(want.position).expect("a small disk") * CHUNK;
            content[start..start + plain.len()].copy_from_slice(plain);
            Ok::<(), repo_format::Error>(())
        })?;
    }
    Ok(content)
}

/// No session is left behind.
pub fn ensure_no_leases(appliance: &Appliance) -> Result<()> {
    let left = std::fs::read_dir(appliance.repository().join("leases"))?.count();
    ensure!(left == 0, "{left} leases are left");
    Ok(())
}
