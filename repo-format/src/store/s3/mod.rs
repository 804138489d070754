//! A store in S3 object storage: each object an object of a bucket, below a prefix.
//!
//! It relies on three things alone: a put that was answered is durable, an object that was put whole is read whole, and an object that is
//! named can be read at once. It needs no conditional put, no order of listings, no rename. What a listing shows may be late; who deletes by
//! what a listing shows has to know first that it is not (`probe`).

mod address;
mod client;
mod patience;
mod probe;
mod problem;
mod profile;
mod settings;
mod upload;
mod wire;

pub use address::S3Address;
pub use problem::{Kind, Problem, problem_of};
pub use settings::{KeySource, PATIENCE, SINGLE_PUT_BYTES, Settings, Surroundings};

use super::requests::Requests;
use super::{MAX_OBJECT_BYTES, Store, TakesEach};
use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::probe::Findings;
use bytes::Bytes;
use client::Client;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use patience::{Halt, Patience};
use std::sync::Arc;
use tokio::runtime::Runtime;
use wire::Counters;

/// Packs that one session puts at the same time. Each is in memory.
const PUTS_AT_ONCE: usize = 4;
/// A longer range is read in pieces of this length, some at once.
const PIECE_BYTES: usize = 8 << 20;
/// Pieces of one range, or small objects, that are read at once.
const READS_AT_ONCE: usize = 8;

/// Store below a prefix of a bucket.
pub struct S3Store {
    client: Client,
    patience: Patience,
    counters: Arc<Counters>,
    settings: Settings,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl S3Store {
    /// The store; asks nothing yet.
    pub fn open(settings: Settings) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|source| Error::Store { key: settings.address.to_string(), source })?;
        let client = {
            let _inside = runtime.enter();
            Client::new(&settings, counters.clone())?
        };
        let patience = Patience::new(settings.patience, settings.cancel.clone(), counters.clone());
        Ok(Self { client, patience, counters, settings, runtime: Some(runtime) })
    }

    /// Where it lies.
    pub fn address(&self) -> &S3Address {
        &self.settings.address
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("there until it is dropped").block_on(work)
    }

    fn path(&self, key: &str) -> Result<Path> {
        let sound = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let no_key = || Error::NoSuch(format!("{key:?} is not a key of the store"));
        if !key.split('/').all(sound) {
            return Err(no_key());
        }
        Path::parse(self.settings.address.name(key)).map_err(|_| no_key())
    }

    async fn read_into(&self, path: &Path, offset_bytes: u64, buf: &mut [u8]) -> Result<(), Halt> {
        let end = offset_bytes + buf.len() as u64;
        let mut filled = 0;
        // What came before the line broke is kept: an attempt that brought something is no failure.
        while filled < buf.len() {
            self.patience
                .with(async || {
                    let before = filled;
                    let ended = self.fill(path, (offset_bytes, end), buf, &mut filled).await;
                    if filled > before { Ok(()) } else { ended }
                })
                .await?;
        }
        Ok(())
    }

    async fn fill(
        &self,
        path: &Path,
        (from, end): (u64, u64),
        buf: &mut [u8],
        filled: &mut usize,
    ) -> Result<(), Problem> {
        let options = GetOptions::new().with_range(Some(from + *filled as u64..end));
        let got = self.client.s3().await?.get_opts(path, options).await.map_err(|error| Problem::of(&error))?;
        if got.meta.size < end {
            return Err(Problem::new(Kind::BadRange, format!("it is {} bytes long", got.meta.size)));
        }
        let mut pieces = got.into_stream();
        while let Some(piece) = wire::next_piece(&mut pieces).await? {
            let room = buf[*filled..].get_mut(..piece.len()).ok_or_else(too_much)?;
            room.copy_from_slice(&piece);
            *filled += piece.len();
        }
        if *filled == buf.len() { Ok(()) } else { Err(broke_off()) }
    }

    async fn read_whole(&self, key: &str) -> Result<Vec<u8>> {
        let path = self.path(key)?;
        let mut bytes = Vec::new();
        let first = self.patience.with(async || self.begin_whole(&path, &mut bytes).await).await;
        let size_bytes = first.map_err(|halt| halt.about(key))?;
        if size_bytes > MAX_OBJECT_BYTES {
            return Err(Error::damaged(key, format!("it is {size_bytes} bytes long; no object of the format is")));
        }
        let first = bytes.len();
        bytes.resize(usize::try_from(size_bytes).expect("bounded above"), 0);
        self.read_into(&path, first as u64, &mut bytes[first..]).await.map_err(|halt| halt.about(key))?;
        Ok(bytes)
    }

    /// Reads an object from its beginning, as far as its bytes come, and returns its length.
    async fn begin_whole(&self, path: &Path, bytes: &mut Vec<u8>) -> Result<u64, Problem> {
        bytes.clear();
        let got =
            self.client.s3().await?.get_opts(path, GetOptions::new()).await.map_err(|error| Problem::of(&error))?;
        let size_bytes = got.meta.size;
        if size_bytes > MAX_OBJECT_BYTES {
            return Ok(size_bytes);
        }
        let mut pieces = got.into_stream();
        loop {
            match wire::next_piece(&mut pieces).await {
                Ok(Some(piece)) if (bytes.len() + piece.len()) as u64 <= size_bytes => bytes.extend_from_slice(&piece),
                Ok(Some(_)) => return Err(too_much()),
                Ok(None) if (bytes.len() as u64) < size_bytes && bytes.is_empty() => return Err(broke_off()),
                Err(problem) if bytes.is_empty() => return Err(problem),
                Ok(None) | Err(_) => return Ok(size_bytes),
            }
        }
    }

    /// A listing that ends with a full page may have been cut: endpoints that do not know this way of listing say nothing of a next page.
    /// Nobody may take what they left out for what is not there.
    async fn ensure_ended(&self, prefix: &str, last: &str) -> Result<(), Halt> {
        self.patience
            .with(async || {
                let options = PaginatedListOptions { offset: Some(last.to_owned()), ..PaginatedListOptions::default() };
                let prefix = (!prefix.is_empty()).then_some(prefix);
                let page = self.client.s3().await?.list_paginated(prefix, options).await;
                match page.map_err(|error| Problem::of(&error))?.result.objects.is_empty() {
                    true => Ok(()),
                    false => Err(Problem::new(Kind::NotS3, "its listings end before all objects were named")),
                }
            })
            .await
    }

    async fn list_page(
        &self,
        prefix: &str,
        token: Option<String>,
    ) -> Result<(Vec<(String, u64)>, Option<String>), Halt> {
        self.patience
            .with(async || {
                let options = PaginatedListOptions { page_token: token.clone(), ..PaginatedListOptions::default() };
                let prefix = (!prefix.is_empty()).then_some(prefix);
                let page = self.client.s3().await?.list_paginated(prefix, options).await;
                let page = page.map_err(|error| Problem::of(&error))?;
                let objects = page.result.objects.into_iter().map(|object| (object.location.to_string(), object.size));
                Ok((objects.collect(), page.page_token))
            })
            .await
    }
}

/// As many objects as a page has at most.
const FULL_PAGE: usize = 1000;

fn broke_off() -> Problem {
    Problem::new(Kind::Unreachable, "the answer broke off")
}

fn too_much() -> Problem {
    Problem::new(Kind::NotS3, "it sent more than was asked for")
}

impl Drop for S3Store {
    fn drop(&mut self) {
        // Waiting is not allowed where others wait for a runtime of theirs; nothing is under way here.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Store for S3Store {
    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.put_owned(key, bytes.to_vec()).map(drop)
    }

    fn put_owned(&self, key: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        let bytes = Bytes::from(bytes);
        let put = async {
            match bytes.len() > self.settings.single_put_bytes {
                true => self.put_in_parts(&path, &bytes).await,
                false => self.put_whole(&path, &bytes).await,
            }
        };
        self.run(put).map_err(|halt| halt.about(key))?;
        // The connection may still hold them for a moment; then the next object has fresh memory.
        Ok(bytes.try_into_mut().ok().map(|mut room| {
            room.clear();
            room.into()
        }))
    }

    fn puts_at_once(&self) -> usize {
        PUTS_AT_ONCE
    }

    fn read_at(&self, key: &str, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let path = self.path(key)?;
        if buf.is_empty() {
            return if self.exists(key)? { Ok(()) } else { Err(Error::Missing { key: key.into() }) };
        }
        let pieces = buf.chunks_mut(PIECE_BYTES).enumerate().map(|(at, piece)| {
            let offset_bytes = offset_bytes + (at * PIECE_BYTES) as u64;
            self.read_into(&path, offset_bytes, piece)
        });
        let all = stream::iter(pieces).buffer_unordered(READS_AT_ONCE).try_collect::<()>();
        self.run(all).map_err(|halt| halt.about(key))
    }

    /// By a read of one byte: the answer to HEAD has no words, and without words nobody knows who says that an object is not there.
    fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key)?;
        let one_byte = self.patience.with(async || {
            let options = GetOptions::new().with_range(Some(0..1));
            let got = self.client.s3().await?.get_opts(&path, options).await.map_err(|error| Problem::of(&error))?;
            let size_bytes = got.meta.size;
            // Read to its end, so that the connection can be used again.
            let mut pieces = got.into_stream();
            while wire::next_piece(&mut pieces).await?.is_some() {}
            Ok(size_bytes)
        });
        match self.run(one_byte) {
            Ok(size) => Ok(Some(size)),
            Err(halt) if halt.kind() == Some(&Kind::NoObject) => Ok(None),
            // There is no first byte.
            Err(halt) if halt.kind() == Some(&Kind::BadRange) => Ok(Some(0)),
            Err(halt) => Err(halt.about(key)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64)) -> Result<()> {
        let below = self.settings.address.name(prefix);
        let mut token: Option<String> = None;
        loop {
            let (objects, next) = self.run(self.list_page(&below, token.clone())).map_err(|halt| halt.about(prefix))?;
            match (&next, objects.last()) {
                (None, Some((last, _))) if objects.len() >= FULL_PAGE => {
                    self.run(self.ensure_ended(&below, last)).map_err(|halt| halt.about(prefix))?;
                }
                (Some(next), _) if token.as_ref() == Some(next) => {
                    return Err(Error::Refused(format!(
                        "{} gives the same page of a listing for ever",
                        self.describe()
                    )));
                }
                _ => {}
            }
            for (name, size_bytes) in &objects {
                // A name that is the prefix itself is a mark that tools leave to show a directory.
                if let Some(key) = self.settings.address.key(name).filter(|key| key.starts_with(prefix)) {
                    each(key, *size_bytes);
                }
            }
            match next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let done = self.run(
            self.patience
                .with(async || self.client.s3().await?.delete(&path).await.map_err(|error| Problem::of(&error))),
        );
        match done {
            Err(halt) if halt.kind() == Some(&Kind::NoObject) => Ok(()),
            done => done.map_err(|halt| halt.about(key)),
        }
    }

    /// What can be read there is durable.
    fn persist(&self, _keys: &[String]) -> Result<()> {
        Ok(())
    }

    fn sweep(&self) -> Result<u64> {
        self.run(self.abort_unfinished()).map_err(|halt| halt.about("uploads in parts"))?;
        // The endpoint does not say how long the parts were.
        Ok(0)
    }

    fn describe(&self) -> String {
        format!("{} at {}", self.settings.address, self.settings.endpoint_text())
    }

    fn listings_need_proof(&self) -> bool {
        true
    }

    fn probe(&self, entropy: &dyn Entropy, now: Timestamp) -> Result<Option<Findings>> {
        self.try_out(entropy, now).map(Some)
    }

    fn requests(&self) -> Option<Requests> {
        Some(self.counters.so_far())
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.run(self.read_whole(key))
    }

    fn get_each(&self, keys: &[String], each: &mut TakesEach<'_>) -> Result<()> {
        self.run(async {
            let mut reads =
                stream::iter(keys).map(async |key| (key, self.read_whole(key).await)).buffered(READS_AT_ONCE);
            while let Some((key, read)) = reads.next().await {
                each(key, read)?;
            }
            Ok(())
        })
    }
}
