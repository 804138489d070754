//! Authenticated encryption with one key for one object, and the wrapping of data pack keys to the public key.
//!
//! Nothing here draws a key or decides which key belongs where; that is `keys` and the objects themselves.

use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::id::RepositoryId;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use std::convert::Infallible;
use zeroize::Zeroizing;

/// Bytes of an encapsulated key.
const ENCAPSULATED_BYTES: usize = 32;
/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

/// Number used once with one key: the entry's number in its object.
#[derive(Clone, Copy, Debug)]
pub struct Counter(pub u64);

impl Counter {
    fn nonce(self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.0.to_le_bytes());
        Nonce::assume_unique_for_key(bytes)
    }
}

/// AES-256-GCM key of one object.
pub struct ObjectKey(LessSafeKey);

impl ObjectKey {
    /// The key with these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("AES-256-GCM takes 32 bytes")))
    }

    /// Encrypts `data[start..]` in place and appends the tag.
    pub fn seal(&self, counter: Counter, aad: &[u8], data: &mut Vec<u8>, start: usize) {
        let tag = self
            .0
            .seal_in_place_separate_tag(counter.nonce(), Aad::from(aad), &mut data[start..])
            .expect("objects are far below the cipher's length limit");
        data.extend_from_slice(tag.as_ref());
    }

    /// Decrypts `data` (ciphertext and tag) in place and returns the plaintext; `None` when the tag does not fit.
    pub fn open<'d>(&self, counter: Counter, aad: &[u8], data: &'d mut [u8]) -> Option<&'d mut [u8]> {
        self.0.open_in_place(counter.nonce(), Aad::from(aad), data).ok()
    }
}

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::AesGcm256;

/// Key that opens data packs. Wiped when dropped (the curve library does so).
#[derive(Clone)]
pub struct PrivateKey(<Kem as hpke::Kem>::PrivateKey);

/// Key that seals data packs.
#[derive(Clone)]
pub struct PublicKey(<Kem as hpke::Kem>::PublicKey);

/// A data pack's key as its header carries it.
pub struct WrappedKey {
    /// HPKE encapsulated key.
    pub encapsulated: [u8; 32],
    /// HPKE ciphertext of the key.
    pub ciphertext: [u8; 48],
}

/// What two sides share and who stands between does not know.
pub(crate) struct SharedCode(pub(crate) Zeroizing<[u8; 32]>);

impl SharedCode {
    fn bundle(&self) -> hpke::PskBundle<'_> {
        hpke::PskBundle::new(&*self.0, b"icecore v1 code").expect("neither is empty")
    }
}

struct Draw<'e>(&'e dyn Entropy);

impl TryRng for Draw<'_> {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(crate::entropy::random(self.0)))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(crate::entropy::random(self.0)))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Draw<'_> {}

fn info(repository: &RepositoryId, salt: &[u8; 32]) -> Vec<u8> {
    [b"icecore v1 data pack".as_slice(), &repository.0, salt].concat()
}

impl PrivateKey {
    /// The key with these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(<Kem as hpke::Kem>::PrivateKey::from_bytes(bytes).expect("any 32 bytes are an X25519 key"))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(Kem::sk_to_pk(&self.0))
    }

    /// Opens a wrapped key; `None` when it was not wrapped for this repository and salt.
    pub fn unwrap(
        &self,
        repository: &RepositoryId,
        salt: &[u8; 32],
        wrapped: &WrappedKey,
    ) -> Option<Zeroizing<[u8; 32]>> {
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&wrapped.encapsulated).ok()?;
        let opened = hpke::single_shot_open::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &self.0,
            &encapsulated,
            &info(repository, salt),
            &wrapped.ciphertext,
            &[],
        )
        .ok()?;
        let opened = Zeroizing::new(opened);
        Some(Zeroizing::new(opened.as_slice().try_into().ok()?))
    }
}

impl PrivateKey {
    /// Opens what [`PublicKey::seal_with`] sealed; `None` when it was sealed otherwise.
    pub(crate) fn open_with(&self, code: &SharedCode, info: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES)?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        let mode = OpModeR::Psk(code.bundle());
        hpke::single_shot_open::<Aead, Kdf, Kem>(&mode, &self.0, &encapsulated, info, ciphertext, &[])
            .ok()
            .map(Zeroizing::new)
    }
}

impl PrivateKey {
    /// Opens what [`PublicKey::seal`] sealed; `None` when it was sealed to another key, or for something else.
    pub(crate) fn open(&self, info: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES)?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
        hpke::single_shot_open::<Aead, Kdf, Kem>(&OpModeR::Base, &self.0, &encapsulated, info, ciphertext, aad)
            .ok()
            .map(Zeroizing::new)
    }
}

impl PublicKey {
    /// Seals for the private key's holder: encapsulated key and ciphertext. It says nothing of who sealed it.
    pub(crate) fn seal(&self, info: &[u8], aad: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
        let mode = OpModeS::Base;
        let (encapsulated, ciphertext) =
            hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(&mode, &self.0, info, plain, aad, &mut Draw(entropy))
                .map_err(|_| Error::SelfCheck("sealing to a machine"))?;
        Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
    }

    /// Seals for the private key's holder who shares the code: encapsulated key and ciphertext.
    pub(crate) fn seal_with(
        &self,
        code: &SharedCode,
        info: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let mode = OpModeS::Psk(code.bundle());
        let (encapsulated, ciphertext) =
            hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(&mode, &self.0, info, plain, &[], &mut Draw(entropy))
                .map_err(|_| Error::SelfCheck("sealing to a shared code"))?;
        Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
    }

    /// The key with these bytes; an error when they are no point of the curve that can be used.
    pub fn new(bytes: &[u8; 32]) -> Result<Self> {
        <Kem as hpke::Kem>::PublicKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| Error::damaged("public key", "not an X25519 public key"))
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// Wraps `key` so that only the private key's holder can have it.
    pub fn wrap(
        &self,
        repository: &RepositoryId,
        salt: &[u8; 32],
        key: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey> {
        let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(
            &OpModeS::Base,
            &self.0,
            &info(repository, salt),
            key,
            &[],
            &mut Draw(entropy),
        )
        .map_err(|_| Error::SelfCheck("wrapping a pack key"))?;
        let ciphertext = ciphertext.as_slice().try_into().map_err(|_| Error::SelfCheck("length of a wrapped key"))?;
        Ok(WrappedKey { encapsulated: encapsulated.to_bytes().into(), ciphertext })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn sealed_bytes_open_only_with_the_same_key_counter_and_context() {
        let key = ObjectKey::new(&[7; 32]);
        let mut sealed = b"xxsecret".to_vec();
        key.seal(Counter(3), b"context", &mut sealed, 2);
        assert_eq!(sealed.len(), 8 + TAG_BYTES);
        let open = |key: &ObjectKey, counter, aad: &[u8], at: Option<usize>| {
            let mut copy = sealed[2..].to_vec();
            if let Some(at) = at {
                copy[at] ^= 1;
            }
            key.open(Counter(counter), aad, &mut copy).map(|p| p.to_vec())
        };
        assert_eq!(open(&key, 3, b"context", None).unwrap(), b"secret");
        assert!(open(&key, 4, b"context", None).is_none());
        assert!(open(&key, 3, b"contexT", None).is_none());
        assert!(open(&ObjectKey::new(&[8; 32]), 3, b"context", None).is_none());
        for at in 0..sealed.len() - 2 {
            assert!(open(&key, 3, b"context", Some(at)).is_none());
        }
    }

    #[test]
    fn a_wrapped_key_opens_only_for_its_repository_and_salt() {
        let private = PrivateKey::new(&[9; 32]);
        let repository = RepositoryId([1; 16]);
        let wrapped = private.public().wrap(&repository, &[2; 32], &[5; 32], &SeededEntropy::new(1)).unwrap();
        assert_eq!(*private.unwrap(&repository, &[2; 32], &wrapped).unwrap(), [5; 32]);
        assert!(private.unwrap(&RepositoryId([3; 16]), &[2; 32], &wrapped).is_none());
        assert!(private.unwrap(&repository, &[3; 32], &wrapped).is_none());
        assert!(PrivateKey::new(&[8; 32]).unwrap(&repository, &[2; 32], &wrapped).is_none());
    }
}
