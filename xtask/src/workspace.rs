//! Where things are: the workspace, the cache, and the programs that cargo builds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The workspace's root. cargo names this crate's directory when it runs it; a program that was built before its checkout was moved
/// would only know the old one.
pub fn root() -> &'static Path {
    static CRATE: OnceLock<PathBuf> = OnceLock::new();
    let crate_dir = CRATE.get_or_init(|| {
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
    });
    crate_dir.parent().unwrap_or(crate_dir)
}

/// The cargo that runs this command.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where tools, peers and benchmark images are kept between runs: `ICECORE_CACHE`, else `icecore` in the user's cache.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ICECORE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("icecore")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/icecore")))
        .context("neither ICECORE_CACHE nor HOME is set; set ICECORE_CACHE to a directory with some GiB free")
}

/// Builds one program and returns its path; compiler messages go to standard error as they come.
///
/// Of the whole workspace, so that all programs and tests share what their dependencies were compiled to: chosen by its
/// package, a program would get other features of them, and much would be compiled twice.
pub fn build(program: &str, release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--bin", program, "--message-format", "json-render-diagnostics"]);
    if release {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{program} does not build; the compiler's messages are above");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo named no executable {program}"))
}
