//! A restore to a larger disk that uses the new space: partition table, one partition, its file system.
//!
//! Everything is planned from the recovery point before anything is written ([`plan`]): what cannot be done, for want of space, of a
//! tool, of rights, is refused then. The bytes of the disk are restored as they are; the plan is carried out behind them. Tables are
//! worked out in [`crate::facts`]; file systems are grown by their own tools ([`file_system`]).

mod file_system;

use crate::extents::ExtentList;
use crate::facts::content::{Content, ContentKind};
use crate::facts::gpt::moved;
use crate::facts::{DiskFacts, Growth, Partition, TableKind, mbr};
use crate::read_at::ReadAt;
use anyhow::{Context, Result, bail};
use file_system::Grower;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowRequest {
    /// The last partition on the disk; without partitions the file system.
    Last,
    /// This one.
    Partition(u32),
}

/// What grew, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrowOutcome {
    /// Format of the table that is rewritten; none where a file system or volume fills the target.
    pub table: Option<TableKind>,
    /// Partition and lengths.
    #[serde(flatten)]
    pub growth: Growth,
    /// What it holds.
    pub content: Option<ContentKind>,
    /// Whether what it holds grew, too.
    pub content_grown: bool,
    /// What is left to do for a person, or what failed; none when nothing is.
    pub remark: Option<String>,
    /// Whether the remark is of a failure.
    pub failed: bool,
}

/// A plan, complete but for the writing.
pub struct Plan {
    outcome: GrowOutcome,
    /// Groups of offsets and bytes; each group is durable before the next is begun.
    writes: Vec<Vec<(u64, Vec<u8>)>>,
    stale: ExtentList,
    grower: Option<Grower>,
}

/// Plans for `disk` (the whole disk or partition that is restored) on a target of so many bytes. Refuses what will not work.
pub fn plan(disk: &dyn ReadAt, sector_bytes: u32, target_bytes: u64, request: GrowRequest) -> Result<Plan> {
    if target_bytes <= disk.size_bytes() {
        bail!(
            "--grow needs a target that is larger than what is restored ({} bytes); this one has {target_bytes}. Leave --grow out, or choose a larger one",
            disk.size_bytes()
        );
    }
    let facts = DiskFacts::read(disk, sector_bytes).context("reading the partition table of the recovery point")?;
    let unit = facts.sector_bytes;
    let Some(table) = &facts.table else { return without_table(disk, &facts, target_bytes, request) };
    let partition = chosen(&facts, request)?;
    let (writes, stale, growth) = match table.kind {
        TableKind::Gpt => {
            let moved = moved::to_larger(disk, unit, target_bytes, Some(partition.number))?;
            let growth = moved.grown.context("the partition was not found again")?;
            (vec![moved.backup, moved.first_copy], moved.stale, growth)
        }
        TableKind::Mbr => {
            let (sector, growth) = mbr::grown(disk, unit, target_bytes, partition.number)?;
            (vec![vec![(0, sector)]], ExtentList::new(), growth)
        }
        TableKind::Unknown => bail!("the partition table is of a kind that this program does not know"),
    };
    let (grower, remark) = grower(partition.content.as_ref())?;
    let outcome = outcome(Some(table.kind), growth, partition.content.as_ref(), remark);
    Ok(Plan { outcome, writes, stale, grower })
}

fn without_table(disk: &dyn ReadAt, facts: &DiskFacts, target_bytes: u64, request: GrowRequest) -> Result<Plan> {
    if let GrowRequest::Partition(number) = request {
        bail!(
            "what is restored has no partition table, so no partition {number} can grow; --grow without a number grows its file system"
        );
    }
    let growth = Growth { number: None, offset_bytes: 0, from_bytes: disk.size_bytes(), to_bytes: target_bytes };
    let (grower, remark) = grower(facts.content.as_ref())?;
    let outcome = outcome(None, growth, facts.content.as_ref(), remark);
    Ok(Plan { outcome, writes: Vec::new(), stale: ExtentList::new(), grower })
}

fn outcome(table: Option<TableKind>, growth: Growth, content: Option<&Content>, remark: Option<String>) -> GrowOutcome {
    let content = content.map(|content| content.kind);
    GrowOutcome { table, growth, content, content_grown: remark.is_none(), remark, failed: false }
}

fn chosen(facts: &DiskFacts, request: GrowRequest) -> Result<&Partition> {
    let found = match request {
        GrowRequest::Partition(number) => facts.partition(number),
        GrowRequest::Last => facts
            .partitions
            .iter()
            .filter(|partition| !partition.extended)
            .max_by_key(|partition| partition.offset_bytes),
    };
    found.with_context(|| {
        let known: Vec<_> = facts.partitions.iter().map(|partition| partition.number.to_string()).collect();
        format!("there is no such partition to grow; the disk has: {}", known.join(", "))
    })
}

/// What grows the content, or what a person has to do instead.
fn grower(content: Option<&Content>) -> Result<(Option<Grower>, Option<String>)> {
    let by_hand = |what: &str| Ok((None, Some(what.to_owned())));
    match content.map(|content| content.kind) {
        Some(ContentKind::Ext2 | ContentKind::Ext3 | ContentKind::Ext4) => Ok((Some(Grower::ext()?), None)),
        Some(ContentKind::Xfs) => Ok((Some(Grower::xfs()?), None)),
        Some(ContentKind::Btrfs) => by_hand("mount it and run `btrfs filesystem resize max MOUNTPOINT`"),
        Some(ContentKind::Lvm2) => by_hand("it is an LVM volume: run `pvresize`, then `lvextend --resizefs`"),
        Some(ContentKind::Luks1 | ContentKind::Luks2) => {
            by_hand("it is encrypted: open it, run `cryptsetup resize`, then grow what is inside")
        }
        Some(ContentKind::Ntfs) => by_hand("run `ntfsresize`, or extend the volume in Windows"),
        Some(ContentKind::Swap) => by_hand("it is swap space: run `mkswap` with the old UUID to use all of it"),
        Some(ContentKind::MdRaid) => by_hand("it is a member of a RAID array: run `mdadm --grow --size=max`"),
        Some(_) => by_hand("what it holds cannot be grown here"),
        None => by_hand("nothing is known about what it holds"),
    }
}

impl Plan {
    /// What would happen.
    pub fn outcome(&self) -> &GrowOutcome {
        &self.outcome
    }

    /// Carries it out on a target that holds the restored bytes. A file system that could not be grown is told in the outcome: the rest
    /// is right and stays.
    pub fn carry_out(mut self, target: &Path) -> Result<GrowOutcome> {
        let context = || format!("rewriting the partition table of {}", target.display());
        let file = OpenOptions::new().read(true).write(true).open(target).with_context(context)?;
        self.write(&file).with_context(context)?;
        drop(file);
        if let Some(grower) = self.grower.take()
            && let Err(error) = grower.grow(target, self.outcome.growth)
        {
            self.outcome.content_grown = false;
            self.outcome.failed = true;
            self.outcome.remark = Some(format!("its file system was not grown: {error:#}"));
        }
        if self.outcome.table.is_some() {
            file_system::reread_partitions(target);
        }
        Ok(self.outcome)
    }

    fn write(&self, file: &File) -> Result<()> {
        for group in &self.writes {
            for (offset, bytes) in group {
                file.write_all_at(bytes, *offset)?;
            }
            file.sync_all()?;
        }
        for stale in self.stale.iter() {
            file.write_all_at(&vec![0; usize::try_from(stale.length_bytes())?], stale.offset_bytes())?;
        }
        Ok(file.sync_all()?)
    }
}
