//! Manifests: each decodes, is signed, opens where the keys allow it, and follows the one it names.

use super::objects::{Graves, Listing, NO_RECORD};
use super::report::{AffectedPoint, Findings};
use super::{Options, Phase, Report, as_finding, unknown_writer};
use crate::error::{Error, Result};
use crate::id::{ManifestId, NameId, NodeId};
use crate::manifest::{PointKey, StoredManifest};
use crate::repository::Repository;
use crate::suspects;
use crate::tree::Tree;
use std::collections::HashMap;

/// A disk of a point, as the walk needs it.
pub(super) struct CheckedDisk {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) root: Option<NodeId>,
}

/// A point that could be opened.
pub(super) struct OpenPoint {
    pub(super) at: PointKey,
    pub(super) disks: Vec<CheckedDisk>,
}

impl CheckedDisk {
    pub(super) fn tree(&self, chunk_bytes: u32) -> Tree {
        Tree { chunks: self.size_bytes.div_ceil(chunk_bytes.into()), root: self.root }
    }
}

/// What the check knows of all points.
#[derive(Default)]
pub(super) struct Points {
    pub(super) open: Vec<OpenPoint>,
    pub(super) names: HashMap<NameId, String>,
}

/// One link of a name's chain.
struct Link {
    at: PointKey,
    previous: Option<ManifestId>,
}

const REPLICA: &str = "restore this object from a replica; without one the point is lost, and the next backup makes a new one. Then delete it";

/// Checks every manifest and the chains of names.
pub(super) fn check_points(
    repo: &Repository,
    listing: &Listing,
    graves: &Graves,
    options: &Options<'_>,
    (findings, report): (&mut Findings, &mut Report),
) -> Result<Points> {
    let mut points = Points::default();
    let mut links = Vec::new();
    let mut locked = 0_u64;
    for (done, at) in listing.points.iter().enumerate() {
        options.at(Phase::Records, done, listing.points.len(), report)?;
        let stored = match repo.load_unverified(*at) {
            // Pruned since the listing.
            Err(Error::Missing { .. }) if repo.is_forgotten(&at.manifest)? => continue,
            other => other,
        };
        report.points += 1;
        let result = stored.and_then(|stored| {
            if !stored.is_verified {
                let finding = unknown_writer(repo, stored.writer, NO_RECORD, findings);
                findings.affects(finding, AffectedPoint::whole(at));
            }
            links.push(Link { at: *at, previous: stored.previous });
            open(repo, &stored, &mut points)
        });
        match result {
            Ok(()) => {}
            Err(Error::KeyNeeded(_)) => locked += 1,
            Err(error) => {
                let what = as_finding(&at.key(), error)?;
                let finding = findings.error(&at.key(), &what, REPLICA);
                findings.affects(finding, AffectedPoint::whole(at));
            }
        }
    }
    if locked > 0 {
        let what = format!(
            "{locked} points of other writers could not be opened with this writer key; their trees were not walked"
        );
        findings.note("manifests/", &what, "check with the passphrase, key file or recovery kit to see everything");
    }
    check_chains(&links, listing, graves, findings);
    Ok(points)
}

/// Points that restore but may not be what the disks were.
pub(super) fn name_suspects(
    repo: &Repository,
    listing: &Listing,
    graves: &Graves,
    findings: &mut Findings,
) -> Result<()> {
    let suspects = match suspects::all(repo) {
        Err(error) => {
            let what = as_finding("suspects/", error)?;
            findings.note(
                "suspects/",
                &what,
                "which points may lack changes cannot be told until the store can be read",
            );
            return Ok(());
        }
        Ok(suspects) => suspects,
    };
    let standing = listing.points.iter().filter(|at| suspects.contains(&at.manifest));
    for at in standing.filter(|at| !graves.contains_key(&at.manifest)) {
        let what = "it may lack changes: a later backup of this name found that the list of changes was not complete";
        findings.note(&at.key(), what, "restore a later point, or one made by a full read, if you have the choice");
    }
    Ok(())
}

fn open(repo: &Repository, stored: &StoredManifest, points: &mut Points) -> Result<()> {
    let manifest = stored.open(repo.keys())?;
    points.names.insert(stored.at.name, manifest.name.clone());
    if manifest.chunk_bytes != repo.config().chunk_bytes {
        let what = format!("its chunks are {} bytes long, the repository's are not", manifest.chunk_bytes);
        return Err(Error::damaged(stored.at.key(), what));
    }
    let disks = manifest.disks.into_iter();
    let disks =
        disks.map(|disk| CheckedDisk { name: disk.name, size_bytes: disk.size_bytes, root: disk.root }).collect();
    points.open.push(OpenPoint { at: stored.at, disks });
    Ok(())
}

/// Links are sorted by name and sequence, as the listing is.
fn check_chains(links: &[Link], listing: &Listing, graves: &Graves, findings: &mut Findings) {
    let places: HashMap<ManifestId, &PointKey> = listing.points.iter().map(|at| (at.manifest, at)).collect();
    let mut followed: HashMap<ManifestId, ManifestId> = HashMap::new();
    for (number, link) in links.iter().enumerate() {
        let before = number.checked_sub(1).map(|n| &links[n]).filter(|before| before.at.name == link.at.name);
        if let Some(before) = before.filter(|before| before.at.sequence == link.at.sequence) {
            let what =
                format!("it has the same sequence number as point {}: two backups ran at once", before.at.manifest);
            findings.note(&link.at.key(), &what, "nothing; both are whole");
        }
        let Some(previous) = link.previous else {
            if before.is_some_and(|before| before.at.sequence < link.at.sequence) {
                let what = "it follows no point although older ones of its name exist";
                findings.note(
                    &link.at.key(),
                    what,
                    "nothing; it is whole, and its order comes from its sequence number",
                );
            }
            continue;
        };
        if let Some(other) = followed.insert(previous, link.at.manifest) {
            let what = format!("it follows point {previous} as point {other} does: two backups ran at once");
            findings.note(&link.at.key(), &what, "nothing; both are whole");
        }
        check_previous(link, previous, places.get(&previous).copied(), graves, findings);
    }
}

fn check_previous(link: &Link, previous: ManifestId, at: Option<&PointKey>, graves: &Graves, findings: &mut Findings) {
    let grave = graves.get(&previous);
    let place = at.map(|at| (at.name, at.sequence));
    let place = place.or(grave.and_then(Option::as_ref).map(|stone| (stone.name, stone.sequence)));
    match place {
        Some((name, sequence)) if name != link.at.name || sequence >= link.at.sequence => {
            let next = "do not rely on the order of these points; find out who wrote this one";
            let finding = findings.error(
                &link.at.key(),
                &format!("it says it follows point {previous}, which is of another name or not before it"),
                next,
            );
            findings.affects(finding, AffectedPoint::whole(&link.at));
        }
        None if grave.is_none() => {
            let what = format!(
                "the manifest of point {previous} is missing, and it was never forgotten; point {} follows it",
                link.at.manifest
            );
            let next = "restore the object from a replica; find out who or what deleted it (a backup that was withdrawn because its lease was lost also leaves this)";
            let finding = findings.error(&format!("manifests/{}/…-{previous}", link.at.name), &what, next);
            let mut lost = AffectedPoint::unknown(previous);
            lost.name_id = Some(link.at.name);
            findings.affects(finding, lost);
        }
        _ => {}
    }
}
