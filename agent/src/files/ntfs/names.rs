//! Names: UTF-16 on the disk, bytes for the rest of the program.

/// UTF-8; a half of a surrogate pair that stands alone becomes the three bytes UTF-8 would give it (WTF-8), so that
/// different names stay different.
pub(super) fn to_bytes(utf16: &[u8]) -> Vec<u8> {
    let units = utf16.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let mut name = Vec::with_capacity(utf16.len());
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => name.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            Err(lone) => {
                let [high, low] = lone.unpaired_surrogate().to_be_bytes();
                name.extend([0xE0 | high >> 4, 0x80 | (high & 0xF) << 2 | low >> 6, 0x80 | low & 0x3F]);
            }
        }
    }
    name
}

/// ASCII as it stands on the disk.
pub(super) fn from_ascii(name: &str) -> Vec<u8> {
    name.bytes().flat_map(|byte| [byte, 0]).collect()
}

#[cfg(test)]
mod tests {
    use super::{from_ascii, to_bytes};

    fn of_units(units: &[u16]) -> Vec<u8> {
        to_bytes(&units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn names_become_utf8() {
        assert_eq!(to_bytes(&from_ascii("plain")), b"plain");
        let text = "été 日本 🦀";
        assert_eq!(of_units(&text.encode_utf16().collect::<Vec<_>>()), text.as_bytes());
    }

    #[test]
    fn lone_surrogates_stay_distinct() {
        assert_eq!(of_units(&[0x61, 0xD800]), b"a\xED\xA0\x80");
        assert_eq!(of_units(&[0xDFFF, 0x61]), b"\xED\xBF\xBFa");
        assert_eq!(of_units(&[0xDC00, 0xD800]), b"\xED\xB0\x80\xED\xA0\x80");
    }
}
