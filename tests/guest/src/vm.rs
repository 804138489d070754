//! What the virtual machine of `cargo xtask run --vm` and `tour --vm` does once Debian is up: live disk, repository, workload.
//!
//! The kernel's command line says which: `icecore.vm=play` leaves a machine to play with, `icecore.vm=tour` plays the scenario
//! and ends the machine.

mod play;
mod setup;
mod tour;
mod workload;

use anyhow::{Context, Result, bail};

use crate::report::Report;
use crate::tool;

pub use workload::run as work;

/// Does what the machine was booted for.
pub fn run() -> Result<()> {
    let line = std::fs::read_to_string("/proc/cmdline")?;
    let wanted = line.split_whitespace().find_map(|word| word.strip_prefix("icecore.vm="));
    match wanted.context("the kernel's command line does not say what this machine is for")? {
        "play" => play::run(),
        "tour" => end_with(tour::run()),
        other => bail!("this machine knows nothing to do by the name {other}"),
    }
}

/// Says what came of it and ends the machine.
fn end_with(result: Result<()>) -> Result<()> {
    let mut report = Report::open()?;
    match result {
        Ok(()) => report.say("end 1 0")?,
        Err(error) => report.say(&format!("broken {error:#}"))?,
    }
    tool::run("systemctl", &["poweroff", "--force"]).map(drop)
}
