//! `icecore mount`: the disks of a recovery point as files, until somebody unmounts or interrupts.

use super::context::Context;
use super::disk;
use super::point::{self, PointName};
use agent::mount::{MountOptions, MountedDisk, MountedPartition, mount};
use agent::output;
use agent::point_disk::PointDisk;
use repo_format::index::Index;
use repo_format::manifest::Manifest;
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::sync::Arc;

/// Options of `mount`.
#[derive(clap::Args)]
pub struct Args {
    /// The point
    #[arg(value_name = "POINT")]
    point: PointName,
    /// Empty directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Accept writes into a temporary file that vanishes with the mount, so that journals can replay
    #[arg(long)]
    overlay: bool,
    /// Directory for that file [default: the system's for temporary files]
    #[arg(long, value_name = "DIR", requires = "overlay")]
    overlay_dir: Option<PathBuf>,
    /// Let other users look in too
    #[arg(long)]
    allow_other: bool,
}

/// Mounts, and returns when the mount is over.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    repo.keys().private_for("mounting")?;
    let (stored, manifest) = point::open(&repo, &args.point, context.console)?;
    // The file system's threads live as long as the process; so does what they read from.
    let repo: &'static Repository = Box::leak(Box::new(repo));
    let options =
        MountOptions { overlay: args.overlay, overlay_dir: args.overlay_dir.clone(), allow_other: args.allow_other };
    context.reading(repo, &[(&stored, &manifest)], || {
        // Under the lease: what the index names now stays where it is.
        let index: &'static Index = Box::leak(Box::new(context.index(repo)?));
        let reader: &'static Reader<'static> = Box::leak(Box::new(Reader::new(repo, index)));
        // Registered before the mount: a signal from now on unmounts.
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
        let handle = mount(disks(reader, &manifest)?, &args.dir, &options)?;
        let names = handle.file_names().to_vec();
        context.console.result(&json!({ "dir": args.dir, "files": names }), |_| {
            let dir = output::name(&args.dir.display().to_string());
            let files: String = names.iter().map(|name| format!("  {dir}/{}\n", output::name(name))).collect();
            format!("Mounted {}:\n{files}", point::title(&stored, &manifest))
        })?;
        context.console.note("Press Ctrl-C or unmount the directory to end it.");
        let (unmounter, console) = (handle.unmounter(), context.console);
        std::thread::spawn(move || {
            for _ in signals.forever() {
                match unmounter.unmount() {
                    Ok(()) => return,
                    Err(error) => console.warn(&error.to_string()),
                }
            }
        });
        Ok(handle.wait()?)
    })
}

fn disks(reader: &'static Reader<'static>, manifest: &Manifest) -> anyhow::Result<Vec<MountedDisk>> {
    let mut mounted = Vec::new();
    for disk in &manifest.disks {
        let content = PointDisk::new(reader, manifest, Some(&disk.name))?;
        let facts = disk::facts(&content)?;
        let partitions = disk::partitions(&facts, disk.size_bytes).map(|partition| MountedPartition {
            number: partition.number,
            offset_bytes: partition.offset_bytes,
            length_bytes: partition.length_bytes,
        });
        mounted.push(MountedDisk {
            name: disk.name.clone(),
            partitions: partitions.collect(),
            disk: Arc::new(content),
        });
    }
    Ok(mounted)
}
