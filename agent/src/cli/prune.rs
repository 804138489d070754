//! `icecore prune`: frees the space of what no point needs any more.

use super::context::Context;
use super::failure::{Code, Failure};
use super::{level, size};
use agent::output;
use agent::progress::{Counts, Unit};
use agent::remote::Place;
use repo_format::codec::DEFAULT_LEVEL;
use repo_format::index::Index;
use repo_format::prune::{GRACE, Options, Outcome, REPACK_DEAD_PERCENT, Step, prune};
use repo_format::repository::Repository;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const THREADS: usize = 4;

/// Options of `prune`.
#[derive(clap::Args)]
pub struct Args {
    /// Count what would be done and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Repack packs of which at least this part is dead, in percent; 101 repacks nothing
    #[arg(long, value_name = "PERCENT", default_value_t = REPACK_DEAD_PERCENT)]
    repack_dead: u64,
    /// Repack at most this much in one run, such as 20G
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    max_repack: Option<u64>,
    /// zstd level of what is compressed anew while repacking, 1 to 19
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LEVEL, value_parser = level::parser())]
    level: i32,
}

/// What a run may do.
pub struct Settings {
    /// Only count.
    pub dry_run: bool,
    /// As [`Options::repack_dead_percent`].
    pub repack_dead_percent: u64,
    /// As [`Options::max_repack_bytes`].
    pub max_repack_bytes: u64,
    /// As [`Options::level`].
    pub level: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dry_run: false,
            repack_dead_percent: REPACK_DEAD_PERCENT,
            max_repack_bytes: u64::MAX,
            level: DEFAULT_LEVEL,
        }
    }
}

/// Prunes.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if let (Place::Server(address), false) = (context.place()?, args.dry_run) {
        let what = format!("{address} is behind a server, and prune deletes and repacks beside the repository");
        let next = "the appliance's agent prunes as a job; or run `icecore --repo DIR prune` on the machine that has the repository";
        return Err(Failure::new(Code::Refused, what).next(next).into());
    }
    if let Place::Directory(directory) = context.place()?
        && let Some(kind) = network_file_system(directory)
    {
        context.console.warn(&format!(
            "{} is on {kind}: what another host began there within the last minutes may not be seen from here. Prune from one host only; what a session needs is kept for {} hours all the same",
            directory.display(),
            GRACE.as_hours()
        ));
    }
    let repo = context.open()?;
    let index = context.whole_index(&repo)?;
    let settings = Settings {
        dry_run: args.dry_run,
        repack_dead_percent: args.repack_dead,
        max_repack_bytes: args.max_repack.unwrap_or(u64::MAX),
        level: args.level,
    };
    let outcome = with_progress(&repo, &index, &settings, context)?;
    context.console.result(&outcome, |outcome| text(args.dry_run, outcome))
}

/// What kind of file system of another machine the directory is on; `None` when it is this machine's own, or that is not known.
///
/// Those keep names and sizes for a while after another host changed them, absences too.
fn network_file_system(directory: &Path) -> Option<&'static str> {
    named(nix::sys::statfs::statfs(directory).ok()?.filesystem_type().0)
}

fn named(magic: i64) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x00C3_6400 => Some("CephFS"),
        0x0102_1997 => Some("9p"),
        0x5346_414F => Some("AFS"),
        _ => None,
    }
}

/// Runs prune and shows how far it is.
pub fn with_progress(
    repo: &Repository,
    index: &Index,
    settings: &Settings,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let (progress, cancel) = (context.progress(), context.cancel()?);
    let stage = Mutex::new((None, 0));
    let report = |step: Step| {
        let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, unit, done, total) = match step {
            Step::Marking(done, total) => ("marking", Unit::Points, done, total),
            Step::Deleting(done, total) => ("deleting", Unit::Packs, done, total),
            Step::Repacking(done, total) => ("repacking", Unit::Bytes, done, total),
        };
        if stage.0 != Some(name) {
            *stage = (Some(name), 0);
            progress.begin_counted(name, unit, Some(total));
        }
        progress.advance(Counts { done: done.saturating_sub(stage.1), ..Counts::default() });
        stage.1 = stage.1.max(done);
    };
    let options = Options {
        grace: GRACE,
        repack_dead_percent: settings.repack_dead_percent,
        max_repack_bytes: settings.max_repack_bytes,
        level: settings.level,
        dry_run: settings.dry_run,
        threads: THREADS,
        progress: &report,
        clock: &|| context.now(),
        cancel: &cancel,
    };
    let outcome = prune(repo, index, &options, context.now());
    progress.end();
    Ok(outcome?)
}

fn text(dry_run: bool, outcome: &Outcome) -> String {
    let would = if dry_run { "Would have " } else { "" };
    let packs = |count: u64, bytes: u64| format!("{count} packs, {}", output::bytes(bytes));
    let mut text = format!(
        "{would}deleted {} forgotten points and {} that an earlier run condemned.\n\
         {would}condemned {}; a run after a day deletes them.\n\
         {would}repacked {} packs into {}.\n\
         {} are needed, {} dead in packs that stay.\n",
        outcome.points_deleted.len(),
        packs(outcome.packs_deleted, outcome.bytes_freed),
        packs(outcome.packs_condemned, outcome.bytes_condemned),
        outcome.packs_repacked,
        output::bytes(outcome.bytes_rewritten),
        output::bytes(outcome.bytes_live),
        output::bytes(outcome.bytes_dead_left),
    );
    for left in &outcome.left {
        text += &format!("Left alone: {}\n", output::lines(left));
    }
    // Each sentence begins with a capital letter, with `Would have` in front or not.
    if !dry_run {
        text = text.replacen("deleted", "Deleted", 1).replacen("\ncondemned", "\nCondemned", 1).replacen(
            "\nrepacked",
            "\nRepacked",
            1,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{named, network_file_system};

    #[test]
    fn a_directory_of_this_machine_is_on_no_network_file_system() {
        let own = tempfile::tempdir().unwrap();
        assert_eq!(network_file_system(own.path()), None);
        assert_eq!(network_file_system(&own.path().join("absent")), None);
        assert_eq!((named(0x6969), named(0xFE53_4D42), named(0xEF53)), (Some("NFS"), Some("SMB"), None));
    }
}
