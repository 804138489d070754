//! Puts lengths, hashes, seals and signatures of a mutated object right, so that what lies behind them is reached: without it every
//! mutation ends at the first checksum.
//!
//! Shared by `fuzz/` and by the tests in `fuzz_corpus.rs`.

use crate::fuzz_bodies::repository;
use repo_format::id::ManifestId;
use repo_format::manifest::Receipt;
use repo_format::pack::HEADER_BYTES;
use repo_format::record;
use repo_format::seal::Counter;
use repo_format::sign::Signer;

/// Who may sign everything.
pub fn operator() -> Signer {
    repository().keys().master_for("the corpus").unwrap().operator_signer()
}

/// Signs a record anew, with its length put right.
pub fn record(bytes: &mut Vec<u8>, signer: &Signer) {
    let Some(end) = bytes.len().checked_sub(96).filter(|end| *end >= 48) else { return };
    bytes.truncate(end);
    let body_bytes = u32::try_from(end - 48).unwrap();
    bytes[12..16].copy_from_slice(&body_bytes.to_le_bytes());
    bytes[32..48].copy_from_slice(&signer.id().0);
    let signature = signer.sign(&blake3::hash(bytes));
    bytes.extend_from_slice(&signature);
    let checksum = blake3::hash(bytes);
    bytes.extend_from_slice(checksum.as_bytes());
}

/// Signs a pack's footer anew, and puts the hashes of its entries right, as far as its trailer can be followed.
pub fn pack(bytes: &mut [u8]) {
    let size = bytes.len();
    if size < HEADER_BYTES + 128 {
        return;
    }
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i])) as usize;
    let table_bytes = number(bytes, size - 116).min(size - HEADER_BYTES - 128);
    let table = size - 128 - table_bytes;
    bytes[size - 112..size - 104].copy_from_slice(&(size as u64).to_le_bytes());
    for row in (table..size - 128).step_by(64).filter(|row| row + 64 <= size - 128) {
        let (offset, stored) = (number(bytes, row + 32), number(bytes, row + 36));
        if let Some(sealed) = bytes.get(offset..offset.saturating_add(stored)) {
            let hash = blake3::hash(sealed);
            bytes[row + 48..row + 64].copy_from_slice(&hash.as_bytes()[..16]);
        }
    }
    let signer = repository().signer();
    bytes[48..64].copy_from_slice(&signer.id().0);
    let digest = |bytes: &[u8], end: usize| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes[..HEADER_BYTES]).update(&bytes[table..end]);
        hasher.finalize()
    };
    let signature = signer.sign(&digest(bytes, size - 96));
    bytes[size - 96..size - 32].copy_from_slice(&signature);
    let checksum = digest(bytes, size - 32);
    bytes[size - 32..].copy_from_slice(checksum.as_bytes());
}

/// A manifest with a receipt whose sealed part is these bytes, whatever they are.
pub fn manifest(json: &[u8]) -> Vec<u8> {
    let (keys, signer) = (repository().keys().writer(), repository().signer());
    let mut body = [&keys.ids.name("vm").0[..], &[0; 32], &[9; 32]].concat();
    let header = record::header(record::MANIFEST, &keys.repository, signer.id(), body.len() + json.len() + 16).unwrap();
    let aad = [&header[..], &body].concat();
    body.extend_from_slice(json);
    keys.map.manifest(&keys.repository, &[9; 32]).seal(Counter(0), &aad, &mut body, 80);
    let mut object = record::encode(record::MANIFEST, &keys.repository, signer, &body).unwrap();
    let manifest = ManifestId(*blake3::hash(&object).as_bytes());
    let receipt = Receipt { manifest, sequence: 1, received_at: jiff::Timestamp::UNIX_EPOCH };
    object.extend(record::encode_json(record::RECEIPT, &keys.repository, signer, &receipt).unwrap());
    object
}
