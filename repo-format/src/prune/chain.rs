//! Where listings are not beyond doubt: the points of a name are numbered, and a number that is missing may be a point that the listing left out.
//! What such a point needs would look dead.

use crate::error::{Error, Result};
use crate::forget;
use crate::id::{ManifestId, NameId};
use crate::manifest::PointKey;
use crate::repository::Repository;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A gap that is wider is not asked about number by number.
const MAX_GAP: u64 = 64;

/// Refuses when a number is missing that a point which was withdrawn does not explain.
///
/// A withdrawn point, whose session lost its lease, leaves a gap if another was stored upon it: the next point names it, and the store, asked
/// for that very object, says that it is not there.
pub(super) fn refuse_gaps(repo: &Repository, points: &[PointKey]) -> Result<()> {
    if !repo.store().listings_need_proof() {
        return Ok(());
    }
    let stones: Vec<_> = forget::tombstones(repo)?.into_iter().map(|(_, stone)| stone).collect();
    let mut numbers: BTreeMap<NameId, BTreeSet<u64>> = BTreeMap::new();
    let listed = points.iter().map(|at| (at.name, at.sequence));
    for (name, sequence) in listed.chain(stones.iter().map(|stone| (stone.name, stone.sequence))) {
        numbers.entry(name).or_default().insert(sequence);
    }
    let known: HashSet<ManifestId> =
        points.iter().map(|at| at.manifest).chain(stones.iter().map(|stone| stone.manifest)).collect();
    for (name, numbers) in numbers {
        let mut before = 0;
        for number in numbers {
            if number > before + 1 {
                let after = points.iter().find(|at| at.name == name && at.sequence == number);
                explain(repo, (before + 1, number), after, &known)?;
            }
            before = number;
        }
    }
    Ok(())
}

/// Whether the numbers from `first` to below `end` are those of points that are gone, as the point `after` them and the store say.
fn explain(
    repo: &Repository,
    (first, end): (u64, u64),
    after: Option<&PointKey>,
    known: &HashSet<ManifestId>,
) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::Refused(format!(
            "prune does not run, and nothing was deleted: {what}. The store's listings may not show all recovery points; run prune again later, \
             and if it goes on, `icecore check`"
        )))
    };
    let Some(after) = after else {
        return refuse(format!("of the points with the numbers {first} to {} nothing is listed", end - 1));
    };
    let follows = repo.load_unverified(*after)?.previous;
    let Some(follows) = follows.filter(|previous| !known.contains(previous)) else {
        return refuse(format!("before the point {} numbers are missing that it does not explain", after.key()));
    };
    if end - first > MAX_GAP {
        return refuse(format!("before the point {} more than {MAX_GAP} numbers are missing", after.key()));
    }
    for sequence in first..end {
        let at = PointKey { name: after.name, sequence, manifest: follows };
        if repo.store().exists(&at.key())? {
            return refuse(format!("the point {} is there and no listing shows it", at.key()));
        }
    }
    Ok(())
}
