//! Reading numbers, texts and ids out of on-disk structures without ever reading past their end.
//!
//! A field beyond the end of the bytes reads as zero: every structure is checked by magic and checksum first, and a
//! zero then fails the plausibility test of whoever asked.

use crate::read_at::ReadAt;
use std::io;

/// Bytes of a structure, addressed as its specification does.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(self, offset: usize) -> [u8; N] {
        let field = offset.checked_add(N).and_then(|end| self.0.get(offset..end));
        field.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    pub fn u8(self, offset: usize) -> u8 {
        self.array::<1>(offset)[0]
    }

    pub fn le16(self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    pub fn le32(self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    pub fn le64(self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }

    pub fn be16(self, offset: usize) -> u16 {
        u16::from_be_bytes(self.array(offset))
    }

    pub fn be32(self, offset: usize) -> u32 {
        u32::from_be_bytes(self.array(offset))
    }

    pub fn be64(self, offset: usize) -> u64 {
        u64::from_be_bytes(self.array(offset))
    }

    /// Are these bytes there?
    pub fn has(self, offset: usize, wanted: &[u8]) -> bool {
        self.0.get(offset..).is_some_and(|rest| rest.starts_with(wanted))
    }

    /// Text padded with zeros or blanks; `None` when nothing is left. Bytes that are not UTF-8 become U+FFFD.
    pub fn text(self, offset: usize, length: usize) -> Option<String> {
        let field = self.0.get(offset..)?;
        let field = &field[..length.min(field.len())];
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        let text = String::from_utf8_lossy(&field[..end]).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// UTF-16LE text that ends at a zero or after `units`; `None` when empty.
    pub fn utf16(self, offset: usize, units: usize) -> Option<String> {
        let units = (0..units).map(|i| self.le16(offset + 2 * i)).take_while(|unit| *unit != 0);
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        (!text.is_empty()).then_some(text)
    }

    /// A UUID in the usual order of bytes; `None` when it is all zero.
    pub fn uuid(self, offset: usize) -> Option<String> {
        format_uuid(self.array(offset))
    }

    /// A GUID as GPT stores it: the first three groups little-endian. `None` when it is all zero.
    pub fn guid(self, offset: usize) -> Option<String> {
        let mut bytes: [u8; 16] = self.array(offset);
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        format_uuid(bytes)
    }
}

fn format_uuid(bytes: [u8; 16]) -> Option<String> {
    if bytes == [0; 16] {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Some(text)
}

/// Reads `length` bytes, or `None` when they do not lie on the disk.
pub fn read_bytes(disk: &dyn ReadAt, offset_bytes: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    match offset_bytes.checked_add(length as u64) {
        Some(end) if end <= disk.size_bytes() => {
            let mut bytes = vec![0; length];
            disk.read_exact_at(&mut bytes, offset_bytes)?;
            Ok(Some(bytes))
        }
        _ => Ok(None),
    }
}
