//! Packs: header, table and trailer, each shown whether or not the others are sound; each entry compared with its hash.

use super::Sheet;
use crate::codec::Kind;
use crate::id::{PackId, WriterId, hex};
use crate::layout::{FOOTER_ROW, PACK_HEADER, PACK_TRAILER, bytes_of, number_of};
use crate::pack::{HEADER_BYTES, PackKind, ROW_BYTES, TRAILER_BYTES, sealed_hash};
use crate::repository::Repository;
use serde_json::{Map, Value, json};

pub(super) fn object(kind: PackKind, key: &str, bytes: &[u8], repo: Option<&Repository>) -> Sheet {
    let mut sheet = Sheet::new(if kind == PackKind::Data { "data pack" } else { "tree pack" });
    let id = PackId(*blake3::hash(bytes).as_bytes());
    if !key.is_empty() && kind.key(&id) != key {
        sheet.problem(format!("its bytes have the hash {id}, which is not its name"));
    }
    let mut header = sheet.layout(PACK_HEADER, bytes);
    for name in ["HPKE encapsulated key", "HPKE ciphertext of the pack key"] {
        header.remove(name);
    }
    for name in ["signer", "writer"] {
        if header.get(name).and_then(Value::as_str) == Some(&WriterId::OPERATOR.to_string()) {
            header.insert(name.into(), json!("operator"));
        }
    }
    sheet.set("header", header);
    if bytes.len() < HEADER_BYTES + TRAILER_BYTES {
        sheet.problem("it is shorter than the shortest pack");
        return sheet;
    }
    let table_start = footer(&mut sheet, bytes);
    verify(&mut sheet, (kind, key), bytes, repo);
    if let Some(start) = table_start {
        rows(&mut sheet, bytes, start);
    }
    sheet
}

/// Shows the trailer and finds the table: by the trailer, else by its rows.
fn footer(sheet: &mut Sheet, bytes: &[u8]) -> Option<usize> {
    let trailer_start = bytes.len() - TRAILER_BYTES;
    let trailer = &bytes[trailer_start..];
    let shown = sheet.layout(PACK_TRAILER, trailer);
    sheet.set("trailer", shown);
    if bytes_of(PACK_TRAILER, "magic", trailer) != Some(b"ICEFOOT1") {
        sheet.problem("its trailer does not begin as one");
    }
    if number_of(PACK_TRAILER, "pack_bytes", trailer) != Some(bytes.len() as u64) {
        sheet.problem(format!("it is {} bytes long; its trailer says otherwise", bytes.len()));
    }
    let count = number_of(PACK_TRAILER, "entry_count", trailer)?;
    let said = number_of(PACK_TRAILER, "table_bytes", trailer)?;
    let by_trailer = usize::try_from(said).ok().and_then(|said| trailer_start.checked_sub(said));
    let by_trailer =
        by_trailer.filter(|start| *start >= HEADER_BYTES && said == count.saturating_mul(ROW_BYTES as u64));
    let found =
        by_trailer.filter(|start| first_offset(bytes, *start) == Some(HEADER_BYTES as u64) || *start == trailer_start);
    if found.is_none() {
        sheet.problem("its trailer does not say where its table is");
        let by_rows = by_rows(bytes, trailer_start);
        sheet.problem(if by_rows.is_some() { "its table was found by its rows" } else { "its table was not found" });
        return by_rows;
    }
    found
}

fn first_offset(bytes: &[u8], row: usize) -> Option<u64> {
    number_of(FOOTER_ROW, "offset in the pack", bytes.get(row..)?)
}

/// Goes back row by row: each entry ends where the next begins, and the first begins behind the header.
fn by_rows(bytes: &[u8], end: usize) -> Option<usize> {
    let mut start = end.checked_sub(ROW_BYTES)?;
    let mut follows = None;
    loop {
        let row = bytes.get(start..)?;
        let offset = number_of(FOOTER_ROW, "offset in the pack", row)?;
        let ends = offset.checked_add(number_of(FOOTER_ROW, "stored_bytes", row)?)?;
        if follows.is_some_and(|follows| follows != ends) || ends > start as u64 {
            return None;
        }
        if offset == HEADER_BYTES as u64 {
            return Some(start);
        }
        follows = Some(offset);
        start = start.checked_sub(ROW_BYTES).filter(|start| *start > HEADER_BYTES)?;
    }
}

/// The checks of a reader, whose first failure is shown.
fn verify(sheet: &mut Sheet, (kind, key): (PackKind, &str), bytes: &[u8], repo: Option<&Repository>) {
    let Some(repo) = repo else { return };
    let result = crate::pack::PackInfo::footer_of(key, kind, bytes, &repo.config().repository, repo.signers());
    sheet.set("footer_verified", result.is_ok());
    if let Err(error) = result {
        sheet.problem(error.to_string());
    }
}

fn rows(sheet: &mut Sheet, bytes: &[u8], start: usize) {
    let (table, _) = bytes[start..bytes.len() - TRAILER_BYTES].as_chunks::<ROW_BYTES>();
    let mut shown = Vec::with_capacity(table.len());
    for (number, row) in table.iter().enumerate() {
        let fits = row_fits(bytes, row, start);
        if !fits {
            sheet.problem(format!("entry {number}: its sealed bytes do not have the hash in its row"));
        }
        shown.push(Value::Object(row_fields(number, row, fits)));
    }
    sheet.set("entries", shown);
}

fn row_fits(bytes: &[u8], row: &[u8], table: usize) -> bool {
    let number = |name| number_of(FOOTER_ROW, name, row).and_then(|number| usize::try_from(number).ok());
    let (Some(offset), Some(length)) = (number("offset in the pack"), number("stored_bytes")) else { return false };
    let sealed = offset.checked_add(length).filter(|end| *end <= table).and_then(|end| bytes.get(offset..end));
    let said = row.last_chunk::<16>();
    sealed.is_some_and(|sealed| Some(&sealed_hash(sealed)) == said)
}

fn row_fields(number: usize, row: &[u8], fits: bool) -> Map<String, Value> {
    let field = |name| number_of(FOOTER_ROW, name, row).unwrap_or_default();
    let mut shown = Map::new();
    shown.insert("entry".into(), number.into());
    shown.insert("id".into(), bytes_of(FOOTER_ROW, "id", row).map(hex).into());
    shown.insert("offset".into(), field("offset in the pack").into());
    for name in ["stored_bytes", "plain_bytes"] {
        shown.insert(name.into(), field(name).into());
    }
    let kind = u8::try_from(field("kind")).ok().and_then(Kind::from_number);
    let name = kind.map_or_else(|| format!("unknown kind {}", field("kind")), |kind| kind.name().into());
    shown.insert("kind".into(), name.into());
    shown.insert("sealed_hash_fits".into(), fits.into());
    shown
}
