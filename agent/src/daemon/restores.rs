//! Restore jobs of a machine that keeps no repository: a disk of a recovery point, passed to it by the keeper and sealed to it on the way.
//!
//! The machine has no key that reads. It orders the disk with its writer key, and writes where its own command line allows (`--restore-to`).

use super::Worker;
use super::link::{Link, Server};
use super::work::Backups;
use crate::progress::Report;
use crate::remote::Tell;
use crate::restore::Places;
use crate::restore::passed::{self, PassedRequest};
use anyhow::{Context as _, Result, bail, ensure};
use repo_format::Error;
use repo_format::entropy::SystemEntropy;
use repo_format::id::ManifestId;
use repo_format::keys::WriterKeys;
use repo_format::passage::{Part, Receiver};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use web_api::agent_work::LeasedJob;
use web_api::file::{AskPart, PassDisk};
use web_api::job::{JobError, JobResult};
use web_api::keeping::{KeeperWork, MAX_FINDINGS, RestoreFormat, RestoreResult, RestoreWork};
use web_api::unit::ByteCount;

/// Carries out restore jobs on this machine.
pub struct Restores {
    /// To the server.
    pub server: Server,
    /// How long a server that is away is waited for.
    pub patience: Duration,
    /// This machine's own key, which orders.
    pub keys: WriterKeys,
    /// Where they may write.
    pub restore_to: Places,
}

/// What an agent that keeps no repository does.
pub struct Machine<'m> {
    /// Its backups.
    pub backups: Backups<'m>,
    /// Its restores.
    pub restores: Restores,
}

impl Worker for Machine<'_> {
    fn work(&self, job: &LeasedJob, report: &Report, cancel: &Arc<AtomicBool>) -> Result<JobResult> {
        match &job.keeper {
            Some(KeeperWork::Restore(work)) => self.restores.run(job, work, report, cancel).map(JobResult::Restore),
            _ => self.backups.work(job, report, cancel),
        }
    }

    fn explain(&self, error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
        self.backups.explain(error, attempt)
    }
}

impl Restores {
    fn run(
        &self,
        job: &LeasedJob,
        work: &RestoreWork,
        report: &Report,
        cancel: &Arc<AtomicBool>,
    ) -> Result<RestoreResult> {
        ensure!(
            work.files.is_empty() && work.format == RestoreFormat::Raw,
            "to this machine disks and partitions are passed as they are; the server asks for something else"
        );
        let target = self.restore_to.allow(Path::new(&work.target))?;
        let point: ManifestId = work.point.parse().context("the server named no recovery point")?;
        let receiver = Receiver::order(&self.keys, (point, work.disk.clone()), &SystemEntropy)?;
        let tell: Tell = Arc::new(|line: &str| tracing::warn!("{line}"));
        let link = Link::waiting(&self.server, self.patience, cancel.clone(), tell)?;
        let mut bring = |offset_bytes: Option<u64>| -> Result<Part> {
            let part = PassDisk { order: receiver.text(), offset_bytes };
            let sealed = link.ask_part(job.id, &AskPart { lease: job.lease, part }).map_err(Error::from)?;
            match receiver.open(&sealed, offset_bytes) {
                Ok(part) => Ok(part),
                Err(error) => bail!("what came is not what the keeper sealed: {error}"),
            }
        };
        let request = PassedRequest {
            partition: work.partition,
            target,
            delta: work.delta,
            dry_run: work.dry_run,
            overwrite: work.overwrite,
        };
        let outcome = passed::run(&mut bring, &request, report, cancel)?;
        Ok(RestoreResult {
            dry_run: work.dry_run,
            target: work.target.clone(),
            target_bytes: ByteCount(outcome.bytes_target),
            written_bytes: ByteCount(outcome.bytes_written),
            zeroed_bytes: ByteCount(outcome.bytes_zeroed),
            unchanged_bytes: ByteCount(outcome.bytes_unchanged),
            files: None,
            notes: outcome.notes.into_iter().take(MAX_FINDINGS).collect(),
            took_ms: outcome.duration_ms,
        })
    }
}
