//! Which names accounts may have. They stand in URLs, logs and authenticators, so they are plain.

/// Longest name.
pub const MAX_CHARACTERS: usize = 64;

/// Whether a name may be given to an account.
pub fn is_allowed(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= MAX_CHARACTERS
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["a", "ada", "7of9", "ada.love-lace_1", &"a".repeat(64)] {
            assert!(is_allowed(name), "{name}");
        }
        for name in ["", "Ada", "a b", "-a", ".a", "ä", "a/b", "a\n", "a\u{202e}", &"a".repeat(65)] {
            assert!(!is_allowed(name), "{name:?}");
        }
    }
}
