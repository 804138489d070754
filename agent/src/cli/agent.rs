//! `icecore agent`: this machine as an agent of a server.

mod enroll;
mod run;

use super::context::Context;
use super::failure::{Code, Failure};
use super::reach;
use agent::remote::enrolled::Enrolled;
use agent::remote::{Connection, Options};
use repo_format::Error;
use serde_json::json;
use std::path::PathBuf;
use web_api::agent::Agent;
use web_api::token::RotatedSecret;
use zeroize::Zeroizing;

/// Verbs of `agent`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make this machine an agent of a server, by a one-time token
    Enroll(Box<enroll::Args>),
    /// Carry out the jobs of the server's plans, until SIGTERM
    Run(run::Args),
    /// Replace this machine's secret at the server by a new one; the old one works until the new one was used
    Rotate(Directory),
    /// Forget the enrolment of this machine; revoke the agent at the server, too
    Unenroll(Directory),
}

#[derive(clap::Args)]
struct Directory {
    /// Directory of the enrolment (or ICECORE_AGENT_DIR) [default: /etc/icecore/agent]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
}

impl Args {
    /// Whether this is a service, which tells what it does.
    pub fn is_service(&self) -> bool {
        matches!(self.verb, Verb::Run(_))
    }
}

impl Directory {
    fn path(&self) -> PathBuf {
        self.config_dir.clone().unwrap_or_else(reach::agent_directory)
    }
}

/// Runs the verb.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Enroll(args) => enroll::run(args, context),
        Verb::Run(args) => run::run(args, context),
        Verb::Rotate(directory) => rotate(&directory.path(), context),
        Verb::Unenroll(directory) => unenroll(&directory.path(), context),
    }
}

/// The new secret is in its file before it is used, and the old one works until then: a cut at any point leaves one that works.
fn rotate(directory: &std::path::Path, context: &Context) -> anyhow::Result<()> {
    let enrolled = Enrolled::load(directory)?.ok_or_else(|| not_enrolled(directory))?;
    let connect = |token: Zeroizing<String>| {
        let (authority, patience) = (context.ca_file()?.or_else(|| enrolled.authority.clone()), context.patience());
        let options = Options { token: Some(token), authority, patience, ..Options::plain(context.cancel()?) };
        Connection::new(enrolled.address.server().clone(), options)
    };
    let rotated: RotatedSecret =
        connect(enrolled.token.clone())?.post(&["agent", "rotate"], &json!({})).map_err(Error::from)?;
    let secret = Zeroizing::new(rotated.secret);
    Enrolled::save_token(directory, &secret)?;
    let agent: Agent = connect(secret)?.get(&["agent"]).map_err(Error::from)?;
    context.console.result(&json!({ "agent": agent.id, "name": agent.name, "prefix": agent.prefix }), |_| {
        format!("{} has a new secret, {}…; the old one works no more.", agent.name, agent.prefix)
    })
}

fn unenroll(directory: &std::path::Path, context: &Context) -> anyhow::Result<()> {
    let enrolled = Enrolled::load(directory);
    if !Enrolled::remove(directory)? {
        return Err(not_enrolled(directory));
    }
    let name = enrolled.ok().flatten().map(|enrolled| enrolled.name);
    context.console.result(&json!({ "removed": directory, "name": name }), |_| {
        let name = name.as_deref().unwrap_or("the machine");
        format!(
            "Forgot the enrolment in {}. The server still knows {name}: revoke it there (POST /api/v1/agents/ID/revoke).",
            directory.display()
        )
    })
}

fn not_enrolled(directory: &std::path::Path) -> anyhow::Error {
    let what = format!("this machine is not enrolled: there is no enrolment in {}", directory.display());
    Failure::new(Code::NotFound, what).next("`icecore agent enroll` enrols it").into()
}
