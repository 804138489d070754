//! A disk in spans, in ascending order: the chunks that are wanted and the holes between them.

use super::Window;
use repo_format::Result;
use repo_format::manifest::Disk;
use repo_format::reader::{Reader, Wanted};
use repo_format::tree::TreeWalk;
use std::iter::Peekable;

/// About as much as a thread restores at once.
pub const SPAN_BYTES: u64 = 8 << 20;

/// Zeroes, in bytes of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    pub offset_bytes: u64,
    pub length_bytes: u64,
}

/// A part of the target and what belongs there.
pub struct Span {
    pub wanted: Vec<Wanted>,
    pub holes: Vec<Hole>,
    pub length_bytes: u64,
}

/// Iterator over the spans of a window of a disk. Ends after an error.
pub struct Spans<'r> {
    walk: Peekable<TreeWalk<'r>>,
    disk: &'r Disk,
    chunk_bytes: u32,
    window: Window,
    /// In bytes of the disk: everything before was given out.
    at: u64,
}

impl<'r> Spans<'r> {
    pub fn new(reader: &'r Reader<'r>, disk: &'r Disk, chunk_bytes: u32, window: Window) -> Self {
        let chunk = u64::from(chunk_bytes);
        let end = window.offset_bytes + window.length_bytes;
        let positions = window.offset_bytes / chunk..end.div_ceil(chunk);
        let walk = TreeWalk::new(disk.tree(chunk_bytes), reader, positions).peekable();
        Self { walk, disk, chunk_bytes, window, at: window.offset_bytes }
    }

    fn end(&self) -> u64 {
        self.window.offset_bytes + self.window.length_bytes
    }

    fn fill(&mut self) -> Result<Span> {
        let first = self.at;
        let mut span = Span { wanted: Vec::new(), holes: Vec::new(), length_bytes: 0 };
        let mut data_bytes = 0;
        while self.at < self.end() && data_bytes < SPAN_BYTES {
            let Some(entry) = self.walk.next() else {
                self.hole_until(self.end(), &mut span);
                break;
            };
            let (position, chunk) = entry?;
            let start = position * u64::from(self.chunk_bytes);
            let length = self.disk.chunk_length(self.chunk_bytes, position);
            self.hole_until(start, &mut span);
            span.wanted.push(Wanted { position, chunk, length });
            self.at = (start + u64::from(length)).min(self.end());
            data_bytes += u64::from(length);
        }
        span.length_bytes = self.at - first;
        Ok(span)
    }

    fn hole_until(&mut self, end: u64, span: &mut Span) {
        if end > self.at {
            span.holes.push(Hole { offset_bytes: self.at - self.window.offset_bytes, length_bytes: end - self.at });
            self.at = end;
        }
    }
}

impl Iterator for Spans<'_> {
    type Item = Result<Span>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end() {
            return None;
        }
        let span = self.fill();
        if span.is_err() {
            self.at = self.end();
        }
        Some(span)
    }
}
