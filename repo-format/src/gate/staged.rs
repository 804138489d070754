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
    /// BLAKE3 of all of them, as they were received.
    fn hash(&self) -> [u8; 32];
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

    fn hash(&self) -> [u8; 32] {
        blake3::hash(self).into()
    }
}

/// Bytes that are read at once to look at the entries in them. Less than what a store reads past the cache, where they still are.
const WINDOW_BYTES: u64 = 128 << 10;

/// Checks a pack as a whole: its name, header, footer and signature, that this writer made it, and each sealed entry. The name is compared with
/// what came, everything else with what lies there now, so what was received and what is stored are the same bytes.
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
    if bytes.hash() != id.0 {
        return Err(Denied::Wrong(format!("the bytes sent as {key} do not have the hash that is its name")));
    }
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

fn check_entries(key: &str, info: &PackInfo, bytes: &(impl StagedBytes + ?Sized)) -> Result<(), Denied> {
    let mut window = Vec::new();
    let mut begin = 0;
    for row in &info.rows {
        let (first, length) = (u64::from(row.offset), u64::from(row.stored_bytes));
        // The rows follow each other, so each byte is read once.
        if first < begin || first + length > begin + window.len() as u64 {
            let wanted = length.max(WINDOW_BYTES.min(bytes.size_bytes().saturating_sub(first)));
            window.resize(usize::try_from(wanted).map_err(|_| Error::damaged(key, "an entry is too long"))?, 0);
            begin = first;
            bytes.read_at(begin, &mut window)?;
        }
        let from = usize::try_from(first - begin).map_err(|_| Error::damaged(key, "an entry is too long"))?;
        let sealed = &window[from..from + row.stored_bytes as usize];
        if pack::sealed_hash(sealed) != row.sealed_hash {
            return Err(Denied::Wrong(format!(
                "the sealed bytes of {} in {key} do not have the hash of the footer",
                row.id
            )));
        }
    }
    Ok(())
}
