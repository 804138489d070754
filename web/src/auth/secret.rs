//! Random secrets of sessions, tokens and links. The server keeps only their hashes: whoever reads the database can't use them.

use std::fmt;
use zeroize::Zeroizing;

/// Random bytes in a secret. A fast hash is enough for what nobody can guess.
const RANDOM_BYTES: usize = 32;
const HASH_CONTEXT: &str = "Icecore 2026-11 hash of a server secret 1";
const CSRF_CONTEXT: &str = "Icecore 2026-11 CSRF token of a session 1";
/// Characters of a token that may be shown to recognise it: the mark and 8 digits of 64.
const PREFIX_CHARACTERS: usize = 12;

/// What a secret is for; its mark in front makes a leaked one recognisable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of a browser's session.
    Session,
    /// Of an API token.
    Token,
    /// Of an agent.
    Agent,
    /// Of an enrolment: a machine becomes an agent by it, once.
    Enrolment,
    /// Of a one-time log-in link.
    LogInLink,
    /// Signs webhooks.
    Webhook,
}

impl Kind {
    /// Whether a text begins as a secret of this kind does.
    pub fn marks(self, text: &str) -> bool {
        text.starts_with(self.mark())
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Session => "ics_",
            Self::Token => "ict_",
            Self::Agent => "ica_",
            Self::Enrolment => "ice_",
            Self::LogInLink => "icl_",
            Self::Webhook => "icw_",
        }
    }
}

/// A secret in the clear. Lives only as long as a request; never logged.
pub struct Secret(Zeroizing<String>);

/// What is stored of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecretHash(pub [u8; 32]);

impl Secret {
    /// A new one from the system's randomness.
    pub fn generate(kind: Kind) -> Self {
        let digits = random::<RANDOM_BYTES>().iter().fold(kind.mark().to_owned(), |mut text, byte| {
            use fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self(Zeroizing::new(digits))
    }

    /// What a client sent, if it has the form of such a secret at all.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(kind.mark())?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = digits.len() == 2 * RANDOM_BYTES && digits.bytes().all(is_digit);
        fits.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Another copy. By name, so that copies of secrets are seen.
    pub fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// The text, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> SecretHash {
        hash_of(&self.0)
    }

    /// The beginning, to recognise it by.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX_CHARACTERS]
    }

    /// What a page sends to prove that it is ours. Follows from the session's secret, so it is stored nowhere.
    pub fn csrf_token(&self) -> String {
        blake3::Hash::from_bytes(blake3::derive_key(CSRF_CONTEXT, self.0.as_bytes())).to_string()
    }
}

/// The hash of any text that is as hard to guess as a secret.
pub fn hash_of(text: &str) -> SecretHash {
    SecretHash(blake3::derive_key(HASH_CONTEXT, text.as_bytes()))
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    // Without randomness nothing that follows would be safe; the kernel's generator does not fail once it is up.
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).expect("the system has randomness");
    bytes
}

/// Compares without telling by its time how much is equal.
pub fn same(left: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_again_by_its_text_and_by_nothing_else() {
        let secret = Secret::generate(Kind::Token);
        let text = secret.expose().to_owned();
        assert_eq!(Secret::parse(Kind::Token, &text).unwrap().hash(), secret.hash());
        assert!(text.starts_with(secret.prefix()) && secret.prefix().len() == PREFIX_CHARACTERS);
        assert!(Secret::parse(Kind::Session, &text).is_none());
        for wrong in [text[1..].to_owned(), text.clone() + "0", text.to_uppercase(), text.replace('_', "-"), "é".into()]
        {
            assert!(Secret::parse(Kind::Token, &wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_csrf_token_tells_neither_the_secret_nor_its_hash() {
        let secret = Secret::generate(Kind::Session);
        assert_ne!(secret.csrf_token(), blake3::Hash::from_bytes(secret.hash().0).to_string());
        assert_eq!(secret.csrf_token().len(), 64);
        assert!(!same(&secret.csrf_token(), &Secret::generate(Kind::Session).csrf_token()));
    }
}
