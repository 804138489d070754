//! `icecore restore`: a disk, a partition or files of a recovery point.

use super::context::Context;
use super::disk;
use super::failure::{Code, Failure};
use super::point::{self, PointName};
use super::size;
use agent::files::restore::{self as file_restore, Existing, Problem, RestoreOptions};
use agent::medium::Medium;
use agent::output;
use agent::progress::{Counts, Progress};
use agent::restore::{self, GrowOutcome, GrowRequest, RestoreOutcome, RestoreRequest, in_place};
use agent::source::sys::SysRoot;
use repo_format::reader::Reader;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Options of `restore`.
#[derive(clap::Args)]
pub struct Args {
    /// The point
    #[arg(value_name = "POINT")]
    point: PointName,
    /// Image file or block device to write; with --files the directory
    #[arg(long, value_name = "TARGET", required_unless_present = "in_place")]
    to: Option<PathBuf>,
    /// With --files: back to where they were, in the file system of the same id wherever it is mounted on this machine now
    #[arg(long, requires = "files", conflicts_with = "to")]
    in_place: bool,
    /// Which disk, when the point has several; with --files also a logical volume, as GROUP/VOLUME
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
    /// Only this partition; with --files the one that holds them
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// Restore these files and directories with all below them (`/` for everything), with owners, times and attributes
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "delta")]
    files: Vec<OsString>,
    /// Read the target and write only what differs
    #[arg(long)]
    delta: bool,
    /// Look and count, write nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
    /// With --files: keep files that exist, and give those of the point that differ from them the ending .restored-DATE
    #[arg(long, requires = "files", conflicts_with = "overwrite")]
    beside: bool,
    /// On a larger target, extend this partition (by default the last one) and its file system (ext4, xfs)
    #[arg(long, value_name = "PARTITION", num_args = 0..=1, conflicts_with = "files")]
    grow: Option<Option<u32>>,
    /// Make the image file this long, such as 64G
    #[arg(long, value_name = "SIZE", value_parser = size::parse, conflicts_with = "files")]
    size: Option<u64>,
}

/// Restores.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    repo.keys().private_for("restoring")?;
    let (stored, manifest) = point::open(&repo, &args.point, context.console)?;
    let (progress, cancel) = (context.progress(), context.cancel()?);
    context.reading(&repo, &[(&stored, &manifest)], || {
        // Under the lease: what the index names now stays where it is.
        let index = context.index(&repo)?;
        if !args.files.is_empty() {
            let reader = Reader::new(&repo, &index);
            let medium = Medium::chosen(&reader, &manifest, args.disk.as_deref(), args.partition)?;
            return files(args, &medium, (&*progress, &cancel), context);
        }
        let request = RestoreRequest {
            point: stored.at,
            disk: args.disk.clone(),
            partition: args.partition,
            // Only files go without a target.
            target: args.to.clone().unwrap_or_default(),
            delta: args.delta,
            dry_run: args.dry_run,
            overwrite: args.overwrite,
            grow: args.grow.map(|number| number.map_or(GrowRequest::Last, GrowRequest::Partition)),
            image_bytes: args.size,
        };
        let outcome = restore::run(&repo, &index, &request, &*progress, &cancel);
        progress.end();
        let outcome = outcome?;
        context.console.result(&outcome, |outcome| text(args, outcome))?;
        match outcome.grow.filter(|grow| grow.failed) {
            None => Ok(()),
            Some(grow) => {
                let what = format!("the disk is restored, but {}", grow.remark.unwrap_or_default());
                Err(Failure::new(Code::Failed, what)
                    .next("the restored data is complete; grow the file system by hand")
                    .into())
            }
        }
    })
}

fn text(args: &Args, outcome: &RestoreOutcome) -> String {
    let verb = if args.dry_run { "Would restore" } else { "Restored" };
    let mut text = format!(
        "{verb} {} to {} in {}: {} written, {} of zeroes, {} right already.\n",
        output::bytes(outcome.bytes_target),
        output::name(&args.to.as_deref().unwrap_or(Path::new("")).display().to_string()),
        output::duration(Duration::from_millis(outcome.duration_ms)),
        output::bytes(outcome.bytes_written),
        output::bytes(outcome.bytes_zeroed),
        output::bytes(outcome.bytes_unchanged),
    );
    if let Some(grow) = &outcome.grow {
        text += &grow_text(args.dry_run, grow);
    }
    for note in &outcome.notes {
        text += &format!("Note: {}.\n", output::name(note));
    }
    text
}

fn grow_text(dry_run: bool, grow: &GrowOutcome) -> String {
    let what = grow.growth.number.map_or_else(|| "It".to_owned(), |number| format!("Partition {number}"));
    let verb = if dry_run { "would grow" } else { "grew" };
    let (from, to) = (output::bytes(grow.growth.from_bytes), output::bytes(grow.growth.to_bytes));
    let rest = match &grow.remark {
        None => "with its file system".to_owned(),
        Some(remark) => format!("alone; {remark}"),
    };
    format!("{what} {verb} from {from} to {to}, {rest}.\n")
}

fn files(
    args: &Args,
    medium: &Medium<'_>,
    (progress, cancel): (&dyn Progress, &AtomicBool),
    context: &Context,
) -> anyhow::Result<()> {
    let fs = disk::file_system(medium, args.partition, context.console)?;
    let paths: Vec<Vec<u8>> = args.files.iter().map(|path| path.clone().into_vec()).collect();
    progress.begin(if args.dry_run { "comparing" } else { "restore" }, None);
    let mut written = 0;
    let existing = match (args.overwrite, args.beside) {
        (true, _) => Existing::Replace,
        (_, true) => Existing::Beside(file_restore::ending(context.now())),
        _ => Existing::Leave,
    };
    let volume = medium.volume(args.partition)?;
    let target = match &args.to {
        Some(target) => target.clone(),
        None => in_place::mounted_at(&SysRoot::host(), volume.as_ref().and_then(|volume| volume.content.as_ref()))?,
    };
    let options = RestoreOptions { existing, is_real: false, one_file_system: args.in_place, dry_run: args.dry_run };
    let outcome = file_restore::restore(&*fs, &paths, &target, options, &mut |at| {
        progress.advance(Counts { done: at.bytes_written.saturating_sub(written), ..Counts::default() });
        written = at.bytes_written;
        if cancel.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.end();
    let outcome = outcome?;
    context.console.result(&outcome, |outcome| files_text(args.dry_run, outcome))?;
    match outcome.failed + outcome.existing {
        0 if outcome.incomplete > 0 => {
            let what = format!(
                "{} files were restored without all of their owner, mode, times and attributes",
                outcome.incomplete
            );
            Err(Failure::new(Code::Failed, what)
                .next(
                    "the lines above say what is missing; their content is whole. Owners and some attributes need root",
                )
                .into())
        }
        0 => Ok(()),
        count => {
            let what = format!("{count} files were not restored");
            let next = match outcome.existing {
                0 => "the lines above say why; the other files are restored",
                _ => "add --beside to restore under other names, or --overwrite to replace files that exist",
            };
            Err(Failure::new(Code::Failed, what).next(next).into())
        }
    }
}

fn files_text(dry_run: bool, outcome: &file_restore::RestoreOutcome) -> String {
    let problem = |problem: &Problem| format!("{}: {}\n", problem.path, output::name(&problem.message));
    let problems: String = outcome.problems.iter().map(problem).collect();
    let verb = if dry_run { "Would restore" } else { "Restored" };
    let mut text = format!(
        "{problems}{verb}: {} files, {} directories, {} symbolic links, {} hard links, {} other; {} of content.",
        outcome.regular_files,
        outcome.directories,
        outcome.symlinks,
        outcome.hard_links,
        outcome.special_files,
        output::bytes(outcome.bytes_content),
    );
    for (count, what) in [
        (outcome.replaced, "in place of others"),
        (outcome.beside, "beside others"),
        (outcome.unchanged, "were there already"),
    ] {
        if count > 0 {
            text += &format!(" {count} {what}.");
        }
    }
    text
}
