//! Check jobs: the whole repository is looked through, and some or all of it read.

use super::stages::Stages;
use super::verify::damaged;
use super::{At, THREADS};
use crate::progress::{Counts, stage_of_check};
use anyhow::Result;
use repo_format::check::{Depth, Finding, Options, Progress, Report, Severity, check};
use repo_format::entropy::{SystemEntropy, random};
use std::sync::atomic::{AtomicU64, Ordering};
use web_api::keeping::{CheckFinding, CheckResult, CheckWork, MAX_FINDINGS};
use web_api::unit::ByteCount;

pub(super) fn run(at: &At<'_>, work: CheckWork) -> Result<CheckResult> {
    let depth = match (work.read_data, work.sample_percent) {
        (true, _) => Depth::ReadAll,
        (false, Some(percent)) => Depth::Sample { percent, seed: u64::from_le_bytes(random(&SystemEntropy)) },
        (false, None) => Depth::Structure,
    };
    let (stages, read) = (Stages::new(at.report), AtomicU64::new(0));
    let progress = |now: Progress| {
        let bytes_read = now.bytes_read.saturating_sub(read.swap(now.bytes_read, Ordering::Relaxed));
        stages.at(stage_of_check(now.phase), (now.done, now.total), Counts { bytes_read, ..Counts::default() });
    };
    let options = Options {
        depth,
        threads: THREADS,
        record_verified: true,
        progress: &progress,
        cancel: at.cancel,
        now: at.now(),
    };
    let found = at.reading(&[], || Ok(check(&at.repo, &at.index, &options)?));
    stages.end();
    Ok(result(&found?, at))
}

fn result(report: &Report, at: &At<'_>) -> CheckResult {
    CheckResult {
        errors: report.errors().count() as u64,
        findings: report.findings.iter().take(MAX_FINDINGS).map(finding).collect(),
        points: report.points,
        packs: report.packs,
        packs_read: report.packs_read,
        read_bytes: ByteCount(report.bytes_read),
        damaged: damaged(&report.damaged_packs, &report.forged_packs),
        took_ms: at.took_ms(),
    }
}

fn finding(found: &Finding) -> CheckFinding {
    CheckFinding {
        is_error: found.severity == Severity::Error,
        object: found.object.clone(),
        what: found.what.clone(),
        next: found.next_step.clone(),
        points: found.affects.iter().take(MAX_FINDINGS).map(|point| point.point.to_string()).collect(),
    }
}
