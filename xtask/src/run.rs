//! `cargo xtask run`: from a fresh clone to a disk that was backed up and restored before your eyes.

use anyhow::Result;

use crate::{setup, tour};

/// Options of `cargo xtask run`.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    setup: setup::Consent,
}

/// Installs, builds, shows. The appliance with its web page will start here once it exists.
pub fn run(options: &Options) -> Result<()> {
    setup::install(setup::Purpose::Tour, options.setup)?;
    tour::run(&tour::Options::default())
}
