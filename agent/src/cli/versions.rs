//! `icecore versions`: what one file was through all recovery points.

use super::catalogs::{self, Options, Searched};
use super::console::table;
use super::context::Context;
use super::point;
use agent::catalog::search::{Found, Version, Wanted};
use agent::output;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// Options of `versions`.
#[derive(clap::Args)]
pub struct Args {
    /// The file, by its path from the root of its file system
    #[arg(value_name = "PATH")]
    path: OsString,
    /// Only on this disk
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
    /// Only on this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    #[command(flatten)]
    options: Options,
}

/// Most places that have a file of one path.
const MAX_PLACES: usize = 1000;

/// Lists the versions.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let path = catalogs::inner(&args.path.clone().into_vec());
    let searched = catalogs::open(&args.options, context)?;
    let mut page = searched.page(&Wanted::Path(&path), MAX_PLACES, None)?;
    page.found.retain(|found| {
        args.disk.as_ref().is_none_or(|disk| found.volume.disk == *disk)
            && args.partition.is_none_or(|partition| found.volume.partition == Some(partition))
    });
    searched.told(&page, context.console);
    if page.found.is_empty() {
        let shown = output::name(&args.path.to_string_lossy());
        return Err(point::no_such(format!("no recovery point that was searched has {shown}")));
    }
    let found = json!({
        "files": page.found.iter().map(|found| as_json(found, &searched)).collect::<Vec<Value>>(),
        "points_not_searched": catalogs::unsearched(&searched),
    });
    context.console.result(&found, |_| text(&page.found, &searched))
}

fn as_json(found: &Found, searched: &Searched) -> Value {
    let version = |version: &Version| {
        json!({
            "kind": catalogs::kind(version),
            "size_bytes": version.facts.size_bytes,
            "modified_at": catalogs::modified(version),
            "points": version.points.iter().map(|number| searched.id(*number)).collect::<Vec<_>>(),
        })
    };
    json!({
        "name": found.volume.name,
        "disk": found.volume.disk,
        "partition": found.volume.partition,
        "path": catalogs::path_of(found),
        "versions": found.versions.iter().map(version).collect::<Vec<Value>>(),
    })
}

fn text(found: &[Found], searched: &Searched) -> String {
    let short = |number: Option<&u32>| {
        let id = number.map(|number| searched.id(*number)).unwrap_or_default();
        id.get(..8).unwrap_or_default().to_owned()
    };
    let mut rows = Vec::new();
    for file in found {
        for version in &file.versions {
            rows.push(vec![
                catalogs::modified(version),
                output::bytes(version.facts.size_bytes),
                catalogs::kind(version).unwrap_or("damaged").to_owned(),
                version.points.len().to_string(),
                short(version.points.first()),
                short(version.points.last()),
                catalogs::place_of(&file.volume),
            ]);
        }
    }
    table(&["MODIFIED", ">SIZE", "KIND", ">POINTS", "FIRST", "LAST", "OF"], rows)
}
