//! Zip for programs that know nothing else: no owners, no names of one file as links, times to the second.
//!
//! A name in a zip is UTF-8 and a backslash in it leads some programs into another directory, so bytes that are no UTF-8, control
//! characters and backslashes stand as `%NN` in it, and the archive's comment says so. Device files, pipes and sockets are left out.

use super::{Content, Member, Pack};
use crate::files::{FileKind, Timestamp, escape_name};
use anyhow::{Context as _, Result, ensure};
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::io::Write;
use zip::write::{FullFileOptions, SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

/// What a zip holds is listed at its end and remembered until then.
const MAX_MEMBERS: u64 = 200_000;
/// From here a length gets a wide field. Below four gibibytes, because compressing can make a file longer.
const LARGE_BYTES: u64 = 4_000_000_000;
/// Somebody waits for it.
const LEVEL: i64 = 1;
const CHANGED: &str = "Bytes of names that are no UTF-8, control characters and backslashes stand as %NN.";

pub(super) struct Zip<W: Write> {
    writer: ZipWriter<StreamWriter<W>>,
    members: u64,
    is_any_name_changed: bool,
}

impl<W: Write> Zip<W> {
    pub(super) fn new(to: W) -> Self {
        Self { writer: ZipWriter::new_stream(to), members: 0, is_any_name_changed: false }
    }
}

impl<W: Write> Pack for Zip<W> {
    fn add(&mut self, member: &Member, content: &mut Content<'_>) -> Result<()> {
        let kind = member.metadata.kind;
        if !matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink) {
            return Ok(());
        }
        self.members += 1;
        ensure!(self.members <= MAX_MEMBERS, "a zip holds at most {MAX_MEMBERS} files here; ask for a tar");
        let name = name(&member.path);
        self.is_any_name_changed |= name.as_bytes() != member.path;
        let options = options(member)?;
        match kind {
            FileKind::Directory => self.writer.add_directory(name, options)?,
            FileKind::Symlink => {
                let target = member.link_target.clone().unwrap_or_default();
                let shown = escape_name(&target);
                let target = String::from_utf8(target).ok();
                let target = target.with_context(|| format!("a zip cannot hold a link to {shown}; ask for a tar"))?;
                self.writer.add_symlink(name, target, options)?;
            }
            _ => {
                self.writer.start_file(name, options)?;
                std::io::copy(content, &mut self.writer)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.is_any_name_changed {
            self.writer.set_comment(CHANGED)?;
        }
        self.writer.finish()?;
        Ok(())
    }
}

fn options(member: &Member) -> Result<FullFileOptions<'static, 'static>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL))
        .unix_permissions(member.metadata.permissions)
        .last_modified_time(dos_time(member.metadata.modified))
        .large_file(member.metadata.size_bytes >= LARGE_BYTES);
    // The field that knows UTC; it ends in 2038 as a signed number.
    Ok(match i32::try_from(member.metadata.modified.seconds) {
        Ok(seconds) => options.with_extended_timestamp(Some(seconds.cast_unsigned()), None, None)?,
        Err(_) => options.into_full_options(),
    })
}

/// In UTC, because nobody knows the time zone of whoever unpacks it; 1980 for what is earlier.
fn dos_time(time: Timestamp) -> DateTime {
    let utc = jiff::Timestamp::from_second(time.seconds).map(|at| at.to_zoned(TimeZone::UTC).datetime());
    let part = |part: i8| u8::try_from(part).unwrap_or(0);
    utc.ok()
        .and_then(|at| {
            let year = u16::try_from(at.year()).ok()?;
            let time = (part(at.hour()), part(at.minute()), part(at.second()));
            DateTime::from_date_and_time(year, part(at.month()), part(at.day()), time.0, time.1, time.2).ok()
        })
        .unwrap_or_default()
}

/// The path as a zip can hold it. No two paths become the same: a percent sign that could be taken for ours is one of them.
fn name(path: &[u8]) -> String {
    let mut name = String::with_capacity(path.len());
    let put = |name: &mut String, byte: u8| {
        // Writing to a String cannot fail.
        let _ = write!(name, "%{byte:02X}");
    };
    let is_hex = |at: usize| path.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut at = 0;
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => put(&mut name, b'\\'),
                '%' if is_hex(at + 1) && is_hex(at + 2) => put(&mut name, b'%'),
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| put(&mut name, byte)),
                c => name.push(c),
            }
            at += character.len_utf8();
        }
        chunk.invalid().iter().for_each(|byte| put(&mut name, *byte));
        at += chunk.invalid().len();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_changed_where_they_must_and_never_into_each_other() {
        assert_eq!(name("a/été 100%.txt".as_bytes()), "a/été 100%.txt");
        assert_eq!(name(b"a\\..\\b\n\xff"), "a%5C..%5Cb%0A%FF");
        assert_eq!(name(b"a%5C..%5Cb"), "a%255C..%255Cb");
        assert_eq!(name(b"%4\\"), "%4%5C");
    }

    #[test]
    fn times_that_a_zip_does_not_know_become_its_first() {
        let at = |seconds| dos_time(Timestamp { seconds, nanoseconds: 0 });
        assert_eq!(at(-1), DateTime::default());
        assert_eq!((at(1_000_000_000).year(), at(1_000_000_000).hour()), (2001, 1));
        assert_eq!(at(i64::MAX), DateTime::default());
    }
}
