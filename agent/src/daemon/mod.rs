//! `icecore agent run`: the agent as a service. It asks the server for jobs, carries them out and reports; the server never comes to it.
//!
//! A thread for each [`Lane`] asks for work and does it, one sends signs of life ([`pulse`]), and while a job runs one reports on it
//! ([`reporting`]). What a job does is the [`Worker`]'s. A machine that is backed up has one lane and so one job at a time, because it has
//! something else to do; a keeper has two, so that a restore does not wait for the end of a check.
//!
//! Whatever the server does (restart, vanish, come back), nothing here ends but by a signal or because the server refuses this agent: every
//! request can be repeated, and pauses grow to a minute. A signal stops the work cleanly and gives the job back.

pub mod devices;
mod link;
mod pause;
mod pulse;
mod reporting;
pub mod restores;
mod service;
mod stop;
#[cfg(test)]
mod tests;
pub mod work;

pub use link::{Asked, Link, Refused, Server};
pub use pause::{Pauses, wait};
pub use stop::{Stop, Why};

use crate::progress::{Progress as _, Report};
use crate::source::sys::SysRoot;
use anyhow::Result;
use reporting::Reporter;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use web_api::agent_work::{Ending, LeasedJob};
use web_api::job::{JobError, JobKind, JobResult};

/// How long a request for work waits at the server. Short, because a signal waits as long.
const WAIT_S: u32 = 5;
/// How long the end of a job is told to a server that does not answer, once a signal came.
const FAREWELL: Duration = Duration::from_secs(10);

/// Carries out jobs.
pub trait Worker: Sync {
    /// Does the job until it is done or `cancel` becomes true. Reports to `report`.
    fn work(&self, job: &LeasedJob, report: &Report, cancel: &Arc<AtomicBool>) -> Result<JobResult>;

    /// What an error means to people, and whether another attempt may succeed.
    fn explain(&self, error: &anyhow::Error, attempt: u32) -> (JobError, bool);
}

/// A way to the server, as a process of its own to it. What takes long must not keep a person waiting who restores.
pub struct Lane {
    /// To the server.
    pub link: Link,
    /// Kinds of jobs; none: all.
    pub only: Vec<JobKind>,
}

impl Lane {
    /// For all kinds.
    pub fn for_all(link: Link) -> Self {
        Self { link, only: Vec::new() }
    }
}

/// What the service works with.
pub struct Daemon<'d> {
    /// The way to the server; the signs of life go by it, too. One job at a time.
    pub lane: Lane,
    /// Further ways, for other jobs at the same time.
    pub others: Vec<Lane>,
    /// Does the jobs.
    pub worker: &'d dyn Worker,
    /// Name of this machine.
    pub host: String,
    /// Where disks are looked for.
    pub sys: SysRoot,
    /// Set by a signal.
    pub stop: Arc<AtomicBool>,
}

impl Daemon<'_> {
    /// Serves until a signal comes. An error means that the server refuses this agent, or speaks another language.
    pub fn run(&self) -> Result<(), Refused> {
        let refused = std::thread::scope(|scope| {
            let began = self.pulse_begin()?;
            service::ready();
            scope.spawn(|| self.pulse(began));
            let lanes: Vec<_> =
                std::iter::once(&self.lane).chain(&self.others).map(|lane| scope.spawn(|| self.serve(lane))).collect();
            // None of them panics but by a fault of ours.
            lanes.into_iter().map(|lane| lane.join().unwrap_or(Ok(()))).fold(Ok(()), Result::and)
        });
        service::stopping();
        refused
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Serves one lane. Whatever ends it ends all: the others and the signs of life end by the same flag.
    fn serve(&self, lane: &Lane) -> Result<(), Refused> {
        let refused = self.serve_until(lane);
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        refused
    }

    fn serve_until(&self, lane: &Lane) -> Result<(), Refused> {
        let mut pauses = Pauses::default();
        while !self.is_stopping() {
            match lane.link.ask_work(&lane.only, WAIT_S) {
                Ok(Some(job)) => {
                    pauses.reset();
                    self.carry_out(lane, &job)?;
                }
                Ok(None) => pauses.reset(),
                Err(Asked::Refused(refused)) => return Err(refused),
                Err(Asked::Away(why)) => {
                    let pause = pauses.another();
                    tracing::warn!(why, pause_s = pause.as_secs(), "the server gives no work");
                    pause::wait(pause, &self.stop);
                }
            }
        }
        Ok(())
    }

    /// One job from its lease to the report of its end.
    fn carry_out(&self, lane: &Lane, job: &LeasedJob) -> Result<(), Refused> {
        tracing::info!(job = %job.id, kind = %job.kind, plan = job.plan, attempt = job.attempt, "job begins");
        let (report, stop, began) = (Report::default(), Stop::new(self.stop.clone()), Instant::now());
        let reporter = Reporter::new(&lane.link, job, &report, &stop);
        let done = std::thread::scope(|scope| {
            let reporting = scope.spawn(|| reporter.run());
            let done = self.worker.work(job, &report, stop.flag());
            reporter.is_done();
            // It cannot panic but by a fault of ours; the job's own result counts.
            let _ = reporting.join();
            done
        });
        report.end();
        let took_s = began.elapsed().as_secs();
        let Some(ending) = self.ending(job, &stop, done) else {
            tracing::warn!(job = %job.id, took_s, "the server took the job away; it is no longer worked on");
            return Ok(());
        };
        match &ending {
            Ending::Succeeded(result) => {
                let point = result.backup().map(|backup| backup.point.as_str());
                tracing::info!(job = %job.id, took_s, point, "job succeeded");
            }
            Ending::Failed { error, .. } => {
                tracing::error!(job = %job.id, took_s, why = error.why.join(": "), "job failed: {}", error.what);
            }
            Ending::Cancelled => tracing::info!(job = %job.id, took_s, "job cancelled"),
            Ending::Returned => tracing::info!(job = %job.id, took_s, "job given back"),
        }
        self.tell_end(&reporter, ending)
    }

    /// How it ended; nothing when the job is not ours any more. What is done is done, whatever was wanted meanwhile.
    fn ending(&self, job: &LeasedJob, stop: &Stop, done: Result<JobResult>) -> Option<Ending> {
        match (done, stop.why()) {
            (Ok(result), _) => Some(Ending::Succeeded(result)),
            (Err(_), Some(Why::Lost)) => None,
            (Err(_), Some(Why::Cancelled)) => Some(Ending::Cancelled),
            (Err(_), Some(Why::Signal | Why::Paused)) => Some(Ending::Returned),
            (Err(error), None) => {
                let (error, retry) = self.worker.explain(&error, job.attempt);
                Some(Ending::Failed { error, retry })
            }
        }
    }

    fn tell_end(&self, reporter: &Reporter<'_>, ending: Ending) -> Result<(), Refused> {
        let mut pauses = Pauses::default();
        let mut give_up_at = None;
        loop {
            match reporter.finish(ending.clone()) {
                Ok(()) => return Ok(()),
                Err(Asked::Refused(refused)) => return Err(refused),
                Err(Asked::Away(why)) => tracing::warn!(why, "the end of a job could not be told; it is tried again"),
            }
            if self.is_stopping() && Instant::now() >= *give_up_at.get_or_insert_with(|| Instant::now() + FAREWELL) {
                tracing::warn!("the end of a job could not be told; the server will try it again");
                return Ok(());
            }
            let pause = pauses.another();
            match self.is_stopping() {
                true => std::thread::sleep(pause.min(Duration::from_secs(1))),
                false => pause::wait(pause, &self.stop),
            }
        }
    }
}
