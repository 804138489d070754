//! `cargo xtask test`: everything that CI runs, in groups.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::node::Node;
use crate::step::{self, Count};
use crate::{guest, interrupt, page, setup, workspace};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Options {
    /// Run only this group; without it all groups run
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
    /// Types and unit tests of the web page, and its build.
    Page,
    /// Formatting, lints, all Rust tests, documentation, licences.
    Rust,
    /// The web page in a real browser, against the real server and agent.
    Browser,
    /// The scenarios of `tests/guest` in an emulated machine.
    Guest,
    /// Repositories in object storage, on Garage.
    S3,
    /// The OpenAPI document, fuzzed by Schemathesis against the real server.
    ApiFuzz,
}

const GROUPS: [(&str, Group); 6] = [
    ("page", Group::Page),
    ("rust", Group::Rust),
    ("browser", Group::Browser),
    ("guest", Group::Guest),
    ("s3", Group::S3),
    ("api-fuzz", Group::ApiFuzz),
];

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
        if options.only.is_none_or(|only| only == group) {
            println!("\n{name}");
            // Whoever asks for it by name gets the error that says so.
            if group == Group::Guest && options.only.is_none() && !e2e::is_root() {
                println!("  left out, because the module's build root needs root: sudo cargo xtask test --only guest");
                continue;
            }
            if group == Group::S3 && options.only.is_none() && !setup::has_garage()? {
                println!("  left out, because Garage takes minutes to build: cargo xtask test --only s3");
                continue;
            }
            count.add(match group {
                Group::Page => steps(page_steps(&Node::find()?))?,
                Group::Rust => steps(rust_steps(options.soak)?)?,
                Group::Browser => browser(options.setup)?,
                Group::Guest => guest::run_as_group(options.soak, options.setup)?,
                Group::S3 => steps(s3_steps()?)?,
                Group::ApiFuzz => steps(api_fuzz_steps(options.soak)?)?,
            });
        }
    }
    Ok(count)
}

fn steps(steps: Vec<(&'static str, Command)>) -> Result<Count> {
    let logs = workspace::root().join("target/xtask-logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let mut count = Count::default();
    for (title, mut command) in steps {
        interrupt::check()?;
        count.add(step::run(title, &logs, &mut command));
    }
    Ok(count)
}

/// The page's own checks. The build comes first: the types of the API are made by it.
fn page_steps(node: &Node) -> Vec<(&'static str, Command)> {
    let mut build = Command::new(std::env::current_exe().unwrap_or_else(|_| "xtask".into()));
    build.arg("page");
    let mut tests = node.command("npm");
    tests.args(["run", "--silent", "test"]).current_dir(page::directory());
    vec![("types and build of the page", build), ("unit tests of the page", tests)]
}

/// The server with its page, an agent, and a browser that uses them as a person would.
fn browser(consent: setup::Consent) -> Result<Count> {
    setup::install(setup::Purpose::Browser, consent)?;
    page::build()?;
    let directory = workspace::root().join("tests/browser");
    let node = Node::find()?;
    node.install_packages(&directory)?;
    let programs = target_dir()?.join("debug");
    // As the group before builds it: chosen by package, the programs would get other features, and be compiled anew.
    let mut build = workspace::cargo();
    build.args(["build", "--workspace", "--bins", "--quiet"]);
    let mut tests = node.command("node");
    tests.args(["--test", "--test-reporter", "tap", "--test-concurrency", "1"]).current_dir(directory);
    tests.env("ICECORE_BIN", programs.join("icecore")).env("ICECORE_BIN_SERVER", programs.join("icecore-server"));
    tests.env("ICECORE_SCREENSHOTS", target_dir()?.join("screenshots"));
    steps(vec![("build of server and agent", build), ("the page in a browser", tests)])
}

/// Not one of the Rust tests: it fetches Python packages and takes minutes.
fn api_fuzz_steps(soak: bool) -> Result<Vec<(&'static str, Command)>> {
    let of_fuzzing = |args: &[&str]| {
        let mut command = workspace::cargo();
        command.args([args, &["--workspace", "--test", "api_fuzz", "--quiet"]].concat());
        command
    };
    let mut lints = of_fuzzing(&["clippy"]);
    lints.args(["--", "-D", "warnings"]);
    let mut programs = workspace::cargo();
    programs.args(["build", "--workspace", "--bins", "--quiet"]);
    let mut fuzzing = of_fuzzing(&["test"]);
    let built = target_dir()?.join("debug");
    fuzzing.env("ICECORE_BIN", built.join("icecore")).env("ICECORE_BIN_SERVER", built.join("icecore-server"));
    fuzzing.env("ICECORE_CACHE", workspace::cache_dir()?);
    if soak {
        fuzzing.env("ICECORE_SOAK", "1");
    }
    Ok(vec![
        ("lints", lints),
        ("build of the programs", programs),
        ("the API, fuzzed by callers of each role", fuzzing),
    ])
}

/// Not among the Rust tests: Garage is a program of others that has to be built once. Small engines are among them.
fn s3_steps() -> Result<Vec<(&'static str, Command)>> {
    let garage = setup::garage()?;
    let mut stories = workspace::cargo();
    stories.args(["test", "--workspace", "--test", "garage", "--quiet"]).env("ICECORE_GARAGE", garage);
    Ok(vec![("repositories in object storage, on Garage", stories)])
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
