//! One measurement: a command's time, processor time and peak memory; and the summary of several runs.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// No measured command takes longer; one that does is broken, and the benchmark must end.
const LIMIT_SECONDS: &str = "1800";

/// What one run of a command cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// Wall-clock time.
    pub seconds: f64,
    /// Processor time of all threads, in user and kernel.
    pub cpu_seconds: f64,
    /// The largest resident set of the command or of a program it ran.
    pub peak_kib: u64,
}

/// Runs `command` to its end under GNU time and a time limit. Its output is shown only when it fails.
pub fn run(command: &Command) -> Result<Cost> {
    let report = tempfile::NamedTempFile::new()?;
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["--format", "%U %S %M", "--output"]).arg(report.path());
    timed.args(["timeout", LIMIT_SECONDS]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        timed.current_dir(directory);
    }
    let started = Instant::now();
    let output = timed.stdin(Stdio::null()).output().context("cannot start /usr/bin/time")?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        let shown: Vec<_> = timed.get_args().map(OsStr::to_string_lossy).collect();
        let said = [output.stdout, output.stderr].concat();
        bail!("`{}` failed ({}):\n{}", shown[4..].join(" "), output.status, String::from_utf8_lossy(&said));
    }
    parse_report(&fs::read_to_string(report.path())?, seconds)
}

fn parse_report(report: &str, seconds: f64) -> Result<Cost> {
    let parsed = || {
        let mut words = report.split_whitespace();
        let cpu_seconds = words.next()?.parse::<f64>().ok()? + words.next()?.parse::<f64>().ok()?;
        Some(Cost { seconds, cpu_seconds, peak_kib: words.next()?.parse().ok()? })
    };
    parsed().with_context(|| format!("GNU time reported `{report}`"))
}

/// Writes everything out and empties the page cache, so that every tool starts alike; says whether that was possible.
pub fn drop_caches() -> bool {
    let synced = Command::new("sync").status().is_ok_and(|status| status.success());
    synced && fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// The middle of the values, the mean of the two middle ones for an even number; `None` of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The bytes of all files below `directory`, as `ls` would show them.
pub fn size_of(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{median, run};

    #[test]
    fn median_is_the_middle_value() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn a_failing_command_is_an_error_that_shows_its_output() {
        let error = run(Command::new("ls").arg("/does/not/exist")).expect_err("ls fails");
        assert!(error.to_string().contains("/does/not/exist"), "{error:#}");
    }
}
