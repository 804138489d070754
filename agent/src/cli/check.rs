//! `icecore check`: whether everything that was stored is still there and right.

use super::context::Context;
use super::failure::{Code, Failure};
use agent::open;
use agent::output;
use agent::progress::{Counts, stage_of_check};
use repo_format::check::{Depth, Options, Progress, Report, check};
use repo_format::entropy::{SystemEntropy, random};
use std::sync::Mutex;

/// Threads that read packs; each holds one pack in memory.
const THREADS: usize = 4;

/// Options of `check`.
#[derive(clap::Args)]
pub struct Args {
    /// Read every pack whole and open every chunk, not only the structure
    #[arg(long)]
    read_data: bool,
    /// Read this part of the packs whole, in percent; other ones each time
    #[arg(long, value_name = "PERCENT", conflicts_with = "read_data", value_parser = percent)]
    sample: Option<f64>,
    /// Choose the same packs again
    #[arg(long, value_name = "N", requires = "sample")]
    seed: Option<u64>,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err("a sample is more than 0 and at most 100 percent".into()),
    }
}

/// Checks.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let index = open::index(context.index_place()?.as_deref(), &repo)?;
    let (progress, cancel) = (context.progress(), context.cancel()?);
    let depth = match args.sample {
        Some(percent) => {
            let seed = args.seed.unwrap_or_else(|| u64::from_le_bytes(random(&SystemEntropy)));
            Depth::Sample { percent, seed }
        }
        None if args.read_data => Depth::ReadAll,
        None => Depth::Structure,
    };
    let stage = Mutex::new((None, 0));
    let report = |now: Progress| {
        let mut stage = stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (name, unit) = stage_of_check(now.phase);
        if stage.0 != Some(name) {
            *stage = (Some(name), 0);
            progress.begin_counted(name, unit, Some(now.total));
        }
        progress.advance(Counts { done: now.done.saturating_sub(stage.1), ..Counts::default() });
        stage.1 = stage.1.max(now.done);
    };
    let options = Options {
        depth,
        threads: THREADS,
        record_verified: true,
        progress: &report,
        cancel: &cancel,
        now: context.now(),
    };
    let found = context.reading(&repo, &[], || Ok(check(&repo, &index, &options)?));
    progress.end();
    let found = found?;
    context.console.result(&found, text)?;
    match found.errors().count() {
        0 => Ok(()),
        count => Err(Failure::new(Code::Damaged, format!("the check found {count} errors"))
            .next("the findings say what is touched and what to do; points that none of them names are intact")
            .into()),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text += &format!("{}\n", output::lines(&finding.to_string()));
    }
    let depth = match report.depth {
        Depth::Structure => "structure only; --read-data reads everything",
        Depth::ReadAll => "every byte read",
        Depth::Sample { .. } => "a sample read",
    };
    let sealed = report.points - report.points_walked.min(report.points);
    text += &format!(
        "Checked {} points, {} packs, {} nodes, {} references to chunks ({depth}; {} in {} packs).\n",
        report.points,
        report.packs,
        report.nodes,
        report.chunks,
        output::bytes(report.bytes_read),
        report.packs_read
    );
    if sealed > 0 {
        text += &format!("{sealed} points belong to writers whose key is not here; only their frames were checked.\n");
    }
    if report.is_sound() {
        text += "No errors.\n";
    }
    text
}
