//! Name attributes: what a file is called and in which directory. Directories hold copies of them as their entries.

use super::file::{File, Next};
use super::names;
use super::record::{Attribute, Form, Reference, kind};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const NAME_AT: usize = 0x42;
/// A second, short name for old programs; never a file's only one.
const NAMESPACE_DOS: u8 = 2;

/// One name of a file.
pub(super) struct FileName {
    pub(super) parent: Reference,
    pub(super) name: Vec<u8>,
    pub(super) is_dos_only: bool,
}

impl FileName {
    /// Out of the value of a name attribute, or the key of a directory entry.
    pub(super) fn parse(value: &[u8]) -> Result<Self> {
        let f = Fields::new(value, "file name");
        let utf16 = f.slice(NAME_AT, 2 * usize::from(f.byte(0x40)?))?;
        Ok(Self {
            parent: Reference::parse(&f, 0)?,
            name: names::to_bytes(utf16),
            is_dos_only: f.byte(0x41)? == NAMESPACE_DOS,
        })
    }
}

/// Number of names a person sees.
pub(super) fn count(file: &File<'_, '_>) -> Result<u32> {
    let mut names = 0;
    file.each(kind::FILE_NAME, |attribute| {
        names += u32::from(!of_attribute(attribute)?.is_dos_only);
        Ok(Next::More)
    })?;
    Ok(names)
}

/// Whether the file itself says that it is called `name` in `parent`.
pub(super) fn confirms(file: &File<'_, '_>, parent: Reference, name: &[u8]) -> Result<bool> {
    let mut is_confirmed = false;
    file.each(kind::FILE_NAME, |attribute| {
        let found = of_attribute(attribute)?;
        is_confirmed = found.parent == parent && found.name == name;
        Ok(if is_confirmed { Next::Enough } else { Next::More })
    })?;
    Ok(is_confirmed)
}

fn of_attribute(attribute: &Attribute<'_>) -> Result<FileName> {
    match attribute.form {
        Form::Resident(value) => FileName::parse(value),
        Form::Mapped(_) => Err(FilesError::corrupt("a file name is not in its record")),
    }
}
