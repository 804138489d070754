//! Finds the programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// The command line to test: `ICECORE_BIN` when set, else what cargo builds from this workspace (once a process).
pub fn icecore_program() -> Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    found(&PROGRAM, "ICECORE_BIN", "agent", "icecore")
}

/// The server to test: `ICECORE_BIN_SERVER` when set, else what cargo builds from this workspace (once a process).
pub fn server_program() -> Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    found(&PROGRAM, "ICECORE_BIN_SERVER", "web", "icecore-server")
}

fn found(program: &OnceLock<Result<PathBuf, String>>, variable: &str, package: &str, name: &str) -> Result<PathBuf> {
    let found = program.get_or_init(|| match std::env::var_os(variable) {
        Some(path) => existing(variable, PathBuf::from(path)).map_err(|error| format!("{error:#}")),
        None => build(package, name).map_err(|error| format!("{error:#}")),
    });
    found.clone().map_err(|message| anyhow!(message))
}

fn existing(variable: &str, path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{variable} names {}, which is not a file; unset it to test what cargo builds", path.display());
    }
    Ok(path)
}

fn build(package: &str, name: &str) -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies inside the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = crate::capture(
        Command::new(cargo)
            .args(["build", "--quiet", "--package", package, "--bin", name, "--message-format", "json"])
            .current_dir(workspace),
    )?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built {package} but named no executable `{name}`"))
}
