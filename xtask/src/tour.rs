//! `cargo xtask tour`: a real disk image is backed up in full and two days later again, checked, restored and compared.
//!
//! The scenario stands here; what the disk holds is in `tour/sample.rs`, what changes in `tour/day.rs`, and how it is
//! shown in `tour/summary.rs`.

pub mod day;
pub mod sample;
pub mod summary;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{DiskImage, GIB, Icecore};
use serde_json::Value;
use tempfile::TempDir;

use crate::{interrupt, setup, vm, workspace};
use summary::{Proof, RecoveryPoint, Summary};

/// Options of `cargo xtask tour`.
#[derive(clap::Args)]
pub struct Options {
    /// Print one JSON object instead of the summary
    #[arg(long)]
    json: bool,
    /// Size of the sample disk
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    size_gib: u64,
    /// Keep the sample disk, the repository and the restored disks, and say where they are
    #[arg(long)]
    keep: bool,
    /// Back up a live disk through the kernel module, in an emulated machine
    #[arg(long, conflicts_with_all = ["size_gib", "keep"])]
    vm: bool,
    #[command(flatten)]
    setup: setup::Consent,
}

/// Name of the recovery points.
const NAME: &str = "sample-disk";
/// The unit in which changes are handed to `icecore`, as a changed-block tracker would do it.
const TRACKING_BLOCK_BYTES: u64 = 64 << 10;

/// Installs, builds, plays the scenario, prints the result.
pub fn run(options: &Options) -> Result<()> {
    if options.vm {
        return show(&vm::tour(options.setup)?, options.json);
    }
    setup::install(setup::Purpose::Tour, options.setup)?;
    eprintln!("Building icecore in release (some minutes the first time)");
    let program = workspace::build("icecore", true)?;
    // The disk, its copies, the repository, what is restored.
    let dir = work_dir("tour", 5 * options.size_gib * GIB)?;
    let mut tour = Tour { icecore: Icecore::with_program(program, dir), days: Vec::new() };
    if options.keep {
        tour.icecore.keep();
    }
    let summary = tour.play(options.size_gib * GIB)?;
    let shown = show(&summary, options.json);
    if options.keep {
        let dir = tour.icecore.dir().display();
        eprintln!("Kept: {dir} (passphrase: {}); delete it when you are done.", tour.icecore.passphrase());
    }
    shown
}

/// Prints it; an error when a byte is wrong.
fn show(summary: &Summary, json: bool) -> Result<()> {
    if json {
        println!("{}", summary.json());
    } else {
        println!("{}", summary.text());
    }
    ensure!(
        summary.restored_equal(),
        "a restored disk differs from the one that was backed up; this must never happen"
    );
    Ok(())
}

/// A directory on a real disk (`/tmp` may be memory) with room for what `who` makes there.
pub fn work_dir(who: &str, needed_bytes: u64) -> Result<TempDir> {
    let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let free_bytes = e2e::free_bytes(&parent)?;
    ensure!(
        free_bytes >= needed_bytes,
        "{} has {} free and the {who} needs {}; set TMPDIR to a larger disk",
        parent.display(),
        summary::bytes(free_bytes),
        summary::bytes(needed_bytes)
    );
    TempDir::with_prefix_in(format!("icecore-{who}-"), &parent)
        .with_context(|| format!("cannot write in {}", parent.display()))
}

/// One play of the scenario.
struct Tour {
    icecore: Icecore,
    /// Copies of the disk as it was at each backup, the truth that restores are compared with.
    days: Vec<PathBuf>,
}

impl Tour {
    fn play(&mut self, size_bytes: u64) -> Result<Summary> {
        say(&format!("Making a disk of {} from files of this machine", summary::bytes(size_bytes)));
        let sample = sample::make(self.icecore.dir(), size_bytes)?;
        self.icecore.run(["init"])?;
        let mut points = Vec::new();

        say("Day 0: full backup");
        points.push(self.backup(sample.image.path(), &[])?);

        say("A day passes: files are edited, deleted, appended to and added");
        let changes = self.pass_day(&sample.image, 1)?;
        say("Day 1: incremental backup, told which blocks changed (found here by comparing the two disks)");
        points.push(self.backup(sample.image.path(), &["--changed-extents".as_ref(), changes.as_os_str()])?);

        say("Another day passes");
        self.pass_day(&sample.image, 2)?;
        say("Day 2: incremental backup that has to find the changes itself");
        points.push(self.backup(sample.image.path(), &[])?);

        say("Check of every byte in the repository");
        let check = self.timed(&["check", "--read-data"])?;
        say("Restore of all three days and comparison with the disk of that day");
        let (restore, restored_equal) = self.restore_all(&points)?;
        let proof = Proof { check, restore, restored_equal };
        let what = format!("GPT, FAT and ext4 with {} files of this machine", sample.file_count);
        Ok(Summary { size_bytes, what, points, proof })
    }

    /// Backs the image up, keeps a copy of it, and returns what `icecore list` says about the new point.
    fn backup(&mut self, image: &Path, options: &[&OsStr]) -> Result<RecoveryPoint> {
        interrupt::check()?;
        self.remember(image)?;
        let started = Instant::now();
        let mut args = vec!["backup".as_ref(), image.as_os_str(), "--name".as_ref(), NAME.as_ref()];
        args.extend(options);
        self.icecore.run(&args)?;
        let duration = started.elapsed();
        let list = self.icecore.json(["list"])?;
        let newest = newest_point(&list).context("the backup succeeded but `icecore list` shows no point")?;
        RecoveryPoint::from_list(newest, duration)
    }

    fn remember(&mut self, image: &Path) -> Result<()> {
        let copy = self.icecore.dir().join(format!("day{}.img", self.days.len()));
        e2e::copy_image(image, &copy)?;
        self.days.push(copy);
        Ok(())
    }

    /// Changes the disk and returns the list of what differs from the last backup.
    fn pass_day(&self, image: &DiskImage, day: u32) -> Result<PathBuf> {
        interrupt::check()?;
        day::pass(image, self.icecore.dir(), (day, day::NEW_FILE_BYTES))?;
        let before = self.days.last().context("a day passes only after a backup")?;
        let extents = e2e::changed_extents(before, image.path(), TRACKING_BLOCK_BYTES)?;
        let path = self.icecore.dir().join(format!("changes{day}.txt"));
        e2e::write_extents(&path, &extents)?;
        Ok(path)
    }

    fn timed(&self, args: &[&str]) -> Result<Duration> {
        interrupt::check()?;
        let started = Instant::now();
        self.icecore.run(args)?;
        Ok(started.elapsed())
    }

    fn restore_all(&self, points: &[RecoveryPoint]) -> Result<(Duration, bool)> {
        let mut duration = Duration::ZERO;
        let mut equal = true;
        for (point, truth) in points.iter().zip(&self.days) {
            let target = self.icecore.dir().join(format!("restored-{}.img", point.id));
            let target_text = target.to_str().context("the temporary directory's name is not UTF-8")?;
            duration += self.timed(&["restore", &point.id, "--to", target_text])?;
            equal &= e2e::same_bytes(&target, truth)?;
        }
        Ok((duration, equal))
    }
}

fn newest_point(list: &Value) -> Option<&Value> {
    list.as_array()?.iter().max_by_key(|point| point["created_at"].as_str().map(str::to_owned))
}

fn say(line: &str) {
    eprintln!("· {line}");
}
