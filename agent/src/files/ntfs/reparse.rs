//! Reparse points: files that Windows, or Linux under Windows, takes for something else than their content.
//!
//! Links and special files are what they stand for. Files whose content a filter driver would have to produce are
//! named, so that nobody takes the zeros in their place for it.

use super::names;
use super::wof::{self, Packing};
use crate::files::fields::Fields;
use crate::files::{FileKind, FilesError, Result};

const TAG_MOUNT_POINT: u32 = 0xA000_0003;
const TAG_SYMLINK: u32 = 0xA000_000C;
const TAG_LX_SYMLINK: u32 = 0xA000_001D;
const TAG_AF_UNIX: u32 = 0x8000_0023;
const TAG_LX_FIFO: u32 = 0x8000_0024;
const TAG_LX_CHARACTER: u32 = 0x8000_0025;
const TAG_LX_BLOCK: u32 = 0x8000_0026;
/// Cloud placeholders differ in these four bits.
const TAG_CLOUD: u32 = 0x9000_001A;
const CLOUD_MASK: u32 = 0x0000_F000;
const TAG_WOF: u32 = 0x8000_0017;
const DATA_AT: usize = 8;
const FLAG_RELATIVE: u32 = 1;
/// The only version there is.
const LX_SYMLINK_VERSION: u32 = 2;
/// What Windows allows.
pub(super) const MAX_BYTES: u64 = 16 << 10;

/// What a reparse point says of its file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reparse {
    /// A symbolic link, a junction or a volume mounted on a directory.
    Link(Vec<u8>),
    /// A device, pipe or socket.
    Special(FileKind),
    /// A file under system compression.
    Packed(Packing),
    /// The content is elsewhere or in a form this reader does not know: its name.
    Opaque(String),
}

/// Reads the value of a reparse point.
pub(super) fn parse(value: &[u8]) -> Result<Reparse> {
    let f = Fields::new(value, "reparse point");
    let tag = f.le32(0)?;
    let data = Fields::new(f.slice(DATA_AT, f.length16(4)?)?, "reparse point");
    Ok(match tag {
        TAG_SYMLINK => Reparse::Link(link(&data, 12, data.le32(8)? & FLAG_RELATIVE != 0)?),
        TAG_MOUNT_POINT => Reparse::Link(link(&data, 8, false)?),
        TAG_LX_SYMLINK => Reparse::Link(lx_link(&data, f.length16(4)?)?),
        TAG_AF_UNIX => Reparse::Special(FileKind::Socket),
        TAG_LX_FIFO => Reparse::Special(FileKind::Fifo),
        TAG_LX_CHARACTER => Reparse::Special(FileKind::CharDevice),
        TAG_LX_BLOCK => Reparse::Special(FileKind::BlockDevice),
        TAG_WOF => match wof::packing(&data)? {
            Some(packing) => Reparse::Packed(packing),
            None => Reparse::Opaque(describe(tag)),
        },
        _ => Reparse::Opaque(describe(tag)),
    })
}

/// The name that is followed, not the one that is shown to people. A relative one becomes a path with slashes; an
/// absolute one stays as Windows writes it but for the prefix of its kernel.
fn link(data: &Fields<'_>, names_at: usize, is_relative: bool) -> Result<Vec<u8>> {
    let target = data.slice(names_at.saturating_add(data.length16(0)?), data.length16(2)?)?;
    let mut target = names::to_bytes(target);
    if is_relative {
        for byte in &mut target {
            if *byte == b'\\' {
                *byte = b'/';
            }
        }
    } else if let Some(rest) = target.strip_prefix(br"\??\") {
        target = rest.to_vec();
    }
    checked(target)
}

fn lx_link(data: &Fields<'_>, length: usize) -> Result<Vec<u8>> {
    if data.le32(0)? != LX_SYMLINK_VERSION {
        return Err(super::unsupported(format!("symbolic links of version {}", data.le32(0)?)));
    }
    checked(data.slice(4, length.saturating_sub(4))?.to_vec())
}

fn checked(target: Vec<u8>) -> Result<Vec<u8>> {
    if target.is_empty() || target.contains(&0) {
        return Err(FilesError::corrupt("a symbolic link has a target that no link can have"));
    }
    Ok(target)
}

fn describe(tag: u32) -> String {
    let known = match tag {
        TAG_WOF => "system compression (WOF) of an unknown kind",
        0x8000_0008 => "files out of a WIM archive",
        0x8000_0013 => "deduplication",
        0x8000_0007 => "single instance storage",
        0xC000_0004 | 0x8000_0006 => "hierarchical storage, which keeps the content elsewhere",
        0x8000_0021 | 0x8000_0015 => "placeholders for files of a cloud",
        0x8000_001E => "placeholders of a file server that syncs with a cloud",
        0x8000_001B => "an alias of an application",
        0x8000_0014 => "special files of an NFS server",
        0x9000_001C => "projected files",
        0x8000_0018 | 0x9000_1018 => "files of a container's layer",
        _ if tag & !CLOUD_MASK == TAG_CLOUD => "placeholders for files of a cloud",
        _ => return format!("the unknown reparse point {tag:#010x}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Reparse, parse};
    use crate::files::FileKind;

    fn point(tag: u32, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&tag.to_le_bytes()[..], &length.to_le_bytes(), &[0, 0], data].concat()
    }

    /// The shown name comes first in the buffer, as some writers have it.
    fn names(flags: Option<u32>, followed: &str, shown: &str) -> Vec<u8> {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let (followed, shown) = (utf16(followed), utf16(shown));
        let lengths = [shown.len(), followed.len(), 0, shown.len()].map(|n| u16::try_from(n).unwrap().to_le_bytes());
        let flags = flags.map(|flags| flags.to_le_bytes().to_vec()).unwrap_or_default();
        [&lengths.concat()[..], &flags, &shown, &followed].concat()
    }

    #[test]
    fn links_show_the_name_that_is_followed() {
        let cases = [
            (0xA000_000C, names(Some(1), r"..\a\b", "shown"), "../a/b"),
            (0xA000_000C, names(Some(0), r"\??\C:\a b", "shown"), r"C:\a b"),
            (0xA000_0003, names(None, r"\??\Volume{1}\", ""), r"Volume{1}\"),
            (0xA000_001D, [&2_u32.to_le_bytes()[..], b"/usr/\xff"].concat(), "/usr/\u{fffd}"),
        ];
        for (tag, data, expected) in cases {
            let Reparse::Link(target) = parse(&point(tag, &data)).unwrap() else { panic!("{expected} is no link") };
            assert_eq!(String::from_utf8_lossy(&target), expected);
        }
    }

    #[test]
    fn special_files_and_opaque_ones_are_told_apart() {
        assert_eq!(parse(&point(0x8000_0024, &[])).unwrap(), Reparse::Special(FileKind::Fifo));
        for (tag, name) in [
            (0x8000_0013, "deduplication"),
            (0x9000_701A, "cloud"),
            (0x9000_001A, "cloud"),
            (0x1234_5678, "0x12345678"),
        ] {
            let Reparse::Opaque(text) = parse(&point(tag, &[1])).unwrap() else { panic!("{name} is not opaque") };
            assert!(text.contains(name), "{text}");
        }
        let wof = |numbers: [u32; 4]| parse(&point(0x8000_0017, &numbers.map(u32::to_le_bytes).concat())).unwrap();
        assert!(matches!(wof([1, 2, 1, 3]), Reparse::Packed(_)));
        for odd in [[2, 2, 1, 3], [1, 1, 1, 3], [1, 2, 2, 3], [1, 2, 1, 4]] {
            assert!(matches!(wof(odd), Reparse::Opaque(_)), "{odd:?}");
        }
    }

    #[test]
    fn impossible_links_are_refused() {
        let cut = names(Some(1), "abc", "abc");
        for value in [
            point(0xA000_000C, &cut[..cut.len() - 1]),
            point(0xA000_000C, &names(Some(1), "", "x")),
            point(0xA000_000C, &names(Some(1), "a\0b", "x")),
            point(0xA000_001D, &2_u32.to_le_bytes()),
            point(0xA000_001D, &3_u32.to_le_bytes()),
            vec![0x0C, 0, 0, 0xA0, 9, 0, 0, 0],
        ] {
            parse(&value).unwrap_err();
        }
    }
}
