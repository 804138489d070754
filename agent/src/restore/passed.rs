//! A restore of a disk whose parts come from elsewhere, one after the other: this machine has no key that reads.
//!
//! Where they come from has proved them ([`repo_format::passage`]); here they are only written where they belong.

use super::target::{self, Target};
use super::{RestoreOutcome, RestoreRequest, span, unused, window};
use crate::progress::{Counts, Progress};
use anyhow::{Context as _, Result, bail, ensure};
use repo_format::Error;
use repo_format::codec::is_zero;
use repo_format::manifest::{Disk, PointKey};
use repo_format::passage::Part;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What is compared with the target at once.
const PIECE_BYTES: usize = 64 << 10;

/// What the disk is: the first part, in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// Key of the point's object.
    pub point: String,
    /// As the manifest describes it.
    pub disk: Disk,
}

/// What is written, and where to.
#[derive(Clone, Debug)]
pub struct PassedRequest {
    /// Only this partition of the disk.
    pub partition: Option<u32>,
    /// Image file or block device.
    pub target: PathBuf,
    /// Read the target and write only what differs.
    pub delta: bool,
    /// Only look and count. Everything is passed all the same.
    pub dry_run: bool,
    /// Write over what is there.
    pub overwrite: bool,
}

/// Brings parts: what the disk is, or what lies at an offset of it.
pub type Bring<'b> = dyn FnMut(Option<u64>) -> Result<Part> + 'b;

/// Restores. Parts are brought in ascending order; what is not asked for any more need not be kept.
pub fn run(
    bring: &mut Bring<'_>,
    wanted: &PassedRequest,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<RestoreOutcome> {
    let started = Instant::now();
    let Part::About(about) = bring(None)? else { bail!("the keeper did not say what the disk is") };
    let About { point, disk } = serde_json::from_slice(&about).context("reading what the disk is")?;
    let request = RestoreRequest {
        point: PointKey::parse(&point).context("the keeper named no recovery point")?,
        disk: Some(disk.name.clone()),
        partition: wanted.partition,
        target: wanted.target.clone(),
        delta: wanted.delta,
        dry_run: wanted.dry_run,
        overwrite: wanted.overwrite,
        grow: None,
        image_bytes: None,
    };
    let window = window(&disk, request.partition)?;
    let size = target::size(&request, window.length_bytes)?;
    let mut notes = target::notes_on_sectors(&request, &disk, size)?;
    if size.bytes > window.length_bytes {
        notes.push(unused(&request, size.bytes - window.length_bytes));
    }
    let target = Target::open(&request, window.length_bytes, size.bytes.max(window.length_bytes))?;
    let outcome = RestoreOutcome {
        bytes_target: window.length_bytes,
        bytes_available: size.bytes,
        notes,
        ..RestoreOutcome::default()
    };
    progress.begin(if request.dry_run { "comparing" } else { "restore" }, Some(window.length_bytes));
    let mut writing = Writing { target: &target, begins_at: window.offset_bytes, present: Vec::new(), cancel, outcome };
    let end = window.offset_bytes + window.length_bytes;
    let mut at = window.offset_bytes;
    while at < end {
        writing.go_on()?;
        let length = writing.part(bring(Some(at))?, at, end)?;
        progress.advance(Counts { done: length, ..Counts::default() });
        at += length;
    }
    let outcome = writing.outcome;
    progress.end();
    if !request.dry_run {
        target.finish()?;
    }
    Ok(RestoreOutcome { duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), ..outcome })
}

struct Writing<'w> {
    target: &'w Target,
    /// Offset of the target's beginning on the disk.
    begins_at: u64,
    /// What the target holds, while it is compared.
    present: Vec<u8>,
    cancel: &'w AtomicBool,
    outcome: RestoreOutcome,
}

impl Writing<'_> {
    fn go_on(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) { Err(Error::Interrupted.into()) } else { Ok(()) }
    }

    /// Writes a part that lies at `at` of the disk, as far as `end`. Returns how far that went.
    fn part(&mut self, part: Part, at: u64, end: u64) -> Result<u64> {
        let offset_bytes = at - self.begins_at;
        match part {
            Part::Zeroes { offset_bytes: stands_at, length_bytes } if stands_at == at => {
                let length_bytes = length_bytes.min(end - at);
                self.zeroes(offset_bytes, length_bytes)?;
                Ok(length_bytes)
            }
            Part::Data { offset_bytes: stands_at, bytes } if stands_at == at => {
                let length_bytes = (bytes.len() as u64).min(end - at);
                ensure!(length_bytes > 0, "a part of the disk came without content");
                self.data(offset_bytes, &bytes[..usize::try_from(length_bytes)?])?;
                Ok(length_bytes)
            }
            _ => bail!("another part of the disk came than was asked for"),
        }
    }

    fn data(&mut self, offset_bytes: u64, bytes: &[u8]) -> Result<()> {
        let mut at = offset_bytes;
        for piece in bytes.chunks(PIECE_BYTES) {
            let length_bytes = piece.len() as u64;
            if is_zero(piece) {
                self.zeroes(at, length_bytes)?;
            } else if self.is_there(piece, at)? {
                self.outcome.bytes_unchanged += length_bytes;
            } else {
                self.target.write(piece, at)?;
                self.outcome.bytes_written += length_bytes;
            }
            at += length_bytes;
        }
        Ok(())
    }

    fn is_there(&mut self, piece: &[u8], offset_bytes: u64) -> Result<bool> {
        if !self.target.compares() {
            return Ok(false);
        }
        self.present.resize(piece.len(), 0);
        Ok(self.target.read(&mut self.present, offset_bytes)? && self.present == piece)
    }

    fn zeroes(&mut self, offset_bytes: u64, length_bytes: u64) -> Result<()> {
        if self.target.is_zero_already() {
            return Ok(());
        }
        if !self.target.compares() {
            self.outcome.bytes_zeroed += length_bytes;
            return self.target.zero(offset_bytes, length_bytes);
        }
        let end = offset_bytes + length_bytes;
        let mut at = offset_bytes;
        while at < end {
            self.go_on()?;
            let length = (end - at).min(span::SPAN_BYTES);
            self.present.resize(usize::try_from(length)?, 0);
            if self.target.read(&mut self.present, at)? && is_zero(&self.present) {
                self.outcome.bytes_unchanged += length;
            } else {
                self.outcome.bytes_zeroed += length;
                self.target.zero(at, length)?;
            }
            at += length;
        }
        Ok(())
    }
}
