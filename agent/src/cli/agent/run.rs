//! `icecore agent run`: the service.

use super::super::backup::{self, snapshot};
use super::super::context::Context;
use super::super::failure::{Code, Failure, Report};
use agent::daemon::work::Backups;
use agent::daemon::{Daemon, Link};
use agent::remote::Place;
use agent::source::sys::SysRoot;
use web_api::job::JobError;

const ABOUT: &str = "\
Asks the server for jobs, backs up this machine's disks as the plans there say, and reports. The server never connects to this
machine, so it may be behind NAT or a firewall. A server that is away is asked again until it is back.

SIGTERM ends it cleanly: a job under way goes back to the server and is begun again later; what was stored is not sent again.

Which server, which repository, the secret and the writer key follow from the machine's enrolment in /etc/icecore/agent (or
ICECORE_AGENT_DIR). Without one they are named:
  icecore --repo https://SERVER/NAME --token-file FILE --ca-file FILE --writer-key FILE agent run";

/// Options of `agent run`.
#[derive(clap::Args)]
#[command(long_about = ABOUT)]
pub struct Args {
    /// Name of this machine in recovery points [default: its host name]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[command(flatten)]
    snapshot: snapshot::Options,
}

/// Serves until a signal comes.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let Place::Server(address) = context.place()? else {
        let what = "an agent works for a server, and a directory was named";
        return Err(Failure::new(Code::Usage, what).next("give --repo https://SERVER/NAME").into());
    };
    let server = context.server(address)?;
    let host = args.host.clone().map_or_else(backup::host, Ok)?;
    let worker = Backups {
        server: server.clone(),
        keys: context.writer_keys()?,
        patience: context.patience(),
        index_dir: context.index_place()?,
        host: host.clone(),
        sys: SysRoot::host(),
        provider: args.snapshot.provider(),
        module: &|| args.snapshot.module(),
        lvm: &|repository, name| args.snapshot.lvm(repository, name),
        explain: &explain,
    };
    let stop = context.cancel()?;
    let daemon = Daemon { link: Link::new(&server)?, worker: &worker, host, sys: SysRoot::host(), stop };
    daemon.run().map_err(|refused| {
        Failure::new(Code::Key, format!("{refused}"))
            .next("ask an admin of the server whether this agent was revoked; then start the service again")
            .into()
    })
}

/// In the words of the command line. What is refused or of a newer format stays so however often it is tried.
fn explain(error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
    let Report { code, what, why, next } = Report::of(error);
    let may_help = !matches!(code, Code::Usage | Code::Key | Code::Refused | Code::NewerProgram);
    (JobError { code: code.name().into(), what, why, next, attempt }, may_help)
}
