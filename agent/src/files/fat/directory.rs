//! Entries of a directory: 32 bytes each, the long name of a file in those before its own.

use super::content::Content;
use super::names::{self, Long};
use crate::files::{DirEntry, FileContent as _, FileId, FilesError, Result, Timestamp, escape_name};
use crate::lengths::in_memory;

pub(super) const ENTRY_BYTES: usize = 32;

const READ_ONLY: u8 = 0x01;
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// All of read-only, hidden, system and label together.
const LONG_NAME: u8 = 0x0f;
const LAST: u8 = 0x00;
const DELETED: u8 = 0xe5;

/// What an entry says of its file.
pub(super) struct Entry {
    attributes: u8,
    pub(super) first_cluster: u32,
    pub(super) size_bytes: u32,
    pub(super) modified: Timestamp,
    pub(super) accessed: Timestamp,
    pub(super) created: Option<Timestamp>,
}

impl Entry {
    pub(super) fn of(bytes: &[u8; ENTRY_BYTES], is_wide: bool) -> Self {
        let le16 = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let high = if is_wide { u32::from(le16(20)) << 16 } else { 0 };
        let created = time(le16(16), le16(14));
        Self {
            attributes: bytes[11],
            first_cluster: high | u32::from(le16(26)),
            size_bytes: u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]),
            modified: time(le16(24), le16(22)).unwrap_or_default(),
            accessed: time(le16(18), 0).unwrap_or_default(),
            created: created.map(|created| Timestamp {
                seconds: created.seconds + i64::from(bytes[13] / 100),
                nanoseconds: u32::from(bytes[13] % 100) * 10_000_000,
            }),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.attributes & DIRECTORY != 0
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.attributes & READ_ONLY != 0
    }
}

/// All entries but `.`, `..` and the label.
pub(super) fn read(directory: &Content<'_>) -> Result<Vec<DirEntry>> {
    let mut bytes = vec![0; in_memory(directory.size_bytes())];
    directory.read_exact_at(&mut bytes, 0)?;
    let (mut entries, mut long) = (Vec::new(), Long::default());
    for (number, entry) in bytes.chunks_exact(ENTRY_BYTES).enumerate() {
        let Some(entry) = entry.first_chunk::<ENTRY_BYTES>() else { break };
        match (entry[0], entry[11] & 0x3f) {
            (LAST, _) => break,
            (DELETED, _) => long = Long::default(),
            (_, LONG_NAME) => long.take(entry),
            (_, attributes) => {
                let name = std::mem::take(&mut long).name(entry).unwrap_or_else(|| names::short(entry));
                let is_file = attributes & LABEL == 0 && name != b"." && name != b"..";
                if is_file {
                    check(&name)?;
                    let (place, _) = directory.place_of((number * ENTRY_BYTES) as u64)?;
                    entries.push(DirEntry { name, id: FileId(place / ENTRY_BYTES as u64) });
                }
            }
        }
    }
    Ok(entries)
}

fn check(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(FilesError::corrupt(format!("{} is a name that no file can have", escape_name(name))));
    }
    Ok(())
}

/// A date with a time of two seconds' precision, as if it were UTC.
fn time(date: u16, time: u16) -> Option<Timestamp> {
    let part = |value: u16| i8::try_from(value).ok();
    let year = i16::try_from(1980 + (date >> 9)).ok()?;
    let day = jiff::civil::Date::new(year, part(date >> 5 & 0xf)?, part(date & 0x1f)?).ok()?;
    let clock = jiff::civil::Time::new(part(time >> 11)?, part(time >> 5 & 0x3f)?, part((time & 0x1f) * 2)?, 0).ok()?;
    let at = day.to_datetime(clock).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp { seconds: at.timestamp().as_second(), nanoseconds: 0 })
}
