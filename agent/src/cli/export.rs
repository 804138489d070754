//! `icecore export`: a disk as an image for other programs.

use super::context::Context;
use super::point::{self, PointName};
use agent::export::{ExportFormat, export};
use agent::extents::Extent;
use agent::output;
use agent::point_disk::PointDisk;
use agent::progress::Counts;
use repo_format::reader::Reader;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// Options of `export`.
#[derive(clap::Args)]
pub struct Args {
    /// The point
    #[arg(value_name = "POINT")]
    point: PointName,
    /// New image file
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// raw, qcow2 or vmdk
    #[arg(long, value_name = "FORMAT", default_value = "qcow2")]
    format: ExportFormat,
    /// Which disk, when the point has several
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Exports.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    repo.keys().private_for("exporting")?;
    let (stored, manifest) = point::open(&repo, &args.point, context.console)?;
    let index = context.index(&repo)?;
    let (progress, cancel) = (context.progress(), context.cancel()?);
    context.reading(&repo, &[(&stored, &manifest)], || {
        let reader = Reader::new(&repo, &index);
        let disk = PointDisk::new(&reader, &manifest, args.disk.as_deref())?;
        // Read once to know the total and to meet a broken tree before anything is written.
        let data = disk.data_extents().collect::<repo_format::Result<Vec<Extent>>>()?;
        progress.begin("export", Some(data.iter().map(|extent| extent.length_bytes()).sum()));
        let mut before = 0;
        let outcome = export(&disk, data, args.format, &args.to, args.overwrite, &mut |done| {
            progress.advance(Counts { done: done.saturating_sub(before), ..Counts::default() });
            before = done;
            if cancel.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.end();
        context.console.result(&outcome?, |outcome| {
            format!(
                "Exported a disk of {} with {} of data to {}.",
                output::bytes(outcome.disk_bytes),
                output::bytes(outcome.data_bytes),
                output::name(&args.to.display().to_string())
            )
        })
    })
}
