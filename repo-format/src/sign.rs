//! Ed25519 signatures: who may sign, and whether one fits.

use crate::error::{Error, Result};
use crate::id::WriterId;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::collections::HashMap;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Public half of a signing key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyKey(pub [u8; 32]);

/// A signing key and the name it signs under.
pub struct Signer {
    id: WriterId,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// The key that belongs to `seed`.
    pub fn new(id: WriterId, seed: &[u8; 32]) -> Self {
        Self { id, pair: Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed") }
    }

    /// The name it signs under.
    pub fn id(&self) -> WriterId {
        self.id
    }

    /// Public half.
    pub fn verify_key(&self) -> VerifyKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        VerifyKey(key)
    }

    /// Signs a BLAKE3-256 digest.
    pub fn sign(&self, digest: &blake3::Hash) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.pair.sign(digest.as_bytes()).as_ref());
        signature
    }
}

/// What the repository knows about a writer.
#[derive(Clone, Debug)]
pub struct KnownWriter {
    /// Key its signatures must fit.
    pub verify_key: VerifyKey,
    /// Writers of the same group believe each other's chunks without a verification.
    pub trust_group: Option<String>,
    /// Whether it may store more.
    pub standing: Standing,
}

/// Whether a writer may begin a session. What it stored stays valid in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may.
    Active,
    /// The operator forbade it.
    Revoked,
    /// Its newest record is damaged: it may have been revoked.
    Unknown,
}

impl KnownWriter {
    /// Refuses a session of one who may not, or of whom that is not known.
    pub fn may_begin(&self, writer: WriterId) -> Result<()> {
        match self.standing {
            Standing::Active => Ok(()),
            Standing::Revoked => Err(Error::KeyNeeded(format!("writer {writer} was revoked"))),
            Standing::Unknown => Err(Error::Refused(format!(
                "the newest record of writer {writer} is damaged, so nobody can tell whether it was revoked; the operator repairs it: \
                 `icecore key repair WRITER_KEY_FILE`"
            ))),
        }
    }
}

/// All who may sign in one repository.
#[derive(Clone, Debug)]
pub struct Signers {
    /// The operator's key.
    pub operator: VerifyKey,
    /// The writers by id.
    pub writers: HashMap<WriterId, KnownWriter>,
}

impl Signers {
    /// Checks that `signer` signed `digest`; `object` names what is checked in the error. A writer without a sound record is
    /// [`Error::UnknownSigner`].
    pub fn verify(&self, object: &str, signer: WriterId, digest: &blake3::Hash, signature: &[u8]) -> Result<()> {
        let key = if signer == WriterId::OPERATOR {
            self.operator
        } else {
            let unknown = || Error::UnknownSigner { object: object.into(), writer: signer };
            self.writers.get(&signer).ok_or_else(unknown)?.verify_key
        };
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(digest.as_bytes(), signature)
            .map_err(|_| Error::damaged(object, "its signature does not fit"))
    }

    /// Whether `reader` may rely on chunks that `writer` stored, without a verification by the operator.
    pub fn trusts(&self, reader: WriterId, writer: WriterId) -> bool {
        if writer == WriterId::OPERATOR {
            return true;
        }
        if reader == writer {
            return self.writers.contains_key(&writer);
        }
        let group = |id| self.writers.get(&id).and_then(|w| w.trust_group.as_ref());
        group(reader).is_some() && group(reader) == group(writer)
    }
}
