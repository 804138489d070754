//! The recovery kit: the master secret as text that can be printed and typed in again.

use crate::error::{Error, Result};
use crate::id::{RepositoryId, hex, unhex};
use crate::keys::MasterSecret;

const CHECK_BYTES: usize = 3;
const SECRET_BYTES: usize = 32;

fn checksum(repository: &RepositoryId, secret: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("icecore v1 recovery kit check");
    hasher.update(&repository.0).update(secret);
    let hash = hasher.finalize();
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// The kit's text: a heading, the repository and the secret in groups of five digits.
pub fn export(repository: &RepositoryId, master: &MasterSecret) -> String {
    let secret = master.expose();
    let digits = hex(&[secret.as_slice(), &checksum(repository, secret)].concat());
    let groups: Vec<&str> = (0..digits.len()).step_by(5).map(|at| &digits[at..(at + 5).min(digits.len())]).collect();
    let lines: Vec<String> = groups.chunks(7).map(|line| format!("secret:     {}\n", line.join(" "))).collect();
    format!(
        "ICECORE RECOVERY KIT\n\n\
         Whoever holds this page and the repository can read every backup in it.\n\
         Print it, keep it away from the machine, delete the file.\n\n\
         repository: {repository}\n{}\n\
         To use it: icecore --repo REPOSITORY key recovery-import FILE\n",
        lines.concat()
    )
}

/// Reads a kit's text. Case, spaces and dashes do not matter; a mistyped digit is noticed.
pub fn import(text: &str) -> Result<(RepositoryId, MasterSecret)> {
    let field = |name: &str| -> String {
        text.lines()
            .filter_map(|line| line.trim().to_ascii_lowercase().strip_prefix(name).map(str::to_owned))
            .flat_map(|rest| rest.chars().filter(|c| !c.is_whitespace() && *c != '-').collect::<Vec<_>>())
            .collect()
    };
    let wrong = |what: &str| Error::Refused(format!("this is not a usable recovery kit: {what}"));
    let repository =
        unhex(&field("repository:")).map(RepositoryId).ok_or_else(|| wrong("no repository line of 32 digits"))?;
    let bytes: [u8; SECRET_BYTES + CHECK_BYTES] =
        unhex(&field("secret:")).ok_or_else(|| wrong("its secret lines must have 70 digits 0-9 and a-f"))?;
    let (secret, check) = bytes.split_at(SECRET_BYTES);
    if check != checksum(&repository, secret) {
        return Err(wrong("its check digits do not fit; a digit is mistyped"));
    }
    Ok((repository, MasterSecret::from_bytes(secret.try_into().expect("32 bytes"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> String {
        export(&RepositoryId([0xAB; 16]), &MasterSecret::from_bytes([0x5C; 32]))
    }

    #[test]
    fn a_kit_survives_retyping() {
        let typed = kit().to_uppercase().replace(' ', "  ").replace("5C5C5", "5-c5-C5");
        let (repository, master) = import(&typed).unwrap();
        assert_eq!((repository, *master.expose()), (RepositoryId([0xAB; 16]), [0x5C; 32]));
    }

    #[test]
    fn a_mistyped_digit_is_noticed() {
        let good = kit();
        let at = good.find("5c5c5").unwrap();
        let mut bad = good.clone();
        bad.replace_range(at..=at, "6");
        assert!(import(&bad).is_err());
        assert!(import("").is_err());
        assert!(import(&good.replace("secret:", "sekret:")).is_err());
    }
}
