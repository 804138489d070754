//! Attribute lists: where the attributes of a file are that does not fit into one record.

use super::record::{Attribute, Form, Record, Reference};
use super::stream::Stream;
use super::volume::Clusters;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// What Windows allows.
const MAX_LIST_BYTES: u64 = 256 << 10;
const ENTRY_BYTES: usize = 0x1A;

/// One attribute, or one part of one, and the record that holds it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) kind: u32,
    /// UTF-16.
    pub(super) name: Vec<u8>,
    /// Where in the attribute the part begins.
    pub(super) first_cluster: u64,
    pub(super) record: Reference,
    id: u16,
}

impl Entry {
    /// The attribute in the record that the entry named.
    pub(super) fn find_in<'r>(&self, record: &'r Record) -> Result<Attribute<'r>> {
        let found = record.attributes()?.into_iter().find(|found| {
            let first_cluster = match found.form {
                Form::Resident(_) => 0,
                Form::Mapped(mapped) => mapped.first_cluster,
            };
            found.kind == self.kind
                && found.name == self.name
                && found.id == self.id
                && first_cluster == self.first_cluster
        });
        found.ok_or_else(|| {
            let Self { kind, record, .. } = self;
            FilesError::corrupt(format!("file record {} has no attribute {kind:#x} as a list says", record.number))
        })
    }
}

/// All entries, in the order of the list: by kind and name, then by place in the attribute.
pub(super) fn read(clusters: &Clusters<'_>, list: &Attribute<'_>) -> Result<Vec<Entry>> {
    // The list of a file cannot itself be spread over records.
    let bytes = Stream::of_part(clusters, list)?.read_all(clusters, MAX_LIST_BYTES, "attribute list of a file")?;
    let f = Fields::new(&bytes, "attribute list");
    let mut entries = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = f.length16(at + 4)?;
        let entry = Fields::new(f.slice(at, length)?, "entry of an attribute list");
        if length < ENTRY_BYTES {
            return Err(FilesError::corrupt("an attribute list has an entry of impossible length"));
        }
        entries.push(Entry {
            kind: entry.le32(0)?,
            name: entry.slice(usize::from(entry.byte(7)?), 2 * usize::from(entry.byte(6)?))?.to_vec(),
            first_cluster: entry.le64(8)?,
            record: Reference::parse(&entry, 0x10)?,
            id: entry.le16(0x18)?,
        });
        at += length;
    }
    Ok(entries)
}
