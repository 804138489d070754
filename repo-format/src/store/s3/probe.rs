//! Trying what an endpoint does, with small objects below `tmp/` that are gone afterwards.

use super::S3Store;
use super::patience::Halt;
use super::problem::Problem;
use crate::entropy::{Entropy, random};
use crate::error::Result;
use crate::id::hex;
use crate::probe::{Findings, ObjectLock};
use crate::store::Store;
use base64::Engine;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};

/// Puts of one key at once.
const RACERS: u32 = 8;
/// Objects that are put and looked for, one after the other.
const TRIALS: usize = 6;
/// How long the canary is locked.
const LOCKED: SignedDuration = SignedDuration::from_secs(60);

impl S3Store {
    pub(super) fn try_out(&self, entropy: &dyn Entropy, now: Timestamp) -> Result<Findings> {
        let below = format!("tmp/probe-{}", hex(&random::<8>(entropy)));
        let (racing_creates_won, racer) = self.race(&below)?;
        let (read_after_write, overwrite_visible) = self.try_reads(&below)?;
        let (list_after_write, delete_then_list) = self.try_listings(&below)?;
        let object_lock = self.run(self.try_lock(&below, now)).map_err(|halt| halt.about(&below))?;
        self.delete(&racer)?;
        Ok(Findings {
            racing_creates_won,
            racing_creates: RACERS,
            read_after_write,
            overwrite_visible,
            list_after_write,
            delete_then_list,
            object_lock,
        })
    }

    /// How many of many who each ask to be the first are told that they are.
    fn race(&self, below: &str) -> Result<(u32, String)> {
        let key = format!("{below}/race");
        let path = self.path(&key)?;
        let create = async |number: u32| {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let payload = PutPayload::from(number.to_string());
            let put = self.client.s3().await?.put_opts(&path, payload, options).await;
            put.map(drop).map_err(|error| Problem::of(&error))
        };
        let ended: Vec<Result<(), Problem>> =
            self.run(stream::iter(0..RACERS).map(create).buffer_unordered(RACERS as usize).collect());
        let won = ended.iter().filter(|ended| ended.is_ok()).count();
        Ok((u32::try_from(won).expect("a few"), key))
    }

    fn try_reads(&self, below: &str) -> Result<(bool, bool)> {
        let (mut is_there, mut is_new) = (true, true);
        for trial in 0..TRIALS {
            let key = format!("{below}/read-{trial}");
            let (first, second) = (format!("{trial} first"), format!("{trial} second, and longer"));
            self.put(&key, first.as_bytes())?;
            is_there &= reads(self, &key, first.as_bytes())?;
            self.put(&key, second.as_bytes())?;
            is_new &= reads(self, &key, second.as_bytes())?;
            self.delete(&key)?;
        }
        Ok((is_there, is_new))
    }

    fn try_listings(&self, below: &str) -> Result<(bool, bool)> {
        let prefix = format!("{below}/list/");
        let keys: Vec<String> = (0..TRIALS).map(|trial| format!("{prefix}{trial}")).collect();
        // What a store remembers of a listing that showed nothing is what it may go on showing.
        let mut shows_all = self.keys(&prefix)?.is_empty();
        for (put, key) in keys.iter().enumerate() {
            self.put(key, b"x")?;
            shows_all &= self.keys(&prefix)? == keys[..=put];
        }
        let mut shows_no_more = true;
        for (gone, key) in keys.iter().enumerate() {
            self.delete(key)?;
            shows_no_more &= self.keys(&prefix)? == keys[gone + 1..] && !self.exists(key)?;
        }
        Ok((shows_all, shows_no_more))
    }

    /// Puts an object that is locked for a minute, and tries to delete it. Said to be locked proves nothing, for some endpoints drop the words;
    /// nor does a refusal alone, for the key may not be allowed to delete versions: one that is not locked must go.
    async fn try_lock(&self, below: &str, now: Timestamp) -> Result<ObjectLock, Halt> {
        let locks = [
            ("x-amz-object-lock-mode", "COMPLIANCE".to_owned()),
            ("x-amz-object-lock-retain-until-date", (now + LOCKED).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ];
        let (free, canary) = (format!("{below}/free"), format!("{below}/canary"));
        let free_goes = match self.put_raw(&free, &[]).await? {
            Some(version) => self.delete_raw(&free, &version).await?,
            None => false,
        };
        let Some(version) = self.put_raw(&canary, &locks).await? else { return Ok(ObjectLock::NotOffered) };
        let canary_goes = self.delete_raw(&canary, &version).await?;
        Ok(match (version.is_empty() || canary_goes, free_goes) {
            (true, _) => ObjectLock::NotHonoured,
            (false, false) => ObjectLock::Unclear,
            (false, true) => ObjectLock::Proven,
        })
    }

    /// Puts a few bytes with more headers, and returns their version, which is empty where there are no versions; `None` when the endpoint
    /// does not do that.
    async fn put_raw(&self, key: &str, more: &[(&'static str, String)]) -> Result<Option<String>, Halt> {
        let name = self.settings.address.name(key);
        let body = Bytes::from_static(b"canary");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        let checksum = ("x-amz-checksum-sha256", base64::prelude::BASE64_STANDARD.encode(hash));
        let headers: HeaderMap = [&[checksum], more]
            .concat()
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(value).expect("plain text")))
            .collect();
        let put = self
            .patience
            .with(async || self.client.ask(Method::PUT, (&name, &[]), (headers.clone(), body.clone())).await);
        match put.await {
            Ok((answer, _)) => {
                let version = answer.get("x-amz-version-id").and_then(|version| version.to_str().ok());
                Ok(Some(version.filter(|version| *version != "null").unwrap_or_default().to_owned()))
            }
            Err(Halt::Problem(problem)) if problem.status.is_some() && !problem.may_pass() => Ok(None),
            Err(halt) => Err(halt),
        }
    }

    /// Whether the endpoint deletes a version of an object.
    async fn delete_raw(&self, key: &str, version: &str) -> Result<bool, Halt> {
        let name = self.settings.address.name(key);
        let query: &[(&str, &str)] = if version.is_empty() { &[] } else { &[("versionId", version)] };
        let delete =
            self.patience.with(async || self.client.ask(Method::DELETE, (&name, query), Default::default()).await);
        match delete.await {
            Ok(_) => Ok(true),
            Err(Halt::Problem(problem)) if problem.status.is_some() && !problem.may_pass() => Ok(false),
            Err(halt) => Err(halt),
        }
    }
}

/// Whether an object is read as it was put last. One that cannot be found is an answer, too.
fn reads(store: &S3Store, key: &str, content: &[u8]) -> Result<bool> {
    match store.get(key) {
        Ok(bytes) => Ok(bytes == content),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    }
}
