//! Backups of disks in use by the real `icecore`: incremental for ever, and every recovery point what the disks were at its TAKE.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::dm::Mapped;
use crate::icecore::{Detached, Point, Repository, ensure_nothing_left};
use crate::kernel_module;
use crate::oracle::{self, Picture, Taken};
use crate::partition::Partitions;
use crate::registry::Scenario;
use crate::second_look;
use crate::store::StoreDirectory;
use crate::storm::{Area, Force, Journal, Storm};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("live/storm", "incrementals of a disk under load are instants and read what changed", || storm(2))
        .with_module()
        .within_s(600),
    Scenario::new("live/storm_long", "the same twenty times in a row", || storm(20))
        .with_module()
        .only_soak()
        .within_s(3000),
    Scenario::new("live/three_disks", "three disks in one job are of one instant", three_disks)
        .with_module()
        .within_s(600),
    Scenario::new("live/restored_often", "a point is restored the same a hundred times", restored_often)
        .with_module()
        .only_soak()
        .within_s(1800),
    Scenario::new("live/reload", "a reloaded module between points means a full read and a right result", || reload(2))
        .with_module()
        .within_s(600),
    Scenario::new("live/reload_often", "reloads at random in a row of twenty points", || reload(20))
        .with_module()
        .only_soak()
        .within_s(3000),
    Scenario::new("live/two_repositories", "each of two repositories continues from its own place", two_repositories)
        .with_module()
        .within_s(400),
    Scenario::new("live/partition", "a partition is backed up as itself while its neighbour is written to", partition)
        .with_module()
        .within_s(400),
    Scenario::new("live/clock_back", "a clock that was set back changes nothing", clock_back)
        .with_module()
        .within_s(400),
];

/// Sectors of a disk under test (96 MiB), and of what a storm writes of it (32 MiB).
const DISK_SECTORS: u64 = 96 << 11;
const AREA_SECTORS: u64 = 32 << 11;
const BLOCK_SECTORS: u64 = 128;
const BLOCK_BYTES: u64 = BLOCK_SECTORS * 512;

/// A disk under test: the beginning of one of the machine's.
pub struct TestDisk {
    mapped: Mapped,
    /// Its node.
    pub node: PathBuf,
}

impl TestDisk {
    /// Makes it, without the signatures that other scenarios left at its beginning and end; a backup goes by some of them.
    pub fn make(name: &str, disk: Disk, first_sector: u64, sectors: u64) -> Result<Self> {
        let table = format!("0 {sectors} linear {} {first_sector}", disk.node()?.display());
        let mapped = Mapped::new(name, &table)?;
        let node = mapped.node()?;
        let (file, empty) = (DirectFile::open(&node)?, AlignedBuffer::new(1 << 20));
        for start in [0, (sectors * 512).saturating_sub(1 << 20)] {
            file.write(&empty, start).context("cannot empty a disk under test")?;
        }
        Ok(Self { mapped, node })
    }

    /// Lets it show something else while it is in use.
    pub fn reload(&self, table: &str) -> Result<()> {
        self.mapped.reload(table)
    }

    /// Removes it and says whether that worked.
    pub fn remove(self) -> Result<()> {
        self.mapped.remove()
    }
}

/// A recovery point and when it was made.
struct Made {
    point: Point,
    taken: Taken,
}

fn make(repository: &Repository, disks: &[&Path], more: &[&str]) -> Result<Made> {
    let mut point = None;
    let taken = Taken::around(|| {
        point = Some(repository.backup(disks, more)?);
        Ok(())
    })?;
    let point = point.context("no point was made")?;
    ensure!(point.outcome["provider"] == "module", "not by the module: {}", point.outcome);
    ensure!(point.outcome["consistency"] == "crash_consistent", "{}", point.outcome);
    Ok(Made { point, taken })
}

/// What the restored disks of a point show.
fn pictures(repository: &Repository, made: &Made, areas: &[Area], scratch: &Path) -> Result<Vec<Picture>> {
    let names = made.point.outcome["disks"].as_array().context("the outcome names no disks")?;
    let picture = |area: &Area| {
        let name = names[area.disk]["name"].as_str().context("a disk without a name")?;
        repository.restore(&made.point, Some(name), scratch)?;
        let picture =
            Picture::of(scratch, area).with_context(|| second_look::at(repository, &made.point, name, scratch, area));
        std::fs::remove_file(scratch)?;
        picture
    };
    areas.iter().map(picture).collect()
}

/// The number of the last write of each writer that the pictures show. It is always to be seen: only later ones would cover it.
fn last_writes(pictures: &[Picture], journals: &[Journal]) -> Vec<u64> {
    journals.iter().map(|journal| pictures.iter().map(|p| p.last_of(journal.writer)).max().unwrap_or(0)).collect()
}

/// Bytes that changed between two points, in blocks of the tracker: from the writers' journals, not from any map.
fn changed_bytes(journals: &[Journal], before: &[u64], after: &[u64]) -> Result<u64> {
    let mut blocks = std::collections::BTreeSet::new();
    for (journal, (first, last)) in journals.iter().zip(before.iter().zip(after)) {
        let (first, last) = (usize::try_from(*first)?, usize::try_from(*last)?);
        for write in journal.writes.get(first..last).context("a write that nobody remembers")? {
            let end = write.first_sector + write.sectors - 1;
            blocks.extend((write.first_sector / BLOCK_SECTORS..=end / BLOCK_SECTORS).map(|block| (write.disk, block)));
        }
    }
    Ok(u64::try_from(blocks.len())? * BLOCK_BYTES)
}

/// Every point is an instant, and an incremental reads no more than 1.3 times what changed since the one before.
fn judge(points: &[(Made, Vec<Picture>)], journals: &[Journal]) -> Result<()> {
    let mut before: Option<Vec<u64>> = None;
    for (number, (made, pictures)) in (1..).zip(points) {
        oracle::ensure_instant(pictures, journals, made.taken).with_context(|| format!("point {number}"))?;
        let last = last_writes(pictures, journals);
        if let Some(before) = before.filter(|_| made.point.outcome["kind"] == "incremental") {
            let (changed, read) = (changed_bytes(journals, &before, &last)?, made.point.number("bytes_read")?);
            println!("point {number}: {changed} bytes changed, {read} read");
            ensure!(read * 10 <= changed * 13, "point {number} read {read} bytes, but only {changed} changed");
        }
        before = Some(last);
    }
    Ok(())
}

fn storm(incrementals: usize) -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::First, 0, DISK_SECTORS)?;
    let tracked = Detached(vec![&disk.node]);
    let areas = [Area::of_disk(0, &disk.node, 2048, 2 * AREA_SECTORS)];
    areas[0].fill()?;
    // So slow that about half of the area changes between two points: what a backup may read is then worth judging.
    let storm = Storm::start(&areas, Force { largest: 16, pause_us: 100_000, ..Force::default() }, 71)?;
    let scratch = store.path().join("restored");
    let mut points = Vec::new();
    for number in 0..=incrementals {
        storm.wait_for(40)?;
        let made = make(&repository, &[&disk.node], &[])?;
        made.point.ensure_kind(if number == 0 { "full" } else { "incremental" })?;
        ensure!(made.point.number("bytes_preserved")? > 0, "nothing was preserved under a storm");
        let seen = pictures(&repository, &made, &areas, &scratch)?;
        points.push((made, seen));
        ensure_nothing_left()?;
    }
    judge(&points, &storm.stop()?)?;
    drop(tracked);
    disk.remove()?;
    store.close()
}

fn three_disks() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let make_disk = |name, disk| TestDisk::make(name, disk, 0, DISK_SECTORS / 3);
    let disks = [make_disk("one", Disk::First)?, make_disk("two", Disk::Second)?, make_disk("three", Disk::FourKib)?];
    let nodes: Vec<&Path> = disks.iter().map(|disk| disk.node.as_path()).collect();
    let tracked = Detached(nodes.clone());
    let area = |number: usize| Area::of_disk(number, nodes[number], 2048, AREA_SECTORS / 4).in_granules_of(8);
    let areas: Vec<Area> = (0..nodes.len()).map(area).collect();
    areas.iter().try_for_each(Area::fill)?;
    let storm = Storm::start(&areas, Force { largest: 8, pause_us: 3000, ..Force::default() }, 72)?;
    let scratch = store.path().join("restored");
    let mut points = Vec::new();
    for _ in 0..3 {
        storm.wait_for(60)?;
        let made = make(&repository, &nodes, &[])?;
        let seen = pictures(&repository, &made, &areas, &scratch)?;
        points.push((made, seen));
    }
    points[2].0.point.ensure_kind("incremental")?;
    ensure_nothing_left()?;
    judge(&points, &storm.stop()?)?;
    drop(tracked);
    disks.into_iter().try_for_each(TestDisk::remove)?;
    store.close()
}

/// Many threads write a restored file past the page cache; every time it must show everything.
fn restored_often() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::First, 0, DISK_SECTORS / 3)?;
    let tracked = Detached(vec![&disk.node]);
    let areas = [Area::of_disk(0, &disk.node, 2048, AREA_SECTORS / 4)];
    areas[0].fill()?;
    let made = make(&repository, &[&disk.node], &[])?;
    let scratch = store.path().join("restored");
    let first = pictures(&repository, &made, &areas, &scratch)?;
    for round in 2..=100 {
        let seen = pictures(&repository, &made, &areas, &scratch).with_context(|| format!("restore {round}"))?;
        first[0].ensure_same(&seen[0]).with_context(|| format!("restore {round}"))?;
    }
    drop(tracked);
    disk.remove()?;
    store.close()
}

/// Between some points the module goes and comes back, as at a restart of the machine.
fn reload(points_wanted: usize) -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::First, 0, DISK_SECTORS / 2)?;
    let areas = [Area::of_disk(0, &disk.node, 2048, AREA_SECTORS / 2)];
    areas[0].fill()?;
    let storm = Storm::start(&areas, Force { pause_us: 3000, ..Force::default() }, 73)?;
    let scratch = store.path().join("restored");
    let mut random = crate::random::Random::new(73);
    let mut points = Vec::new();
    let mut reloaded = false;
    for number in 0..=points_wanted {
        storm.wait_for(40)?;
        if number > 0 {
            ensure_outlook(&repository, &disk.node, if reloaded { "everything" } else { "changes" })?;
        }
        let made = make(&repository, &[&disk.node], &[])?;
        match (number, reloaded) {
            (0, _) => made.point.ensure_kind("full")?,
            (_, true) => made.point.ensure_full_read("tracking began anew")?,
            (_, false) => made.point.ensure_kind("incremental")?,
        }
        let seen = pictures(&repository, &made, &areas, &scratch)?;
        points.push((made, seen));
        reloaded = number == 0 || random.below(3) == 0;
        if reloaded {
            drop(Detached(vec![&disk.node]));
            kernel_module::remove("blksnap").context("the module cannot be unloaded after a backup")?;
            storm.wait_for(5)?;
            kernel_module::load("blksnap", "")?;
        }
    }
    judge(&points, &storm.stop()?)?;
    drop(Detached(vec![&disk.node]));
    disk.remove()?;
    store.close()
}

/// `icecore status` foretells what the next backup reads.
fn ensure_outlook(repository: &Repository, node: &Path, reads: &str) -> Result<()> {
    let status = repository.json(&["status"])?;
    let disks = status["disks"].as_array().context("the status names no disks")?;
    let disk = disks.iter().find(|disk| disk["device"].as_str().map(Path::new) == Some(node));
    let disk = disk.with_context(|| format!("{} is not in {status}", node.display()))?;
    ensure!(disk["reads"] == reads, "the status does not say {reads}: {disk}");
    Ok(())
}

fn two_repositories() -> Result<()> {
    let store = StoreDirectory::new()?;
    let [first, second] = [Repository::make(store.path(), "first")?, Repository::make(store.path(), "second")?];
    let disk = TestDisk::make("live", Disk::First, 0, DISK_SECTORS / 3)?;
    let tracked = Detached(vec![&disk.node]);
    let areas = [Area::of_disk(0, &disk.node, 2048, AREA_SECTORS / 4)];
    areas[0].fill()?;
    let storm = Storm::start(&areas, Force { largest: 16, pause_us: 3000, ..Force::default() }, 74)?;
    let scratch = store.path().join("restored");
    let mut rows = [Vec::new(), Vec::new()];
    // The second one misses rounds: what it then reads is everything since its own last point.
    for (round, whose) in [vec![0, 1], vec![0], vec![0], vec![1, 0]].into_iter().enumerate() {
        storm.wait_for(60)?;
        for owner in whose {
            let repository = [&first, &second][owner];
            let made = make(repository, &[&disk.node], &[])?;
            made.point.ensure_kind(if round == 0 { "full" } else { "incremental" })?;
            let seen = pictures(repository, &made, &areas, &scratch)?;
            rows[owner].push((made, seen));
        }
    }
    let journals = storm.stop()?;
    rows.iter().try_for_each(|points| {
        for (made, pictures) in points {
            oracle::ensure_instant(pictures, &journals, made.taken)?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    drop(tracked);
    disk.remove()?;
    store.close()
}

/// Only the partition's own changes are read, at its own offsets.
fn partition() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let sectors = DISK_SECTORS / 3;
    let length = i64::try_from(sectors)?;
    let partitions = Partitions::make(&Disk::First.node()?, &[(2048, length), (2048 + length, length)])?;
    let [node, neighbour] = [partitions.node(1), partitions.node(2)];
    let tracked = Detached(vec![&node]);
    let areas = [Area::of_disk(0, &node, 0, sectors / 2)];
    areas[0].fill()?;
    let beside = [Area::of_disk(1, &neighbour, 0, sectors)];
    let gentle = Force { largest: 16, pause_us: 3000, ..Force::default() };
    let (storm, noise) = (Storm::start(&areas, gentle, 76)?, Storm::start(&beside, gentle, 77)?);
    let scratch = store.path().join("restored");
    let mut points = Vec::new();
    for _ in 0..2 {
        storm.wait_for(60)?;
        let made = make(&repository, &[&node], &[])?;
        ensure!(made.point.number("bytes_source")? == sectors * 512, "{}", made.point.outcome);
        let seen = pictures(&repository, &made, &areas, &scratch)?;
        points.push((made, seen));
    }
    points[1].0.point.ensure_kind("incremental")?;
    noise.stop()?;
    judge(&points, &storm.stop()?)?;
    drop(tracked);
    partitions.remove()?;
    store.close()
}

fn clock_back() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::First, 0, DISK_SECTORS / 3)?;
    let tracked = Detached(vec![&disk.node]);
    let areas = [Area::of_disk(0, &disk.node, 2048, AREA_SECTORS / 4)];
    areas[0].fill()?;
    let storm = Storm::start(&areas, Force { largest: 16, pause_us: 3000, ..Force::default() }, 75)?;
    let scratch = store.path().join("restored");
    let mut points = Vec::new();
    for now in ["2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "1999-12-31T23:59:59Z"] {
        storm.wait_for(60)?;
        let made = make(&repository, &[&disk.node], &["--now", now])?;
        let seen = pictures(&repository, &made, &areas, &scratch)?;
        ensure!(made.point.number("sequence")? == u64::try_from(points.len())? + 1, "{}", made.point.outcome);
        points.push((made, seen));
    }
    points[1].0.point.ensure_kind("incremental")?;
    points[2].0.point.ensure_kind("incremental")?;
    let latest = repository.json(&["show", "latest"])?;
    ensure!(latest["id"] == points[2].0.point.outcome["id"], "latest is not the last one made: {latest}");
    judge(&points, &storm.stop()?)?;
    drop(tracked);
    disk.remove()?;
    store.close()
}
