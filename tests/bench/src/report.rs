//! The results as a page for people (Markdown, which also reads well on a terminal) and as JSON.

use std::fmt::Write;
use std::process::Command;

use e2e::targets::{self, Markers, Target};
use serde::Serialize;

use crate::results::Results;
use crate::target::Limits;

/// Where the documentation takes the results.
pub const MARKERS: Markers =
    Markers { begin: "<!-- bench:begin (written by `cargo xtask bench`) -->", end: "<!-- bench:end -->" };

/// Where and with what it was measured.
#[derive(Debug, Serialize)]
pub struct Circumstances {
    /// The command that reproduces it.
    pub command: String,
    /// When.
    pub date: String,
    /// The commit that was measured.
    pub commit: String,
    /// Processor, memory, kernel.
    pub machine: String,
    /// Versions of all tools.
    pub versions: Vec<String>,
    /// Whether caches were emptied before each run.
    pub cold: bool,
    /// The sizes of the disks.
    pub disks: String,
}

/// Everything that is reported.
#[derive(Serialize)]
pub struct Report {
    /// Where and with what.
    pub circumstances: Circumstances,
    /// The machine's rates.
    pub limits: Limits,
    /// All runs.
    pub results: Results,
    /// The judged targets.
    pub targets: Vec<Target>,
}

impl Report {
    /// The tables.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_circumstances(&mut page);
        page.push_str(&targets::table(&self.targets));
        let _ = self.write_measurements(&mut page);
        page
    }

    fn write_circumstances(&self, page: &mut String) -> std::fmt::Result {
        let Circumstances { command, date, commit, machine, versions, cold, disks } = &self.circumstances;
        let caches = if *cold { "emptied before each run" } else { "not emptied (needs root)" };
        writeln!(page, "`{command}` on {date}, commit {commit}\n")?;
        writeln!(page, "- machine: {machine}")?;
        writeln!(page, "- disks: {disks}")?;
        writeln!(page, "- tools: {}", versions.join("; "))?;
        writeln!(page, "- page cache: {caches}; medians; peak memory is the largest of all runs")?;
        let hash = self.limits.hash_rate / 1e6;
        writeln!(page, "- keyed BLAKE3 on all processors: {hash:.0} MB/s\n")
    }

    fn write_measurements(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "| scenario | tool | runs | time, s | processor, s | peak, MiB | stored, MB |")?;
        writeln!(page, "|---|---|---:|---:|---:|---:|---:|")?;
        let number = |value: Option<f64>, digits| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        for scenario in self.results.scenarios() {
            for tool in self.results.tools(scenario) {
                let results = &self.results;
                let runs = results.count(scenario, tool);
                let time = number(results.seconds(scenario, tool), 2);
                let processor = number(results.cpu_seconds(scenario, tool), 2);
                let peak = number(results.peak_kib(scenario, tool).map(|kib| kib as f64 / 1024.0), 0);
                let stored = number(results.stored_bytes(scenario, tool).map(|bytes| bytes / 1e6), 1);
                writeln!(page, "| {scenario} | {tool} | {runs} | {time} | {processor} | {peak} | {stored} |")?;
            }
        }
        Ok(())
    }
}

/// Processor, number of processors, memory and kernel of this machine.
pub fn machine() -> String {
    let processor = first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory_kib = first_value("/proc/meminfo", "MemTotal")
        .and_then(|value| value.split(' ').next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let kernel = said_by(Command::new("uname").arg("-r"));
    format!("{processors} × {processor}, {} GiB of memory, Linux {kernel}", memory_kib >> 20)
}

fn first_value(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line that a command prints; `unknown` when it fails.
pub fn said_by(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("unknown").to_owned()
}
