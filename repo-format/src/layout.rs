//! Where each field stands in the binary structures of the format, for those who show or document them.
//!
//! Encoding and decoding stand with the structures. `tests/format_doc.rs` proves that these tables, FORMAT.md and what is really
//! written agree.

/// How long a field is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// So many bytes.
    Bytes(usize),
    /// As many bytes as the field of this name says.
    Of(&'static str),
    /// So many bytes for each of what the field of this name counts.
    Times(usize, &'static str),
    /// To the end.
    Rest,
}

/// A field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// First byte.
    pub offset: usize,
    /// How long.
    pub length: Length,
    /// What FORMAT.md calls it.
    pub name: &'static str,
}

const fn field(offset: usize, bytes: usize, name: &'static str) -> Field {
    Field { offset, length: Length::Bytes(bytes), name }
}

/// Header of a record, and its body.
pub const RECORD_HEADER: &[Field] = &[
    field(0, 8, "magic"),
    field(8, 2, "version"),
    field(10, 2, "reserved"),
    field(12, 4, "body_bytes"),
    field(16, 16, "repository id"),
    field(32, 16, "signer"),
    Field { offset: 48, length: Length::Of("body_bytes"), name: "body" },
];

/// Body of a manifest's record.
pub const MANIFEST_BODY: &[Field] = &[
    field(0, 16, "name id"),
    field(16, 32, "previous"),
    field(48, 32, "salt"),
    Field { offset: 80, length: Length::Rest, name: "sealed JSON" },
];

/// Body of a catalog's or a leaf's record.
pub const SEALED_BODY: &[Field] =
    &[field(0, 32, "salt"), Field { offset: 32, length: Length::Rest, name: "sealed zstd frame" }];

/// Header of a pack.
pub const PACK_HEADER: &[Field] = &[
    field(0, 8, "magic"),
    field(8, 2, "version"),
    field(10, 2, "reserved"),
    field(12, 4, "chunk_bytes"),
    field(16, 16, "repository id"),
    field(32, 16, "writer"),
    field(48, 16, "signer"),
    field(64, 32, "salt"),
    field(96, 32, "HPKE encapsulated key"),
    field(128, 48, "HPKE ciphertext of the pack key"),
    field(176, 80, "reserved"),
];

/// Additional data of a pack's entry.
pub const ENTRY_AAD: &[Field] = &[
    field(0, 16, "repository id"),
    field(16, 32, "salt"),
    field(48, 4, "entry number"),
    field(52, 4, "plain_bytes"),
    field(56, 4, "stored_bytes"),
    field(60, 1, "kind"),
    field(61, 32, "id"),
];

/// Row of a pack's table.
pub const FOOTER_ROW: &[Field] = &[
    field(0, 32, "id"),
    field(32, 4, "offset in the pack"),
    field(36, 4, "stored_bytes"),
    field(40, 4, "plain_bytes"),
    field(44, 1, "kind"),
    field(45, 3, "reserved"),
    field(48, 16, "first half of the BLAKE3-256 of the sealed bytes"),
];

/// Trailer of a pack.
pub const PACK_TRAILER: &[Field] = &[
    field(0, 8, "magic"),
    field(8, 4, "entry_count"),
    field(12, 4, "table_bytes"),
    field(16, 8, "pack_bytes"),
    field(24, 8, "reserved"),
    field(32, 64, "Ed25519 signature"),
    field(96, 32, "BLAKE3-256"),
];

/// A tree node.
pub const NODE: &[Field] = &[
    field(0, 4, "magic"),
    field(4, 1, "version"),
    field(5, 1, "level"),
    field(6, 2, "count"),
    field(8, 16, "bitmap"),
    Field { offset: 24, length: Length::Times(32, "count"), name: "ids of the existing children" },
];

/// The bytes of a field of fixed length; `None` when `bytes` end before it does.
pub fn bytes_of<'b>(fields: &[Field], name: &str, bytes: &'b [u8]) -> Option<&'b [u8]> {
    let field = fields.iter().find(|field| field.name == name)?;
    let Length::Bytes(length) = field.length else { return None };
    bytes.get(field.offset..field.offset.checked_add(length)?)
}

/// A little-endian number of at most eight bytes.
pub fn number_of(fields: &[Field], name: &str, bytes: &[u8]) -> Option<u64> {
    let field = bytes_of(fields, name, bytes).filter(|field| field.len() <= 8)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
