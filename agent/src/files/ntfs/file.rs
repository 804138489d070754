//! One file: its record, the records that continue it, and its attributes wherever they are.

use super::attribute_list::{self, Entry};
use super::mft::Mft;
use super::names;
use super::record::{Attribute, Record, Reference, kind};
use super::stream::{Builder, Stream};
use crate::files::{FileId, FilesError, Result};

/// Whether to look at further attributes.
pub(super) enum Next {
    /// Yes.
    More,
    /// What was looked for is found.
    Enough,
}

/// A file that was looked up; further records are read when something in them is asked for.
pub(super) struct File<'v, 'a> {
    pub(super) mft: &'v Mft<'a>,
    pub(super) record: Record,
    list: Option<Vec<Entry>>,
}

/// The number of a file for the rest of the program: its record's number, below how often that was used.
///
/// A name that leads to a file that is no more then leads to an error and not to whoever has the record now.
pub(super) fn id(reference: Reference) -> Result<FileId> {
    let number = u32::try_from(reference.number)
        .map_err(|_| FilesError::corrupt(format!("a name leads to the impossible record {}", reference.number)))?;
    Ok(FileId(u64::from(reference.sequence) << 32 | u64::from(number)))
}

/// What [`id`] was made of.
fn reference(id: FileId) -> Result<Reference> {
    let sequence = u16::try_from(id.0 >> 32).map_err(|_| FilesError::corrupt(format!("{} is no file", id.0)))?;
    Ok(Reference { number: id.0 & 0xFFFF_FFFF, sequence })
}

impl<'v, 'a> File<'v, 'a> {
    pub(super) fn open(mft: &'v Mft<'a>, id: FileId) -> Result<Self> {
        let wanted = reference(id)?;
        let file = Self::of_record(mft, mft.record(wanted.number)?)?;
        if file.record.reference != wanted {
            return Err(FilesError::corrupt(format!(
                "file record {} was given to another file; the name that leads to it is old",
                wanted.number
            )));
        }
        Ok(file)
    }

    /// The file in record `number`, whichever it is.
    pub(super) fn of_number(mft: &'v Mft<'a>, number: u64) -> Result<Self> {
        Self::of_record(mft, mft.record(number)?)
    }

    fn of_record(mft: &'v Mft<'a>, record: Record) -> Result<Self> {
        let number = record.reference.number;
        if record.base != Reference::NONE {
            return Err(FilesError::corrupt(format!("file record {number} is only the continuation of a file")));
        }
        let list = record.attribute(kind::ATTRIBUTE_LIST, "")?;
        let list = list.map(|list| attribute_list::read(&mft.clusters, &list)).transpose()?;
        Ok(Self { mft, record, list })
    }

    pub(super) fn number(&self) -> u64 {
        self.record.reference.number
    }

    /// Shows `look` all attributes of a kind in their order.
    pub(super) fn each(&self, kind: u32, mut look: impl FnMut(&Attribute<'_>) -> Result<Next>) -> Result<()> {
        let Some(list) = &self.list else {
            for attribute in self.record.attributes()?.iter().filter(|found| found.kind == kind) {
                if let Next::Enough = look(attribute)? {
                    break;
                }
            }
            return Ok(());
        };
        // Parts that follow each other are often in the same record.
        let mut extension = None;
        for entry in list.iter().filter(|entry| entry.kind == kind) {
            if let Next::Enough = look(&entry.find_in(self.record_of(entry, &mut extension)?)?)? {
                break;
            }
        }
        Ok(())
    }

    fn record_of<'f>(&'f self, entry: &Entry, extension: &'f mut Option<Record>) -> Result<&'f Record> {
        if entry.record == self.record.reference {
            return Ok(&self.record);
        }
        let kept = extension.take().filter(|record| record.reference == entry.record);
        let record = match kept {
            Some(record) => record,
            None => self.mft.extension(self.record.reference, entry.record)?,
        };
        Ok(extension.insert(record))
    }

    /// What `look` makes of the first part of an attribute, if the file has it.
    pub(super) fn head<T>(
        &self,
        kind: u32,
        name: &str,
        look: impl Fn(&Attribute<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let name = names::from_ascii(name);
        let mut found = None;
        self.each(kind, |attribute| {
            if attribute.name != name {
                return Ok(Next::More);
            }
            found = Some(look(attribute)?);
            Ok(Next::Enough)
        })?;
        Ok(found)
    }

    /// A whole attribute, ready to be read.
    pub(super) fn stream(&self, kind: u32, name: &str) -> Result<Option<Stream>> {
        let name = names::from_ascii(name);
        let mut builder = Builder::new(&self.mft.clusters);
        self.each(kind, |part| {
            if part.name == name {
                builder.push(part)?;
            }
            Ok(Next::More)
        })?;
        builder.finish()
    }

    /// All bytes of a small attribute.
    pub(super) fn small(&self, kind: u32, name: &str, limit: u64, what: &'static str) -> Result<Option<Vec<u8>>> {
        let stream = self.stream(kind, name)?;
        stream.map(|stream| stream.read_all(&self.mft.clusters, limit, what)).transpose()
    }

    pub(super) fn damaged(&self, how: &str) -> FilesError {
        FilesError::corrupt(format!("file record {} {how}", self.number()))
    }
}
