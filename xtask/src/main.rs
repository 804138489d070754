//! `cargo xtask …`: the project's own commands. Each lives in a file of its name; this one only tells them apart.

mod bench;
mod demo;
mod fuzz;
mod guest;
mod interrupt;
mod kmod;
mod node;
mod page;
mod run;
mod setup;
mod step;
mod test;
mod tour;
mod trial;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of the Icecore project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the Debian packages and cargo tools that are missing; the other commands do this themselves
    Setup(setup::Options),
    /// Install what is missing, build in release, and start the whole appliance on the loopback, with its web page
    Run(run::Options),
    /// Show a real disk backed up, changed, backed up again, checked, restored and compared
    Tour(tour::Options),
    /// Everything that CI runs
    Test(test::Options),
    /// Build the web page, which the next build of the server takes in
    Page(page::Options),
    /// Build the kernel module for the current backports kernel of Debian 13
    Kmod(kmod::Options),
    /// Boot a stock kernel in an emulated machine and run the scenarios of `tests/guest` there
    Guest(guest::Options),
    /// Search for inputs that what reads a repository cannot stand
    Fuzz(fuzz::Options),
    /// Measure speed and size next to restic, borg, rustic and zstd
    Bench(bench::Options),
}

fn main() -> ExitCode {
    interrupt::watch();
    let result = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Tour(options) => tour::run(&options),
        Command::Test(options) => return test::run(&options),
        Command::Page(options) => page::run(&options),
        Command::Kmod(options) => kmod::run(&options),
        Command::Guest(options) => return guest::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// What clap finds wrong with options it says only to who uses that subcommand.
    #[test]
    fn the_options_of_all_commands_fit_together() {
        super::Cli::command().debug_assert();
    }
}
