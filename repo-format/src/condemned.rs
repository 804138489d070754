//! Condemned packs, rescues and verifications: the small records that prune, sessions and the operator leave for each other.

use crate::entropy::random;
use crate::error::{Error, Result};
use crate::id::{LeaseId, PackId, RescueId, RunId};
use crate::pack::PackKind;
use crate::record::{self, Magic, MaySign};
use crate::records::Records;

use crate::repository::Repository;
use crate::store::Store;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A pack by kind and name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PackRef {
    /// What it holds.
    #[serde(with = "kind_text")]
    pub kind: PackKind,
    /// Its name.
    pub pack: PackId,
}

mod kind_text {
    use crate::pack::PackKind;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(kind: &PackKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.prefix().trim_end_matches('/'))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PackKind, D::Error> {
        match std::borrow::Cow::<'de, str>::deserialize(deserializer)?.as_ref() {
            "data" => Ok(PackKind::Data),
            "tree" => Ok(PackKind::Tree),
            other => Err(D::Error::custom(format!("{other:?} is no kind of pack"))),
        }
    }
}

/// Most packs one list names, so that its record stays within its limit.
pub const MAX_LISTED: usize = 100_000;

#[derive(Serialize, Deserialize)]
struct ListBody {
    run: RunId,
    created_at: Timestamp,
    packs: Vec<PackRef>,
}

#[derive(Serialize, Deserialize)]
struct LeasesBody {
    run: RunId,
    leases: Vec<LeaseId>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PacksBody {
    pub(crate) created_at: Timestamp,
    pub(crate) packs: Vec<PackRef>,
}

/// Packs that one run of prune found dead.
#[derive(Clone, Debug)]
pub struct Condemned {
    /// The run.
    pub run: RunId,
    /// When.
    pub created_at: Timestamp,
    /// The packs.
    pub packs: Vec<PackRef>,
    /// Leases that lived just after the list was written; `None` when the run was cut before it wrote them.
    pub leases: Option<Vec<LeaseId>>,
}

fn list_key(run: &RunId) -> String {
    format!("condemned/{run}-list")
}

fn leases_key(run: &RunId) -> String {
    format!("condemned/{run}-leases")
}

fn put<T: Serialize>(repo: &Repository, key: &str, magic: Magic, body: &T) -> Result<()> {
    let bytes = record::encode_json(magic, &repo.config().repository, &repo.keys().highest_signer(), body)?;
    repo.store().put(key, &bytes)
}

/// Writes a list of dead packs. From now on new sessions do not rely on them.
pub fn condemn(repo: &Repository, packs: Vec<PackRef>, now: Timestamp) -> Result<RunId> {
    let run = RunId(random(repo.entropy()));
    put(repo, &list_key(&run), record::CONDEMNED, &ListBody { run, created_at: now, packs })?;
    Ok(run)
}

/// Writes which leases live. Only leases that were listed after [`condemn`] returned may be given.
pub fn record_leases(repo: &Repository, run: RunId, leases: Vec<LeaseId>) -> Result<()> {
    put(repo, &leases_key(&run), record::CONDEMNED_LEASES, &LeasesBody { run, leases })
}

/// Removes a list that was carried out or came to nothing. The leases go last: without them nothing is ever deleted.
pub fn clear(repo: &Repository, run: RunId) -> Result<()> {
    repo.store().delete(&list_key(&run))?;
    repo.store().delete(&leases_key(&run))
}

/// Packs that any list names, also those of lists that cannot be verified for want of their writer's record: for who does *not* rely on
/// them, or rescues them. Nothing is deleted by this.
pub fn named(records: Records<'_>) -> Result<Vec<PackRef>> {
    let mut packs = Vec::new();
    for key in records.store.keys("condemned/")?.iter().filter(|key| key.ends_with("-list")) {
        let list = records.read_even_unverified::<ListBody>(key, record::CONDEMNED)?;
        packs.extend(list.into_iter().flat_map(|body| body.packs));
    }
    Ok(packs)
}

/// All lists.
pub fn list(repo: &Repository) -> Result<Vec<Condemned>> {
    let mut lists = Vec::new();
    for key in repo.store().keys("condemned/")? {
        let Some(name) = key.strip_prefix("condemned/").and_then(|name| name.strip_suffix("-list")) else { continue };
        let run: RunId = name.parse().map_err(|_| Error::damaged(&key, "it is no list's name"))?;
        let Some(body) = repo.read_record::<ListBody>(&key, record::CONDEMNED, MaySign::Writers)? else { continue };
        let leases: Option<LeasesBody> =
            repo.read_record(&leases_key(&run), record::CONDEMNED_LEASES, MaySign::Writers)?;
        if body.run != run || leases.as_ref().is_some_and(|leases| leases.run != run) {
            return Err(Error::damaged(key, "it belongs to another run"));
        }
        lists.push(Condemned { run, created_at: body.created_at, packs: body.packs, leases: leases.map(|l| l.leases) });
    }
    Ok(lists)
}

/// Keeps packs that a committing session needs from being deleted.
pub fn rescue(repo: &Repository, packs: Vec<PackRef>, now: Timestamp) -> Result<()> {
    let rescue = RescueId(random(repo.entropy()));
    let bytes = record::encode_json(
        record::RESCUE,
        &repo.config().repository,
        repo.signer(),
        &PacksBody { created_at: now, packs },
    )?;
    repo.store().put(&format!("rescues/{rescue}"), &bytes)
}

/// All rescues: their keys, times and packs.
pub fn rescues(repo: &Repository) -> Result<Vec<(String, Timestamp, Vec<PackRef>)>> {
    let mut found = Vec::new();
    for key in repo.store().keys("rescues/")? {
        if let Some(body) = repo.read_record::<PacksBody>(&key, record::RESCUE, MaySign::Writers)? {
            found.push((key, body.created_at, body.packs));
        }
    }
    Ok(found)
}

/// Checks one object below `condemned/`, `rescues/`, `damaged/` or `verified/`.
pub(crate) fn check_object(repo: &Repository, key: &str, bytes: &[u8]) -> Result<()> {
    let wrong = || Error::damaged(key, "it belongs to another run, or its name is none");
    let (prefix, name) = key.split_once('/').ok_or_else(wrong)?;
    let run = |suffix: &str| name.strip_suffix(suffix).and_then(|run| run.parse::<RunId>().ok());
    let belongs = match prefix {
        "condemned" if name.ends_with("-list") => {
            let body: ListBody = repo.decode_record(key, record::CONDEMNED, bytes, MaySign::Writers)?;
            run("-list") == Some(body.run)
        }
        "condemned" => {
            let body: LeasesBody = repo.decode_record(key, record::CONDEMNED_LEASES, bytes, MaySign::Writers)?;
            run("-leases") == Some(body.run)
        }
        "rescues" => {
            let _: PacksBody = repo.decode_record(key, record::RESCUE, bytes, MaySign::Writers)?;
            name.parse::<RescueId>().is_ok()
        }
        "damaged" => {
            let _: PacksBody = repo.decode_record(key, record::DAMAGED, bytes, MaySign::Writers)?;
            name.parse::<RunId>().is_ok()
        }
        _ => {
            let _: PacksBody = repo.decode_record(key, record::VERIFIED, bytes, MaySign::Operator)?;
            name.parse::<RunId>().is_ok()
        }
    };
    if belongs { Ok(()) } else { Err(wrong()) }
}

/// Records that a holder of the private key opened every entry of these packs and found it to be what its id says.
pub fn record_verified(repo: &Repository, packs: &[PackRef], now: Timestamp) -> Result<()> {
    repo.keys().master_for("recording a verification")?;
    for packs in packs.chunks(MAX_LISTED) {
        let run = RunId(random(repo.entropy()));
        let body = PacksBody { created_at: now, packs: packs.to_vec() };
        put(repo, &format!("verified/{run}"), record::VERIFIED, &body)?;
    }
    Ok(())
}

/// Records that packs were found damaged. No session relies on them any more, and a full read stores their chunks again.
pub fn record_damaged(repo: &Repository, packs: &[PackRef], now: Timestamp) -> Result<()> {
    for packs in packs.chunks(MAX_LISTED) {
        let run = RunId(random(repo.entropy()));
        put(repo, &format!("damaged/{run}"), record::DAMAGED, &PacksBody { created_at: now, packs: packs.to_vec() })?;
    }
    Ok(())
}

/// Records that points need what is in no pack any more, unless something like it is recorded. Nobody can name the packs it was in; the
/// record makes backups look whether the point that they would build upon is whole.
pub fn record_loss(repo: &Repository, now: Timestamp) -> Result<()> {
    if known_damage(repo.records())?.is_some() {
        return Ok(());
    }
    let run = RunId(random(repo.entropy()));
    put(repo, &format!("damaged/{run}"), record::DAMAGED, &PacksBody { created_at: now, packs: Vec::new() })
}

/// Packs that somebody found damaged. A record that cannot be verified for want of its writer's record counts too: nobody relies on
/// what it names.
pub fn damaged(records: Records<'_>) -> Result<HashSet<PackId>> {
    packs_in(records.store, "damaged/", &|key| records.read_even_unverified(key, record::DAMAGED))
}

/// The same, and none when nobody ever recorded damage. A record that names no pack says that something is missing.
pub fn known_damage(records: Records<'_>) -> Result<Option<HashSet<PackId>>> {
    if records.store.keys("damaged/")?.is_empty() { Ok(None) } else { damaged(records).map(Some) }
}

/// Packs with a verification by the operator. A record that is damaged, or that somebody else signed, verifies nothing: what it named is
/// stored again, and `check` names it.
pub fn verified(records: Records<'_>) -> Result<HashSet<PackId>> {
    let read = |key: &str| match records.read(key, record::VERIFIED, MaySign::Operator) {
        Err(error) if error.is_damage() => Ok(None),
        other => other,
    };
    packs_in(records.store, "verified/", &read)
}

/// Deletes records of damage that have served: every pack of them is gone or, as `is_sound` says, whole again. Called when a mark found
/// nothing missing. A record that cannot be read stays. Verifications are [`crate::proofs`]'s.
pub(crate) fn tidy(repo: &Repository, is_sound: &dyn Fn(&PackRef) -> Result<bool>) -> Result<()> {
    let store = repo.store();
    let is_gone = |pack: &PackRef| store.exists(&pack.kind.key(&pack.pack)).map(|exists| !exists);
    for key in store.keys("damaged/")? {
        let body: PacksBody = match repo.read_record(&key, record::DAMAGED, MaySign::Writers) {
            Ok(Some(body)) => body,
            Ok(None) => continue,
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error),
        };
        let mut has_served = true;
        for pack in &body.packs {
            has_served = is_gone(pack)? || is_sound(pack)?;
            if !has_served {
                break;
            }
        }
        if has_served {
            store.delete(&key)?;
        }
    }
    // What a run left that was cut between the two deletes of `clear`.
    let listed = store.keys("condemned/")?;
    for key in &listed {
        let list = key.strip_suffix("-leases").map(|run| format!("{run}-list"));
        if list.is_some_and(|list| !listed.contains(&list)) {
            store.delete(key)?;
        }
    }
    Ok(())
}

fn packs_in(
    store: &dyn Store,
    prefix: &str,
    read: &dyn Fn(&str) -> Result<Option<PacksBody>>,
) -> Result<HashSet<PackId>> {
    let mut found = HashSet::new();
    for key in store.keys(prefix)? {
        found.extend(read(&key)?.into_iter().flat_map(|body| body.packs).map(|pack| pack.pack));
    }
    Ok(found)
}
