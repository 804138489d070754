//! The second half of a backup: every disk through the pipeline, then trees, then the manifest.

use super::limit::Limit;
use super::pipeline::Pipeline;
use super::plan::{self, Parent, PlannedDisk, PlannedDisks};
use super::{Audit, BackupOutcome, BackupRequest, Stamp, Surroundings, disturbing_uses, stamps};
use crate::extents::Extent;
use crate::hooks::HookReport;
use crate::source::sys::SysRoot;
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use repo_format::manifest::{Consistency, Manifest, PointKind, Stats};
use repo_format::reader::Reader;
use repo_format::session::Session;
use repo_format::tree::{Tree, diff};

/// A backup whose plan is made.
pub struct Work<'a> {
    pub reader: &'a Reader<'a>,
    pub request: &'a BackupRequest,
    pub around: &'a Surroundings<'a>,
    pub name: String,
    pub consistency: Consistency,
    pub started_at: Timestamp,
    /// Of the image files, from before anything was read.
    pub stamps: &'a [Option<Stamp>],
    pub parent: Option<Parent>,
    pub disks: PlannedDisks<'a>,
}

/// Two more threads than processors: some wait for the disk while the others compute.
fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(1, 32) + 2
}

impl Work<'_> {
    /// Stores everything and commits.
    pub fn store(mut self, mut session: Session<'_, '_>) -> Result<BackupOutcome> {
        let chunk_bytes = self.reader.repository().config().chunk_bytes;
        if self.request.used_blocks_only && self.disks.kind == PointKind::Incremental {
            for disk in &mut self.disks.disks {
                plan::add_newly_used(disk, self.reader, chunk_bytes)?;
            }
        }
        let total = self.disks.disks.iter().map(|disk| disk.read.total_bytes()).sum();
        self.around.progress.begin("backup", Some(total));
        let limit = Limit::new(self.request.limit_bytes_per_s);
        let mut stats = Stats::default();
        let mut trees = Vec::new();
        for disk in &self.disks.disks {
            let level = self.request.level;
            let pipeline = Pipeline {
                reader: self.reader,
                disk,
                level,
                limit: &limit,
                threads: thread_count(),
                priority: self.request.priority,
                around: self.around,
            };
            trees.push(pipeline.run(&mut session, &mut stats)?);
        }
        let closed = session.close().context("storing the last packs")?;
        self.around.progress.end();
        self.judge_stamps()?;
        self.judge_uses()?;
        let audit = self.compare(&trees, &mut stats)?;
        stats.bytes_source = self.disks.disks.iter().map(|disk| disk.facts.size_bytes).sum();
        if self.disks.kind == PointKind::Full {
            stats.bytes_changed = stats.bytes_source;
        }
        stats.bytes_stored = closed.stored_bytes();
        stats.duration_ms = elapsed_ms(self.started_at, (self.around.clock)());
        let manifest = self.manifest(&trees, stats)?;
        let at = closed.commit(&manifest, (self.around.clock)()).context("committing the recovery point")?;
        let manifest_bytes = self.reader.repository().store().size(&at.key())?.unwrap_or(0);
        stats.bytes_stored += manifest_bytes;
        Ok(BackupOutcome {
            id: at.manifest,
            sequence: at.sequence,
            name: self.name,
            kind: self.disks.kind,
            full_read_reason: self.disks.full_read_reason,
            stats,
            audit,
            hooks: HookReport::default(),
        })
    }

    /// An image file that was written to, or cut, while it was read is not what it was at any moment.
    fn judge_stamps(&mut self) -> Result<()> {
        let after = stamps(&self.request.sources)?;
        let touched = self.request.sources.iter().zip(self.stamps.iter().zip(&after)).find(|(_, (was, is))| was != is);
        let Some((path, _)) = touched else { return Ok(()) };
        if !self.request.allow_live {
            bail!(
                "{} changed while it was read (something has it open for writing, or it shrank), so what was read is of many different moments; nothing was committed. Stop what uses it and start again, or add --allow-live; the recovery point is then marked \"not consistent\"",
                path.display()
            );
        }
        self.consistency = Consistency::NotConsistent;
        Ok(())
    }

    /// Who opened a disk for writing meanwhile may have written to it; of a device nothing else would tell.
    fn judge_uses(&mut self) -> Result<()> {
        for disk in &self.disks.disks {
            let Some(uses) = disturbing_uses(&SysRoot::host(), disk.source)? else { continue };
            if !self.request.allow_live {
                bail!(
                    "{uses}, and was not when the backup began, so what was read may be of many different moments; nothing was committed. Stop what uses it and start again, or add --allow-live; the recovery point is then marked \"not consistent\""
                );
            }
            self.consistency = Consistency::NotConsistent;
        }
        Ok(())
    }

    /// Counts what changed since the parent; with a list and a full read, finds what the list did not name.
    fn compare(&self, trees: &[Tree], stats: &mut Stats) -> Result<Option<Audit>> {
        let mut audit = (self.request.full_read && self.request.changed.is_some()).then(Audit::default);
        for (disk, tree) in self.disks.disks.iter().zip(trees) {
            if self.disks.kind == PointKind::Incremental {
                stats.bytes_changed += disk.changed.as_ref().map_or(0, |changed| changed.total_bytes());
                continue;
            }
            let parent = disk.parent.unwrap_or_else(|| Tree::empty(tree.chunks));
            stats.bytes_changed += self.compare_disk(disk, (parent, *tree), audit.as_mut())?;
        }
        Ok(audit)
    }

    fn compare_disk(&self, disk: &PlannedDisk<'_>, trees: (Tree, Tree), mut audit: Option<&mut Audit>) -> Result<u64> {
        if self.disks.kind == PointKind::Full {
            return Ok(0);
        }
        let chunk = u64::from(self.reader.repository().config().chunk_bytes);
        let mut changed_bytes = 0;
        diff(trees, (self.reader, self.reader), &mut |position, _, _| {
            let start = position * chunk;
            let end = (start + chunk).min(disk.facts.size_bytes);
            changed_bytes += end - start;
            let named = |extent| disk.changed.as_ref().is_some_and(|changed| changed.overlaps(extent));
            if let Some(audit) = &mut audit
                && Extent::from_bounds(start, end).is_some_and(|extent| !named(extent))
            {
                audit.add(&disk.name, start, end - start);
            }
            Ok(())
        })
        .context("comparing with the point before")?;
        Ok(changed_bytes)
    }

    fn manifest(&self, trees: &[Tree], stats: Stats) -> Result<Manifest> {
        let disks = self.disks.disks.iter().zip(trees).map(|(disk, tree)| plan::to_manifest(disk, *tree, self.request));
        Ok(Manifest {
            name: self.name.clone(),
            host: self.request.host.clone(),
            created_at: self.started_at,
            kind: self.disks.kind,
            full_read_reason: self.disks.full_read_reason.clone(),
            consistency: self.consistency,
            provider: "direct".into(),
            parent: self.parent.as_ref().map(|parent| parent.at.manifest),
            chunk_bytes: self.reader.repository().config().chunk_bytes,
            disks: disks.collect::<Result<_>>()?,
            stats,
            program: format!("icecore {}", env!("CARGO_PKG_VERSION")),
        })
    }
}

/// Milliseconds between two times; zero when the clock went back.
pub fn elapsed_ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}
