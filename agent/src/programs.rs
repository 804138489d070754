//! The system's own programs, as this one calls them: found whatever the caller's path, in English, without input, with their complaint in
//! the error. What is said to them is known where they are called.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Where administrative programs lie.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// As much of a complaint as anybody reads.
const COMPLAINT_CHARS: usize = 1000;

/// The call, not yet begun.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env("PATH", SYSTEM_PATH).env("LC_ALL", "C").stdin(Stdio::null());
    // LVM's programs complain about every open file that they inherit.
    command.env("LVM_SUPPRESS_FD_WARNINGS", "1");
    command
}

/// The call as a person would type it.
pub fn shown(program: &str, args: &[&str]) -> String {
    format!("{program} {}", args.join(" "))
}

/// Whether the program is there to be called.
pub fn is_installed(program: &str) -> bool {
    SYSTEM_PATH.split(':').any(|dir| Path::new(dir).join(program).exists())
}

/// Runs it to its end, whatever that is.
pub fn output(program: &str, args: &[&str]) -> Result<Output> {
    command(program, args).output().with_context(|| format!("starting `{}`", shown(program, args)))
}

/// Runs it to its end and returns what it printed; a failure is an error with its complaint.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = output(program, args)?;
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", shown(program, args), output.status, complaint(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What it said, on one line.
pub fn complaint(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&both).trim().replace('\n', "; ");
    text.chars().take(COMPLAINT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_installed, run};

    #[test]
    fn a_program_is_found_without_a_path_and_its_complaint_is_told() {
        assert!(is_installed("sh") && !is_installed("no-such-program"));
        assert_eq!(run("sh", &["-c", "echo yes"]).unwrap(), "yes\n");
        let error = run("sh", &["-c", "echo out; echo why >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("out; why") && error.contains('3'), "{error}");
        assert!(run("no-such-program", &[]).unwrap_err().to_string().contains("starting `no-such-program"));
    }
}
