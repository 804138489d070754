//! The text form of "what changed": one extent a line, for one or several disks.
//!
//! ```text
//! # comment; blank lines are fine
//! 0 4096                 offset and length in bytes, decimal, when there is one disk
//! sda 1048576 65536      with the disk's name, needed when there are several
//! my disk.img 0 512      names may hold blanks: the last two fields are always the numbers
//! "# odd\n name" 0 512   a name that begins with a quote is a JSON string; needed for names that begin or end with a
//!                        blank, begin with # or ", or hold a line break
//! ```
//! Order does not matter, overlaps are merged and extents are rounded outwards to chunks: reading more is always right.

use super::{Extent, ExtentList, MAX_EXTENTS};
use std::io::{self, BufRead};

/// Longest accepted line; disk names are file names, so this is generous.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// Raw lines that are collected before they are merged for the first time.
const FIRST_MERGE: usize = 64 << 10;

/// One of the disks that a list may speak of.
#[derive(Clone, Copy, Debug)]
pub struct ListedDisk<'a> {
    /// The name a line begins with.
    pub name: &'a str,
    /// Extents must end at or below it.
    pub size_bytes: u64,
}

/// Why a changed list was refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangedListError {
    /// The file could not be read.
    #[error("cannot read the changed list: {0}")]
    Read(#[from] io::Error),
    /// A line is wrong; counted from 1.
    #[error("line {line} of the changed list: {problem}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// More extents than a list may hold even after merging.
    #[error(
        "the changed list has more than {MAX_EXTENTS} separate extents; back up without it, or write larger extents"
    )]
    TooMany,
}

/// What is wrong with a line of a changed list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Not two numbers at the end.
    #[error("expected `OFFSET LENGTH` or `DISK OFFSET LENGTH`, both decimal numbers of bytes, found `{0}`")]
    Malformed(String),
    /// A name that begins with a quote but is no JSON string.
    #[error("the disk name `{0}` begins with a quote, so it must be a JSON string such as \"my disk\"")]
    BadQuotedName(String),
    /// A name that no source has.
    #[error("no disk of this backup is named `{name}`; there are: {known}")]
    UnknownDisk {
        /// As the line has it.
        name: String,
        /// The names that would be right.
        known: String,
    },
    /// No name although there are several disks.
    #[error("the disk's name is missing; with several sources each line is `DISK OFFSET LENGTH`; there are: {0}")]
    DiskNeeded(String),
    /// The extent does not lie on the disk.
    #[error("offset {offset_bytes} + length {length_bytes} lies outside disk `{disk}` of {size_bytes} bytes")]
    OutOfRange {
        /// Name of the disk.
        disk: String,
        /// As the line has it.
        offset_bytes: u64,
        /// As the line has it.
        length_bytes: u64,
        /// Size of the disk.
        size_bytes: u64,
    },
    /// Longer than any sensible line.
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Names and numbers are UTF-8.
    #[error("the line is not UTF-8 text")]
    NotText,
}

/// Reads a list and returns one [`ExtentList`] per disk, in the order of `disks`, rounded outwards to `chunk_bytes`.
///
/// Memory grows with the number of separate extents (16 to 32 bytes each), not with the length of the text.
pub fn parse_changed_list(
    mut text: impl BufRead,
    disks: &[ListedDisk<'_>],
    chunk_bytes: u64,
) -> Result<Vec<ExtentList>, ChangedListError> {
    let mut collectors: Vec<Collector> = disks.iter().map(|_| Collector::default()).collect();
    let mut bytes = Vec::new();
    for line in 1.. {
        let fail = |problem| ChangedListError::Line { line, problem };
        bytes.clear();
        let read = io::Read::take(&mut text, MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        if read as u64 > MAX_LINE_BYTES {
            return Err(fail(LineProblem::TooLong));
        }
        let content = std::str::from_utf8(&bytes).map_err(|_| fail(LineProblem::NotText))?;
        if let Some((disk, extent)) = parse_line(content, disks).map_err(fail)? {
            let rounded = extent.rounded_out(chunk_bytes, disks[disk].size_bytes);
            rounded.map_or(Ok(()), |extent| collectors[disk].add(extent))?;
        }
    }
    collectors.into_iter().map(Collector::finish).collect()
}

/// `None` for blank lines, comments and extents of no bytes.
fn parse_line(line: &str, disks: &[ListedDisk<'_>]) -> Result<Option<(usize, Extent)>, LineProblem> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let malformed = || LineProblem::Malformed(line.to_owned());
    let (rest, length) = split_last_field(line);
    let (name, offset) = split_last_field(rest);
    let length_bytes = parse_number(length).ok_or_else(malformed)?;
    let offset_bytes = parse_number(offset).ok_or_else(malformed)?;
    let disk = find_disk(name, disks)?;
    let ListedDisk { name, size_bytes } = disks[disk];
    match offset_bytes.checked_add(length_bytes) {
        Some(end) if end <= size_bytes => Ok(Extent::new(offset_bytes, length_bytes).map(|extent| (disk, extent))),
        _ => Err(LineProblem::OutOfRange { disk: name.to_owned(), offset_bytes, length_bytes, size_bytes }),
    }
}

/// The text before the last blank-separated field, without blanks at its end, and that field.
fn split_last_field(text: &str) -> (&str, &str) {
    match text.rsplit_once(char::is_whitespace) {
        Some((rest, field)) => (rest.trim_end(), field),
        None => ("", text),
    }
}

/// Only digits: `u64::from_str` would also take a plus sign.
fn parse_number(field: &str) -> Option<u64> {
    field.bytes().all(|b| b.is_ascii_digit()).then(|| field.parse().ok())?
}

fn find_disk(name: &str, disks: &[ListedDisk<'_>]) -> Result<usize, LineProblem> {
    let known = || disks.iter().map(|d| quote_name(d.name)).collect::<Vec<_>>().join(", ");
    let wanted = match name {
        "" if disks.len() == 1 => return Ok(0),
        "" => return Err(LineProblem::DiskNeeded(known())),
        quoted if quoted.starts_with('"') => {
            serde_json::from_str::<String>(quoted).map_err(|_| LineProblem::BadQuotedName(quoted.to_owned()))?
        }
        plain => plain.to_owned(),
    };
    let found = disks.iter().position(|d| d.name == wanted);
    found.ok_or_else(|| LineProblem::UnknownDisk { name: wanted, known: known() })
}

/// A disk name as a line of a changed list needs it: plain when it can be, else a JSON string.
pub fn quote_name(name: &str) -> String {
    let odd = name.is_empty() || name.trim() != name || name.starts_with(['#', '"']) || name.contains(['\n', '\r']);
    if odd { serde_json::Value::from(name).to_string() } else { name.to_owned() }
}

/// Collects extents in any order and merges them each time their number has doubled.
#[derive(Default)]
struct Collector {
    extents: Vec<Extent>,
    merge_at: usize,
}

impl Collector {
    fn add(&mut self, extent: Extent) -> Result<(), ChangedListError> {
        if let Some(last) = self.extents.last_mut()
            && extent.offset_bytes >= last.offset_bytes
            && super::merge_into(last, extent)
        {
            return Ok(());
        }
        self.extents.push(extent);
        if self.extents.len() > self.merge_at.max(FIRST_MERGE) {
            self.extents = Self::merged(std::mem::take(&mut self.extents))?.extents;
            self.merge_at = self.extents.len() * 2;
        }
        Ok(())
    }

    fn finish(self) -> Result<ExtentList, ChangedListError> {
        Self::merged(self.extents)
    }

    fn merged(extents: Vec<Extent>) -> Result<ExtentList, ChangedListError> {
        let list = ExtentList::from_unsorted(extents);
        if list.len() > MAX_EXTENTS { Err(ChangedListError::TooMany) } else { Ok(list) }
    }
}
