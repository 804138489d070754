//! `cargo xtask run`: from a fresh clone to a disk that was backed up and restored before your eyes.

use anyhow::Result;

use crate::{setup, tour, vm};

/// Options of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Options {
    /// Boot Debian 13 with the kernel module and a live disk in an emulated machine, to play with
    #[arg(long)]
    vm: bool,
    #[command(flatten)]
    setup: setup::Consent,
}

/// Installs, builds, shows. The appliance with its web page will start here once it exists.
pub fn run(options: &Options) -> Result<()> {
    if options.vm {
        return vm::play(options.setup);
    }
    setup::install(setup::Purpose::Tour, options.setup)?;
    tour::run(&tour::Options::default())
}
