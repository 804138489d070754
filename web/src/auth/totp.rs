//! One-time codes of authenticators (RFC 6238) and recovery codes.
//!
//! A code counts once: the caller stores the step that was used and no code of it, or of an earlier one, counts again.

use super::secret::{SecretHash, hash_of, random};
use totp_rs::{Algorithm, Builder, Secret, Totp};
use web_api::unit::Time;
use zeroize::Zeroizing;

/// Length of a secret, as the RFC recommends.
pub const SECRET_BYTES: usize = 20;
/// Recovery codes that are given out at once.
pub const RECOVERY_CODES: usize = 10;
const STEP_S: u64 = 30;
/// Clocks may be a step apart.
const SKEW_STEPS: u16 = 1;
/// Without letters and digits that look alike.
const RECOVERY_ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// A new secret for an authenticator.
pub fn new_secret() -> Zeroizing<[u8; SECRET_BYTES]> {
    random()
}

/// The secret as an authenticator takes it, typed or as a URL.
pub fn offer(secret: &[u8], name: &str, appliance: &str) -> (String, String) {
    let text = Secret::from(secret.to_vec()).to_base32();
    let issuer: String = appliance.chars().filter(char::is_ascii_alphanumeric).collect();
    let issuer = if issuer.is_empty() { "Icecore".to_owned() } else { issuer };
    let url =
        format!("otpauth://totp/{issuer}:{name}?secret={text}&issuer={issuer}&algorithm=SHA1&digits=6&period={STEP_S}");
    (text, url)
}

/// The step whose code this is, when it is one of now or of a neighbouring step.
pub fn step_of(secret: &[u8], code: &str, now: Time) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let step = generator(secret)?.check(&code, now.unix_s())?;
    i64::try_from(step).ok()
}

/// SHA-1 because some authenticators know nothing else and do not say so; as a keyed hash it is sound.
fn generator(secret: &[u8]) -> Option<Totp> {
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_skew(SKEW_STEPS);
    builder.with_step_duration(STEP_S).with_secret(secret.to_vec()).build().ok()
}

/// New recovery codes, 80 random bits each.
pub fn new_recovery_codes() -> Vec<String> {
    (0..RECOVERY_CODES)
        .map(|_| {
            let letters = random::<16>().map(|byte| char::from(RECOVERY_ALPHABET[usize::from(byte % 32)]));
            letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
        })
        .collect()
}

/// What is stored of a recovery code, however it was typed.
pub fn recovery_hash(code: &str) -> SecretHash {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    hash_of(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secret and codes of RFC 6238, appendix B, cut to six digits.
    const RFC_SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (unix_s, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let now = Time::from_ms(unix_s * 1000);
            assert_eq!(step_of(RFC_SECRET, code, now), Some(unix_s / 30), "{unix_s}");
        }
        assert_eq!(step_of(RFC_SECRET, "287 082", Time::from_ms(59_000)), Some(1));
    }

    #[test]
    fn a_code_counts_in_its_own_and_the_neighbouring_steps() {
        for (unix_s, counts) in [(29, true), (59, true), (89, true), (90, false), (600, false)] {
            assert_eq!(step_of(RFC_SECRET, "287082", Time::from_ms(unix_s * 1000)).is_some(), counts, "{unix_s}");
        }
    }

    #[test]
    fn other_texts_are_no_codes() {
        for code in ["", "287083", "28708", "2870820", "abcdef", "２８７０８２"] {
            assert_eq!(step_of(RFC_SECRET, code, Time::from_ms(59_000)), None, "{code}");
        }
        assert_eq!(step_of(b"", "287082", Time::from_ms(59_000)), None);
    }

    #[test]
    fn recovery_codes_differ_and_forgive_how_they_are_typed() {
        let codes = new_recovery_codes();
        let hashes: std::collections::BTreeSet<_> = codes.iter().map(|code| recovery_hash(code).0).collect();
        assert_eq!(hashes.len(), RECOVERY_CODES);
        let typed = codes[0].to_uppercase().replace('-', " ");
        assert_eq!(recovery_hash(&typed), recovery_hash(&codes[0]));
    }

    #[test]
    fn an_offer_can_be_typed_and_scanned() {
        let (text, url) = offer(RFC_SECRET, "ada", "Ice & core");
        assert_eq!(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(
            url.starts_with("otpauth://totp/Icecore:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Icecore"),
            "{url}"
        );
    }
}
