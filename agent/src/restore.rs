//! A restore, the backup in reverse: manifest → tree → wanted chunks → packs → decrypt, decompress, check → target.
//!
//! Threads take spans of the disk in ascending order and write each where it belongs. A target that is not known to be zero gets
//! zeroes where the point has holes. With `delta` the target is read first and only what differs is fetched and written.

mod disarmed;
pub mod files_of_job;
mod grow;
pub mod in_place;
pub mod passed;
pub mod passed_files;
mod places;
mod span;
mod target;

pub use grow::{GrowOutcome, GrowRequest};
pub use places::Places;
pub use target::Refusal;

use crate::point_disk::PointDisk;
use crate::progress::{Counts, Progress};
use crate::read_at::Slice;
use anyhow::{Context, Result, bail};
use repo_format::aligned::AlignedBuffer;
use repo_format::index::Index;
use repo_format::manifest::{Disk, Manifest, PointKey};
use repo_format::pack::EntryDecoder;
use repo_format::reader::{Reader, Wanted};
use repo_format::repository::Repository;
use repo_format::{Error, codec::is_zero};
use serde::Serialize;
use span::{Span, Spans};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use target::Target;

/// What to restore, and where to.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The point.
    pub point: PointKey,
    /// Which of its disks; needed when it has several.
    pub disk: Option<String>,
    /// Only this partition of the disk.
    pub partition: Option<u32>,
    /// Image file or block device.
    pub target: PathBuf,
    /// Read the target and write only what differs.
    pub delta: bool,
    /// Only look and count.
    pub dry_run: bool,
    /// Write over what is there.
    pub overwrite: bool,
    /// Use the space of a larger target.
    pub grow: Option<GrowRequest>,
    /// How long a new image file becomes, if not as long as what is restored.
    pub image_bytes: Option<u64>,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestoreOutcome {
    /// Length of the disk or partition.
    pub bytes_target: u64,
    /// Length of the target.
    pub bytes_available: u64,
    /// Data written.
    pub bytes_written: u64,
    /// Zeroes written, by whatever means.
    pub bytes_zeroed: u64,
    /// Left as it was, because it was right already.
    pub bytes_unchanged: u64,
    /// Duration.
    pub duration_ms: u64,
    /// What became of the rest of a larger target, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grow: Option<GrowOutcome>,
    /// What a person should know about the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The part of a disk that is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    offset_bytes: u64,
    length_bytes: u64,
}

/// Restores. The index must have been reconciled; the caller holds a read lease where the store can be written to.
pub fn run(
    repo: &Repository,
    index: &Index,
    request: &RestoreRequest,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<RestoreOutcome> {
    let started = Instant::now();
    repo.keys().private_for("restoring")?;
    let (_, manifest) = repo.open_point_unverified(request.point)?;
    let disk = manifest.disk(request.disk.as_deref())?;
    let window = window(disk, request.partition)?;
    let reader = Reader::new(repo, index);
    let size = target::size(request, window.length_bytes)?;
    let mut notes = target::notes_on_sectors(request, disk, size)?;
    let plan = request.grow.map(|grow| plan_growth(&reader, (&manifest, disk), window, size, grow)).transpose()?;
    if plan.is_none() && size.bytes > window.length_bytes {
        notes.push(unused(request, size.bytes - window.length_bytes));
    }
    let target = Target::open(request, window.length_bytes, size.bytes.max(window.length_bytes))?;
    let job = Job {
        reader: &reader,
        manifest: &manifest,
        disk,
        window,
        target: &target,
        progress,
        cancel,
        done: Tally::default(),
    };
    progress.begin(if request.dry_run { "comparing" } else { "restore" }, Some(window.length_bytes));
    job.run()?;
    progress.end();
    let tally = job.done;
    let mut grow = plan.as_ref().map(|plan| plan.outcome().clone());
    if !request.dry_run {
        target.finish()?;
        grow = plan.map(|plan| plan.carry_out(&request.target)).transpose()?;
    }
    Ok(RestoreOutcome {
        bytes_target: window.length_bytes,
        bytes_available: size.bytes,
        grow,
        notes,
        bytes_written: tally.written.into_inner(),
        bytes_zeroed: tally.zeroed.into_inner(),
        bytes_unchanged: tally.unchanged.into_inner(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

fn plan_growth(
    reader: &Reader<'_>,
    (manifest, disk): (&Manifest, &Disk),
    window: Window,
    size: target::Size,
    request: GrowRequest,
) -> Result<grow::Plan> {
    let whole = PointDisk::new(reader, manifest, Some(&disk.name))?;
    let part = Slice::new(&whole, window.offset_bytes, window.length_bytes)?;
    // As the backup found it; what a newer program recorded is read anew.
    let recorded = serde_json::from_value::<crate::source::SourceFacts>(disk.facts.clone()).ok();
    let sector_bytes = recorded.map_or(size.sector_bytes, |facts| facts.disk.sector_bytes);
    grow::plan(&part, sector_bytes, size.bytes, request)
}

fn unused(request: &RestoreRequest, bytes: u64) -> String {
    let grow = if request.partition.is_some() { "its file system" } else { "the last partition" };
    format!("the target is larger by {}, which stays unused; --grow uses it for {grow}", crate::output::bytes(bytes))
}

fn window(disk: &Disk, partition: Option<u32>) -> Result<Window> {
    let Some(number) = partition else { return Ok(Window { offset_bytes: 0, length_bytes: disk.size_bytes }) };
    let facts: crate::source::SourceFacts =
        serde_json::from_value(disk.facts.clone()).context("reading what the point says about partitions")?;
    let found = facts.disk.partition(number).filter(|partition| !partition.extended);
    let Some(partition) = found else {
        let known: Vec<_> = facts.disk.partitions.iter().map(|partition| partition.number.to_string()).collect();
        let what = format!("disk {:?} has no partition {number}; it has: {}", disk.name, known.join(", "));
        return Err(Error::NoSuch(what).into());
    };
    let end = partition.offset_bytes.checked_add(partition.length_bytes);
    if end.is_none_or(|end| end > disk.size_bytes) || partition.length_bytes == 0 {
        bail!("partition {number} does not lie on the disk");
    }
    Ok(Window { offset_bytes: partition.offset_bytes, length_bytes: partition.length_bytes })
}

#[derive(Default)]
struct Tally {
    written: AtomicU64,
    zeroed: AtomicU64,
    unchanged: AtomicU64,
}

/// A restore under way; shared by its threads.
struct Job<'a> {
    reader: &'a Reader<'a>,
    manifest: &'a Manifest,
    disk: &'a Disk,
    window: Window,
    target: &'a Target,
    progress: &'a dyn Progress,
    cancel: &'a AtomicBool,
    done: Tally,
}

/// One thread's buffers.
struct Tools {
    decoder: EntryDecoder,
    sealed: Vec<u8>,
    present: Vec<u8>,
    data: AlignedBuffer,
}

impl Job<'_> {
    fn run(&self) -> Result<()> {
        // Twice as many as processors: while half of them wait for a disk, the others decompress.
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(1, 16) * 2;
        let spans = Mutex::new(Spans::new(self.reader, self.disk, self.manifest.chunk_bytes, self.window));
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work(&spans, &failed))).collect();
            let results =
                handles.into_iter().map(|h| h.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            results.reduce(|first, result| first.and(result)).unwrap_or(Ok(()))
        })
    }

    fn work(&self, spans: &Mutex<Spans<'_>>, failed: &AtomicBool) -> Result<()> {
        let mut tools = Tools {
            decoder: EntryDecoder::new()?,
            sealed: Vec::new(),
            present: Vec::new(),
            data: AlignedBuffer::new(0),
        };
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted.into());
            }
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let next = spans.lock().expect("no panic while held").next();
            let result = match next {
                None => return Ok(()),
                Some(span) => span.map_err(Into::into).and_then(|span| self.restore_span(&span, &mut tools)),
            };
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
                return result;
            }
        }
    }

    fn restore_span(&self, span: &Span, tools: &mut Tools) -> Result<()> {
        for hole in &span.holes {
            self.restore_hole(*hole, &mut tools.present)?;
        }
        let wanted = match self.target.compares() {
            true => self.differing(&span.wanted, &mut tools.present)?,
            false => span.wanted.clone(),
        };
        if self.target.is_dry() {
            wanted.iter().for_each(|want| self.count_written(self.part(want).1));
        } else {
            self.fetch(&wanted, tools)?;
            self.write(&wanted, &tools.data)?;
        }
        self.progress.advance(Counts { done: span.length_bytes, ..Counts::default() });
        Ok(())
    }

    /// Where in the target a chunk goes, how much of it, and which part of the chunk that is.
    fn part(&self, want: &Wanted) -> (u64, u64, usize) {
        let start = want.position * u64::from(self.manifest.chunk_bytes);
        let end = (start + u64::from(want.length)).min(self.window.offset_bytes + self.window.length_bytes);
        let from = start.max(self.window.offset_bytes);
        let skip = usize::try_from(from - start).expect("inside a chunk");
        (from - self.window.offset_bytes, end.saturating_sub(from), skip)
    }

    fn count_written(&self, bytes: u64) {
        self.done.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reads all wanted chunks into `tools.data`, each in a place as long as a whole chunk.
    fn fetch(&self, wanted: &[Wanted], tools: &mut Tools) -> Result<()> {
        let chunk_bytes = self.manifest.chunk_bytes as usize;
        let Tools { decoder, sealed, data, .. } = tools;
        if data.len() < wanted.len() * chunk_bytes {
            *data = AlignedBuffer::new(wanted.len() * chunk_bytes);
        }
        for run in self.reader.plan(wanted)? {
            self.reader.read_run(&run, (&mut *decoder, &mut *sealed), &mut |want, plain| {
                let at = wanted.binary_search_by_key(&want.position, |want| want.position).expect("it was asked for");
                data[at * chunk_bytes..at * chunk_bytes + plain.len()].copy_from_slice(plain);
                Ok::<(), Error>(())
            })?;
        }
        Ok(())
    }

    /// Writes fetched chunks; neighbours at once.
    fn write(&self, wanted: &[Wanted], data: &[u8]) -> Result<()> {
        let chunk_bytes = self.manifest.chunk_bytes as usize;
        let mut first = 0;
        for group in wanted.chunk_by(|one, next| one.position + 1 == next.position) {
            let (offset_bytes, _, skip) = self.part(&group[0]);
            let length_bytes: u64 = group.iter().map(|want| self.part(want).1).sum();
            let start = first * chunk_bytes + skip;
            self.target.write(&data[start..start + usize::try_from(length_bytes)?], offset_bytes)?;
            self.count_written(length_bytes);
            first += group.len();
        }
        Ok(())
    }

    /// Which chunks the target does not have yet; told by their ids, without fetching them.
    fn differing(&self, wanted: &[Wanted], present: &mut Vec<u8>) -> Result<Vec<Wanted>> {
        let mut differing = Vec::new();
        for want in wanted {
            let (offset_bytes, length_bytes, _) = self.part(want);
            let whole = length_bytes == u64::from(want.length);
            present.resize(usize::try_from(length_bytes)?, 0);
            // Of a chunk that reaches beyond the partition only a part is here: it has no id, so it is written.
            if whole
                && self.target.read(present, offset_bytes)?
                && self.reader.repository().keys().ids().chunk(present) == want.chunk
            {
                self.done.unchanged.fetch_add(length_bytes, Ordering::Relaxed);
            } else {
                differing.push(*want);
            }
        }
        Ok(differing)
    }

    /// Makes a hole zero, unless the target is known to be.
    fn restore_hole(&self, hole: span::Hole, present: &mut Vec<u8>) -> Result<()> {
        if self.target.is_zero_already() {
            return Ok(());
        }
        if !self.target.compares() {
            self.done.zeroed.fetch_add(hole.length_bytes, Ordering::Relaxed);
            return self.target.zero(hole.offset_bytes, hole.length_bytes);
        }
        let end = hole.offset_bytes + hole.length_bytes;
        let mut at = hole.offset_bytes;
        while at < end {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted.into());
            }
            let length = (end - at).min(span::SPAN_BYTES);
            present.resize(usize::try_from(length)?, 0);
            if self.target.read(present, at)? {
                self.zero_what_is_not(present, at)?;
            } else {
                self.done.zeroed.fetch_add(length, Ordering::Relaxed);
                self.target.zero(at, length)?;
            }
            at += length;
        }
        Ok(())
    }

    /// Zeroes the chunks of a piece of the target that are not zero.
    fn zero_what_is_not(&self, present: &[u8], offset_bytes: u64) -> Result<()> {
        let mut at = offset_bytes;
        for part in present.chunks(self.manifest.chunk_bytes as usize) {
            let length = part.len() as u64;
            if is_zero(part) {
                self.done.unchanged.fetch_add(length, Ordering::Relaxed);
            } else {
                self.done.zeroed.fetch_add(length, Ordering::Relaxed);
                self.target.zero(at, length)?;
            }
            at += length;
        }
        Ok(())
    }
}
