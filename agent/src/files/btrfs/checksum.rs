//! Checksums of metadata and data blocks, by the algorithm that the superblock names.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use sha2::Sha256;

use crate::facts::checksum::crc32c_continue;
use crate::files::{FilesError, Result};

/// Metadata blocks and the superblock keep this much space for their checksum, whichever algorithm makes it.
pub(super) const FIELD_BYTES: usize = 32;

/// An algorithm; one for the whole file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32c,
    Sha256,
    Blake2b,
}

impl Algorithm {
    /// By its number in the superblock.
    pub(super) fn of_number(number: u16) -> Result<Self> {
        let feature = match number {
            0 => return Ok(Self::Crc32c),
            2 => return Ok(Self::Sha256),
            3 => return Ok(Self::Blake2b),
            1 => "xxhash64 checksums".to_owned(),
            other => format!("the unknown checksum algorithm {other}"),
        };
        Err(FilesError::Unsupported { file_system: super::NAME, feature })
    }

    /// Length of one stored checksum of data.
    pub(super) fn length_bytes(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Sha256 | Self::Blake2b => 32,
        }
    }

    /// Whether `stored`, which may be longer than the checksum, begins with the checksum of `bytes`.
    pub(super) fn matches(self, bytes: &[u8], stored: &[u8]) -> bool {
        match self {
            Self::Crc32c => stored.starts_with(&(!crc32c_continue(!0, bytes)).to_le_bytes()),
            Self::Sha256 => stored.starts_with(&Sha256::digest(bytes)),
            Self::Blake2b => stored.starts_with(&Blake2b::<U32>::digest(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Algorithm;

    fn bytes_of(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn published_checksums_of_abc_match_and_others_do_not() {
        let crc32c = "b73f4b36";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let blake2b = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
        for (number, hex) in [(0, crc32c), (2, sha256), (3, blake2b)] {
            let algorithm = Algorithm::of_number(number).unwrap();
            let mut stored = bytes_of(hex);
            assert_eq!(stored.len(), algorithm.length_bytes());
            assert!(algorithm.matches(b"abc", &stored), "{algorithm:?}");
            assert!(!algorithm.matches(b"abd", &stored));
            stored[3] ^= 1;
            assert!(!algorithm.matches(b"abc", &stored));
        }
    }

    #[test]
    fn algorithms_that_are_not_here_are_refused_by_name() {
        assert!(Algorithm::of_number(1).unwrap_err().to_string().contains("xxhash64"));
        assert!(Algorithm::of_number(9).unwrap_err().to_string().contains("algorithm 9"));
    }
}
