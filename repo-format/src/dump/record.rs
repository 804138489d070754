//! Records: header, body, signature and checksum, each shown whether or not the others are sound.

use super::Sheet;
use crate::catalog::SALT_BYTES;
use crate::id::WriterId;
use crate::layout::{MANIFEST_BODY, RECORD_HEADER, SEALED_BODY, bytes_of, number_of};
use crate::manifest::PREFIX_BYTES;
use crate::record::{HEADER_BYTES, TAIL_BYTES};
use crate::repository::Repository;
use crate::seal::Counter;
use crate::sign::SIGNATURE_BYTES;
use serde_json::{Map, Value, json};

pub(super) fn object(kind: &str, key: &str, bytes: &[u8], repo: Option<&Repository>) -> Sheet {
    let mut sheet = Sheet::new(kind);
    let length = one(&mut sheet, kind, bytes, repo);
    if kind == "manifest" {
        manifest(&mut sheet, key, bytes, length, repo);
    } else if let Some(rest) = bytes.get(length..).filter(|rest| !rest.is_empty()) {
        sheet.problem(format!("{} bytes follow its end", rest.len()));
    }
    sheet
}

/// Shows one record at the start of `bytes`. Returns its length as far as its header can be believed.
fn one(sheet: &mut Sheet, kind: &str, bytes: &[u8], repo: Option<&Repository>) -> usize {
    let mut header = sheet.layout(RECORD_HEADER, bytes);
    name_signer(&mut header);
    sheet.set("header", header);
    let said = number_of(RECORD_HEADER, "body_bytes", bytes).and_then(|length| usize::try_from(length).ok());
    let Some(said) = said.filter(|_| bytes.len() >= HEADER_BYTES) else { return bytes.len() };
    let end = HEADER_BYTES.saturating_add(said);
    let whole = end.saturating_add(TAIL_BYTES);
    if whole > bytes.len() {
        sheet.problem(format!("its header says it is {whole} bytes long; there are {}", bytes.len()));
    } else {
        tail(sheet, &bytes[..whole], end, repo);
    }
    let body = &bytes[HEADER_BYTES..end.min(bytes.len())];
    match kind {
        "manifest" => {}
        // Names of files are content, which is never shown.
        "catalog" | "leaf of catalogs" => {
            let outer = sheet.layout(SEALED_BODY, body);
            sheet.set("outer", outer);
            sheet.set("sealed_bytes", body.len().saturating_sub(SALT_BYTES));
        }
        _ => json_body(sheet, kind, body),
    }
    whole.min(bytes.len())
}

fn name_signer(header: &mut Map<String, Value>) {
    for name in ["signer", "writer"] {
        if header.get(name).and_then(Value::as_str) == Some(&WriterId::OPERATOR.to_string()) {
            header.insert(name.into(), json!("operator"));
        }
    }
}

fn tail(sheet: &mut Sheet, bytes: &[u8], end: usize, repo: Option<&Repository>) {
    let (checked, checksum) = bytes.split_at(end + SIGNATURE_BYTES);
    let fits = blake3::hash(checked).as_bytes() == checksum;
    sheet.set("checksum_fits", fits);
    if !fits {
        sheet.problem("its checksum does not fit");
    }
    let Some(repo) = repo else { return };
    if bytes_of(RECORD_HEADER, "repository id", bytes) != Some(&repo.config().repository.0) {
        sheet.problem("it belongs to another repository");
    }
    let signer = bytes_of(RECORD_HEADER, "signer", bytes).and_then(|id| id.try_into().ok()).map(WriterId);
    let signer = signer.expect("the header is whole");
    let digest = blake3::hash(&bytes[..end]);
    let verified = repo.signers().verify("record", signer, &digest, &checked[end..]);
    sheet.set("signature_fits", verified.is_ok());
    if verified.is_err() {
        sheet.problem("its signature does not fit, or its signer is not known");
    }
}

fn json_body(sheet: &mut Sheet, kind: &str, body: &[u8]) {
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            if let (true, Some(fields)) = (kind == "key slot", value.as_object_mut()) {
                for name in ["salt", "sealed"].iter().filter(|name| fields.contains_key(**name)).collect::<Vec<_>>() {
                    fields.insert((*name).to_string(), json!("(not shown)"));
                }
            }
            sheet.set("body", value);
        }
        Err(error) => {
            sheet.problem(format!("its body is no JSON: {error}"));
            // The text around the damage helps; a slot's would show its sealed secret.
            if kind != "key slot" {
                sheet.set("body_text", body[..body.len().min(MAX_TEXT_BYTES)].escape_ascii().to_string());
            }
        }
    }
}

/// Of a body that cannot be read so much is shown.
const MAX_TEXT_BYTES: usize = 4096;

fn manifest(sheet: &mut Sheet, key: &str, bytes: &[u8], length: usize, repo: Option<&Repository>) {
    let id = blake3::hash(&bytes[..length.min(bytes.len())]).to_string();
    if !key.is_empty() && !key.ends_with(&id) {
        sheet.problem("its hash is not the id in its name");
    }
    sheet.set("id", id);
    let end = length.saturating_sub(TAIL_BYTES).clamp(HEADER_BYTES.min(bytes.len()), bytes.len());
    let body = &bytes[HEADER_BYTES.min(bytes.len())..end];
    let outer = sheet.layout(MANIFEST_BODY, body);
    sheet.set("outer", outer);
    sheet.set("sealed_bytes", body.len().saturating_sub(PREFIX_BYTES));
    open(sheet, bytes, body, repo);
    match bytes.get(length..).filter(|rest| !rest.is_empty()) {
        Some(rest) => {
            let receipt = object("receipt", "", rest, repo);
            receipt
                .problems
                .iter()
                .for_each(|what| sheet.problem(format!("receipt: {}", what.as_str().unwrap_or_default())));
            sheet.set("receipt", receipt.fields);
        }
        None => sheet.problem("its receipt is missing"),
    }
}

/// Opens the sealed body with this writer's map key, if it is there.
fn open(sheet: &mut Sheet, bytes: &[u8], body: &[u8], repo: Option<&Repository>) {
    let salt = bytes_of(MANIFEST_BODY, "salt", body).and_then(|salt| salt.try_into().ok());
    let signer = bytes_of(RECORD_HEADER, "signer", bytes).and_then(|id| id.try_into().ok()).map(WriterId);
    let (Some(repo), Some(salt), Some(signer)) = (repo, salt, signer) else { return };
    let Some(map) = repo.keys().map_key(signer) else {
        sheet.set("body", "(sealed by another writer; the passphrase or key file opens it)");
        return;
    };
    let key = map.manifest(&repo.config().repository, salt);
    let mut sealed = body[PREFIX_BYTES..].to_vec();
    match key.open(Counter(0), &bytes[..HEADER_BYTES + PREFIX_BYTES], &mut sealed) {
        Some(json) => json_body(sheet, "manifest", json),
        None => sheet.problem("its body does not decrypt: it or what is authenticated with it was changed"),
    }
}
