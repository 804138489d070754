//! A directory of a recovery point as one tar or zip, written while it is sent: bounded memory, whatever it holds.
//!
//! Where the files come from ([`Members`]) is a process that reads an untrusted file system, so [`Order`] checks every name again
//! before it is written: nobody who unpacks an archive of ours can be led out of the directory that they unpack it into. An archive has
//! its end only if everything in it could be read; whoever sends it must not call it whole otherwise.

mod content;
mod order;
mod tar;
mod zip;

use crate::files::{FileId, FileKind, Metadata, escape_name};
use anyhow::{Context as _, Result, ensure};
use content::Content;
use order::Order;
use std::cell::Cell;
use std::io::{self, Write};
use web_api::file::ArchiveFormat;

/// One file, directory or link on its way into an archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its path below the directory that is archived; empty for that itself.
    pub path: Vec<u8>,
    /// What its file system says of it.
    pub metadata: Metadata,
    /// Where a symbolic link leads.
    pub link_target: Option<Vec<u8>>,
}

/// Where the files of an archive come from.
pub trait Members {
    /// The next one, parents before children, the names of a directory in the order of their bytes. What cannot be read is an error.
    fn next(&mut self) -> Result<Option<Member>>;

    /// A piece of the content of a member, exactly as long as wanted.
    fn read(&mut self, id: FileId, offset_bytes: u64, length_bytes: u32) -> Result<Vec<u8>>;
}

/// What an archive is written in.
trait Pack {
    /// Adds a member; its path is the one inside the archive.
    fn add(&mut self, member: &Member, content: &mut Content<'_>) -> Result<()>;

    /// Writes the end.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Writes a directory as an archive; everything in it stands below `top`, and at the archive's root where that is empty.
///
/// An error leaves an archive without an end.
pub fn write(format: ArchiveFormat, top: &[u8], members: &mut dyn Members, to: impl Write) -> Result<()> {
    let is_over = Cell::new(false);
    let sink = Sink { to, is_over: &is_over };
    let mut pack: Box<dyn Pack + '_> = match format {
        ArchiveFormat::Tar => Box::new(tar::Tar::new(sink)),
        ArchiveFormat::Zip => Box::new(zip::Zip::new(sink)),
    };
    if let Err(error) = fill(&mut *pack, top, members) {
        // Libraries write an end also when they are dropped.
        is_over.set(true);
        return Err(error);
    }
    pack.finish()?;
    ensure!(!is_over.get(), "the archive could not be sent");
    Ok(())
}

fn fill(pack: &mut dyn Pack, top: &[u8], members: &mut dyn Members) -> Result<()> {
    let mut order = Order::below(top)?;
    while let Some(mut member) = members.next()? {
        order.check(&member.path, member.metadata.kind == FileKind::Directory)?;
        member.path = match (top.is_empty(), member.path.is_empty()) {
            (true, true) => continue,
            (true, false) => member.path,
            (false, true) => top.to_vec(),
            (false, false) => [top, &member.path].join(&b'/'),
        };
        let mut content = Content::new(members, &member);
        pack.add(&member, &mut content).with_context(|| format!("cannot archive {}", escape_name(&member.path)))?;
    }
    Ok(())
}

/// Passes nothing on after the first error, so that an end that a library still writes goes nowhere.
struct Sink<'o, W> {
    to: W,
    is_over: &'o Cell<bool>,
}

impl<W: Write> Write for Sink<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over.get() {
            return Ok(bytes.len());
        }
        self.to.write(bytes).inspect_err(|_| self.is_over.set(true))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
