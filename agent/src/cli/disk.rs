//! Disks and partitions of a recovery point as verbs that look into them need them.

use super::console::Console;
use super::failure::{Code, Failure};
use agent::files::{self, FileSystem};
use agent::medium::Medium;
use agent::output;
use agent::read_at::Slice;
use agent::volumes::{self, Meant, Volume};
use std::sync::Arc;

pub use agent::volumes::{facts, partitions, recorded_facts};

/// Opens the file system of a partition; without a number, the one that is meant. What of it is stale or damaged is said.
pub fn file_system<'d>(
    medium: &'d Medium<'_>,
    number: Option<u32>,
    console: Console,
) -> anyhow::Result<Box<dyn FileSystem + 'd>> {
    let fs = find_file_system(medium, number)?;
    for note in fs.notes() {
        console.warn(&format!("the {} file system: {note}", fs.name()));
    }
    Ok(fs)
}

/// The same, and what of it is stale or damaged is the caller's to say.
pub fn find_file_system<'d>(medium: &'d Medium<'_>, number: Option<u32>) -> anyhow::Result<Box<dyn FileSystem + 'd>> {
    let content = medium.content()?;
    let volumes = medium.volumes()?;
    let volume = match number {
        Some(_) => volumes.iter().find(|volume| volume.partition == number).ok_or_else(|| {
            let what = format!("disk {} has no partition {}", output::name(&medium.name), number.unwrap_or(0));
            Failure::new(Code::NotFound, what).next(choice(&volumes))
        })?,
        None => match volumes::meant(&volumes) {
            Meant::One(at) => &volumes[at],
            Meant::Several => {
                let what = "the disk has several partitions with files";
                return Err(Failure::new(Code::Usage, what).next(choice(&volumes)).into());
            }
            Meant::None => {
                let what = "no partition of the disk is known to have files that can be read here";
                return Err(Failure::new(Code::Failed, what).next(choice(&volumes)).into());
            }
        },
    };
    Ok(files::open(Arc::new(Slice::new(content, volume.offset_bytes, volume.length_bytes)?))?)
}

fn choice(volumes: &[Volume]) -> String {
    match volumes::listed(volumes) {
        none if none.is_empty() => "the disk has no partitions; leave the number out".into(),
        listed => format!("choose one with --partition: {listed}"),
    }
}
