//! Restore jobs: a disk, a partition or files of a point, written where this keeper's command line allows it.

use super::At;
use crate::export::{ExportFormat, export};
use crate::extents::Extent;
use crate::files::FileSystem;
use crate::medium::Medium;
use crate::point_disk::PointDisk;
use crate::progress::{Counts, Progress as _};
use crate::restore::files_of_job::{self, Whose};
use crate::restore::{self, Places, RestoreRequest};
use crate::source::sys::SysRoot;
use anyhow::{Result, ensure};
use repo_format::manifest::{Manifest, StoredManifest};
use repo_format::reader::Reader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use web_api::keeping::{MAX_FINDINGS, RestoreFormat, RestoreResult, RestoreWork};
use web_api::unit::ByteCount;

/// Opens the file system of a partition, or the only one of a disk.
pub type OpenFileSystem<'o> =
    dyn for<'d> Fn(&'d Medium<'_>, Option<u32>) -> Result<Box<dyn FileSystem + 'd>> + Sync + 'o;

pub(super) fn run(
    at: &At<'_>,
    work: &RestoreWork,
    (places, file_system): (&Places, &OpenFileSystem<'_>),
) -> Result<RestoreResult> {
    let target = if work.files.is_empty() { places.allow(Path::new(&work.target))? } else { PathBuf::new() };
    let (stored, manifest) = at.repo.open_point_unverified(at.point(&work.point)?)?;
    if !stored.is_verified {
        at.report.message(
            "the writer of this point has no sound record: its content is proved, its place in the series is not",
        );
    }
    at.reading(&[(&stored, &manifest)], || match (work.files.is_empty(), work.format) {
        (false, _) => files(at, work, (&stored, &manifest), (places, file_system)),
        (true, RestoreFormat::Raw) => disk(at, work, (&stored, target)),
        (true, RestoreFormat::Qcow2) => image(at, work, (&manifest, &target), ExportFormat::Qcow2),
        (true, RestoreFormat::Vmdk) => image(at, work, (&manifest, &target), ExportFormat::Vmdk),
    })
}

fn disk(at: &At<'_>, work: &RestoreWork, (stored, target): (&StoredManifest, PathBuf)) -> Result<RestoreResult> {
    let request = RestoreRequest {
        point: stored.at,
        disk: work.disk.clone(),
        partition: work.partition,
        target,
        delta: work.delta,
        dry_run: work.dry_run,
        overwrite: work.overwrite,
        grow: None,
        image_bytes: None,
    };
    let outcome = restore::run(&at.repo, &at.index, &request, at.report, at.cancel)?;
    Ok(RestoreResult {
        dry_run: work.dry_run,
        target: work.target.clone(),
        target_bytes: ByteCount(outcome.bytes_target),
        written_bytes: ByteCount(outcome.bytes_written),
        zeroed_bytes: ByteCount(outcome.bytes_zeroed),
        unchanged_bytes: ByteCount(outcome.bytes_unchanged),
        files: None,
        restored: None,
        notes: outcome.notes.into_iter().take(MAX_FINDINGS).collect(),
        took_ms: at.took_ms(),
    })
}

fn image(
    at: &At<'_>,
    work: &RestoreWork,
    (manifest, target): (&Manifest, &Path),
    format: ExportFormat,
) -> Result<RestoreResult> {
    let reader = Reader::new(&at.repo, &at.index);
    let disk = PointDisk::new(&reader, manifest, work.disk.as_deref())?;
    // Read once to know the total and to meet a broken tree before anything is written.
    let data = disk.data_extents().collect::<repo_format::Result<Vec<Extent>>>()?;
    let data_bytes: u64 = data.iter().map(|extent| extent.length_bytes()).sum();
    let disk_bytes = disk.disk().size_bytes;
    let mut written_bytes = data_bytes;
    if work.dry_run {
        ensure!(work.overwrite || !target.exists(), "{} exists; overwrite was not wanted", target.display());
    } else {
        at.report.begin("export", Some(data_bytes));
        let mut before = 0;
        let outcome = export(&disk, data, format, target, work.overwrite, &mut |done| {
            at.report.advance(Counts { done: done.saturating_sub(before), ..Counts::default() });
            before = done;
            if at.cancel.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        at.report.end();
        written_bytes = outcome.data_bytes;
    }
    Ok(RestoreResult {
        dry_run: work.dry_run,
        target: work.target.clone(),
        target_bytes: ByteCount(disk_bytes),
        written_bytes: ByteCount(written_bytes),
        zeroed_bytes: ByteCount(0),
        unchanged_bytes: ByteCount(0),
        files: None,
        restored: None,
        notes: Vec::new(),
        took_ms: at.took_ms(),
    })
}

fn files(
    at: &At<'_>,
    work: &RestoreWork,
    (stored, manifest): (&StoredManifest, &Manifest),
    (places, file_system): (&Places, &OpenFileSystem<'_>),
) -> Result<RestoreResult> {
    let reader = Reader::new(&at.repo, &at.index);
    let medium = Medium::chosen(&reader, manifest, work.disk.as_deref(), work.partition)?;
    let volume = medium.volume(work.partition)?;
    let whose = Whose {
        sys: &SysRoot::host(),
        places,
        is_own: stored.is_verified && stored.writer == at.repo.keys().writer().writer,
        volume: volume.as_ref().and_then(|volume| volume.content.as_ref()),
    };
    let target = files_of_job::target(work, &whose)?;
    let fs = file_system(&medium, work.partition)?;
    let said = |note: &String| format!("the {} file system: {note}", fs.name());
    let notes: Vec<String> = fs.notes().iter().map(said).collect();
    notes.iter().for_each(|note| at.report.message(note));
    let outcome = files_of_job::run((&*fs, whose.is_own), (work, &target), at.now(), (at.report, at.cancel))?;
    files_of_job::told(&outcome, (work, &target), &notes, at.took_ms())
}
