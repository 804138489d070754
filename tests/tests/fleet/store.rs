//! A repository behind the server, as a machine of the fleet uses it.

use super::wire::{Answer, Wire};
use repo_format::elsewhere::Elsewhere;
use repo_format::gate::Object;
use repo_format::id::{EntryKey, PackId};
use repo_format::pack::PackKind;
use repo_format::store::Store;
use repo_format::{Error, Result};
use std::io;
use std::sync::{Arc, Mutex};

const REPOSITORY: &str = "/api/v1/repositories/main";

/// The objects, over a machine's connections.
pub struct WireStore {
    wire: Arc<Wire>,
    lease: Mutex<Option<String>>,
}

impl WireStore {
    pub fn new(wire: &Arc<Wire>) -> Self {
        Self { wire: wire.clone(), lease: Mutex::default() }
    }

    fn path(key: &str) -> String {
        format!("{REPOSITORY}/objects/{}", key.replace('/', "."))
    }

    /// The answer when it is a success, else the error that it means.
    fn good(key: &str, answer: io::Result<Answer>) -> Result<Answer> {
        let answer = answer.map_err(|source| Error::Store { key: key.into(), source })?;
        match (answer.status, answer.code().as_str()) {
            (200..300, _) => Ok(answer),
            (404, _) => Err(Error::Missing { key: key.into() }),
            (_, "lease_lost") => Err(Error::LeaseLost),
            (status, _) => {
                let what = format!("{status}: {}", String::from_utf8_lossy(&answer.body));
                Err(Error::Store { key: key.into(), source: io::Error::other(what) })
            }
        }
    }
}

impl Store for WireStore {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let object = Object::of(key);
        let kind = match object {
            Object::Pack(..) => "put pack",
            Object::Manifest(_) => "put manifest",
            _ => "put record",
        };
        let lease = self.lease.lock().expect("no panic while held").clone().unwrap_or_default();
        let mut headers = vec![("content-type", "application/octet-stream")];
        if matches!(object, Object::Manifest(_)) {
            headers.push(("icecore-lease", lease.as_str()));
        }
        Self::good(key, self.wire.ask(kind, ("PUT", &Self::path(key)), &headers, bytes))?;
        if matches!(object, Object::Lease(..)) {
            *self.lease.lock().expect("no panic while held") = Some(key.into());
        }
        Ok(())
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let range = format!("bytes={offset_bytes}-{}", offset_bytes + buf.len() as u64 - 1);
        let answer =
            Self::good(key, self.wire.ask("read object", ("GET", &Self::path(key)), &[("range", &range)], b""))?;
        if answer.body.len() != buf.len() {
            return Err(Error::damaged(key, "it is shorter than it must be"));
        }
        buf.copy_from_slice(&answer.body);
        Ok(())
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        match Self::good(key, self.wire.ask("size of object", ("HEAD", &Self::path(key)), &[], b"")) {
            Err(Error::Missing { .. }) => Ok(None),
            answer => Ok(answer?.header("content-length").and_then(|length| length.parse().ok())),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let answer = self.wire.get("list objects", &format!("{REPOSITORY}/objects?prefix={prefix}"));
        let page = Self::good(prefix, answer)?.json();
        for object in page["items"].as_array().into_iter().flatten() {
            each(object["key"].as_str().unwrap_or_default(), object["size_bytes"].as_u64().unwrap_or_default());
        }
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<()> {
        match Self::good(key, self.wire.ask("delete lease", ("DELETE", &Self::path(key)), &[], b"")) {
            Ok(_) | Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn persist(&self, keys: &[String]) -> Result<()> {
        let body = serde_json::json!({ "keys": keys });
        Self::good("persist", self.wire.post("persist", &format!("{REPOSITORY}/persist"), &body)).map(drop)
    }

    fn keeps_names(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "the server under test".into()
    }
}

impl Elsewhere for WireStore {
    fn packs_with(&self, kind: PackKind, keys: &[EntryKey]) -> Result<Vec<PackId>> {
        let kind = if kind == PackKind::Data { "data" } else { "tree" };
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let mut packs = Vec::new();
        for keys in keys.chunks(4096) {
            let body = serde_json::json!({"kind": kind, "keys": keys});
            let answer = self.wire.post("ask the index", &format!("{REPOSITORY}/packs-with"), &body);
            let found = Self::good("the index", answer)?.json();
            let found = found["packs"].as_array().cloned().unwrap_or_default();
            packs.extend(found.iter().filter_map(|pack| pack.as_str()?.parse::<PackId>().ok()));
        }
        Ok(packs)
    }
}
