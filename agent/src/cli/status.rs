//! `icecore status`: what the repository holds, who works on it now, and what the next backup of this machine's disks would read.

mod disks;

use super::bucket;
use super::console::{fields, table};
use super::context::Context;
use super::list::{Entry, entries};
use super::prune;
use agent::output;
use agent::progress::ratio;
use jiff::Timestamp;
use repo_format::forget::tombstones;
use repo_format::index::Index;
use repo_format::pack::PackKind;
use repo_format::probe::{self, Probe};
use repo_format::repository::Repository;
use repo_format::store::requests::Requests;
use repo_format::{condemned, lease};
use serde::Serialize;
use std::collections::BTreeMap;

/// Options of `status`.
#[derive(clap::Args)]
pub struct Args {
    /// Also count what no recovery point needs any more and prune would free; reads every tree, so it takes a while
    #[arg(long)]
    unreferenced: bool,
}

/// Where the objects of a store are (FORMAT.md, "Objects in the store"); `config` is too small to matter.
const PREFIXES: [&str; 17] = [
    "keys/",
    "writers/",
    "data/",
    "tree/",
    "manifests/",
    "tombstones/",
    "pardons/",
    "executions/",
    "leases/",
    "condemned/",
    "rescues/",
    "verified/",
    "damaged/",
    "suspects/",
    "probes/",
    "catalogs/",
    "leaves/",
];

#[derive(Serialize)]
struct Status {
    repository: String,
    path: String,
    created_at: Timestamp,
    chunk_bytes: u32,
    points: usize,
    points_forgotten: usize,
    points_sealed: usize,
    points_damaged: usize,
    /// Sizes of all disks of all points that can be opened: what the repository stands for.
    bytes_source: u64,
    /// Plaintext of all chunks in the store, the last chunk of each disk counted as whole.
    bytes_unique: u64,
    bytes_data_packs: u64,
    bytes_tree_packs: u64,
    bytes_other: u64,
    bytes_total: u64,
    dedup_ratio: Option<f64>,
    compression_ratio: Option<f64>,
    /// Packs that prune condemned and will delete.
    packs_condemned: usize,
    bytes_condemned: u64,
    /// What no point needs, wherever it lies; only with `--unreferenced`.
    unreferenced: Option<Unreferenced>,
    names: Vec<Name>,
    sessions: Vec<Session>,
    disks: Vec<disks::DiskStatus>,
    /// What the store was seen to do, where that differs from store to store.
    probe: Option<Probe>,
    /// What this command asked of a store where requests cost something.
    requests: Option<Requests>,
}

/// What prune would find dead now. Points whose undo time is not over still need theirs.
#[derive(Serialize)]
struct Unreferenced {
    bytes: u64,
    /// In packs that a prune would delete at once.
    bytes_freed_at_once: u64,
    /// In whole packs that a later prune deletes, after the grace.
    bytes_freed_later: u64,
    /// In packs that also hold what is needed; prune repacks those with much of it.
    bytes_in_live_packs: u64,
}

#[derive(Serialize)]
struct Name {
    name: String,
    points: usize,
    latest_at: Timestamp,
    /// Size of the newest point's disks.
    bytes_source: u64,
    /// What its points added to the store.
    bytes_stored: u64,
}

#[derive(Serialize)]
struct Session {
    lease: String,
    purpose: lease::Purpose,
    started_at: Timestamp,
    expires_at: Timestamp,
    expired: bool,
}

/// Shows the status.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let index = context.whole_index(&repo)?;
    let stones = tombstones(&repo)?;
    let entries = entries(&repo, &stones)?;
    let mut status = space(&repo, &index)?;
    status.path = repo.store().describe();
    status.points = entries.len();
    status.points_forgotten = stones.iter().filter(|(exists, _)| *exists).count();
    status.points_sealed = entries.iter().filter(|entry| matches!(entry, Entry::Sealed(_))).count();
    status.points_damaged = entries.iter().filter(|entry| matches!(entry, Entry::Damaged(..))).count();
    status.names = names(&entries);
    status.disks = disks::disks(&entries, &super::backup::host()?);
    status.bytes_source = entries.iter().map(source_bytes).fold(0, u64::saturating_add);
    status.dedup_ratio = ratio(status.bytes_source, status.bytes_unique);
    status.compression_ratio = ratio(status.bytes_unique, status.bytes_data_packs);
    if args.unreferenced {
        status.unreferenced = Some(unreferenced(&repo, &index, context)?);
    }
    let now = context.now();
    status.sessions = match lease::list(&repo) {
        Ok(leases) => leases.iter().map(|lease| session(lease, now)).collect(),
        Err(error) if error.is_damage() => {
            context.console.warn(&format!("who works on it now cannot be said: {error}"));
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    status.requests = repo.store().requests();
    context.console.result(&status, text)
}

fn source_bytes(entry: &Entry) -> u64 {
    match entry {
        Entry::Open(_, manifest) => manifest.stats.bytes_source,
        _ => 0,
    }
}

fn space(repo: &Repository, index: &Index) -> anyhow::Result<Status> {
    let config = repo.config();
    let packs = index.packs()?;
    let of_kind = |kind| packs.iter().filter(move |pack| pack.kind == kind).map(|pack| pack.pack_bytes).sum();
    let chunks: u64 = packs.iter().filter(|p| p.kind == PackKind::Data).map(|p| u64::from(p.entry_count)).sum();
    let (bytes_data_packs, bytes_tree_packs) = (of_kind(PackKind::Data), of_kind(PackKind::Tree));
    let mut bytes_total: u64 = 0;
    for prefix in PREFIXES {
        repo.store().list(prefix, &mut |_, size| bytes_total = bytes_total.saturating_add(size))?;
    }
    let condemned: Vec<_> = condemned::list(repo)?.into_iter().flat_map(|run| run.packs).collect();
    let sizes: BTreeMap<_, _> = packs.iter().map(|pack| (pack.id, pack.pack_bytes)).collect();
    Ok(Status {
        repository: config.repository.to_string(),
        path: String::new(),
        created_at: config.created_at,
        chunk_bytes: config.chunk_bytes,
        points: 0,
        points_forgotten: 0,
        points_sealed: 0,
        points_damaged: 0,
        bytes_source: 0,
        bytes_unique: chunks.saturating_mul(config.chunk_bytes.into()),
        bytes_data_packs,
        bytes_tree_packs,
        bytes_other: bytes_total.saturating_sub(bytes_data_packs).saturating_sub(bytes_tree_packs),
        bytes_total,
        dedup_ratio: None,
        compression_ratio: None,
        packs_condemned: condemned.len(),
        bytes_condemned: condemned.iter().filter_map(|pack| sizes.get(&pack.pack)).sum(),
        unreferenced: None,
        names: Vec::new(),
        sessions: Vec::new(),
        disks: Vec::new(),
        probe: probe::newest(repo.records())?,
        requests: None,
    })
}

fn unreferenced(repo: &Repository, index: &Index, context: &Context) -> anyhow::Result<Unreferenced> {
    let options = prune::Settings { dry_run: true, ..prune::Settings::default() };
    let found = prune::with_progress(repo, index, &options, context)?;
    for left in &found.left {
        context.console.warn(left);
    }
    let (at_once, later, mixed) = (found.bytes_freed, found.bytes_condemned, found.bytes_dead_left);
    Ok(Unreferenced {
        bytes: at_once.saturating_add(later).saturating_add(mixed),
        bytes_freed_at_once: at_once,
        bytes_freed_later: later,
        bytes_in_live_packs: mixed,
    })
}

fn names(entries: &[Entry]) -> Vec<Name> {
    let mut names: BTreeMap<&str, Name> = BTreeMap::new();
    for entry in entries {
        let Entry::Open(stored, manifest) = entry else { continue };
        let name = names.entry(&manifest.name).or_insert_with(|| Name {
            name: manifest.name.clone(),
            points: 0,
            latest_at: manifest.created_at,
            bytes_source: 0,
            bytes_stored: 0,
        });
        // Entries are in the order of time.
        name.points += 1;
        name.latest_at = manifest.created_at;
        name.bytes_source = manifest.stats.bytes_source;
        name.bytes_stored += manifest.stats.bytes_stored + stored.object_bytes;
    }
    names.into_values().collect()
}

fn session(lease: &lease::LeaseBody, now: Timestamp) -> Session {
    Session {
        lease: lease.lease.to_string(),
        purpose: lease.purpose,
        started_at: lease.started_at,
        expires_at: lease.expires_at,
        expired: lease.has_lapsed(now),
    }
}

fn text(status: &Status) -> String {
    let mut points = format!("{}", status.points);
    for (count, what) in [
        (status.points_forgotten, "more are forgotten and can be taken back"),
        (status.points_sealed, "of them sealed for these keys"),
        (status.points_damaged, "of them DAMAGED"),
    ] {
        if count > 0 {
            points += &format!(", {count} {what}");
        }
    }
    let mut pairs = vec![
        ("Repository", status.repository.clone()),
        ("Path", output::name(&status.path)),
        ("Created", output::time(status.created_at)),
        ("Chunks", output::bytes(status.chunk_bytes.into())),
        ("Points", points),
        ("Source", format!("{} in all points", output::bytes(status.bytes_source))),
        ("Unique", format!("{}, dedup {}", output::bytes(status.bytes_unique), output::ratio_text(status.dedup_ratio))),
        (
            "Stored",
            format!(
                "{}: data {}, trees {}, other {}; compression {}",
                output::bytes(status.bytes_total),
                output::bytes(status.bytes_data_packs),
                output::bytes(status.bytes_tree_packs),
                output::bytes(status.bytes_other),
                output::ratio_text(status.compression_ratio)
            ),
        ),
    ];
    if status.packs_condemned > 0 {
        let bytes = output::bytes(status.bytes_condemned);
        pairs.push((
            "Condemned",
            format!("{} packs, {bytes}; a later `icecore prune` deletes them", status.packs_condemned),
        ));
    }
    if let Some(dead) = &status.unreferenced {
        let [all, at_once, later, mixed] =
            [dead.bytes, dead.bytes_freed_at_once, dead.bytes_freed_later, dead.bytes_in_live_packs].map(output::bytes);
        let parts = format!(
            "{all}: `icecore prune` frees {at_once} now, {later} in whole packs later; {mixed} in packs that stay or are repacked"
        );
        pairs.push(("Unreferenced", parts));
    }
    if let Some(probe) = &status.probe {
        let tried = format!("tried {}: {}", output::time(probe.probed_at), bucket::findings(&probe.findings));
        pairs.push(("Store", tried.trim_end().replace('\n', " ")));
    }
    if let Some(requests) = &status.requests {
        pairs.push(("Requests", format!("{} for this status", bucket::requests(requests))));
    }
    let mut text = fields(&pairs);
    if !status.names.is_empty() {
        let rows = status.names.iter().map(name_row);
        text += "\n";
        text += &table(&["NAME", ">POINTS", "LATEST", ">SOURCE", ">STORED"], rows.collect());
    }
    text += &disks::text(&status.disks);
    if !status.sessions.is_empty() {
        text += "\n";
        text += &table(&["SESSION", "SINCE", "UNTIL", ""], status.sessions.iter().map(session_row).collect());
    }
    text
}

fn name_row(name: &Name) -> Vec<String> {
    vec![
        output::name(&name.name),
        name.points.to_string(),
        output::time(name.latest_at),
        output::bytes(name.bytes_source),
        output::bytes(name.bytes_stored),
    ]
}

fn session_row(session: &Session) -> Vec<String> {
    let purpose = match session.purpose {
        lease::Purpose::Backup => "backup",
        lease::Purpose::Read => "read",
        lease::Purpose::Prune => "prune",
    };
    let lapsed = if session.expired { "lapsed" } else { "" };
    vec![purpose.into(), output::time(session.started_at), output::time(session.expires_at), lapsed.into()]
}
