//! Named streams and extended attributes, both as the extended attributes of Linux.
//!
//! A stream called `NAME` is `user.NAME`, as ntfs-3g shows it. Attributes that Linux's own driver stored have their full
//! names on the disk; others that programs of Windows or OS/2 left are `user.` and their name.

use super::extended::{self, Extended};
use super::file::{File, Next};
use super::names;
use super::record::{Attribute, kind};
use super::stream::{Builder, Stream};
use super::wof;
use crate::files::{ExtendedAttribute, FilesError, Result, escape_name};
use crate::lengths::in_memory;

/// What the kernel accepts for one value.
const MAX_VALUE_BYTES: u64 = 65536;
/// What the kernel accepts for one name.
const MAX_NAME_BYTES: usize = 255;
/// More than any real file has; bounds the memory for one file.
const MAX_TOTAL_BYTES: usize = 16 << 20;
const LINUX_PREFIXES: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system.posix_acl_"];

/// All that can be shown.
pub(super) fn read(file: &File<'_, '_>) -> Result<Vec<ExtendedAttribute>> {
    let mut shown: Vec<ExtendedAttribute> = Vec::new();
    let mut total_bytes = 0;
    for stream in named_streams(file)?.shown {
        total_bytes += in_memory(stream.data.size_bytes);
        if total_bytes > MAX_TOTAL_BYTES {
            return Err(FilesError::Limit { what: "named streams of a file", limit: MAX_TOTAL_BYTES as u64 });
        }
        let value = stream.data.read_all(&file.mft.clusters, MAX_VALUE_BYTES, "stream of a file")?;
        shown.push(ExtendedAttribute { name: [b"user.", &stream.name[..]].concat(), value });
    }
    for (name, value) in attributes(file)? {
        // A stream of that name is the newer way.
        if name.len() <= MAX_NAME_BYTES && shown.iter().all(|shown| shown.name != name) {
            shown.push(ExtendedAttribute { name, value });
        }
    }
    Ok(shown)
}

/// Why others are not shown, a sentence for each.
pub(super) fn left_out(file: &File<'_, '_>) -> Result<Vec<String>> {
    let mut left_out = named_streams(file)?.left_out;
    for (name, _) in attributes(file)?.iter().filter(|(name, _)| name.len() > MAX_NAME_BYTES) {
        left_out.push(format!("its attribute {} is left out: Linux knows no names as long", escape_name(name)));
    }
    Ok(left_out)
}

/// Names and values of those that are not streams.
fn attributes(file: &File<'_, '_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // What begins so is read by Windows and Linux as facts of the file, or means nothing elsewhere.
    let is_fact = |attribute: &Extended| attribute.name.starts_with(b"$");
    let found = extended::read(file)?.into_iter().filter(|attribute| !is_fact(attribute));
    let with_prefix = found.map(|Extended { name, value }| {
        let is_linux = LINUX_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        (if is_linux { name } else { [b"user.", &name[..]].concat() }, value)
    });
    Ok(with_prefix.collect())
}

/// A stream before it is read.
struct Named {
    name: Vec<u8>,
    data: Stream,
}

#[derive(Default)]
struct Streams {
    shown: Vec<Named>,
    left_out: Vec<String>,
}

/// All in one pass: the parts of a stream follow each other.
fn named_streams(file: &File<'_, '_>) -> Result<Streams> {
    let mut streams = Streams::default();
    let has_reparse_point = file.head(kind::REPARSE_POINT, "", |_| Ok(()))?.is_some();
    // The content of the file, packed or not, is none of its attributes.
    let is_content = |name: &[u8]| name.is_empty() || has_reparse_point && name == wof::STREAM.as_bytes();
    let mut current: Option<(Vec<u8>, Option<Builder<'_, '_>>)> = None;
    file.each(kind::DATA, |part| {
        match &mut current {
            Some((utf16, builder)) if *utf16 == part.name => {
                if let Some(builder) = builder {
                    builder.push(part)?;
                }
                return Ok(Next::More);
            }
            _ => streams.finish(current.take())?,
        }
        let name = names::to_bytes(part.name);
        let mut builder = None;
        if is_content(&name) {
            // Read by whoever opens the file.
        } else if let Some(why) = why_not(part, &name) {
            streams.left_out.push(format!("its stream {} is left out: {why}", escape_name(&name)));
        } else {
            builder.insert(Builder::new(&file.mft.clusters)).push(part)?;
        }
        current = Some((part.name.to_vec(), builder));
        Ok(Next::More)
    })?;
    streams.finish(current)?;
    Ok(streams)
}

impl Streams {
    fn finish(&mut self, stream: Option<(Vec<u8>, Option<Builder<'_, '_>>)>) -> Result<()> {
        if let Some((utf16, Some(builder))) = stream
            && let Some(data) = builder.finish()?
        {
            self.shown.push(Named { name: names::to_bytes(&utf16), data });
        }
        Ok(())
    }
}

/// What keeps a named stream from being an extended attribute.
fn why_not(part: &Attribute<'_>, name: &[u8]) -> Option<String> {
    if part.size_bytes() > MAX_VALUE_BYTES {
        return Some(format!("its {} bytes are more than an extended attribute can have", part.size_bytes()));
    }
    if part.is_encrypted() {
        return Some("it is encrypted".to_owned());
    }
    let is_long = name.len() + b"user.".len() > MAX_NAME_BYTES;
    (is_long || name.contains(&0)).then(|| "an extended attribute cannot have its name".to_owned())
}
