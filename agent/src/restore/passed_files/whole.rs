//! The content of one file that is passed, piece by piece.

use super::talk::{Answer, Ask, PIECE_BYTES, Words};
use super::{PassedFiles, told};
use crate::files::{DataExtent, FileContent, FileId, FilesError, Result, detail};
use crate::lengths::in_memory;
use std::sync::Arc;

/// A regular file.
pub(super) struct PassedContent<'p> {
    pub(super) files: &'p PassedFiles<'p>,
    pub(super) path: String,
    pub(super) id: FileId,
    pub(super) size_bytes: u64,
    pub(super) extents: Vec<DataExtent>,
    /// All of it, where it is small and came along.
    pub(super) content: Option<Arc<[u8]>>,
}

impl FileContent for PassedContent<'_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        Box::new(self.extents.iter().copied())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes);
        let Some(end) = end else { return Err(FilesError::corrupt("a file is read behind its end")) };
        if let Some(content) = &self.content {
            buf.copy_from_slice(&content[in_memory(offset_bytes)..in_memory(end)]);
            return Ok(());
        }
        let mut at = offset_bytes;
        for piece in buf.chunks_mut(PIECE_BYTES as usize) {
            piece.copy_from_slice(&self.files.piece(self, at, piece.len())?);
            at += piece.len() as u64;
        }
        Ok(())
    }
}

impl PassedFiles<'_> {
    fn piece(&self, of: &PassedContent<'_>, offset_bytes: u64, length: usize) -> Result<Vec<u8>> {
        let length_bytes = u32::try_from(length).unwrap_or(PIECE_BYTES);
        let Answer { words, bytes } =
            self.ask(&Ask::Read { path: of.path.clone(), id: of.id, offset_bytes, length_bytes })?;
        match words {
            Words::Piece if bytes.len() == length => Ok(bytes),
            other => Err(told(other)),
        }
    }

    pub(super) fn all_extents(&self, path: &str, id: FileId, size_bytes: u64) -> Result<Vec<DataExtent>> {
        let mut all: Vec<DataExtent> = Vec::new();
        loop {
            let from_bytes = all.last().map_or(0, |last| last.offset_bytes + last.length_bytes);
            let words = self.ask(&Ask::Extents { path: path.to_owned(), id, from_bytes })?.words;
            let Words::Extents(pairs) = words else { return Err(told(words)) };
            if pairs.is_empty() {
                return Ok(all);
            }
            all.extend(detail::extents(&pairs, from_bytes, size_bytes)?);
        }
    }
}
