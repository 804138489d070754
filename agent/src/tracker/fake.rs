//! A module for tests: one device, its numbers in a list, its snapshots in another. Old or new, by choice.

use super::error::Call;
use super::uapi::extension::{
    ChangedQuery, Extent, Features, SNAPSHOT_TIED, STATE_CREATED, STATE_TAKEN, SnapshotDevice, SnapshotStatistics,
    TrackerInfo, TrackerStatistics,
};
use super::uapi::{CbtInfo, IMAGE_NAME_BYTES, Sectors, SnapshotEvent, SnapshotInfo, Uuid, VERSION, Version};
use super::{Id, Module, TrackerError};
use nix::errno::Errno;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Bytes of a tracking block.
pub const BLOCK: u64 = 65_536;
const GENERATION: Uuid = Uuid { bytes: [0x11; 16] };

/// The module.
pub struct Fake {
    capacity_bytes: u64,
    old: bool,
    numbers: Mutex<Vec<u64>>,
    answer_at_most: AtomicUsize,
    oldest_interval: AtomicU64,
    snapshots: Mutex<Vec<(Id, SnapshotStatistics)>>,
    before_take: Mutex<Option<BeforeTake>>,
}

/// Asked before each TAKE; the TAKE fails when it says false.
type BeforeTake = Box<dyn Fn() -> bool + Send>;

impl Fake {
    /// A device of this size on which nothing changed; `old` is the C module.
    pub fn new(capacity_bytes: u64, old: bool) -> Self {
        let blocks = usize::try_from(capacity_bytes.div_ceil(BLOCK)).unwrap();
        Self {
            capacity_bytes,
            old,
            numbers: Mutex::new(vec![0; blocks]),
            answer_at_most: AtomicUsize::new(usize::MAX),
            oldest_interval: AtomicU64::new(0),
            snapshots: Mutex::default(),
            before_take: Mutex::default(),
        }
    }

    /// These blocks changed in interval `number`.
    pub fn change(&self, number: u64, blocks: Range<usize>) {
        self.numbers()[blocks].fill(number);
    }

    /// Gives no more than so many extents with a call.
    pub fn answer_at_most(&self, extents: usize) {
        self.answer_at_most.store(extents, Ordering::Relaxed);
    }

    /// Keeps no ids of older intervals.
    pub fn forget_intervals_below(&self, number: u64) {
        self.oldest_interval.store(number, Ordering::Relaxed);
    }

    /// Asks this before each TAKE, which fails when the answer is false.
    pub fn before_take(&self, ask: impl Fn() -> bool + Send + 'static) {
        *self.before_take.lock().unwrap() = Some(Box::new(ask));
    }

    /// The id of an interval.
    pub fn interval_id(number: u64) -> Id {
        Id([0x20 + u8::try_from(number).unwrap(); 16])
    }

    fn numbers(&self) -> MutexGuard<'_, Vec<u64>> {
        self.numbers.lock().unwrap()
    }

    fn snapshots(&self) -> MutexGuard<'_, Vec<(Id, SnapshotStatistics)>> {
        self.snapshots.lock().unwrap()
    }

    fn blocks(&self) -> usize {
        self.numbers().len()
    }

    fn newest(&self) -> u64 {
        self.numbers().iter().copied().max().unwrap_or(0)
    }

    fn find<T>(&self, call: Call, id: Id, run: impl FnOnce(&mut SnapshotStatistics) -> T) -> Result<T, TrackerError> {
        let mut snapshots = self.snapshots();
        let found = snapshots.iter_mut().find(|(known, _)| *known == id);
        found.map(|(_, facts)| run(facts)).ok_or_else(|| TrackerError::call(call, id, Errno::ESRCH))
    }
}

impl Module for Fake {
    fn version(&self) -> Result<Version, TrackerError> {
        Ok(VERSION)
    }

    fn features(&self) -> Result<Features, TrackerError> {
        Ok(Features::default())
    }

    fn attach(&self, _: &Path) -> Result<(), TrackerError> {
        Ok(())
    }

    fn detach(&self, _: &Path) -> Result<(), TrackerError> {
        Ok(())
    }

    fn cbt_info(&self, _: &Path) -> Result<CbtInfo, TrackerError> {
        Ok(CbtInfo {
            capacity_bytes: self.capacity_bytes,
            block_size: 65_536,
            block_count: u32::try_from(self.blocks()).unwrap(),
            generation: GENERATION,
            changes_number: u8::try_from(self.newest()).unwrap(),
            reserved: [0; 7],
        })
    }

    fn cbt_map(&self, _: &Path, first: u32, bytes: &mut [u8]) -> Result<(), TrackerError> {
        for (byte, number) in bytes.iter_mut().zip(&self.numbers()[first as usize..]) {
            *byte = u8::try_from(*number).unwrap();
        }
        Ok(())
    }

    fn mark_dirty(&self, _: &Path, _: &[Sectors]) -> Result<(), TrackerError> {
        Ok(())
    }

    fn tracker_info(&self, _: &Path) -> Result<Option<TrackerInfo>, TrackerError> {
        let info = TrackerInfo {
            capacity_bytes: self.capacity_bytes,
            block_bytes: BLOCK,
            block_count: self.blocks() as u64,
            generation: GENERATION,
            number: self.newest(),
            interval: Self::interval_id(self.newest()).into(),
            oldest_interval: self.oldest_interval.load(Ordering::Relaxed),
            ..TrackerInfo::default()
        };
        Ok((!self.old).then_some(info))
    }

    fn interval(&self, _: &Path, number: u64) -> Result<Option<Option<Id>>, TrackerError> {
        let kept = (self.oldest_interval.load(Ordering::Relaxed)..=self.newest()).contains(&number);
        Ok((!self.old).then(|| kept.then(|| Self::interval_id(number))))
    }

    fn changed(&self, _: &Path, mut query: ChangedQuery, extents: &mut [Extent]) -> Result<ChangedQuery, TrackerError> {
        let (numbers, mut filled) = (self.numbers(), 0);
        let end = query.offset_bytes + query.length_bytes;
        query.next_offset_bytes = end;
        for (block, _) in numbers.iter().enumerate().filter(|(_, number)| **number > query.since) {
            let first = (block as u64 * BLOCK).max(query.offset_bytes);
            let last = ((block as u64 + 1) * BLOCK).min(end);
            if first >= last {
                continue;
            }
            if filled == extents.len().min(self.answer_at_most.load(Ordering::Relaxed)) {
                query.next_offset_bytes = first;
                break;
            }
            extents[filled] = Extent { offset_bytes: first, length_bytes: last - first };
            filled += 1;
        }
        if self.answer_at_most.load(Ordering::Relaxed) == 0 {
            query.next_offset_bytes = query.offset_bytes;
        }
        query.filled = u32::try_from(filled).unwrap();
        Ok(query)
    }

    fn tracker_statistics(&self, _: &Path) -> Result<Option<TrackerStatistics>, TrackerError> {
        Ok((!self.old).then(TrackerStatistics::default))
    }

    fn create(&self, _: &Path, limit_sectors: u64, tied: bool) -> Result<Id, TrackerError> {
        let id = Id([0x40 + u8::try_from(self.snapshots().len()).unwrap(); 16]);
        let flags = if tied { SNAPSHOT_TIED } else { 0 };
        let facts = SnapshotStatistics {
            id: id.into(),
            state: STATE_CREATED,
            flags,
            limit_sectors,
            ..SnapshotStatistics::default()
        };
        self.snapshots().push((id, facts));
        Ok(id)
    }

    fn add(&self, snapshot: Id, _: &Path) -> Result<(), TrackerError> {
        self.find(Call::Add, snapshot, |facts| facts.devices += 1)
    }

    fn take(&self, snapshot: Id) -> Result<(), TrackerError> {
        if self.before_take.lock().unwrap().as_ref().is_some_and(|ask| !ask()) {
            return Err(TrackerError::call(Call::Take, snapshot, Errno::ETIMEDOUT));
        }
        self.find(Call::Take, snapshot, |facts| facts.state = STATE_TAKEN)
    }

    fn destroy(&self, snapshot: Id) -> Result<(), TrackerError> {
        self.find(Call::Destroy, snapshot, |_| ())?;
        self.snapshots().retain(|(id, _)| *id != snapshot);
        Ok(())
    }

    fn list(&self) -> Result<Vec<Id>, TrackerError> {
        Ok(self.snapshots().iter().map(|(id, _)| *id).collect())
    }

    fn snapshot_info(&self, _: &Path) -> Result<SnapshotInfo, TrackerError> {
        Ok(SnapshotInfo::default())
    }

    fn snapshot_statistics(&self, snapshot: Id) -> Result<Option<SnapshotStatistics>, TrackerError> {
        if self.old {
            return Ok(None);
        }
        self.find(Call::SnapshotStatistics, snapshot, |facts| *facts).map(Some)
    }

    fn snapshot_devices(&self, snapshot: Id) -> Result<Option<Vec<SnapshotDevice>>, TrackerError> {
        if self.old {
            return Ok(None);
        }
        self.find(Call::SnapshotStatistics, snapshot, |facts| {
            let mut image = [0; IMAGE_NAME_BYTES];
            if facts.state == STATE_TAKEN {
                image[..11].copy_from_slice(b"blksnap-8-0");
            }
            let device = SnapshotDevice { major: 8, chunk_bytes: 1 << 18, image, ..SnapshotDevice::default() };
            Some(vec![device; facts.devices as usize])
        })
    }

    fn wait_event(&self, snapshot: Id, _: u32) -> Result<Option<Box<SnapshotEvent>>, TrackerError> {
        // As long as it lives there is nothing to tell.
        std::thread::yield_now();
        self.find(Call::WaitEvent, snapshot, |_| None)
    }
}
