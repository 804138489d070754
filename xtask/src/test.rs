//! `cargo xtask test`: everything that CI runs, in groups.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::step::{self, Count};
use crate::{guest, interrupt, setup, workspace};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Options {
    /// Run only this group; without it all groups run except `guest`
    #[arg(long, value_name = "GROUP", value_parser = group_named)]
    only: Option<Group>,
    /// Run the random tests much longer
    #[arg(long)]
    soak: bool,
    #[command(flatten)]
    setup: setup::Consent,
}

/// A part of the tests that can run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Formatting, lints, all Rust tests, documentation, licences.
    Rust,
    /// The scenarios of `tests/guest` in an emulated machine.
    Guest,
}

const GROUPS: [(&str, Group); 2] = [("rust", Group::Rust), ("guest", Group::Guest)];

/// Groups that run when none is named.
const EVERY_TIME: [Group; 1] = [Group::Rust];

fn group_named(name: &str) -> Result<Group> {
    match GROUPS.iter().find(|(known, _)| *known == name) {
        Some((_, group)) => Ok(*group),
        None => bail!("there is no such group; groups are: {}", GROUPS.map(|(known, _)| known).join(", ")),
    }
}

/// Runs the groups and says the verdict; the very last line is `N passed, N failed`.
pub fn run(options: &Options) -> ExitCode {
    let started = Instant::now();
    let count = match run_groups(options) {
        Ok(count) => count,
        Err(error) => {
            eprintln!("error: {error:#}");
            Count { passed: 0, failed: 1 }
        }
    };
    let minutes = started.elapsed().as_secs() / 60;
    let seconds = started.elapsed().as_secs() % 60;
    println!();
    if count.failed == 0 {
        println!("All checks and tests passed in {minutes} min {seconds} s.");
    } else {
        println!("Some checks or tests failed in {minutes} min {seconds} s; look for FAIL above, its log follows it.");
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_groups(options: &Options) -> Result<Count> {
    setup::install(setup::Purpose::Test, options.setup)?;
    let mut count = Count::default();
    for (name, group) in GROUPS {
        if options.only.map_or(EVERY_TIME.contains(&group), |only| only == group) {
            println!("\n{name}");
            count.add(match group {
                Group::Rust => rust(options.soak)?,
                Group::Guest => guest::run_as_group(options.soak, options.setup)?,
            });
        }
    }
    Ok(count)
}

fn rust(soak: bool) -> Result<Count> {
    let logs = workspace::root().join("target/xtask-logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let mut count = Count::default();
    for (title, mut command) in rust_steps(soak)? {
        interrupt::check()?;
        count.add(step::run(title, &logs, &mut command));
    }
    Ok(count)
}

fn rust_steps(soak: bool) -> Result<Vec<(&'static str, Command)>> {
    let cargo = |args: &[&str]| {
        let mut command = workspace::cargo();
        command.args(args);
        command
    };
    let mut tests = test_runner()?;
    // Built by the step before; so no test starts cargo again.
    let programs = target_dir()?.join("debug");
    tests.env("ICECORE_BIN", programs.join("icecore")).env("ICECORE_BIN_SERVER", programs.join("icecore-server"));
    if soak {
        tests.env("ICECORE_SOAK", "1").env("PROPTEST_CASES", "20000");
    }
    // Nobody depends on these crates from outside; who reads the pages works on them and needs the private parts too.
    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    let mut deny = Command::new(setup::tool("cargo-deny")?);
    // The advisory database is not part of the registry; without it the verdict depends on the lock file alone.
    deny.current_dir(workspace::root()).args(["check", "bans", "licenses", "sources"]);
    Ok(vec![
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        ("lints", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])),
        ("build of the programs", cargo(&["build", "--workspace", "--bins", "--quiet"])),
        ("tests", tests),
        ("examples in the documentation", cargo(&["test", "--workspace", "--doc", "--quiet"])),
        ("documentation", documentation),
        ("licences, bans and sources of dependencies", deny),
    ])
}

/// cargo-nextest where it is installed, because it runs tests of all crates side by side; else cargo's own runner.
fn test_runner() -> Result<Command> {
    let mut command = workspace::cargo();
    if setup::find_tool("cargo-nextest")?.is_some() {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--hide-progress-bar"]);
        command.args(["--status-level", "fail", "--final-status-level", "slow"]);
    } else {
        command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    }
    Ok(command)
}

fn target_dir() -> Result<PathBuf> {
    let output = workspace::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo metadata names no target directory")
}
