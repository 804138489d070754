//! Writes the content of a regular file, and compares it with another's; holes stay holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use xattr::FileExt as _;

use super::Restorer;
use crate::files::{FileContent, FilesError, Result};
use crate::lengths::in_memory;

const PIECE_BYTES: u64 = 1 << 20;

impl Restorer<'_> {
    pub(super) fn write_content(&mut self, content: &dyn FileContent, file: &File, path: &str) -> Result<()> {
        let failed = |source| FilesError::Target { action: "write", path: Path::new(path).to_owned(), source };
        // The size first: holes need no more than that, and a file too large for the target fails at once.
        file.set_len(content.size_bytes()).map_err(failed)?;
        let mut buf = Vec::new();
        for extent in content.data_extents() {
            let end = extent.offset_bytes + extent.length_bytes;
            let mut at = extent.offset_bytes;
            while at < end {
                let length = PIECE_BYTES.min(end - at);
                buf.resize(in_memory(length), 0);
                content.read_exact_at(&mut buf, at)?;
                file.write_all_at(&buf, at).map_err(failed)?;
                at += length;
                self.report.counts().bytes_written += length;
                self.report.progress(path)?;
            }
        }
        Ok(())
    }
}

/// Whether two regular files have the same content, owner, mode, time and attributes.
pub(super) fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (facts, others) = (one.metadata()?, other.metadata()?);
    let told = |facts: &std::fs::Metadata| {
        (facts.len(), facts.mode(), facts.uid(), facts.gid(), facts.mtime(), facts.mtime_nsec())
    };
    if told(&facts) != told(&others) || attributes(one)? != attributes(other)? {
        return Ok(false);
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < facts.len() {
        let length = in_memory(PIECE_BYTES.min(facts.len() - at));
        left.resize(length, 0);
        right.resize(length, 0);
        one.read_exact_at(&mut left, at)?;
        other.read_exact_at(&mut right, at)?;
        if left != right {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

fn attributes(of: &File) -> io::Result<Vec<(std::ffi::OsString, Option<Vec<u8>>)>> {
    let names = match of.list_xattr() {
        Ok(names) => names,
        // A file system without any.
        Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = names.map(|name| of.get_xattr(&name).map(|value| (name, value))).collect::<io::Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}
