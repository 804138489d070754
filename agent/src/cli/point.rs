//! How a person names a recovery point, and what it is called in lists.

use super::console::Console;
use super::failure::{Code, Failure};
use agent::output;
use repo_format::Error;
use repo_format::manifest::{Manifest, PointKey, StoredManifest};
use repo_format::repository::Repository;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// Digits of an id that lists show; enough for any repository of a person, and more are accepted.
pub const SHORT_ID_DIGITS: usize = 10;
const FEWEST_DIGITS: usize = 4;
const ID_DIGITS: usize = 64;

/// A recovery point as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointName {
    /// The newest of all names.
    Latest,
    /// The newest of one name.
    LatestOf(String),
    /// One of a name by its place.
    Sequence(String, u64),
    /// First digits of the id.
    Id(String),
}

impl FromStr for PointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(name) = text.strip_prefix("latest:").filter(|name| !name.is_empty()) {
            return Ok(Self::LatestOf(name.to_owned()));
        }
        if let Some((name, sequence)) = text.rsplit_once('@')
            && !name.is_empty()
            && let Ok(sequence) = sequence.parse()
        {
            return Ok(Self::Sequence(name.to_owned(), sequence));
        }
        let digits = text.to_ascii_lowercase();
        if (FEWEST_DIGITS..=ID_DIGITS).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Ok(Self::Id(digits));
        }
        Err(format!(
            "a recovery point is the first {FEWEST_DIGITS} or more digits of its id, `latest`, `latest:NAME` or `NAME@SEQUENCE`"
        ))
    }
}

impl fmt::Display for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LatestOf(name) => write!(f, "latest:{name}"),
            Self::Sequence(name, sequence) => write!(f, "{name}@{sequence}"),
            Self::Id(digits) => f.write_str(digits),
        }
    }
}

/// The short form of an id.
pub fn short(at: &PointKey) -> String {
    at.manifest.to_string()[..SHORT_ID_DIGITS].to_owned()
}

/// That there is no such point, or nothing in any.
pub fn no_such(what: String) -> anyhow::Error {
    Failure::new(Code::NotFound, what).next("`icecore list` shows the recovery points").into()
}

/// Ids of points that are forgotten but still in the store.
pub fn forgotten(repo: &Repository) -> Result<HashSet<[u8; 32]>, Error> {
    let keys = repo.store().keys("tombstones/")?;
    let ids =
        keys.iter().filter_map(|key| key.strip_prefix("tombstones/")?.parse::<repo_format::id::ManifestId>().ok());
    Ok(ids.map(|id| id.0).collect())
}

/// The point of that name, which is not forgotten.
pub fn find(repo: &Repository, name: &PointName) -> anyhow::Result<PointKey> {
    match name {
        PointName::Latest => latest(repo),
        PointName::LatestOf(name) => match repo.latest_of(name)? {
            Some((stored, _)) => Ok(stored.at),
            None if repo.points_of(&repo.keys().ids().name(name))?.is_empty() => {
                Err(no_such(format!("there is no recovery point of the name {name:?}")))
            }
            None => {
                let what = format!(
                    "of the name {name:?} there is no recovery point that is neither forgotten nor unverified nor sealed for these keys"
                );
                Err(Failure::new(Code::NotFound, what).next("`icecore list` shows them; name one by its id").into())
            }
        },
        PointName::Sequence(name, sequence) => {
            let mut points = repo.points_of(&repo.keys().ids().name(name))?;
            points.retain(|at| at.sequence == *sequence);
            let what = format!("{name:?} with the sequence number {sequence}");
            the_one(repo, &points, &what)
        }
        PointName::Id(digits) => {
            let mut points = repo.points()?;
            points.retain(|at| at.manifest.to_string().starts_with(digits.as_str()));
            the_one(repo, &points, &format!("an id that begins with {digits}"))
        }
    }
}

fn the_one(repo: &Repository, points: &[PointKey], what: &str) -> anyhow::Result<PointKey> {
    let forgotten = forgotten(repo)?;
    let (gone, live): (Vec<&PointKey>, Vec<&PointKey>) =
        points.iter().partition(|at| forgotten.contains(&at.manifest.0));
    match (live.as_slice(), gone.as_slice()) {
        ([at], _) => Ok(**at),
        ([], []) => Err(no_such(format!("there is no recovery point of {what}"))),
        ([], [at, ..]) => {
            let next = format!("`icecore undo {}` takes it back", short(at));
            Err(Failure::new(Code::NotFound, format!("the recovery point of {what} is forgotten")).next(next).into())
        }
        (several, _) => {
            let ids: Vec<String> = several.iter().map(|at| at.manifest.to_string()).collect();
            let text = format!("several recovery points have {what}:\n{}", ids.join("\n"));
            Err(Failure::new(Code::NotFound, text).next("give more digits of the id").into())
        }
    }
}

/// The newest point that can be opened, by the time its receiver noted: order within a name, time between names.
fn latest(repo: &Repository) -> anyhow::Result<PointKey> {
    let forgotten = forgotten(repo)?;
    let mut newest: Option<StoredManifest> = None;
    let mut settled = None;
    for at in repo.points()?.into_iter().rev() {
        if settled == Some(at.name) || forgotten.contains(&at.manifest.0) {
            continue;
        }
        let stored = repo.load_unverified(at)?;
        // Order and time of what cannot be verified are not proved: it is never the latest. `list` shows it.
        if !stored.is_verified || repo.keys().map_key(stored.writer).is_none() {
            continue;
        }
        settled = Some(at.name);
        if newest.as_ref().is_none_or(|best| best.receipt.received_at < stored.receipt.received_at) {
            newest = Some(stored);
        }
    }
    match newest {
        Some(stored) => Ok(stored.at),
        None => Err(Failure::new(Code::NotFound, "there is no recovery point yet")
            .next("`icecore backup SOURCE` makes one")
            .into()),
    }
}

/// Finds and opens a point for reading. That nobody can verify who signed it is said aloud.
pub fn open(repo: &Repository, name: &PointName, console: Console) -> anyhow::Result<(StoredManifest, Manifest)> {
    let (stored, manifest) = repo.open_point_unverified(find(repo, name)?)?;
    if !stored.is_verified {
        console.warn(&format!(
            "{} cannot be verified by its signature: there is no sound record of writer {}. It was sealed by that writer or by a holder of \
             the passphrase, and every block is compared with its id; its place among the points and its time of receipt are not proved",
            title(&stored, &manifest),
            stored.writer
        ));
    }
    Ok((stored, manifest))
}

/// `NAME@SEQUENCE (id)`, for messages.
pub fn title(stored: &StoredManifest, manifest: &Manifest) -> String {
    format!("{}@{} ({})", output::name(&manifest.name), stored.at.sequence, short(&stored.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_named_in_four_ways() {
        let parse = |text: &str| text.parse::<PointName>();
        assert_eq!(parse("latest"), Ok(PointName::Latest));
        assert_eq!(parse("latest:web 1@b"), Ok(PointName::LatestOf("web 1@b".into())));
        assert_eq!(parse("web@vda@12"), Ok(PointName::Sequence("web@vda".into(), 12)));
        assert_eq!(parse("ABcd"), Ok(PointName::Id("abcd".into())));
        for wrong in ["", "abc", "web", "@3", "web@", "web@x", "latest:", "g0000", &"a".repeat(65)] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
