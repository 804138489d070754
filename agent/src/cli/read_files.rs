//! `icecore read-files`, the process that the keeper starts to read an untrusted file system. No person calls it.

use agent::files::confined::{Life, child};

/// Options of `read-files`.
#[derive(clap::Args)]
pub struct Args {
    /// Length of the disk at the other end of the pipes
    disk_bytes: u64,
    /// Whole directories are wanted, which takes longer
    #[arg(long)]
    long: bool,
}

/// Gives up all that it does not need, then answers.
pub fn run(args: &Args) -> anyhow::Result<()> {
    child::confine(if args.long { Life::Long } else { Life::Short })?;
    child::serve(args.disk_bytes)
}
