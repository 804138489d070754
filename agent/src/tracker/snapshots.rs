//! Snapshots and their events, put together from several answers of the module.

use super::uapi::extension::{
    SNAPSHOT_NO_SPACE, SNAPSHOT_TIED, STATE_CORRUPTED, STATE_CREATED, STATE_TAKEN, SnapshotDevice, SnapshotStatistics,
};
use super::uapi::{EVENT_CORRUPTED, EVENT_NO_SPACE, SECTOR_BYTES, SnapshotEvent};
use super::{Id, Module, TrackerError};
use crate::source::sys::{DeviceNumber, SysRoot};
use jiff::Timestamp;
use nix::errno::Errno;
use serde::Serialize;

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its id.
    pub id: Id,
    /// What the module tells besides; nothing with the C module.
    #[serde(flatten)]
    pub facts: Option<Facts>,
}

/// State and contents of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// `created`, `taken`, `corrupted`, or a number that this program does not know.
    pub state: String,
    /// What spoiled it.
    pub error: Option<String>,
    /// It ends with the process that created it.
    pub tied: bool,
    /// When it was taken.
    pub taken_at: Option<Timestamp>,
    /// The difference storage grows no further than this.
    pub storage_limit_bytes: u64,
    /// What it has now.
    pub storage_capacity_bytes: u64,
    /// What is in use.
    pub storage_used_bytes: u64,
    /// It said that it is nearly full.
    pub no_space: bool,
    /// Chunks of which something is preserved.
    pub preserved_chunks: u64,
    /// Events that wait.
    pub pending_events: u32,
    /// Events that were dropped.
    pub dropped_events: u32,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// A device of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// `/dev/sda`.
    pub device: String,
    /// `/dev/blksnap-…`; nothing before TAKE.
    pub image: Option<String>,
    /// What spoiled its image.
    pub error: Option<String>,
    /// Unit of copying.
    pub chunk_bytes: u64,
}

/// Something that happened to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub at: Option<Timestamp>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The image of a device is no longer true.
    Corrupted {
        /// The original device.
        device: String,
        /// Why.
        error: String,
    },
    /// The difference storage is nearly full and at its limit.
    NoSpace {
        /// What it would have asked for.
        requested_bytes: u64,
    },
    /// An event that this program does not know.
    Unknown {
        /// Its number.
        code: u32,
    },
}

/// Everything about a snapshot.
pub fn describe(module: &dyn Module, sys: &SysRoot, id: Id) -> Result<Snapshot, TrackerError> {
    let Some(statistics) = module.snapshot_statistics(id)? else {
        let known = module.list()?.contains(&id);
        let missing = || TrackerError::call(super::error::Call::SnapshotStatistics, id, Errno::ESRCH);
        return if known { Ok(Snapshot { id, facts: None }) } else { Err(missing()) };
    };
    let devices = module.snapshot_devices(id)?.unwrap_or_default();
    Ok(Snapshot { id, facts: Some(facts(sys, &statistics, &devices)) })
}

/// Everything about all snapshots. One that ends meanwhile is left out.
pub fn describe_all(module: &dyn Module, sys: &SysRoot) -> Result<Vec<Snapshot>, TrackerError> {
    let mut all = Vec::new();
    for id in module.list()? {
        match describe(module, sys, id) {
            Err(error) if error.errno() == Some(Errno::ESRCH) => {}
            snapshot => all.push(snapshot?),
        }
    }
    Ok(all)
}

/// An event as the module gives it.
pub fn event(sys: &SysRoot, event: &SnapshotEvent) -> Event {
    let word = |at: usize| {
        let bytes = event.data.get(4 * at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes))
    };
    let what = match event.code {
        EVENT_CORRUPTED => What::Corrupted {
            device: device_name(sys, word(0), word(1)),
            error: errno_text(word(2).cast_signed()).unwrap_or_else(|| "no reason given".into()),
        },
        EVENT_NO_SPACE => {
            let sectors = event.data.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
            What::NoSpace { requested_bytes: sectors.saturating_mul(SECTOR_BYTES) }
        }
        code => What::Unknown { code },
    };
    Event { at: timestamp(event.time_ns), what }
}

/// A name of the interface, ended by a zero; nothing when it is empty. A foreign byte becomes a replacement character.
pub fn image_path(name: &[u8]) -> Option<String> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    (end > 0).then(|| format!("/dev/{}", String::from_utf8_lossy(&name[..end])))
}

/// An errno of either sign in words; nothing for 0.
pub fn errno_text(errno: i32) -> Option<String> {
    let errno = (errno != 0).then(|| Errno::from_raw(errno.saturating_abs()))?;
    Some(format!("{} ({errno:?})", errno.desc()))
}

fn facts(sys: &SysRoot, statistics: &SnapshotStatistics, devices: &[SnapshotDevice]) -> Facts {
    let state = match statistics.state {
        STATE_CREATED => "created".into(),
        STATE_TAKEN => "taken".into(),
        STATE_CORRUPTED => "corrupted".into(),
        other => other.to_string(),
    };
    let bytes = |sectors: u64| sectors.saturating_mul(SECTOR_BYTES);
    Facts {
        state,
        error: errno_text(statistics.error_code),
        tied: statistics.flags & SNAPSHOT_TIED != 0,
        taken_at: timestamp(statistics.taken_ns),
        storage_limit_bytes: bytes(statistics.limit_sectors),
        storage_capacity_bytes: bytes(statistics.capacity_sectors),
        storage_used_bytes: bytes(statistics.used_sectors),
        no_space: statistics.flags & SNAPSHOT_NO_SPACE != 0,
        preserved_chunks: statistics.preserved_chunks,
        pending_events: statistics.pending_events,
        dropped_events: statistics.dropped_events,
        devices: devices.iter().map(|device| self::device(sys, device)).collect(),
    }
}

fn device(sys: &SysRoot, device: &SnapshotDevice) -> Device {
    Device {
        device: device_name(sys, device.major, device.minor),
        image: image_path(&device.image),
        error: errno_text(device.error_code),
        chunk_bytes: device.chunk_bytes,
    }
}

fn device_name(sys: &SysRoot, major: u32, minor: u32) -> String {
    let number = format!("{major}:{minor}");
    match DeviceNumber::parse(&number).map(|number| sys.name(number)) {
        Some(name) if name != number => format!("/dev/{name}"),
        _ => number,
    }
}

/// A moment; nothing for 0, which means: not yet.
fn timestamp(time_ns: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(time_ns.into()).ok().filter(|_| time_ns != 0)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{BLOCK, Fake};
    use super::*;
    use crate::tracker::uapi::EVENT_DATA_BYTES;
    use std::path::Path;

    /// A machine without devices: every number stays a number.
    fn sys() -> SysRoot {
        SysRoot::at("/nonexistent")
    }

    fn raw(code: u32, data: &[u8]) -> SnapshotEvent {
        let mut event = SnapshotEvent {
            id: Id([1; 16]).into(),
            timeout_ms: 0,
            code,
            time_ns: 1_000_000_000,
            data: [0; EVENT_DATA_BYTES],
        };
        event.data[..data.len()].copy_from_slice(data);
        event
    }

    #[test]
    fn events_are_read_as_the_interface_lays_them_out() {
        let corrupted = [8_u32.to_ne_bytes(), 16_u32.to_ne_bytes(), 5_i32.to_ne_bytes()].concat();
        let read = event(&sys(), &raw(EVENT_CORRUPTED, &corrupted));
        assert_eq!(read.what, What::Corrupted { device: "8:16".into(), error: "I/O error (EIO)".into() });
        assert_eq!(read.at.unwrap().to_string(), "1970-01-01T00:00:01Z");
        let no_space = event(&sys(), &raw(EVENT_NO_SPACE, &2048_u64.to_ne_bytes()));
        assert_eq!(no_space.what, What::NoSpace { requested_bytes: 1 << 20 });
        assert_eq!(event(&sys(), &raw(9, &[])).what, What::Unknown { code: 9 });
        let json = serde_json::to_value(&no_space).unwrap();
        assert_eq!((json["event"].as_str(), json["requested_bytes"].as_u64()), (Some("no_space"), Some(1 << 20)));
    }

    #[test]
    fn a_snapshot_is_described_with_its_devices() {
        let fake = Fake::new(BLOCK, false);
        let id = fake.create(Path::new("/var/tmp"), 4096, true).unwrap();
        fake.add(id, Path::new("/dev/fake")).unwrap();
        let facts = describe(&fake, &sys(), id).unwrap().facts.unwrap();
        assert_eq!((facts.state.as_str(), facts.tied, facts.storage_limit_bytes), ("created", true, 2 << 20));
        assert_eq!((facts.devices[0].device.as_str(), &facts.devices[0].image), ("8:0", &None));
        fake.take(id).unwrap();
        let all = describe_all(&fake, &sys()).unwrap();
        let facts = all[0].facts.as_ref().unwrap();
        assert_eq!((facts.state.as_str(), facts.devices[0].image.as_deref()), ("taken", Some("/dev/blksnap-8-0")));
        let json = serde_json::to_value(&all[0]).unwrap();
        assert_eq!((json["state"].as_str(), json["id"].as_str()), (Some("taken"), Some(id.to_string().as_str())));
    }

    #[test]
    fn with_the_c_module_only_ids_are_known_and_unknown_ids_are_errors() {
        let fake = Fake::new(BLOCK, true);
        let id = fake.create(Path::new("/var/tmp"), 4096, false).unwrap();
        assert_eq!(describe_all(&fake, &sys()).unwrap(), [Snapshot { id, facts: None }]);
        assert_eq!(describe(&fake, &sys(), Id([3; 16])).unwrap_err().errno(), Some(Errno::ESRCH));
    }

    #[test]
    fn names_end_at_the_first_zero() {
        assert_eq!(image_path(b"blksnap-8-0\0x").as_deref(), Some("/dev/blksnap-8-0"));
        assert_eq!(image_path(&[0; 32]), None);
        assert_eq!((errno_text(0), errno_text(-5), errno_text(i32::MIN).is_some()), (None, errno_text(5), true));
    }
}
