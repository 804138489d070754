//! Passing a disk of a recovery point, or files of it, to one machine, through a server that must not see it.
//!
//! The machine makes a key for this one passage and orders the disk as a writer of the repository: the order names point and disk, carries the
//! public half, and is signed. Who holds the repository's private key seals each part to that key and signs it as the operator. Who stands
//! between can withhold and repeat, but neither read nor change anything: a part says which order it answers and where it belongs. An order of
//! files names them, and what the machine asks about them is sealed too: the answer says to which bytes of a question it belongs. Nothing
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
const ANSWER: u8 = 3;
/// Longest question about files, sealed.
const MAX_ASK_BYTES: usize = 64 << 10;
/// As errors name what comes.
const PART: &str = "a part of the disk";
/// Digest of the order (of an answer: of the order's digest and the question), kind, offset, length.
const HEAD_BYTES: usize = 32 + 1 + 8 + 8;

/// What a machine orders.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    point: ManifestId,
    disk: Option<String>,
    /// 64 hexadecimal digits.
    public_key: String,
    /// Nothing but these files of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<FilesBody>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesBody {
    partition: Option<u32>,
    /// BLAKE3 of their paths, in hexadecimal digits.
    paths: String,
}

/// Files of a point, as both sides and the server name them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files<'f> {
    /// The partition, where one was named.
    pub partition: Option<u32>,
    /// The paths, in any form that all agree on.
    pub paths: &'f [String],
}

impl Files<'_> {
    fn body(&self) -> FilesBody {
        let mut digest = blake3::Hasher::new();
        for path in self.paths {
            digest.update(&(path.len() as u64).to_le_bytes());
            digest.update(path.as_bytes());
        }
        FilesBody { partition: self.partition, paths: digest.finalize().to_hex().to_string() }
    }
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
    /// What was asked about files.
    Answer(Vec<u8>),
}

/// What an answer about files answers: these bytes of a question to this order.
fn digest_of(order: &blake3::Hash, ask: &[u8]) -> blake3::Hash {
    blake3::hash(&[order.as_bytes().as_slice(), ask].concat())
}

impl Part {
    fn head(&self, order: &blake3::Hash) -> [u8; HEAD_BYTES] {
        let (kind, offset_bytes, length_bytes) = match self {
            Self::About(text) => (ABOUT, 0, text.len() as u64),
            Self::Zeroes { offset_bytes, length_bytes } => (ZEROES, *offset_bytes, *length_bytes),
            Self::Data { offset_bytes, bytes } => (DATA, *offset_bytes, bytes.len() as u64),
            Self::Answer(bytes) => (ANSWER, 0, bytes.len() as u64),
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
            Self::About(bytes) | Self::Data { bytes, .. } | Self::Answer(bytes) => bytes,
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
    /// Of the repository: what is asked about files is sealed to it.
    keeper: PublicKey,
    order: Vec<u8>,
    signers: Signers,
}

impl Receiver {
    /// With a new key. What comes is believed when the operator signed it whom the machine's own key file names.
    pub fn order(
        keys: &WriterKeys,
        (point, disk): (ManifestId, Option<String>),
        files: Option<&Files<'_>>,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(random(entropy));
        let key = PrivateKey::new(&secret);
        let files = files.map(Files::body);
        let body = OrderBody { point, disk, public_key: hex(&key.public().bytes()), files };
        let order = record::encode_json(record::PASSAGE_ORDER, &keys.repository, &keys.signer(), &body)?;
        let signers = Signers { operator: keys.operator, writers: HashMap::new() };
        Ok(Self { repository: keys.repository, key, keeper: keys.public.clone(), order, signers })
    }

    /// The order as hexadecimal digits.
    pub fn text(&self) -> String {
        hex(&self.order)
    }

    /// Seals a question about the ordered files.
    pub fn ask(&self, question: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
        let order = blake3::hash(&self.order);
        self.keeper.seal(&info(&self.repository), order.as_bytes(), question, entropy)
    }

    /// Opens the answer to a question, as [`ask`](Self::ask) sealed it.
    pub fn open_answer(&self, sealed: &[u8], ask: &[u8]) -> Result<Vec<u8>> {
        match self.opened(sealed, &digest_of(&blake3::hash(&self.order), ask))? {
            (ANSWER, 0, length_bytes, bytes) if bytes.len() as u64 == length_bytes => Ok(bytes),
            _ => Err(Error::damaged(PART, "it is no answer to what was asked")),
        }
    }

    /// Opens a part that answers this order, and of it what was asked for: what the disk is, or what lies at an offset.
    pub fn open(&self, sealed: &[u8], offset_bytes: Option<u64>) -> Result<Part> {
        let (kind, offset, length_bytes, bytes) = self.opened(sealed, &blake3::hash(&self.order))?;
        if offset_bytes.is_some_and(|asked| asked != offset) {
            return Err(Error::damaged(PART, "it is another part than was asked for"));
        }
        let fits = bytes.len() as u64 == length_bytes && bytes.len() <= MAX_PART_BYTES;
        match (kind, offset_bytes) {
            (ABOUT, None) if fits => Ok(Part::About(bytes)),
            (DATA, Some(offset_bytes)) if fits && !bytes.is_empty() => Ok(Part::Data { offset_bytes, bytes }),
            (ZEROES, Some(offset_bytes)) if bytes.is_empty() && length_bytes > 0 => {
                Ok(Part::Zeroes { offset_bytes, length_bytes })
            }
            _ => Err(Error::damaged(PART, "it is no part of what was asked for")),
        }
    }

    /// Kind, offset, length and content of a part that the operator signed and sealed to this machine.
    fn opened(&self, sealed: &[u8], digest: &blake3::Hash) -> Result<(u8, u64, u64, Vec<u8>)> {
        let damaged = |what: &str| Error::damaged(PART, what);
        let record = record::decode(PART, record::PASSAGE_PART, sealed)?.alone(PART, sealed)?;
        let record = record.verified(PART, &self.repository, &self.signers, MaySign::Operator)?;
        let (head, sealed) =
            record.body.split_at_checked(HEAD_BYTES).ok_or_else(|| damaged("it is shorter than its head"))?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        if head[..32] != *digest.as_bytes() {
            return Err(damaged("it answers another order"));
        }
        let opened = self.key.open(&info(&self.repository), head, sealed);
        let bytes = opened.ok_or_else(|| damaged("it was not sealed to this machine"))?.to_vec();
        Ok((head[32], number(33), number(41), bytes))
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
    files: Option<FilesBody>,
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
            files: body.files,
            public_key: PublicKey::new(&key)?,
            digest: blake3::hash(&bytes),
        })
    }

    /// Whether it is for these files and nothing else; without any, for the whole disk.
    pub fn is_for(&self, files: Option<&Files<'_>>) -> bool {
        self.files == files.map(Files::body)
    }

    /// Opens a question about the files that were ordered. Anybody may have sealed it; the answer is opened by who ordered alone.
    pub fn open_ask(&self, ask: &[u8], repository: &RepositoryId, private: &PrivateKey) -> Result<Vec<u8>> {
        const WHAT: &str = "a question about files";
        let fits = ask.len() <= MAX_ASK_BYTES;
        let opened = fits.then(|| private.open(&info(repository), self.digest.as_bytes(), ask)).flatten();
        opened.map(|bytes| bytes.to_vec()).ok_or_else(|| Error::damaged(WHAT, "it belongs to another order"))
    }

    /// Seals a part for who ordered; `operator` signs it.
    pub fn seal(&self, part: &Part, by: (&RepositoryId, &Signer), entropy: &dyn Entropy) -> Result<Vec<u8>> {
        self.sealed(part, &self.digest, by, entropy)
    }

    /// Seals the answer to a question for who ordered; `operator` signs it.
    pub fn seal_answer(
        &self,
        (answer, ask): (Vec<u8>, &[u8]),
        by: (&RepositoryId, &Signer),
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        self.sealed(&Part::Answer(answer), &digest_of(&self.digest, ask), by, entropy)
    }

    fn sealed(
        &self,
        part: &Part,
        digest: &blake3::Hash,
        (repository, operator): (&RepositoryId, &Signer),
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let content = part.content();
        if content.len() > MAX_PART_BYTES {
            let allowed = format!("at most {MAX_PART_BYTES}");
            return Err(Error::Limit { what: "a part of a disk in bytes", value: content.len() as u64, allowed });
        }
        let head = part.head(digest);
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
            Receiver::order(&self.keys, (POINT, Some("sda".into())), None, &self.entropy).unwrap()
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
    fn an_answer_about_files_belongs_to_its_question_and_its_order() {
        let scene = scene();
        let (paths, others) = (["/etc".to_owned()], ["/e".to_owned(), "tc".to_owned()]);
        let files = Files { partition: Some(2), paths: &paths };
        let order = |files: &Files<'_>| {
            let receiver = Receiver::order(&scene.keys, (POINT, None), Some(files), &scene.entropy).unwrap();
            let order = Order::verify(&receiver.text(), &scene.repository, &scene.signers).unwrap();
            (receiver, order)
        };
        let (receiver, order_of_files) = order(&files);
        let (_, other_order) = order(&files);
        assert!(order_of_files.is_for(Some(&files)) && !order_of_files.is_for(None));
        assert!(!order_of_files.is_for(Some(&Files { partition: None, ..files.clone() })));
        assert!(!order_of_files.is_for(Some(&Files { paths: &others, ..files.clone() })));
        let (ask, again) =
            (receiver.ask(b"what", &scene.entropy).unwrap(), receiver.ask(b"what", &scene.entropy).unwrap());
        assert!(!ask.windows(4).any(|window| window == b"what"));
        let private = scene.master.private_key();
        assert_eq!(order_of_files.open_ask(&ask, &scene.repository, &private).unwrap(), b"what");
        assert!(other_order.open_ask(&ask, &scene.repository, &private).is_err(), "of another order");
        assert!(order_of_files.open_ask(&[7; MAX_ASK_BYTES + 1], &scene.repository, &private).is_err());
        let by = (&scene.repository, &scene.master.operator_signer());
        let seal = |order: &Order, ask: &[u8]| order.seal_answer((b"this".to_vec(), ask), by, &scene.entropy).unwrap();
        let sealed = seal(&order_of_files, &ask);
        assert_eq!(receiver.open_answer(&sealed, &ask).unwrap(), b"this");
        assert!(receiver.open_answer(&sealed, &again).is_err(), "the answer to another question");
        assert!(receiver.open_answer(&seal(&other_order, &ask), &ask).is_err(), "the answer to another order");
        assert!(receiver.open(&sealed, Some(0)).is_err() && receiver.open(&sealed, None).is_err());
        let part = order_of_files.seal(&data(0), by, &scene.entropy).unwrap();
        assert!(receiver.open_answer(&part, &ask).is_err(), "a part of a disk answers nothing");
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
