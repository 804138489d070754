//! Decides from the writers' journals what an image and a map must show.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::direct::DirectFile;
use crate::stamp::{self, SECTOR_BYTES, Stamp};
use crate::storm::{Area, BASELINE, Journal};

/// Begin and end of a TAKE by the clock of the journals.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Before the call.
    pub begin_ns: u64,
    /// After it.
    pub end_ns: u64,
}

impl Taken {
    /// Measures a TAKE.
    pub fn around(take: impl FnOnce() -> Result<()>) -> Result<Self> {
        let begin_ns = stamp::now_ns()?;
        take()?;
        Ok(Self { begin_ns, end_ns: stamp::now_ns()? })
    }
}

/// Who wrote a sector, and as which write.
type Origin = (u64, u64);

/// The stamps of an area as a device shows them.
#[derive(PartialEq, Eq)]
pub struct Picture {
    disk: usize,
    first_sector: u64,
    origins: Vec<Origin>,
}

impl Picture {
    /// Reads an area from the image of its disk, and with it checks every stamp.
    pub fn of(image: &Path, area: &Area) -> Result<Self> {
        Self::at(image, area, area.first_sector)
    }

    /// The same from a device on which the area begins elsewhere.
    pub fn at(device: &Path, area: &Area, first_sector_on_device: u64) -> Result<Self> {
        const STEP_SECTORS: u64 = 2048;
        let file = DirectFile::open_to_read(device)?;
        let mut origins = Vec::with_capacity(usize::try_from(area.sectors)?);
        let mut done = 0;
        while done < area.sectors {
            let sectors = STEP_SECTORS.min(area.sectors - done);
            let read = file.read_new((first_sector_on_device + done) * 512, usize::try_from(sectors)? * SECTOR_BYTES);
            let read = read.with_context(|| format!("cannot read {} at sector {done}", device.display()))?;
            for (number, sector) in (area.first_sector + done..).zip(read.bytes().chunks_exact(SECTOR_BYTES)) {
                let stamp = Stamp::decode(sector, number).with_context(|| device.display().to_string())?;
                let stamp = stamp.with_context(|| format!("{}: sector {number} is empty", device.display()))?;
                origins.push((stamp.writer, stamp.sequence));
            }
            done += sectors;
        }
        Ok(Self { disk: area.disk, first_sector: area.first_sector, origins })
    }

    /// For each sector the last one of the writer's writes before number `last`.
    fn expected(&self, journal: &Journal, last: usize) -> Result<Vec<Option<u64>>> {
        let mut expected = vec![None; self.origins.len()];
        let before_last = journal.writes.iter().take(last.saturating_sub(1));
        for (sequence, write) in (1_u64..).zip(before_last).filter(|(_, write)| write.disk == self.disk) {
            let Some(start) = write.first_sector.checked_sub(self.first_sector) else { continue };
            let (start, sectors) = (usize::try_from(start)?, usize::try_from(write.sectors)?);
            // Several areas may lie on one disk; a write to another one is not in this picture.
            if let Some(covered) = expected.get_mut(start..start + sectors) {
                covered.fill(Some(sequence));
            }
        }
        Ok(expected)
    }

    /// The number of the last write of a writer that is to be seen; 0 for none.
    pub fn last_of(&self, writer: u64) -> u64 {
        self.origins.iter().filter(|(by, _)| *by == writer).map(|(_, sequence)| *sequence).max().unwrap_or(0)
    }

    /// Fails when another reading of the same area differs.
    pub fn ensure_same(&self, later: &Self) -> Result<()> {
        for (sector, (before, after)) in (self.first_sector..).zip(self.origins.iter().zip(&later.origins)) {
            ensure!(
                before == after,
                "disk {}: sector {sector} of the image was write {} of writer {}, and later write {} of writer {}",
                self.disk,
                before.1,
                before.0,
                after.1,
                after.0
            );
        }
        Ok(())
    }
}

/// Proves that the pictures are one instant within `taken`: what each writer had written up to one of its writes, that one
/// perhaps in part, and nothing else.
pub fn ensure_instant(pictures: &[Picture], journals: &[Journal], taken: Taken) -> Result<()> {
    for journal in journals {
        let last = last_seen(pictures, journal.writer);
        let index = usize::try_from(last)?;
        ensure!(
            index <= journal.writes.len(),
            "an image shows write {last} of writer {}, who never made it",
            journal.writer
        );
        if let Some(write) = index.checked_sub(1).and_then(|index| journal.writes.get(index)) {
            ensure!(
                write.issued_ns <= taken.end_ns,
                "an image shows write {last} of writer {}, issued {} µs after TAKE had returned",
                journal.writer,
                (write.issued_ns - taken.end_ns) / 1000
            );
        }
        ensure_all_up_to(pictures, journal, index)?;
        ensure_none_missing(pictures, journal, index, taken)?;
    }
    Ok(())
}

/// The number of a writer's last write that the pictures show; 0 when they show none.
pub fn last_seen(pictures: &[Picture], writer: u64) -> u64 {
    let seen = pictures.iter().flat_map(|picture| &picture.origins);
    seen.filter(|(by, _)| *by == writer).map(|(_, sequence)| *sequence).max().unwrap_or(0)
}

/// Every sector shows the last of the writer's first `last` writes to it. Number `last` itself may be there in part.
fn ensure_all_up_to(pictures: &[Picture], journal: &Journal, last: usize) -> Result<()> {
    for picture in pictures {
        let expected = picture.expected(journal, last)?;
        for (sector, ((writer, sequence), wanted)) in (picture.first_sector..).zip(picture.origins.iter().zip(expected))
        {
            let by_this_writer = (*writer == journal.writer).then_some(*sequence);
            let is_last = by_this_writer == Some(u64::try_from(last)?);
            ensure!(
                by_this_writer == wanted || is_last,
                "disk {}: sector {sector} of the image shows write {sequence} of writer {writer}, but writer {} had come to \
                 write {last}, and its last one here was {wanted:?}",
                picture.disk,
                journal.writer
            );
        }
    }
    Ok(())
}

/// A write that had completed before TAKE and was not overwritten since is in the images.
fn ensure_none_missing(pictures: &[Picture], journal: &Journal, last: usize, taken: Taken) -> Result<()> {
    let must = journal.writes.iter().take_while(|write| write.completed_ns < taken.begin_ns).count();
    if must <= last {
        return Ok(());
    }
    for (sequence, write) in (1..).zip(&journal.writes).skip(last).take(must - last) {
        let sectors = write.first_sector..write.first_sector + write.sectors;
        let covered = pictures.iter().any(|picture| {
            picture.disk == write.disk
                && sectors.start >= picture.first_sector
                && sectors.start < picture.first_sector + u64::try_from(picture.origins.len()).unwrap_or(0)
        });
        ensure!(
            !covered,
            "disk {}: write {sequence} of writer {} had completed {} µs before TAKE and is not in the image",
            write.disk,
            journal.writer,
            (taken.begin_ns - write.completed_ns) / 1000
        );
    }
    Ok(())
}

/// Proves that the map of `disk`, read after the last TAKE of `takes`, names each changed block with the right interval and
/// no other block. A write that was under way during a TAKE may count for either side.
pub fn ensure_map(map: &[u8], block_sectors: u64, disk: usize, journals: &[Journal], takes: &[Taken]) -> Result<()> {
    let bounds = bounds(map.len(), block_sectors, disk, journals, takes)?;
    for (block, (found, (_, at_most))) in map.iter().zip(&bounds).enumerate() {
        ensure!(found <= at_most, "block {block} changed last in interval {at_most} at most, the map says {found}");
    }
    ensure_not_less(map, &bounds)
}

/// The half of it that no backup can do without.
pub fn ensure_no_change_lost(
    map: &[u8],
    block_sectors: u64,
    disk: usize,
    journals: &[Journal],
    takes: &[Taken],
) -> Result<()> {
    ensure_not_less(map, &bounds(map.len(), block_sectors, disk, journals, takes)?)
}

fn ensure_not_less(map: &[u8], bounds: &[(u8, u8)]) -> Result<()> {
    for (block, (found, (at_least, _))) in map.iter().zip(bounds).enumerate() {
        ensure!(found >= at_least, "block {block} changed in interval {at_least}, the map says {found}: a lost change");
    }
    Ok(())
}

/// For each block the interval that the map must say at least, and at most.
fn bounds(
    blocks: usize,
    block_sectors: u64,
    disk: usize,
    journals: &[Journal],
    takes: &[Taken],
) -> Result<Vec<(u8, u8)>> {
    let last = takes.last().context("no TAKE, no map")?;
    let mut bounds = vec![(0, 0); blocks];
    for write in journals.iter().flat_map(|journal| &journal.writes).filter(|write| write.disk == disk) {
        let lowest = u8::try_from(1 + takes.iter().filter(|taken| taken.end_ns < write.issued_ns).count())?;
        let highest = 1 + takes.iter().filter(|taken| taken.begin_ns < write.completed_ns).count();
        let highest = u8::try_from(highest.min(takes.len()))?;
        for block in write.first_sector / block_sectors..=(write.first_sector + write.sectors - 1) / block_sectors {
            let (at_least, at_most) = bounds.get_mut(usize::try_from(block)?).context("the map is too short")?;
            if write.completed_ns < last.begin_ns {
                *at_least = lowest.max(*at_least);
            }
            if write.issued_ns < last.end_ns {
                *at_most = highest.max(*at_most);
            }
        }
    }
    Ok(bounds)
}

/// What is there before a storm must still be there where nobody wrote.
pub fn ensure_baseline(picture: &Picture) -> Result<()> {
    for (sector, (writer, _)) in (picture.first_sector..).zip(&picture.origins) {
        ensure!(*writer == BASELINE, "disk {}: sector {sector} was written by {writer} after all", picture.disk);
    }
    Ok(())
}
