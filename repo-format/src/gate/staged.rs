//! Packs that have arrived and not been taken: every byte is looked at once more, in pieces, before they get their name.

use super::{Denied, Gate};
use crate::error::{Error, Result};
use crate::id::{PackId, WriterId};
use crate::pack::{self, PackInfo, PackKind};

/// Bytes that were received and lie somewhere, such as in a temporary file.
pub trait StagedBytes {
    /// How many there are.
    fn size_bytes(&self) -> u64;
    /// Fills `buf` from an offset.
    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()>;
}

impl StagedBytes for [u8] {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let end = usize::try_from(offset_bytes).ok().and_then(|start| Some((start, start.checked_add(buf.len())?)));
        let part = end.and_then(|(start, end)| self.get(start..end));
        buf.copy_from_slice(part.ok_or_else(|| Error::damaged("what was received", "it is shorter than it says"))?);
        Ok(())
    }
}

/// Bytes hashed at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Checks a pack as a whole: its name, header, footer and signature, that this writer made it, and each sealed entry.
pub fn check_pack(
    gate: &Gate,
    writer: WriterId,
    kind: PackKind,
    id: &PackId,
    bytes: &(impl StagedBytes + ?Sized),
) -> Result<PackInfo, Denied> {
    let key = kind.key(id);
    if bytes.size_bytes() > pack::MAX_PACK_BYTES {
        return Err(Denied::Wrong(format!("{key} is {} bytes long; no pack is", bytes.size_bytes())));
    }
    check_name(&key, id, bytes)?;
    let read = &mut |offset: u64, buf: &mut [u8]| bytes.read_at(offset, buf);
    let info = pack::load_from(&key, kind, bytes.size_bytes(), read, (&gate.repository, &gate.signers))?;
    if !info.is_verified || info.header.writer != writer || info.header.signer != writer {
        return Err(Denied::Forbidden(format!("store {key}: it is of writer {}", info.header.writer)));
    }
    if kind == PackKind::Data && info.header.chunk_bytes != gate.chunk_bytes {
        return Err(Denied::Wrong(format!("{key} has chunks of {} bytes", info.header.chunk_bytes)));
    }
    if info.rows.is_empty() {
        return Err(Denied::Wrong(format!("{key} holds nothing")));
    }
    check_entries(&key, &info, bytes)?;
    Ok(info)
}

fn check_name(key: &str, id: &PackId, bytes: &(impl StagedBytes + ?Sized)) -> Result<(), Denied> {
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; usize::try_from(PIECE_BYTES).expect("a MiB fits")];
    let mut at = 0;
    while at < bytes.size_bytes() {
        let length = PIECE_BYTES.min(bytes.size_bytes() - at);
        let part = &mut piece[..usize::try_from(length).expect("at most a MiB")];
        bytes.read_at(at, part)?;
        hasher.update(part);
        at += length;
    }
    match hasher.finalize().as_bytes() == &id.0 {
        true => Ok(()),
        false => Err(Denied::Wrong(format!("the bytes sent as {key} do not have the hash that is its name"))),
    }
}

fn check_entries(key: &str, info: &PackInfo, bytes: &(impl StagedBytes + ?Sized)) -> Result<(), Denied> {
    let mut sealed = Vec::new();
    for row in &info.rows {
        sealed.resize(row.stored_bytes as usize, 0);
        bytes.read_at(row.offset.into(), &mut sealed)?;
        if pack::sealed_hash(&sealed) != row.sealed_hash {
            return Err(Denied::Wrong(format!(
                "the sealed bytes of {} in {key} do not have the hash of the footer",
                row.id
            )));
        }
    }
    Ok(())
}
