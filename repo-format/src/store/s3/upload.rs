//! Putting an object: by one request, or in parts when it is long. A part upload that fails is given up, so that its parts cost nothing.

use super::S3Store;
use super::patience::Halt;
use super::problem::{Kind, Problem};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload};

/// Where objects are that may be long enough for parts. What lies elsewhere below the prefix is somebody else's, such as a repository whose
/// prefix begins with ours.
const LONG: [&str; 2] = ["data/", "tree/"];
/// Parts of one object that are sent at once.
const PARTS_AT_ONCE: usize = 4;

impl S3Store {
    pub(super) async fn put_whole(&self, path: &Path, bytes: &Bytes) -> Result<(), Halt> {
        let payload = || PutPayload::from_bytes(bytes.clone());
        let put = self.patience.with(async || {
            let put = self.client.s3().await?.put_opts(path, payload(), PutOptions::default()).await;
            put.map(drop).map_err(|error| Problem::of(&error))
        });
        let refused = match put.await {
            Err(halt) if halt.kind() == Some(&Kind::NotOffered) => halt,
            put => return put,
        };
        // Some endpoints know no checksums; the body's hash in the signature is checked all the same.
        let Some(s3) = self.client.without_checksums() else { return Err(refused) };
        let put = self.patience.with(async || {
            let put = s3.put_opts(path, payload(), PutOptions::default()).await;
            put.map(drop).map_err(|error| Problem::of(&error))
        });
        put.await?;
        self.client.leave_checksums();
        Ok(())
    }

    pub(super) async fn put_in_parts(&self, path: &Path, bytes: &Bytes) -> Result<(), Halt> {
        let begin = self
            .patience
            .with(async || self.client.s3().await?.create_multipart(path).await.map_err(|error| Problem::of(&error)));
        let upload = begin.await?;
        let done = self.put_parts(path, &upload, bytes).await;
        if done.is_err() {
            // Not by patience: that has run out, or somebody said stop. When it fails, `sweep` will have it.
            if let Ok(s3) = self.client.s3().await {
                let _ = s3.abort_multipart(path, &upload).await;
            }
        }
        done
    }

    async fn put_parts(&self, path: &Path, upload: &String, bytes: &Bytes) -> Result<(), Halt> {
        let part_bytes = self.settings.single_put_bytes;
        let parts = (0..bytes.len().div_ceil(part_bytes)).map(|number| {
            let part = bytes.slice(number * part_bytes..bytes.len().min((number + 1) * part_bytes));
            self.put_part(path, upload, number, part)
        });
        let parts: Vec<PartId> = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
        let mut attempts = 0;
        let complete = self.patience.with(async || {
            attempts += 1;
            let done = self.client.s3().await?.complete_multipart(path, upload, parts.clone()).await;
            done.map(drop).map_err(|error| Problem::of(&error))
        });
        match complete.await {
            // The answer to an attempt before this one was lost, and an upload that is finished is one that the endpoint does not know.
            Err(Halt::Problem(problem)) if attempts > 1 => match self.holds(path, bytes).await {
                Ok(true) => Ok(()),
                _ => Err(problem.into()),
            },
            done => done,
        }
    }

    async fn put_part(&self, path: &Path, upload: &String, number: usize, part: Bytes) -> Result<PartId, Halt> {
        let put = self.patience.with(async || {
            let payload = PutPayload::from_bytes(part.clone());
            let put = self.client.s3().await?.put_part(path, upload, number, payload).await;
            put.map_err(|error| Problem::of(&error))
        });
        put.await
    }

    async fn holds(&self, path: &Path, bytes: &Bytes) -> Result<bool, Halt> {
        let mut stored = vec![0; bytes.len()];
        self.read_into(path, 0, &mut stored).await?;
        Ok(stored == *bytes)
    }

    /// Gives up all uploads in parts below the prefix that were begun and not finished.
    pub(super) async fn abort_unfinished(&self) -> Result<(), Halt> {
        let below = self.settings.address.name("");
        let listed = self.patience.with(async || self.client.unfinished_uploads(&below).await).await;
        let uploads = match listed {
            // An endpoint without uploads in parts has none that were left behind.
            Err(halt) if halt.kind() == Some(&Kind::NotOffered) => return Ok(()),
            listed => listed?,
        };
        for (name, upload) in uploads {
            let is_ours =
                self.settings.address.key(&name).is_some_and(|key| LONG.iter().any(|long| key.starts_with(long)));
            let Some(path) = Path::parse(&name).ok().filter(|_| is_ours) else { continue };
            let aborted = self.patience.with(async || {
                self.client.s3().await?.abort_multipart(&path, &upload).await.map_err(|error| Problem::of(&error))
            });
            match aborted.await {
                Err(halt) if halt.kind() == Some(&Kind::NoUpload) => {}
                aborted => aborted?,
            }
        }
        Ok(())
    }
}
