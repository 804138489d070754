//! File names are bytes; this makes them safe and unambiguous to show.

use std::fmt::Write;

/// The name with control characters, backslashes and bytes that are not UTF-8 written as `\xNN`, `\\`, `\n`, `\t`.
pub fn escape_name(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for piece in name.utf8_chunks() {
        for character in piece.valid().chars() {
            push_character(&mut shown, character);
        }
        for byte in piece.invalid() {
            push_hex(&mut shown, *byte);
        }
    }
    shown
}

/// The name behind what [`escape_name`] made of it; nothing for what it never makes.
pub fn unescape_name(shown: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(shown.len());
    let mut rest = shown.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            name.push(byte);
            continue;
        }
        name.push(match rest.next()? {
            b'\\' => b'\\',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(rest.next()?)? << 4 | digit(rest.next()?)?).ok()?
            }
            _ => return None,
        });
    }
    Some(name)
}

fn push_character(shown: &mut String, character: char) {
    match character {
        '\\' => shown.push_str("\\\\"),
        '\n' => shown.push_str("\\n"),
        '\t' => shown.push_str("\\t"),
        // Direction overrides can make a name look like another one in a terminal.
        c if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) => {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                push_hex(shown, byte);
            }
        }
        c => shown.push(c),
    }
}

fn push_hex(shown: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(shown, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::{escape_name, unescape_name};

    #[test]
    fn plain_and_accented_names_stay_as_they_are() {
        assert_eq!(escape_name("été 1.txt".as_bytes()), "été 1.txt");
    }

    #[test]
    fn escaped_names_lead_back_to_their_bytes() {
        let every: Vec<u8> = (0..=255).collect();
        for name in [&every[..], b"plain", "été".as_bytes(), b"a\\n", b"\n\t\\x41", "x\u{202e}y".as_bytes(), b""] {
            assert_eq!(unescape_name(&escape_name(name)).as_deref(), Some(name));
        }
        for odd in ["\\", "\\q", "\\x4", "\\xzz"] {
            assert_eq!(unescape_name(odd), None, "{odd}");
        }
    }

    #[test]
    fn control_characters_backslashes_and_foreign_bytes_are_escaped() {
        assert_eq!(escape_name(b"a\nb\x1b[1m\\\xff\xc3"), "a\\nb\\x1b[1m\\\\\\xff\\xc3");
        assert_eq!(escape_name("x\u{202e}y".as_bytes()), "x\\xe2\\x80\\xaey");
    }
}
