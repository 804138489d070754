//! One step of `cargo xtask test`: runs a command, hides its output unless it fails, counts what it tested.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How many tests of a step passed and failed. A step that is no collection of tests counts as one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
}

impl Count {
    /// Adds what another step counted.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs the step named `title` with its log in `logs`, and prints one line about it.
pub fn run(title: &str, logs: &Path, command: &mut Command) -> Count {
    let shows_progress = std::io::stdout().is_terminal();
    if shows_progress {
        print!("  …    {title}\r");
        // Only cosmetic; a lost flush loses nothing.
        let _ = std::io::stdout().flush();
    }
    let started = Instant::now();
    let log = logs.join(format!("{}.log", title.replace(' ', "-")));
    let (succeeded, output) = match execute(command, &log) {
        Ok(done) => done,
        Err(error) => (false, format!("{error:#}\n")),
    };
    let count = count(succeeded, &output);
    report(title, count, started.elapsed());
    if !succeeded {
        println!("\n{}\n  This was the log of the failed step `{title}`: {}\n", output.trim_end(), log.display());
    }
    count
}

fn execute(command: &mut Command, log: &Path) -> Result<(bool, String)> {
    let file = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let same_file = file.try_clone()?;
    let program = Path::new(command.get_program()).display().to_string();
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(same_file)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    let output = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    Ok((status.success(), output))
}

fn report(title: &str, count: Count, elapsed: Duration) {
    let verdict = if count.failed == 0 { "ok  " } else { "FAIL" };
    let tests = match count.passed + count.failed {
        1 => String::new(),
        all => format!("  ({} of {all} passed)", count.passed),
    };
    println!("  {verdict} {title:<44}{:>8.1} s{tests}", elapsed.as_secs_f64());
}

/// What a step's output says about its tests; never fewer failures than its exit code.
fn count(succeeded: bool, output: &str) -> Count {
    let mut count = Count::default();
    for line in output.lines() {
        let found = nextest_summary(line).or_else(|| libtest_summary(line)).or_else(|| vitest_summary(line));
        count.add(found.or_else(|| node_summary(line)).unwrap_or_default());
    }
    if !succeeded && count.failed == 0 {
        count.failed = 1;
    } else if count == Count::default() {
        count.passed = 1;
    }
    count
}

/// `Summary [ 1.2s] 12 tests run: 11 passed (1 slow), 1 failed, 0 skipped` of cargo-nextest.
fn nextest_summary(line: &str) -> Option<Count> {
    let (_, results) = line.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?;
    let number_before = |word: &str| {
        results.split([',', '(', ')']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
    };
    let failed = ["failed", "timed out", "exec failed"].iter().filter_map(|word| number_before(word)).sum();
    Some(Count { passed: number_before("passed")?, failed })
}

/// `test result: ok. 4 passed; 0 failed; 0 ignored; …` of the built-in test runner.
fn libtest_summary(line: &str) -> Option<Count> {
    let results = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number_before =
        |word: &str| results.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok());
    Some(Count { passed: number_before("passed")?, failed: number_before("failed")? })
}

/// `      Tests  1 failed | 41 passed (42)` of vitest.
fn vitest_summary(line: &str) -> Option<Count> {
    let results = line.trim_start().strip_prefix("Tests  ")?.split_once(" (")?.0;
    let number_before =
        |word: &str| results.split('|').find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok());
    let (passed, failed) = (number_before("passed"), number_before("failed"));
    (passed.is_some() || failed.is_some()).then(|| Count { passed: passed.unwrap_or(0), failed: failed.unwrap_or(0) })
}

/// `# pass 41` and `# fail 1`, or with `ℹ`, of Node's own test runner.
fn node_summary(line: &str) -> Option<Count> {
    let (word, number) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ "))?.split_once(' ')?;
    let number = number.trim().parse().ok()?;
    match word {
        "pass" => Some(Count { passed: number, failed: 0 }),
        "fail" | "cancelled" => Some(Count { passed: 0, failed: number }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, count};

    #[test]
    fn nextest_results_are_counted_with_slow_and_timed_out_tests() {
        let output = "     Summary [   0.5s] 9 tests run: 6 passed (2 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(count(false, output), Count { passed: 6, failed: 3 });
    }

    #[test]
    fn results_of_all_test_binaries_are_added() {
        let output =
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured\ntest result: FAILED. 1 passed; 2 failed;";
        assert_eq!(count(false, output), Count { passed: 5, failed: 2 });
    }

    #[test]
    fn results_of_vitest_and_node_are_counted() {
        assert_eq!(count(true, "      Tests  41 passed (41)\n"), Count { passed: 41, failed: 0 });
        assert_eq!(count(false, "      Tests  2 failed | 41 passed (43)\n"), Count { passed: 41, failed: 2 });
        assert_eq!(count(false, "# tests 9\n# pass 7\n# fail 1\n# cancelled 1\n"), Count { passed: 7, failed: 2 });
        assert_eq!(count(true, "ℹ pass 7\nℹ fail 0\n"), Count { passed: 7, failed: 0 });
    }

    #[test]
    fn a_failed_step_without_results_counts_as_one_failure() {
        assert_eq!(count(false, "error: could not compile"), Count { passed: 0, failed: 1 });
        let passed_but_failed = "test result: ok. 4 passed; 0 failed; 0 ignored";
        assert_eq!(count(false, passed_but_failed), Count { passed: 4, failed: 1 });
    }

    #[test]
    fn a_step_that_is_no_collection_of_tests_counts_as_one() {
        assert_eq!(count(true, "Checking e2e v0.1.0"), Count { passed: 1, failed: 0 });
    }
}
