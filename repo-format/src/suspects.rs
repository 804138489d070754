//! Suspect points: incrementals whose list of changes turned out to be incomplete. They restore, but may lack changes.
//!
//! Written by whoever found out, kept until the points are gone. A point is never unsuspected: nobody can say any more what it should hold.

use crate::entropy::random;
use crate::error::{Error, Result};
use crate::id::{ManifestId, NameId, RunId};
use crate::manifest::PointKind;
use crate::record::{self, MaySign};
use crate::repository::Repository;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

const PREFIX: &str = "suspects/";
/// Most points one record names, so that it stays within its limit.
const MAX_LISTED: usize = 100_000;

#[derive(Serialize, Deserialize)]
pub(crate) struct Body {
    created_at: Timestamp,
    pub(crate) points: Vec<ManifestId>,
}

/// The points of a name that relied on lists since everything was last read: the newest ones back to the last that is no incremental.
/// One that these keys cannot open is among them, for nobody can say that it is not.
pub fn since_last_full_read(repo: &Repository, name: &NameId) -> Result<Vec<ManifestId>> {
    let mut found = Vec::new();
    for at in repo.points_of(name)?.into_iter().rev() {
        match repo.open_point_unverified(at) {
            Ok((_, manifest)) if manifest.kind != PointKind::Incremental => break,
            // Pruned since the listing.
            Err(Error::Missing { .. }) => {}
            Ok(_) | Err(Error::KeyNeeded(_)) => found.push(at.manifest),
            Err(error) if error.is_damage() => found.push(at.manifest),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Records durably that these points may lack changes.
pub fn record(repo: &Repository, points: &[ManifestId], now: Timestamp) -> Result<()> {
    for points in points.chunks(MAX_LISTED) {
        let run = RunId(random(repo.entropy()));
        let body = Body { created_at: now, points: points.to_vec() };
        let signer = repo.keys().highest_signer();
        let bytes = record::encode_json(record::SUSPECTS, &repo.config().repository, &signer, &body)?;
        repo.store().put(&format!("{PREFIX}{run}"), &bytes)?;
    }
    Ok(())
}

/// All suspect points, also of records that cannot be verified for want of their writer's record. A damaged record names nothing;
/// `check` names it.
pub fn all(repo: &Repository) -> Result<HashSet<ManifestId>> {
    let mut found = HashSet::new();
    for key in repo.store().keys(PREFIX)? {
        found.extend(read(repo, &key)?.into_iter().flatten());
    }
    Ok(found)
}

fn read(repo: &Repository, key: &str) -> Result<Option<Vec<ManifestId>>> {
    let bytes = match repo.store().get(key) {
        Err(Error::Missing { .. }) => return Ok(None),
        other => other?,
    };
    let body = match repo.decode_record::<Body>(key, record::SUSPECTS, &bytes, MaySign::Writers) {
        Err(Error::UnknownSigner { .. }) => {
            let record = record::decode(key, record::SUSPECTS, &bytes).and_then(|record| record.alone(key, &bytes));
            record.and_then(|record| record.json(key))
        }
        other => other,
    };
    match body {
        Err(error) if error.is_damage() => Ok(None),
        other => other.map(|body: Body| Some(body.points)),
    }
}

/// Deletes records of which no point exists any more.
pub(crate) fn tidy(repo: &Repository) -> Result<()> {
    let keys = repo.store().keys(PREFIX)?;
    if keys.is_empty() {
        return Ok(());
    }
    let points: HashSet<ManifestId> = repo.points()?.into_iter().map(|at| at.manifest).collect();
    for key in keys {
        if read(repo, &key)?.is_some_and(|named| !named.iter().any(|point| points.contains(point))) {
            repo.store().delete(&key)?;
        }
    }
    Ok(())
}

/// Checks one object below `suspects/`.
pub(crate) fn check_object(repo: &Repository, key: &str, bytes: &[u8]) -> Result<()> {
    let _: Body = repo.decode_record(key, record::SUSPECTS, bytes, MaySign::Writers)?;
    let name = key.strip_prefix(PREFIX).and_then(|name| name.parse::<RunId>().ok());
    name.map(drop).ok_or_else(|| Error::damaged(key, "its name is no run's"))
}
