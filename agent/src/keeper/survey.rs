//! What is in the repository, told to the server: names, disks and sizes of points are sealed for it, and it cannot see what is given up
//! or gone.

use crate::daemon::Link;
use anyhow::{Result, anyhow};
use jiff::Timestamp;
use repo_format::forget::tombstones;
use repo_format::id::{ManifestId, WriterId};
use repo_format::manifest::{Consistency, Manifest, PointKey, PointKind};
use repo_format::repository::Repository;
use repo_format::{Error, suspects};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;
use web_api::recovery_point::{
    MAX_REPORTED_DISKS, MAX_REPORTED_POINTS, PointContent, PointDisk, ReportPoints, SeenPoint,
};
use web_api::unit::{ByteCount, Time};

/// What is remembered of manifests: they never change.
#[derive(Default)]
pub struct Survey(Mutex<HashMap<ManifestId, Read>>);

#[derive(Clone)]
struct Read {
    writer: WriterId,
    received_at: Time,
    size_bytes: u64,
    content: Option<PointContent>,
}

impl Survey {
    /// Looks at all points and tells the server. One look at a time.
    pub fn tell(&self, repo: &Repository, link: &Link) -> Result<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (survey, begun_at) = (Uuid::now_v7(), Time::from(Timestamp::now()));
        let points = repo.points()?;
        let stones: HashMap<ManifestId, (Time, Time)> = tombstones(repo)?
            .into_iter()
            .map(|(_, stone)| (stone.manifest, (stone.forgotten_at.into(), stone.delete_after.into())))
            .collect();
        let suspects = suspects::all(repo)?;
        known.retain(|manifest, _| points.iter().any(|at| at.manifest == *manifest));
        let mut seen = Vec::with_capacity(points.len());
        for at in &points {
            let read = match known.get(&at.manifest) {
                Some(read) => read.clone(),
                None => match read(repo, *at)? {
                    Some(read) => known.entry(at.manifest).or_insert(read).clone(),
                    None => continue,
                },
            };
            let stone = stones.get(&at.manifest);
            seen.push(SeenPoint {
                id: at.manifest.to_string(),
                series: at.name.to_string(),
                sequence: at.sequence,
                writer: read.writer.to_string(),
                received_at: read.received_at,
                size_bytes: ByteCount(read.size_bytes),
                content: read.content,
                suspect: suspects.contains(&at.manifest),
                forgotten_at: stone.map(|(at, _)| *at),
                delete_after: stone.map(|(_, after)| *after),
            });
        }
        let mut parts = seen.chunks(MAX_REPORTED_POINTS).map(<[_]>::to_vec).peekable();
        loop {
            let points = parts.next().unwrap_or_default();
            let complete = parts.peek().is_none();
            link.points(&ReportPoints { survey, begun_at, points, complete })
                .map_err(|asked| anyhow!("the server did not take it: {asked:?}"))?;
            if complete {
                return Ok(());
            }
        }
    }
}

/// What a manifest says; nothing when it is gone. One that is damaged or of an unknown writer is there all the same.
fn read(repo: &Repository, at: PointKey) -> Result<Option<Read>, Error> {
    let nobody = WriterId([0; 16]);
    let stored = match repo.load_unverified(at) {
        Ok(stored) => stored,
        Err(Error::Missing { .. }) => return Ok(None),
        Err(error) if error.is_loss() => {
            let received_at = Timestamp::now().into();
            return Ok(Some(Read { writer: nobody, received_at, size_bytes: 0, content: None }));
        }
        Err(error) => return Err(error),
    };
    Ok(Some(Read {
        // Who signed it is not proved without the writer's record.
        writer: if stored.is_verified { stored.writer } else { nobody },
        received_at: stored.receipt.received_at.into(),
        size_bytes: stored.object_bytes,
        content: stored.open(repo.keys()).ok().map(|manifest| content(&manifest)),
    }))
}

fn content(manifest: &Manifest) -> PointContent {
    let disk = |disk: &repo_format::manifest::Disk| PointDisk {
        name: disk.name.clone(),
        path: disk.path.clone(),
        size_bytes: ByteCount(disk.size_bytes),
    };
    PointContent {
        name: manifest.name.clone(),
        host: manifest.host.clone(),
        made_at: manifest.created_at.into(),
        kind: match manifest.kind {
            PointKind::Full => "full",
            PointKind::FullRead => "full_read",
            PointKind::Incremental => "incremental",
        }
        .into(),
        consistency: match manifest.consistency {
            Consistency::Offline => "offline",
            Consistency::CrashConsistent => "crash_consistent",
            Consistency::ApplicationConsistent => "application_consistent",
            Consistency::NotConsistent => "not_consistent",
        }
        .into(),
        disks: manifest.disks.iter().take(MAX_REPORTED_DISKS).map(disk).collect(),
        source_bytes: ByteCount(manifest.disks.iter().map(|disk| disk.size_bytes).sum()),
        stored_bytes: ByteCount(manifest.stats.bytes_stored),
    }
}
