//! The second half of a backup: every disk through the pipeline, then trees, then the manifest.

use super::limit::Limit;
use super::parent::{Parent, ParentLost};
use super::pipeline::{Pipeline, Tally};
use super::plan::{self, PlannedDisk, PlannedDisks};
use super::spread::Spread;
use super::{Audit, BackupOutcome, BackupRequest, DiskOutcome, InstantOf, Surroundings};
use crate::extents::Extent;
use crate::hooks::HookReport;
use crate::source::provider::{ProviderKind, Snapshot};
use anyhow::{Context, Result};
use jiff::Timestamp;
use repo_format::id::ChunkId;
use repo_format::manifest::{Consistency, Manifest, PointKind, Stats};
use repo_format::reader::Reader;
use repo_format::session::Session;
use repo_format::suspects;
use repo_format::tree::{Tree, diff};

/// A backup whose plan is made.
pub struct Work<'a> {
    pub reader: &'a Reader<'a>,
    pub request: &'a BackupRequest,
    pub around: &'a Surroundings<'a>,
    pub name: String,
    pub provider: ProviderKind,
    /// What is read, and what knows whether that is still true.
    pub snapshot: &'a dyn Snapshot,
    pub instant: InstantOf,
    pub parent: Option<&'a Parent>,
    pub disks: PlannedDisks<'a>,
}

/// Two more threads than processors: some wait for the disk while the others compute.
fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(1, 32) + 2
}

impl Work<'_> {
    /// Stores everything and commits. Also returns the disks that changed where no list said so.
    pub fn store(self, mut session: Session<'_, '_>) -> Result<(BackupOutcome, Vec<usize>)> {
        let total = self.disks.disks.iter().map(|disk| disk.read.total_bytes()).sum();
        self.around.progress.begin("backup", Some(total));
        let limit = Limit::new(self.request.limit_bytes_per_s);
        let mut tallies = Vec::new();
        let mut trees = Vec::new();
        for disk in &self.disks.disks {
            let mut tally = Tally::default();
            trees.push(self.pipeline(disk, &limit).run(&mut session, &mut tally)?);
            tallies.push(tally);
        }
        let closed = session.close().context("storing the last packs")?;
        self.around.progress.end();
        let consistency = match self.snapshot.check()? {
            Consistency::CrashConsistent if self.instant.told_applications => Consistency::ApplicationConsistent,
            other => other,
        };
        let mut stats = self.compare(&trees, &mut tallies)?;
        stats.bytes_stored = closed.stored_bytes();
        stats.bytes_preserved = self.snapshot.preserved_bytes();
        stats.duration_ms = elapsed_ms(self.instant.started_at, (self.around.clock)());
        self.suspect_earlier_points(&tallies)?;
        let manifest = self.manifest((&trees, &tallies), stats, consistency)?;
        let at = closed.commit(&manifest, (self.around.clock)()).context("committing the recovery point")?;
        let manifest_bytes = self.reader.repository().store().size(&at.key())?.unwrap_or(0);
        stats.bytes_stored += manifest_bytes;
        let distrusted = (0..tallies.len()).filter(|disk| tallies[*disk].audit.bytes_differing > 0).collect();
        let outcome = BackupOutcome {
            id: at.manifest,
            sequence: at.sequence,
            provider: self.provider.name(),
            consistency,
            one_instant: self.snapshot.promise().one_instant,
            kind: self.disks.kind,
            full_read_reason: self.disks.full_read_reason.clone(),
            stats,
            disks: self.disks.disks.iter().zip(&tallies).map(disk_outcome).collect(),
            audit: self.audit(tallies),
            hooks: HookReport::default(),
            name: self.name,
        };
        Ok((outcome, distrusted))
    }

    fn pipeline<'w>(&'w self, disk: &'w PlannedDisk<'w>, limit: &'w Limit) -> Pipeline<'w> {
        Pipeline {
            reader: self.reader,
            disk,
            snapshot: self.snapshot,
            level: self.request.level,
            limit,
            threads: thread_count(),
            priority: self.request.priority,
            around: self.around,
        }
    }

    /// Adds up the disks and counts what changed since the parent; of a full read with a list, finds what the list did not name.
    fn compare(&self, trees: &[Tree], tallies: &mut [Tally]) -> Result<Stats> {
        let mut sum = Stats::default();
        for (disk, (tree, tally)) in self.disks.disks.iter().zip(trees.iter().zip(tallies)) {
            sum.bytes_source += disk.facts.size_bytes;
            sum.bytes_changed += match (&disk.changed, disk.parent) {
                (Some(changed), _) if disk.is_incremental() => {
                    let spread = tally.spread.insert(Spread::new(disk.facts.size_bytes));
                    changed.iter().for_each(|extent| spread.add(extent));
                    changed.total_bytes()
                }
                (_, Some(parent)) => self.compare_disk(disk, (parent, *tree), tally)?,
                (_, None) if self.disks.kind == PointKind::Full => disk.facts.size_bytes,
                (_, None) => self.compare_disk(disk, (Tree::empty(tree.chunks), *tree), tally)?,
            };
            tally.add_to(&mut sum);
        }
        Ok(sum)
    }

    /// A list that hid a change today may have hidden others before: no point that relied on one since everything was last read is
    /// trusted any more. Said before the commit, because it is true whether or not that succeeds.
    fn suspect_earlier_points(&self, tallies: &[Tally]) -> Result<()> {
        if tallies.iter().all(|tally| tally.audit.bytes_differing == 0) {
            return Ok(());
        }
        let repo = self.reader.repository();
        let points = suspects::since_last_full_read(repo, &repo.keys().ids().name(&self.name))?;
        suspects::record(repo, &points, (self.around.clock)()).context("marking the points that may lack changes")
    }

    /// What all audits found; none when no disk had a list to be audited.
    fn audit(&self, tallies: Vec<Tally>) -> Option<Audit> {
        let had_list = self.request.changed.is_none() || self.request.full_read;
        let had_list = had_list && self.disks.disks.iter().any(|disk| disk.changed.is_some());
        had_list.then(|| tallies.into_iter().map(|tally| tally.audit).sum())
    }

    fn compare_disk(&self, disk: &PlannedDisk<'_>, trees: (Tree, Tree), tally: &mut Tally) -> Result<u64> {
        let audit = &mut tally.audit;
        let spread = tally.spread.insert(Spread::new(disk.facts.size_bytes));
        let chunk = u64::from(self.reader.repository().config().chunk_bytes);
        let mut changed_bytes = 0;
        if let Some(changed) = &disk.changed {
            audit.bytes_checked += disk.read.subtract(&changed.rounded_out(chunk, disk.facts.size_bytes)).total_bytes();
        }
        // With used blocks only a hole may mean "free", and what became free or used was not therefore written to.
        let says_nothing = |extent: Extent, before: Option<ChunkId>| {
            self.request.used_blocks_only && (before.is_none() || !disk.read.overlaps(extent))
        };
        diff(trees, (self.reader, self.reader), &mut |position, before, _| {
            let start = position * chunk;
            let end = (start + chunk).min(disk.facts.size_bytes);
            changed_bytes += end - start;
            let hidden = |extent| {
                disk.changed.as_ref().is_some_and(|changed| !changed.overlaps(extent)) && !says_nothing(extent, before)
            };
            let changed = Extent::from_bounds(start, end);
            changed.into_iter().for_each(|extent| spread.add(extent));
            if changed.is_some_and(hidden) {
                audit.add(&disk.name, start, end - start);
            }
            Ok(())
        })
        .map_err(|error| ParentLost::or_else(disk, error))
        .context("comparing with the point before")?;
        Ok(changed_bytes)
    }

    fn manifest(
        &self,
        (trees, tallies): (&[Tree], &[Tally]),
        stats: Stats,
        consistency: Consistency,
    ) -> Result<Manifest> {
        let disks = self.disks.disks.iter().zip(trees.iter().zip(tallies)).map(|(disk, (tree, tally))| {
            plan::to_manifest(disk, *tree, self.request, tally.audit.bytes_differing == 0)
        });
        Ok(Manifest {
            name: self.name.clone(),
            host: self.request.host.clone(),
            created_at: self.instant.taken_at,
            kind: self.disks.kind,
            full_read_reason: self.disks.full_read_reason.clone(),
            consistency,
            one_instant: self.snapshot.promise().one_instant,
            provider: self.provider.name().into(),
            parent: self.parent.map(|parent| parent.at.manifest),
            chunk_bytes: self.reader.repository().config().chunk_bytes,
            disks: disks.collect::<Result<_>>()?,
            stats,
            program: format!("icecore {}", env!("CARGO_PKG_VERSION")),
        })
    }
}

fn disk_outcome((disk, tally): (&PlannedDisk<'_>, &Tally)) -> DiskOutcome {
    DiskOutcome {
        name: disk.name.clone(),
        full_read_reason: disk.full_read_reason.clone(),
        bytes_source: disk.facts.size_bytes,
        bytes_read: tally.stats.bytes_read,
        changed_percent: tally.spread.as_ref().map(Spread::percent).unwrap_or_default(),
    }
}

/// Milliseconds between two times; zero when the clock went back.
pub fn elapsed_ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}
