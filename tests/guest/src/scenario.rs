//! The scenarios, one file an area. A scenario is a plain function that fails with a sentence; guards undo what it did.

mod abi;
mod command_line;
mod compat;
mod cost;
mod cost_memory;
mod extension;
mod fault;
mod file_system;
mod filter;
mod harness;
mod lifecycle;
mod limit;
mod parameters;
mod race;
mod refuse;
mod snapshot;
mod stack;
mod tracking;

use std::path::Path;
use std::process::ExitCode;

use crate::registry::Scenario;

/// All areas in the order in which they run: what everything else relies on comes first.
pub const AREAS: [&[Scenario]; 18] = [
    harness::SCENARIOS,
    abi::SCENARIOS,
    compat::SCENARIOS,
    filter::SCENARIOS,
    parameters::SCENARIOS,
    tracking::SCENARIOS,
    extension::SCENARIOS,
    command_line::SCENARIOS,
    refuse::SCENARIOS,
    snapshot::SCENARIOS,
    race::SCENARIOS,
    stack::SCENARIOS,
    file_system::SCENARIOS,
    limit::SCENARIOS,
    fault::SCENARIOS,
    lifecycle::SCENARIOS,
    cost::SCENARIOS,
    cost_memory::SCENARIOS,
];

/// A process that scenarios start to kill it: writes to a disk until it is gone, or the disk.
pub fn write_for_ever(path: &str) -> ExitCode {
    match lifecycle::write_for_ever(Path::new(path)) {
        Ok(never) => never,
        Err(error) => {
            println!("a writer ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}
