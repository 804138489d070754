//! The server's own certificate authority, and the fingerprint by which a person recognises it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The authority that clients have to trust where the system knows none for this server.
///
/// Whoever asks for it cannot trust the answer yet: the fingerprint has to come another way, or a person compares it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Authority {
    /// Its certificate as PEM.
    pub certificate: String,
    /// Its fingerprint.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub fingerprint: Fingerprint,
}

const MARK: &str = "sha256:";

/// SHA-256 of a certificate's DER bytes, written as `sha256:` and 64 hexadecimal digits. Colons between digits are read, too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// From the hash.
    pub fn from_sha256(hash: &[u8]) -> Self {
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{MARK}{digits}"))
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().strip_prefix(MARK).unwrap_or(text.trim());
        let digits: String = digits.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
        match digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Self(format!("{MARK}{digits}"))),
            false => Err("a fingerprint is `sha256:` and 64 hexadecimal digits".into()),
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_however_tools_write_them() {
        let plain = Fingerprint::from_sha256(&[0xAB; 32]);
        assert_eq!(plain.to_string(), format!("sha256:{}", "ab".repeat(32)));
        for text in [plain.to_string(), "AB".repeat(32), vec!["AB"; 32].join(":")] {
            assert_eq!(text.parse::<Fingerprint>().unwrap(), plain, "{text}");
        }
        for text in ["", "sha256:", "sha256:ab", "md5:ab", &"xy".repeat(32)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
