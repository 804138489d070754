//! The keeper of a repository: the appliance's own agent, which works on the repository's directory with the repository's own key and
//! carries out what needs one. The server that faces the network holds no key and opens no chunk.
//!
//! It does what the server's jobs say and believes the server little: what may be given up it works out again from its own proofs
//! ([`giving_up`]), a restore goes only where its own command line allows ([`Places`]), a disk or files only to machines that this names ([`passing`], [`passing_files`]), and what a copy of the database is it looks at itself.

mod archive;
mod cataloguer;
mod check;
mod copy;
mod desk;
mod forget;
mod giving_up;
mod passing;
mod passing_files;
mod prune;
mod restore;
mod searching;
mod stages;
mod survey;
mod verify;

pub use cataloguer::Cataloguer;
pub use desk::Desk;
pub use restore::OpenFileSystem;
pub use survey::Survey;

use crate::daemon::work::{Backups, index};
use crate::daemon::{Link, Worker};
use crate::progress::{Progress as _, Report};
use crate::restore::Places;
use anyhow::{Result, bail};
use jiff::Timestamp;
use repo_format::Error;
use repo_format::index::Index;
use repo_format::manifest::{Manifest, PointKey, StoredManifest};
use repo_format::repository::Repository;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use web_api::agent_work::LeasedJob;
use web_api::job::{JobError, JobKind, JobResult};
use web_api::keeping::KeeperWork;

/// Kinds of jobs that somebody waits for, or that take little time.
pub const QUICK: [JobKind; 4] = [JobKind::Restore, JobKind::Forget, JobKind::Copy, JobKind::Backup];
/// Kinds that may take hours.
pub const SLOW: [JobKind; 3] = [JobKind::Verify, JobKind::Check, JobKind::Prune];
/// Threads that read packs; each holds one in memory.
const THREADS: usize = 4;

/// Carries out the jobs of a repository.
pub struct Keeper<'k> {
    /// Opens the repository, and makes recovery points of this machine's own disks.
    pub backups: Backups<'k>,
    /// Tells the server what is in the repository.
    pub link: Link,
    /// Where restores may go.
    pub restore_to: Places,
    /// Finds the file system of a partition.
    pub file_system: &'k OpenFileSystem<'k>,
    /// What was read of manifests, which never change.
    pub survey: Survey,
    /// The time.
    pub clock: &'k (dyn Fn() -> Timestamp + Sync),
}

/// What every kind of job works with.
struct At<'j> {
    clock: &'j (dyn Fn() -> Timestamp + Sync),
    repo: Repository,
    index: Index,
    report: &'j Report,
    cancel: &'j Arc<AtomicBool>,
    began: Instant,
}

impl Worker for Keeper<'_> {
    fn work(&self, job: &LeasedJob, report: &Report, cancel: &Arc<AtomicBool>) -> Result<JobResult> {
        let done = match (&job.keeper, &job.backup) {
            (Some(work), _) => self.keep(work, report, cancel),
            (None, Some(_)) => self.backups.work(job, report, cancel),
            (None, None) => bail!("this keeper does not know jobs of the kind {}; upgrade it", job.kind),
        };
        // Whatever came of it, the server shows what is there now. It asks again at the next job.
        if let Err(error) = self.tell_points(cancel) {
            tracing::warn!(error = format!("{error:#}"), "the server could not be told what is in the repository");
        }
        done
    }

    fn explain(&self, error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
        self.backups.explain(error, attempt)
    }
}

impl Keeper<'_> {
    fn keep(&self, work: &KeeperWork, report: &Report, cancel: &Arc<AtomicBool>) -> Result<JobResult> {
        if let KeeperWork::Copy(work) = work {
            return copy::run(&self.backups, work, report, cancel).map(JobResult::Backup);
        }
        let at = self.open(report, cancel)?;
        match work {
            KeeperWork::Verify(work) => verify::run(&at, work).map(JobResult::Verify),
            KeeperWork::Check(work) => check::run(&at, *work).map(JobResult::Check),
            KeeperWork::Prune(work) => prune::run(&at, work).map(JobResult::Prune),
            KeeperWork::Forget(work) => forget::run(&at, work).map(JobResult::Forget),
            KeeperWork::Restore(work) => {
                restore::run(&at, work, (&self.restore_to, self.file_system)).map(JobResult::Restore)
            }
            KeeperWork::Copy(_) => bail!("a copy of the database is no work on the repository's content"),
        }
    }

    fn open<'j>(&'j self, report: &'j Report, cancel: &'j Arc<AtomicBool>) -> Result<At<'j>> {
        let began = Instant::now();
        report.begin_counted("open", crate::progress::Unit::Objects, None);
        let repo = (self.backups.open)(cancel)?;
        let index = index(self.backups.index_dir.as_deref(), &repo, report, cancel)?;
        report.end();
        Ok(At { clock: self.clock, repo, index, report, cancel, began })
    }

    /// Tells the server what is in the repository now.
    pub fn tell_points(&self, cancel: &Arc<AtomicBool>) -> Result<()> {
        let repo = (self.backups.open)(cancel)?;
        self.survey.tell(&repo, &self.link)
    }
}

impl At<'_> {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn took_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads under a lease that keeps prune from what is read.
    fn reading<R>(&self, points: &[(&StoredManifest, &Manifest)], read: impl FnOnce() -> Result<R>) -> Result<R> {
        let (clock, warn) = (|| self.now(), |line: &str| self.report.message(line));
        crate::open::reading(&self.repo, points, (&clock, &warn), read)
    }

    /// The points of these ids that are there, in the order of the ids; what is not there is left out.
    fn points(&self, ids: &[String]) -> Result<Vec<PointKey>> {
        let all = self.repo.points()?;
        let find = |id: &String| all.iter().find(|at| at.manifest.to_string() == *id).copied();
        Ok(ids.iter().filter_map(find).collect())
    }

    /// One of them.
    fn point(&self, id: &str) -> Result<PointKey> {
        let found = self.points(&[id.to_owned()])?.pop();
        found.ok_or_else(|| Error::NoSuch(format!("there is no recovery point {id} in the repository")).into())
    }
}
