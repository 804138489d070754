//! A snapshot of the module that this process answers for: created, recorded, taken, watched, and destroyed in the end.

use super::record::{Record, Records};
use super::spoiled;
use super::storage::Place;
use super::watch::Watch;
use crate::tracker::uapi::SECTOR_BYTES;
use crate::tracker::uapi::extension::{FEATURE_TIED_SNAPSHOTS, STATE_TAKEN};
use crate::tracker::{Id, Module, TrackerError};
use anyhow::{Context, Result};
use nix::errno::Errno;
use std::path::PathBuf;
use std::sync::Arc;

/// It. Dropping destroys it as well as it can.
pub struct Held {
    module: Arc<dyn Module>,
    id: Id,
    devices: Vec<PathBuf>,
    storage: String,
    record: Option<Record>,
    ended: bool,
    /// Ends with the snapshot.
    watch: Option<Watch>,
}

impl Held {
    /// Creates, records and takes a snapshot of attached devices.
    pub fn take(module: Arc<dyn Module>, place: Place, records: &Records, devices: Vec<PathBuf>) -> Result<Self> {
        let tied = module.features()?.bits & FEATURE_TIED_SNAPSHOTS != 0;
        let id = module.create(place.path(), place.limit_bytes() / SECTOR_BYTES, tied)?;
        // From here on dropping `held` undoes everything, and after a crash the record does.
        let record = records.enter(id);
        let mut held = Self { module, id, devices, storage: place.describe(), record: None, ended: false, watch: None };
        held.record = Some(record.context("recording the snapshot before it is taken")?);
        // The module has opened the storage; a place in memory needs no name any more.
        drop(place);
        for device in &held.devices {
            held.module.add(id, device)?;
        }
        held.module.take(id)?;
        held.watch = Some(Watch::start(Arc::clone(&held.module), id).context("starting to watch the snapshot")?);
        Ok(held)
    }

    /// The devices in it, in the order of the job's disks.
    pub fn devices(&self) -> &[PathBuf] {
        &self.devices
    }

    /// The module.
    pub fn module(&self) -> &dyn Module {
        &*self.module
    }

    /// What an event said.
    pub fn alarm(&self) -> Option<String> {
        let (device, why) = self.watch.as_ref()?.spoiled()?;
        Some(spoiled(why, &device, &self.storage).what)
    }

    /// Asks the module whether the snapshot is still true.
    pub fn check(&self) -> Result<()> {
        if let Some((device, why)) = self.watch.as_ref().and_then(Watch::spoiled) {
            return Err(spoiled(why, &device, &self.storage).into());
        }
        for device in &self.devices {
            let why = self.module.snapshot_info(device)?.error_code;
            if why != 0 {
                let why = Errno::from_raw(why.saturating_abs());
                return Err(spoiled(why, &device.display().to_string(), &self.storage).into());
            }
        }
        match self.module.snapshot_statistics(self.id)? {
            Some(now) if now.state != STATE_TAKEN || now.error_code != 0 => {
                let why = Errno::from_raw(now.error_code.saturating_abs());
                Err(spoiled(why, "the disks", &self.storage).into())
            }
            _ => Ok(()),
        }
    }

    /// Destroys it.
    pub fn release(mut self) -> Result<Arc<dyn Module>> {
        self.end()?;
        Ok(Arc::clone(&self.module))
    }

    fn end(&mut self) -> Result<()> {
        match self.module.destroy(self.id) {
            // Somebody else destroyed it.
            Err(error) if is_gone(&error) => {}
            other => other?,
        }
        self.ended = true;
        self.watch = None;
        self.record.take().map_or(Ok(()), Record::strike)
    }
}

/// There is no such snapshot.
pub fn is_gone(error: &TrackerError) -> bool {
    matches!(error.errno(), Some(Errno::ENODEV | Errno::ESRCH))
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.end()
        {
            tracing::warn!(%error, snapshot = %self.id, "the snapshot could not be released; the next backup does that");
        }
    }
}
