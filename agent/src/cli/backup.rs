//! `icecore backup`: one recovery point of one or several disks.

pub mod snapshot;

use super::context::Context;
use super::failure::{Code, Failure};
use super::hooks::HookArgs;
use super::point::{self, PointName};
use super::{level, show, size};
use agent::backup::{self, Audit, BackupOutcome, BackupRequest, ChangedList, Guarded, Surroundings};
use agent::output;
use agent::priority::Priority;
use agent::progress::ratio;
use agent::source::provider::Provider;
use agent::source::provider::direct::Direct;
use repo_format::codec::DEFAULT_LEVEL;
use repo_format::manifest::MAX_NAME_BYTES;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `backup`.
#[derive(clap::Args)]
pub struct Args {
    /// Block devices and image files; all of them become one recovery point
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
    /// Name under which the points follow each other [default: HOST:absolute paths]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// File of `OFFSET LENGTH` lines in bytes: only these extents changed, nothing else is read
    #[arg(long, value_name = "FILE")]
    changed_extents: Option<PathBuf>,
    /// The point that the list of changed extents counts from [default: the latest of the same name]
    #[arg(long, value_name = "POINT", requires = "changed_extents")]
    since: Option<PointName>,
    /// Read and hash everything even with a list, and report what differs outside of it
    #[arg(long)]
    full_read: bool,
    /// The same for each disk of which not everything was read for this many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    full_read_every: Option<u32>,
    /// zstd level, 1 to 19
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LEVEL, value_parser = level::parser())]
    level: i32,
    /// Read at most this much in a second, such as 50M
    #[arg(long, value_name = "BYTES/S", value_parser = size::parse_rate)]
    limit: Option<u64>,
    /// How much CPU and disk time to take from others: `low` yields to everything else, `normal` does not
    #[arg(long, value_name = "PRIORITY", default_value = "low")]
    priority: PriorityChoice,
    /// Store only what file systems use (ext4, xfs); the rest reads as zero and the point says so
    #[arg(long)]
    used_blocks_only: bool,
    /// Leave the content of this partition out; it reads as zero
    #[arg(long, value_name = "PARTITION")]
    exclude: Vec<u32>,
    /// Back up a source that is in use even without a snapshot; the point is then marked "not consistent"
    #[arg(long)]
    allow_live: bool,
    #[command(flatten)]
    snapshot: snapshot::Options,
    /// Name of this machine [default: its host name]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[command(flatten)]
    hooks: HookArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PriorityChoice {
    Low,
    Normal,
}

fn name(text: &str) -> Result<String, String> {
    match text.len() {
        1..=MAX_NAME_BYTES => Ok(text.to_owned()),
        length => Err(format!("a name has 1 to {MAX_NAME_BYTES} bytes, this one {length}")),
    }
}

/// Backs up.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let since = args.since.as_ref().map(|name| point::find(&repo, name)).transpose()?;
    let index = context.index(&repo)?;
    let directory = context.place()?.directory();
    let mut guarded: Vec<_> =
        directory.map(|dir| Guarded { what: "the repository", path: dir.to_owned() }).into_iter().collect();
    guarded.extend(context.index_place()?.map(|path| Guarded { what: "the index", path }).filter(|g| g.path.exists()));
    let request = BackupRequest {
        sources: args.sources.clone(),
        name: args.name.clone(),
        host: args.host.clone().map_or_else(host, Ok)?,
        changed: args.changed_extents.clone().map(|file| ChangedList { file, since }),
        full_read: args.full_read,
        full_read_every_days: args.full_read_every,
        level: args.level,
        limit_bytes_per_s: args.limit,
        used_blocks_only: args.used_blocks_only,
        exclude_partitions: args.exclude.clone(),
        provider: args.snapshot.provider(),
        guarded,
        hooks: args.hooks.settings(),
        priority: match args.priority {
            PriorityChoice::Low => Priority::Low,
            PriorityChoice::Normal => Priority::Normal,
        },
    };
    let (progress, cancel) = (context.progress(), context.cancel()?);
    let (module, direct) = (args.snapshot.module(), Direct { allow_live: args.allow_live });
    let lvm = args.snapshot.lvm(&repo.config().repository.to_string(), &request.point_name());
    let providers: [&dyn Provider; 3] = [&module, &lvm, &direct];
    let around =
        Surroundings { clock: &|| context.now(), progress: &*progress, cancel: &cancel, providers: &providers };
    let outcome = backup::run(&repo, &index, &request, &around);
    progress.end();
    let outcome = outcome?;
    context.console.result(&outcome, text)?;
    match outcome.audit.as_ref().filter(|audit| audit.bytes_differing > 0) {
        None => args.hooks.judge(&outcome.hooks).map_or(Ok(()), |failure| Err(failure.into())),
        Some(audit) => Err(audit_failure(audit).into()),
    }
}

/// The point is committed and true; the ones before it may not be, and somebody must see that.
fn audit_failure(audit: &Audit) -> Failure {
    let what = format!(
        "the audit found {} that changed outside the list of changed extents, in {} places",
        output::bytes(audit.bytes_differing),
        audit.extents.len()
    );
    Failure::new(Code::Damaged, what).next(
        "this point has the true content; incremental points since the last full read may lack changes and are marked as suspect. A list of your own: find out why it was incomplete before you use one again. The kernel module's: tracking began anew, the next backup reads everything; look into dmesg and report it",
    )
}

/// The name of this machine.
pub fn host() -> anyhow::Result<String> {
    Ok(nix::sys::utsname::uname()?.nodename().to_string_lossy().into_owned())
}

fn text(outcome: &BackupOutcome) -> String {
    let stats = &outcome.stats;
    let reason = outcome.full_read_reason.as_ref().map(|reason| format!(" ({})", output::name(reason)));
    let provider =
        format!("Provider {}, {}", outcome.provider, show::consistency_text(outcome.consistency, outcome.one_instant));
    let preserved = stats.bytes_preserved.map(|bytes| format!("; the snapshot had to keep {}", output::bytes(bytes)));
    let audited = outcome.audit.as_ref().filter(|audit| audit.bytes_differing == 0 && audit.bytes_checked > 0);
    let audited = audited
        .map(|audit| format!("; {} of it unchanged, as the list of changes says", output::bytes(audit.bytes_checked)));
    format!(
        "Stored {}@{} ({}), {}{}, in {}.\n{provider}{}{}.\nSource {}, changed {}, read {}, new {}, stored {} (compression {}).",
        output::name(&outcome.name),
        outcome.sequence,
        &outcome.id.to_string()[..point::SHORT_ID_DIGITS],
        super::list::kind_text(outcome.kind),
        reason.unwrap_or_default(),
        output::duration(Duration::from_millis(stats.duration_ms)),
        preserved.unwrap_or_default(),
        audited.unwrap_or_default(),
        output::bytes(stats.bytes_source),
        output::bytes(stats.bytes_changed),
        output::bytes(stats.bytes_read),
        output::bytes(stats.bytes_new),
        output::bytes(stats.bytes_stored),
        output::ratio_text(ratio(stats.bytes_new, stats.bytes_stored)),
    )
}
