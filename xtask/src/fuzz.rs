//! `cargo xtask fuzz`: libFuzzer on what reads bytes from a store, with the stable toolchain. What it finds is kept and named.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{interrupt, setup, workspace};

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Options {
    /// Only this target; without it each of them in turn
    #[arg(value_name = "TARGET")]
    target: Option<String>,
    /// Minutes for each target
    #[arg(long, value_name = "N", default_value_t = 5)]
    minutes: u64,
    #[command(flatten)]
    setup: setup::Consent,
}

/// An input that takes longer hangs, as far as a person who waits for it can tell.
const LONGEST_INPUT_SECONDS: u32 = 10;
/// Far above what any input needs, far below what a length nobody checked would take.
const MEMORY_MIB: u32 = 2048;

/// Fuzzes.
pub fn run(options: &Options) -> Result<()> {
    setup::install(setup::Purpose::Tour, options.setup)?;
    ensure!(e2e::tool_exists("g++"), "libFuzzer is written in C++ and there is no g++; as root: apt-get install g++");
    let fuzzer = setup::tool_or_install("cargo-fuzz")?;
    let targets = targets()?;
    let chosen: Vec<&String> = match &options.target {
        None => targets.iter().collect(),
        Some(name) => match targets.iter().find(|target| *target == name) {
            Some(target) => vec![target],
            None => bail!("there is no fuzz target {name:?}; there are: {}", targets.join(", ")),
        },
    };
    let seeds = workspace::cache_dir()?.join("fuzz/seeds");
    write_seeds(&seeds)?;
    let mut findings = Vec::new();
    for target in chosen {
        interrupt::check()?;
        println!("\n{target}: {} min", options.minutes);
        if !fuzz(&fuzzer, target, &seeds.join(target), options.minutes)? {
            findings.push(target.as_str());
        }
    }
    ensure!(
        findings.is_empty(),
        "inputs that must not be were found for: {}. They lie in repo-format/fuzz/artifacts; the messages above say what is wrong",
        findings.join(", ")
    );
    println!("\nNothing found.");
    Ok(())
}

fn fuzz_dir() -> PathBuf {
    workspace::root().join("repo-format/fuzz")
}

/// Names of the files in `fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let dir = fuzz_dir().join("fuzz_targets");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot look into {}", dir.display()))? {
        found.extend(entry?.path().file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    found.sort();
    Ok(found)
}

/// A test makes them from a repository of its own, since only what belongs to that gets past the signatures.
fn write_seeds(seeds: &Path) -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["test", "--quiet", "--package", "repo-format", "--test", "all", "every_fuzz_target_has_seeds"]);
    let status = command.env("ICECORE_FUZZ_SEEDS", seeds).status().context("cannot start cargo")?;
    ensure!(status.success(), "the seeds could not be made; the messages are above");
    Ok(())
}

/// Runs one target. False when it found something.
fn fuzz(fuzzer: &Path, target: &str, seeds: &Path, minutes: u64) -> Result<bool> {
    let corpus = workspace::cache_dir()?.join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = Command::new(fuzzer);
    // libFuzzer's instrumentation is not stable yet; this lets the stable compiler have it. No sanitizer: there is no unsafe code.
    command.env("RUSTC_BOOTSTRAP", "1").current_dir(workspace::root());
    command
        .args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"])
        .arg(fuzz_dir())
        .arg(target)
        .arg(&corpus)
        .arg(seeds);
    command.arg("--").arg(format!("-max_total_time={}", minutes * 60));
    command.arg(format!("-timeout={LONGEST_INPUT_SECONDS}")).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command.args(["-print_final_stats=1", "-verbosity=0"]);
    let status = command.status().with_context(|| format!("cannot start {}", fuzzer.display()))?;
    Ok(status.success())
}
