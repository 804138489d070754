//! The clusters of the volume, bounds-checked, and the two ways in which attributes lie on them.

use std::sync::Arc;

use super::boot::Geometry;
use super::runs::RunList;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

/// The disk with the geometry it is read by. No caching and no locks here.
pub(super) struct Clusters<'a> {
    disk: Arc<dyn ReadAt + 'a>,
    pub(super) geometry: Geometry,
}

impl<'a> Clusters<'a> {
    pub(super) fn new(disk: Arc<dyn ReadAt + 'a>, geometry: Geometry) -> Self {
        Self { disk, geometry }
    }

    /// Fills `buf` from `start_bytes` after the beginning of cluster `first`.
    pub(super) fn read(&self, first: u64, start_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let Geometry { cluster_bytes, clusters, .. } = self.geometry;
        let beyond = || FilesError::corrupt(format!("cluster {first} lies outside the volume"));
        let offset_bytes = first.checked_mul(cluster_bytes).and_then(|at| at.checked_add(start_bytes));
        let offset_bytes = offset_bytes.ok_or_else(beyond)?;
        let end_bytes = offset_bytes.checked_add(buf.len() as u64).ok_or_else(beyond)?;
        // The product was checked when the boot sector was read.
        if end_bytes > clusters * cluster_bytes {
            return Err(beyond());
        }
        self.disk.read_exact_at(buf, offset_bytes).map_err(|source| FilesError::Read {
            offset_bytes,
            length_bytes: buf.len() as u64,
            source,
        })
    }

    /// Fills `buf` from `offset_bytes` of what `runs` map; holes are zeros. The window must lie inside the runs.
    pub(super) fn read_mapped(&self, runs: &RunList, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let cluster_bytes = self.geometry.cluster_bytes;
        let end_bytes = offset_bytes.checked_add(buf.len() as u64);
        let end_bytes = end_bytes.filter(|end| end.div_ceil(cluster_bytes) <= runs.end());
        let end_bytes = end_bytes.ok_or_else(|| FilesError::corrupt("an attribute is read beyond its run list"))?;
        buf.fill(0);
        for run in runs.within(offset_bytes / cluster_bytes, end_bytes.div_ceil(cluster_bytes)) {
            let start = run.first * cluster_bytes;
            let from = start.max(offset_bytes);
            // A run lies inside the volume, so its length in bytes is a number; its end in a sparse file may not be.
            let to = end_bytes.min(start.saturating_add(run.clusters * cluster_bytes));
            if from < to {
                let piece = &mut buf[in_memory(from - offset_bytes)..in_memory(to - offset_bytes)];
                self.read(run.place, from - start, piece)?;
            }
        }
        Ok(())
    }
}
