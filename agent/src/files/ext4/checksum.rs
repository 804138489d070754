//! The checksum of ext4's metadata and journal: CRC-32C with the initial value given and no final inversion.

use crc::{CRC_32_ISCSI, Crc, Table};

// The crate inverts at the end and takes the initial value reflected; both are undone below.
static TABLE: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// Continues the checksum `seed` over `bytes`, the way the kernel's `crc32c(seed, bytes)` does.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let mut digest = TABLE.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn it_agrees_with_the_standard_test_vector_and_can_be_continued() {
        assert_eq!(!crc32c(u32::MAX, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(crc32c(u32::MAX, b"1234"), b"56789"), crc32c(u32::MAX, b"123456789"));
    }
}
