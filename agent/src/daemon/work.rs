//! Backup jobs of a server's plans, through the same pipeline as `icecore backup`, into the repository behind the server.

use super::link::Server;
use super::{Worker, devices};
use crate::backup::{self, BackupOutcome, BackupRequest, Guarded, Surroundings};
use crate::hooks::{HookDirectory, HookPolicy, HookSettings};
use crate::open::{self, Opened};
use crate::output;
use crate::priority::Priority;
use crate::progress::{Progress as _, Report};
use crate::source::provider::direct::Direct;
use crate::source::provider::lvm::LvmProvider;
use crate::source::provider::module::ModuleProvider;
use crate::source::provider::{Provider, ProviderKind};
use crate::source::sys::SysRoot;
use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use repo_format::Error;
use repo_format::codec::DEFAULT_LEVEL;
use repo_format::index::Index;
use repo_format::keys::WriterKeys;
use repo_format::repository::{Access, Repository};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use web_api::agent_work::LeasedJob;
use web_api::job::{JobError, JobResult};
use web_api::plan::{BackupWork, ProviderName, Sources};
use web_api::unit::ByteCount;

/// Carries out backup jobs on this machine.
pub struct Backups<'b> {
    /// The server, and the repository behind it.
    pub server: Server,
    /// In whose name it is stored.
    pub keys: WriterKeys,
    /// How long a server that cannot be reached is asked again within a job.
    pub patience: Duration,
    /// Where the index lies; in memory without it.
    pub index_dir: Option<PathBuf>,
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
        let request = self.request(job, work)?;
        report.begin_counted("open", crate::progress::Unit::Objects, None);
        let opened = Opened::server(self.server.client(
            self.patience,
            cancel.clone(),
            Arc::new(|line| tracing::warn!("{line}")),
        )?);
        let access = Access::Writer(Box::new(self.keys.clone()));
        let place = &self.server.address;
        let repo = opened.repository(access).with_context(|| format!("cannot open the repository at {place}"))?;
        let unsound = repo.unsound().iter().filter(|object| !object.is_replaced);
        unsound.for_each(|object| report.message(&format!("the repository is damaged: {}", object.what)));
        let index = self.index(&repo, report)?;
        report.end();
        let outcome = self.back_up(&repo, &index, &request, (work, report, cancel))?;
        Ok(result(&outcome))
    }

    fn explain(&self, error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
        (self.explain)(error, attempt)
    }
}

impl Backups<'_> {
    fn request(&self, job: &LeasedJob, work: &BackupWork) -> Result<BackupRequest> {
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
            name: Some(work.point_name.clone().unwrap_or_else(|| job.plan.clone())),
            host: self.host.clone(),
            changed: None,
            full_read: false,
            full_read_every_days: job.full_read_every_days,
            level: work.level.unwrap_or(DEFAULT_LEVEL),
            limit_bytes_per_s: work.limit_bytes_per_s,
            used_blocks_only: work.used_blocks_only,
            exclude_partitions: work.exclude_partitions.clone(),
            provider: work.provider.map(provider).or(self.provider),
            guarded: guarded.map(|path| Guarded { what: "the index", path: path.clone() }).collect(),
            hooks: hooks(work),
            priority: Priority::Low,
        })
    }

    /// It learns from the server what it is asked for. A damaged one costs questions, not the job.
    fn index(&self, repo: &Repository, report: &Report) -> Result<Index> {
        let opened = open::index(self.index_dir.as_deref(), repo).or_else(|error| match error {
            Error::Index { .. } => {
                report.message(&format!("{error}; going on with an index in memory"));
                Index::in_memory()
            }
            other => Err(other),
        });
        Ok(opened?)
    }

    fn back_up(
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

fn result(outcome: &BackupOutcome) -> JobResult {
    let stats = &outcome.stats;
    JobResult {
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
