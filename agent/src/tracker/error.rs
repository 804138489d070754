//! Why a call of the module failed, in words: what, why, what to do next.

use nix::errno::Errno;
use std::fmt;

/// The calls, as far as their errors differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opening the control device.
    OpenControl,
    /// Opening a block device.
    OpenDevice,
    /// Asking for versions.
    Version,
    /// `BLKFILTER_ATTACH`.
    Attach,
    /// `BLKFILTER_DETACH`.
    Detach,
    /// `CBTINFO`, `TRACKER_INFO`.
    Info,
    /// `CBTMAP`.
    Map,
    /// `CBTDIRTY`.
    Dirty,
    /// `CHANGED`.
    Changed,
    /// `INTERVALS`.
    Intervals,
    /// `STATISTICS` of a tracker.
    Statistics,
    /// `SNAPSHOTADD`.
    Add,
    /// `SNAPSHOTINFO`.
    ImageInfo,
    /// `SNAPSHOT_CREATE`.
    Create,
    /// `SNAPSHOT_TAKE`.
    Take,
    /// `SNAPSHOT_DESTROY`.
    Destroy,
    /// `SNAPSHOT_COLLECT`.
    List,
    /// `SNAPSHOT_STATISTICS`, `SNAPSHOT_DEVICES`.
    SnapshotStatistics,
    /// `SNAPSHOT_WAIT_EVENT`.
    WaitEvent,
}

/// Why the module could not be used, or refused.
#[derive(Debug)]
pub enum TrackerError {
    /// There is no control device.
    NotLoaded {
        /// A module for this kernel is installed.
        installed: bool,
    },
    /// A call failed.
    Call {
        /// Which.
        call: Call,
        /// On what: a device, a snapshot, a path.
        subject: String,
        /// The cause.
        why: Why,
    },
    /// A list of changes does not fit what the caller remembers.
    Broken {
        /// The device.
        device: String,
        /// What differs.
        why: Difference,
    },
}

/// What differs from what was noted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Difference(pub String);

/// An errno with what it means for a call.
#[derive(Debug)]
pub struct Why {
    errno: Errno,
    meaning: Option<&'static str>,
    next: Option<&'static str>,
}

const AS_ROOT: (&str, &str) =
    ("only an administrator may do this (CAP_SYS_ADMIN)", "run it as root, for instance with sudo");
const NO_SNAPSHOT: (&str, &str) = ("there is no snapshot with this id", "`icecore tracker snapshot list` shows them");
const NO_MEMORY: (&str, &str) = ("the kernel has no memory for it", "free memory and try again; nothing was changed");
const NOT_TRACKED: (&str, &str) = ("no filter is attached to the device", "attach it: `icecore tracker attach DEVICE`");
const OTHER_FILTER: (&str, &str) = (
    "another filter is attached to the device",
    "/sys/class/block/DEVICE/filter names it; use the program that attached it",
);
const DISAGREE: (&str, &str) = (
    "program and module disagree about a structure",
    "load the module that belongs to this version of icecore; if it is loaded, report this",
);
const OLD_MODULE: (&str, &str) =
    ("the loaded module does not know this call", "load the module that belongs to this version of icecore");

impl TrackerError {
    /// A failed call.
    pub fn call(call: Call, subject: impl fmt::Display, errno: Errno) -> Self {
        let known = explain(call, errno);
        let why = Why { errno, meaning: known.map(|known| known.0), next: known.map(|known| known.1) };
        Self::Call { call, subject: subject.to_string(), why }
    }

    /// The errno of a failed call.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { why, .. } => Some(why.errno),
            Self::NotLoaded { .. } | Self::Broken { .. } => None,
        }
    }

    /// What to do next.
    pub fn next(&self) -> Option<String> {
        match self {
            Self::NotLoaded { installed: true } => Some("load it: `modprobe blksnap`".into()),
            Self::NotLoaded { installed: false } => Some(
                "none is installed for the running kernel; `cargo xtask kmod` builds it for Debian 13's backports kernel, \
                 docs/kernel/blksnap.md says which kernels can have it. Backups work without it, but read whole disks"
                    .into(),
            ),
            Self::Call { why, .. } => why.next.map(str::to_owned),
            Self::Broken { .. } => {
                Some("read the whole disk once: back up without --changed-extents; later lists can be used again".into())
            }
        }
    }
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoaded { .. } => write!(f, "the kernel module blksnap is not loaded"),
            Self::Call { call, subject, .. } => write!(f, "{}", attempt(*call).replace('@', subject)),
            Self::Broken { device, .. } => write!(f, "the changes of {device} do not continue what was noted"),
        }
    }
}

impl std::error::Error for TrackerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Call { why, .. } => Some(why),
            Self::Broken { why, .. } => Some(why),
            Self::NotLoaded { .. } => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning {
            Some(meaning) => write!(f, "{meaning} ({:?})", self.errno),
            None => write!(f, "{} ({:?})", self.errno.desc(), self.errno),
        }
    }
}

impl std::error::Error for Why {}

/// What was attempted; `@` stands for the subject.
fn attempt(call: Call) -> &'static str {
    match call {
        Call::OpenControl | Call::OpenDevice => "cannot open @",
        Call::Version => "cannot ask the module at @ for its version",
        Call::Attach => "cannot track @",
        Call::Detach => "cannot stop tracking @",
        Call::Info | Call::Statistics => "cannot ask the tracker of @",
        Call::Map | Call::Changed => "cannot read the changed-block map of @",
        Call::Dirty => "cannot mark ranges of @ as changed",
        Call::Intervals => "cannot read the interval ids of @",
        Call::Add => "cannot add @ to the snapshot",
        Call::ImageInfo => "cannot ask for the snapshot image of @",
        Call::Create => "cannot create a snapshot with its difference storage at @",
        Call::Take => "cannot take the snapshot @",
        Call::Destroy => "cannot destroy the snapshot @",
        Call::List => "cannot list the snapshots",
        Call::SnapshotStatistics => "cannot ask for the snapshot @",
        Call::WaitEvent => "cannot wait for events of the snapshot @",
    }
}

/// What an errno means for a call, and what to do about it.
fn explain(call: Call, errno: Errno) -> Option<(&'static str, &'static str)> {
    let specific = match call {
        Call::OpenControl => None,
        Call::OpenDevice => explain_open(errno),
        Call::Attach | Call::Detach => explain_filter(call, errno),
        Call::Create => explain_create(errno),
        Call::Add | Call::Take | Call::Destroy | Call::ImageInfo => explain_snapshot(call, errno),
        Call::WaitEvent | Call::SnapshotStatistics if errno == Errno::ESRCH => Some(NO_SNAPSHOT),
        Call::WaitEvent if errno == Errno::EINVAL => Some(DISAGREE),
        Call::WaitEvent if errno == Errno::ENOENT => Some(("no event came in time", "wait longer")),
        Call::Intervals if errno == Errno::ENOENT => {
            Some(("the interval was not taken yet or is no longer kept", "read the whole disk once"))
        }
        Call::Changed if errno == Errno::ESTALE => {
            Some(("a snapshot was taken or tracking began anew meanwhile", "run it again"))
        }
        Call::Dirty if errno == Errno::EINVAL => {
            Some(("a range is empty or does not lie on the device", "give ranges below the size of the device"))
        }
        Call::Map | Call::Changed if errno == Errno::EINVAL => Some((
            "what was asked for does not lie on the device, or in the map's past",
            "`icecore tracker info DEVICE` shows size and number",
        )),
        _ => None,
    };
    specific.or(match errno {
        Errno::EPERM | Errno::EACCES => Some(AS_ROOT),
        Errno::ENOENT => Some(NOT_TRACKED),
        Errno::EINVAL => Some(OTHER_FILTER),
        Errno::ENOTTY => Some(OLD_MODULE),
        Errno::ENOMEM => Some(NO_MEMORY),
        Errno::ENODEV | Errno::ENXIO => Some(("the device is gone", "check its cable or its virtual machine")),
        Errno::EINTR => Some(("a signal came", "run it again")),
        Errno::EAGAIN => Some(("a snapshot was taken meanwhile", "run it again")),
        Errno::EFAULT | Errno::ENODATA => Some(DISAGREE),
        _ => None,
    })
}

fn explain_open(errno: Errno) -> Option<(&'static str, &'static str)> {
    Some(match errno {
        Errno::ENOENT => ("there is no such device", "`lsblk` lists the devices"),
        Errno::ENOTBLK => {
            ("it is not a block device", "give a device such as /dev/sda; a file can be attached with losetup")
        }
        _ => return None,
    })
}

fn explain_filter(call: Call, errno: Errno) -> Option<(&'static str, &'static str)> {
    Some(match (call, errno) {
        (Call::Attach, Errno::ENOENT) => {
            ("the kernel has no filter of the name blksnap", "load the module: `modprobe blksnap`")
        }
        (Call::Attach, Errno::EALREADY) => {
            ("it is tracked already", "there is nothing to do; `icecore tracker info DEVICE` shows since when")
        }
        (Call::Attach, Errno::EINVAL) => DISAGREE,
        (Call::Attach, Errno::EBUSY) => (
            "another filter is attached, or another module or a livepatch has the kernel function that filters need",
            "/sys/class/block/DEVICE/filter names the filter; without that file `dmesg` says who is in the way",
        ),
        (Call::Attach, Errno::EOPNOTSUPP) => (
            "zoned and DAX devices can change in ways that no filter sees",
            "back the device up without tracking; it is then read whole",
        ),
        (Call::Detach, Errno::ENOENT) => ("no filter is attached to the device", "there is nothing to do"),
        (Call::Detach, Errno::EBUSY) => {
            ("a snapshot holds the device", "destroy it first; `icecore tracker snapshot list` shows them")
        }
        _ => return None,
    })
}

fn explain_create(errno: Errno) -> Option<(&'static str, &'static str)> {
    Some(match errno {
        Errno::EFAULT | Errno::EINVAL => (
            "the difference storage must be a directory, a regular file or a block device",
            "give an existing directory, for instance --storage /var/tmp",
        ),
        Errno::ENOENT => ("there is no such file or directory", "give an existing directory, for instance /var/tmp"),
        Errno::EBUSY => ("the device is in use", "give a device that nothing mounts or holds, or a directory"),
        Errno::EOPNOTSUPP => (
            "the file system has no unnamed temporary files or no direct access",
            "give a directory on another file system, or a regular file",
        ),
        Errno::ENOSPC => (
            "the difference storage has no room, or is larger than the limit",
            "raise --limit, free space, or give another place",
        ),
        Errno::ENOTTY => ("the loaded module cannot tie a snapshot to its owner", "create it without --hold"),
        _ => return None,
    })
}

fn explain_snapshot(call: Call, errno: Errno) -> Option<(&'static str, &'static str)> {
    Some(match (call, errno) {
        (Call::Destroy, Errno::ENODEV) | (_, Errno::ESRCH) => NO_SNAPSHOT,
        (Call::Add, Errno::EALREADY) => ("it is in this snapshot already", "there is nothing to do"),
        (Call::Add, Errno::EBUSY) => (
            "it is in another snapshot, this one was taken already, or its difference storage lies on the device",
            "`icecore tracker snapshot list` shows the first two; for the third use --storage on another disk",
        ),
        (Call::Add, Errno::EPERM) => (
            "it uses data integrity or inline encryption, which a copy cannot carry; or you are not an administrator",
            "run it as root; such a device cannot be in a snapshot, add the devices on top of it instead",
        ),
        (Call::Add, Errno::EOPNOTSUPP) => {
            ("it is zoned or has DAX, so it can change unseen", "back it up without a snapshot, unmounted")
        }
        (Call::Take, Errno::ENODEV) => {
            ("the snapshot has no device, or one that is gone", "add one: `icecore tracker snapshot add ID DEVICE`")
        }
        (Call::Take, Errno::EALREADY) => {
            ("it was taken already", "`icecore tracker snapshot info ID` shows its images")
        }
        (Call::Take, Errno::ETIMEDOUT) => (
            "writes that had begun before did not end in time; everything was undone",
            "try again when the disks are less busy; `dmesg` names the device",
        ),
        (Call::Take, Errno::EINVAL) => (
            "a device needs larger requests than chunks may be",
            "raise /sys/module/blksnap/parameters/chunk_maximum_shift",
        ),
        (Call::Take, Errno::ENXIO) => (
            "the kernel has disabled ftrace after an error of its own; the module sees no writes any more",
            "`dmesg` shows that error; restart the machine, then attach again",
        ),
        (Call::ImageInfo, Errno::ENOENT) => NOT_TRACKED,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [&str; 2] =
        [include_str!("../../../docs/kernel/blkfilter.md"), include_str!("../../../docs/kernel/blksnap.md")];

    /// The calls as the pages name them.
    const CALLS: [(&str, Call); 15] = [
        ("BLKFILTER_ATTACH", Call::Attach),
        ("BLKFILTER_DETACH", Call::Detach),
        ("BLKFILTER_CTL", Call::Info),
        ("CTL_CBTMAP", Call::Map),
        ("CTL_CBTDIRTY", Call::Dirty),
        ("CTL_SNAPSHOTADD", Call::Add),
        ("CTL_INTERVALS", Call::Intervals),
        ("CTL_CHANGED", Call::Changed),
        ("SNAPSHOT_CREATE", Call::Create),
        ("SNAPSHOT_DESTROY", Call::Destroy),
        ("SNAPSHOT_TAKE", Call::Take),
        ("SNAPSHOT_COLLECT", Call::List),
        ("SNAPSHOT_WAIT_EVENT", Call::WaitEvent),
        ("SNAPSHOT_STATISTICS", Call::SnapshotStatistics),
        ("SNAPSHOT_DEVICES", Call::SnapshotStatistics),
    ];

    /// (call, errno) of the rows of the tables of errors.
    fn documented() -> Vec<(Call, Errno)> {
        let errno = |name: &str| (1..200).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name);
        let rows = PAGES.iter().flat_map(|page| page.lines()).filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let (name, errno) = (cells.get(1)?, errno(cells.get(2)?)?);
            let call = CALLS.iter().find(|(known, _)| known == name);
            Some((call.unwrap_or_else(|| panic!("{name} is no call")).1, errno))
        });
        rows.collect()
    }

    #[test]
    fn every_documented_errno_is_explained_with_a_next_step() {
        let documented = documented();
        assert!(documented.len() > 40, "the tables were not found: {documented:?}");
        for (call, errno) in documented {
            let error = TrackerError::call(call, "/dev/x", errno);
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(error.next().is_some(), "{call:?} {errno:?}: {why}");
            assert!(why.contains(&format!("{errno:?}")), "{why}");
            assert!(!why.starts_with(errno.desc()), "{call:?} {errno:?} is only the kernel's own words");
        }
    }

    #[test]
    fn an_errno_that_nobody_expects_is_shown_as_the_kernel_says_it() {
        let error = TrackerError::call(Call::Take, "x", Errno::EXDEV);
        assert_eq!(error.to_string(), "cannot take the snapshot x");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "Cross-device link (EXDEV)");
        assert_eq!(error.next(), None);
    }

    #[test]
    fn a_module_that_is_missing_is_loaded_or_built() {
        assert!(TrackerError::NotLoaded { installed: true }.next().unwrap().contains("modprobe blksnap"));
        assert!(TrackerError::NotLoaded { installed: false }.next().unwrap().contains("cargo xtask kmod"));
    }
}
