//! Showing what is stored: every structure of the format as JSON or text, damaged ones as far as they go.
//!
//! Nothing here is needed for reading data, and nothing here fails because of bytes: what is wrong is listed under `problems`. Keys,
//! sealed secrets and the contents of chunks are never shown.

mod entries;
mod pack;
mod record;
mod text;

pub use entries::{chunk, index, node};
pub use text::text;

use crate::error::Result;
use crate::id::hex;
use crate::layout::{Field, Length, bytes_of, number_of};
use crate::pack::PackKind;
use crate::record::{
    CATALOG, CONDEMNED, CONDEMNED_LEASES, CONFIG, DAMAGED, EXECUTION, KEY_SLOT, LEAF, LEASE, MANIFEST, Magic, PARDON,
    PROBE, RECEIPT, RESCUE, SUSPECTS, TOMBSTONE, VERIFIED, WRITER,
};
use crate::repository::Repository;
use crate::store::Store;
use serde_json::{Map, Value, json};

/// What a dump becomes: fields, and what is wrong.
struct Sheet {
    fields: Map<String, Value>,
    problems: Vec<Value>,
}

impl Sheet {
    fn new(kind: &str) -> Self {
        let mut sheet = Self { fields: Map::new(), problems: Vec::new() };
        sheet.set("kind", kind);
        sheet
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.into(), value.into());
    }

    fn problem(&mut self, what: impl Into<String>) {
        self.problems.push(Value::String(what.into()));
    }

    /// Every field of a layout that `bytes` reach, numbers as numbers and the rest as digits.
    fn layout(&mut self, fields: &[Field], bytes: &[u8]) -> Map<String, Value> {
        let mut shown = Map::new();
        for field in fields {
            let Length::Bytes(length) = field.length else { continue };
            match (bytes_of(fields, field.name, bytes), number_of(fields, field.name, bytes)) {
                _ if field.name == "reserved" => {
                    let reserved = bytes.get(field.offset..field.offset + length);
                    if reserved.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
                        self.problem(format!("reserved bytes from {} on are not zero", field.offset));
                    }
                }
                (Some(magic), _) if field.name == "magic" => {
                    shown.insert("magic".into(), magic.escape_ascii().to_string().into());
                }
                (Some(_), Some(number)) => {
                    shown.insert(field.name.into(), number.into());
                }
                (Some(bytes), None) => {
                    shown.insert(field.name.into(), hex(bytes).into());
                }
                (None, _) => {
                    self.problem(format!("it ends before its field {:?}", field.name));
                    return shown;
                }
            }
        }
        shown
    }

    fn finish(mut self) -> Value {
        let problems = std::mem::take(&mut self.problems);
        self.set("problems", problems);
        Value::Object(self.fields)
    }
}

const RECORDS: [(Magic, &str, &str); 19] = [
    (CONFIG, "configuration", "config"),
    (KEY_SLOT, "key slot", "keys/"),
    (WRITER, "writer", "writers/"),
    (MANIFEST, "manifest", "manifests/"),
    (RECEIPT, "receipt", "-"),
    (TOMBSTONE, "tombstone", "tombstones/"),
    (PARDON, "pardon", "pardons/"),
    (EXECUTION, "execution", "executions/"),
    (LEASE, "lease", "leases/"),
    (CONDEMNED, "condemned packs", "condemned/"),
    (CONDEMNED_LEASES, "leases at a condemnation", "condemned/"),
    (RESCUE, "rescue", "rescues/"),
    (VERIFIED, "verification", "verified/"),
    (DAMAGED, "damaged packs", "damaged/"),
    (SUSPECTS, "suspect points", "suspects/"),
    (PROBE, "probe of the store", "probes/"),
    (CATALOG, "catalog", "catalogs/"),
    (LEAF, "leaf of catalogs", "leaves/"),
    // Never in a store; here so that its magic is recognised.
    (Magic(b"ICEFOOT1"), "end of a pack", "-"),
];

/// What an object is, by its first bytes, else by its key.
enum Sort {
    Record(&'static str),
    Pack(PackKind),
    Unknown,
}

fn sort_of(key: &str, bytes: &[u8]) -> (Sort, bool) {
    let packs = [PackKind::Data, PackKind::Tree];
    if let Some((_, name, _)) = RECORDS.iter().find(|(magic, ..)| bytes.starts_with(magic.0)) {
        return (Sort::Record(name), true);
    }
    if let Some(kind) = packs.into_iter().find(|kind| bytes.starts_with(kind.magic())) {
        return (Sort::Pack(kind), true);
    }
    if let Some(kind) = packs.into_iter().find(|kind| key.starts_with(kind.prefix())) {
        return (Sort::Pack(kind), false);
    }
    match RECORDS.iter().find(|(_, _, prefix)| key.starts_with(prefix)) {
        Some((_, name, _)) => (Sort::Record(name), false),
        None => (Sort::Unknown, false),
    }
}

/// Shows an object of the store. `repo` adds what needs keys and signers; without it only what stands in the bytes is shown.
pub fn object(store: &dyn Store, key: &str, repo: Option<&Repository>) -> Result<Value> {
    Ok(bytes(key, &store.get(key)?, repo))
}

/// Shows bytes that are, or were, an object. `key` names them, or is empty; what they are is told by their first bytes.
pub fn bytes(key: &str, bytes: &[u8], repo: Option<&Repository>) -> Value {
    let (sort, by_magic) = sort_of(key, bytes);
    let mut sheet = match sort {
        Sort::Record(name) => record::object(name, key, bytes, repo),
        Sort::Pack(kind) => pack::object(kind, key, bytes, repo),
        Sort::Unknown => unknown(bytes),
    };
    if !by_magic && !matches!(sort, Sort::Unknown) {
        sheet.problem("its first bytes are those of no object; what it is was told by its key");
    }
    if !key.is_empty() {
        sheet.set("object", key);
    }
    sheet.set("length_bytes", bytes.len());
    sheet.finish()
}

const WRITER_KEY_SECRETS: [&str; 3] = ["id_key", "map_key", "signing_seed"];

/// A writer key file, or nothing we know. Of that only the first bytes are shown: it could be anything.
fn unknown(bytes: &[u8]) -> Sheet {
    let file: Option<Map<String, Value>> = serde_json::from_slice(bytes).ok();
    if let Some(mut file) = file.filter(|file| WRITER_KEY_SECRETS.iter().all(|name| file.contains_key(*name))) {
        let mut sheet = Sheet::new("writer key file");
        WRITER_KEY_SECRETS.iter().for_each(|name| {
            file.insert((*name).into(), json!("(secret)"));
        });
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if let Err(error) = crate::writer_key::from_text(text) {
            sheet.problem(error.to_string());
        }
        sheet.set("body", file);
        return sheet;
    }
    let mut sheet = Sheet::new("unknown");
    sheet.problem("neither its first bytes nor its name are those of an object of the format");
    sheet.set("first_bytes", hex(&bytes[..bytes.len().min(8)]));
    sheet
}

#[cfg(test)]
mod tests;
