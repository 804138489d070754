//! The bytes of one attribute: inside its record, on clusters, or compressed on clusters.

use super::compressed::Compressed;
use super::record::{Attribute, Form};
use super::runs::RunList;
use super::volume::Clusters;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;

const COMPRESSION_LZNT1: u16 = 1;
/// Windows compresses 64 KiB together, other writers sixteen clusters of up to that.
const MAX_UNIT_BYTES: u64 = 1 << 20;

/// One whole attribute, its run list put together.
pub(super) struct Stream {
    pub(super) size_bytes: u64,
    pub(super) is_encrypted: bool,
    pub(super) place: Place,
}

/// Where the bytes are.
pub(super) enum Place {
    /// They were in the record.
    Here(Vec<u8>),
    /// On clusters, as they are.
    Plain { runs: RunList, initialized_bytes: u64 },
    /// On clusters, packed.
    Packed { compressed: Compressed, initialized_bytes: u64 },
}

impl Place {
    fn runs(&self) -> Option<&RunList> {
        match self {
            Self::Here(_) => None,
            Self::Plain { runs, .. } => Some(runs),
            Self::Packed { compressed, .. } => Some(&compressed.runs),
        }
    }

    fn runs_mut(&mut self) -> Option<&mut RunList> {
        match self {
            Self::Here(_) => None,
            Self::Plain { runs, .. } => Some(runs),
            Self::Packed { compressed, .. } => Some(&mut compressed.runs),
        }
    }
}

/// Puts a stream together from its parts.
pub(super) struct Builder<'v, 'a> {
    clusters: &'v Clusters<'a>,
    stream: Option<Stream>,
}

impl<'v, 'a> Builder<'v, 'a> {
    pub(super) fn new(clusters: &'v Clusters<'a>) -> Self {
        Self { clusters, stream: None }
    }

    /// Takes the next part; the first one says how long the stream is.
    pub(super) fn push(&mut self, part: &Attribute<'_>) -> Result<()> {
        let Some(stream) = &mut self.stream else {
            self.stream = Some(Stream::first(self.clusters, part)?);
            return Ok(());
        };
        match (stream.place.runs_mut(), part.form) {
            (Some(runs), Form::Mapped(mapped)) if mapped.first_cluster == runs.end() => {
                runs.append(mapped.pairs, mapped.end_cluster, self.clusters.geometry.clusters)
            }
            _ => Err(FilesError::corrupt("the parts of an attribute do not follow each other")),
        }
    }

    /// The stream, if there was any part of it.
    pub(super) fn finish(self) -> Result<Option<Stream>> {
        self.stream.map(|stream| stream.checked(self.clusters)).transpose()
    }
}

impl Stream {
    /// A stream that has one part only.
    pub(super) fn of_part(clusters: &Clusters<'_>, part: &Attribute<'_>) -> Result<Self> {
        Self::first(clusters, part)?.checked(clusters)
    }

    fn first(clusters: &Clusters<'_>, part: &Attribute<'_>) -> Result<Self> {
        let (size_bytes, is_encrypted) = (part.size_bytes(), part.is_encrypted());
        let mapped = match part.form {
            Form::Resident(value) => return Ok(Self { size_bytes, is_encrypted, place: Place::Here(value.to_vec()) }),
            Form::Mapped(mapped) => mapped,
        };
        if mapped.first_cluster != 0 {
            return Err(FilesError::corrupt("the first part of an attribute is missing"));
        }
        let mut runs = RunList::default();
        runs.append(mapped.pairs, mapped.end_cluster, clusters.geometry.clusters)?;
        let initialized_bytes = mapped.initialized_bytes;
        let place = match part.compression() {
            0 => Place::Plain { runs, initialized_bytes },
            COMPRESSION_LZNT1 => {
                let compressed = Compressed::new(runs, unit_clusters(clusters, mapped.unit_shift)?);
                Place::Packed { compressed, initialized_bytes }
            }
            other => return Err(super::unsupported(format!("the compression method {other}"))),
        };
        Ok(Self { size_bytes, is_encrypted, place })
    }

    /// Every byte must be on clusters or in a hole: what no run list speaks of is not zero but lost.
    fn checked(self, clusters: &Clusters<'_>) -> Result<Self> {
        if let Some(runs) = self.place.runs()
            && self.size_bytes.div_ceil(clusters.geometry.cluster_bytes) > runs.end()
        {
            return Err(FilesError::corrupt("an attribute is longer than its run list"));
        }
        Ok(self)
    }

    /// All bytes; only for what has a small limit.
    pub(super) fn read_all(&self, clusters: &Clusters<'_>, limit_bytes: u64, what: &'static str) -> Result<Vec<u8>> {
        if self.size_bytes > limit_bytes {
            return Err(FilesError::Limit { what, limit: limit_bytes });
        }
        let mut bytes = vec![0; in_memory(self.size_bytes)];
        self.read(clusters, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Fills `buf` from `offset_bytes`; the window must lie inside the stream.
    pub(super) fn read(&self, clusters: &Clusters<'_>, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes);
        if end.is_none() {
            return Err(FilesError::corrupt("a read beyond the end of an attribute was asked for"));
        }
        match &self.place {
            Place::Here(value) => {
                let start = in_memory(offset_bytes);
                buf.copy_from_slice(&value[start..start + buf.len()]);
                Ok(())
            }
            Place::Plain { runs, initialized_bytes } => {
                let written = before(buf, offset_bytes, *initialized_bytes);
                clusters.read_mapped(runs, written, offset_bytes)
            }
            Place::Packed { compressed, initialized_bytes } => {
                let written = before(buf, offset_bytes, *initialized_bytes);
                compressed.read(clusters, written, offset_bytes)
            }
        }
    }
}

/// The part of a read that was ever written; the rest becomes zeros, whatever the clusters hold.
fn before(buf: &mut [u8], offset_bytes: u64, initialized_bytes: u64) -> &mut [u8] {
    let written = in_memory(initialized_bytes.saturating_sub(offset_bytes)).min(buf.len());
    let (written, unwritten) = buf.split_at_mut(written);
    unwritten.fill(0);
    written
}

fn unit_clusters(clusters: &Clusters<'_>, shift: u8) -> Result<u64> {
    let unit = 1_u64.checked_shl(u32::from(shift)).filter(|unit| *unit > 1);
    let unit = unit
        .filter(|unit| unit.checked_mul(clusters.geometry.cluster_bytes).is_some_and(|bytes| bytes <= MAX_UNIT_BYTES));
    unit.ok_or_else(|| super::unsupported(format!("compression of 2^{shift} clusters together")))
}
