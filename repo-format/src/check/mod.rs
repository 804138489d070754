//! Checking a repository: that every object is what it must be and every point has all it needs.
//!
//! A check deletes nothing. It brings the index up to date and, where asked to, records which packs it verified. It may run beside
//! sessions and prune; the caller takes a read lease when prune could run meanwhile.

mod objects;
mod packs;
mod points;
mod proof;
mod report;
mod trees;
mod verify;

pub(crate) use packs::is_sound;
pub use proof::{prove_point, prove_tree};
pub use report::{AffectedDisk, AffectedPoint, Extent, Finding, ForgedPack, MAX_EXTENTS, Report, Severity};
pub use verify::{PROOF_LASTS, PointVerdict, Verification, VerifyOptions, verify_points};

use crate::error::{Error, Result};
use crate::id::WriterId;
use crate::index::Index;
use crate::reader::Reader;
use crate::repository::Repository;
use crate::writers::Unsound;
use jiff::Timestamp;
use report::{FindingNumber, Findings};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};

/// How deep a check looks.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// Every record, manifest, pack footer and tree; no chunk is read.
    Structure,
    /// The same, and every pack whole.
    ReadAll,
    /// The same, and some packs whole.
    Sample {
        /// Part of the packs, 0 to 100.
        percent: f64,
        /// Chooses them; another seed chooses others.
        seed: u64,
    },
}

/// How a check works.
pub struct Options<'a> {
    /// How deep.
    pub depth: Depth,
    /// Threads that read packs; each holds at most one pack in memory.
    pub threads: usize,
    /// Records packs whose every entry was opened and found right, so that other writers may rely on them. Needs the private key and a
    /// store that can be written to; without effect otherwise.
    pub record_verified: bool,
    /// Called now and then.
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Stops the check.
    pub cancel: &'a AtomicBool,
    /// Now, for verification records.
    pub now: Timestamp,
}

/// What a check is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Reading the small objects and manifests; counts objects.
    Records,
    /// Reading footers or whole packs; counts packs.
    Packs,
    /// Walking trees; counts points.
    Trees,
    /// Finding out what the damage touches; counts points.
    Damage,
    /// Reading packs of one point, to verify it; counts packs.
    Proof,
}

/// How far a check is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Done in this phase.
    pub done: u64,
    /// In all in this phase.
    pub total: u64,
    /// Bytes of packs read whole so far.
    pub bytes_read: u64,
}

impl Options<'_> {
    fn stop_if_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn at(&self, phase: Phase, done: usize, total: usize, report: &Report) -> Result<()> {
        self.stop_if_cancelled()?;
        (self.progress)(Progress { phase, done: done as u64, total: total as u64, bytes_read: report.bytes_read });
        Ok(())
    }
}

/// Checks a repository. The index need not be reconciled before. An error of one object is a finding; only a failing index, a store
/// that cannot be listed and a cancellation end the check.
pub fn check(repo: &Repository, index: &Index, options: &Options<'_>) -> Result<Report> {
    let mut report = Report {
        depth: options.depth,
        findings: Vec::new(),
        records: 0,
        points: 0,
        points_walked: 0,
        packs: 0,
        packs_read: 0,
        bytes_read: 0,
        entries_opened: 0,
        nodes: 0,
        chunks: 0,
        packs_verified: 0,
        damaged_packs: Vec::new(),
        forged_packs: Vec::new(),
    };
    let mut findings = Findings::default();
    let listing = objects::list(repo, &mut findings)?;
    let graves = objects::check_records(repo, &listing, options, (&mut findings, &mut report))?;
    let points = points::check_points(repo, &listing, &graves, options, (&mut findings, &mut report))?;
    points::name_suspects(repo, &listing, &graves, &mut findings)?;
    let packs = packs::check_packs(repo, index, &listing, options, (&mut findings, &mut report))?;
    let reader = Reader::new(repo, index);
    let is_lossy = trees::check_trees(&reader, &packs, &points, options, (&mut findings, &mut report))?;
    packs.name_unverified(repo, &mut findings);
    packs.finish(repo, index, options, is_lossy, (&mut findings, &mut report))?;
    report.findings = findings.finish(&points.names);
    Ok(report)
}

/// The finding of a writer whose signatures cannot be checked: that of its damaged record, where there is one.
fn unknown_writer(repo: &Repository, writer: WriterId, what: &str, findings: &mut Findings) -> FindingNumber {
    let of_writer = |object: &&Unsound| object.writer == Some(writer) && !object.is_replaced;
    let object = repo.unsound().iter().rfind(of_writer).map(|object| object.object.clone());
    let object = object.unwrap_or_else(|| format!("writers/{writer}"));
    findings.error(&object, what, objects::WRITERS_NEXT)
}

/// Whether an error is about one object, so that the check can go on.
fn is_about_an_object(error: &Error) -> bool {
    !matches!(error, Error::Index { .. } | Error::Interrupted)
}

/// The error itself when the check cannot go on, else its text without the object's name, which the finding has.
fn as_finding(object: &str, error: Error) -> Result<String> {
    if !is_about_an_object(&error) {
        return Err(error);
    }
    Ok(match error {
        Error::Damaged { object: named, what } if named == object => what,
        Error::Missing { key } if key == object => "it is missing".into(),
        Error::UnknownSigner { object: named, writer } if named == object => {
            format!("it cannot be verified: there is no sound record of writer {writer}, who signed it")
        }
        other => other.to_string(),
    })
}
