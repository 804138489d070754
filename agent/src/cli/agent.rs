//! `icecore agent`: this machine as an agent of a server.

mod run;

use super::context::Context;

/// Verbs of `agent`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Carry out the jobs of the server's plans, until SIGTERM
    Run(run::Args),
}

impl Args {
    /// Whether this is a service, which tells what it does.
    pub fn is_service(&self) -> bool {
        matches!(self.verb, Verb::Run(_))
    }
}

/// Runs the verb.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Run(args) => run::run(args, context),
    }
}
