//! Update sequences: how a record of several sectors shows that all of them were written.
//!
//! The last two bytes of each 512-byte stride hold the same number; the bytes that belong there are in an array in
//! the record's head. A stride with another number was not written with the rest: the record is torn.

use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// Independent of the sector size of the disk.
const STRIDE_BYTES: usize = 512;

/// Puts the displaced bytes back. `record` is one whole record, `what` names it for messages.
pub(super) fn apply(record: &mut [u8], magic: &[u8; 4], what: &str) -> Result<()> {
    if record.get(..4) != Some(magic) {
        return Err(FilesError::corrupt(format!("{what} does not start with its magic number")));
    }
    let f = Fields::new(record, "update sequence");
    let (array_at, count) = (f.length16(4)?, f.length16(6)?);
    let strides = record.len() / STRIDE_BYTES;
    let damaged = || FilesError::corrupt(format!("{what} has an impossible update sequence"));
    if strides == 0 || !record.len().is_multiple_of(STRIDE_BYTES) || count != strides + 1 {
        return Err(damaged());
    }
    // Inside the first stride, so that the array itself is not displaced.
    if array_at < 8 || !array_at.is_multiple_of(2) || array_at + 2 * count > STRIDE_BYTES - 2 {
        return Err(damaged());
    }
    let array = f.slice(array_at, 2 * count)?.to_vec();
    let (number, displaced) = array.split_at(2);
    for (stride, original) in record.chunks_exact_mut(STRIDE_BYTES).zip(displaced.chunks_exact(2)) {
        let tail = &mut stride[STRIDE_BYTES - 2..];
        if tail != number {
            return Err(FilesError::corrupt(format!("{what} is torn: only a part of it was written")));
        }
        tail.copy_from_slice(original);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::apply;

    fn protected() -> Vec<u8> {
        let mut record = vec![7; 1024];
        record[..4].copy_from_slice(b"FILE");
        record[4..8].copy_from_slice(&[0x30, 0, 3, 0]);
        record[0x30..0x36].copy_from_slice(&[9, 1, 0xA1, 0xA2, 0xB1, 0xB2]);
        record[510..512].copy_from_slice(&[9, 1]);
        record[1022..].copy_from_slice(&[9, 1]);
        record
    }

    #[test]
    fn displaced_bytes_return_to_their_places() {
        let mut record = protected();
        apply(&mut record, b"FILE", "it").unwrap();
        assert_eq!((&record[510..512], &record[1022..]), (&[0xA1, 0xA2][..], &[0xB1, 0xB2][..]));
    }

    #[test]
    fn a_torn_record_is_refused() {
        for at in [510, 1023] {
            let mut record = protected();
            record[at] ^= 1;
            let error = apply(&mut record, b"FILE", "it").unwrap_err().to_string();
            assert!(error.contains("torn"), "{error}");
        }
    }

    #[test]
    fn impossible_arrays_are_refused() {
        for (at, value) in [(0, b'f'), (4, 2), (4, 0x31), (5, 2), (6, 2), (6, 4), (7, 1)] {
            let mut record = protected();
            record[at] = value;
            apply(&mut record, b"FILE", "it").unwrap_err();
        }
        apply(&mut protected()[..1000], b"FILE", "it").unwrap_err();
        apply(&mut [], b"FILE", "it").unwrap_err();
    }
}
