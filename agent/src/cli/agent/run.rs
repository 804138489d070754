//! `icecore agent run`: the service.

use super::super::backup::{self, snapshot};
use super::super::context::Context;
use super::super::failure::{Code, Failure, Report};
use agent::backup::Guarded;
use agent::daemon::restores::{Machine, Restores};
use agent::daemon::work::{Backups, OpenRepository};
use agent::daemon::{Daemon, Lane, Link};
use agent::keeper::{self, Cataloguer, Desk, Keeper, OpenFileSystem, Survey};
use agent::open::Opened;
use agent::remote::Place;
use agent::remote::enrolled::Enrolled;
use agent::restore::Places;
use agent::source::provider::lvm::LvmProvider;
use agent::source::provider::module::ModuleProvider;
use agent::source::sys::SysRoot;
use anyhow::Context as _;
use repo_format::id::WriterId;
use repo_format::repository::Access;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use web_api::job::JobError;

const ABOUT: &str = "\
Asks the server for jobs, backs up this machine's disks as the plans there say, and reports. The server never connects to this
machine, so it may be behind NAT or a firewall. A server that is away is asked again until it is back.

SIGTERM ends it cleanly: a job under way goes back to the server and is begun again later; what was stored is not sent again.

On a machine that was enrolled with --keeps it is the keeper of that repository: it verifies, checks, prunes, copies the server's
database and restores, as the server's jobs say and its own options allow. It runs as the user that the server runs as.

With --restore-to or --restore-files any machine takes part in restores: disks and files of recovery points, its own or others', come
from the keeper, where that was started with --pass-to for this machine's writer. Files go back to where they were only from points that
this machine made, and only below these directories.

Which server, which repository, the secret and the writer key follow from the machine's enrolment in /etc/icecore/agent (or
ICECORE_AGENT_DIR). Without one they are named:
  icecore --repo https://SERVER/NAME --token-file FILE --ca-file FILE --writer-key FILE agent run";

/// So many people look at files at the same time; more take turns.
const DESKS: usize = 2;
/// So many archives are made at the same time; the server asks for no more.
const ARCHIVE_DESKS: usize = 2;

/// Options of `agent run`.
#[derive(clap::Args)]
#[command(long_about = ABOUT)]
pub struct Args {
    /// Name of this machine in recovery points [default: its host name]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Let the server's people restore below this directory of this machine, or to this device; may be given several times [default: nowhere]
    #[arg(long, value_name = "DIR|DEVICE")]
    restore_to: Vec<PathBuf>,
    /// Let the server's people restore files, and nothing else, below this directory of this machine, also back to where they were; may be
    /// given several times [default: nowhere but where --restore-to says]
    #[arg(long, value_name = "DIR")]
    restore_files: Vec<PathBuf>,
    /// Of a keeper: let the server's people look at the files inside recovery points and download them. The server sees what is looked at
    #[arg(long)]
    show_files: bool,
    /// Of a keeper: let the server's people restore disks and files of any recovery point onto the machine of this writer, which sees what it is
    /// passed and the server does not; may be given several times
    #[arg(long, value_name = "WRITER", value_parser = writer)]
    pass_to: Vec<WriterId>,
    #[command(flatten)]
    snapshot: snapshot::Options,
}

fn writer(text: &str) -> Result<WriterId, String> {
    text.parse()
        .map_err(|_| "a writer is 32 hexadecimal digits, as `icecore key list` and GET /api/v1/agents show it".into())
}

/// Serves until a signal comes.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let host = args.host.clone().map_or_else(backup::host, Ok)?;
    let enrolled = context.enrolment()?.map(|enrolment| &enrolment.enrolled).filter(|_| context.enrolment_counts());
    match enrolled.and_then(|enrolled| Some((enrolled, enrolled.keeps()?))) {
        Some((enrolled, directory)) => keep(args, context, (enrolled, directory), host),
        None => back_up(args, context, host),
    }
}

fn back_up(args: &Args, context: &Context, host: String) -> anyhow::Result<()> {
    let Place::Server(address) = context.place()? else {
        let what = "an agent works for a server, and none was named";
        return Err(Failure::new(Code::Usage, what).next("give --repo https://SERVER/NAME").into());
    };
    if args.show_files || !args.pass_to.is_empty() {
        let what = "--show-files and --pass-to are for the keeper of a repository, and this machine keeps none";
        return Err(Failure::new(Code::Usage, what).next("leave it out").into());
    }
    let (server, keys, patience) = (context.server(address)?, context.writer_keys()?, context.patience());
    let open = |cancel: &Arc<AtomicBool>| {
        let tell = Arc::new(|line: &str| tracing::warn!("{line}"));
        let opened = Opened::server(server.client(patience, cancel.clone(), tell)?);
        let repo = opened.repository(Access::Writer(Box::new(keys.clone())));
        repo.with_context(|| format!("cannot open the repository at {address}"))
    };
    let (module, lvm) = (|| args.snapshot.module(), |repository: &str, name: &str| args.snapshot.lvm(repository, name));
    let restores = Restores {
        server: server.clone(),
        patience,
        keys: keys.clone(),
        restore_to: Places::new(&args.restore_to, &args.restore_files)?,
        sys: SysRoot::host(),
    };
    let backups = backups(args, context, (&open, &module, &lvm), host.clone(), Vec::new())?;
    let worker = Machine { backups, restores };
    let (lane, stop) = (Lane::for_all(Link::new(&server)?), context.cancel()?);
    serve(&Daemon { lane, others: Vec::new(), worker: &worker, host, sys: SysRoot::host(), stop })
}

/// The keeper of a repository. What unlocks it is asked for once, now.
fn keep(args: &Args, context: &Context, (enrolled, directory): (&Enrolled, &Path), host: String) -> anyhow::Result<()> {
    check_owner(directory)?;
    let restore_to = Places::new(&args.restore_to, &args.restore_files)?;
    let master = context.open()?.keys().master_for("keeping a repository")?.clone();
    let open = |_: &Arc<AtomicBool>| {
        let repo = Opened::directory(directory).repository(Access::Master(master.clone()));
        repo.with_context(|| format!("cannot open the repository in {}", directory.display()))
    };
    let (module, lvm) = (|| args.snapshot.module(), |repository: &str, name: &str| args.snapshot.lvm(repository, name));
    let guarded = vec![Guarded { what: "the repository", path: directory.to_owned() }];
    let server = context.keepers_server(enrolled)?;
    let clock = || context.now();
    let file_system: &OpenFileSystem<'_> = &|medium, partition| super::super::disk::find_file_system(medium, partition);
    let worker = Keeper {
        backups: backups(args, context, (&open, &module, &lvm), host.clone(), guarded)?,
        link: Link::new(&server)?,
        restore_to,
        file_system,
        survey: Survey::default(),
        clock: &clock,
    };
    let lane = Lane { link: Link::new(&server)?, only: keeper::QUICK.to_vec() };
    let others = vec![Lane { link: Link::new(&server)?, only: keeper::SLOW.to_vec() }];
    let stop = context.cancel()?;
    let desk = |archives: bool| {
        let (link, index_dir, stop) = (Link::new(&server)?, context.index_place()?, stop.clone());
        let (show_files, pass_to, program) = (args.show_files, args.pass_to.clone(), PathBuf::from("/proc/self/exe"));
        anyhow::Ok(Desk { link, open: &open, index_dir, show_files, pass_to, program, clock: &clock, archives, stop })
    };
    let looks = if args.show_files || !args.pass_to.is_empty() { DESKS } else { 0 };
    let all = looks + if args.show_files { ARCHIVE_DESKS } else { 0 };
    let desks = (0..all).map(|at| desk(at >= looks)).collect::<anyhow::Result<Vec<_>>>()?;
    let (index_dir, program) = (context.index_place()?, PathBuf::from("/proc/self/exe"));
    let cataloguer = Cataloguer { open: &open, index_dir, program, clock: &clock, stop: stop.clone() };
    let daemon = Daemon { lane, others, worker: &worker, host, sys: SysRoot::host(), stop: stop.clone() };
    std::thread::scope(|scope| {
        desks.iter().for_each(|desk| drop(scope.spawn(|| desk.serve())));
        if args.show_files {
            scope.spawn(|| cataloguer.run());
        }
        let served = serve(&daemon);
        // Also when the server does not want this agent any more: nobody is left to list files for.
        stop.store(true, Ordering::Relaxed);
        served
    })
}

/// What this process stores has to be the server's to read.
fn check_owner(directory: &Path) -> anyhow::Result<()> {
    let config = directory.join("config");
    let owner = config.metadata().with_context(|| format!("cannot look at {}", config.display()))?.uid();
    let we = nix::unistd::geteuid().as_raw();
    if owner == we {
        return Ok(());
    }
    let what = format!("the repository in {} belongs to user {owner}, and this is user {we}", directory.display());
    Err(Failure::new(Code::Refused, what)
        .next("run the keeper as the user that the server runs as: what it stores must be the server's to read")
        .into())
}

/// How this machine is told where its snapshots come from.
type Ways<'w> =
    (&'w OpenRepository<'w>, &'w (dyn Fn() -> ModuleProvider + Sync), &'w (dyn Fn(&str, &str) -> LvmProvider + Sync));

fn backups<'w>(
    args: &Args,
    context: &Context,
    (open, module, lvm): Ways<'w>,
    host: String,
    guarded: Vec<Guarded>,
) -> anyhow::Result<Backups<'w>> {
    Ok(Backups {
        open,
        index_dir: context.index_place()?,
        guarded,
        host,
        sys: SysRoot::host(),
        provider: args.snapshot.provider(),
        module,
        lvm,
        explain: &explain,
    })
}

fn serve(daemon: &Daemon<'_>) -> anyhow::Result<()> {
    daemon.run().map_err(|refused| {
        Failure::new(Code::Key, format!("{refused}"))
            .next(
                "ask an admin of the server whether this agent was revoked or suspended; then start the service again",
            )
            .into()
    })
}

/// In the words of the command line. What is refused or of a newer format stays so however often it is tried.
fn explain(error: &anyhow::Error, attempt: u32) -> (JobError, bool) {
    let Report { code, what, why, next } = Report::of(error);
    let may_help = !matches!(code, Code::Usage | Code::Key | Code::Refused | Code::NewerProgram);
    (JobError { code: code.name().into(), what, why, next, attempt }, may_help)
}
