//! The content of one member as a stream that has exactly the length that was announced.

use super::{Member, Members};
use crate::files::{FileId, FileKind};
use std::io::{self, Read};

/// So much is fetched at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The content of a member; empty for what is no regular file.
pub(super) struct Content<'m> {
    members: &'m mut dyn Members,
    id: FileId,
    size_bytes: u64,
    fetched_bytes: u64,
    piece: Vec<u8>,
    taken: usize,
}

impl<'m> Content<'m> {
    pub(super) fn new(members: &'m mut dyn Members, of: &Member) -> Self {
        let size_bytes = if of.metadata.kind == FileKind::Regular { of.metadata.size_bytes } else { 0 };
        Self { members, id: of.metadata.id, size_bytes, fetched_bytes: 0, piece: Vec::new(), taken: 0 }
    }

    fn fetch(&mut self) -> io::Result<()> {
        let length = PIECE_BYTES.min(self.size_bytes - self.fetched_bytes);
        let length_bytes = u32::try_from(length).map_err(io::Error::other)?;
        let piece = self.members.read(self.id, self.fetched_bytes, length_bytes);
        self.piece = piece.map_err(|error| io::Error::other(format!("{error:#}")))?;
        if self.piece.len() as u64 != length {
            return Err(io::Error::other("a piece of the file has another length than wanted"));
        }
        self.fetched_bytes += length;
        self.taken = 0;
        Ok(())
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() && self.fetched_bytes < self.size_bytes {
            self.fetch()?;
        }
        let length = buffer.len().min(self.piece.len() - self.taken);
        buffer[..length].copy_from_slice(&self.piece[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}
