//! What a check found: each finding names an object, what is wrong with it, which points that touches, and what to do next.

use super::Depth;
use crate::condemned::PackRef;
use crate::id::{ManifestId, NameId, PackId, WriterId};
use crate::manifest::PointKey;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The repository is not what it must be.
    Error,
    /// Worth knowing; nothing is lost.
    Note,
}

/// Part of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Extent {
    /// First byte.
    pub offset_bytes: u64,
    /// Length.
    pub length_bytes: u64,
}

/// Extents that are listed for one disk; more are only counted.
pub const MAX_EXTENTS: usize = 100;

/// What of a disk cannot be restored.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct AffectedDisk {
    /// Its name in the point.
    pub disk: String,
    /// Bytes in all.
    pub bytes: u64,
    /// The first extents, ascending.
    pub extents: Vec<Extent>,
    /// Extents that are not listed.
    pub extents_left_out: u64,
    #[serde(skip)]
    end: u64,
}

impl AffectedDisk {
    /// Nothing yet of a disk.
    pub(super) fn of(disk: &str) -> Self {
        Self { disk: disk.to_owned(), ..Self::default() }
    }

    /// Adds an extent behind the last one.
    pub(super) fn add(&mut self, offset_bytes: u64, length_bytes: u64) {
        self.bytes = self.bytes.saturating_add(length_bytes);
        let follows = self.bytes > length_bytes && self.end == offset_bytes;
        self.end = offset_bytes.saturating_add(length_bytes);
        let is_full = self.extents.len() >= MAX_EXTENTS;
        match self.extents.last_mut() {
            Some(last) if follows && self.extents_left_out == 0 => last.length_bytes += length_bytes,
            _ if follows => {}
            _ if !is_full => self.extents.push(Extent { offset_bytes, length_bytes }),
            _ => self.extents_left_out += 1,
        }
    }
}

/// A point that a finding touches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AffectedPoint {
    /// The point.
    pub point: ManifestId,
    /// Its name, hashed; `None` when not even that is known.
    pub name_id: Option<NameId>,
    /// Its name, when a manifest of it could be opened.
    pub name: Option<String>,
    /// Its place among the points of its name.
    pub sequence: Option<u64>,
    /// What cannot be restored; empty when the point as a whole is touched.
    pub disks: Vec<AffectedDisk>,
}

impl AffectedPoint {
    /// A point as a whole.
    pub(super) fn whole(at: &PointKey) -> Self {
        let (name_id, sequence) = (Some(at.name), Some(at.sequence));
        Self { point: at.manifest, name_id, name: None, sequence, disks: Vec::new() }
    }

    /// A point of which only the id is known.
    pub(super) fn unknown(point: ManifestId) -> Self {
        Self { point, name_id: None, name: None, sequence: None, disks: Vec::new() }
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Key of the object in the store, or what else it is about.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// Points that it touches; empty when none is.
    pub affects: Vec<AffectedPoint>,
    /// What to do.
    pub next_step: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "ERROR" } else { "note" };
        writeln!(f, "{severity}  {}: {}", self.object, self.what)?;
        for point in &self.affects {
            let name = match (&point.name, &point.name_id) {
                (Some(name), _) => format!("{name:?}, "),
                (None, Some(id)) => format!("name {id}, "),
                (None, None) => String::new(),
            };
            write!(f, "  touches {name}point {}", point.point)?;
            for disk in &point.disks {
                let first = disk.extents.first().map_or(0, |extent| extent.offset_bytes);
                let count = disk.extents.len() as u64 + disk.extents_left_out;
                write!(f, "; disk {:?}: {} bytes in {count} extents from offset {first}", disk.disk, disk.bytes)?;
            }
            writeln!(f)?;
        }
        write!(f, "  next: {}", self.next_step)
    }
}

/// The result of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How deep it looked.
    pub depth: Depth,
    /// Everything found, errors first.
    pub findings: Vec<Finding>,
    /// Small objects read (records that are not manifests).
    pub records: u64,
    /// Points found.
    pub points: u64,
    /// Points whose trees were walked; the others belong to writers whose key is not here.
    pub points_walked: u64,
    /// Packs whose header and footer were verified.
    pub packs: u64,
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Bytes of those.
    pub bytes_read: u64,
    /// Entries that were opened and whose ids were computed again.
    pub entries_opened: u64,
    /// Tree nodes visited, shared ones once.
    pub nodes: u64,
    /// References to chunks that were followed.
    pub chunks: u64,
    /// Packs that other writers may rely on since this check.
    pub packs_verified: u64,
    /// Packs with errors.
    pub damaged_packs: Vec<PackRef>,
    /// Of those the ones whose bytes are as they were stored: whoever signed them stored what they are not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forged_packs: Vec<ForgedPack>,
}

/// A pack whose signer stored something else than the footer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ForgedPack {
    /// The pack.
    pub pack: PackId,
    /// Who signed it.
    pub signer: WriterId,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.errors().next().is_none()
    }

    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

/// Number of a finding while a check runs.
pub(super) type FindingNumber = usize;

/// Findings as they come in: one for each object.
#[derive(Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    by_object: HashMap<String, FindingNumber>,
}

impl Findings {
    /// Adds an error, or adds to what is known of the object.
    pub(super) fn error(&mut self, object: &str, what: &str, next_step: &str) -> FindingNumber {
        self.add(Severity::Error, object, what, next_step)
    }

    /// Adds a note.
    pub(super) fn note(&mut self, object: &str, what: &str, next_step: &str) {
        self.add(Severity::Note, object, what, next_step);
    }

    fn add(&mut self, severity: Severity, object: &str, what: &str, next_step: &str) -> FindingNumber {
        if let Some(number) = self.by_object.get(object) {
            let known = &mut self.list[*number];
            if known.what.is_empty() {
                known.what = what.to_owned();
            } else if !known.what.contains(what) {
                known.what = format!("{}; {what}", known.what);
            }
            known.severity = known.severity.min(severity);
            return *number;
        }
        let (object, what, next_step) = (object.to_owned(), what.to_owned(), next_step.to_owned());
        self.by_object.insert(object.clone(), self.list.len());
        self.list.push(Finding { severity, object, what, affects: Vec::new(), next_step });
        self.list.len() - 1
    }

    /// Says that a finding touches a point.
    pub(super) fn affects(&mut self, finding: FindingNumber, point: AffectedPoint) {
        let known = &mut self.list[finding].affects;
        if !known.iter().any(|other| other.point == point.point && other.disks == point.disks) {
            known.push(point);
        }
    }

    /// Everything, errors first, with the names of points filled in.
    pub(super) fn finish(mut self, names: &HashMap<NameId, String>) -> Vec<Finding> {
        for point in self.list.iter_mut().flat_map(|finding| &mut finding.affects) {
            point.name = point.name_id.and_then(|id| names.get(&id).cloned());
        }
        self.list.sort_by_key(|finding| finding.severity);
        self.list
    }
}
