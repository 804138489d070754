//! A directory of a point as an archive on its way to the server: the confined process walks and reads, the archive is written here, and
//! each piece is sent when the server has passed on the one before.

use crate::archive::{self, Member, Members};
use crate::daemon::Link;
use crate::files::confined::{Confined, Failed};
use crate::files::{FileId, split_path, unescape_name};
use anyhow::{Context as _, Result, anyhow};
use std::cell::Cell;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use web_api::file::ArchiveFormat;
use web_api::id::QuestionId;

/// So much is sent at once. Small enough for a slow line to take in time.
const PIECE_BYTES: usize = 256 << 10;
/// What compresses well takes long to fill a piece; an empty one says that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Brings pieces to whoever asked.
pub(super) struct Carrier<'l> {
    link: &'l Link,
    question: QuestionId,
    last: Cell<Instant>,
}

impl<'l> Carrier<'l> {
    pub(super) fn new(link: &'l Link, question: QuestionId) -> Self {
        Self { link, question, last: Cell::new(Instant::now()) }
    }

    fn bring(&self, piece: Vec<u8>) -> io::Result<()> {
        let brought = self.link.bring_piece(self.question, piece);
        self.last.set(Instant::now());
        brought.map_err(|error| io::Error::other(format!("nobody takes the archive any more: {error:?}")))
    }

    fn is_alive(&self) -> io::Result<()> {
        if self.last.get().elapsed() < SIGN_OF_LIFE { Ok(()) } else { self.bring(Vec::new()) }
    }
}

/// Sends the archive of a directory but for the words that it is whole.
pub(super) fn send(
    files: &mut Confined<'_>,
    (path, format): (&str, ArchiveFormat),
    carrier: &Carrier<'_>,
) -> Result<(), Failed> {
    files.walk(path)?;
    let name = |path: &str| Some(split_path(&unescape_name(path)?).last().map_or_else(Vec::new, |name| name.to_vec()));
    let top = name(path).context("a path that is escaped in another way").map_err(Failed::Broken)?;
    let mut pieces = Pieces { carrier, piece: Vec::with_capacity(PIECE_BYTES) };
    archive::write(format, &top, &mut Walked { files, carrier }, &mut pieces).map_err(Failed::Broken)?;
    pieces.send().map_err(|error| Failed::Broken(error.into()))
}

/// Collects what is written until it is a piece.
struct Pieces<'c> {
    carrier: &'c Carrier<'c>,
    piece: Vec<u8>,
}

impl Pieces<'_> {
    fn send(&mut self) -> io::Result<()> {
        self.carrier.bring(std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES)))
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE_BYTES {
            self.send()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the confined process walks through.
struct Walked<'w, 'd> {
    files: &'w mut Confined<'d>,
    carrier: &'w Carrier<'w>,
}

impl Members for Walked<'_, '_> {
    fn next(&mut self) -> Result<Option<Member>> {
        self.carrier.is_alive()?;
        let Some(found) = self.files.step().map_err(told)? else { return Ok(None) };
        let bytes = |text: &str| unescape_name(text).context("a name is escaped in another way");
        let mut metadata = found.metadata;
        // Said by a process that reads an untrusted file system.
        metadata.permissions &= 0o7777;
        metadata.modified.nanoseconds = metadata.modified.nanoseconds.min(999_999_999);
        let link_target = found.link_target.as_deref().map(bytes).transpose()?;
        Ok(Some(Member { path: bytes(&found.path)?, metadata, link_target }))
    }

    fn read(&mut self, id: FileId, offset_bytes: u64, length_bytes: u32) -> Result<Vec<u8>> {
        self.carrier.is_alive()?;
        self.files.read_visited(id, offset_bytes, length_bytes).map_err(told)
    }
}

fn told(failed: Failed) -> anyhow::Error {
    match failed {
        Failed::Refused(_, what) => anyhow!(what),
        Failed::Broken(error) => error,
    }
}
