//! The facts of a file as Unix has them.

use super::file::File;
use super::file_name;
use super::index;
use super::nature::{self, Nature, Standard};
use super::record::kind;
use crate::files::{FileId, FileKind, Metadata, Result, Timestamp};

/// Seconds from 1601-01-01 to 1970-01-01 UTC.
const EPOCH_SECONDS: i64 = 11_644_473_600;
/// Times are counted in units of 100 ns.
const UNITS_PER_SECOND: i64 = 10_000_000;
const PERMISSION_BITS: u32 = 0o7777;
const WRITE_BITS: u32 = 0o222;

/// Owners and permissions are those of Linux under Windows where it recorded them; the access rules of Windows itself
/// have no like on Unix.
pub(super) fn of(file: &File<'_, '_>, id: FileId) -> Result<Metadata> {
    let standard = Standard::of(file)?;
    let linux = nature::linux_facts(file)?;
    let nature = nature::of(file, &standard)?;
    let kind = nature.kind();
    let (size_bytes, allocated_bytes) = lengths(file, &nature)?;
    let links = if kind == FileKind::Directory { 1 } else { file_name::count(file)? };
    Ok(Metadata {
        id,
        kind,
        permissions: linux.mode.map_or_else(|| permissions(kind, &standard), |mode| mode & PERMISSION_BITS),
        uid: linux.uid.unwrap_or(0),
        gid: linux.gid.unwrap_or(0),
        links,
        size_bytes,
        allocated_bytes,
        accessed: time(standard.accessed),
        modified: time(standard.modified),
        changed: time(standard.changed),
        created: Some(time(standard.created)),
        device: match nature {
            Nature::Device(_, device) => Some(device),
            _ => None,
        },
    })
}

fn lengths(file: &File<'_, '_>, nature: &Nature) -> Result<(u64, u64)> {
    let (kind, name) = match nature {
        Nature::Link(target) => return Ok((target.len() as u64, 0)),
        Nature::Device(..) | Nature::Other(_) => return Ok((0, 0)),
        Nature::Directory => (kind::INDEX_ALLOCATION, index::NAME),
        Nature::Regular | Nature::Packed(_) | Nature::Opaque(_) => (kind::DATA, ""),
    };
    // A directory without blocks is small; a file without a stream is empty.
    let found = file.head(kind, name, |attribute| Ok((attribute.size_bytes(), attribute.taken_bytes())))?;
    Ok(found.unwrap_or_default())
}

fn permissions(kind: FileKind, standard: &Standard) -> u32 {
    match kind {
        // On directories of Windows the read-only flag forbids nothing.
        FileKind::Directory => 0o755,
        FileKind::Symlink => 0o777,
        _ if standard.is_read_only() => 0o644 & !WRITE_BITS,
        _ => 0o644,
    }
}

/// Windows and Linux write times before 1601 as negative numbers.
fn time(stored: u64) -> Timestamp {
    let units = stored.cast_signed();
    let nanoseconds = u32::try_from(units.rem_euclid(UNITS_PER_SECOND) * 100).unwrap_or(0);
    Timestamp { seconds: units.div_euclid(UNITS_PER_SECOND) - EPOCH_SECONDS, nanoseconds }
}

#[cfg(test)]
mod tests {
    use super::time;
    use crate::files::Timestamp;

    #[test]
    fn times_count_from_1601_in_both_directions() {
        let units = |seconds: i64| (seconds * 10_000_000).cast_unsigned();
        assert_eq!(time(0), Timestamp { seconds: -11_644_473_600, nanoseconds: 0 });
        assert_eq!(time(units(11_644_473_600) + 15), Timestamp { seconds: 0, nanoseconds: 1500 });
        assert_eq!(time(u64::MAX), Timestamp { seconds: -11_644_473_601, nanoseconds: 999_999_900 });
        assert_eq!(time(units(11_644_473_600 + (1 << 33))).seconds, 1 << 33);
    }
}
