//! All there is to know of one file, as it travels between processes and machines. Neither end believes the other: names and values are
//! escaped on the way and looked at where they arrive.

use super::{
    DataExtent, ExtendedAttribute, FileId, FileKind, FileSystem, FilesError, Metadata, Result, escape_name,
    unescape_name,
};
use serde::{Deserialize, Serialize};

/// A file with more stretches of data is asked for them.
const MOST_EXTENTS: usize = 32;
/// Attributes of one file that are longer together are left out, and said.
const ATTRIBUTES_BYTES: usize = 96 << 10;

/// A file with its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detail {
    /// Its name, escaped; empty where it was asked for by its path.
    pub name: String,
    /// The file.
    pub id: FileId,
    /// What is known, or why nothing is.
    pub found: std::result::Result<Found, String>,
}

/// What is known of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its facts.
    pub metadata: Metadata,
    /// Where a symbolic link leads, escaped.
    pub link_target: Option<String>,
    /// Names and values, escaped.
    pub attributes: Vec<(String, String)>,
    /// What of it is not here.
    pub left_out: Vec<String>,
    /// Stretches with data of a regular file, where they are few.
    pub extents: Option<Vec<(u64, u64)>>,
}

impl Detail {
    /// Looks at a file.
    pub fn of(fs: &dyn FileSystem, name: &[u8], id: FileId) -> Self {
        let found = Found::of(fs, id).map_err(|error| error.to_string());
        Self { name: escape_name(name), id, found }
    }

    /// About so many bytes are these words.
    pub fn length(&self) -> usize {
        let attributes = self.found.as_ref().map_or(0, |found| {
            let values = found.attributes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            values + found.link_target.as_ref().map_or(0, String::len)
        });
        500 + self.name.len() + 2 * attributes
    }
}

impl Found {
    fn of(fs: &dyn FileSystem, id: FileId) -> Result<Self> {
        let metadata = fs.metadata(id)?;
        let link_target = match metadata.kind {
            FileKind::Symlink => Some(escape_name(&fs.read_link(id)?)),
            _ => None,
        };
        let mut left_out = fs.left_out(id)?;
        let attributes = attributes_of(fs, id, &mut left_out);
        let extents = match metadata.kind {
            FileKind::Regular => few_extents(fs, id),
            _ => None,
        };
        Ok(Self { metadata, link_target, attributes, left_out, extents })
    }

    /// Its facts, with nothing in them that a file cannot have.
    pub fn metadata(&self) -> Metadata {
        let mut metadata = self.metadata.clone();
        metadata.permissions &= 0o7777;
        for time in [&mut metadata.accessed, &mut metadata.modified, &mut metadata.changed] {
            time.nanoseconds = time.nanoseconds.min(999_999_999);
        }
        metadata
    }

    /// Its attributes.
    pub fn extended_attributes(&self) -> Result<Vec<ExtendedAttribute>> {
        let bytes = |text: &str| unescape_name(text).ok_or_else(|| FilesError::corrupt("an attribute is no text"));
        let attribute =
            |(name, value): &(String, String)| Ok(ExtendedAttribute { name: bytes(name)?, value: bytes(value)? });
        self.attributes.iter().map(attribute).collect()
    }
}

fn attributes_of(fs: &dyn FileSystem, id: FileId, left_out: &mut Vec<String>) -> Vec<(String, String)> {
    let attributes = match fs.extended_attributes(id) {
        Ok(attributes) => attributes,
        Err(error) => {
            left_out.push(format!("cannot read its extended attributes: {error}"));
            return Vec::new();
        }
    };
    let (mut kept, mut length) = (Vec::new(), 0);
    for attribute in attributes {
        length += attribute.name.len() + attribute.value.len();
        if length > ATTRIBUTES_BYTES {
            let name = escape_name(&attribute.name);
            left_out.push(format!("its attributes from {name} on are too long to be passed on"));
            break;
        }
        kept.push((escape_name(&attribute.name), escape_name(&attribute.value)));
    }
    kept
}

fn few_extents(fs: &dyn FileSystem, id: FileId) -> Option<Vec<(u64, u64)>> {
    let content = fs.open_file(id).ok()?;
    let found: Vec<_> = content.data_extents().take(MOST_EXTENTS + 1).map(pair).collect();
    (found.len() <= MOST_EXTENTS).then_some(found)
}

/// As it travels.
pub fn pair(extent: DataExtent) -> (u64, u64) {
    (extent.offset_bytes, extent.length_bytes)
}

/// Stretches of a file of this size as they came, if they can be ones: ascending, apart, inside it.
pub fn extents(pairs: &[(u64, u64)], from_bytes: u64, size_bytes: u64) -> Result<Vec<DataExtent>> {
    let mut at = from_bytes;
    let mut found = Vec::with_capacity(pairs.len());
    for (offset_bytes, length_bytes) in pairs.iter().copied() {
        let end = offset_bytes.checked_add(length_bytes).filter(|end| *end <= size_bytes);
        let Some(end) = end.filter(|_| offset_bytes >= at && length_bytes > 0) else {
            return Err(FilesError::corrupt("the stretches of a file lie where they cannot"));
        };
        found.push(DataExtent { offset_bytes, length_bytes });
        at = end;
    }
    Ok(found)
}
