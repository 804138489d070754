//! `cargo xtask bench --kernel`: what the kernel module costs. This file is the order of events.
//!
//! The scenarios `cost/…` of `tests/guest` do the operations and count; `cost` takes the medians of what they say,
//! `target` judges it, `page` writes it down.

mod cost;
mod page;
mod target;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{guest, setup, workspace};
use cost::Costs;
use page::Page;

const DOCUMENT: &str = "docs/benchmarks.md";

/// Measures, prints, and writes a complete result into the documentation.
pub fn run(kernel_dir: Option<&Path>, filter: Option<&str>, consent: setup::Consent) -> Result<()> {
    let measured = guest::measure(kernel_dir, filter, consent)?;
    let costs = Costs::from_lines(&measured.lines)?;
    let page = Page {
        date: said_by(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?,
        commit: said_by(Command::new("git").args(["rev-parse", "--short", "HEAD"]))?,
        kernel: measured.kernel,
        emulator: said_by(Command::new(guest::EMULATOR).arg("--version"))?,
        targets: target::judge(&costs),
        costs,
        failures: measured.failures,
    };
    println!("{}", page.markdown());
    if filter.is_some() {
        // What was left out is missing in the table, and no target is missed by that.
        return Ok(());
    }
    println!("{} of {} targets missed", e2e::targets::missed(&page.targets), page.targets.len());
    if !page.failures.is_empty() {
        bail!("{} could not be measured, so {DOCUMENT} stays as it is", page.failures.len());
    }
    page::MARKERS.write_into(&workspace::root().join(DOCUMENT), &page.markdown())
}

/// The first line that a command prints.
fn said_by(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.current_dir(workspace::root()).output().with_context(|| format!("cannot start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("unknown").to_owned())
}
