//! The checksums that partition tables and file systems carry: CRC-32 (GPT), CRC-32C (ext4, XFS), CRC-16 (old ext4).
//!
//! Sixty lines of table-driven code, since a few kilobytes a disk are checked; not for bulk data.

const CRC32_TABLE: [u32; 256] = table(0xEDB8_8320);
const CRC32C_TABLE: [u32; 256] = table(0x82F6_3B78);

const fn table(polynomial: u32) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    let mut seed = 0_u32;
    while i < 256 {
        let mut crc = seed;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
        seed += 1;
    }
    table
}

fn update(table: &[u32; 256], crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| crc >> 8 ^ table[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// CRC-32 as in zip and GPT.
pub fn crc32(bytes: &[u8]) -> u32 {
    !update(&CRC32_TABLE, !0, bytes)
}

/// CRC-32C without the final inversion, to be continued: ext4 stores this value, XFS its inversion. Begin with `!0`.
pub fn crc32c_continue(crc: u32, bytes: &[u8]) -> u32 {
    update(&CRC32C_TABLE, crc, bytes)
}

/// CRC-16 (ARC polynomial) to be continued, as ext4's `uninit_bg` uses it. Begin with `!0`.
pub fn crc16_continue(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
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
}
