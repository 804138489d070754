//! Finds the `icecore` program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// The program to test: `ICECORE_BIN` when set, else what cargo builds from this workspace (once a process).
pub fn icecore_program() -> Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| match std::env::var_os("ICECORE_BIN") {
        Some(path) => existing(PathBuf::from(path)).map_err(|error| format!("{error:#}")),
        None => build().map_err(|error| format!("{error:#}")),
    });
    found.clone().map_err(|message| anyhow!(message))
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("ICECORE_BIN names {}, which is not a file; unset it to test what cargo builds", path.display());
    }
    Ok(path)
}

fn build() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies inside the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = crate::capture(
        Command::new(cargo)
            .args(["build", "--quiet", "--package", "agent", "--bin", "icecore", "--message-format", "json"])
            .current_dir(workspace),
    )?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "icecore")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built the agent but named no executable `icecore`")
}
