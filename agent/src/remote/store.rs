//! The store of a repository behind a server.

use super::client::Client;
use super::problem::Problem;
use repo_format::gate::Object;
use repo_format::store::{MAX_OBJECT_BYTES, Store, TakesEach};
use repo_format::{Error, Result};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, StatusCode};
use std::cell::{Cell, RefCell};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use web_api::error::ErrorCode;
use web_api::object::{
    Framed, LEASE_HEADER, ListedObject, MAX_ASKED_KEYS, MAX_READ_BYTES, MAX_READ_OBJECTS, OFFSET_HEADER,
    PersistObjects, ReadObjects, Received, to_url,
};
use web_api::page::Page;

/// Packs that are sent at the same time: while the server looks at one, the next one arrives. Each is in memory.
const PUTS_AT_ONCE: usize = 2;

/// A repository's store over HTTPS.
pub struct RemoteStore {
    client: Arc<Client>,
    /// The object of this process's lease; it goes with a manifest, for the server to look whether the session still stands.
    lease: Mutex<Option<String>>,
    /// The server is of a version that gives one object an answer.
    one_by_one: AtomicBool,
}

impl RemoteStore {
    /// Through a client.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, lease: Mutex::default(), one_by_one: AtomicBool::new(false) }
    }

    fn url(&self, key: &str) -> reqwest::Url {
        self.client.address().url(&["objects", &to_url(key)])
    }

    /// Bytes from an offset, fewer where the object ends before, and the length of the whole object. What came before a line broke is kept,
    /// and the rest asked for: over a line that breaks often a long piece would never come as a whole.
    fn read_piece(&self, key: &str, offset_bytes: u64, length_bytes: u64) -> Result<(Vec<u8>, u64)> {
        let bytes = RefCell::new(Vec::new());
        let rest = |request: reqwest::blocking::RequestBuilder| {
            let first = offset_bytes + bytes.borrow().len() as u64;
            request.header(RANGE, format!("bytes={first}-{}", offset_bytes + length_bytes - 1))
        };
        let take = |response: reqwest::blocking::Response| {
            if response.status() != StatusCode::PARTIAL_CONTENT {
                return Err(broken("the server does not know ranges"));
            }
            let size = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()?.rsplit_once('/'));
            let size = size.and_then(|(_, size)| size.parse().ok());
            let size: u64 = size.ok_or_else(|| broken("it does not say how long the object is"))?;
            let expected = length_bytes.min(size.saturating_sub(offset_bytes));
            let mut bytes = bytes.borrow_mut();
            let missing = expected.saturating_sub(bytes.len() as u64);
            bytes.reserve(usize::try_from(missing).unwrap_or_default());
            match response.take(missing).read_to_end(&mut bytes) {
                Ok(read) if read as u64 == missing => Ok(Some(size)),
                // Something came: that is an answer, and the next request is no repetition of this one.
                _ if bytes.len() as u64 > expected - missing => Ok(None),
                Ok(_) => Err(broken("it is shorter than it says")),
                Err(error) => Err(broken(error)),
            }
        };
        let got = loop {
            match self.client.ask(&Method::GET, &self.url(key), rest, take) {
                Ok(None) => {}
                Ok(Some(size)) => break Ok((bytes.take(), size)),
                Err(problem) => break Err(problem),
            }
        };
        got.map_err(|problem| match problem.about(key) {
            // A range beyond the end is the one thing about a range that the server finds invalid.
            Error::Refused(what) => Error::damaged(key, what),
            other => other,
        })
    }

    /// Several objects in one answer, in the order of their keys; `None` for what has to be asked for alone.
    fn read_several(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let alone = || keys.iter().map(|_| None).collect();
        if keys.len() == 1 || self.one_by_one.load(Ordering::Relaxed) {
            return Ok(alone());
        }
        let (url, body) = (self.client.address().url(&["read-objects"]), ReadObjects { keys: keys.to_vec() });
        // Each object has its length before it.
        let longest = MAX_READ_BYTES + 8 * keys.len() as u64;
        let take = |response: reqwest::blocking::Response| {
            let mut answer = Vec::new();
            response.take(longest + 1).read_to_end(&mut answer).map_err(broken)?;
            let mut rest = &answer[..];
            let framed = || broken("it is shorter than it says");
            let objects: Result<Vec<_>, _> = keys.iter().map(|_| Framed::read(&mut rest).ok_or_else(framed)).collect();
            let objects = objects?.into_iter().map(|framed| match framed {
                Framed::Whole(bytes) => Some(bytes.to_vec()),
                Framed::AskAlone => None,
            });
            Ok(objects.collect())
        };
        match self.client.ask(&Method::POST, &url, |request| request.json(&body), take) {
            Err(problem) if is_of_another_version(&problem) => {
                self.one_by_one.store(true, Ordering::Relaxed);
                Ok(alone())
            }
            read => read.map_err(|problem| problem.about("objects")),
        }
    }

    /// Sends a pack; after a broken line only what the server has not received. Where more and more arrives, patience does not end.
    fn put_pack(&self, key: &str, body: &bytes::Bytes) -> Result<(), Problem> {
        let (offset, most) = (Cell::new(0), Cell::new(0));
        let went_on = || {
            let received = self.received(key)?.filter(|received| *received <= body.len()).unwrap_or(0);
            offset.set(received);
            Ok(received > most.replace(most.get().max(received)))
        };
        let rest = |request| bytes_of(request, body, offset.get());
        self.client.ask_going_on(&Method::PUT, &self.url(key), rest, |_| Ok(()), went_on)
    }

    /// How much of a pack the server keeps; `None` where it is of a version that keeps nothing.
    fn received(&self, key: &str) -> Result<Option<usize>, Problem> {
        let url = self.client.address().url(&["uploads", &to_url(key)]);
        let take = |response: reqwest::blocking::Response| response.json::<Received>().map_err(broken);
        match self.client.ask(&Method::GET, &url, |request| request, take) {
            Ok(received) => Ok(usize::try_from(received.received_bytes.0).ok()),
            Err(problem) if is_of_another_version(&problem) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    fn lease(&self) -> Option<String> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The bytes of an object from an offset on.
fn bytes_of(
    request: reqwest::blocking::RequestBuilder,
    body: &bytes::Bytes,
    offset: usize,
) -> reqwest::blocking::RequestBuilder {
    let request = request.header(CONTENT_TYPE, "application/octet-stream").body(body.slice(offset..));
    if offset > 0 { request.header(OFFSET_HEADER, offset) } else { request }
}

/// Whether the server does not know what it was asked for.
fn is_of_another_version(problem: &Problem) -> bool {
    matches!(problem.code(), Some(ErrorCode::NotFound | ErrorCode::MethodNotAllowed))
}

/// An answer that ends too early, or is not what was asked for.
fn broken(error: impl std::fmt::Display) -> Problem {
    Problem::Unreachable(format!("the answer broke off: {error}"))
}

impl Store for RemoteStore {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.put_owned(key, bytes.to_vec()).map(drop)
    }

    fn puts_at_once(&self) -> usize {
        PUTS_AT_ONCE
    }

    fn put_owned(&self, key: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let (object, lease) = (Object::of(key), self.lease());
        let body = bytes::Bytes::from(bytes);
        let sent = match object {
            Object::Pack(..) => self.put_pack(key, &body),
            _ => self.client.ask(
                &Method::PUT,
                &self.url(key),
                |request| match (&object, &lease) {
                    (Object::Manifest(_), Some(lease)) => bytes_of(request, &body, 0).header(LEASE_HEADER, lease),
                    _ => bytes_of(request, &body, 0),
                },
                |_| Ok(()),
            ),
        };
        sent.map_err(|problem| problem.about(key))?;
        if matches!(object, Object::Lease(..)) {
            *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.into());
        }
        // The connection may still hold them for a moment; then the next object has fresh memory.
        Ok(body.try_into_mut().ok().map(|mut room| {
            room.clear();
            room.into()
        }))
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let mut at = offset_bytes;
        for piece in buf.chunks_mut(usize::try_from(MAX_READ_BYTES).expect("some MiB fit")) {
            let (bytes, _) = self.read_piece(key, at, piece.len() as u64)?;
            if bytes.len() != piece.len() {
                return Err(Error::damaged(key, "it is shorter than it must be"));
            }
            piece.copy_from_slice(&bytes);
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// One request for a small object, where the length first would be two.
    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let (mut bytes, size) = self.read_piece(key, 0, MAX_READ_BYTES)?;
        if size > MAX_OBJECT_BYTES {
            return Err(Error::damaged(key, format!("it is {size} bytes long; no object of the format is")));
        }
        let first = bytes.len();
        bytes.resize(usize::try_from(size).expect("bounded above"), 0);
        self.read_at(key, first as u64, &mut bytes[first..])?;
        Ok(bytes)
    }

    fn get_each(&self, keys: &[String], each: &mut TakesEach<'_>) -> Result<()> {
        for keys in keys.chunks(MAX_READ_OBJECTS) {
            for (key, read) in keys.iter().zip(self.read_several(keys)?) {
                each(key, read.map_or_else(|| self.get(key), Ok))?;
            }
        }
        Ok(())
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        let take = |response: reqwest::blocking::Response| {
            let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            length.ok_or_else(|| broken("it does not say how long the object is"))
        };
        match self.client.ask(&Method::HEAD, &self.url(key), |request| request, take) {
            Ok(size) => Ok(Some(size)),
            Err(problem) => match problem.about(key) {
                // An answer to HEAD has no words, and a proxy or a wrong path says 404 as well; of a read only the server itself says that
                // an object is not there.
                Error::Missing { .. } => match self.read_piece(key, 0, 1) {
                    Ok((_, size)) => Ok(Some(size)),
                    Err(Error::Missing { .. }) => Ok(None),
                    Err(error) => Err(error),
                },
                // The same refusal of a read has words.
                refused @ Error::AccessRefused { .. } => Err(self.read_piece(key, 0, 1).err().unwrap_or(refused)),
                error => Err(error),
            },
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let mut cursor: Option<String> = None;
        loop {
            let mut url = self.client.address().url(&["objects"]);
            url.query_pairs_mut().append_pair("prefix", prefix);
            if let Some(cursor) = &cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let take = |response: reqwest::blocking::Response| response.json::<Page<ListedObject>>().map_err(broken);
            let page = self
                .client
                .ask(&Method::GET, &url, |request| request, take)
                .map_err(|problem| problem.about(prefix))?;
            for object in &page.items {
                each(&object.key, object.size_bytes.0);
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn delete(&self, key: &str) -> Result<()> {
        match self.client.ask(&Method::DELETE, &self.url(key), |request| request, |_| Ok(())) {
            Ok(()) => Ok(()),
            Err(problem) => match problem.about(key) {
                Error::Missing { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    fn persist(&self, keys: &[String]) -> Result<()> {
        let url = self.client.address().url(&["persist"]);
        for keys in keys.chunks(MAX_ASKED_KEYS) {
            let body = PersistObjects { keys: keys.to_vec() };
            let done = self.client.ask(&Method::POST, &url, |request| request.json(&body), |_| Ok(()));
            done.map_err(|problem| problem.about("objects"))?;
        }
        Ok(())
    }

    fn keeps_names(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        self.client.address().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::{Address, server_url};
    use super::super::connection::Options;
    use super::*;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::atomic::AtomicBool;

    /// A proxy in front of the server did not know its path and answered 404 to everything. A HEAD has no words, so each object passed for
    /// one that is not there.
    #[test]
    fn an_object_is_absent_only_when_the_server_itself_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}/", listener.local_addr().unwrap());
        let answers = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                let page = "<html>Not Found</html>";
                let body = if request.starts_with(b"HEAD") { "" } else { page };
                let head =
                    format!("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", page.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        let address = Address::new(server_url(&place).unwrap(), "main").unwrap();
        let client = Client::new(address, Options::plain(Arc::new(AtomicBool::new(false)))).unwrap();
        let size = RemoteStore::new(Arc::new(client)).size("leases/aa");
        assert!(matches!(&size, Err(Error::Store { .. })), "{size:?}");
        answers.join().unwrap();
    }

    #[test]
    fn what_came_before_the_line_broke_is_not_asked_for_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}/", listener.local_addr().unwrap());
        let answers = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (first, sent) in [(0, "0123"), (4, "456"), (7, "789")] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                asked.push(request.lines().find(|line| line.starts_with("range:")).unwrap().to_owned());
                let (rest, range) = (10 - first, format!("bytes {first}-9/10"));
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Range: {range}\r\nContent-Length: {rest}\r\n\r\n"
                );
                stream.write_all(format!("{head}{sent}").as_bytes()).unwrap();
            }
            asked
        });
        let address = Address::new(server_url(&place).unwrap(), "main").unwrap();
        let client = Client::new(address, Options::plain(Arc::new(AtomicBool::new(false)))).unwrap();
        let store = RemoteStore::new(Arc::new(client));
        let mut bytes = [0; 10];
        store.read_at("data/ab/cd", 0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"0123456789");
        assert_eq!(answers.join().unwrap(), ["range: bytes=0-9", "range: bytes=4-9", "range: bytes=7-9"]);
    }

    #[test]
    fn of_a_pack_whose_line_broke_only_the_rest_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}/", listener.local_addr().unwrap());
        // Takes a request and some bytes of its body; answers, or breaks the line.
        let take = move |body: usize, answer: Option<&str>| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let mut taken = vec![0; body];
            stream.read_exact(&mut taken).unwrap();
            if let Some(json) = answer {
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", json.len());
                stream.write_all(format!("{head}{json}").as_bytes()).unwrap();
            }
            let request = String::from_utf8(request).unwrap().to_lowercase();
            let offset = request.lines().find(|line| line.starts_with("upload-offset:")).map(str::to_owned);
            (request.split('.').next().unwrap().to_owned(), offset, taken)
        };
        let server = std::thread::spawn(move || {
            [
                take(4, None),
                take(0, Some("{\"received_bytes\": 4}")),
                take(3, None),
                take(0, Some("{\"received_bytes\": 7}")),
                take(3, Some("")),
            ]
        });
        let address = Address::new(server_url(&place).unwrap(), "main").unwrap();
        let client = Client::new(address, Options::plain(Arc::new(AtomicBool::new(false)))).unwrap();
        let key = format!("data/ab/{}", "ab".repeat(32));
        RemoteStore::new(Arc::new(client)).put(&key, b"0123456789").unwrap();
        let (put, ask) = ("put /api/v1/repositories/main/objects/data", "get /api/v1/repositories/main/uploads/data");
        let expected = [
            (put, None, &b"0123"[..]),
            (ask, None, b""),
            (put, Some("upload-offset: 4"), b"456"),
            (ask, None, b""),
            (put, Some("upload-offset: 7"), b"789"),
        ];
        let expected = expected.map(|(what, offset, body)| (what.into(), offset.map(Into::into), body.to_vec()));
        assert_eq!(server.join().unwrap(), expected);
    }
}
