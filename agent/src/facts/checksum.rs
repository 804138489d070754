//! The checksums that partition tables and file systems carry: CRC-32 (GPT), CRC-32C (ext4 and its journal, XFS), CRC-16 (old ext4).

use crc::{CRC_16_ARC, CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc, Table};

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
// A journal is checked whole.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);

/// CRC-32 as in zip and GPT.
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

/// CRC-32C without the final inversion, to be continued: ext4 stores this value, XFS its inversion. Begin with `!0`.
pub fn crc32c_continue(crc: u32, bytes: &[u8]) -> u32 {
    // The library takes the initial value reflected and inverts at the end; both are undone.
    let mut digest = CRC32C.digest_with_initial(crc.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

/// CRC-16 (ARC polynomial) to be continued, as ext4's `uninit_bg` uses it. Begin with `!0`.
pub fn crc16_continue(crc: u16, bytes: &[u8]) -> u16 {
    let mut digest = CRC16.digest_with_initial(crc.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::{crc16_continue, crc32, crc32c_continue};

    #[test]
    fn check_values_of_the_catalogue_are_met() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(!crc32c_continue(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc16_continue(0, b"123456789"), 0xBB3D);
        assert_eq!(crc16_continue(!0, b"123456789"), 0x4B37);
    }

    #[test]
    fn checksums_can_be_continued() {
        assert_eq!(crc32c_continue(crc32c_continue(!0, b"1234"), b"56789"), crc32c_continue(!0, b"123456789"));
        assert_eq!(crc16_continue(crc16_continue(!0, b"1234"), b"56789"), crc16_continue(!0, b"123456789"));
    }
}
