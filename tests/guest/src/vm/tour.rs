//! The scenario of the README on a live disk: a full backup and incrementals while everything is written to, each restored
//! and judged by what the writers themselves remember.
//!
//! The judge stands outside: writers stamp every sector and keep a journal; what changed is counted from the journal, and a
//! restored disk is right when it shows one instant of it. Neither the tracker nor the repository is asked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::setup::{self, LIVE, Machine, REPOSITORY};
use crate::debian::LoopDevice;
use crate::oracle::{self, Picture, Taken};
use crate::report::Report;
use crate::storm::{Area, Force, Journal, Storm};
use crate::tool;

/// Backups after the first.
const INCREMENTALS: usize = 6;
/// The file that is written to.
const DATA: &str = "/live/data";
const DATA_SECTORS: u64 = 96 << 11;
/// Writes of each writer between two backups.
const WRITES: u64 = 40;
/// The unit in which changes are counted: that of the tracker.
const TRACKING_BLOCK_SECTORS: u64 = 128;
/// Program files that fill the disk, some tens of mebibytes: content as it is on every machine.
const FILES: &str = "/usr/bin";

/// A backup and what is needed to judge it.
struct Point {
    element: Value,
    taken: Taken,
}

/// Plays it; the host gets one line for each step and the result.
pub fn run() -> Result<()> {
    let mut report = Report::open()?;
    let machine = setup::prepare()?;
    setup::protect_images()?;
    report.say("say The live disk gets files of this machine, and a file that three writers change all the time")?;
    tool::run("cp", &["-r", FILES, LIVE])?;
    tool::run("fallocate", &["-l", &(DATA_SECTORS * 512).to_string(), DATA])?;
    let area = Area::of_disk(0, Path::new(DATA), 0, DATA_SECTORS);
    area.fill()?;
    let places = Places::of(&machine)?;
    let force = Force { writers: 3, largest: 64, pause_us: 20_000 };
    let storm = Storm::start(std::slice::from_ref(&area), force, 11)?;
    let points = back_up(&machine, &storm, &mut report);
    let journals = storm.stop()?;
    let points = points?;
    report.say(
        "say Every recovery point is restored, its journal replayed, its file system checked, its stamps judged",
    )?;
    let (points, restored) = judge(&points, &area, &journals, &places, &mut report)?;
    let check = Instant::now();
    setup::icecore(&["check", "--read-data"])?;
    let result = json!({
        "points": points,
        "restore_ms": u64::try_from(restored)?,
        "check_ms": u64::try_from(check.elapsed().as_millis())?,
        "size_bytes": points[0]["bytes_source"],
    });
    report.say(&format!("tour {result}"))
}

fn back_up(machine: &Machine, storm: &Storm, report: &mut Report) -> Result<Vec<Point>> {
    let live = machine.live.to_string_lossy().into_owned();
    let mut points = Vec::new();
    for number in 0..=INCREMENTALS {
        storm.wait_for(WRITES)?;
        let mut element = Value::Null;
        let taken = Taken::around(|| {
            element = setup::icecore(&["backup", &live, "--name", "live"])?;
            Ok(())
        })?;
        let read = element["bytes_read"].as_u64().context("a backup that does not say what it read")?;
        report.say(&format!("say Backup {number} ({}): {} KiB read", element["kind"], read >> 10))?;
        points.push(Point { element, taken });
    }
    Ok(points)
}

/// Restores each point; returns the points with what really changed, and the time that the restores took.
fn judge(
    points: &[Point],
    area: &Area,
    journals: &[Journal],
    places: &Places,
    report: &mut Report,
) -> Result<(Vec<Value>, u128)> {
    let mut before: Vec<u64> = vec![0; journals.len()];
    let (mut judged, mut restore_ms) = (Vec::new(), 0);
    for (number, point) in points.iter().enumerate() {
        let target = Path::new(REPOSITORY).join("restored.img");
        let id = point.element["id"].as_str().context("a backup without an id")?;
        let started = Instant::now();
        setup::icecore(&["restore", id, "--to", &target.to_string_lossy()])?;
        restore_ms += started.elapsed().as_millis();
        let picture = picture_of(&target, area)?;
        let pictures = [picture];
        oracle::ensure_instant(&pictures, journals, point.taken)
            .with_context(|| format!("recovery point {number} is not what was there at any instant"))?;
        let now: Vec<u64> = journals.iter().map(|journal| oracle::last_seen(&pictures, journal.writer)).collect();
        let mut element = point.element.clone();
        if number > 0 {
            element["bytes_changed"] = json!(places.changed_bytes(journals, &before, &now)?);
        }
        judged.push(element);
        before = now;
        std::fs::remove_file(&target)?;
        report.say(&format!("say Recovery point {number} is exactly one instant of the live disk"))?;
    }
    Ok((judged, restore_ms))
}

/// Mounts the restored disk, which replays its journal, reads the stamps, and lets the file system be checked.
fn picture_of(disk: &Path, area: &Area) -> Result<Picture> {
    let device = LoopDevice::of(disk)?;
    let partition = format!("{}p1", device.0);
    let place = "/mnt";
    tool::run("mount", &[&partition, place])?;
    let picture = Picture::of(&Path::new(place).join("data"), area);
    tool::run("umount", &[place])?;
    tool::run("e2fsck", &["-f", "-n", &partition]).context("the restored file system is not clean")?;
    picture
}

/// Where the sectors of the data file lie on the disk: ranges of (sector of the file, sector of the disk, count).
struct Places(Vec<(u64, u64, u64)>);

impl Places {
    fn of(machine: &Machine) -> Result<Self> {
        let name = machine.live.file_name().context("a disk without a name")?.to_string_lossy().into_owned();
        let start = PathBuf::from(format!("/sys/class/block/{name}1/start"));
        let start: u64 = std::fs::read_to_string(start)?.trim().parse()?;
        let listing = tool::run("filefrag", &["-v", "-b512", DATA])?;
        let mut places = Self(listing.lines().filter_map(parse_extent).collect());
        let sectors: u64 = places.0.iter().map(|(_, _, count)| count).sum();
        ensure!(sectors >= DATA_SECTORS, "the places of {sectors} of {DATA_SECTORS} sectors are known:\n{listing}");
        places.0.iter_mut().for_each(|(_, on_disk, _)| *on_disk += start);
        Ok(places)
    }

    /// Bytes of the tracking blocks that the writes after `before`, up to `now`, touched.
    fn changed_bytes(&self, journals: &[Journal], before: &[u64], now: &[u64]) -> Result<u64> {
        let mut blocks = BTreeSet::new();
        for ((journal, before), now) in journals.iter().zip(before).zip(now) {
            for write in &journal.writes[usize::try_from(*before)?..usize::try_from(*now)?] {
                for sector in write.first_sector..write.first_sector + write.sectors {
                    blocks.insert(self.on_disk(sector)? / TRACKING_BLOCK_SECTORS);
                }
            }
        }
        Ok(u64::try_from(blocks.len())? * TRACKING_BLOCK_SECTORS * 512)
    }

    fn on_disk(&self, sector: u64) -> Result<u64> {
        let found = self.0.iter().find(|(in_file, _, count)| (*in_file..in_file + count).contains(&sector));
        let (in_file, on_disk, _) = found.with_context(|| format!("sector {sector} of the file has no place"))?;
        Ok(on_disk + (sector - in_file))
    }
}

/// `   0:        0..   65535:     280576..    346111:  65536:  unwritten,eof`
fn parse_extent(line: &str) -> Option<(u64, u64, u64)> {
    let mut fields = line.split(':').map(str::trim);
    fields.next()?.parse::<u64>().ok()?;
    let first = |field: &str| field.split("..").next()?.trim().parse::<u64>().ok();
    let (in_file, on_disk) = (first(fields.next()?)?, first(fields.next()?)?);
    Some((in_file, on_disk, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_extent;

    #[test]
    fn extents_of_a_file_are_read() {
        let line = "   1:    65536..  131071:     346112..    411647:  65536:     412000: last,eof";
        assert_eq!(parse_extent(line), Some((65536, 346_112, 65536)));
        assert_eq!(parse_extent(" ext:     logical_offset:        physical_offset: length:   expected: flags:"), None);
        assert_eq!(parse_extent("/live/data: 2 extents found"), None);
    }
}
