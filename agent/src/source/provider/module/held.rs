//! A snapshot of the module that this process answers for: created, recorded, taken, watched, and destroyed in the end.

use super::super::SnapshotError;
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
        let created = module.create(place.path(), place.limit_bytes() / SECTOR_BYTES, tied);
        let id = created.map_err(|error| storage_refused(&error, &place))?;
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

/// In the words of a backup's options; the tracker's own error knows only those of `icecore tracker`.
fn storage_refused(error: &TrackerError, place: &Place) -> SnapshotError {
    let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    SnapshotError {
        what: format!("the snapshot's difference storage cannot be made {}: {why}", place.describe()),
        next: "choose another place with --snapshot-storage, or less room with --snapshot-limit".into(),
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

#[cfg(test)]
mod tests {
    use super::super::storage::{Storage, Wanted};
    use super::*;
    use crate::source::sys::SysRoot;
    use crate::tracker::fake::{BLOCK, Fake};
    use std::path::Path;

    struct Bench {
        dir: tempfile::TempDir,
        fake: Arc<Fake>,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), fake: Arc::new(Fake::new(BLOCK, false)) }
        }

        fn take(&self) -> Result<Held> {
            let storage = Storage { place: Wanted::At(self.dir.path().to_owned()), limit_bytes: Some(1 << 20) };
            let place = storage.place(&SysRoot::host(), &[], self.dir.path()).unwrap();
            let records = Records::open(self.dir.path()).unwrap();
            let module: Arc<dyn Module> = Arc::clone(&self.fake) as _;
            Held::take(module, place, &records, vec!["/dev/fake".into()])
        }

        fn left(&self) -> (usize, usize) {
            (records_in(self.dir.path()), self.fake.list().unwrap().len())
        }
    }

    fn records_in(state: &Path) -> usize {
        std::fs::read_dir(state.join("snapshots")).map_or(0, Iterator::count)
    }

    #[test]
    fn a_snapshot_is_recorded_before_it_is_taken_and_no_longer_when_it_is_gone() {
        let bench = Bench::new();
        let state = bench.dir.path().to_owned();
        bench.fake.before_take(move || records_in(&state) == 1);
        let held = bench.take().expect("the record was there at TAKE");
        held.check().unwrap();
        assert_eq!((bench.left(), held.alarm()), ((1, 1), None));
        held.release().unwrap();
        assert_eq!(bench.left(), (0, 0));
        drop(bench.take().unwrap());
        assert_eq!(bench.left(), (0, 0), "dropping is releasing");
    }

    #[test]
    fn a_take_that_fails_leaves_neither_snapshot_nor_record() {
        let bench = Bench::new();
        bench.fake.before_take(|| false);
        let error = bench.take().err().unwrap();
        assert!(error.downcast_ref::<TrackerError>().is_some_and(|error| error.next().is_some()), "{error:#}");
        assert_eq!(bench.left(), (0, 0));
    }

    #[test]
    fn a_snapshot_that_somebody_else_destroyed_fails_the_check_and_is_released_all_the_same() {
        let bench = Bench::new();
        let held = bench.take().unwrap();
        bench.fake.destroy(held.id).unwrap();
        assert!(held.check().is_err());
        held.release().unwrap();
        assert_eq!(bench.left(), (0, 0));
    }
}
