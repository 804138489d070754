//! `icecore list`: the recovery points, oldest first.

use super::console::table;
use super::context::Context;
use super::failure::{Code, Failure};
use super::point;
use agent::output;
use repo_format::Error;
use repo_format::forget::{Tombstone, tombstones};
use repo_format::id::ManifestId;
use repo_format::manifest::{Manifest, PointKey, PointKind, StoredManifest};
use repo_format::repository::Repository;
use repo_format::suspects;
use serde_json::{Value, json};

/// Options of `list`.
#[derive(clap::Args)]
pub struct Args {
    /// Only points of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only forgotten points that `undo` can still take back
    #[arg(long)]
    forgotten: bool,
}

/// A point of the list.
pub enum Entry {
    /// One that the keys open.
    Open(StoredManifest, Box<Manifest>),
    /// One of a writer whose points the keys cannot open.
    Sealed(StoredManifest),
    /// One that cannot be read.
    Damaged(PointKey, Error),
}

impl Entry {
    /// Its id.
    pub fn id(&self) -> ManifestId {
        match self {
            Self::Open(stored, _) | Self::Sealed(stored) => stored.at.manifest,
            Self::Damaged(at, _) => at.manifest,
        }
    }

    fn received_at(&self) -> Option<jiff::Timestamp> {
        match self {
            Self::Open(stored, _) | Self::Sealed(stored) => Some(stored.receipt.received_at),
            Self::Damaged(..) => None,
        }
    }
}

/// What was read of a point; damage is an entry, a store that fails is an error.
fn entry_of(repo: &Repository, at: PointKey, read: Result<StoredManifest, Error>) -> Result<Entry, Error> {
    let loaded = read.and_then(|stored| {
        if repo.keys().map_key(stored.writer).is_none() {
            return Ok(Entry::Sealed(stored));
        }
        let manifest = stored.open(repo.keys())?;
        Ok(Entry::Open(stored, Box::new(manifest)))
    });
    match loaded {
        Err(error) if error.is_damage() || matches!(error, Error::NewerVersion { .. }) => Ok(Entry::Damaged(at, error)),
        other => other,
    }
}

/// Every point that is not forgotten, oldest first.
pub fn entries(repo: &Repository, forgotten: &[(bool, Tombstone)]) -> Result<Vec<Entry>, Error> {
    let is_forgotten = |at: &PointKey| forgotten.iter().any(|(_, stone)| stone.manifest == at.manifest);
    let mut entries = Vec::new();
    let mut points = repo.points()?;
    points.retain(|at| !is_forgotten(at));
    repo.load_each_unverified(&points, &mut |at, read| {
        match entry_of(repo, at, read)? {
            // Deleted since the listing.
            Entry::Damaged(_, Error::Missing { .. }) => {}
            entry => entries.push(entry),
        }
        Ok(())
    })?;
    entries.sort_by_key(Entry::received_at);
    Ok(entries)
}

/// How a point came to be, as the format calls it.
pub fn kind_text(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Full => "full",
        PointKind::FullRead => "full_read",
        PointKind::Incremental => "incremental",
    }
}

/// A point as JSON.
pub fn entry_json(entry: &Entry) -> Value {
    match entry {
        Entry::Open(stored, manifest) => open_json(stored, manifest),
        Entry::Sealed(stored) => json!({
            "id": stored.at.manifest, "sealed": true, "verified": stored.is_verified, "sequence": stored.at.sequence,
            "writer": stored.writer,
            "received_at": stored.receipt.received_at, "name": null, "name_id": stored.at.name,
        }),
        Entry::Damaged(at, error) => json!({
            "id": at.manifest, "damaged": error.to_string(), "sequence": at.sequence, "name": null, "name_id": at.name,
        }),
    }
}

fn open_json(stored: &StoredManifest, manifest: &Manifest) -> Value {
    let stats = &manifest.stats;
    let disks: Vec<Value> = manifest
        .disks
        .iter()
        .map(|disk| {
            json!({
                "name": disk.name, "path": disk.path, "size_bytes": disk.size_bytes, "identity": disk.identity,
                "tracker": disk.tracker, "full_read_reason": disk.full_read_reason,
                "used_blocks_only": disk.used_blocks_only, "excluded_partitions": disk.excluded_partitions,
            })
        })
        .collect();
    json!({
        "id": stored.at.manifest, "name": manifest.name, "sequence": stored.at.sequence, "sealed": false,
        "verified": stored.is_verified,
        "created_at": manifest.created_at, "received_at": stored.receipt.received_at, "kind": manifest.kind,
        "full_read_reason": manifest.full_read_reason, "consistency": manifest.consistency,
        "one_instant": manifest.one_instant, "host": manifest.host,
        "provider": manifest.provider, "program": manifest.program, "writer": stored.writer, "parent": manifest.parent,
        "bytes_source": stats.bytes_source, "bytes_changed": stats.bytes_changed, "bytes_read": stats.bytes_read,
        "bytes_stored": stats.bytes_stored + stored.object_bytes, "bytes_new": stats.bytes_new,
        "bytes_zero": stats.bytes_zero, "duration_ms": stats.duration_ms, "disks": disks,
        "bytes_audited": stats.bytes_audited, "bytes_preserved": stats.bytes_preserved,
    })
}

fn row(entry: &Entry) -> Vec<String> {
    match entry {
        Entry::Open(stored, manifest) => {
            let stats = &manifest.stats;
            vec![
                point::short(&stored.at),
                output::name(&manifest.name),
                stored.at.sequence.to_string(),
                output::time(manifest.created_at),
                kind_text(manifest.kind).to_owned(),
                output::bytes(stats.bytes_source),
                output::bytes(stats.bytes_changed),
                output::bytes(stats.bytes_stored + stored.object_bytes),
            ]
        }
        Entry::Sealed(stored) => {
            let writer = format!("(sealed, writer {})", &stored.writer.to_string()[..8]);
            let time = output::time(stored.receipt.received_at);
            vec![point::short(&stored.at), writer, stored.at.sequence.to_string(), time]
        }
        Entry::Damaged(at, _) => vec![point::short(at), "(damaged)".into(), at.sequence.to_string()],
    }
}

const KIND_COLUMN: usize = 4;
const COLUMNS: [&str; 8] = ["ID", "NAME", ">SEQ", "CREATED", "KIND", ">SOURCE", ">CHANGED", ">STORED"];

/// Lists.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let stones = tombstones(&repo)?;
    if args.forgotten {
        return forgotten(&repo, &stones, context);
    }
    let mut entries = entries(&repo, &stones)?;
    if let Some(name) = &args.name {
        entries.retain(|entry| matches!(entry, Entry::Open(_, manifest) if manifest.name == *name));
    }
    let suspects = suspects::all(&repo)?;
    let mut values: Vec<Value> = entries.iter().map(entry_json).collect();
    for (value, entry) in values.iter_mut().zip(&entries) {
        value["suspect"] = suspects.contains(&entry.id()).into();
    }
    let row_of = |entry: &Entry| {
        let mut row = row(entry);
        if let Some(kind) = row.get_mut(KIND_COLUMN).filter(|_| suspects.contains(&entry.id())) {
            kind.push_str(" (SUSPECT)");
        }
        row
    };
    context.console.result(&values, |_| match entries.is_empty() {
        true => "No recovery points yet. `icecore backup SOURCE` makes one.".into(),
        false => table(&COLUMNS, entries.iter().map(row_of).collect()),
    })?;
    for entry in &entries {
        if let Entry::Open(stored, _) | Entry::Sealed(stored) = entry
            && !stored.is_verified
        {
            let (id, writer) = (point::short(&stored.at), stored.writer);
            context.console.warn(&format!(
                "point {id} cannot be verified: there is no sound record of writer {writer}. Its place and its time are not proved"
            ));
        }
    }
    let damaged = entries.iter().filter_map(|entry| match entry {
        Entry::Damaged(at, error) => Some(format!("{}: {error}", point::short(at))),
        _ => None,
    });
    let damaged: Vec<String> = damaged.collect();
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Code::Damaged, format!("some points cannot be read:\n{}", damaged.join("\n")))
            .next("`icecore check --read-data` shows all damage; the other points are not affected by this")
            .into()),
    }
}

fn forgotten(repo: &Repository, stones: &[(bool, Tombstone)], context: &Context) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (_, stone) in stones.iter().filter(|(exists, _)| *exists) {
        let at = PointKey { name: stone.name, sequence: stone.sequence, manifest: stone.manifest };
        let entry = entry_of(repo, at, repo.load_unverified(at))?;
        let mut value = entry_json(&entry);
        value["forgotten_at"] = json!(stone.forgotten_at);
        value["delete_after"] = json!(stone.delete_after);
        value["reason"] = json!(stone.reason);
        values.push(value);
        let mut row = row(&entry);
        row.truncate(4);
        row.resize(4, String::new());
        row.extend([output::time(stone.delete_after), output::name(&stone.reason)]);
        rows.push(row);
    }
    context.console.result(&values, |_| match rows.is_empty() {
        true => "No forgotten points that could be taken back.".into(),
        false => table(&["ID", "NAME", ">SEQ", "CREATED", "KEPT UNTIL", "REASON"], rows),
    })
}
