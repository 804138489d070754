//! Handing a writer key over to a machine by way of somebody who must not have it, such as a server.
//!
//! The machine shows a random code and sends a public key. Who makes the writer key types the code, and seals to the public key with the code
//! as pre-shared key (HPKE, RFC 9180, mode PSK). Who stands between has the public key, and may exchange it, but not the code: it can neither
//! open what is sealed nor make something that the machine opens. The code is used once and is too long to be guessed.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{hex, unhex};
use crate::seal::{PrivateKey, PublicKey, SharedCode};
use zeroize::Zeroizing;

/// Digits of 5 bits, without those that are taken for others.
const DIGITS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const GROUPS: usize = 5;
const GROUP_DIGITS: usize = 4;
const CODE_CONTEXT: &str = "icecore v1 enrolment code";
const INFO: &[u8] = b"icecore v1 enrolment";

/// What a machine shows and a person types: 100 random bits as five groups of four letters and digits.
pub struct Code(Zeroizing<String>);

impl Code {
    /// A new one.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let bytes: [u8; GROUPS * GROUP_DIGITS] = random(entropy);
        Self(Zeroizing::new(bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()))
    }

    /// What was typed, in whatever case and with whatever between the groups.
    pub fn parse(text: &str) -> Result<Self> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let digits = Zeroizing::new(digits.to_ascii_uppercase());
        let fits = digits.len() == GROUPS * GROUP_DIGITS && digits.bytes().all(|digit| DIGITS.contains(&digit));
        match fits {
            true => Ok(Self(digits)),
            false => Err(Error::Refused(format!(
                "the code has {GROUPS} groups of {GROUP_DIGITS} letters and digits, as the machine shows them"
            ))),
        }
    }

    /// For showing it.
    pub fn text(&self) -> Zeroizing<String> {
        let groups: Vec<&str> = (0..GROUPS).map(|at| &self.0[at * GROUP_DIGITS..(at + 1) * GROUP_DIGITS]).collect();
        Zeroizing::new(groups.join("-"))
    }

    fn shared(&self) -> SharedCode {
        SharedCode(Zeroizing::new(blake3::derive_key(CODE_CONTEXT, self.0.as_bytes())))
    }
}

fn info(enrolment: &str) -> Vec<u8> {
    [INFO, enrolment.as_bytes()].concat()
}

/// A machine that waits for its writer key.
pub struct Waiting {
    key: Zeroizing<[u8; 32]>,
    /// What it shows.
    pub code: Code,
}

impl Waiting {
    /// With a new key and a new code.
    pub fn begin(entropy: &dyn Entropy) -> Self {
        Self { key: Zeroizing::new(random(entropy)), code: Code::generate(entropy) }
    }

    /// As [`Waiting::text`] wrote it.
    pub fn parse(text: &str) -> Result<Self> {
        let damaged = || Error::damaged("the state of the enrolment", "it is not as it was written");
        let (key, code) = text.trim().split_once(' ').ok_or_else(damaged)?;
        Ok(Self { key: Zeroizing::new(unhex(key).ok_or_else(damaged)?), code: Code::parse(code)? })
    }

    /// For a private file, so that an enrolment that is cut off goes on.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{} {}", hex(&*self.key), self.code.text().as_str()))
    }

    /// The public key as 64 hexadecimal digits.
    pub fn public_key(&self) -> String {
        hex(&PrivateKey::new(&self.key).public().bytes())
    }

    /// Opens what was sealed for this machine; an error when it was not, or not by who knows the code.
    pub fn open(&self, enrolment: &str, sealed: &str) -> Result<Zeroizing<String>> {
        let refused = || Error::Refused("the writer key that came was not sealed with the code of this machine".into());
        let bytes = bytes_of(sealed).ok_or_else(refused)?;
        let opened = PrivateKey::new(&self.key).open_with(&self.code.shared(), &info(enrolment), &bytes);
        let opened = opened.ok_or_else(refused)?;
        Ok(Zeroizing::new(std::str::from_utf8(&opened).map_err(|_| refused())?.to_owned()))
    }
}

/// Seals a writer key file's text to a machine's public key, by the code that it shows. Hexadecimal digits.
pub fn seal(public_key: &str, (enrolment, code): (&str, &Code), text: &str, entropy: &dyn Entropy) -> Result<String> {
    let bytes = unhex(public_key).ok_or_else(|| Error::damaged("the machine's public key", "it is none"))?;
    let sealed = PublicKey::new(&bytes)?.seal_with(&code.shared(), &info(enrolment), text.as_bytes(), entropy)?;
    Ok(sealed.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    const ENROLMENT: &str = "0193-ab";

    #[test]
    fn what_is_sealed_for_a_machine_opens_there_and_with_its_code_only() {
        let entropy = SeededEntropy::new(1);
        let waiting = Waiting::begin(&entropy);
        let typed = Code::parse(&waiting.code.text().to_lowercase().replace('-', " ")).unwrap();
        let sealed = seal(&waiting.public_key(), (ENROLMENT, &typed), "the key", &entropy).unwrap();
        assert_eq!(waiting.open(ENROLMENT, &sealed).unwrap().as_str(), "the key");
        let again = Waiting::parse(&waiting.text()).unwrap();
        assert_eq!(again.open(ENROLMENT, &sealed).unwrap().as_str(), "the key");
        assert!(waiting.open("another", &sealed).is_err());
        assert!(Waiting::begin(&entropy).open(ENROLMENT, &sealed).is_err());
    }

    #[test]
    fn who_stands_between_can_neither_open_it_nor_make_another() {
        let entropy = SeededEntropy::new(2);
        let (machine, between) = (Waiting::begin(&entropy), Waiting::begin(&entropy));
        // The server gives its own public key in the machine's place, and has all of its own, but not the code.
        let sealed = seal(&between.public_key(), (ENROLMENT, &machine.code), "the key", &entropy).unwrap();
        assert!(between.open(ENROLMENT, &sealed).is_err());
        // It makes up a writer key of its own, so that the machine would seal its backups to the server.
        let forged = seal(&machine.public_key(), (ENROLMENT, &between.code), "a forged key", &entropy).unwrap();
        assert!(machine.open(ENROLMENT, &forged).is_err());
    }

    #[test]
    fn damage_and_wrong_codes_are_refused() {
        let entropy = SeededEntropy::new(3);
        let waiting = Waiting::begin(&entropy);
        let sealed = seal(&waiting.public_key(), (ENROLMENT, &waiting.code), "the key", &entropy).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(waiting.open(ENROLMENT, std::str::from_utf8(&changed).unwrap()).is_err(), "{at}");
            assert!(waiting.open(ENROLMENT, &sealed[..at]).is_err(), "{at}");
        }
        for text in ["", "ABCD", "ABCD-EFGH-JKLM-NPQR-STU0", "ABCD-EFGH-JKLM-NPQR-STUVW"] {
            assert!(Code::parse(text).is_err(), "{text}");
        }
        assert!(seal("ab", (ENROLMENT, &waiting.code), "x", &entropy).is_err());
    }
}
