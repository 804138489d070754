//! Backup jobs of a server's plans, through the same pipeline as `icecore backup`, into the repository behind the server or beside this agent.

use super::{Worker, devices};
use crate::backup::{self, BackupOutcome, BackupRequest, DiskOutcome, Guarded, Surroundings};
use crate::hooks::{HookDirectory, HookPolicy, HookSettings};
use crate::open;
use crate::output;
use crate::priority::Priority;
use crate::progress::{Progress as _, Report};
use crate::source::provider::direct::Direct;
use crate::source::provider::lvm::LvmProvider;
use crate::source::provider::module::ModuleProvider;
use crate::source::provider::{Provider, ProviderKind};
use crate::source::sys::SysRoot;
use anyhow::{Result, bail};
use jiff::Timestamp;
use repo_format::Error;
use repo_format::codec::DEFAULT_LEVEL;
use repo_format::index::Index;
use repo_format::repository::Repository;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use web_api::agent_work::LeasedJob;
use web_api::job::{BackupResult, ChangedDisk, JobError, JobResult};
use web_api::plan::{BackupWork, ProviderName, Sources};
use web_api::unit::ByteCount;

/// Opens the repository that a job works in; a job that is to end ends its waiting.
pub type OpenRepository<'w> = dyn Fn(&Arc<AtomicBool>) -> Result<Repository> + Sync + 'w;

/// When everything is read although a list says what changed.
#[derive(Clone, Copy, Default, Debug)]
pub struct FullRead {
    /// This time.
    pub now: bool,
    /// After so many days without.
    pub every_days: Option<u32>,
}

/// Carries out backup jobs on this machine.
pub struct Backups<'b> {
    /// Opens the repository, with a key that may store.
    pub open: &'b OpenRepository<'b>,
    /// Where the index lies; in memory without it.
    pub index_dir: Option<PathBuf>,
    /// Places that must not lie on what is backed up, beside the index.
    pub guarded: Vec<Guarded>,
    /// Name of this machine.
    pub host: String,
    /// Where disks are looked for.
    pub sys: SysRoot,
    /// The provider of plans that name none; the best one unless given.
    pub provider: Option<ProviderKind>,
    /// The kernel module as this machine's options want it.
    pub module: &'b (dyn Fn() -> ModuleProvider + Sync),
    /// LVM for a series of points of a repository.
    pub lvm: &'b (dyn Fn(&str, &str) -> LvmProvider + Sync),
    /// What an error means, in the words of the command line.
    pub explain: &'b (dyn Fn(&anyhow::Error, u32) -> (JobError, bool) + Sync),
}

impl Worker for Backups<'_> {
    fn work(&self, job: &LeasedJob, report: &Report, cancel: &Arc<AtomicBool>) -> Result<JobResult> {
        let Some(work) = &job.backup else {
            bail!("this agent makes backups and does not know jobs of the kind {}; upgrade it", job.kind);
        };
        let name = work.point_name.clone().unwrap_or_else(|| job.plan.clone());
        let full_read = FullRead { now: job.full_read, every_days: job.full_read_every_days };
        self.back_up((work, name, full_read), report, cancel).map(JobResult::Backup)
    }

    fn explain(&self, error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
        (self.explain)(error, attempt)
    }
}

impl Backups<'_> {
    /// Makes a recovery point.
    pub fn back_up(
        &self,
        (work, name, full_read): (&BackupWork, String, FullRead),
        report: &Report,
        cancel: &Arc<AtomicBool>,
    ) -> Result<BackupResult> {
        let request = self.request(work, name, full_read)?;
        report.begin_counted("open", crate::progress::Unit::Objects, None);
        let repo = (self.open)(cancel)?;
        let unsound = repo.unsound().iter().filter(|object| !object.is_replaced);
        unsound.for_each(|object| report.message(&format!("the repository is damaged: {}", object.what)));
        let index = index(self.index_dir.as_deref(), &repo, report, cancel)?;
        report.end();
        let outcome = self.run(&repo, &index, &request, (work, report, cancel))?;
        Ok(result(&outcome))
    }

    fn request(&self, work: &BackupWork, name: String, full_read: FullRead) -> Result<BackupRequest> {
        let sources = match &work.sources {
            Sources::Paths(paths) => paths.iter().map(PathBuf::from).collect(),
            Sources::AllDisks => devices::all_disks(&self.sys),
        };
        if sources.is_empty() {
            bail!("this machine has no disk that a plan for all disks means; name the disks in the plan");
        }
        let guarded = self.index_dir.iter().filter(|dir| dir.exists());
        Ok(BackupRequest {
            sources,
            name: Some(name),
            host: self.host.clone(),
            changed: None,
            full_read: full_read.now,
            full_read_every_days: full_read.every_days,
            level: work.level.unwrap_or(DEFAULT_LEVEL),
            limit_bytes_per_s: work.limit_bytes_per_s,
            used_blocks_only: work.used_blocks_only,
            exclude_partitions: work.exclude_partitions.clone(),
            provider: work.provider.map(provider).or(self.provider),
            guarded: guarded
                .map(|path| Guarded { what: "the index", path: path.clone() })
                .chain(self.guarded.iter().cloned())
                .collect(),
            hooks: hooks(work),
            priority: Priority::Low,
        })
    }

    fn run(
        &self,
        repo: &Repository,
        index: &Index,
        request: &BackupRequest,
        (work, report, cancel): (&BackupWork, &Report, &AtomicBool),
    ) -> Result<BackupOutcome> {
        let (module, direct) = ((self.module)(), Direct { allow_live: work.allow_live });
        let lvm = (self.lvm)(&repo.config().repository.to_string(), &request.point_name());
        let providers: [&dyn Provider; 3] = [&module, &lvm, &direct];
        let around = Surroundings { clock: &Timestamp::now, progress: report, cancel, providers: &providers };
        backup::run(repo, index, request, &around)
    }
}

/// The index of a repository. Behind a server it learns what it is asked for; beside the repository it is brought up to date. A damaged one
/// costs time, not the job.
pub fn index(dir: Option<&Path>, repo: &Repository, report: &Report, cancel: &AtomicBool) -> Result<Index> {
    let opened = open::index(dir, repo).or_else(|error| match error {
        Error::Index { .. } => {
            report.message(&format!("{error}; going on with an index in memory"));
            Index::in_memory()
        }
        other => Err(other),
    });
    let index = opened?;
    if repo.elsewhere().is_none() {
        for (object, error) in open::bring_up_to_date(repo, &index, report, cancel)?.damaged {
            report.message(&format!("{object} cannot be used: {error}"));
        }
    }
    Ok(index)
}

fn provider(name: ProviderName) -> ProviderKind {
    match name {
        ProviderName::Module => ProviderKind::Module,
        ProviderName::Lvm => ProviderKind::Lvm,
        ProviderName::Direct => ProviderKind::Direct,
    }
}

/// Only the machine's own hooks: a plan brings no commands.
fn hooks(work: &BackupWork) -> HookSettings {
    HookSettings {
        directory: if work.hooks.run { HookDirectory::Default } else { HookDirectory::None },
        timeout: Duration::from_secs(work.hooks.timeout_s.into()),
        policy: if work.hooks.must_succeed { HookPolicy::Fail } else { HookPolicy::Warn },
        ..HookSettings::default()
    }
}

fn result(outcome: &BackupOutcome) -> BackupResult {
    let stats = &outcome.stats;
    BackupResult {
        point: outcome.id.to_string(),
        point_name: outcome.name.clone(),
        sequence: outcome.sequence,
        full_read_reason: outcome.full_read_reason.clone(),
        provider: outcome.provider.into(),
        source_bytes: ByteCount(stats.bytes_source),
        changed_bytes: ByteCount(stats.bytes_changed),
        read_bytes: ByteCount(stats.bytes_read),
        stored_bytes: ByteCount(stats.bytes_stored),
        took_ms: stats.duration_ms,
        warnings: warnings(outcome),
        disks: outcome.disks.iter().filter(|disk| !disk.changed_percent.is_empty()).map(changed).collect(),
    }
}

fn changed(disk: &DiskOutcome) -> ChangedDisk {
    ChangedDisk {
        name: disk.name.clone(),
        size_bytes: ByteCount(disk.bytes_source),
        changed_percent: disk.changed_percent.clone(),
    }
}

/// The point is stored and true; what somebody should look after all the same.
fn warnings(outcome: &BackupOutcome) -> Vec<String> {
    let audit = outcome.audit.as_ref().filter(|audit| audit.bytes_differing > 0).map(|audit| {
        format!(
            "{} changed outside the list of changed extents; earlier incremental points since the last full read may lack changes and are marked as suspect, and the next backup reads everything",
            output::bytes(audit.bytes_differing)
        )
    });
    let hooks = outcome.hooks.failed_to_go_on().filter_map(|run| run.problem.as_ref());
    let hooks = hooks.map(|problem| format!("{problem}; look whether the applications work again"));
    audit.into_iter().chain(hooks).collect()
}
