//! The command line: verbs, global options, and what happens around every verb (output, errors, exit code).
//!
//! One file a verb or group of verbs; each has `Args` and `run`. Nothing is read or opened before the arguments are parsed.

mod agent;
mod backup;
mod bucket;
mod catalogs;
mod check;
mod console;
mod context;
mod diff;
mod disk;
mod dump;
mod export;
mod failure;
mod forget;
mod generate;
mod help;
mod hooks;
mod index;
mod init;
mod key;
mod level;
mod list;
mod login;
mod ls;
mod mount;
mod point;
mod probe;
mod prune;
mod reach;
mod read_files;
mod repair;
mod restore;
mod search;
mod secrets;
mod server;
mod show;
mod signals;
mod size;
mod status;
mod tracker;
mod undo;
mod versions;
mod writer;

use clap::{Parser, Subcommand};
use console::Console;
use context::{Context, Globals};
use failure::{Code, NobodyReads, Report};
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// The page of exit codes, also shown by `icecore help exit-codes`.
const EXIT_CODES: &str = include_str!("../../../docs/exit-codes.md");
/// What `--version` prints.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (repository format 1)");
const AFTER_HELP: &str = "\
Every verb takes --json and then writes only JSON to standard output.
`icecore VERB --help` explains a verb, `icecore help exit-codes` the exit codes.

A POINT is the first digits (4 or more) of its id, `latest`, `latest:NAME` or `NAME@SEQUENCE`.

A first backup:
  export ICECORE_REPO=/srv/backup
  icecore init
  icecore backup /dev/sda
  icecore list";

/// Incremental backups of Linux disks: deduplicated, compressed, encrypted.
#[derive(Parser)]
#[command(name = "icecore", version = VERSION, disable_help_subcommand = true, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a new repository
    Init(init::Args),
    /// Back up block devices and image files as one recovery point
    Backup(Box<backup::Args>),
    /// List the recovery points
    #[command(visible_alias = "points")]
    List(list::Args),
    /// Show one recovery point: disks, partitions, counts
    Show(show::Args),
    /// Show which bytes differ between two recovery points
    Diff(diff::Args),
    /// Restore a disk, a partition or files
    Restore(restore::Args),
    /// List the disks, partitions and files of a recovery point
    Ls(ls::Args),
    /// Search for files by name through all recovery points
    Search(search::Args),
    /// Show the versions of one file through all recovery points
    Versions(versions::Args),
    /// Write a disk as a raw, qcow2 or vmdk image
    Export(export::Args),
    /// Show the disks of a recovery point as image files (FUSE)
    Mount(mount::Args),
    /// Check that everything stored is there and right
    Check(check::Args),
    /// Forget recovery points; `undo` takes it back, `prune` frees the space later
    Forget(forget::Args),
    /// Take back forgotten recovery points
    Undo(undo::Args),
    /// Free the space of what no recovery point needs any more
    Prune(prune::Args),
    /// Show what the repository holds: points, space, ratios, sessions
    Status(status::Args),
    /// Try anew what the object storage does that the repository is in
    Probe,
    /// Work on the local index, a cache that can always be made again
    Index(index::Args),
    /// Passphrases, key files, recovery kits and writer keys
    Key(key::Args),
    /// Log in at a server, so that `--repo https://SERVER/NAME` works
    Login(login::Args),
    /// Revoke the token of a log-in and forget it
    Logout(login::LogoutArgs),
    /// This machine as an agent of a server
    Agent(agent::Args),
    /// Track changes and take snapshots of block devices by the kernel module
    Tracker(tracker::Args),
    /// Show a structure of the repository format, for finding faults
    Dump(dump::Args),
    /// Print completions for a shell
    Completions(generate::CompletionsArgs),
    /// Write manual pages into a directory
    Man(generate::ManArgs),
    /// Print the version and the repository format
    Version,
    /// Reads the files of an untrusted file system for this program, over its standard input and output
    #[command(hide = true)]
    ReadFiles(read_files::Args),
    /// Explain a verb or a topic (`exit-codes`)
    Help(help::Args),
}

/// Parses, runs, reports.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    log_to_stderr(matches!(&cli.verb, Verb::Agent(args) if args.is_service()));
    let console = Console::new(cli.globals.json, cli.globals.quiet);
    match run(cli, console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.chain().any(|cause| cause.is::<NobodyReads>()) => ExitCode::SUCCESS,
        Err(error) => {
            let report = Report::of(&error);
            console.error(&report);
            signals::exit_code(report.code)
        }
    }
}

/// Warnings of the libraries, one line an event, and of a service what it does; `RUST_LOG` asks for more.
fn log_to_stderr(is_service: bool) {
    // fuser warns when it finds at the end that what it would unmount is unmounted already.
    let default = if is_service { "info,fuser=error" } else { "warn,fuser=error" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
    let colours = console::coloured(std::io::stderr().is_terminal());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colours)
        .init();
}

/// What clap says: help and version to standard output, errors to standard error (as JSON when that was asked for).
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && json {
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        Console::new(true, false).error(&Report::of(&failure::Failure::new(Code::Usage, text).into()));
    } else {
        // Nobody reads it: nothing to do about it.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS }
}

fn run(cli: Cli, console: Console) -> anyhow::Result<()> {
    let context = Context::new(cli.globals, console);
    let done = run_verb(&cli.verb, &context, console);
    bucket::tell_requests(&context);
    done
}

fn run_verb(verb: &Verb, context: &Context, console: Console) -> anyhow::Result<()> {
    match verb {
        Verb::Init(args) => init::run(args, context),
        Verb::Backup(args) => backup::run(args, context),
        Verb::List(args) => list::run(args, context),
        Verb::Show(args) => show::run(args, context),
        Verb::Diff(args) => diff::run(args, context),
        Verb::Restore(args) => restore::run(args, context),
        Verb::Ls(args) => ls::run(args, context),
        Verb::Search(args) => search::run(args, context),
        Verb::Versions(args) => versions::run(args, context),
        Verb::Export(args) => export::run(args, context),
        Verb::Mount(args) => mount::run(args, context),
        Verb::Check(args) => check::run(args, context),
        Verb::Prune(args) => prune::run(args, context),
        Verb::Agent(args) => agent::run(args, context),
        Verb::Dump(args) => dump::run(args, context),
        Verb::Forget(args) => forget::run(args, context),
        Verb::Undo(args) => undo::run(args, context),
        Verb::Status(args) => status::run(args, context),
        Verb::Probe => probe::run(context),
        Verb::Index(args) => index::run(args, context),
        Verb::Key(args) => key::run(args, context),
        Verb::Login(args) => login::run(args, context),
        Verb::Logout(args) => login::logout(args, context),
        Verb::Tracker(args) => tracker::run(args, context),
        Verb::Completions(args) => generate::completions(args, console),
        Verb::Man(args) => generate::man(args, console),
        Verb::Version => help::version(console),
        Verb::ReadFiles(args) => read_files::run(args),
        Verb::Help(args) => help::run(args, console),
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

    #[test]
    fn the_version_names_the_format_that_is_written() {
        assert!(VERSION.ends_with(&format!("(repository format {})", repo_format::record::FORMAT_VERSION)));
    }
}
