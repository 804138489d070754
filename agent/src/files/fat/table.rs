//! The table of clusters: from the first of a file to its last.

use super::geometry::{Geometry, Width};
use super::read;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

/// The table is read in windows of this size; a multiple of three, so that no entry of 12 bits lies across two.
const WINDOW_BYTES: u64 = 48 << 10;
/// So many separate places of one file are remembered; a file of more does not fit into the memory of whoever reads it.
const MAX_RUNS: usize = 4 << 20;

/// Clusters that follow each other on the disk.
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
    /// Clusters of the chain before it.
    pub(super) before: u64,
}

/// All clusters of a file, in their order.
pub(super) struct Chain {
    pub(super) runs: Vec<Run>,
    pub(super) clusters: u64,
}

impl Chain {
    /// Follows it to its proper end; longer than `most_bytes` is damage.
    pub(super) fn follow(disk: &dyn ReadAt, geometry: &Geometry, first: u32, most_bytes: u64) -> Result<Self> {
        let mut table = Table { disk, geometry, at: u64::MAX, window: Vec::new() };
        let mut chain = Self { runs: Vec::new(), clusters: 0 };
        let most = u64::from(geometry.clusters).min(most_bytes.div_ceil(geometry.cluster_bytes));
        let mut cluster = first;
        loop {
            if !geometry.has(cluster) {
                return Err(FilesError::corrupt(format!("the chain from cluster {first} leads to {cluster}")));
            }
            if chain.clusters == most {
                return Err(FilesError::corrupt(format!("the chain from cluster {first} is a circle, or too long")));
            }
            chain.push(cluster)?;
            match table.next(cluster)? {
                Some(next) => cluster = next,
                None => return Ok(chain),
            }
        }
    }

    fn push(&mut self, cluster: u32) -> Result<()> {
        let runs = self.runs.len();
        match self.runs.last_mut() {
            Some(run) if run.first + run.count == cluster => run.count += 1,
            _ if runs >= MAX_RUNS => {
                return Err(FilesError::Limit { what: "number of places of one file", limit: MAX_RUNS as u64 });
            }
            _ => self.runs.push(Run { first: cluster, count: 1, before: self.clusters }),
        }
        self.clusters += 1;
        Ok(())
    }
}

struct Table<'t> {
    disk: &'t dyn ReadAt,
    geometry: &'t Geometry,
    at: u64,
    window: Vec<u8>,
}

impl Table<'_> {
    /// What stands behind a cluster; nothing where it is the last.
    fn next(&mut self, cluster: u32) -> Result<Option<u32>> {
        let number = u64::from(cluster);
        let (value, last) = match self.geometry.width {
            Width::Bits12 => {
                let [low, high] = self.bytes(number * 3 / 2)?;
                let both = u32::from(u16::from_le_bytes([low, high]));
                (if cluster & 1 == 1 { both >> 4 } else { both & 0xfff }, 0xff8)
            }
            Width::Bits16 => (u32::from(u16::from_le_bytes(self.bytes(number * 2)?)), 0xfff8),
            Width::Bits32 => (u32::from_le_bytes(self.bytes(number * 4)?) & 0x0fff_ffff, 0x0fff_fff8),
        };
        Ok((value < last).then_some(value))
    }

    fn bytes<const N: usize>(&mut self, offset_bytes: u64) -> Result<[u8; N]> {
        let start = offset_bytes / WINDOW_BYTES * WINDOW_BYTES;
        if self.at != start {
            let length = WINDOW_BYTES.min(self.geometry.table_bytes.saturating_sub(start));
            self.window.resize(in_memory(length), 0);
            read(self.disk, &mut self.window, self.geometry.table_offset_bytes + start)?;
            self.at = start;
        }
        let from = in_memory(offset_bytes - start);
        let bytes = self.window.get(from..from + N).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| FilesError::corrupt("the table of clusters is cut short"))
    }
}
