//! Completions and manual pages, made from the definition of the command line.

use super::Cli;
use super::console::Console;
use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;
use std::path::PathBuf;

/// Options of `completions`.
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Options of `man`.
#[derive(clap::Args)]
pub struct ManArgs {
    /// Existing directory for the pages, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs, console: Console) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "icecore", &mut script);
    if console.json() {
        let script = String::from_utf8_lossy(&script);
        return console.result(&json!({ "shell": args.shell.to_string(), "script": script }), |_| String::new());
    }
    console.write(&script)
}

/// Writes one page for each verb.
pub fn man(args: &ManArgs, console: Console) -> anyhow::Result<()> {
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .with_context(|| format!("cannot write manual pages in {}", args.dir.display()))?;
    console.result(&json!({ "dir": args.dir }), |_| format!("Wrote the manual pages into {}.", args.dir.display()))
}
