//! What the virtual machine of `cargo xtask run --vm` and `tour --vm` does once Debian is up: live disk, repository, workload.
//!
//! The kernel's command line says which: `icecore.vm=play` leaves a machine to play with, `icecore.vm=tour` plays the scenario
//! and ends the machine, `icecore.vm=scenarios` runs those that `icecore.plan=` names.

mod play;
pub mod setup;
mod tour;
mod workload;

use anyhow::{Context, Result, bail};

use crate::pace::Deadline;
use crate::report::Report;
use crate::{debian, tool};

pub use workload::run as work;

/// Does what the machine was booted for.
pub fn run() -> Result<()> {
    let line = std::fs::read_to_string("/proc/cmdline")?;
    let option = |name: &str| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.with_context(|| format!("the kernel's command line lacks {name}"))
    };
    match option("icecore.vm")? {
        "play" => play::run(),
        "tour" => end_with(tour::run().map(|()| "end 1 0".into())),
        "scenarios" => end_with(setup::prepare().and_then(|_| debian::run(option("icecore.plan")?))),
        other => bail!("this machine knows nothing to do by the name {other}"),
    }
}

/// Says what came of it and ends the machine.
fn end_with(result: Result<String>) -> Result<()> {
    let mut report = Report::open()?;
    match result {
        Ok(end) => report.say(&end)?,
        Err(error) => report.say(&format!("broken {error:#}"))?,
    }
    tool::run("systemctl", &["poweroff", "--force"]).map(drop)
}

/// Asks until it is so; `what` is the reason of the failure when it never is.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Deadline::after_s(240);
    while !is_so()? {
        deadline.ensure(what)?;
        nix::poll::poll(&mut [], 500_u16)?;
    }
    Ok(())
}
