//! Files under system compression: their content is in a stream of its own, in chunks that are packed one by one.
//!
//! The stream begins with a table of where each chunk but the first begins, counted from the table's end. A chunk that
//! did not become shorter is stored as it is. The unnamed stream has the length of the file and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use super::stream::Stream;
use super::volume::Clusters;
use super::{lzx, xpress};
use crate::files::fields::Fields;
use crate::files::{DataExtent, FileContent, FilesError, Result};
use crate::lengths::in_memory;

/// The stream that holds the packed content.
pub(super) const STREAM: &str = "WofCompressedData";
const VERSION: u32 = 1;
/// Single files, as opposed to files out of an archive.
const PROVIDER_FILE: u32 = 2;
/// From this length on, the table has wide entries.
const WIDE_FILE_BYTES: u64 = 1 << 32;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packing {
    chunk_bytes: u64,
    is_lzx: bool,
}

/// Out of the data of the reparse point; nothing for what is not known.
pub(super) fn packing(data: &Fields<'_>) -> Result<Option<Packing>> {
    if data.le32(0)? != VERSION || data.le32(4)? != PROVIDER_FILE || data.le32(8)? != VERSION {
        return Ok(None);
    }
    Ok(match data.le32(12)? {
        0 => Some(Packing { chunk_bytes: 4 << 10, is_lzx: false }),
        1 => Some(Packing { chunk_bytes: 32 << 10, is_lzx: true }),
        2 => Some(Packing { chunk_bytes: 8 << 10, is_lzx: false }),
        3 => Some(Packing { chunk_bytes: 16 << 10, is_lzx: false }),
        _ => None,
    })
}

/// The content of such a file; shared by all threads, the lock guards the last chunk only and is never held while
/// reading.
pub(super) struct Packed<'v, 'a> {
    clusters: &'v Clusters<'a>,
    stream: Stream,
    packing: Packing,
    size_bytes: u64,
    last: Mutex<Option<(u64, Arc<[u8]>)>>,
}

impl<'v, 'a> Packed<'v, 'a> {
    /// `stream` holds the packed chunks of a file of `size_bytes`.
    pub(super) fn new(clusters: &'v Clusters<'a>, stream: Stream, packing: Packing, size_bytes: u64) -> Self {
        Self { clusters, stream, packing, size_bytes, last: Mutex::new(None) }
    }

    fn chunk(&self, index: u64) -> Result<Arc<[u8]>> {
        if let Some((last, bytes)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && *last == index
        {
            return Ok(Arc::clone(bytes));
        }
        let chunk_bytes = self.packing.chunk_bytes;
        let length = chunk_bytes.min(self.size_bytes - index * chunk_bytes);
        let (start, end) = self.place(index)?;
        let packed_bytes = end.checked_sub(start).filter(|packed| (1..=length).contains(packed));
        let packed_bytes = packed_bytes.ok_or_else(|| damaged("has a chunk of impossible length"))?;
        let mut packed = vec![0; in_memory(packed_bytes)];
        self.stream.read(self.clusters, &mut packed, start)?;
        let bytes: Arc<[u8]> = if packed_bytes == length {
            packed.into()
        } else {
            let mut bytes = vec![0; in_memory(length)];
            if self.packing.is_lzx {
                lzx::decompress(&packed, &mut bytes)?;
            } else {
                xpress::decompress(&packed, &mut bytes)?;
            }
            bytes.into()
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((index, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// Where in the stream a chunk begins and ends.
    fn place(&self, index: u64) -> Result<(u64, u64)> {
        let entry_bytes = if self.size_bytes >= WIDE_FILE_BYTES { 8 } else { 4 };
        let chunks = self.size_bytes.div_ceil(self.packing.chunk_bytes);
        let table_bytes = (chunks - 1) * entry_bytes;
        let entry = |number: u64| -> Result<u64> {
            let mut entry = [0; 8];
            self.stream.read(self.clusters, &mut entry[..in_memory(entry_bytes)], (number - 1) * entry_bytes)?;
            let offset = u64::from_le_bytes(entry).checked_add(table_bytes);
            offset
                .filter(|offset| *offset <= self.stream.size_bytes)
                .ok_or_else(|| damaged("has a chunk beyond its end"))
        };
        let start = if index == 0 { table_bytes } else { entry(index)? };
        let end = if index + 1 == chunks { self.stream.size_bytes } else { entry(index + 1)? };
        Ok((start, end))
    }
}

impl FileContent for Packed<'_, '_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        let whole = DataExtent { offset_bytes: 0, length_bytes: self.size_bytes };
        Box::new(Some(whole).into_iter().filter(|extent| extent.length_bytes > 0))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes);
        if end.is_none() {
            return Err(FilesError::corrupt("a read beyond the end of a file was asked for"));
        }
        let mut at = offset_bytes;
        let mut rest = buf;
        while !rest.is_empty() {
            let chunk = self.chunk(at / self.packing.chunk_bytes)?;
            let within = in_memory(at % self.packing.chunk_bytes);
            let length = rest.len().min(chunk.len() - within);
            let (piece, tail) = rest.split_at_mut(length);
            piece.copy_from_slice(&chunk[within..within + length]);
            at += length as u64;
            rest = tail;
        }
        Ok(())
    }
}

fn damaged(how: &str) -> FilesError {
    FilesError::corrupt(format!("a file under system compression {how}"))
}
