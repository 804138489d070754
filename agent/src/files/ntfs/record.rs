//! File records and the attributes in them.

use super::fixups;
use super::names;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const MAGIC: &[u8; 4] = b"FILE";
const FLAG_IN_USE: u16 = 1;
const FLAG_DIRECTORY: u16 = 2;
/// Records whose update sequence starts here or later hold their own number.
const WITH_NUMBER_HEAD_BYTES: usize = 0x30;
const END_OF_ATTRIBUTES: u32 = 0xFFFF_FFFF;
const COMPRESSION_MASK: u16 = 0x00FF;
const FLAG_ENCRYPTED: u16 = 0x4000;
const FLAG_SPARSE: u16 = 0x8000;
/// Heads that are this long hold one length more.
const HEAD_WITH_HOLES_BYTES: usize = 0x48;

/// Kinds of attributes this reader looks at.
pub(super) mod kind {
    pub(in super::super) const STANDARD_INFORMATION: u32 = 0x10;
    pub(in super::super) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(in super::super) const FILE_NAME: u32 = 0x30;
    pub(in super::super) const VOLUME_INFORMATION: u32 = 0x70;
    pub(in super::super) const DATA: u32 = 0x80;
    pub(in super::super) const INDEX_ROOT: u32 = 0x90;
    pub(in super::super) const INDEX_ALLOCATION: u32 = 0xA0;
    pub(in super::super) const BITMAP: u32 = 0xB0;
    pub(in super::super) const REPARSE_POINT: u32 = 0xC0;
    pub(in super::super) const EXTENDED_ATTRIBUTES: u32 = 0xE0;
}

/// How records name each other: by number, and by how often that number has been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    pub(super) number: u64,
    pub(super) sequence: u16,
}

impl Reference {
    /// All zeros, which no record can have: even the first one was used once.
    pub(super) const NONE: Self = Self { number: 0, sequence: 0 };

    pub(super) fn parse(f: &Fields<'_>, at: usize) -> Result<Self> {
        let number = u64::from(f.le32(at)?) | u64::from(f.le16(at + 4)?) << 32;
        Ok(Self { number, sequence: f.le16(at + 6)? })
    }
}

/// One file record with its update sequence checked and undone.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) reference: Reference,
    /// The record this one continues; [`Reference::NONE`] for one that stands for a file.
    pub(super) base: Reference,
    pub(super) is_directory: bool,
    bytes: Vec<u8>,
    attributes_at: usize,
    used_bytes: usize,
}

impl Record {
    /// Takes the raw bytes of record `number`, which must be in use.
    pub(super) fn parse(mut bytes: Vec<u8>, number: u64) -> Result<Self> {
        let damaged = |how: &str| FilesError::corrupt(format!("file record {number} {how}"));
        if bytes.starts_with(b"BAAD") {
            return Err(damaged("was found torn by the file system"));
        }
        fixups::apply(&mut bytes, MAGIC, &format!("file record {number}"))?;
        let f = Fields::new(&bytes, "file record");
        let flags = f.le16(0x16)?;
        if flags & FLAG_IN_USE == 0 {
            return Err(damaged("is not in use"));
        }
        if f.length16(4)? >= WITH_NUMBER_HEAD_BYTES {
            let own = u64::from(f.le32(0x2C)?);
            // Zero in records that were made before numbers were kept.
            if own != 0 && own != number & 0xFFFF_FFFF {
                return Err(damaged(&format!("says that it is record {own}")));
            }
        }
        let (attributes_at, used_bytes) = (f.length16(0x14)?, f.length32(0x18)?);
        if used_bytes > bytes.len() || attributes_at > used_bytes || attributes_at < 0x2A {
            return Err(damaged("has attributes outside itself"));
        }
        let reference = Reference { number, sequence: f.le16(0x10)? };
        let base = Reference::parse(&f, 0x20)?;
        Ok(Self { reference, base, is_directory: flags & FLAG_DIRECTORY != 0, bytes, attributes_at, used_bytes })
    }

    /// All attributes in the order of the record.
    pub(super) fn attributes(&self) -> Result<Vec<Attribute<'_>>> {
        let damaged = |how: &str| FilesError::corrupt(format!("file record {} {how}", self.reference.number));
        let f = Fields::new(&self.bytes[..self.used_bytes], "file record");
        let mut attributes = Vec::new();
        let mut at = self.attributes_at;
        loop {
            if f.le32(at)? == END_OF_ATTRIBUTES {
                return Ok(attributes);
            }
            let length = f.length32(at + 4)?;
            if length < 0x18 || !length.is_multiple_of(8) {
                return Err(damaged("has an attribute of impossible length"));
            }
            attributes.push(Attribute::parse(f.slice(at, length)?)?);
            at += length;
        }
    }

    /// The first attribute of that kind and name.
    pub(super) fn attribute(&self, kind: u32, name: &str) -> Result<Option<Attribute<'_>>> {
        let name = names::from_ascii(name);
        Ok(self.attributes()?.into_iter().find(|found| found.kind == kind && found.name == name))
    }
}

/// One attribute, or one part of an attribute whose run list is spread over several records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'r> {
    pub(super) kind: u32,
    /// UTF-16.
    pub(super) name: &'r [u8],
    pub(super) id: u16,
    flags: u16,
    pub(super) form: Form<'r>,
}

/// Where the value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'r> {
    /// In the record.
    Resident(&'r [u8]),
    /// On clusters.
    Mapped(Mapped<'r>),
}

/// The head of an attribute on clusters. Lengths are those of the whole attribute and stand in its first part only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped<'r> {
    pub(super) first_cluster: u64,
    /// First cluster behind this part.
    pub(super) end_cluster: u64,
    pub(super) pairs: &'r [u8],
    /// Logarithm of the clusters that are compressed together.
    pub(super) unit_shift: u8,
    pub(super) size_bytes: u64,
    /// What was ever written; behind it the clusters hold what they held before.
    pub(super) initialized_bytes: u64,
    /// Space on the volume, holes not counted.
    pub(super) taken_bytes: u64,
}

impl<'r> Attribute<'r> {
    fn parse(bytes: &'r [u8]) -> Result<Self> {
        let f = Fields::new(bytes, "attribute");
        let flags = f.le16(0x0C)?;
        let form = match f.byte(0x08)? {
            0 => Form::Resident(f.slice(f.length16(0x14)?, f.length32(0x10)?)?),
            1 => Form::Mapped(Mapped::parse(&f, bytes, flags)?),
            other => return Err(FilesError::corrupt(format!("an attribute has the unknown form {other}"))),
        };
        let name = f.slice(f.length16(0x0A)?, 2 * usize::from(f.byte(0x09)?))?;
        Ok(Self { kind: f.le32(0)?, name, id: f.le16(0x0E)?, flags, form })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPTED != 0
    }

    /// 0 for none.
    pub(super) fn compression(&self) -> u16 {
        self.flags & COMPRESSION_MASK
    }

    pub(super) fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Resident(value) => value.len() as u64,
            Form::Mapped(mapped) => mapped.size_bytes,
        }
    }

    /// Space on the volume outside the file table.
    pub(super) fn taken_bytes(&self) -> u64 {
        match &self.form {
            Form::Resident(_) => 0,
            Form::Mapped(mapped) => mapped.taken_bytes,
        }
    }
}

impl<'r> Mapped<'r> {
    fn parse(f: &Fields<'_>, bytes: &'r [u8], flags: u16) -> Result<Self> {
        let damaged = |how| FilesError::corrupt(format!("an attribute {how}"));
        let first_cluster = f.le64(0x10)?;
        // The last cluster is all ones, minus one as a signed number, where there are none.
        let end_cluster = f.le64(0x18)?.wrapping_add(1);
        let pairs_at = f.length16(0x20)?;
        let pairs = bytes.get(pairs_at..).ok_or_else(|| damaged("has its run list outside itself"))?;
        if end_cluster < first_cluster {
            return Err(damaged("ends before it begins"));
        }
        let mut mapped = Self {
            first_cluster,
            end_cluster,
            pairs,
            unit_shift: f.byte(0x22)?,
            size_bytes: 0,
            initialized_bytes: 0,
            taken_bytes: 0,
        };
        if first_cluster == 0 {
            (mapped.size_bytes, mapped.initialized_bytes) = (f.le64(0x30)?, f.le64(0x38)?);
            // Compressed and sparse attributes count their holes in one length and not in the other.
            let has_holes = flags & (COMPRESSION_MASK | FLAG_SPARSE) != 0 && pairs_at >= HEAD_WITH_HOLES_BYTES;
            mapped.taken_bytes = f.le64(if has_holes { 0x40 } else { 0x28 })?;
            if mapped.initialized_bytes > mapped.size_bytes || mapped.size_bytes > i64::MAX.unsigned_abs() {
                return Err(damaged("has an impossible length"));
            }
        }
        Ok(mapped)
    }
}
