//! One private repository and the program that works on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{capture, describe};
use crate::icecore_program;

/// Runs `icecore` on a repository of its own. Repository, index and caches lie in one temporary directory that goes with it.
pub struct Icecore {
    program: PathBuf,
    dir: TempDir,
    repository: PathBuf,
    passphrase: String,
}

/// How a command failed, for tests of bad input.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code; `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Icecore {
    /// A program without a repository yet.
    pub fn without_repository() -> Result<Self> {
        Ok(Self::with_program(icecore_program()?, TempDir::with_prefix("icecore-e2e-")?))
    }

    /// A program with an empty, initialised repository.
    pub fn with_repository() -> Result<Self> {
        let icecore = Self::without_repository()?;
        icecore.run(["init"])?;
        Ok(icecore)
    }

    /// A given program, without a repository yet; everything lies in `dir`, which is deleted with the result.
    pub fn with_program(program: PathBuf, dir: TempDir) -> Self {
        let repository = dir.path().join("repo");
        Self { program, dir, repository, passphrase: "correct horse battery staple".into() }
    }

    /// Leaves the temporary directory behind when this is dropped.
    pub fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }

    /// The temporary directory; tests may put their own files here.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the repository lies.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// What unlocks the repository.
    pub fn passphrase(&self) -> &str {
        &self.passphrase
    }

    /// Answers with another passphrase from now on.
    pub fn set_passphrase(&mut self, passphrase: &str) {
        self.passphrase = passphrase.into();
    }

    /// Works on another repository from now on.
    pub fn set_repository(&mut self, repository: impl Into<PathBuf>) {
        self.repository = repository.into();
    }

    /// The program with the repository, passphrase and private caches set, ready for arguments. Nothing of the caller's own
    /// settings reaches it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ICECORE_")) {
            command.env_remove(name);
        }
        command
            .env("ICECORE_REPO", &self.repository)
            .env("ICECORE_PASSPHRASE", &self.passphrase)
            .env("HOME", self.dir.path())
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("XDG_STATE_HOME", self.dir.path().join("state"))
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .stdin(Stdio::null());
        command
    }

    /// Runs one command that must succeed and returns its standard output.
    pub fn run<I, S>(&self, args: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = capture(self.command().args(args))?;
        String::from_utf8(output.stdout).context("icecore printed something that is not UTF-8")
    }

    /// Runs one command with `--json` that must succeed and returns what it printed, which must be exactly one value.
    pub fn json<I, S>(&self, args: I) -> Result<Value>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command();
        command.arg("--json").args(args);
        let output = capture(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` did not print one JSON value but:\n{text}", describe(&command)))
    }

    /// Runs one command that must fail, and returns how; success is an error.
    pub fn fail<I, S>(&self, args: I) -> Result<Failure>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command();
        command.args(args);
        let output = command.output().with_context(|| format!("cannot start `{}`", describe(&command)))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            bail!("`{}` was expected to fail but succeeded:\n{stdout}{stderr}", describe(&command));
        }
        Ok(Failure { exit_code: output.status.code(), stdout, stderr })
    }
}
