//! What a file is: NTFS itself knows files and directories, everything else is said in one of three ways.
//!
//! Reparse points are the way of Windows and of Linux under it. The older way, of Interix and by default of ntfs-3g,
//! is a file with the system attribute and a certain content.

use super::extended::{self, LinuxFacts};
use super::file::File;
use super::names;
use super::record::kind;
use super::reparse::{self, Reparse};
use super::wof::Packing;
use crate::files::fields::Fields;
use crate::files::{DeviceNumber, FileKind, FilesError, Result};

const FLAG_READ_ONLY: u32 = 0x1;
const FLAG_HIDDEN: u32 = 0x2;
const FLAG_SYSTEM: u32 = 0x4;
const FLAG_ENCRYPTED: u32 = 0x4000;
const INTERIX_LINK: &[u8; 8] = b"IntxLNK\x01";
const INTERIX_CHARACTER: &[u8; 8] = b"IntxCHR\0";
const INTERIX_BLOCK: &[u8; 8] = b"IntxBLK\0";
/// The kernel's `PATH_MAX`, in UTF-16.
const MAX_INTERIX_BYTES: u64 = 8 + 2 * 4096;

/// What a file is, with what only that kind of file has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// A directory.
    Directory,
    /// A file with content.
    Regular,
    /// A file with content under system compression.
    Packed(Packing),
    /// A file whose content is not what its streams hold: in which way.
    Opaque(String),
    /// A link with its target.
    Link(Vec<u8>),
    /// A device.
    Device(FileKind, DeviceNumber),
    /// A pipe or socket.
    Other(FileKind),
}

impl Nature {
    pub(super) fn kind(&self) -> FileKind {
        match self {
            Self::Directory => FileKind::Directory,
            Self::Regular | Self::Packed(_) | Self::Opaque(_) => FileKind::Regular,
            Self::Link(_) => FileKind::Symlink,
            Self::Device(kind, _) | Self::Other(kind) => *kind,
        }
    }
}

/// The fixed-length facts every file has.
pub(super) struct Standard {
    pub(super) created: u64,
    pub(super) modified: u64,
    pub(super) changed: u64,
    pub(super) accessed: u64,
    flags: u32,
}

impl Standard {
    pub(super) fn of(file: &File<'_, '_>) -> Result<Self> {
        let value = file.small(kind::STANDARD_INFORMATION, "", 1024, "standard information of a file")?;
        let value = value.ok_or_else(|| file.damaged("has no standard information"))?;
        let f = Fields::new(&value, "standard information");
        Ok(Self {
            created: f.le64(0)?,
            modified: f.le64(8)?,
            changed: f.le64(0x10)?,
            accessed: f.le64(0x18)?,
            flags: f.le32(0x20)?,
        })
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.flags & FLAG_READ_ONLY != 0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPTED != 0
    }

    fn may_be_special(&self) -> bool {
        self.flags & FLAG_SYSTEM != 0
    }

    /// Empty system files of Windows are hidden or read-only, those that stand for pipes and sockets are neither.
    fn may_be_pipe(&self) -> bool {
        self.flags & (FLAG_HIDDEN | FLAG_READ_ONLY) == 0
    }
}

/// Finds out what `file` is.
pub(super) fn of(file: &File<'_, '_>, standard: &Standard) -> Result<Nature> {
    if let Some(value) = file.small(kind::REPARSE_POINT, "", reparse::MAX_BYTES, "reparse point of a file")? {
        return Ok(match reparse::parse(&value)? {
            Reparse::Link(target) => Nature::Link(target),
            Reparse::Special(kind @ (FileKind::CharDevice | FileKind::BlockDevice)) => {
                let device = linux_facts(file)?.device.ok_or_else(|| file.damaged("is a device without its number"))?;
                Nature::Device(kind, device)
            }
            Reparse::Special(kind) => Nature::Other(kind),
            // Directories with such points have their names themselves, those of a cloud among them.
            Reparse::Opaque(_) | Reparse::Packed(_) if file.record.is_directory => Nature::Directory,
            Reparse::Packed(packing) => Nature::Packed(packing),
            Reparse::Opaque(how) => Nature::Opaque(how),
        });
    }
    if file.record.is_directory {
        return Ok(Nature::Directory);
    }
    if standard.may_be_special() { interix(file, standard) } else { Ok(Nature::Regular) }
}

fn interix(file: &File<'_, '_>, standard: &Standard) -> Result<Nature> {
    let size_bytes = file.head(kind::DATA, "", |data| Ok((data.size_bytes(), data.is_encrypted())))?;
    match size_bytes {
        Some((0..=MAX_INTERIX_BYTES, false)) => {}
        _ => return Ok(Nature::Regular),
    }
    let content = file.small(kind::DATA, "", MAX_INTERIX_BYTES, "content of a special file")?.unwrap_or_default();
    if content.is_empty() && standard.may_be_pipe() {
        return Ok(Nature::Other(FileKind::Fifo));
    }
    if content == [0] && standard.may_be_pipe() {
        return Ok(Nature::Other(FileKind::Socket));
    }
    let Some((magic, rest)) = content.split_first_chunk::<8>() else { return Ok(Nature::Regular) };
    Ok(match magic {
        INTERIX_LINK if !rest.is_empty() => Nature::Link(interix_target(file, rest)?),
        INTERIX_CHARACTER => Nature::Device(FileKind::CharDevice, interix_device(rest)?),
        INTERIX_BLOCK => Nature::Device(FileKind::BlockDevice, interix_device(rest)?),
        _ => Nature::Regular,
    })
}

fn interix_target(file: &File<'_, '_>, utf16: &[u8]) -> Result<Vec<u8>> {
    let target = names::to_bytes(utf16);
    // Some writers end the text with a zero.
    let target = target.strip_suffix(&[0]).unwrap_or(&target);
    if target.is_empty() || target.contains(&0) || !utf16.len().is_multiple_of(2) {
        return Err(file.damaged("is a symbolic link with a target that no link can have"));
    }
    Ok(target.to_vec())
}

fn interix_device(numbers: &[u8]) -> Result<DeviceNumber> {
    let f = Fields::new(numbers, "device number");
    let number = |at| {
        u32::try_from(f.le64(at)?).map_err(|_| FilesError::corrupt("a device has a number that no device can have"))
    };
    Ok(DeviceNumber { major: number(0)?, minor: number(8)? })
}

/// What the extended attributes of a file say of it; most files have none.
pub(super) fn linux_facts(file: &File<'_, '_>) -> Result<LinuxFacts> {
    extended::linux_facts(&extended::read(file)?)
}
