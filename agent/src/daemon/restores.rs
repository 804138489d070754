//! Restore jobs of a machine that keeps no repository: a disk of a recovery point, or files of it, passed to it by the keeper and sealed to
//! it on the way.
//!
//! The machine has no key that reads. It orders with its writer key what the job names, and writes where its own command line allows
//! (`--restore-to`, `--restore-files`).

use super::Worker;
use super::link::{Link, Server};
use super::work::Backups;
use crate::progress::Report;
use crate::remote::Tell;
use crate::restore::Places;
use crate::restore::files_of_job::{self, Whose};
use crate::restore::passed::{self, PassedRequest};
use crate::restore::passed_files::PassedFiles;
use crate::restore::passed_files::talk::{Answer, Ask};
use crate::source::sys::SysRoot;
use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;
use repo_format::Error;
use repo_format::entropy::SystemEntropy;
use repo_format::id::ManifestId;
use repo_format::keys::WriterKeys;
use repo_format::passage::{Files, Part, Receiver};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
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
    /// What is mounted where.
    pub sys: SysRoot,
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
            work.format == RestoreFormat::Raw,
            "to this machine disks, partitions and files are passed as they are; the server asks for something else"
        );
        let tell: Tell = Arc::new(|line: &str| tracing::warn!("{line}"));
        let link = Link::waiting(&self.server, self.patience, cancel.clone(), tell)?;
        if work.files.is_empty() {
            self.disk((job, work), &link, (report, cancel))
        } else {
            self.files((job, work), &link, (report, cancel))
        }
    }

    fn disk(
        &self,
        (job, work): (&LeasedJob, &RestoreWork),
        link: &Link,
        (report, cancel): (&Report, &Arc<AtomicBool>),
    ) -> Result<RestoreResult> {
        let target = self.restore_to.allow(Path::new(&work.target))?;
        let receiver = Receiver::order(&self.keys, (point_of(work)?, work.disk.clone()), None, &SystemEntropy)?;
        let mut bring = |offset_bytes: Option<u64>| -> Result<Part> {
            let part = PassDisk { order: receiver.text(), offset_bytes, ask: None };
            let sealed = link.ask_part(job.id, &AskPart { lease: job.lease, part }).map_err(Error::from)?;
            receiver.open(&sealed, offset_bytes).map_err(not_the_keepers)
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
            restored: None,
            notes: outcome.notes.into_iter().take(MAX_FINDINGS).collect(),
            took_ms: outcome.duration_ms,
        })
    }

    fn files(
        &self,
        (job, work): (&LeasedJob, &RestoreWork),
        link: &Link,
        (report, cancel): (&Report, &Arc<AtomicBool>),
    ) -> Result<RestoreResult> {
        let began = Instant::now();
        if !work.in_place {
            // Before anything is asked: what may not be written needs not be read.
            self.restore_to.allow_files(Path::new(&work.target))?;
        }
        let ordered = Files { partition: work.partition, paths: &work.files };
        let receiver =
            Receiver::order(&self.keys, (point_of(work)?, work.disk.clone()), Some(&ordered), &SystemEntropy)?;
        let converse = |ask: &Ask| -> Result<Answer> {
            let ask = receiver.ask(&serde_json::to_vec(ask)?, &SystemEntropy)?;
            let digits = ask.iter().map(|byte| format!("{byte:02x}")).collect();
            let part = PassDisk { order: receiver.text(), offset_bytes: None, ask: Some(digits) };
            let sealed = link.ask_part(job.id, &AskPart { lease: job.lease, part }).map_err(Error::from)?;
            Answer::decode(&receiver.open_answer(&sealed, &ask).map_err(not_the_keepers)?)
        };
        let fs = PassedFiles::open(&converse, &files_of_job::paths(work), !work.dry_run)?;
        let about = fs.about().clone();
        let whose = Whose {
            sys: &self.sys,
            places: &self.restore_to,
            is_own: about.writer == Some(self.keys.writer.to_string()),
            volume: about.content.as_ref(),
        };
        let target = files_of_job::target(work, &whose)?;
        let outcome = files_of_job::run((&fs, whose.is_own), (work, &target), Timestamp::now(), (report, cancel))?;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        files_of_job::told(&outcome, (work, &target), &about.notes, took_ms)
    }
}

fn point_of(work: &RestoreWork) -> Result<ManifestId> {
    work.point.parse().context("the server named no recovery point")
}

fn not_the_keepers(error: Error) -> anyhow::Error {
    anyhow!("what came is not what the keeper sealed: {error}")
}
