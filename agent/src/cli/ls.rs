//! `icecore ls`: the files inside a recovery point, or its disks and partitions.

use super::console::table;
use super::context::Context;
use super::disk;
use super::point::{self, PointName};
use agent::files::{self, ListEntry};
use agent::medium::Medium;
use agent::output;
use repo_format::manifest::{Manifest, StoredManifest};
use repo_format::reader::Reader;
use repo_format::repository::Repository;
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::str::FromStr;

/// Options of `ls`.
#[derive(clap::Args)]
pub struct Args {
    /// The point, and after a colon the number of a partition
    #[arg(value_name = "POINT[:PARTITION]")]
    place: Place,
    /// File or directory; without it, and when there are several file systems, the partitions are listed
    #[arg(value_name = "PATH")]
    path: Option<OsString>,
    /// Which disk, when the point has several, or which logical volume, as GROUP/VOLUME
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
}

/// A point and perhaps a partition. Digits behind the last colon are a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    point: PointName,
    partition: Option<u32>,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((point, number)) = text.rsplit_once(':')
            && let (Ok(point), Ok(number)) = (point.parse(), number.parse())
        {
            return Ok(Self { point, partition: Some(number) });
        }
        Ok(Self { point: text.parse()?, partition: None })
    }
}

/// Lists.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let (stored, manifest) = point::open(&repo, &args.place.point, context.console)?;
    if args.path.is_none() && args.place.partition.is_none() && (args.disk.is_none() || manifest.disks.len() > 1) {
        let logical = logical_volumes(&repo, (&stored, &manifest), context)?;
        return disks(&manifest, args.disk.as_deref(), logical, context);
    }
    repo.keys().private_for("looking at files")?;
    context.reading(&repo, &[(&stored, &manifest)], || {
        let index = context.index(&repo)?;
        let reader = Reader::new(&repo, &index);
        let medium = Medium::chosen(&reader, &manifest, args.disk.as_deref(), args.place.partition)?;
        let fs = disk::file_system(&medium, args.place.partition, context.console)?;
        let path = args.path.clone().map_or_else(|| b"/".to_vec(), OsString::into_vec);
        let entries = files::list(&*fs, &path)?;
        context.console.result(&entries, |entries| listing(entries))
    })
}

fn listing(entries: &[ListEntry]) -> String {
    let row = |entry: &ListEntry| {
        let mut name = entry.name.clone();
        if let Some(target) = &entry.link_target {
            name += &format!(" -> {target}");
        }
        if let Some(error) = &entry.error {
            name += &format!(" ({})", output::name(error));
        }
        let size = match entry.device {
            Some(device) => format!("{},{}", device.major, device.minor),
            None => output::bytes(entry.size_bytes),
        };
        vec![entry.mode.clone(), entry.uid.to_string(), entry.gid.to_string(), size, entry.modified_at.clone(), name]
    };
    if entries.is_empty() {
        return String::new();
    }
    table(&["MODE", ">UID", ">GID", ">SIZE", "MODIFIED", "NAME"], entries.iter().map(row).collect())
}

/// A logical volume on the point's disks, or a partition of one.
#[derive(Serialize)]
struct Logical {
    /// GROUP/VOLUME.
    disk: String,
    partition: Option<u32>,
    size_bytes: u64,
    /// What it holds, or why it cannot be read.
    holds: String,
}

/// The logical volumes, for who may look at the content of disks: their metadata is a part of it.
fn logical_volumes(
    repo: &Repository,
    (stored, manifest): (&StoredManifest, &Manifest),
    context: &Context,
) -> anyhow::Result<Vec<Logical>> {
    if !Medium::may_have_logical(manifest) || repo.keys().private_for("looking at files").is_err() {
        return Ok(Vec::new());
    }
    context.reading(repo, &[(stored, manifest)], || {
        let index = context.index(repo)?;
        let reader = Reader::new(repo, &index);
        let mut found = Vec::new();
        for medium in Medium::all(&reader, manifest)?.iter().filter(|medium| medium.is_logical()) {
            let why = medium.content().err().map(|why| output::name(&why.to_string()));
            found.extend(medium.volumes()?.iter().map(|volume| Logical {
                disk: medium.name.clone(),
                partition: volume.partition,
                size_bytes: volume.length_bytes,
                holds: why.clone().or_else(|| volume.holds()).unwrap_or_default(),
            }));
        }
        Ok(found)
    })
}

fn disks(manifest: &Manifest, only: Option<&str>, logical: Vec<Logical>, context: &Context) -> anyhow::Result<()> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    for disk in manifest.disks.iter().filter(|disk| only.is_none_or(|name| name == disk.name)) {
        let facts = disk::recorded_facts(disk).unwrap_or_default();
        let holds = |content: &Option<_>| content.as_ref().map(super::show::content_text).unwrap_or_default();
        rows.push(vec![
            output::name(&disk.name),
            String::new(),
            output::bytes(disk.size_bytes),
            holds(&facts.content),
            String::new(),
        ]);
        for partition in disk::partitions(&facts, disk.size_bytes) {
            rows.push(vec![
                output::name(&disk.name),
                partition.number.to_string(),
                output::bytes(partition.length_bytes),
                holds(&partition.content),
                partition.name.as_deref().map(output::name).unwrap_or_default(),
            ]);
        }
        values.push(json!({ "disk": disk.name, "size_bytes": disk.size_bytes, "facts": facts }));
    }
    for volume in logical.into_iter().filter(|volume| only.is_none_or(|name| name == volume.disk)) {
        let number = volume.partition.map(|number| number.to_string()).unwrap_or_default();
        let (name, size) = (output::name(&volume.disk), output::bytes(volume.size_bytes));
        rows.push(vec![name, number, size, volume.holds.clone(), String::new()]);
        values.push(serde_json::to_value(&volume)?);
    }
    if rows.is_empty() {
        manifest.disk(only)?;
    }
    context.console.result(&values, |_| table(&["DISK", ">PARTITION", ">SIZE", "HOLDS", "NAME"], rows))?;
    context.console.note("`icecore ls POINT:PARTITION PATH` lists files; of a logical volume, `icecore ls POINT PATH --disk GROUP/VOLUME`.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_behind_the_last_colon_are_a_partition() {
        let parse = |text: &str| text.parse::<Place>().map(|place| (place.point.to_string(), place.partition));
        assert_eq!(parse("abcd:2"), Ok(("abcd".into(), Some(2))));
        assert_eq!(parse("latest:web"), Ok(("latest:web".into(), None)));
        assert_eq!(parse("latest:web:1"), Ok(("latest:web".into(), Some(1))));
        assert_eq!(parse("web@4:3"), Ok(("web@4".into(), Some(3))));
        assert!(parse("abc:2").is_err());
    }
}
