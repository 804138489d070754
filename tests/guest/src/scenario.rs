//! The scenarios, one file an area. A scenario is a plain function that fails with a sentence; guards undo what it did.

mod abi;
mod command_line;
mod compat;
mod cost;
mod cost_backup;
mod cost_memory;
mod earlier;
mod extension;
mod fault;
mod file_system;
mod filter;
mod harness;
mod images;
mod lifecycle;
mod limit;
mod live;
mod live_databases;
mod live_files;
mod live_grow;
pub mod live_hooks;
mod live_restart;
mod live_trouble;
mod loading;
mod lvm_provider;
mod memory;
mod parameters;
mod patience;
mod race;
mod readme;
mod refuse;
mod ring;
mod snapshot;
mod stack;
mod swap;
mod tracking;

use std::path::Path;
use std::process::ExitCode;

use crate::registry::Scenario;

/// All areas in the order in which they run: what everything else relies on comes first.
pub const AREAS: [&[Scenario]; 35] = [
    harness::SCENARIOS,
    abi::SCENARIOS,
    compat::SCENARIOS,
    filter::SCENARIOS,
    loading::SCENARIOS,
    parameters::SCENARIOS,
    tracking::SCENARIOS,
    extension::SCENARIOS,
    command_line::SCENARIOS,
    images::SCENARIOS,
    lvm_provider::SCENARIOS,
    refuse::SCENARIOS,
    snapshot::SCENARIOS,
    ring::SCENARIOS,
    race::SCENARIOS,
    earlier::SCENARIOS,
    patience::SCENARIOS,
    stack::SCENARIOS,
    file_system::SCENARIOS,
    swap::SCENARIOS,
    limit::SCENARIOS,
    fault::SCENARIOS,
    memory::SCENARIOS,
    lifecycle::SCENARIOS,
    live::SCENARIOS,
    live_trouble::SCENARIOS,
    live_hooks::SCENARIOS,
    live_files::SCENARIOS,
    live_grow::SCENARIOS,
    live_databases::SCENARIOS,
    live_restart::SCENARIOS,
    readme::SCENARIOS,
    cost::SCENARIOS,
    cost_memory::SCENARIOS,
    cost_backup::SCENARIOS,
];

/// What a process does that scenarios start to kill it.
#[derive(Clone, Copy)]
pub enum Work {
    /// Writes to a disk until it is gone, or the disk.
    Write,
    /// Makes a snapshot of a tracked disk and keeps it.
    Own,
}

/// Such a process.
pub fn in_process(work: Work, path: &str) -> ExitCode {
    let path = Path::new(path);
    let ended = match work {
        Work::Write => lifecycle::write_for_ever(path),
        Work::Own => lifecycle::own_snapshot(path),
    };
    match ended {
        Ok(never) => never,
        Err(error) => {
            println!("a process that should have been killed ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}
