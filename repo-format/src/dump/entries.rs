//! Chunks and nodes by their ids, and the index: where they lie, and of nodes what they reference.

use super::Sheet;
use crate::codec::Kind;
use crate::error::{Error, Result};
use crate::id::{ChunkId, EntryId, NodeId};
use crate::index::Index;
use crate::layout::{NODE, number_of};
use crate::pack::PackKind;
use crate::reader::Reader;
use crate::tree::node::{Node, child_span};
use serde_json::{Value, json};

/// Where an entry lies, by the index, and whether the packs' footers agree.
fn places(sheet: &mut Sheet, reader: &Reader<'_>, id: &EntryId, kind: PackKind) -> Result<()> {
    let mut shown = Vec::new();
    for place in reader.index().places(&id.key())? {
        let Some(pack) = reader.pack(place.pack)?.filter(|pack| pack.kind == kind) else { continue };
        let object = kind.key(&pack.id);
        match reader.confirm(id, kind, place) {
            Err(error @ (Error::Index { .. } | Error::Interrupted)) => return Err(error),
            Ok(Some((_, cached))) => {
                let row = &cached.info().rows[place.entry as usize];
                let encoding = Kind::from_number(row.kind).map_or("unknown", Kind::name);
                shown.push(json!({
                    "object": object, "entry": place.entry, "writer": pack.writer, "offset": row.offset,
                    "stored_bytes": row.stored_bytes, "plain_bytes": row.plain_bytes, "encoding": encoding,
                }));
            }
            Ok(None) => sheet.problem(format!("the index names {object}, entry {}; its footer does not", place.entry)),
            Err(error) => sheet.problem(error.to_string()),
        }
    }
    if shown.is_empty() {
        sheet.problem("no pack is known to hold it");
    }
    sheet.set("places", shown);
    Ok(())
}

/// Shows where a chunk lies and whether it can be read; never what is in it.
pub fn chunk(reader: &Reader<'_>, id: &ChunkId) -> Result<Value> {
    let mut sheet = Sheet::new("chunk");
    sheet.set("id", id.to_string());
    places(&mut sheet, reader, &(*id).into(), PackKind::Data)?;
    let length = sheet.fields["places"].pointer("/0/plain_bytes").and_then(Value::as_u64);
    if let Some(length) = length.and_then(|length| u32::try_from(length).ok()) {
        match reader.chunk(id, length) {
            Ok(_) => sheet.set("reads_and_has_its_id", true),
            Err(Error::KeyNeeded(_)) => sheet.set("reads_and_has_its_id", Value::Null),
            Err(error) => {
                sheet.set("reads_and_has_its_id", false);
                sheet.problem(error.to_string());
            }
        }
    }
    Ok(sheet.finish())
}

/// Shows a tree node: where it lies and what it references.
pub fn node(reader: &Reader<'_>, id: &NodeId) -> Result<Value> {
    let mut sheet = Sheet::new("tree node");
    sheet.set("id", id.to_string());
    places(&mut sheet, reader, &(*id).into(), PackKind::Tree)?;
    match reader.encoded_node(id) {
        Err(error @ (Error::Index { .. } | Error::Interrupted)) => return Err(error),
        Err(error) => sheet.problem(error.to_string()),
        Ok(encoded) => {
            let mut header = sheet.layout(NODE, &encoded);
            header.remove("bitmap");
            sheet.set("header", header);
            let level =
                number_of(NODE, "level", &encoded).and_then(|level| u8::try_from(level).ok()).unwrap_or(u8::MAX);
            match Node::decode("the node", level, &encoded) {
                Ok(node) => children(&mut sheet, &node),
                Err(error) => sheet.problem(error.to_string()),
            }
        }
    }
    Ok(sheet.finish())
}

fn children(sheet: &mut Sheet, node: &Node) {
    let span = child_span(node.level.min(crate::tree::node::MAX_LEVEL));
    let children = node.children.iter().enumerate().filter_map(|(slot, child)| Some((slot, EntryId((*child)?))));
    let shown: Vec<Value> = children.map(|(slot, id)| json!({ "slot": slot, "id": id.to_string() })).collect();
    sheet.set("positions_of_a_child", span);
    sheet.set(if node.level == 0 { "chunks" } else { "nodes" }, shown);
}

/// Shows the index: its packs, and how many entries it knows.
pub fn index(index: &Index) -> Result<Value> {
    let mut sheet = Sheet::new("index");
    sheet.set("file", index.path().display().to_string());
    sheet.set("entries", index.entry_count()?);
    let packs = index.packs()?.into_iter();
    let packs = packs.map(|pack| {
        json!({
            "object": pack.kind.key(&pack.id), "writer": pack.writer, "signer": pack.signer,
            "length_bytes": pack.pack_bytes, "entries": pack.entry_count,
        })
    });
    sheet.set("packs", packs.collect::<Vec<Value>>());
    Ok(sheet.finish())
}
