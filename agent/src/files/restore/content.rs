//! Writes the content of a regular file; holes stay holes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

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
