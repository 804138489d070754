//! The programs of LVM and of thin provisioning: how they are called. What is said to them and what their answers mean is known elsewhere.

use crate::programs;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read as _};
use std::process::Stdio;

/// As much of a complaint as anybody reads.
const COMPLAINT_BYTES: u64 = 2000;

/// Runs programs; a test has its own.
pub trait Tools: Send + Sync {
    /// Runs one to its end and returns what it printed. A failure holds its complaint.
    fn run(&self, program: &str, args: &[&str]) -> Result<String>;

    /// Runs one and hands over its output while it runs, since that may be large. A program that fails in the end is an error.
    fn stream(&self, program: &str, args: &[&str], take: &mut dyn FnMut(&mut dyn BufRead) -> Result<()>) -> Result<()>;

    /// Whether the program is installed.
    fn has(&self, program: &str) -> bool;
}

/// The programs of this machine.
pub struct HostTools;

impl Tools for HostTools {
    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        programs::run(program, args)
    }

    fn stream(&self, program: &str, args: &[&str], take: &mut dyn FnMut(&mut dyn BufRead) -> Result<()>) -> Result<()> {
        let shown = programs::shown(program, args);
        let mut command = programs::command(program, args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{shown}`"))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        // Read beside the output: a program that complains much would wait for ever otherwise.
        let complaint = std::thread::spawn(move || {
            let mut text = Vec::new();
            let Some(mut errors) = errors else { return text };
            let _ = errors.by_ref().take(COMPLAINT_BYTES).read_to_end(&mut text);
            let _ = std::io::copy(&mut errors, &mut std::io::sink());
            text
        });
        let taken = output.map_or(Ok(()), |output| take(&mut BufReader::new(output)));
        if taken.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().with_context(|| format!("waiting for `{shown}`"))?;
        let complaint = complaint.join().unwrap_or_default();
        taken?;
        if !status.success() {
            bail!("`{shown}` failed ({status}): {}", String::from_utf8_lossy(&complaint).trim());
        }
        Ok(())
    }

    fn has(&self, program: &str) -> bool {
        programs::is_installed(program)
    }
}
