//! `icecore help` and `icecore version`.

use super::console::Console;
use super::failure::{Code, Failure};
use super::{Cli, EXIT_CODES};
use clap::CommandFactory as _;
use repo_format::record::FORMAT_VERSION;
use serde_json::json;

/// Options of `help`.
#[derive(clap::Args)]
pub struct Args {
    /// A verb (`key writer-export`) or `exit-codes`
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

/// Explains.
pub fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    if args.topic == ["exit-codes"] {
        return console.write(EXIT_CODES.as_bytes());
    }
    let mut command = Cli::command();
    command.build();
    for word in &args.topic {
        let Some(below) = command.find_subcommand(word) else {
            return Err(Failure::new(Code::Usage, format!("there is no verb or topic {word:?}"))
                .next("`icecore help` lists the verbs; `icecore help exit-codes` is a topic")
                .into());
        };
        command = below.clone();
    }
    console.write(command.render_long_help().to_string().as_bytes())
}

/// Versions of program and format.
pub fn version(console: Console) -> anyhow::Result<()> {
    let version = json!({ "version": env!("CARGO_PKG_VERSION"), "repository_format": FORMAT_VERSION });
    console.result(&version, |_| format!("icecore {}", super::VERSION))
}
