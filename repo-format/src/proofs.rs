//! Proofs: what a holder of the private key has opened and found to be what its id says, and when.
//!
//! They are the operator's verification records (FORMAT.md), read with their times. A proof says what was true when it was made: that
//! the bytes say the right thing stays true, that the medium still holds them does not, so whoever relies on one says how old it may be.

use crate::condemned::{MAX_LISTED, PackRef};
use crate::entropy::random;
use crate::error::Result;
use crate::id::{ManifestId, PackId, RunId};
use crate::record::{self, MaySign};
use crate::repository::Repository;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

const PREFIX: &str = "verified/";
/// Records beyond one for each day and one for all that is older, before it is worth writing them anew.
const SLACK: usize = 16;
const DAY_S: i64 = 24 * 3600;

/// A point all of which was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProvedPoint {
    /// The point.
    pub manifest: ManifestId,
    /// The age of the oldest proof that this one rests on.
    pub since: Timestamp,
}

/// Body of a verification record.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    created_at: Timestamp,
    packs: Vec<PackRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    points: Vec<ProvedPoint>,
}

/// All proofs of a repository.
#[derive(Clone, Default, Debug)]
pub struct Proofs {
    /// When each pack was opened last.
    pub packs: HashMap<PackId, Timestamp>,
    /// Since when each point is proved.
    pub points: HashMap<ManifestId, Timestamp>,
}

impl Proofs {
    /// Reads all of them. A record that is damaged, or that somebody else signed, proves nothing; `check` names it.
    pub fn read(repo: &Repository) -> Result<Self> {
        let mut proofs = Self::default();
        for (_, body) in bodies(repo)? {
            proofs.add(&body);
        }
        Ok(proofs)
    }

    fn add(&mut self, body: &Body) {
        for pack in &body.packs {
            let at = self.packs.entry(pack.pack).or_insert(body.created_at);
            *at = (*at).max(body.created_at);
        }
        for point in &body.points {
            let since = self.points.entry(point.manifest).or_insert(point.since);
            *since = (*since).max(point.since);
        }
    }

    /// Only those that are not older than `lasts`. What a clock that was ahead dated into the future proves nothing.
    #[must_use]
    pub fn fresh(mut self, lasts: SignedDuration, now: Timestamp) -> Self {
        self.packs.retain(|_, at| is_fresh(*at, lasts, now));
        self.points.retain(|_, since| is_fresh(*since, lasts, now));
        self
    }
}

fn is_fresh(at: Timestamp, lasts: SignedDuration, now: Timestamp) -> bool {
    at <= now && now.duration_since(at) <= lasts
}

fn bodies(repo: &Repository) -> Result<Vec<(String, Body)>> {
    let mut found = Vec::new();
    for key in repo.store().keys(PREFIX)? {
        match repo.read_record::<Body>(&key, record::VERIFIED, MaySign::Operator) {
            Err(error) if error.is_damage() => {}
            other => found.extend(other?.map(|body| (key, body))),
        }
    }
    Ok(found)
}

/// Records what was proved now. Points count only with all their packs, so both stand in the same record while they fit into one, and
/// packs come first where they do not.
pub fn record(repo: &Repository, packs: &[PackRef], points: &[ProvedPoint], now: Timestamp) -> Result<()> {
    if packs.is_empty() && points.is_empty() {
        return Ok(());
    }
    put(repo, &Body { created_at: now, packs: packs.to_vec(), points: points.to_vec() })
}

fn put(repo: &Repository, body: &Body) -> Result<()> {
    let signer = repo.keys().master_for("recording a verification")?.operator_signer();
    let mut parts: Vec<Body> = Vec::new();
    let part = |packs: &[PackRef], points: &[ProvedPoint]| Body {
        created_at: body.created_at,
        packs: packs.to_vec(),
        points: points.to_vec(),
    };
    if body.packs.len() + body.points.len() <= MAX_LISTED {
        parts.push(body.clone());
    } else {
        parts.extend(body.packs.chunks(MAX_LISTED).map(|packs| part(packs, &[])));
        parts.extend(body.points.chunks(MAX_LISTED).map(|points| part(&[], points)));
    }
    for part in parts {
        let run = RunId(random(repo.entropy()));
        let bytes = record::encode_json(record::VERIFIED, &repo.config().repository, &signer, &part)?;
        repo.store().put(&format!("{PREFIX}{run}"), &bytes)?;
    }
    Ok(())
}

/// Deletes records of which neither a pack nor a point is left. With the operator's key it writes many records as few: one for each of the
/// last days, one for all that is older, without what is gone. Times only ever become older by it. New ones are durable before old ones go.
pub(crate) fn tidy(repo: &Repository, lasts: SignedDuration, packs: &HashSet<PackId>, now: Timestamp) -> Result<()> {
    let all = bodies(repo)?;
    if all.is_empty() {
        return Ok(());
    }
    let points: HashSet<ManifestId> = repo.points()?.into_iter().map(|at| at.manifest).collect();
    let is_left = |(_, body): &(String, Body)| {
        body.packs.iter().any(|pack| packs.contains(&pack.pack))
            || body.points.iter().any(|point| points.contains(&point.manifest))
    };
    let (records, served): (Vec<_>, Vec<_>) = all.into_iter().partition(is_left);
    for (key, _) in served {
        repo.store().delete(&key)?;
    }
    if repo.keys().private().is_none() {
        return Ok(());
    }
    let mut days: BTreeMap<Option<i64>, Vec<&(String, Body)>> = BTreeMap::new();
    for found in &records {
        let at = found.1.created_at;
        let day = is_fresh(at, lasts, now).then(|| at.as_second().div_euclid(DAY_S));
        days.entry(day).or_default().push(found);
    }
    if records.len() <= days.len() + SLACK {
        return Ok(());
    }
    for (_, of_day) in days.into_iter().filter(|(_, of_day)| of_day.len() > 1) {
        let Some(oldest) = of_day.iter().map(|(_, body)| body.created_at).min() else { continue };
        let mut proofs = Proofs::default();
        let mut kinds = HashMap::new();
        for (_, body) in &of_day {
            proofs.add(body);
            kinds.extend(body.packs.iter().map(|pack| (pack.pack, *pack)));
        }
        let mut body = Body {
            created_at: oldest,
            packs: kinds.into_values().filter(|pack| packs.contains(&pack.pack)).collect(),
            points: proofs
                .points
                .into_iter()
                .filter(|(manifest, _)| points.contains(manifest))
                .map(|(manifest, since)| ProvedPoint { manifest, since })
                .collect(),
        };
        body.packs.sort_unstable();
        body.points.sort_unstable_by_key(|point| point.manifest);
        if !(body.packs.is_empty() && body.points.is_empty()) {
            put(repo, &body)?;
        }
        for (key, _) in of_day {
            repo.store().delete(key)?;
        }
    }
    Ok(())
}
