//! Prune jobs: what plans do not keep is given up as far as the repository itself allows, then what nobody needs is condemned and deleted.

use super::giving_up::{Known, Wanted, judge};
use super::stages::Stages;
use super::{At, THREADS};
use crate::progress::{Counts, Progress as _, Unit};
use anyhow::Result;
use repo_format::codec::DEFAULT_LEVEL;
use repo_format::forget::{UNDO_TIME, forget};
use repo_format::id::ManifestId;
use repo_format::manifest::PointKey;
use repo_format::proofs::Proofs;
use repo_format::prune::{GRACE, Options, Outcome, REPACK_DEAD_PERCENT, Step, prune};
use repo_format::{Error, suspects};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use web_api::keeping::{GiveUp, KeptPoint, MAX_FINDINGS, PruneResult, PruneWork};
use web_api::unit::ByteCount;

pub(super) fn run(at: &At<'_>, work: &PruneWork) -> Result<PruneResult> {
    let (going, kept) = judged(at, &work.give_up)?;
    if !work.dry_run {
        give_up(at, &going, &work.give_up)?;
    }
    let outcome = free(at, work.dry_run)?;
    Ok(result(work.dry_run, (&going, kept), &outcome, at))
}

/// What may go of what the server wants gone, and what stays.
fn judged(at: &At<'_>, wanted: &[GiveUp]) -> Result<(Vec<PointKey>, Vec<KeptPoint>)> {
    if wanted.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (proofs, suspects) = (Proofs::read(&at.repo)?, suspects::all(&at.repo)?);
    let mut live = Vec::new();
    for point in at.repo.points()? {
        if !at.repo.is_forgotten(&point.manifest)? {
            live.push(point);
        }
    }
    let parse = |point: &GiveUp| point.point.parse().ok().map(|manifest| Wanted { manifest, minimum: point.minimum });
    let wanted: Vec<Wanted> = wanted.iter().filter_map(parse).collect();
    let known = Known { live: &live, is_proved: &|point| proofs.points.contains_key(point), suspects: &suspects };
    let (going, staying) = judge(&wanted, &known);
    let kept = staying.into_iter().map(|(point, why)| KeptPoint { point: point.to_string(), why: why.into() });
    Ok((going, kept.collect()))
}

fn give_up(at: &At<'_>, going: &[PointKey], wanted: &[GiveUp]) -> Result<()> {
    let reasons: HashMap<&str, &str> =
        wanted.iter().map(|point| (point.point.as_str(), point.reason.as_str())).collect();
    if going.is_empty() {
        return Ok(());
    }
    at.report.begin_counted("give up", Unit::Points, Some(going.len() as u64));
    for point in going {
        if at.cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        let id = point.manifest.to_string();
        let reason = reasons.get(id.as_str()).copied().unwrap_or("the plan's rules do not keep it");
        forget(&at.repo, point, reason, at.now(), UNDO_TIME)?;
        at.report.advance(Counts { done: 1, ..Counts::default() });
    }
    at.report.end();
    Ok(())
}

fn free(at: &At<'_>, dry_run: bool) -> Result<Outcome> {
    let stages = Stages::new(at.report);
    let progress = |step: Step| {
        let (stage, at) = match step {
            Step::Marking(done, total) => (("mark", Unit::Points), (done, total)),
            Step::Deleting(done, total) => (("delete", Unit::Packs), (done, total)),
            Step::Repacking(done, total) => (("repack", Unit::Bytes), (done, total)),
        };
        stages.at(stage, at, Counts::default());
    };
    let options = Options {
        grace: GRACE,
        repack_dead_percent: REPACK_DEAD_PERCENT,
        max_repack_bytes: u64::MAX,
        level: DEFAULT_LEVEL,
        dry_run,
        threads: THREADS,
        progress: &progress,
        clock: &|| at.now(),
        cancel: at.cancel,
    };
    let outcome = prune(&at.repo, &at.index, &options, at.now());
    stages.end();
    Ok(outcome?)
}

fn result(
    dry_run: bool,
    (going, mut kept): (&[PointKey], Vec<KeptPoint>),
    outcome: &Outcome,
    at: &At<'_>,
) -> PruneResult {
    kept.truncate(MAX_FINDINGS);
    let texts = |points: &[ManifestId]| points.iter().map(ToString::to_string).collect();
    PruneResult {
        dry_run,
        given_up: going.iter().map(|point| point.manifest.to_string()).collect(),
        delete_after: (!going.is_empty()).then(|| (at.now() + UNDO_TIME).into()),
        kept,
        points_deleted: texts(&outcome.points_deleted),
        packs_deleted: outcome.packs_deleted,
        freed_bytes: ByteCount(outcome.bytes_freed),
        packs_condemned: outcome.packs_condemned,
        condemned_bytes: ByteCount(outcome.bytes_condemned),
        packs_repacked: outcome.packs_repacked,
        rewritten_bytes: ByteCount(outcome.bytes_rewritten),
        dead_bytes: ByteCount(outcome.bytes_dead_left),
        live_bytes: ByteCount(outcome.bytes_live),
        left: outcome.left.iter().take(MAX_FINDINGS).cloned().collect(),
        took_ms: at.took_ms(),
    }
}
