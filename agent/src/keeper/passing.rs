//! Passing disks of recovery points to machines that restore them, part by part, sealed to each ([`repo_format::passage`]).
//!
//! The server says that a person wants it; which machines may have others' disks is said by this keeper's own command line (`--pass-to`).

use crate::point_disk::PointDisk;
use crate::read_at::ReadAt as _;
use crate::restore::passed::About;
use anyhow::{Context as _, Result, ensure};
use repo_format::Error;
use repo_format::id::WriterId;
use repo_format::manifest::{Manifest, PointKey};
use repo_format::passage::{MAX_PART_BYTES, Order, Part};
use repo_format::reader::Reader;
use repo_format::sign::Signer;
use repo_format::tree::TreeWalk;

/// Looks at an order: who signed it, whether that machine may, and whether it is about this point. With it comes who signs what is passed.
pub(super) fn ordered(reader: &Reader<'_>, at: PointKey, order: &str, pass_to: &[WriterId]) -> Result<(Order, Signer)> {
    let repo = reader.repository();
    let order = Order::verify(order, &repo.config().repository, repo.signers())?;
    ensure!(order.point == at.manifest, "the order is about another recovery point");
    if !pass_to.contains(&order.writer) {
        let what = format!(
            "the keeper passes no disks to the machine of writer {}; its --pass-to says to which it does",
            order.writer
        );
        return Err(Error::Refused(what).into());
    }
    let signer = repo.keys().master_for("passing a disk to another machine")?.operator_signer();
    Ok((order, signer))
}

/// A disk that is being passed to one machine.
pub(super) struct Passing<'p> {
    reader: &'p Reader<'p>,
    at: PointKey,
    chunk_bytes: u32,
    disk: PointDisk<'p>,
    order: Order,
    signer: Signer,
}

impl<'p> Passing<'p> {
    /// Looks at the order.
    pub(super) fn begin(
        reader: &'p Reader<'p>,
        (at, manifest): (PointKey, &Manifest),
        order: &str,
        pass_to: &[WriterId],
    ) -> Result<Self> {
        let (order, signer) = ordered(reader, at, order, pass_to)?;
        ensure!(order.is_for(None), "the order is about files, and not about a disk");
        let disk = PointDisk::new(reader, manifest, order.disk.as_deref())?;
        Ok(Self { reader, at, chunk_bytes: manifest.chunk_bytes, disk, order, signer })
    }

    /// Who ordered it.
    pub(super) fn writer(&self) -> WriterId {
        self.order.writer
    }

    /// What lies at an offset, or what the disk is; sealed.
    pub(super) fn part(&self, offset_bytes: Option<u64>) -> Result<Vec<u8>> {
        let part = match offset_bytes {
            None => self.about()?,
            Some(offset_bytes) => self.content(offset_bytes)?,
        };
        let repo = self.reader.repository();
        Ok(self.order.seal(&part, (&repo.config().repository, &self.signer), repo.entropy())?)
    }

    fn about(&self) -> Result<Part> {
        let about = About { point: self.at.key(), disk: self.disk.disk().clone() };
        Ok(Part::About(serde_json::to_vec(&about)?))
    }

    fn content(&self, offset_bytes: u64) -> Result<Part> {
        let size_bytes = self.disk.size_bytes();
        ensure!(offset_bytes < size_bytes, "the disk has {size_bytes} bytes, and none at offset {offset_bytes}");
        let chunk_bytes = u64::from(self.chunk_bytes);
        let tree = self.disk.disk().tree(self.chunk_bytes);
        let next = TreeWalk::new(tree, self.reader, offset_bytes / chunk_bytes..tree.chunks).next().transpose()?;
        let data_at = next.map_or(size_bytes, |(position, _)| position * chunk_bytes);
        if data_at > offset_bytes {
            return Ok(Part::Zeroes { offset_bytes, length_bytes: data_at.min(size_bytes) - offset_bytes });
        }
        let length_bytes = (size_bytes - offset_bytes).min(MAX_PART_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(length_bytes)?];
        let read = self.disk.read_exact_at(&mut bytes, offset_bytes);
        read.with_context(|| format!("reading the recovery point at offset {offset_bytes}"))?;
        Ok(Part::Data { offset_bytes, bytes })
    }
}
