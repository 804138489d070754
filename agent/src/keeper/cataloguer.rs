//! The lane that makes catalogs of recovery points, one at a time and yielding to everything else, so that their files can be searched.
//!
//! It asks the server for nothing: what is missing follows from the repository. It runs where the keeper shows files.

use crate::catalog::make::Making;
use crate::catalog::missing;
use crate::daemon::wait;
use crate::daemon::work::{OpenRepository, index};
use crate::priority::Priority;
use crate::progress::Report;
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use repo_format::id::ManifestId;
use repo_format::manifest::PointKey;
use repo_format::repository::Repository;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it looks for points without a catalog.
const EVERY: Duration = Duration::from_secs(15);
/// So often a point is tried in the life of a keeper. The last time a volume that cannot be read costs its own list only.
const TRIES: u32 = 3;

/// Makes catalogs until the service ends.
pub struct Cataloguer<'k> {
    /// Opens the repository.
    pub open: &'k OpenRepository<'k>,
    /// Where the index is.
    pub index_dir: Option<PathBuf>,
    /// This program, which reads file systems in a process of its own.
    pub program: PathBuf,
    /// The time.
    pub clock: &'k (dyn Fn() -> Timestamp + Sync),
    /// Set when the service ends.
    pub stop: Arc<AtomicBool>,
}

/// What one life of the keeper knows.
#[derive(Default)]
struct Known {
    /// Whether the catalogs that were there were looked at.
    has_looked: bool,
    /// How often each point was tried in vain.
    tried: HashMap<ManifestId, u32>,
}

impl Cataloguer<'_> {
    /// Works until the service ends.
    pub fn run(&self) {
        Priority::Low.apply_to_this_thread();
        let mut known = Known::default();
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.pass(&mut known)
                && !self.stop.load(Ordering::Relaxed)
            {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "catalogs of recovery points cannot be made at the moment"
                );
            }
            wait(EVERY, &self.stop);
        }
    }

    fn pass(&self, known: &mut Known) -> Result<()> {
        let repo = (self.open)(&self.stop)?;
        if !known.has_looked {
            missing::sound(&repo)?;
            known.has_looked = true;
        }
        let points = missing::points(&repo)?;
        let mut have = repo_format::catalog::all(&repo)?;
        let due = missing::missing(&points, &have);
        let due: Vec<PointKey> = due.into_iter().filter(|at| known.tried.get(&at.manifest) < Some(&TRIES)).collect();
        for at in due {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let tried = known.tried.get(&at.manifest).copied().unwrap_or(0);
            match self.make(&repo, at, (&points, &have), tried + 1 == TRIES) {
                Ok(files) => {
                    tracing::info!(point = %at.manifest, files, "the files of a recovery point were listed for searching");
                    have.insert(at.manifest);
                }
                Err(_) if self.stop.load(Ordering::Relaxed) => return Ok(()),
                // Pruned meanwhile.
                Err(_) if !repo.store().exists(&at.key())? => {}
                Err(error) => {
                    *known.tried.entry(at.manifest).or_default() += 1;
                    let error = format!("{error:#}");
                    tracing::warn!(point = %at.manifest, error, "the files of a recovery point cannot be listed for searching");
                }
            }
        }
        Ok(())
    }

    fn make(
        &self,
        repo: &Repository,
        at: PointKey,
        had: (&[PointKey], &HashSet<ManifestId>),
        settles: bool,
    ) -> Result<u64> {
        let report = Report::default();
        let index =
            index(self.index_dir.as_deref(), repo, &report, &self.stop).context("its index cannot be opened")?;
        let before = missing::before(repo, at, had)?;
        let making = Making {
            repo,
            index: &index,
            program: &self.program,
            clock: self.clock,
            warn: &|line| tracing::warn!("{line}"),
            listed: &|_| {},
            settles,
            stop: &self.stop,
        };
        let catalog = making.make(at, before.as_ref())?;
        let counts = catalog.volumes.iter().map(|volume| match &volume.files {
            repo_format::catalog::Files::Listed(listed) => listed.count,
            _ => 0,
        });
        Ok(counts.sum())
    }
}
