//! Names of files: eight and three letters of an old code page, or UTF-16 in pieces before them.

use super::directory::ENTRY_BYTES;

/// Most pieces of a long name, of thirteen letters each.
const MAX_PIECES: usize = 20;
const PIECE_LETTERS: usize = 13;
/// Where the letters stand in a piece.
const LETTERS: [usize; PIECE_LETTERS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Set in the number of the piece that comes first, which is the name's last.
const FIRST: u8 = 0x40;
/// The upper half of code page 437, which Linux assumes, too.
const UPPER_HALF: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Pieces of a long name that came so far; the last of the name first.
#[derive(Default)]
pub(super) struct Long {
    letters: Vec<u16>,
    checksum: u8,
    /// Number of the piece that must come next; nothing when they do not fit together.
    next: Option<u8>,
}

impl Long {
    pub(super) fn take(&mut self, piece: &[u8; ENTRY_BYTES]) {
        let (number, checksum) = (piece[0] & !FIRST, piece[13]);
        let begins = piece[0] & FIRST != 0;
        let follows = begins || (self.next == Some(number) && self.checksum == checksum);
        if number == 0 || usize::from(number) > MAX_PIECES || !follows {
            *self = Self::default();
            return;
        }
        if begins {
            self.letters.clear();
        }
        let letters = LETTERS.map(|at| u16::from_le_bytes([piece[at], piece[at + 1]]));
        self.letters.splice(0..0, letters);
        self.checksum = checksum;
        self.next = Some(number - 1);
    }

    /// The name, when all of it came and it belongs to this entry.
    pub(super) fn name(self, entry: &[u8; ENTRY_BYTES]) -> Option<Vec<u8>> {
        if self.next != Some(0) || self.checksum != checksum(entry) {
            return None;
        }
        let end = self.letters.iter().position(|letter| *letter == 0).unwrap_or(self.letters.len());
        let mut name = Vec::with_capacity(end);
        for letter in char::decode_utf16(self.letters[..end].iter().copied()) {
            match letter {
                Ok(letter) => name.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                // Half a letter is no text; its bytes as UTF-8 would have them keep names apart.
                Err(half) => {
                    let [high, low] = half.unpaired_surrogate().to_be_bytes();
                    name.extend([0xe0 | high >> 4, 0x80 | (high & 0xf) << 2 | low >> 6, 0x80 | low & 0x3f]);
                }
            }
        }
        Some(name)
    }
}

fn checksum(entry: &[u8; ENTRY_BYTES]) -> u8 {
    entry[..11].iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The short name, in small letters where two bits say so.
pub(super) fn short(entry: &[u8; ENTRY_BYTES]) -> Vec<u8> {
    let mut name = [0; 11];
    name.copy_from_slice(&entry[..11]);
    // The byte that marks what is deleted is a letter in some code pages.
    if name[0] == 0x05 {
        name[0] = 0xe5;
    }
    let part = |bytes: &[u8], is_small: bool| {
        let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let letters = bytes[..end].iter().map(|byte| letter(*byte));
        letters.map(|letter| if is_small { letter.to_ascii_lowercase() } else { letter }).collect::<String>()
    };
    let (stem, ending) = (part(&name[..8], entry[12] & 0x08 != 0), part(&name[8..], entry[12] & 0x10 != 0));
    if ending.is_empty() { stem.into_bytes() } else { format!("{stem}.{ending}").into_bytes() }
}

fn letter(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => char::from(byte),
        Some(upper) => UPPER_HALF.chars().nth(upper.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_have_their_dot_their_small_letters_and_their_code_page() {
        let named = |name: &[u8; 11], small: u8| {
            let mut entry = [0; ENTRY_BYTES];
            entry[..11].copy_from_slice(name);
            entry[12] = small;
            String::from_utf8(short(&entry)).unwrap()
        };
        assert_eq!((named(b"README  TXT", 0), named(b"README  TXT", 0x18)), ("README.TXT".into(), "readme.txt".into()));
        assert_eq!((named(b"A          ", 0x08), named(b"\x90T\x90     \xe1  ", 0)), ("a".into(), "ÉTÉ.ß".into()));
        assert_eq!(named(b"\x05          ", 0), "σ");
        assert_eq!(UPPER_HALF.chars().count(), 128);
    }
}
