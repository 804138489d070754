//! Compressed streams: units of some clusters, each a hole, plain, or packed into fewer clusters than it has.
//!
//! A packed unit begins with its clusters on the volume and ends with a hole, which is how it is told from a plain one.

use std::sync::{Arc, Mutex, PoisonError};

use super::lznt1;
use super::runs::RunList;
use super::volume::Clusters;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;

/// A compressed stream; shared by all threads, the lock guards the last unit only and is never held while reading.
pub(super) struct Compressed {
    pub(super) runs: RunList,
    unit_clusters: u64,
    /// The unit unpacked last: small reads that follow each other unpack it once.
    last: Mutex<Option<(u64, Arc<[u8]>)>>,
}

impl Compressed {
    /// `unit_clusters` is a power of two whose bytes were checked to be few.
    pub(super) fn new(runs: RunList, unit_clusters: u64) -> Self {
        Self { runs, unit_clusters, last: Mutex::new(None) }
    }

    pub(super) fn unit_clusters(&self) -> u64 {
        self.unit_clusters
    }

    /// Fills `buf` from `offset_bytes`.
    pub(super) fn read(&self, clusters: &Clusters<'_>, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let unit_bytes = self.unit_clusters * clusters.geometry.cluster_bytes;
        let mut at = offset_bytes;
        let mut rest = buf;
        while !rest.is_empty() {
            let (unit, within) = (at / unit_bytes, at % unit_bytes);
            let length = rest.len().min(in_memory(unit_bytes - within));
            let (piece, tail) = rest.split_at_mut(length);
            self.read_unit(clusters, unit, within, piece)?;
            at += length as u64;
            rest = tail;
        }
        Ok(())
    }

    fn read_unit(&self, clusters: &Clusters<'_>, unit: u64, within: u64, piece: &mut [u8]) -> Result<()> {
        let first = unit * self.unit_clusters;
        let packed_clusters = self.allocated(first)?;
        if packed_clusters == 0 {
            piece.fill(0);
            return Ok(());
        }
        if packed_clusters == self.unit_clusters {
            return clusters.read_mapped(&self.runs, piece, first * clusters.geometry.cluster_bytes + within);
        }
        let unpacked = self.unpacked(clusters, unit, packed_clusters)?;
        let start = in_memory(within);
        piece.copy_from_slice(&unpacked[start..start + piece.len()]);
        Ok(())
    }

    /// How many clusters of the unit at `first` are on the volume; they are its first ones.
    fn allocated(&self, first: u64) -> Result<u64> {
        let end = first + self.unit_clusters;
        let mut next = first;
        for run in self.runs.within(first, end) {
            if run.first > next {
                return Err(FilesError::corrupt("a compressed unit has a hole before its data"));
            }
            next = run.end().min(end);
        }
        Ok(next - first)
    }

    fn unpacked(&self, clusters: &Clusters<'_>, unit: u64, packed_clusters: u64) -> Result<Arc<[u8]>> {
        if let Some((last, bytes)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && *last == unit
        {
            return Ok(Arc::clone(bytes));
        }
        let cluster_bytes = clusters.geometry.cluster_bytes;
        let mut packed = vec![0; in_memory(packed_clusters * cluster_bytes)];
        clusters.read_mapped(&self.runs, &mut packed, unit * self.unit_clusters * cluster_bytes)?;
        let mut bytes = vec![0; in_memory(self.unit_clusters * cluster_bytes)];
        lznt1::decompress(&packed, &mut bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((unit, Arc::clone(&bytes)));
        Ok(bytes)
    }
}
