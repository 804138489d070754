//! Writers that stamp what they write and remember every write, until they are stopped.
//!
//! Each writer has one write under way at a time and a part of every area to itself. So the order of its writes is known,
//! and an instant of the disks is: all of its writes up to some number, the last of them perhaps in part.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::direct::{AlignedBuffer, DirectFile};
use crate::pace::Deadline;
use crate::random::Random;
use crate::stamp::{self, SECTOR_BYTES, Stamp};

/// The writer of what was there before the storm.
pub const BASELINE: u64 = 0;

/// A storm of which no writer gets on for so long has found a hang, however busy the host is.
const STANDSTILL_S: u64 = 60;

/// Where a storm writes.
#[derive(Debug, Clone)]
pub struct Area {
    /// The device that is written.
    pub path: PathBuf,
    /// The disk whose image is looked at later; several areas may lie on one.
    pub disk: usize,
    /// First sector of the area on that disk.
    pub first_sector: u64,
    /// The same place on `path`, which may be a partition or a mapped part of the disk.
    pub first_sector_on_path: u64,
    /// How large.
    pub sectors: u64,
    /// Writes begin and end at multiples of this.
    pub granule_sectors: u64,
}

impl Area {
    /// A part of a whole disk with sectors of 512 bytes.
    pub fn of_disk(disk: usize, path: &Path, first_sector: u64, sectors: u64) -> Self {
        let path = path.to_owned();
        Self { path, disk, first_sector, first_sector_on_path: first_sector, sectors, granule_sectors: 1 }
    }

    /// The same with other granules.
    pub fn in_granules_of(mut self, granule_sectors: u64) -> Self {
        self.granule_sectors = granule_sectors;
        self
    }

    /// Writes the whole area as it shall be before the storm.
    pub fn fill(&self) -> Result<()> {
        const STEP_SECTORS: u64 = 2048;
        let file = DirectFile::open(&self.path)?;
        let made_ns = stamp::now_ns()?;
        let mut done = 0;
        while done < self.sectors {
            let sectors = STEP_SECTORS.min(self.sectors - done);
            let buffer = stamped(BASELINE, 1, made_ns, self.first_sector + done, sectors)?;
            file.write(&buffer, (self.first_sector_on_path + done) * 512).context("cannot fill the area")?;
            done += sectors;
        }
        Ok(())
    }

    /// The part of the area that belongs to writer `index` of `writers`: first sector (relative) and length.
    fn part(&self, index: u64, writers: u64) -> (u64, u64) {
        let sectors = (self.sectors / writers).next_multiple_of(self.granule_sectors) - self.granule_sectors;
        (index * (self.sectors / writers).next_multiple_of(self.granule_sectors), sectors)
    }
}

/// A write as its writer remembers it.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    /// The disk.
    pub disk: usize,
    /// Where on it.
    pub first_sector: u64,
    /// How much.
    pub sectors: u64,
    /// Just before it was issued.
    pub issued_ns: u64,
    /// Just after it had completed.
    pub completed_ns: u64,
}

/// All writes of one writer; number `n` stands at `n - 1`.
pub struct Journal {
    /// Who wrote.
    pub writer: u64,
    /// In order.
    pub writes: Vec<Write>,
}

/// Writers at work.
pub struct Storm {
    stop: Arc<AtomicBool>,
    writers: Vec<(Arc<AtomicU64>, JoinHandle<Result<Journal>>)>,
}

/// How a storm writes.
#[derive(Clone, Copy)]
pub struct Force {
    /// How many writers.
    pub writers: u64,
    /// The largest write, in granules.
    pub largest: u64,
    /// Writes of one writer are this far apart, in microseconds; 0: as fast as they can.
    pub pause_us: u64,
}

impl Default for Force {
    fn default() -> Self {
        Self { writers: 3, largest: 64, pause_us: 0 }
    }
}

impl Storm {
    /// Lets it loose.
    pub fn start(areas: &[Area], force: Force, seed: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for index in 0..force.writers {
            let files = areas.iter().map(|area| DirectFile::open(&area.path)).collect::<Result<Vec<_>>>()?;
            let done = Arc::new(AtomicU64::new(0));
            let writer = Writer {
                index,
                force,
                areas: areas.iter().cloned().zip(files).collect(),
                random: Random::new(seed.wrapping_mul(31).wrapping_add(index + 1)),
                stop: Arc::clone(&stop),
                done: Arc::clone(&done),
            };
            writers.push((done, std::thread::spawn(move || writer.work())));
        }
        Ok(Self { stop, writers })
    }

    /// Waits until every writer has completed `count` more writes.
    pub fn wait_for(&self, count: u64) -> Result<()> {
        let goals: Vec<u64> = self.writers.iter().map(|(done, _)| done.load(Ordering::Relaxed) + count).collect();
        let (mut seen, mut deadline) = (None, Deadline::after_s(STANDSTILL_S));
        loop {
            let reached = self
                .writers
                .iter()
                .zip(&goals)
                .all(|((done, thread), goal)| done.load(Ordering::Relaxed) >= *goal || thread.is_finished());
            if reached {
                return Ok(());
            }
            let all_done: u64 = self.writers.iter().map(|(done, _)| done.load(Ordering::Relaxed)).sum();
            if seen != Some(all_done) {
                (seen, deadline) = (Some(all_done), Deadline::after_s(STANDSTILL_S));
            }
            ensure!(!deadline.is_over(), "the writers stand still");
            nix::poll::poll(&mut [], 5_u8)?;
        }
    }

    /// Ends it and returns what was written. A write that failed is an error.
    pub fn stop(self) -> Result<Vec<Journal>> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|(_, thread)| thread.join().map_err(|_| anyhow!("a writer panicked"))?).collect()
    }
}

struct Writer {
    index: u64,
    force: Force,
    areas: Vec<(Area, DirectFile)>,
    random: Random,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Writer {
    fn work(mut self) -> Result<Journal> {
        let writer = self.index + 1;
        let mut writes = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let sequence = u64::try_from(writes.len())? + 1;
            writes.push(self.write(writer, sequence)?);
            self.done.store(sequence, Ordering::Relaxed);
            if self.force.pause_us > 0 {
                std::thread::park_timeout(Duration::from_micros(self.force.pause_us));
            }
        }
        Ok(Journal { writer, writes })
    }

    fn write(&mut self, writer: u64, sequence: u64) -> Result<Write> {
        let chosen = usize::try_from(self.random.below(u64::try_from(self.areas.len())?))?;
        let (area, file) = &self.areas[chosen];
        let (part_start, part_sectors) = area.part(self.index, self.force.writers);
        let granules = part_sectors / area.granule_sectors;
        let wanted = 1 + self.random.below(self.force.largest.min(granules));
        let start = part_start + self.random.below(granules - wanted + 1) * area.granule_sectors;
        let sectors = wanted * area.granule_sectors;
        let issued_ns = stamp::now_ns()?;
        let buffer = stamped(writer, sequence, issued_ns, area.first_sector + start, sectors)?;
        file.write(&buffer, (area.first_sector_on_path + start) * 512)
            .with_context(|| format!("write {sequence} of writer {writer} to {}", area.path.display()))?;
        let completed_ns = stamp::now_ns()?;
        Ok(Write { disk: area.disk, first_sector: area.first_sector + start, sectors, issued_ns, completed_ns })
    }
}

/// A buffer full of stamps.
pub fn stamped(writer: u64, sequence: u64, made_ns: u64, first_sector: u64, sectors: u64) -> Result<AlignedBuffer> {
    let mut buffer = AlignedBuffer::new(usize::try_from(sectors)? * SECTOR_BYTES);
    for (sector, bytes) in (first_sector..).zip(buffer.bytes_mut().chunks_exact_mut(SECTOR_BYTES)) {
        Stamp { writer, sequence, sector, made_ns }.encode(bytes);
    }
    Ok(buffer)
}
