//! The module of the running kernel.

use super::error::{Call, TrackerError};
use super::id::Id;
use super::uapi::extension::{
    CREATE_TIED_TO_FD, ChangedQuery, Extent, Features, SnapshotDevice, SnapshotStatistics, TrackerInfo,
    TrackerStatistics,
};
use super::uapi::{CONTROL_PATH, CbtInfo, EVENT_DATA_BYTES, Sectors, SnapshotEvent, SnapshotInfo, Uuid, Version};
use super::{Module, ioctl};
use nix::errno::Errno;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// How many times a list may grow while it is fetched.
const LIST_RETRIES: usize = 16;

/// The module of the running kernel, with its control device open. Snapshots that were created as tied end when it is dropped.
#[derive(Debug)]
pub struct HostModule {
    control: File,
}

impl HostModule {
    /// Opens the control device; without the module that fails and says how to load it.
    pub fn open() -> Result<Self, TrackerError> {
        match OpenOptions::new().read(true).write(true).open(CONTROL_PATH) {
            Ok(control) => Ok(Self { control }),
            Err(error) if is_absent(&error) => Err(TrackerError::NotLoaded { installed: is_installed() }),
            Err(error) => Err(TrackerError::call(Call::OpenControl, CONTROL_PATH, errno(&error))),
        }
    }

    fn device(&self, device: &Path) -> Result<File, TrackerError> {
        let failed = |error: io::Error| TrackerError::call(Call::OpenDevice, device.display(), errno(&error));
        let file = File::open(device).map_err(failed)?;
        match file.metadata().map_err(failed)?.file_type().is_block_device() {
            true => Ok(file),
            false => Err(TrackerError::call(Call::OpenDevice, device.display(), Errno::ENOTBLK)),
        }
    }

    /// A call on a device that is in every version of the interface.
    fn on<T>(&self, call: Call, device: &Path, run: impl FnOnce(&File) -> Result<T, Errno>) -> Result<T, TrackerError> {
        run(&self.device(device)?).map_err(|errno| TrackerError::call(call, device.display(), errno))
    }

    fn snapshot<T>(&self, call: Call, snapshot: Id, result: Result<T, Errno>) -> Result<T, TrackerError> {
        result.map_err(|errno| TrackerError::call(call, snapshot, errno))
    }

    /// Fetches a list whose length is known only by asking: asks again when it grew meanwhile.
    fn list_of<T: Copy>(empty: T, mut fetch: impl FnMut(&mut [T]) -> Result<u32, Errno>) -> Result<Vec<T>, Errno> {
        let mut count = fetch(&mut [])? as usize;
        for _ in 0..LIST_RETRIES {
            let mut list = vec![empty; count];
            if count == 0 {
                return Ok(list);
            }
            match fetch(&mut list) {
                Ok(now) if now as usize <= count => {
                    list.truncate(now as usize);
                    return Ok(list);
                }
                Ok(now) => count = now as usize,
                Err(Errno::ENODATA) => count = fetch(&mut [])? as usize,
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EAGAIN)
    }
}

/// `None` where the module does not know the call.
fn if_known<T>(result: Result<T, TrackerError>) -> Result<Option<T>, TrackerError> {
    match result {
        Err(error) if error.errno() == Some(Errno::ENOTTY) => Ok(None),
        other => other.map(Some),
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// No such node, or one that no driver answers for.
fn is_absent(error: &io::Error) -> bool {
    matches!(errno(error), Errno::ENOENT | Errno::ENXIO | Errno::ENODEV)
}

/// Is there a module to load for the running kernel?
fn is_installed() -> bool {
    let release = nix::sys::utsname::uname().map(|names| names.release().to_os_string()).unwrap_or_default();
    let list = Path::new("/lib/modules").join(release).join("modules.dep");
    std::fs::read(list).is_ok_and(|text| {
        text.split(|byte| *byte == b'\n').any(|line| {
            let path = line.split(|byte| *byte == b':').next().unwrap_or_default();
            path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b"blksnap.ko"))
        })
    })
}

impl Module for HostModule {
    fn version(&self) -> Result<Version, TrackerError> {
        ioctl::version(&self.control).map_err(|errno| TrackerError::call(Call::Version, CONTROL_PATH, errno))
    }

    fn features(&self) -> Result<Features, TrackerError> {
        let answer = ioctl::features(&self.control);
        let answer = answer.map_err(|errno| TrackerError::call(Call::Version, CONTROL_PATH, errno));
        Ok(if_known(answer)?.unwrap_or_default())
    }

    fn attach(&self, device: &Path) -> Result<(), TrackerError> {
        self.on(Call::Attach, device, ioctl::attach)
    }

    fn detach(&self, device: &Path) -> Result<(), TrackerError> {
        self.on(Call::Detach, device, ioctl::detach)
    }

    fn cbt_info(&self, device: &Path) -> Result<CbtInfo, TrackerError> {
        self.on(Call::Info, device, ioctl::get)
    }

    fn cbt_map(&self, device: &Path, first: u32, bytes: &mut [u8]) -> Result<(), TrackerError> {
        self.on(Call::Map, device, |file| ioctl::cbt_map(file, first, bytes))
    }

    fn mark_dirty(&self, device: &Path, ranges: &[Sectors]) -> Result<(), TrackerError> {
        self.on(Call::Dirty, device, |file| ioctl::mark_dirty(file, ranges))
    }

    fn tracker_info(&self, device: &Path) -> Result<Option<TrackerInfo>, TrackerError> {
        if_known(self.on(Call::Info, device, ioctl::get))
    }

    fn interval(&self, device: &Path, number: u64) -> Result<Option<Option<Id>>, TrackerError> {
        // An interval that is not kept and a device that is not tracked have the same errno.
        if self.tracker_info(device)?.is_none() {
            return Ok(None);
        }
        match if_known(self.on(Call::Intervals, device, |file| ioctl::interval(file, number))) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(Some(None)),
            other => Ok(other?.map(|id| Some(id.into()))),
        }
    }

    fn changed(
        &self,
        device: &Path,
        query: ChangedQuery,
        extents: &mut [Extent],
    ) -> Result<ChangedQuery, TrackerError> {
        self.on(Call::Changed, device, |file| ioctl::changed(file, query, extents))
    }

    fn tracker_statistics(&self, device: &Path) -> Result<Option<TrackerStatistics>, TrackerError> {
        if_known(self.on(Call::Statistics, device, ioctl::get))
    }

    fn create(&self, storage: &Path, limit_sectors: u64, tied: bool) -> Result<Id, TrackerError> {
        let failed = |errno| TrackerError::call(Call::Create, storage.display(), errno);
        let path = CString::new(storage.as_os_str().as_bytes()).map_err(|_| failed(Errno::EINVAL))?;
        let made = match tied {
            true => ioctl::create_with(&self.control, limit_sectors, &path, CREATE_TIED_TO_FD),
            false => ioctl::create(&self.control, limit_sectors, &path),
        };
        made.map(Id::from).map_err(failed)
    }

    fn add(&self, snapshot: Id, device: &Path) -> Result<(), TrackerError> {
        self.on(Call::Add, device, |file| ioctl::snapshot_add(file, snapshot.into()))
    }

    fn take(&self, snapshot: Id) -> Result<(), TrackerError> {
        self.snapshot(Call::Take, snapshot, ioctl::take(&self.control, snapshot.into()))
    }

    fn destroy(&self, snapshot: Id) -> Result<(), TrackerError> {
        self.snapshot(Call::Destroy, snapshot, ioctl::destroy(&self.control, snapshot.into()))
    }

    fn list(&self) -> Result<Vec<Id>, TrackerError> {
        let list = Self::list_of(Uuid::default(), |ids| ioctl::collect(&self.control, ids));
        let list = list.map_err(|errno| TrackerError::call(Call::List, CONTROL_PATH, errno))?;
        Ok(list.into_iter().map(Id::from).collect())
    }

    fn snapshot_info(&self, device: &Path) -> Result<SnapshotInfo, TrackerError> {
        self.on(Call::ImageInfo, device, ioctl::get)
    }

    fn snapshot_statistics(&self, snapshot: Id) -> Result<Option<SnapshotStatistics>, TrackerError> {
        let answer = ioctl::snapshot_statistics(&self.control, snapshot.into());
        if_known(self.snapshot(Call::SnapshotStatistics, snapshot, answer))
    }

    fn snapshot_devices(&self, snapshot: Id) -> Result<Option<Vec<SnapshotDevice>>, TrackerError> {
        let fetch = |devices: &mut [SnapshotDevice]| ioctl::snapshot_devices(&self.control, snapshot.into(), devices);
        let list = Self::list_of(SnapshotDevice::default(), fetch);
        if_known(self.snapshot(Call::SnapshotStatistics, snapshot, list))
    }

    fn wait_event(&self, snapshot: Id, timeout_ms: u32) -> Result<Option<Box<SnapshotEvent>>, TrackerError> {
        let mut event = Box::new(SnapshotEvent {
            id: snapshot.into(),
            timeout_ms,
            code: 0,
            time_ns: 0,
            data: [0; EVENT_DATA_BYTES],
        });
        match ioctl::wait_event(&self.control, &mut event) {
            Err(Errno::ENOENT) => Ok(None),
            other => self.snapshot(Call::WaitEvent, snapshot, other).map(|()| Some(event)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_grows_while_it_is_fetched_is_fetched_again() {
        let mut length = 1;
        let fetch = |list: &mut [u8]| {
            length += u32::from(!list.is_empty() && length < 4);
            list.fill(7);
            if list.is_empty() || list.len() >= length as usize { Ok(length) } else { Err(Errno::ENODATA) }
        };
        assert_eq!(HostModule::list_of(0, fetch), Ok(vec![7; 4]));
    }

    #[test]
    fn a_list_that_never_stops_growing_is_an_error() {
        let mut length = 0;
        let fetch = |_: &mut [u8]| {
            length += 1;
            Ok(length)
        };
        assert_eq!(HostModule::list_of(0, fetch), Err(Errno::EAGAIN));
    }

    #[test]
    fn only_an_unknown_call_means_that_an_addition_is_missing() {
        let error = |errno| Err::<(), _>(TrackerError::call(Call::Info, "x", errno));
        assert!(matches!(if_known(error(Errno::ENOTTY)), Ok(None)));
        assert!(if_known(error(Errno::ENOENT)).is_err());
    }
}
