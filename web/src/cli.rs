//! The command line of `icecore-server`.

mod admin;
mod copies;
mod keeper;
mod migrate;

use crate::config::Config;
use crate::{logging, router, serve};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The Icecore appliance's server.
#[derive(Parser)]
#[command(name = "icecore-server", version, disable_help_subcommand = true, max_term_width = 110)]
struct Cli {
    /// Configuration file [default: /etc/icecore/server.toml where it is there]
    #[arg(long, global = true, value_name = "FILE", env = "ICECORE_SERVER_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM
    Serve,
    /// Bring the database to this program's version; `serve` does it too
    Migrate(migrate::Args),
    /// Manage the server on its own machine, whether it runs or not
    #[command(subcommand)]
    Admin(admin::Command),
    /// Print the OpenAPI document
    Openapi,
}

/// Parses, runs, reports.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if matches!(cli.command, Command::Openapi) {
        print!("{}", router::openapi_json());
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::load(cli.config.as_deref())?;
    logging::start(&config)?;
    match cli.command {
        Command::Serve => serve::run(config).map(|()| ExitCode::SUCCESS),
        Command::Migrate(args) => migrate::run(&args, &config).map(|()| ExitCode::SUCCESS),
        Command::Admin(command) => admin::run(&command, &config),
        Command::Openapi => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
