//! Scenarios that need a whole Debian: udev, LVM's autoactivation, databases, restarts. They run in the machine of [`crate::vm`], as root.
//!
//! A scenario may restart the machine: it is begun again after the boot, with what it noted ([`Phase`]). Notes and repository
//! lie on the disk `repository`, which no scenario backs up.

mod database;
mod restart;
mod root_disk;
mod rules;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::registry::{self, Scenario};
use crate::report::Report;
use crate::vm::setup::{self, REPOSITORY};
use crate::{pace, report, tool};

/// Their tables.
pub const AREAS: [&[Scenario]; 4] = [rules::SCENARIOS, restart::SCENARIOS, database::SCENARIOS, root_disk::SCENARIOS];

/// What `timeout` ends with when it had to end the program.
const TIMED_OUT: i32 = 124;

/// Runs the scenarios of a plan (names with commas between), from where the boot before left it; returns
/// the line that ends the report.
pub fn run(plan: &str) -> Result<String> {
    let mut report = Report::open()?;
    let (mut passed, mut failed) = (0, 0);
    for name in plan.split(',') {
        let scenario = registry::find(name).with_context(|| format!("the host asks for {name}, which is unknown"))?;
        let place = PathBuf::from(format!("{REPOSITORY}/scenarios/{}", name.replace('/', "-")));
        std::fs::create_dir_all(&place)?;
        if let Ok(result) = std::fs::read_to_string(place.join("result")) {
            if result == "ok" {
                passed += 1
            } else {
                failed += 1
            }
            continue;
        }
        if !place.join("phase").exists() {
            report.say(&format!("begin {name}"))?;
        }
        report::mark(&format!("begin {name}"));
        if name != rules::NAME {
            setup::protect_images()?;
        }
        let phase = Phase::of(name)?.number;
        let started = Instant::now();
        let patience = pace::patience_now(1);
        let limit_s = (scenario.limit_s * u64::from(patience)).to_string();
        let program = std::env::current_exe()?;
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", &limit_s]).arg(program).args(["run", name]).current_dir("/");
        command.env(pace::VARIABLE, patience.to_string());
        let status = command.status().context("cannot start the scenario")?;
        if Phase::of(name)?.number > phase {
            // It was ended by the restart that it asked for, which comes to this process next.
            wait_for_the_end()?;
        }
        let elapsed_ms = started.elapsed().as_millis();
        let failure = report::take_reason();
        if status.success() {
            passed += 1;
            report.say(&format!("ok {name} {elapsed_ms}"))?;
        } else {
            failed += 1;
            let late = (status.code() == Some(TIMED_OUT)).then(|| format!("it did not end within {limit_s} s"));
            let reason = failure.or(late).unwrap_or_else(|| format!("it ended with {status}"));
            let kind = if status.code() == Some(i32::from(pace::TOO_SLOW)) { "slow" } else { "fail" };
            report.say(&format!("{kind} {name} {elapsed_ms} {reason}"))?;
        }
        report::mark(&format!("done {name}"));
        note(&place.join("result"), if status.success() { "ok" } else { "failed" })?;
    }
    Ok(format!("end {passed} {failed}"))
}

/// How far a scenario that restarts the machine has come.
pub struct Phase {
    note: PathBuf,
    /// Zero when it begins.
    pub number: u32,
}

impl Phase {
    /// Of the scenario with this name.
    pub fn of(name: &str) -> Result<Self> {
        let note = Path::new(REPOSITORY).join("scenarios").join(name.replace('/', "-")).join("phase");
        let number = match std::fs::read_to_string(&note) {
            Ok(text) => text.parse().context("the note of a phase")?,
            Err(_) => 0,
        };
        Ok(Self { note, number })
    }

    /// A file for what the scenario has to remember.
    pub fn file(&self, name: &str) -> PathBuf {
        self.note.with_file_name(name)
    }

    /// Restarts the machine in order; the scenario goes on in the next phase.
    pub fn restart(&self) -> Result<()> {
        self.advance()?;
        tool::run("systemctl", &["reboot"])?;
        wait_for_the_end()
    }

    /// Ends the machine as if its power were cut: nothing is written back, nobody is told.
    pub fn cut_power(&self) -> Result<()> {
        self.advance()?;
        std::fs::write("/proc/sysrq-trigger", "b")?;
        wait_for_the_end()
    }

    fn advance(&self) -> Result<()> {
        note(&self.note, &(self.number + 1).to_string())
    }
}

/// The machine goes down under this process.
fn wait_for_the_end() -> Result<()> {
    nix::poll::poll(&mut [], nix::poll::PollTimeout::try_from(240_000_i32)?)?;
    bail!("the machine goes on after its restart")
}

fn note(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, text)?;
    std::fs::File::open(&part)?.sync_all()?;
    std::fs::rename(&part, path)?;
    let directory = path.parent().context("a note lies in a directory")?;
    std::fs::File::open(directory)?.sync_all().context("the note is not durable")
}

/// A loop device with its partitions, for the disk image that a restore left.
pub struct LoopDevice(pub String);

impl LoopDevice {
    /// Attaches the image.
    pub fn of(image: &Path) -> Result<Self> {
        let device = tool::run("losetup", &["--find", "--show", "--partscan", &image.to_string_lossy()])?;
        tool::run("udevadm", &["settle"])?;
        Ok(Self(device.trim().to_owned()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // The machine ends soon; a device that stays does no harm.
        let _ = tool::run("losetup", &["--detach", &self.0]);
    }
}

/// Two things that must be the same, with words when they are not.
pub fn ensure_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, wanted: &T) -> Result<()> {
    ensure!(found == wanted, "{what}: {found:?} instead of {wanted:?}");
    Ok(())
}
