//! `cargo xtask run`: from a fresh clone to the whole appliance in your browser.

use anyhow::Result;

use crate::{setup, trial, vm};

/// Options of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Options {
    /// Boot Debian 13 with the kernel module and a live disk in an emulated machine, to play with
    #[arg(long, conflicts_with_all = ["fresh", "port"])]
    vm: bool,
    #[command(flatten)]
    trial: trial::Options,
    #[command(flatten)]
    setup: setup::Consent,
}

/// Installs what is missing, builds, starts.
pub fn run(options: &Options) -> Result<()> {
    if options.vm {
        return vm::play(options.setup);
    }
    trial::run(&options.trial, options.setup)
}
