//! What a restore job of files asks for, checked against what this machine allows, carried out, and told.

use super::disarmed::Disarmed;
use super::{Places, in_place};
use crate::facts::content::Content;
use crate::files::restore::{self, Existing, ProblemKind, RestoreOptions, RestoreOutcome};
use crate::files::{FileSystem, split_path};
use crate::progress::{Counts, Progress as _, Report};
use crate::source::sys::SysRoot;
use anyhow::{Result, ensure};
use jiff::Timestamp;
use repo_format::Error;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use web_api::keeping::{ExistingFiles, MAX_FINDINGS, RestoreResult, RestoreWork, RestoredFiles};
use web_api::unit::ByteCount;

/// The paths of a job, as bytes.
pub fn paths(work: &RestoreWork) -> Vec<Vec<u8>> {
    work.files.iter().map(|path| path.clone().into_bytes()).collect()
}

/// What the machine knows of itself and of the point.
pub struct Whose<'w> {
    /// What is mounted where.
    pub sys: &'w SysRoot,
    /// What it allows.
    pub places: &'w Places,
    /// Whether this machine made the point.
    pub is_own: bool,
    /// What the volume of the files holds.
    pub volume: Option<&'w Content>,
}

/// The directory that the files go into.
pub fn target(work: &RestoreWork, whose: &Whose<'_>) -> Result<PathBuf> {
    if !work.in_place {
        return whose.places.allow_files(Path::new(&work.target));
    }
    if !whose.is_own {
        let what =
            "the recovery point was made by another machine, so its files were never on this one; name a directory";
        return Err(Error::Refused(what.into()).into());
    }
    let mounted = in_place::mounted_at(whose.sys, whose.volume)?;
    for path in &paths(work) {
        let below = split_path(path).join(&b'/');
        let at = if below.is_empty() { mounted.clone() } else { mounted.join(OsStr::from_bytes(&below)) };
        whose.places.allow_in_place(&at)?;
    }
    Ok(mounted)
}

/// Restores the files of the job into a directory that [`target`] named; those of another machine without what would give rights here.
pub fn run(
    (fs, is_own): (&dyn FileSystem, bool),
    (work, target): (&RestoreWork, &Path),
    now: Timestamp,
    (report, cancel): (&Report, &AtomicBool),
) -> Result<RestoreOutcome> {
    let disarmed = Disarmed(fs);
    let fs: &dyn FileSystem = if is_own { fs } else { &disarmed };
    let existing = match (work.existing, work.overwrite) {
        (Some(ExistingFiles::Beside), _) => Existing::Beside(restore::ending(now)),
        (Some(ExistingFiles::Overwrite), _) | (None, true) => Existing::Replace,
        (Some(ExistingFiles::Skip), _) | (None, false) => Existing::Leave,
    };
    let options = RestoreOptions { existing, is_real: true, one_file_system: work.in_place, dry_run: work.dry_run };
    report.begin(if work.dry_run { "comparing" } else { "restore" }, None);
    let mut written = 0;
    let outcome = restore::restore(fs, &paths(work), target, options, &mut |now| {
        report.advance(Counts { done: now.bytes_written.saturating_sub(written), ..Counts::default() });
        written = now.bytes_written;
        if cancel.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    report.end();
    Ok(outcome)
}

/// What is told of it. A file that is not restored although it was to be is a failed job, which says what became of the others.
pub fn told(
    outcome: &RestoreOutcome,
    (work, target): (&RestoreWork, &Path),
    notes: &[String],
    took_ms: u64,
) -> Result<RestoreResult> {
    let names = |kind: ProblemKind| outcome.problems.iter().filter(move |problem| problem.kind == kind);
    let all = [ProblemKind::Failed, ProblemKind::Exists, ProblemKind::Incomplete, ProblemKind::Beside];
    let said = all.into_iter().flat_map(names).map(|problem| format!("{}: {}", problem.path, problem.message));
    let notes: Vec<String> = notes.iter().cloned().chain(said).take(MAX_FINDINGS).collect();
    let files =
        outcome.regular_files + outcome.directories + outcome.symlinks + outcome.hard_links + outcome.special_files;
    let is_asked_to_skip = work.existing == Some(ExistingFiles::Skip) || work.dry_run;
    let count = outcome.failed + if is_asked_to_skip { 0 } else { outcome.existing };
    ensure!(
        count == 0,
        "{count} files were not restored, {files} others were, and {} were there already: {}",
        outcome.unchanged,
        notes.join("; ")
    );
    Ok(RestoreResult {
        dry_run: work.dry_run,
        target: target.display().to_string(),
        target_bytes: ByteCount(outcome.bytes_content),
        written_bytes: ByteCount(outcome.bytes_written),
        zeroed_bytes: ByteCount(0),
        unchanged_bytes: ByteCount(0),
        files: Some(files),
        restored: Some(RestoredFiles {
            replaced: outcome.replaced,
            beside: outcome.beside,
            unchanged: outcome.unchanged,
            skipped: outcome.existing,
            incomplete: outcome.incomplete,
        }),
        notes,
        took_ms,
    })
}
