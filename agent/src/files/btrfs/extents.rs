//! Extents of a file: which stretches hold data and where, one item at a time from the tree.

use super::compression::{MAX_BYTES, Method};
use super::inode::Inode;
use super::node::Key;
use super::trees::Cursor;
use super::{NAME, Volume};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const EXTENT_ITEM: u8 = 108;
const HEADER_BYTES: usize = 21;
const KIND_INLINE: u8 = 0;
const KIND_REGULAR: u8 = 1;
const KIND_PREALLOCATED: u8 = 2;

/// A stretch of a file.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) length_bytes: u64,
    pub(super) place: Place,
}

/// Where the bytes of an extent are.
#[derive(Debug)]
pub(super) enum Place {
    /// Nowhere: a hole, or space that was not written yet.
    Hole,
    /// In the item itself.
    Inline { stored: Vec<u8>, method: Option<Method> },
    /// At a logical address, as they are.
    Plain { logical: u64 },
    /// Compressed at a logical address; the extent begins `skipped_bytes` into what it decompresses to.
    Compressed { logical: u64, stored_bytes: u64, decompressed_bytes: u64, skipped_bytes: u64, method: Method },
}

impl Extent {
    /// The first byte after it.
    pub(super) fn end(&self) -> u64 {
        // The sum was checked when it was read.
        self.start + self.length_bytes
    }

    fn parse(inode: &Inode, sector_bytes: u64, start: u64, item: &[u8]) -> Result<Self> {
        let f = Fields::new(item, "extent");
        let (decompressed_bytes, method) = (f.le64(8)?, f.byte(16)?);
        let (encryption, encoding) = (f.byte(17)?, f.le16(18)?);
        let unsupported = |feature: String| Err(FilesError::Unsupported { file_system: NAME, feature });
        if encryption != 0 {
            return unsupported(format!("the unknown encryption {encryption}"));
        }
        if encoding != 0 {
            return unsupported(format!("the unknown encoding {encoding}"));
        }
        let method = Method::of_number(method)?;
        if method.is_some() && decompressed_bytes > MAX_BYTES {
            return Err(FilesError::Limit { what: "length of a compressed extent", limit: MAX_BYTES });
        }
        let kind = f.byte(20)?;
        let (length_bytes, place) = match kind {
            KIND_INLINE => {
                let stored = item[HEADER_BYTES..].to_vec();
                let is_plain_length = method.is_some() || stored.len() as u64 == decompressed_bytes;
                if start != 0 || decompressed_bytes == 0 || !is_plain_length {
                    return Err(inode.corrupt("has an impossible inline extent"));
                }
                (decompressed_bytes, Place::Inline { stored, method })
            }
            KIND_REGULAR | KIND_PREALLOCATED => {
                let place = on_disk(inode, sector_bytes, &f, method)?;
                (f.le64(45)?, if kind == KIND_PREALLOCATED { Place::Hole } else { place })
            }
            other => return unsupported(format!("the unknown extent type {other}")),
        };
        let is_aligned = kind == KIND_INLINE || (start | length_bytes).is_multiple_of(sector_bytes);
        if !is_aligned || length_bytes == 0 || start.checked_add(length_bytes).is_none() {
            return Err(inode.corrupt("has an extent of an impossible length"));
        }
        Ok(Self { start, length_bytes, place })
    }
}

fn on_disk(inode: &Inode, sector_bytes: u64, f: &Fields<'_>, method: Option<Method>) -> Result<Place> {
    let (logical, stored_bytes, skipped_bytes, length_bytes) = (f.le64(21)?, f.le64(29)?, f.le64(37)?, f.le64(45)?);
    if logical == 0 {
        return Ok(Place::Hole);
    }
    let decompressed_bytes = f.le64(8)?;
    let available_bytes = if method.is_some() { decompressed_bytes } else { stored_bytes };
    let is_inside = skipped_bytes.checked_add(length_bytes).is_some_and(|end| end <= available_bytes);
    let is_aligned = (logical | stored_bytes | skipped_bytes).is_multiple_of(sector_bytes);
    if !is_inside || !is_aligned || logical.checked_add(stored_bytes).is_none() {
        return Err(inode.corrupt("has an extent outside its place on the disk"));
    }
    let Some(method) = method else { return Ok(Place::Plain { logical: logical + skipped_bytes }) };
    if stored_bytes > MAX_BYTES {
        return Err(FilesError::Limit { what: "length of a compressed extent", limit: MAX_BYTES });
    }
    Ok(Place::Compressed { logical, stored_bytes, decompressed_bytes, skipped_bytes, method })
}

/// The extents of a file from some offset on, in ascending order.
pub(super) struct Extents<'v> {
    cursor: Cursor<'v>,
    inode: &'v Inode,
    sector_bytes: u64,
    end_before: u64,
    /// The item here was given out. Moving on waits until it is asked for: damage behind an extent is not its own.
    is_given: bool,
}

impl<'v> Extents<'v> {
    /// Begins with the extent that holds `offset_bytes`, or one before it.
    pub(super) fn from(volume: &'v Volume<'_>, inode: &'v Inode, offset_bytes: u64) -> Result<Self> {
        let mut cursor = volume.floor(&inode.tree, Key::new(inode.number, EXTENT_ITEM, offset_bytes))?;
        if cursor.key().is_some_and(|key| key < Key::new(inode.number, EXTENT_ITEM, 0)) {
            cursor.advance()?;
        }
        Ok(Self {
            cursor,
            inode,
            sector_bytes: u64::from(volume.superblock.sector_bytes),
            end_before: 0,
            is_given: false,
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Extent>> {
        if self.is_given {
            self.cursor.advance()?;
            self.is_given = false;
        }
        let key = self.cursor.key().filter(|key| key.object == self.inode.number && key.kind == EXTENT_ITEM);
        let Some(key) = key else { return Ok(None) };
        let extent = Extent::parse(self.inode, self.sector_bytes, key.offset, self.cursor.item())?;
        if extent.start < self.end_before {
            return Err(self.inode.corrupt("has extents that overlap"));
        }
        self.end_before = extent.end();
        self.is_given = true;
        Ok(Some(extent))
    }
}
