//! Verify jobs: points are read as a restore reads them, and compared with their ids.

use super::stages::Stages;
use super::{At, THREADS};
use crate::progress::{Counts, Unit};
use anyhow::Result;
use repo_format::check::ForgedPack;
use repo_format::check::{Progress, Verification, VerifyOptions, verify_points};
use repo_format::condemned::PackRef;
use std::sync::atomic::{AtomicU64, Ordering};
use web_api::keeping::{DamagedPack, MAX_FINDINGS, PointVerdict, VerifyResult, VerifyWork};
use web_api::unit::ByteCount;

pub(super) fn run(at: &At<'_>, work: &VerifyWork) -> Result<VerifyResult> {
    let points = at.points(&work.points)?;
    let (stages, read) = (Stages::new(at.report), AtomicU64::new(0));
    let progress = |now: Progress| {
        let bytes_read = now.bytes_read.saturating_sub(read.swap(now.bytes_read, Ordering::Relaxed));
        stages.at(("verify", Unit::Packs), (now.done, now.total), Counts { bytes_read, ..Counts::default() });
    };
    let options = VerifyOptions {
        threads: THREADS,
        read_all: work.read_all,
        progress: &progress,
        cancel: at.cancel,
        now: at.now(),
    };
    // A lease for all that is read: prune deletes nothing that was there when it began.
    let done = at.reading(&[], || Ok(verify_points(&at.repo, &at.index, &points, &options)?));
    stages.end();
    Ok(result(&done?, at))
}

fn result(done: &Verification, at: &At<'_>) -> VerifyResult {
    let there = done.points.iter().filter(|verdict| !verdict.is_gone);
    VerifyResult {
        points: there
            .map(|verdict| PointVerdict {
                point: verdict.point.manifest.to_string(),
                proved_since: verdict.since.map(Into::into),
                flaw: verdict.flaw.clone(),
            })
            .collect(),
        packs_read: done.packs_read,
        read_bytes: ByteCount(done.bytes_read),
        chunks_opened: done.entries_opened,
        damaged: damaged(&done.damaged_packs, &done.forged_packs),
        took_ms: at.took_ms(),
    }
}

/// Damaged packs for the server, those that somebody is to blame for first.
pub(super) fn damaged(packs: &[PackRef], forged: &[ForgedPack]) -> Vec<DamagedPack> {
    let blamed = |pack: &PackRef| forged.iter().find(|forged| forged.pack == pack.pack).map(|forged| forged.signer);
    let mut found: Vec<DamagedPack> = packs
        .iter()
        .map(|pack| DamagedPack {
            pack: pack.pack.to_string(),
            forged_by: blamed(pack).map(|writer| writer.to_string()),
        })
        .collect();
    found.sort_by_key(|pack| pack.forged_by.is_none());
    found.truncate(MAX_FINDINGS);
    found
}
