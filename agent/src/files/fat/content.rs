//! The bytes of a file or directory: a chain of clusters, or one place of the disk.

use super::geometry::Geometry;
use super::read;
use super::table::Chain;
use crate::files::{DataExtent, FileContent, FilesError, Result};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;
use std::sync::Arc;

pub(super) struct Content<'f> {
    disk: &'f dyn ReadAt,
    place: Place<'f>,
    length_bytes: u64,
}

enum Place<'f> {
    Region(u64),
    Chain(&'f Geometry, Arc<Chain>),
}

impl<'f> Content<'f> {
    /// As long as it says; the chain must have so many bytes.
    pub(super) fn new(disk: &'f dyn ReadAt, geometry: &'f Geometry, chain: Arc<Chain>, length_bytes: u64) -> Self {
        Self { disk, place: Place::Chain(geometry, chain), length_bytes }
    }

    pub(super) fn at(disk: &'f dyn ReadAt, offset_bytes: u64, length_bytes: u64) -> Self {
        Self { disk, place: Place::Region(offset_bytes), length_bytes }
    }

    /// Where on the disk a byte lies, and how many lie there with it.
    pub(super) fn place_of(&self, at: u64) -> Result<(u64, u64)> {
        let left = self.length_bytes.saturating_sub(at);
        match &self.place {
            Place::Region(offset_bytes) => Ok((offset_bytes + at, left)),
            Place::Chain(geometry, chain) => {
                let cluster = at / geometry.cluster_bytes;
                let behind = chain.runs.partition_point(|run| run.before <= cluster);
                let run = behind.checked_sub(1).and_then(|index| chain.runs.get(index));
                let run = run.ok_or_else(|| FilesError::corrupt("a chain without clusters"))?;
                let into = at - run.before * geometry.cluster_bytes;
                let length = u64::from(run.count) * geometry.cluster_bytes;
                Ok((geometry.offset_of(run.first) + into, length.saturating_sub(into).min(left)))
            }
        }
    }
}

impl FileContent for Content<'_> {
    fn size_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        let whole = DataExtent { offset_bytes: 0, length_bytes: self.length_bytes };
        Box::new((self.length_bytes > 0).then_some(whole).into_iter())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.length_bytes);
        let end = end.ok_or_else(|| FilesError::corrupt("a read behind the end of a file"))?;
        let (mut at, mut rest) = (offset_bytes, buf);
        while at < end {
            let (place, length) = self.place_of(at)?;
            let length = length.min(end - at);
            if length == 0 {
                return Err(FilesError::corrupt("a chain that is too short"));
            }
            let (piece, left) = rest.split_at_mut(in_memory(length));
            read(self.disk, piece, place)?;
            rest = left;
            at += length;
        }
        Ok(())
    }
}
