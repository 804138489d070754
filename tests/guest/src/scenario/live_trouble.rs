//! Live backups that go wrong: what fails says so, harms neither disks nor points, and the next backup is right.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::dm;
use crate::icecore::{Detached, Repository, ensure_failed, ensure_nothing_left};
use crate::mount::Mount;
use crate::oracle::{self, Picture, Taken};
use crate::pace::Deadline;
use crate::registry::Scenario;
use crate::scenario::live::TestDisk;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::storm::{Area, Force, Storm};
use crate::{kernel_module, tool};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("live_trouble/killed", "kill -9 at any stage leaves nothing that the next backup minds", || {
        killed(6)
    })
    .with_module()
    .within_s(600),
    Scenario::new("live_trouble/killed_often", "the same forty times", || killed(40))
        .with_module()
        .only_soak()
        .within_s(3000),
    Scenario::new("live_trouble/overflow", "a full difference storage fails the backup and not the writers", overflow)
        .with_module()
        .within_s(400),
    Scenario::new("live_trouble/repository_full", "a full repository fails the backup cleanly", repository_full)
        .with_module()
        .within_s(400),
    Scenario::new("live_trouble/disk_fails", "a disk that fails while it is read fails the backup", disk_fails)
        .with_module()
        .within_s(400),
    Scenario::new(
        "live_trouble/hidden_change",
        "a change unseen by the tracker is found, told and cured",
        hidden_change,
    )
    .with_module()
    .within_s(400),
    Scenario::new(
        "live_trouble/refusals",
        "without the module every way out is named; others' snapshots stay",
        refusals,
    )
    .with_module()
    .within_s(300),
];

const SECTORS: u64 = 32 << 11;
/// For disks that nobody writes to: those are read without a snapshot unless somebody asks for one.
const BY_MODULE: [&str; 2] = ["--provider", "module"];

struct Stage {
    store: StoreDirectory,
    repository: Repository,
    disk: TestDisk,
    areas: [Area; 1],
}

impl Stage {
    fn set(sectors: u64) -> Result<Self> {
        let store = StoreDirectory::new()?;
        let repository = Repository::on(&store)?;
        let disk = TestDisk::make("live", Disk::First, 0, sectors)?;
        let areas = [Area::of_disk(0, &disk.node, 0, sectors / 2)];
        areas[0].fill()?;
        Ok(Self { store, repository, disk, areas })
    }

    fn storm(&self, seed: u64) -> Result<Storm> {
        Storm::start(&self.areas, Force { largest: 16, pause_us: 2000, ..Force::default() }, seed)
    }

    /// A backup that must work; its restored area, and when it was made.
    fn point(&self, more: &[&str]) -> Result<(Picture, Taken, Value)> {
        let mut point = None;
        let taken = Taken::around(|| {
            point = Some(self.repository.backup(&[&self.disk.node], more)?);
            Ok(())
        })?;
        let point = point.context("no point was made")?;
        let scratch = self.store.path().join("restored");
        self.repository.restore(&point, None, &scratch)?;
        let picture = Picture::of(&scratch, &self.areas[0])?;
        std::fs::remove_file(scratch)?;
        Ok((picture, taken, point.outcome))
    }

    fn clear(self) -> Result<()> {
        drop(Detached(vec![&self.disk.node]));
        self.disk.remove()?;
        self.store.close()
    }
}

/// Between start and end of a backup there are many stages; the kills are spread over them all.
fn killed(kills: u32) -> Result<()> {
    let stage = Stage::set(SECTORS)?;
    let storm = stage.storm(81)?;
    let began = Instant::now();
    let mut points = vec![stage.point(&[])?];
    let whole = began.elapsed();
    for kill in 0..kills {
        let node = stage.disk.node.to_string_lossy().into_owned();
        let mut command = stage.repository.command(&["backup", "--name", "live", "--full-read", &node]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot start icecore")?;
        // The restore was in `whole` too: the last kills may come too late, the others hit every stage.
        let delay = whole.mul_f64(f64::from(kill + 1) / f64::from(kills + 1) * 0.8);
        let _ = nix::poll::poll(&mut [], u16::try_from(delay.as_millis()).unwrap_or(u16::MAX));
        child.kill()?;
        child.wait()?;
        storm.wait_for(5)?;
    }
    points.push(stage.point(&[])?);
    ensure_nothing_left()?;
    let journals = storm.stop()?;
    for (picture, taken, _) in points {
        oracle::ensure_instant(&[picture], &journals, taken)?;
    }
    let report = stage.repository.json(&["check"])?;
    ensure!(report["sound"] != false, "the repository is not sound: {report}");
    stage.clear()
}

fn overflow() -> Result<()> {
    let stage = Stage::set(SECTORS)?;
    let storm = stage.storm(82)?;
    stage.point(&[])?;
    let node = stage.disk.node.to_string_lossy().into_owned();
    // A slow backup and a storage of 1 MiB: what the storm overwrites has no room.
    let small = ["--snapshot-storage", "/tmp", "--snapshot-limit", "1M", "--full-read", "--limit", "2M"];
    let args = [&["backup", "--name", "live"], &small[..], &[&node]].concat();
    stage.repository.fails(&args, 1, &["difference storage", "is full", "--snapshot-storage"])?;
    ensure_nothing_left()?;
    storm.wait_for(10).context("the writers after the overflow")?;
    let (picture, taken, outcome) = stage.point(&["--snapshot-storage", "ram"])?;
    ensure_nothing_left()?;
    ensure!(outcome["sequence"] == 2, "the failed backup left a point: {outcome}");
    ensure!(outcome["kind"] == "incremental", "tracking went on, but: {outcome}");
    oracle::ensure_instant(&[picture], &storm.stop()?, taken)?;
    stage.clear()
}

fn repository_full() -> Result<()> {
    let stage = Stage::set(SECTORS)?;
    let place = TestDisk::make("small", Disk::Second, 0, 64 << 11)?;
    tool::run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", &place.node.to_string_lossy()])?;
    let mount = Mount::new(&place.node, "small", "ext4", "")?;
    let small = Repository::make(mount.root(), "repository")?;
    // 16 MiB that cannot be compressed do not fit beside the ballast.
    let mut random = crate::random::Random::new(83);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.next()).take(1 << 20).flat_map(u64::to_le_bytes).collect();
    std::fs::write(mount.root().join("ballast"), vec![0xB5_u8; 48 << 20])?;
    let mut buffer = AlignedBuffer::new(noise.len());
    buffer.bytes_mut().copy_from_slice(&noise);
    let file = DirectFile::open(&stage.disk.node)?;
    file.write(&buffer, 20 << 20)?;
    for byte in buffer.bytes_mut() {
        *byte = byte.wrapping_mul(31).wrapping_add(7);
    }
    file.write(&buffer, 16 << 20)?;
    drop(file);
    let node = stage.disk.node.to_string_lossy().into_owned();
    small.fails(
        &["backup", "--name", "live", "--provider", "module", &node],
        1,
        &["No space left", "free space for the repository"],
    )?;
    ensure_nothing_left()?;
    std::fs::remove_file(mount.root().join("ballast"))?;
    let point = small.backup(&[&stage.disk.node], &[])?;
    point.ensure_kind("full")?;
    let scratch = stage.store.path().join("restored");
    small.restore(&point, None, &scratch)?;
    oracle::ensure_baseline(&Picture::of(&scratch, &Area::of_disk(0, &scratch, 0, SECTORS / 2))?)?;
    mount.unmount()?;
    place.remove()?;
    stage.clear()
}

fn disk_fails() -> Result<()> {
    let stage = Stage::set(SECTORS)?;
    let (before, taken, _) = stage.point(&BY_MODULE)?;
    // Not where partition tables would be, at the ends: those are looked at before anything is stored.
    let (below, from, to) = (Disk::First.node()?, SECTORS / 4, SECTORS / 2);
    let (below, length, rest) = (below.display(), to - from, SECTORS - to);
    let table = [
        format!("0 {from} linear {below} 0"),
        format!("{from} {length} flakey {below} {from} 0 3600 1 error_reads"),
        format!("{to} {rest} linear {below} {to}"),
    ];
    stage.disk.reload(&table.join("\n"))?;
    let node = stage.disk.node.to_string_lossy().into_owned();
    let args = ["backup", "--name", "live", "--full-read", &node];
    stage.repository.fails(&args, 1, &["at offset", "Input/output error"])?;
    ensure_nothing_left()?;
    stage.disk.reload(&dm::linear_table(&Disk::First.node()?, SECTORS))?;
    let (after, ..) = stage.point(&[])?;
    oracle::ensure_instant(&[before], &[], taken)?;
    oracle::ensure_baseline(&after)?;
    stage.clear()
}

/// The disk below a mapped one is written past the tracker on top. The disk has so few chunks that the sample holds all.
fn hidden_change() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::First, 0, 16 * 128)?;
    let area = Area::of_disk(0, &disk.node, 0, 16 * 128);
    area.fill()?;
    repository.backup(&[&disk.node], &BY_MODULE)?.ensure_kind("full")?;
    repository.backup(&[&disk.node], &[])?.ensure_kind("incremental")?;
    Area::of_disk(0, &Disk::First.node()?, 0, 16 * 128).fill()?;
    let node = disk.node.to_string_lossy().into_owned();
    repository.fails(&["backup", "--name", "live", &node], 3, &["the audit found", "suspect"])?;
    let points = repository.json(&["list"])?;
    let suspect: Vec<bool> = points.as_array().context("no list")?.iter().map(|p| p["suspect"] == true).collect();
    ensure!(suspect == [false, true, false], "suspect are {suspect:?}: {points}");
    let next = repository.backup(&[&disk.node], &[])?;
    next.ensure_kind("full_read")?;
    repository.backup(&[&disk.node], &[])?.ensure_kind("incremental")?;
    let scratch = store.path().join("restored");
    repository.restore(&next, None, &scratch)?;
    ensure!(std::fs::read(&scratch)? == std::fs::read(&disk.node)?, "the point is not what the disk holds");
    ensure_nothing_left()?;
    drop(Detached(vec![&disk.node]));
    disk.remove()?;
    store.close()
}

fn refusals() -> Result<()> {
    let stage = Stage::set(SECTORS)?;
    tool::run("mkfs.ext4", &["-q", "-F", &stage.disk.node.to_string_lossy()])?;
    let mount = Mount::new(&stage.disk.node, "live", "ext4", "")?;
    let node = stage.disk.node.to_string_lossy().into_owned();
    let backup = ["backup", "--name", "live", node.as_str()];
    kernel_module::remove("blksnap").context("the module cannot be unloaded")?;
    let ways_out = ["is mounted at", "the kernel module blksnap is not loaded", "modprobe", "--allow-live", "unmount"];
    stage.repository.fails(&backup, 6, &ways_out)?;
    let wanted = ["backup", "--provider", "module", node.as_str()];
    stage.repository.fails(&wanted, 6, &["--provider module cannot be used", "modprobe"])?;
    kernel_module::load("blksnap", "")?;
    let on_itself = ["backup", "--snapshot-storage", "/mnt/live", node.as_str()];
    stage.repository.fails(&on_itself, 1, &["would lie on", "--snapshot-storage"])?;
    // Another tool's snapshot of another disk, made by nobody that the records know.
    let foreign = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    stage.repository.backup(&[&stage.disk.node], &[])?.ensure_kind("full")?;
    ensure!(foreign.statistics().is_ok(), "the other tool's snapshot is gone");
    foreign.destroy()?;
    interrupted(&stage, &node)?;
    mount.unmount()?;
    stage.clear()
}

/// SIGINT ends a backup in order.
fn interrupted(stage: &Stage, node: &str) -> Result<()> {
    let mut command = stage.repository.command(&["backup", "--name", "live", "--full-read", "--limit", "4M", node]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start icecore")?;
    let records = Path::new(crate::icecore::STATE).join("snapshots");
    let deadline = Deadline::after_s(60);
    while std::fs::read_dir(&records).map_or(0, Iterator::count) == 0 {
        deadline.ensure("no snapshot was recorded")?;
        nix::poll::poll(&mut [], 10_u8)?;
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
    ensure_failed(&child.wait_with_output()?, 130, &["start it again"])?;
    ensure_nothing_left()
}
