//! The listing of the store, and the small records: each decodes, is signed by one who may, and stands where it belongs.

use super::report::{AffectedPoint, Findings};
use super::{Options, Phase, Report, as_finding};
use crate::catalog;
use crate::condemned;
use crate::config::{CONFIG_COPY_KEY, CONFIG_KEY, Config};
use crate::error::{Error, Result};
use crate::forget::{self, Tombstone};
use crate::id::{ManifestId, PackId};
use crate::key_slot::KeySlot;
use crate::lease;
use crate::manifest::PointKey;
use crate::pack::PackKind;
use crate::probe;
use crate::record::{self, MaySign};
use crate::repository::Repository;
use crate::suspects;
use crate::writer_key::WriterRecord;
use std::collections::HashMap;

/// What is in the store, by kind.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) packs: Vec<(PackKind, PackId, u64)>,
    pub(super) points: Vec<PointKey>,
    records: Vec<String>,
}

/// Forgotten points. A tombstone that is damaged still says by its name which point it stands on.
pub(super) type Graves = HashMap<ManifestId, Option<Tombstone>>;

/// What is said of a writer whose signatures cannot be checked.
pub(super) const NO_RECORD: &str = "no sound record of this writer is in the store; what it signed cannot be verified";
/// What to do about a writer's record.
pub(super) const WRITERS_NEXT: &str = "`icecore key repair WRITER_KEY_FILE` (without the file for the built-in writer), or restore the object from a replica; until then nothing is pruned";

const RECORD_PREFIXES: [&str; 14] = [
    "keys/",
    "writers/",
    "leases/",
    "condemned/",
    "rescues/",
    "tombstones/",
    "pardons/",
    "executions/",
    "verified/",
    "damaged/",
    "suspects/",
    "probes/",
    "catalogs/",
    "leaves/",
];

/// Lists the store. What belongs to no kind is noted, or an error where it stops other work.
pub(super) fn list(repo: &Repository, findings: &mut Findings) -> Result<Listing> {
    let mut found = Vec::new();
    let whole = repo.store().list("", &mut |key, size| found.push((key.to_owned(), size)));
    if let Err(error) = whole {
        let next = "look into the store's directory for what is not part of the repository";
        findings.note("the store", &format!("it cannot be listed as a whole: {error}"), next);
        found.clear();
        for prefix in RECORD_PREFIXES.iter().chain(&["manifests/", "data/", "tree/"]) {
            repo.store().list(prefix, &mut |key, size| found.push((key.to_owned(), size)))?;
        }
    }
    let mut listing = Listing::default();
    for (key, size) in found {
        classify(key, size, &mut listing, findings);
    }
    listing.points.sort_unstable();
    listing.records.sort_unstable();
    listing.packs.sort_unstable();
    Ok(listing)
}

fn classify(key: String, size: u64, listing: &mut Listing, findings: &mut Findings) {
    let pack = [PackKind::Tree, PackKind::Data].into_iter().find_map(|kind| Some((kind, kind.parse_key(&key)?)));
    if let Some((kind, id)) = pack {
        listing.packs.push((kind, id, size));
    } else if let Some(point) = PointKey::parse(&key).filter(|point| point.key() == key) {
        listing.points.push(point);
    } else if key.starts_with("manifests/") {
        let next =
            "move it out of the store: it hides whether a recovery point is lost, so nothing is listed or pruned";
        findings.error(&key, "it is no recovery point's name", next);
    } else if RECORD_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
        listing.records.push(key);
    } else if key.starts_with("tmp/") {
        findings.note(&key, "left behind by an interrupted write, or being written", "nothing; prune removes it");
    } else if key != CONFIG_KEY && key != CONFIG_COPY_KEY {
        findings.note(&key, "it is not part of the repository", "nothing; icecore neither reads nor deletes it");
    }
}

/// Checks config and all small records. Returns the forgotten points.
pub(super) fn check_records(
    repo: &Repository,
    listing: &Listing,
    options: &Options<'_>,
    (findings, report): (&mut Findings, &mut Report),
) -> Result<Graves> {
    check_config(repo, findings)?;
    let mut graves = Graves::new();
    let mut writers = Vec::new();
    for (done, key) in listing.records.iter().enumerate() {
        options.at(Phase::Records, done, listing.records.len(), report)?;
        let bytes = match repo.store().get(key) {
            // Deleted since the listing, as leases are.
            Err(Error::Missing { .. }) => continue,
            other => other,
        };
        report.records += 1;
        if let Err(error) = bytes.and_then(|bytes| check_record(repo, key, &bytes, &mut graves, &mut writers)) {
            let what = as_finding(key, error)?;
            let finding = findings.error(key, &what, next_step(key));
            if let Some(point) = touched_point(key) {
                findings.affects(finding, AffectedPoint::unknown(point));
                if key.starts_with("tombstones/") {
                    graves.insert(point, None);
                }
            }
        }
    }
    check_writers(repo, writers, findings);
    if !listing.records.iter().any(|key| key.starts_with("keys/")) {
        let next =
            "add a key with `icecore key add` now, or keep the recovery kit safe: without either nothing can be read";
        findings.error("keys/", "there is no key slot", next);
    }
    Ok(graves)
}

fn check_config(repo: &Repository, findings: &mut Findings) -> Result<()> {
    let next = "`icecore key repair` writes it again from the other copy; do it now, the repository cannot be opened without either";
    for object in [CONFIG_KEY, CONFIG_COPY_KEY] {
        match repo.store().get(object).and_then(|bytes| Config::decode(object, &bytes)) {
            // A cut init leaves that.
            Err(Error::Missing { .. }) if object == CONFIG_COPY_KEY => {
                findings.note(object, "there is no copy of the configuration", "`icecore key repair` writes it");
            }
            Err(error) => {
                let what = as_finding(object, error)?;
                findings.error(object, &what, next);
            }
            Ok(config) => {
                let known = repo.config();
                if (config.repository, &config.operator_key, &config.public_key)
                    != (known.repository, &known.operator_key, &known.public_key)
                {
                    findings.error(object, "it is not the configuration that the repository was opened with", next);
                }
            }
        }
    }
    Ok(())
}

fn check_record(
    repo: &Repository,
    key: &str,
    bytes: &[u8],
    graves: &mut Graves,
    writers: &mut Vec<(String, WriterRecord)>,
) -> Result<()> {
    match key.split_once('/').map_or(key, |(prefix, _)| prefix) {
        "keys" => {
            let slot: KeySlot = repo.decode_record(key, record::KEY_SLOT, bytes, MaySign::Operator)?;
            slot.check_object(key)
        }
        "writers" => {
            let writer: WriterRecord = repo.decode_record(key, record::WRITER, bytes, MaySign::Operator)?;
            writer.key()?;
            let revision = key.strip_prefix(&format!("writers/{}-", writer.writer));
            if revision.and_then(crate::id::unhex::<4>).is_none() {
                return Err(Error::damaged(key, "it belongs to another writer, or its name is none"));
            }
            writers.push((key.to_owned(), writer));
            Ok(())
        }
        "leases" => lease::check_object(repo, key, bytes),
        "tombstones" => {
            let stone = forget::check_tombstone(repo, key, bytes)?;
            graves.insert(stone.manifest, Some(stone));
            Ok(())
        }
        "pardons" | "executions" => forget::check_mark(repo, key, bytes),
        "suspects" => suspects::check_object(repo, key, bytes),
        "probes" => probe::check_object(repo, key, bytes),
        "catalogs" | "leaves" => catalog::check_object(repo, key, bytes),
        _ => condemned::check_object(repo, key, bytes),
    }
}

/// Revisions of a writer agree: one key for ever, and no way back from being revoked. `writers` is sorted by key.
fn check_writers(repo: &Repository, writers: Vec<(String, WriterRecord)>, findings: &mut Findings) {
    let next = "`icecore key writer-revoke` if somebody else could write to the store; else restore the writer's records from a replica";
    for pair in writers.windows(2) {
        let [(_, older), (key, newer)] = pair else { continue };
        if older.writer != newer.writer {
            continue;
        }
        if older.verify_key != newer.verify_key {
            findings.error(key, "its signing key is not that of the revision before it", next);
        }
        if older.revoked_at.is_some() && newer.revoked_at.is_none() {
            findings.error(key, "the writer was revoked in the revision before it and is not in this one", next);
        }
    }
    let mut known: Vec<_> = repo.signers().writers.keys().copied().chain([repo.config().builtin_writer]).collect();
    known.sort_unstable();
    known.dedup();
    for writer in known.into_iter().filter(|id| !writers.iter().any(|(_, record)| record.writer == *id)) {
        let object = format!("writers/{writer}");
        if !writers.iter().any(|(key, _)| key.starts_with(&object)) {
            findings.error(&object, NO_RECORD, WRITERS_NEXT);
        }
    }
}

fn touched_point(key: &str) -> Option<ManifestId> {
    let rest = ["tombstones/", "pardons/", "executions/"].iter().find_map(|prefix| key.strip_prefix(prefix))?;
    rest.parse().ok()
}

fn next_step(key: &str) -> &'static str {
    match key.split_once('/').map_or(key, |(prefix, _)| prefix) {
        "keys" => "add a new key with `icecore key add`, see that it opens the repository, then delete this object",
        "writers" => WRITERS_NEXT,
        "tombstones" => "delete this object and forget the point again; until then backups and prune refuse to run",
        "leases" => "delete this object once no backup, restore or prune runs; until then prune refuses to run",
        "condemned" => "delete the objects of this run; the next prune condemns anew and waits the grace again",
        "rescues" => "see that no backup runs, delete this object, then check again; until then prune refuses to run",
        "damaged" => "delete this object and run `icecore check --read-data`: it names the damaged packs again",
        "suspects" => {
            "delete this object; which points it named cannot be told: restore those since the last full read with care"
        }
        "probes" => "delete this object and run `icecore probe`; until then prune refuses to run",
        "catalogs" | "leaves" => "nothing is lost: delete this object, and it is made again from the recovery points",
        "verified" => "delete this object and run `icecore check --read-data`: it verifies the packs again",
        _ => "delete this object once no prune and no undo runs",
    }
}
