//! Passing a disk of a recovery point to one machine, through a server that must not see it.
//!
//! The machine makes a key for this one passage and orders the disk as a writer of the repository: the order names point and disk, carries the
//! public half, and is signed. Who holds the repository's private key seals each part to that key and signs it as the operator. Who stands
//! between can withhold and repeat, but neither read nor change anything: a part says which order it answers and where it belongs. Nothing
//! of it is ever stored. Whom a disk may be passed to is for the caller to decide, not for this file.

use crate::entropy::{Entropy, random};
use crate::error::{Error, Result};
use crate::id::{ManifestId, RepositoryId, WriterId, hex, unhex};
use crate::keys::WriterKeys;
use crate::record::{self, MaySign};
use crate::seal::{PrivateKey, PublicKey};
use crate::sign::{Signer, Signers};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Most bytes of a disk in one part: with all that is around it less than 1 MiB.
pub const MAX_PART_BYTES: usize = 960 << 10;
/// Longest order, in bytes before it is written as digits.
const MAX_ORDER_BYTES: usize = 4096;
const INFO: &[u8] = b"icecore v1 passage";
const ABOUT: u8 = 0;
const ZEROES: u8 = 1;
const DATA: u8 = 2;
/// Digest of the order, kind, offset, length.
const HEAD_BYTES: usize = 32 + 1 + 8 + 8;

/// What a machine orders.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    point: ManifestId,
    disk: Option<String>,
    /// 64 hexadecimal digits.
    public_key: String,
}

/// A part of a disk, or what there is to know before the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// What the disk is, as both sides agree to write it.
    About(Vec<u8>),
    /// Nothing but zeroes.
    Zeroes {
        /// Where on the disk, in bytes.
        offset_bytes: u64,
        /// How many.
        length_bytes: u64,
    },
    /// At most [`MAX_PART_BYTES`] as they are on the disk.
    Data {
        /// Where on the disk, in bytes.
        offset_bytes: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Part {
    fn head(&self, order: &blake3::Hash) -> [u8; HEAD_BYTES] {
        let (kind, offset_bytes, length_bytes) = match self {
            Self::About(text) => (ABOUT, 0, text.len() as u64),
            Self::Zeroes { offset_bytes, length_bytes } => (ZEROES, *offset_bytes, *length_bytes),
            Self::Data { offset_bytes, bytes } => (DATA, *offset_bytes, bytes.len() as u64),
        };
        let mut head = [0; HEAD_BYTES];
        head[..32].copy_from_slice(order.as_bytes());
        head[32] = kind;
        head[33..41].copy_from_slice(&offset_bytes.to_le_bytes());
        head[41..].copy_from_slice(&length_bytes.to_le_bytes());
        head
    }

    fn content(&self) -> &[u8] {
        match self {
            Self::About(bytes) | Self::Data { bytes, .. } => bytes,
            Self::Zeroes { .. } => &[],
        }
    }
}

fn info(repository: &RepositoryId) -> Vec<u8> {
    [INFO, &repository.0].concat()
}

/// The machine that a disk is passed to. Its key ends with it.
pub struct Receiver {
    repository: RepositoryId,
    key: PrivateKey,
    order: Vec<u8>,
    signers: Signers,
}

impl Receiver {
    /// With a new key. What comes is believed when the operator signed it whom the machine's own key file names.
    pub fn order(
        keys: &WriterKeys,
        (point, disk): (ManifestId, Option<String>),
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(random(entropy));
        let key = PrivateKey::new(&secret);
        let body = OrderBody { point, disk, public_key: hex(&key.public().bytes()) };
        let order = record::encode_json(record::PASSAGE_ORDER, &keys.repository, &keys.signer(), &body)?;
        let signers = Signers { operator: keys.operator, writers: HashMap::new() };
        Ok(Self { repository: keys.repository, key, order, signers })
    }

    /// The order as hexadecimal digits.
    pub fn text(&self) -> String {
        hex(&self.order)
    }

    /// Opens a part that answers this order, and of it what was asked for: what the disk is, or what lies at an offset.
    pub fn open(&self, sealed: &[u8], offset_bytes: Option<u64>) -> Result<Part> {
        const WHAT: &str = "a part of the disk";
        let damaged = |what: &str| Error::damaged(WHAT, what);
        let record = record::decode(WHAT, record::PASSAGE_PART, sealed)?.alone(WHAT, sealed)?;
        let record = record.verified(WHAT, &self.repository, &self.signers, MaySign::Operator)?;
        let (head, sealed) =
            record.body.split_at_checked(HEAD_BYTES).ok_or_else(|| damaged("it is shorter than its head"))?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let (offset, length_bytes) = (number(33), number(41));
        if head[..32] != *blake3::hash(&self.order).as_bytes() {
            return Err(damaged("it answers another order"));
        }
        if offset_bytes.is_some_and(|asked| asked != offset) {
            return Err(damaged("it is another part than was asked for"));
        }
        let opened = self.key.open(&info(&self.repository), head, sealed);
        let bytes = opened.ok_or_else(|| damaged("it was not sealed to this machine"))?.to_vec();
        let fits = bytes.len() as u64 == length_bytes && bytes.len() <= MAX_PART_BYTES;
        match (head[32], offset_bytes) {
            (ABOUT, None) if fits => Ok(Part::About(bytes)),
            (DATA, Some(offset_bytes)) if fits && !bytes.is_empty() => Ok(Part::Data { offset_bytes, bytes }),
            (ZEROES, Some(offset_bytes)) if bytes.is_empty() && length_bytes > 0 => {
                Ok(Part::Zeroes { offset_bytes, length_bytes })
            }
            _ => Err(damaged("it is no part of what was asked for")),
        }
    }
}

/// An order whose signature was found right.
pub struct Order {
    /// Who ordered.
    pub writer: WriterId,
    /// The point.
    pub point: ManifestId,
    /// Its disk; none: its only one.
    pub disk: Option<String>,
    public_key: PublicKey,
    digest: blake3::Hash,
}

impl Order {
    /// Reads an order and proves which writer signed it; one that was revoked is refused.
    pub fn verify(text: &str, repository: &RepositoryId, signers: &Signers) -> Result<Self> {
        const WHAT: &str = "the order of a disk";
        let damaged = |what: &str| Error::damaged(WHAT, what);
        let bytes = Some(text).filter(|text| text.len() <= MAX_ORDER_BYTES * 2).and_then(bytes_of);
        let bytes = bytes.ok_or_else(|| damaged("it is not of hexadecimal digits, or too long"))?;
        let record = record::decode(WHAT, record::PASSAGE_ORDER, &bytes)?.alone(WHAT, &bytes)?;
        let record = record.verified(WHAT, repository, signers, MaySign::Writers)?;
        let known = signers.writers.get(&record.signer).ok_or_else(|| damaged("no writer signed it"))?;
        known.may_begin(record.signer)?;
        let body: OrderBody = record.json(WHAT)?;
        let key = unhex(&body.public_key).ok_or_else(|| damaged("its key is none"))?;
        Ok(Self {
            writer: record.signer,
            point: body.point,
            disk: body.disk,
            public_key: PublicKey::new(&key)?,
            digest: blake3::hash(&bytes),
        })
    }

    /// Seals a part for who ordered; `operator` signs it.
    pub fn seal(
        &self,
        part: &Part,
        (repository, operator): (&RepositoryId, &Signer),
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let content = part.content();
        if content.len() > MAX_PART_BYTES {
            let allowed = format!("at most {MAX_PART_BYTES}");
            return Err(Error::Limit { what: "a part of a disk in bytes", value: content.len() as u64, allowed });
        }
        let head = part.head(&self.digest);
        let sealed = self.public_key.seal(&info(repository), &head, content, entropy)?;
        record::encode(record::PASSAGE_PART, repository, operator, &[head.as_slice(), &sealed].concat())
    }
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| unhex::<1>(std::str::from_utf8(pair).ok()?).map(|[byte]| byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::keys::{Keys, MasterSecret};
    use crate::sign::{KnownWriter, Standing};

    struct Scene {
        entropy: SeededEntropy,
        repository: RepositoryId,
        master: MasterSecret,
        keys: WriterKeys,
        signers: Signers,
    }

    const POINT: ManifestId = ManifestId([9; 32]);

    fn scene() -> Scene {
        let entropy = SeededEntropy::new(1);
        let (repository, writer) = (RepositoryId([1; 16]), WriterId([2; 16]));
        let master = MasterSecret::generate(&entropy);
        let keys = Keys::operator(master.clone(), repository, writer).writer().clone();
        let verify_key = keys.signer().verify_key();
        let known = KnownWriter { verify_key, trust_group: None, standing: Standing::Active };
        let operator = master.operator_signer().verify_key();
        let signers = Signers { operator, writers: [(writer, known)].into() };
        Scene { entropy, repository, master, keys, signers }
    }

    impl Scene {
        fn receiver(&self) -> Receiver {
            Receiver::order(&self.keys, (POINT, Some("sda".into())), &self.entropy).unwrap()
        }

        fn sealed(&self, to: &Receiver, part: &Part, by: &Signer) -> Vec<u8> {
            let order = Order::verify(&to.text(), &self.repository, &self.signers).unwrap();
            assert_eq!((order.writer, order.point, order.disk.as_deref()), (self.keys.writer, POINT, Some("sda")));
            order.seal(part, (&self.repository, by), &self.entropy).unwrap()
        }
    }

    fn data(offset_bytes: u64) -> Part {
        Part::Data { offset_bytes, bytes: vec![7; 1000] }
    }

    #[test]
    fn each_kind_of_part_arrives_as_it_was_and_shows_nothing_on_the_way() {
        let scene = scene();
        let (receiver, operator) = (scene.receiver(), scene.master.operator_signer());
        let zeroes = Part::Zeroes { offset_bytes: 5, length_bytes: 1 << 40 };
        for (part, asked) in [(Part::About(b"disk".to_vec()), None), (zeroes, Some(5)), (data(3), Some(3))] {
            let sealed = scene.sealed(&receiver, &part, &operator);
            assert!(!sealed.windows(16).any(|window| window == [7; 16]));
            assert_eq!(receiver.open(&sealed, asked).unwrap(), part);
        }
    }

    #[test]
    fn who_stands_between_can_neither_open_nor_change_nor_exchange_parts() {
        let scene = scene();
        let (receiver, other, operator) = (scene.receiver(), scene.receiver(), scene.master.operator_signer());
        let sealed = scene.sealed(&receiver, &data(3), &operator);
        assert!(other.open(&sealed, Some(3)).is_err(), "it answers another order");
        assert!(receiver.open(&sealed, Some(4)).is_err(), "it lies elsewhere");
        assert!(receiver.open(&sealed, None).is_err(), "it does not say what the disk is");
        let by_writer = scene.sealed(&receiver, &data(3), &scene.keys.signer());
        assert!(receiver.open(&by_writer, Some(3)).is_err(), "a writer is no holder of the private key");
        let stranger = Signer::new(WriterId::OPERATOR, &[4; 32]);
        assert!(receiver.open(&scene.sealed(&receiver, &data(3), &stranger), Some(3)).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(receiver.open(&changed, Some(3)).is_err(), "{at}");
        }
        assert!((0..sealed.len()).all(|length| receiver.open(&sealed[..length], Some(3)).is_err()));
    }

    #[test]
    fn an_order_that_no_writer_signed_or_that_was_changed_is_refused() {
        let scene = scene();
        let text = scene.receiver().text();
        let verify = |text: &str| Order::verify(text, &scene.repository, &scene.signers).map(drop);
        assert!(verify(&text).is_ok());
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(verify(std::str::from_utf8(&changed).unwrap()).is_err(), "{at}");
        }
        for odd in ["", "ab", "no digits", &text[1..], &"ab".repeat(MAX_ORDER_BYTES + 1)] {
            assert!(verify(odd).is_err());
        }
        assert!(Order::verify(&text, &RepositoryId([3; 16]), &scene.signers).is_err(), "of another repository");
        let mut signers = scene.signers.clone();
        signers.writers.values_mut().for_each(|known| known.standing = Standing::Revoked);
        assert!(Order::verify(&text, &scene.repository, &signers).is_err(), "of a writer that was revoked");
        signers.writers.clear();
        assert!(Order::verify(&text, &scene.repository, &signers).is_err(), "of a writer that nobody knows");
    }

    #[test]
    fn more_than_fits_into_a_part_is_refused() {
        let scene = scene();
        let receiver = scene.receiver();
        let order = Order::verify(&receiver.text(), &scene.repository, &scene.signers).unwrap();
        let part = Part::Data { offset_bytes: 0, bytes: vec![1; MAX_PART_BYTES + 1] };
        let by = (&scene.repository, &scene.master.operator_signer());
        assert!(matches!(order.seal(&part, by, &scene.entropy), Err(Error::Limit { .. })));
    }
}
